//! What an agent token may still spend of its total and its budget, in memory.
//!
//! Law: nothing is made here. What lies in a purse was handed out by the store and counts as spent
//! there, so a purse that is lost costs its owner what was in it and gives nobody anything. One
//! asks the store for more while the others wait.

use super::{Place, Shared, Unreachable};
use crate::base::{MicroUsd, Timestamp};

/// How long whoever asks the store may take before somebody else asks.
pub(super) const ASKING_FOR: i64 = 3_000;
/// How long after the last one was begun prices may still come. A process that is lost tells none of its own.
pub(super) const PENDING_FOR: i64 = 60 * 60 * 1_000;

/// Requests and money: what a token may spend in all, or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    pub requests: u32,
    pub money: MicroUsd,
}

impl Allowance {
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.requests == 0 && self.money.as_micros() == 0
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let requests = self.requests.saturating_add(other.requests);
        Self { requests, money: self.money.plus(other.money) }
    }

    /// What is left after taking `other` away; nothing of what `other` has more of.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let requests = self.requests.saturating_sub(other.requests);
        Self { requests, money: self.money.minus(other.money) }
    }
}

/// Whether what is taken is already the price, or the most that it can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    Final,
    AtMost,
}

/// What somebody wants to take out of a token's purse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    pub wanted: Allowance,
    pub price: Price,
    /// What the token may spend in all: what was handed out under other limits goes back first.
    pub limits: Allowance,
    /// When the purse is worth nothing any more.
    pub ends_at: Timestamp,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bought {
    /// It was taken. `left` is the money that nobody has taken, as far as is known.
    Taken { left: MicroUsd, era: Era },
    /// There is not enough, and the caller is the one to ask the store, and then to call
    /// [`super::Shared::fill`] or [`super::Shared::fill_nothing`].
    Short(Short),
    /// Somebody else is asking.
    Wait,
    /// This was handed out under other limits, and is the caller's to give back to the store.
    Stale(Allowance),
}

/// A purse's time between two changes of what it is about. What was handed out for one era, or taken in
/// it, goes into the purse of no other: the store may have counted what it held as given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(i64);

impl Era {
    pub(super) const fn of(number: i64) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> i64 {
        self.0
    }

    /// Later than this one, and than any that a purse had that is forgotten by now.
    fn next(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(1).max(now.as_millis().saturating_mul(1_000)))
    }
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    pub missing: Allowance,
    /// Money that is here, and too little.
    pub here: MicroUsd,
    /// Money that may come back, because a price is not final yet.
    pub pending: MicroUsd,
    pub era: Era,
}

/// Everything that was in a purse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    pub left: Allowance,
    /// Money that may come back, because a price is not final yet.
    pub pending: MicroUsd,
}

/// What the store handed out for a purse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    pub granted: Allowance,
    /// The money that the store then had left.
    pub in_store: MicroUsd,
    /// When somebody asked.
    pub era: Era,
    pub ends_at: Timestamp,
}

/// What goes back into a purse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    pub amount: Allowance,
    /// When it was taken.
    pub era: Era,
    /// What was taken as [`Price::AtMost`] and has its price now.
    pub settled: MicroUsd,
}

/// Where what came back is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    InPurse,
    /// It is another era, or there is no such purse any more: the store must take it.
    Nowhere,
}

/// The purse of one token.
#[derive(Debug, Default)]
pub(super) struct Purse {
    limits: Option<Allowance>,
    left: Allowance,
    /// Money that the store had not handed out when it was asked last.
    in_store: MicroUsd,
    pending: MicroUsd,
    /// Until when anything is pending.
    pending_until: i64,
    era: Era,
    /// Until when somebody is asking the store.
    asked_until: i64,
    ends_at: i64,
}

impl Purse {
    pub(super) fn buy(&mut self, purchase: &Purchase, now: Timestamp) -> Bought {
        if self.limits != Some(purchase.limits) {
            self.limits = Some(purchase.limits);
            self.begin(now);
            let left = std::mem::take(&mut self.left);
            if !left.is_nothing() {
                return Bought::Stale(left);
            }
        }
        self.ends_at = purchase.ends_at.as_millis();
        let missing = purchase.wanted.minus(self.left);
        if missing.is_nothing() {
            self.left = self.left.minus(purchase.wanted);
            if purchase.price == Price::AtMost {
                self.pending = self.pending(now).plus(purchase.wanted.money);
                self.pending_until = now.as_millis() + PENDING_FOR;
            }
            return Bought::Taken { left: self.left.money.plus(self.in_store), era: self.era };
        }
        if self.asked_until > now.as_millis() {
            return Bought::Wait;
        }
        self.asked_until = now.as_millis() + ASKING_FOR;
        Bought::Short(Short { missing, here: self.left.money, pending: self.pending(now), era: self.era })
    }

    /// An era of its own for what comes now.
    fn begin(&mut self, now: Timestamp) {
        self.era = self.era.next(now);
        self.in_store = MicroUsd::ZERO;
        self.asked_until = 0;
    }

    const fn pending(&self, now: Timestamp) -> MicroUsd {
        if self.pending_until > now.as_millis() { self.pending } else { MicroUsd::ZERO }
    }

    pub(super) fn fill(&mut self, filling: &Filling) -> Kept {
        if self.era != filling.era {
            return Kept::Nowhere;
        }
        self.left = self.left.plus(filling.granted);
        self.in_store = filling.in_store;
        self.asked_until = 0;
        self.ends_at = filling.ends_at.as_millis();
        Kept::InPurse
    }

    pub(super) fn fill_nothing(&mut self) {
        self.asked_until = 0;
    }

    pub(super) fn put_back(&mut self, returned: Returned) -> Kept {
        self.pending = self.pending.minus(returned.settled);
        // In another era's purse it would be more than the store knows of.
        if self.era != returned.era {
            return Kept::Nowhere;
        }
        self.left = self.left.plus(returned.amount);
        Kept::InPurse
    }

    pub(super) fn empty(&mut self, now: Timestamp) -> Emptied {
        self.begin(now);
        Emptied { left: std::mem::take(&mut self.left), pending: self.pending(now) }
    }

    pub(super) const fn left(&self) -> Allowance {
        self.left
    }

    pub(super) const fn ends_at(&self) -> i64 {
        self.ends_at
    }
}

/// What Redis said about a purchase: a word and five numbers, the last one its era.
pub(super) fn read(answer: &[i64]) -> Option<Bought> {
    let &[word, one, two, three, four, era] = answer else { return None };
    let era = Era::of(era);
    let allowance =
        || Some(Allowance { requests: u32::try_from(one).ok()?, money: MicroUsd::from_micros(two)? });
    match word {
        0 => Some(Bought::Wait),
        1 => Some(Bought::Taken { left: MicroUsd::from_micros(two)?, era }),
        2 => {
            let (here, pending) = (MicroUsd::from_micros(three)?, MicroUsd::from_micros(four)?);
            Some(Bought::Short(Short { missing: allowance()?, here, pending, era }))
        }
        3 => Some(Bought::Stale(allowance()?)),
        _ => None,
    }
}

impl Shared {
    /// Takes something out of the purse of `key`, if it is there.
    pub async fn buy(&self, key: &str, purchase: &Purchase) -> Result<Bought, Unreachable> {
        let now = self.0.clock.now();
        match &self.0.place {
            Place::Memory(memory) => Ok(self.memory_in_force(memory)?.buy(key, purchase, now)?),
            Place::Redis(redis) => redis.buy(key, purchase, now).await,
        }
    }

    /// Puts in what the store handed out for [`Bought::Short`]; others may ask again. In another era it
    /// stays the caller's, who gives it back to the store.
    pub async fn fill(&self, key: &str, filling: &Filling) -> Result<Kept, Unreachable> {
        let now = self.0.clock.now();
        match &self.0.place {
            Place::Memory(memory) => Ok(self.memory_in_force(memory)?.fill(key, filling, now)?),
            Place::Redis(redis) => redis.fill(key, filling, now).await,
        }
    }

    /// The store handed out nothing for [`Bought::Short`]: others may ask.
    pub async fn fill_nothing(&self, key: &str) -> Result<(), Unreachable> {
        match &self.0.place {
            Place::Memory(memory) => {
                self.memory_in_force(memory)?.in_known(key, Purse::fill_nothing);
                Ok(())
            }
            Place::Redis(redis) => redis.fill_nothing(key).await,
        }
    }

    /// Takes back what was taken out and not spent.
    pub async fn put_back(&self, key: &str, returned: Returned) -> Result<Kept, Unreachable> {
        match &self.0.place {
            Place::Memory(_) => Ok(self.put_back_here(key, returned).unwrap_or(Kept::Nowhere)),
            Place::Redis(redis) => redis.put_back(key, returned).await,
        }
    }

    /// The same without waiting; `None` where that is not possible.
    #[must_use]
    pub fn put_back_here(&self, key: &str, returned: Returned) -> Option<Kept> {
        let Place::Memory(memory) = &self.0.place else { return None };
        Some(memory.in_known(key, |purse| purse.put_back(returned)).unwrap_or(Kept::Nowhere))
    }

    /// Takes everything out of a purse: it is the caller's to give back to the store.
    pub async fn empty(&self, key: &str) -> Result<Emptied, Unreachable> {
        match &self.0.place {
            Place::Memory(memory) => {
                let now = self.0.clock.now();
                Ok(memory.in_known(key, |purse| purse.empty(now)).unwrap_or_default())
            }
            Place::Redis(redis) => redis.empty(key).await,
        }
    }

    /// What lies in the purses of these keys, in their order.
    pub async fn in_purses(&self, keys: &[String]) -> Result<Vec<Allowance>, Unreachable> {
        match &self.0.place {
            Place::Memory(memory) => Ok(keys.iter().map(|key| memory.in_purse(key)).collect()),
            Place::Redis(redis) => redis.in_purses(keys).await,
        }
    }

    /// The keys of the purses that end with this process; none where replicas share them.
    #[must_use]
    pub fn own_purses(&self) -> Vec<String> {
        match &self.0.place {
            Place::Memory(memory) => memory.purse_keys(),
            Place::Redis(_) => Vec::new(),
        }
    }
}
