//! The purses of agent tokens in Redis: each question one script, each script one round trip.
//!
//! Law: as in memory. A purse that was filled in another run of Redis counts for nothing: it may be
//! a picture of what was spent since.

use ::redis::{Script, ScriptInvocation};

use super::{Redis, odd};
use crate::base::{MicroUsd, Timestamp};
use crate::shared::purse::{
    self, ASKING_FOR, Allowance, Bought, Emptied, Filling, Kept, PENDING_FOR, Price, Purchase, Returned,
};
use crate::shared::{Unreachable, millis};

/// The functions of purses, for scripts that end with what they do.
pub(super) const FUNCTIONS: &str = include_str!("../purse.lua");

const DISPATCH: &str = r"
local act = { buy = buy, fill = fill, fill_nothing = fill_nothing, put_back = put_back, empty = empty }
if ARGV[1] ~= 'peek' then return act[ARGV[1]](KEYS[1], unpack(ARGV, 2)) end
local out = {}
for _, key in ipairs(KEYS) do
  for _, number in ipairs(peek(key)) do out[#out + 1] = number end
end
return out
";

/// How many purses one script looks into.
const AT_ONCE: usize = 200;

pub(super) fn script() -> Script {
    Script::new(&format!("{FUNCTIONS}{DISPATCH}"))
}

impl Redis {
    pub(in crate::shared) async fn buy(
        &self,
        key: &str,
        purchase: &Purchase,
        now: Timestamp,
    ) -> Result<Bought, Unreachable> {
        let mut call = self.of_purse(key, "buy");
        with_purchase(&mut call, purchase, now);
        let answer: Vec<i64> = self.call(&call).await?;
        purse::read(&answer).ok_or_else(|| odd(&answer))
    }

    pub(in crate::shared) async fn fill(
        &self,
        key: &str,
        filling: &Filling,
        now: Timestamp,
    ) -> Result<Kept, Unreachable> {
        let Filling { granted, in_store, era, ends_at } = filling;
        let mut call = self.of_purse(key, "fill");
        call.arg(granted.requests)
            .arg(granted.money.as_micros())
            .arg(in_store.as_micros())
            .arg(era.number())
            .arg(millis(ends_at.since(now)));
        self.call(&call).await.map(|answer: Vec<i64>| kept(&answer))
    }

    pub(in crate::shared) async fn fill_nothing(&self, key: &str) -> Result<(), Unreachable> {
        self.call::<Vec<i64>>(&self.of_purse(key, "fill_nothing")).await.map(drop)
    }

    pub(in crate::shared) async fn put_back(
        &self,
        key: &str,
        Returned { amount, era, settled }: Returned,
    ) -> Result<Kept, Unreachable> {
        let mut call = self.of_purse(key, "put_back");
        call.arg(amount.requests).arg(amount.money.as_micros()).arg(era.number()).arg(settled.as_micros());
        self.call(&call).await.map(|answer: Vec<i64>| kept(&answer))
    }

    pub(in crate::shared) async fn empty(&self, key: &str) -> Result<Emptied, Unreachable> {
        let answer: Vec<i64> = self.call(&self.of_purse(key, "empty")).await?;
        let &[requests, money, pending] = &*answer else { return Err(odd(&answer)) };
        let left = allowance(requests, money).ok_or_else(|| odd(&answer))?;
        Ok(Emptied { left, pending: MicroUsd::from_micros(pending).unwrap_or_default() })
    }

    pub(in crate::shared) async fn in_purses(&self, keys: &[String]) -> Result<Vec<Allowance>, Unreachable> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let mut call = self.purse.arg("peek");
            for key in keys {
                call.key(self.purse_key(key));
            }
            let answer: Vec<i64> = self.call(&call).await?;
            let found: Option<Vec<_>> =
                answer.chunks_exact(2).map(|pair| allowance(pair[0], pair[1])).collect();
            let found = found.filter(|found| found.len() == keys.len()).ok_or_else(|| odd(&answer))?;
            all.extend(found);
        }
        Ok(all)
    }

    fn of_purse(&self, key: &str, act: &str) -> ScriptInvocation<'_> {
        let mut call = self.purse.key(self.purse_key(key));
        call.arg(act);
        call
    }

    pub(super) fn purse_key(&self, key: &str) -> String {
        format!("{}:purse:{key}", self.prefix)
    }
}

/// The arguments of `buy`.
pub(super) fn with_purchase(call: &mut ScriptInvocation<'_>, purchase: &Purchase, now: Timestamp) {
    let Purchase { wanted, price, limits, ends_at } = purchase;
    call.arg(wanted.requests)
        .arg(wanted.money.as_micros())
        .arg(i32::from(*price == Price::Final))
        .arg(text_of(*limits))
        .arg(millis(ends_at.since(now)))
        .arg(ASKING_FOR)
        .arg(PENDING_FOR);
}

/// Limits as a purse has them.
fn text_of(limits: Allowance) -> String {
    format!("{}:{}", limits.requests, limits.money.as_micros())
}

fn kept(answer: &[i64]) -> Kept {
    if answer == [1] { Kept::InPurse } else { Kept::Nowhere }
}

fn allowance(requests: i64, money: i64) -> Option<Allowance> {
    Some(Allowance { requests: u32::try_from(requests).ok()?, money: MicroUsd::from_micros(money)? })
}
