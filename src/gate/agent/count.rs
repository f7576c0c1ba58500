//! What an agent spends of its token's total and budget, taken out before a request is dispatched.
//!
//! Law: only what is dispatched counts. A request pays out of the token's purse, which the store
//! fills a chunk at a time, so most ask the store nothing, and however many spend at once, the
//! store's limit is the limit. What was taken out for a request goes back unless it was sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use super::super::Gate;
use super::super::rejection::{Rejection, Silent};
use super::cache::Grant;
use super::llm::Tariff;
use super::meter::{Meter, Told};
use super::refusal::{AgentRefusal, Shortage, Trip};
use super::trail::Entry;
use super::{silent, trip};
use crate::agent::{self as delegation, Handout, Lacking, Limits};
use crate::app::App;
use crate::audit::{AgentEvent, Basis, Settled};
use crate::base::{Id, MicroUsd};
use crate::shared::{Allowance, Bought, Era, Filling, Kept, Price, Purchase, Returned, Short, Unreachable};

/// More than any installation has agents at work.
const REMEMBERED_MAX: usize = 262_144;
/// A chunk is this part of the limit.
const PART: u32 = 20;
/// How often a purse is looked into while somebody else fills it, and how long between two looks.
const LOOKS: usize = 400;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Of those who wait for a token's purse to be filled, one in this process looks; the others queue.
#[derive(Debug)]
pub(in crate::gate) struct Queues(Cache<Id, Arc<Mutex<()>>>);

impl Queues {
    pub fn new() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }

    fn of(&self, token: Id) -> Arc<Mutex<()>> {
        let made: Result<_, std::convert::Infallible> =
            self.0.get_or_insert_with(&token, || Ok(Arc::default()));
        made.unwrap_or_else(|never| match never {})
    }
}

/// The money that a request takes out of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) struct Charge {
    pub money: MicroUsd,
    pub price: Price,
}

/// One request and its money, taken out of its token's purse. It goes back unless it was dispatched.
#[derive(Debug)]
pub struct Spent {
    app: Arc<App>,
    grant: Arc<Grant>,
    amount: Allowance,
    /// When this was taken.
    era: Era,
    price: Price,
    meter: Option<Box<Meter>>,
    /// Where it stands in the trail, if it does.
    entry: Option<Box<Entry>>,
}

/// What a request paid.
#[derive(Debug)]
pub(in crate::gate) struct Paid {
    pub spent: Spent,
    /// The money of the budget that is then left, where the request cost some.
    pub left: Option<MicroUsd>,
}

impl Spent {
    pub const fn is_metered(&self) -> bool {
        self.meter.is_some()
    }

    /// What reads from the answer how much it was, where that is not known before.
    pub(super) fn meter(&mut self) -> Option<&mut Meter> {
        self.meter.as_deref_mut()
    }

    /// The request was dispatched: its price is spent, or all that was taken out where the price
    /// stayed unknown. How much money that was.
    pub fn keep(mut self) -> MicroUsd {
        let reserved = std::mem::take(&mut self.amount).money;
        if self.price == Price::Final {
            return reserved;
        }
        let (cost, basis) = match self.meter.take().map_or(Told::Nothing, |meter| meter.cost()) {
            Told::Whole(cost) => (cost, Basis::Answer),
            Told::Part(cost) => (cost.max(reserved), Basis::Reservation),
            Told::Nothing => (reserved, Basis::Reservation),
        };
        self.settle(cost, basis);
        let amount = Allowance { requests: 0, money: reserved.minus(cost) };
        self.put_back(Returned { amount, era: self.era, settled: reserved });
        let beyond = cost.minus(reserved);
        if beyond > MicroUsd::ZERO {
            // No bound was one after all: what was spent is counted all the same.
            let (app, token) = (Arc::clone(&self.app), self.grant.token.id);
            self.app.tasks.spawn("count what an agent's call cost beyond its bound", async move {
                if let Err(error) = delegation::charge_beyond(&app, token, beyond).await {
                    tracing::error!(%error, "what an agent's call cost beyond its bound was not counted");
                }
            });
        }
        cost
    }

    /// The money that was taken out; nothing where the request costs nothing.
    pub(in crate::gate) const fn charge(&self) -> Charge {
        Charge { money: self.amount.money, price: self.price }
    }

    /// The request was written down like this, and what it says of money may not be the last word.
    pub(in crate::gate) fn entered(&mut self, entry: Entry) {
        self.entry = Some(Box::new(entry));
    }

    /// Writes down what it has cost after all.
    fn settle(&mut self, cost: MicroUsd, basis: Basis) {
        if let Some(entry) = self.entry.take() {
            let Entry { actor, route } = *entry;
            let settled = Settled { of: self.grant.token.delegation(), route, cost, basis };
            self.app.note(actor, self.app.now(), AgentEvent::Settled(Box::new(settled)));
        }
    }

    fn put_back(&self, returned: Returned) {
        let (app, token) = (Arc::clone(&self.app), self.grant.token.id);
        let key = &self.grant.rate_key;
        let here = app.shared.put_back_here(key, returned);
        if here == Some(Kept::InPurse) {
            return;
        }
        let (key, tasks) = (key.clone(), app.tasks.clone());
        tasks.spawn("give back what an agent did not spend", async move {
            let kept = match here {
                Some(kept) => Ok(kept),
                None => app.shared.put_back(&key, returned).await,
            };
            let is_kept = match kept {
                Ok(kept) => kept == Kept::InPurse,
                Err(error) => {
                    // Whether it is there or not, nobody gets it twice.
                    tracing::warn!(%error, "what an agent did not spend is lost to it");
                    true
                }
            };
            if !is_kept
                && !returned.amount.is_nothing()
                && let Err(error) = delegation::give_back(&app, token, returned.amount).await
            {
                tracing::warn!(%error, "what an agent did not spend is lost to it");
            }
        });
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        let amount = std::mem::take(&mut self.amount);
        if !amount.is_nothing() {
            self.settle(MicroUsd::ZERO, Basis::Unsent);
            let settled = if self.price == Price::AtMost { amount.money } else { MicroUsd::ZERO };
            self.put_back(Returned { amount, era: self.era, settled });
        }
    }
}

/// What a request of this token wants to take out.
///
/// # Errors
/// [`AgentRefusal::NoBudget`]: it costs money and the token has none at all.
pub(in crate::gate) fn purchase(grant: &Grant, charge: Option<Charge>) -> Result<Purchase, Rejection> {
    let Limits { total, budget, .. } = grant.token.limits;
    if let Some(Charge { money, .. }) = charge
        && budget == MicroUsd::ZERO
    {
        let shortage = Shortage { required: money, remaining: budget };
        return Err(Rejection::Agent(AgentRefusal::NoBudget(shortage)));
    }
    Ok(Purchase {
        wanted: Allowance { requests: 1, money: charge.map_or(MicroUsd::ZERO, |charge| charge.money) },
        price: charge.map_or(Price::Final, |charge| charge.price),
        limits: Allowance { requests: total, money: budget },
        ends_at: grant.token.expires_at,
    })
}

/// Takes it out, if so much is left of the token's total and budget. Who finds nothing left suspends
/// the token. `first` is what was said already.
pub(in crate::gate) async fn spend(
    gate: &Gate,
    grant: &Arc<Grant>,
    purchase: &Purchase,
    first: Option<Bought>,
) -> Result<Paid, Rejection> {
    let key = &grant.rate_key;
    let mut bought = match first {
        Some(bought) => bought,
        None => gate.app.shared.buy(key, purchase).await.map_err(|error| unreachable(&error))?,
    };
    let mut turn = None;
    for _ in 0..LOOKS {
        match bought {
            Bought::Taken { left, era } => return Ok(paid(gate, grant, purchase, (left, era))),
            Bought::Stale(left) => {
                gate.records.give_back(grant.token.id, left).await.map_err(|error| silent(&error))?;
            }
            Bought::Short(short) => ask(gate, grant, purchase, short).await?,
            Bought::Wait if turn.is_none() => {
                turn = Some(gate.queues.of(grant.token.id).lock_owned().await);
            }
            Bought::Wait => tokio::time::sleep(LOOK_EVERY).await,
        }
        bought = gate.app.shared.buy(key, purchase).await.map_err(|error| unreachable(&error))?;
    }
    Err(Rejection::Unavailable(Silent::Shared))
}

/// Takes out the most that a call of a language model can cost; and what is sent for that to be so.
pub(in crate::gate) async fn spend_on_call(
    gate: &Gate,
    grant: &Arc<Grant>,
    tariff: &Tariff,
    body: &Bytes,
) -> Result<(Paid, Bytes), Rejection> {
    let call = tariff.call(body)?;
    let mut paid = spend(gate, grant, &purchase(grant, Some(call.charge))?, None).await?;
    paid.spent.meter = Some(Box::new(Meter::new(tariff.style, call.prices)));
    Ok((paid, call.body))
}

/// Undoes what was said, because the request goes no further.
pub(super) async fn abandon(gate: &Gate, grant: &Arc<Grant>, purchase: &Purchase, bought: Bought) {
    match bought {
        Bought::Taken { left, era } => drop(paid(gate, grant, purchase, (left, era))),
        Bought::Stale(left) => {
            if let Err(error) = gate.records.give_back(grant.token.id, left).await {
                tracing::warn!(%error, "what an agent did not spend is lost to it");
            }
        }
        Bought::Short(_) => {
            if let Err(error) = gate.app.shared.fill_nothing(&grant.rate_key).await {
                tracing::warn!(%error, "the purse of an agent stays closed for a moment");
            }
        }
        Bought::Wait => {}
    }
}

fn paid(gate: &Gate, grant: &Arc<Grant>, purchase: &Purchase, (left, era): (MicroUsd, Era)) -> Paid {
    let Purchase { wanted, price, .. } = *purchase;
    let (app, grant) = (Arc::clone(&gate.app), Arc::clone(grant));
    let left = (wanted.money > MicroUsd::ZERO).then_some(left);
    Paid { spent: Spent { app, grant, amount: wanted, era, price, meter: None, entry: None }, left }
}

/// Has the store fill the purse with a chunk, or with what is missing where there is no chunk left.
async fn ask(gate: &Gate, grant: &Arc<Grant>, purchase: &Purchase, short: Short) -> Result<(), Rejection> {
    let (shared, key, missing) = (&gate.app.shared, &grant.rate_key, short.missing);
    let taken = gate.records.take(grant.token.id, chunk_of(purchase.limits, missing), missing).await;
    let lacking = match taken {
        Ok(Handout::Granted { amount, in_store }) => {
            let filling = Filling { granted: amount, in_store, era: short.era, ends_at: purchase.ends_at };
            return fill(gate, grant, &filling).await;
        }
        Ok(Handout::Lacking(lacking)) => Ok(lacking),
        Err(error) => Err(silent(&error)),
    };
    if let Err(error) = shared.fill_nothing(key).await {
        tracing::warn!(%error, "the purse of an agent stays closed for a moment");
    }
    let lacking = lacking?;
    let in_store = match lacking {
        Lacking::Requests => return Err(trip(gate, grant, Trip::Total).await),
        Lacking::Money(in_store) => in_store,
    };
    let shortage = Shortage { required: purchase.wanted.money, remaining: short.here.plus(in_store) };
    if shortage.remaining > MicroUsd::ZERO || short.pending > MicroUsd::ZERO {
        // Something cheaper may pass, or some of it may come back.
        return Err(Rejection::Agent(AgentRefusal::OverBudget(shortage)));
    }
    Err(trip(gate, grant, Trip::Budget(shortage)).await)
}

/// Puts what the store handed out into the purse, or back where it is another era's meanwhile.
async fn fill(gate: &Gate, grant: &Arc<Grant>, filling: &Filling) -> Result<(), Rejection> {
    let filled = gate.app.shared.fill(&grant.rate_key, filling).await;
    match filled.map_err(|error| unreachable(&error))? {
        Kept::InPurse => Ok(()),
        Kept::Nowhere => {
            let given = gate.records.give_back(grant.token.id, filling.granted).await;
            given.map_err(|error| silent(&error))
        }
    }
}

/// Of what is missing, a part of the whole limit at once.
fn chunk_of(limits: Allowance, missing: Allowance) -> Allowance {
    let part = MicroUsd::from_micros(limits.money.as_micros() / i64::from(PART)).unwrap_or_default();
    Allowance {
        requests: if missing.requests > 0 { missing.requests.max(limits.requests / PART) } else { 0 },
        money: if missing.money > MicroUsd::ZERO { missing.money.max(part) } else { MicroUsd::ZERO },
    }
}

pub(super) fn unreachable(error: &Unreachable) -> Rejection {
    tracing::warn!(%error, "what an agent spends cannot be counted");
    Rejection::Unavailable(Silent::Shared)
}
