//! The same limits in Redis, each one script, by the clock of Redis.
//!
//! Law: one question is one round trip, and no answer within its patience is an error. The
//! arithmetic is that of `memory`; the tests run the same bodies against both. Every key expires.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo, RedisError, RedisResult, Script, ScriptInvocation};
use futures::StreamExt;

use super::purse::{Bought, Purchase, read as read_bought};
use super::rate::{Blame, Counted, DAY, Rate, Standing};
use super::{Hints, Leased, Quota, Unreachable, Weighed, Window, millis, raise, step_micros};
use crate::base::{Id, Secret, Timestamp};

mod purse;

/// How long the first contact may take.
const GREETING: Duration = Duration::from_secs(1);
/// The pause after the connection that carries hints broke.
const PAUSE: Duration = Duration::from_secs(1);
/// A peer that acknowledges nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(5);

/// For how long what Redis said of its memory is worth anything: as long as failures are remembered.
const SEEN_FOR: Duration = Duration::from_hours(24);

/// One log per window: a list of milliseconds, oldest first. Answers four numbers per window.
const HIT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = {}
for i, key in ipairs(KEYS) do
  local limit, per = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local old = redis.call('LRANGE', key, 0, -1)
  local log, changed = {}, false
  for _, at in ipairs(old) do
    at = tonumber(at)
    if at > now then at = now; changed = true end
    if at > now - per then log[#log + 1] = at else changed = true end
  end
  local allowed = 0
  if #log < limit then log[#log + 1] = now; allowed = 1 end
  if changed then
    redis.call('DEL', key)
    for _, at in ipairs(log) do redis.call('RPUSH', key, string.format('%.0f', at)) end
  elseif allowed == 1 then
    redis.call('RPUSH', key, string.format('%.0f', now))
  end
  local full = 0
  if #log > 0 then
    full = log[#log] + per - now
    redis.call('PEXPIRE', key, string.format('%.0f', full))
  end
  local wait = 0
  if #log >= limit then wait = (log[1] or now) + per - now end
  out[#out + 1] = allowed
  out[#out + 1] = limit - #log
  out[#out + 1] = wait
  out[#out + 1] = full
end
return out
";

/// The bucket is one number: when it will be full again, in microseconds.
const METER: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local step, requests = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = step * requests
local full = tonumber(redis.call('GET', KEYS[1]) or now)
full = math.min(math.max(full, now), now + whole)
local allowed = 0
if full + step <= now + whole then
  full = full + step
  allowed = 1
  local life = math.ceil((full - now) / 1000)
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', life))
end
local room = now + whole - full
local wait = math.max(0, math.ceil((step - room) / 1000))
return {allowed, math.floor(room / step), wait, math.ceil((full - now) / 1000)}
";

const LEASE: &str = r"
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
";

/// The rate, and what is bought if that lets the request pass. Nothing passes while what counts against
/// it may be forgotten; what was held against it and may be forgotten is as much as is tolerated.
const RATE: &str = concat!("local function rate(KEYS, ARGV)\n", include_str!("rate.lua"), "\nend\n");
const RATE_AND_BUY: &str = r"
local since = ARGV[5]
local began, loss = recall(KEYS[5], ARGV[3])
local closed = closed_for(loss, ARGV[4])
if closed > 0 then return {0, 0, 0, 0, 0, 0, began, closed, 0} end
local out = rate(KEYS, ARGV)
if out[1] == 0 and is_unsure(loss, since, HOUR) then out[5] = tonumber(ARGV[2]) end
local unsure = is_unsure(loss, since, DAY) and redis.call('EXISTS', KEYS[3]) == 0
out[7], out[8], out[9] = began, 0, unsure and 1 or 0
if out[1] == 1 and KEYS[6] then
  for _, number in ipairs(buy(KEYS[6], unpack(ARGV, 6))) do out[#out + 1] = number end
end
return out
";
/// Since when Redis remembers.
const RECALL: &str = include_str!("recall.lua");

/// Whoever has failed since something was forgotten, and not succeeded, has failed too often.
const FAIL: &str = r"
local began, loss = recall(KEYS[2], ARGV[1])
local unsure = is_unsure(loss, ARGV[2], DAY) and redis.call('EXISTS', KEYS[1]) == 0
local failures = redis.call('INCRBY', KEYS[1], unsure and 4294967295 or 1)
redis.call('PEXPIRE', KEYS[1], DAY)
return {began, failures}
";

/// A Redis that several replicas use.
pub(super) struct Redis {
    client: Client,
    connection: ConnectionManager,
    /// How long a question may take, reconnecting included.
    patience: Duration,
    prefix: String,
    replica: String,
    hit: Script,
    meter: Script,
    lease: Script,
    rate: Script,
    fail: Script,
    purse: Script,
    seen: Mutex<Option<(i64, Instant)>>,
}

impl std::fmt::Debug for Redis {
    /// Without the client, which knows the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Redis {
    pub(super) fn open(
        url: &Secret<String>,
        patience: Duration,
        installation: &str,
        replica: Id,
    ) -> Result<Self, Unreachable> {
        let tcp = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(SILENCE);
        let info = url.expose().as_str().into_connection_info()?.set_tcp_settings(tcp);
        let client = Client::open(info)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(GREETING))
            .set_response_timeout(Some(patience))
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(500))
            .set_pipeline_buffer_size(1024);
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self {
            client,
            connection,
            patience,
            prefix: format!("portcullis:{installation}"),
            replica: replica.to_string(),
            hit: Script::new(HIT),
            meter: Script::new(METER),
            lease: Script::new(LEASE),
            rate: Script::new(&format!("{}{RECALL}{RATE}{RATE_AND_BUY}", purse::FUNCTIONS)),
            purse: purse::script(),
            fail: Script::new(&format!("{}{RECALL}{FAIL}", purse::FUNCTIONS)),
            seen: Mutex::new(None),
        })
    }

    /// The first contact: warns where it fails, and where Redis may throw our keys away.
    pub(super) async fn greet(&self) {
        let mut connection = self.connection.clone();
        let asked = async { ::redis::cmd("PING").exec_async(&mut connection).await };
        if let Err(error) = within(GREETING, asked).await {
            tracing::warn!(%error, "Redis does not answer yet; what needs it is refused until it does");
            return;
        }
        if let Some(policy) = self.policy().await.filter(|policy| policy != super::KEEPING) {
            tracing::warn!(
                policy,
                "Redis may drop limits when its memory is full: set maxmemory-policy to noeviction"
            );
        }
    }

    /// What Redis does when its memory is full, if it tells.
    pub(super) async fn policy(&self) -> Option<String> {
        let mut connection = self.connection.clone();
        let asked = async {
            let mut ask = ::redis::cmd("CONFIG");
            ask.arg("GET").arg("maxmemory-policy");
            ask.query_async::<Vec<String>>(&mut connection).await
        };
        match within(self.patience, asked).await {
            Ok(answer) => answer.into_iter().nth(1),
            Err(error) => {
                tracing::debug!(%error, "Redis does not tell its maxmemory-policy");
                None
            }
        }
    }

    pub(super) async fn ping(&self) -> Result<(), Unreachable> {
        let mut connection = self.connection.clone();
        within(self.patience, async move { ::redis::cmd("PING").exec_async(&mut connection).await }).await
    }

    pub(super) async fn hit(&self, key: &str, windows: &[Window]) -> Result<Vec<Weighed>, Unreachable> {
        let mut call = self.hit.prepare_invoke();
        for window in windows {
            let per = millis(window.per);
            call.key(format!("{}:hit:{per}:{key}", self.prefix)).arg(window.limit).arg(per);
        }
        let answer: Vec<i64> = self.call(&call).await?;
        let weighed = answer.chunks_exact(4).zip(windows);
        let weighed: Vec<_> =
            weighed.map(|(numbers, window)| read(numbers, window.limit, window.per)).collect();
        if weighed.len() == windows.len() { Ok(weighed) } else { Err(odd(&answer)) }
    }

    pub(super) async fn meter(&self, key: &str, quota: Quota) -> Result<Weighed, Unreachable> {
        let mut call = self.meter.prepare_invoke();
        call.key(format!("{}:meter:{key}", self.prefix)).arg(step_micros(quota)).arg(quota.requests);
        let answer: Vec<i64> = self.call(&call).await?;
        if answer.len() == 4 { Ok(read(&answer, quota.requests, quota.per)) } else { Err(odd(&answer)) }
    }

    pub(super) async fn rate(
        &self,
        key: &str,
        blame: Blame<'_>,
        rate: Rate,
        purchase: Option<(&Purchase, Timestamp)>,
    ) -> Result<(Counted, Option<Bought>), Unreachable> {
        let mut call = self.rate.prepare_invoke();
        call.key(format!("{}:rate:log:{key}", self.prefix))
            .key(format!("{}:breaches:{}", self.prefix, blame.key))
            .key(self.failures_key(blame.key))
            .key(format!("{}:rate:cells:{key}", self.prefix))
            .key(self.memory_key())
            .arg(rate.per_minute)
            .arg(rate.breaches_max)
            .arg(self.seen())
            .arg(blame.there_since.as_millis())
            .arg(blame.since.as_millis());
        if let Some((purchase, now)) = purchase {
            call.key(self.purse_key(key));
            purse::with_purchase(&mut call, purchase, now);
        }
        let answer: Vec<i64> = self.call(&call).await?;
        let Some((rated, bought)) = answer.split_at_checked(9) else { return Err(odd(&answer)) };
        let &[.., breaches, failures, began, closed, unsure] = rated else { return Err(odd(&answer)) };
        let bought = match bought {
            [] => None,
            bought => Some(read_bought(bought).ok_or_else(|| odd(&answer))?),
        };
        self.saw(began);
        let standing = Standing {
            breaches: whole(breaches),
            failures: whole(failures),
            is_unsure: unsure == 1,
            closed_for: u64::try_from(closed).ok().filter(|wait| *wait > 0).map(Duration::from_millis),
        };
        let counted = Counted { weighed: read(rated, rate.per_minute, Duration::from_mins(1)), standing };
        Ok((counted, bought))
    }

    pub(super) async fn fail(&self, blame: Blame<'_>) -> Result<u32, Unreachable> {
        let mut call = self.fail.prepare_invoke();
        call.key(self.failures_key(blame.key)).key(self.memory_key());
        call.arg(self.seen()).arg(blame.since.as_millis());
        let answer: Vec<i64> = self.call(&call).await?;
        let &[began, failures] = &*answer else { return Err(odd(&answer)) };
        self.saw(began);
        Ok(whole(failures))
    }

    /// Leaves a zero: this one is known to have succeeded, whatever was forgotten.
    pub(super) async fn succeed(&self, key: &str) -> Result<(), Unreachable> {
        let mut connection = self.connection.clone();
        let mut set = ::redis::cmd("SET");
        set.arg(self.failures_key(key)).arg(0).arg("PX").arg(DAY);
        within(self.patience, async move { set.exec_async(&mut connection).await }).await
    }

    fn failures_key(&self, key: &str) -> String {
        format!("{}:failures:{key}", self.prefix)
    }

    fn memory_key(&self) -> String {
        format!("{}:memory", self.prefix)
    }

    /// By which name Redis said last that it remembers; 0 if that is so long ago that nothing of it counts.
    fn seen(&self) -> i64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.filter(|(_, at)| at.elapsed() < SEEN_FOR).map_or(0, |(began, _)| began)
    }

    fn saw(&self, began: i64) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, Instant::now()));
    }

    pub(super) async fn lease(&self, name: &str, span: Duration) -> Result<Leased, Unreachable> {
        let mut call = self.lease.prepare_invoke();
        call.key(format!("{}:lease:{name}", self.prefix)).arg(&self.replica).arg(millis(span));
        let answer: i64 = self.call(&call).await?;
        Ok(if answer == 1 { Leased::Here } else { Leased::Elsewhere })
    }

    async fn call<T: ::redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Unreachable> {
        let mut connection = self.connection.clone();
        within(self.patience, call.invoke_async(&mut connection)).await
    }

    /// Carries hints both ways until dropped.
    pub(super) async fn carry(&self, hints: &Hints) {
        loop {
            if let Err(error) = self.carry_once(hints).await {
                tracing::debug!(%error, "hints of changes pause; the store is read all the same");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn carry_once(&self, hints: &Hints) -> RedisResult<()> {
        let channel = format!("{}:changes", self.prefix);
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.subscribe(&channel).await?;
        let mut messages = subscription.on_message();
        let mut announced = hints.announced.subscribe();
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => raise(&hints.heard, message.get_payload()?),
                    None => return Ok(()),
                },
                changed = announced.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let seq = *announced.borrow_and_update();
                    let mut connection = self.connection.clone();
                    ::redis::cmd("PUBLISH").arg(&channel).arg(seq).exec_async(&mut connection).await?;
                }
            }
        }
    }
}

impl From<RedisError> for Unreachable {
    fn from(error: RedisError) -> Self {
        Self { cause: error.to_string() }
    }
}

/// Waits no longer than `patience`, whatever the connection is doing.
async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = RedisResult<T>>,
) -> Result<T, Unreachable> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Unreachable { cause: format!("no answer from Redis within {patience:?}") }),
    }
}

fn read(numbers: &[i64], limit: u32, per: Duration) -> Weighed {
    Weighed {
        is_allowed: numbers[0] == 1,
        limit,
        remaining: u32::try_from(numbers[1]).unwrap_or(0),
        per,
        wait_for: numbers[2],
        full_in: numbers[3],
    }
}

fn whole(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn odd(answer: &[i64]) -> Unreachable {
    Unreachable { cause: format!("Redis answered {answer:?}") }
}
