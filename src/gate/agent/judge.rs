//! The double check: may this agent do what its human may do here?
//!
//! Law: pure. An agent passes only if every conjunct says yes: the route admits agents, the code is
//! literally the token's, the human holds it now, the organization is the token's and stands, and
//! the route's policy says yes to the human. The first that fails is named, all codes are told.

use super::refusal::{AgentRefusal, Conjunct, Denial};
use crate::policy::judge::{Failure, Why};
use crate::policy::{Code, Judgement};

/// What is known about each conjunct.
#[derive(Debug)]
pub(in crate::gate) struct Case<'a> {
    /// What the route asks of agents; `None`: it admits none.
    pub asked: Option<&'a Code>,
    /// What was delegated, sorted.
    pub delegated: &'a [Code],
    /// Whether the human holds what is asked, now and where the token is for.
    pub is_held: bool,
    pub organization: Standing,
    /// What the route's policy says about the human.
    pub policy: &'a Judgement,
}

/// How the token's organization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Standing {
    /// The token is for none, or the human belongs to the one that it is for.
    Good,
    /// It is not there any more, or the human has nothing to do with it any more.
    Gone,
    /// The request names another one.
    Other,
}

/// Why the answer is no; `None` where it is yes.
pub(in crate::gate) fn judge(case: &Case<'_>) -> Option<AgentRefusal> {
    let Some(asked) = case.asked else { return Some(AgentRefusal::NotAllowed) };
    let is_delegated = case.delegated.binary_search(asked).is_ok();
    let failed = if !is_delegated {
        Conjunct::AgentScope
    } else if case.organization == Standing::Gone {
        Conjunct::Organization
    } else if !case.is_held {
        Conjunct::HumanPermission
    } else if case.organization == Standing::Other {
        return Some(AgentRefusal::OtherOrganization);
    } else {
        match case.policy {
            Judgement::Yes => return None,
            Judgement::No(Failure { condition: "mfa" | "max_age", .. }) => Conjunct::Session,
            Judgement::Unknown(Why::NoOrganization) => Conjunct::Organization,
            Judgement::No(_) | Judgement::Unknown(_) => Conjunct::Route,
        }
    };
    let mut missing = Vec::new();
    if !is_delegated || !case.is_held {
        missing.push(asked.clone());
    }
    if let Judgement::No(failure) = case.policy {
        missing.extend(failure.missing.iter().cloned());
    }
    missing.sort_unstable();
    missing.dedup();
    Some(AgentRefusal::Denied(Denial { failed, missing }))
}
