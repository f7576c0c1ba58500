//! The courier: takes what is due out of the outbox and delivers it.
//!
//! Law: a try is claimed before it begins, and longer than it can take, so replicas that share a
//! store never try a row at once. Each destination is served by itself: one that is slow or gone
//! holds up no other. What cannot be told in time is given up, and that is in the audit trail.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::mail::Mailer;
use super::sms::Texter;
use super::store::{self, Waiting};
use super::webhook::Caller;
use super::{Channel, Content, context};
use crate::app::App;
use crate::audit::{Actor, SystemEvent};
use crate::base::{Id, Timestamp};
use crate::config::Config;
use crate::metrics::{NoticeChannel, NoticeOutcome};
use crate::store::Error;

/// How often the outbox is looked into.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a claim lasts: longer than the longest try.
pub(super) const CLAIMED_FOR: Duration = Duration::from_mins(2);
/// Rows of one destination in one turn.
const AT_ONCE: u32 = 32;
/// The pause after the first failure; it triples with every other.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(3);

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It may succeed another time.
    Later(String),
    Never(String),
}

/// What is told, beside its content.
pub(super) struct Told<'a> {
    pub id: Id,
    pub notice: &'a str,
    /// When it happened.
    pub at: Timestamp,
}

/// Delivers.
pub struct Courier {
    app: Arc<App>,
    /// Destinations that are being served here.
    busy: Mutex<HashSet<Destination>>,
    ways: Mutex<Option<Arc<Ways>>>,
}

type Destination = (Channel, String);

/// The ways out that a configuration names; those that cannot be used, with the reason.
pub(super) struct Ways {
    config: Arc<Config>,
    pub mail: Option<Result<Mailer, &'static str>>,
    pub sms: Option<Result<Texter, &'static str>>,
    pub webhooks: BTreeMap<String, Result<Caller, &'static str>>,
}

impl Ways {
    pub fn of(config: Arc<Config>) -> Self {
        let mail = config.mail.as_ref().map(|mail| Mailer::new(mail, &config));
        let sms = config.sms.as_ref().map(Texter::new);
        let webhooks = config.webhooks.iter().map(|hook| (hook.name.clone(), Caller::new(hook))).collect();
        Self { config, mail, sms, webhooks }
    }
}

impl Courier {
    #[must_use]
    pub fn new(app: Arc<App>) -> Arc<Self> {
        Arc::new(Self { app, busy: Mutex::default(), ways: Mutex::default() })
    }

    /// Begins to serve every destination where something is due and that is not being served.
    ///
    /// # Errors
    /// The store's, where it cannot be asked.
    pub async fn look(self: &Arc<Self>) -> Result<(), Error> {
        for destination in store::destinations(&self.app.db, self.app.now()).await? {
            let Some(turn) = self.begin(destination) else { continue };
            self.app.tasks.spawn("deliver notices", async move { turn.serve().await });
        }
        Ok(())
    }

    /// Serves every destination once and waits for it; for tests, which have no background.
    ///
    /// # Errors
    /// The store's, where it cannot be asked.
    pub async fn deliver(self: &Arc<Self>) -> Result<(), Error> {
        for destination in store::destinations(&self.app.db, self.app.now()).await? {
            if let Some(turn) = self.begin(destination) {
                turn.serve().await;
            }
        }
        Ok(())
    }

    fn begin(self: &Arc<Self>, destination: Destination) -> Option<Turn> {
        let is_free = lock(&self.busy).insert(destination.clone());
        is_free.then(|| Turn { courier: Arc::clone(self), destination })
    }

    /// Made anew when the configuration was.
    fn ways(&self) -> Arc<Ways> {
        let config = self.app.config();
        let mut known = lock(&self.ways);
        if let Some(ways) = known.as_ref().filter(|ways| Arc::ptr_eq(&ways.config, &config)) {
            return Arc::clone(ways);
        }
        let ways = Arc::new(Ways::of(config));
        *known = Some(Arc::clone(&ways));
        ways
    }

    async fn attempt(&self, row: &Waiting) -> Result<Option<Outcome>, Error> {
        let now = self.app.now();
        let mut tx = self.app.db.begin().await?;
        let claimed = store::claim(&mut tx, row, now, now.plus(CLAIMED_FOR)).await?;
        tx.commit().await?;
        if claimed == 0 {
            return Ok(None);
        }
        if row.ends_at <= now {
            return Ok(Some(Outcome::Never("its time was over".to_owned())));
        }
        Ok(Some(self.carry(row).await))
    }

    async fn carry(&self, row: &Waiting) -> Outcome {
        let ways = self.ways();
        let told = Told { id: row.id, notice: &row.notice, at: row.created_at };
        let opened = self.app.seal.open(&context(row.id), &row.content).ok();
        let content = opened.and_then(|plain| serde_json::from_slice(plain.expose()).ok());
        match content {
            Some(Content::Mail { to, subject, text }) => match &ways.mail {
                Some(Ok(mailer)) => mailer.send(&told, &to, &subject, &text).await,
                way => no_way(way.as_ref()),
            },
            Some(Content::Sms { to, text }) => match &ways.sms {
                Some(Ok(texter)) => texter.send(&told, &to, &text).await,
                way => no_way(way.as_ref()),
            },
            Some(Content::Webhook { data }) => match ways.webhooks.get(&row.target) {
                Some(Ok(caller)) => caller.call(&told, &data, self.app.now()).await,
                way => no_way(way),
            },
            None => Outcome::Never("it does not open: the seal key is another".to_owned()),
        }
    }

    /// Writes down what a try came to. The row is as the try found it: this is its next number.
    async fn conclude(&self, row: &Waiting, outcome: Outcome) -> Result<(), Error> {
        let (tries, now) = (row.tries + 1, self.app.now());
        match outcome {
            Outcome::Done => {
                let mut tx = self.app.db.begin().await?;
                store::finish(&mut tx, (row.id, tries), "DELIVERED", None, now).await?;
                tx.commit().await?;
                self.count(row, NoticeOutcome::Delivered);
                Ok(())
            }
            Outcome::Never(problem) => self.give_up(row, tries, problem).await,
            Outcome::Later(problem) => {
                let due_at = now.plus(self.pause(tries));
                if due_at >= row.ends_at {
                    return self.give_up(row, tries, problem).await;
                }
                tracing::warn!(id = %row.id, channel = row.channel.name(), target = row.target, tries,
                    problem, "a notice was not delivered and will be tried again");
                let mut tx = self.app.db.begin().await?;
                store::put_off(&mut tx, (row.id, tries), &problem, due_at).await?;
                tx.commit().await?;
                self.count(row, NoticeOutcome::Failed);
                Ok(())
            }
        }
    }

    async fn give_up(&self, row: &Waiting, tries: i64, problem: String) -> Result<(), Error> {
        let mut change = self.app.change(Actor::system()).await?;
        let now = change.now();
        let problem_text = Some(problem.as_str());
        if store::finish(change.tx(), (row.id, tries), "GIVEN_UP", problem_text, now).await? == 0 {
            return Ok(());
        }
        tracing::error!(id = %row.id, channel = row.channel.name(), target = row.target, tries,
            problem, "a notice was given up");
        change
            .record(SystemEvent::NoticeGivenUp {
                id: row.id,
                notice: row.notice.clone(),
                channel: row.channel.name(),
                target: row.target.clone(),
                tries,
                problem,
            })
            .await?;
        change.commit().await?;
        self.count(row, NoticeOutcome::GivenUp);
        Ok(())
    }

    /// After the try with this number, with a random fifth more or less: what failed together is
    /// not tried again together.
    fn pause(&self, tries: i64) -> Duration {
        let power = u32::try_from(tries - 1).unwrap_or(u32::MAX).min(16);
        let whole = PAUSE.saturating_mul(3u32.saturating_pow(power)).min(LONGEST_PAUSE);
        let mut byte = [0];
        self.app.random.fill(&mut byte);
        whole.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
    }

    fn count(&self, row: &Waiting, outcome: NoticeOutcome) {
        let channel = match row.channel {
            Channel::Mail => NoticeChannel::Mail,
            Channel::Sms => NoticeChannel::Sms,
            Channel::Webhook => NoticeChannel::Webhook,
        };
        self.app.metrics.notice(channel, outcome);
    }
}

/// What comes of a row whose way out cannot be used, or is named no more.
fn no_way<T>(way: Option<&Result<T, &'static str>>) -> Outcome {
    match way {
        Some(Err(why)) => Outcome::Later((*why).to_owned()),
        _ => Outcome::Never("the configuration no longer names it".to_owned()),
    }
}

/// One destination being served; others may begin with it when this is dropped.
struct Turn {
    courier: Arc<Courier>,
    destination: Destination,
}

impl Turn {
    async fn serve(self) {
        if let Err(error) = self.rows().await {
            let (channel, target) = &self.destination;
            tracing::warn!(channel = channel.name(), target, %error, "notices were not delivered");
        }
    }

    /// One after the other: whoever is told twice is told in order where nothing fails. The first
    /// failure ends the turn, so that a server that is gone is not asked for every row.
    async fn rows(&self) -> Result<(), Error> {
        let (courier, (channel, target)) = (&self.courier, &self.destination);
        let app = &courier.app;
        for row in store::due(&app.db, (*channel, target), app.now(), AT_ONCE).await? {
            let Some(outcome) = courier.attempt(&row).await? else { continue };
            let is_later = matches!(outcome, Outcome::Later(_));
            courier.conclude(&row, outcome).await?;
            if is_later {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.courier.busy).remove(&self.destination);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
