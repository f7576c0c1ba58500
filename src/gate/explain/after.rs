//! What comes after the double check: waiting for people, limits, the total, the budget.
//!
//! Law: what the store knows is told; what only the running gateway knows is said to be so. Nothing is
//! counted, and nobody is asked anything.

use bytes::Bytes;

use super::super::agent::{AgentRefusal, Shortage, Trip};
use super::super::hold::Waits;
use super::super::rejection::Rejection;
use super::super::route::Route;
use super::super::world::World;
use super::agent::{Told, or};
use crate::agent::AgentToken;
use crate::base::MicroUsd;
use crate::config::{Hold, Limit, LimitBy};

/// Whether it would wait for people, by which rule, for whom and how long.
pub(super) fn of_hold(told: &mut Told<'_>, world: &World, route: &Route, body: Option<&[u8]>) -> Waits {
    let Some(agents) = &route.rule.agents else { return Waits::No };
    let Some(holding) = &route.hold else {
        told.show("hold", true, "nothing waits for people here".to_owned());
        return Waits::No;
    };
    let waits = holding.waits(body);
    let condition = holding.condition().unwrap_or_default();
    let by = match (waits, &agents.hold) {
        (Waits::Yes, _) if world.config.agents.confirm.contains(&agents.permission) => {
            format!("it waits for people: `agents.confirm` holds {}", agents.permission)
        }
        (Waits::Yes, Hold::Word(_)) => "it waits for people: `hold: always`".to_owned(),
        (Waits::Yes, Hold::When(_)) => format!("it waits for people, because {condition}"),
        (Waits::ByBody, _) => format!("it waits for people if {condition}"),
        (Waits::No, _) => format!("it does not wait; it would if {condition}"),
    };
    told.show("hold", true, by);
    if waits != Waits::No {
        told.show("decided by", true, holding.deciders());
        told.show("time", true, holding.clocks());
    }
    waits
}

/// How often it may ask, within a minute and here.
pub(super) fn of_rate(told: &mut Told<'_>, token: &AgentToken) {
    let limits = token.limits;
    let breaches = match limits.suspend_after {
        0 => "more is answered 429".to_owned(),
        1 => "one more suspends it".to_owned(),
        most => format!("breach {most} within an hour suspends it"),
    };
    told.ask(
        "rate",
        format!(
            "{} requests a minute, {breaches}; how many there were, the gateway knows",
            limits.per_minute
        ),
        or(limits.per_minute > 0 || limits.suspend_after == 0, AgentRefusal::Tripped(Trip::Rate)),
    );
    let failures = format!("{} failures in a row, one more suspends it", limits.failures);
    told.show("failures", true, failures);
}

/// The route's own limit.
pub(super) fn of_limit(told: &mut Told<'_>, route: &Route) {
    if let Some(Limit { requests, per, by }) = route.rule.limit {
        let by = match by {
            LimitBy::Principal => "with its human's",
            LimitBy::Address => "by address",
        };
        told.show("limit", true, format!("{requests} requests in {} s on this route, {by}", per.as_secs()));
    }
}

/// What is left of its total.
pub(super) fn of_total(told: &mut Told<'_>, token: &AgentToken) {
    let (total, granted) = (token.limits.total, token.granted.requests);
    let left = total.saturating_sub(granted);
    told.ask(
        "total",
        format!(
            "{granted} of {total} requests were handed out to be spent; {left} and what is unspent are left"
        ),
        or(total > 0, AgentRefusal::Tripped(Trip::Total)),
    );
}

/// What it costs here, and what is left of its budget.
pub(super) fn of_budget(told: &mut Told<'_>, token: &AgentToken, route: &Route, body: Option<&[u8]>) {
    let (budget, granted) = (token.limits.budget, token.granted.money);
    let remaining = budget.minus(granted);
    let charge = match (&route.tariff, body) {
        (None, _) => route.charge,
        (Some(tariff), Some(bytes)) => match tariff.call(&Bytes::copy_from_slice(bytes)) {
            Ok(call) => Some(call.charge),
            Err(refusal) => return told.ask("cost", "nobody can tell".to_owned(), Err(refusal)),
        },
        (Some(tariff), None) => {
            let models: Vec<&str> = tariff.prices.keys().map(String::as_str).collect();
            let cap = tariff.output_max;
            told.show("cost", true, format!(
                "what a language model takes ({}), at most its bytes and {cap} tokens where it has no cap", models.join(", ")
            ));
            None
        }
    };
    let required = charge.map_or(MicroUsd::ZERO, |charge| charge.money);
    match (charge, &route.tariff) {
        (Some(_), Some(_)) => told.show("cost", true, format!("at most {required} USD")),
        (Some(_), None) => told.show("cost", true, format!("{required} USD")),
        (None, Some(_)) => {}
        (None, None) => return told.show("cost", true, "nothing".to_owned()),
    }
    let shortage = Shortage { required, remaining };
    let answer = if budget == MicroUsd::ZERO {
        Err(Rejection::Agent(AgentRefusal::NoBudget(shortage)))
    } else {
        or(required <= budget, AgentRefusal::OverBudget(shortage))
    };
    let detail = format!(
        "{granted} of {budget} USD were handed out to be spent; {remaining} and what is unspent are left"
    );
    told.ask("budget", detail, answer);
}
