//! `hold` and its companions on a route's `agents`: what waits for people, for whom, how long.
//!
//! Law: whether a request is held is decided by the request and this; what cannot be compared is
//! held. Who decides is named, and every group asks for somebody.

use std::collections::BTreeMap;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::compare::Comparison;
use super::place::Place;
use super::problem::Report;
use crate::policy::approver::Group;
use crate::policy::definition::Definitions;
use crate::policy::{Approver, Approvers, Code};

/// More people than this agree to nothing.
const NEED_MAX: u32 = 10;
/// Headers that are never kept: credentials, and what only concerns one connection.
const NEVER_KEPT: [&str; 18] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-access-key",
    "x-access-secret",
    "x-action-confirmation",
];

/// Which requests of agents wait until people have approved them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hold {
    Word(HoldWord),
    When(HoldWhen),
}

/// All or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldWord {
    /// Unless `agents.confirm` names the permission.
    Never,
    Always,
}

/// Some.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldWhen {
    /// What about a request makes it wait. A body in which it cannot be found waits too.
    pub when: Comparison,
}

/// Who sends what was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldMode {
    /// The agent, once more and with the confirmation token.
    Retry,
    /// The gateway, as soon as it is approved; the agent asks for the answer.
    Sealed,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteApprovers {
    /// Any of these people.
    #[schemars(length(min = 1))]
    pub any_of: Option<Vec<RouteApprover>>,
    /// How many of them.
    #[schemars(range(min = 1, max = 10))]
    pub need: Option<u32>,
    /// Several groups, each of which must agree, nobody in two of them at once.
    #[schemars(length(min = 1))]
    pub all_of: Option<Vec<RouteGroup>>,
}

/// Some people, of whom so many must agree.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteGroup {
    /// Any of these people.
    #[schemars(length(min = 1))]
    pub any_of: Vec<RouteApprover>,
    /// How many of them; 1 if absent.
    #[schemars(range(min = 1, max = 10))]
    pub need: Option<u32>,
}

/// One kind of people. Exactly one key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteApprover {
    /// `true`: the human who delegated to the agent.
    pub delegator: Option<bool>,
    /// Who holds this role globally and is a member of the agent's organization, if it has one.
    pub role: Option<Code>,
    /// Who is this in the agent's organization, or above it.
    pub org_role: Option<Code>,
}

impl Hold {
    /// Whether some requests wait by this alone.
    #[must_use]
    pub const fn holds_any(&self) -> bool {
        !matches!(self, Self::Word(HoldWord::Never))
    }

    pub(super) fn check(&self, place: &Place, report: &mut Report) {
        if let Self::When(HoldWhen { when }) = self {
            when.check(&place.key("when"), report);
        }
    }
}

impl RouteApprovers {
    /// The rule that this says.
    #[must_use]
    pub fn rule(&self) -> Approvers {
        let group = |any_of: &[RouteApprover], need: Option<u32>| Group {
            any_of: any_of.iter().filter_map(RouteApprover::approver).collect(),
            need: need.unwrap_or(1),
        };
        let one = self.any_of.iter().map(|any_of| group(any_of, self.need));
        let several = self.all_of.iter().flatten().map(|own| group(&own.any_of, own.need));
        Approvers(one.chain(several).collect())
    }

    pub(super) fn check(&self, place: &Place, definitions: &Definitions, report: &mut Report) {
        if self.any_of.is_some() == self.all_of.is_some() {
            report.problem(place, "either `any_of` or `all_of`");
        }
        if self.need.is_some() && self.any_of.is_none() {
            report.problem(&place.key("need"), "belongs beside `any_of`, or into each group of `all_of`");
        }
        let any_of = place.key("any_of");
        for (at, approver) in self.any_of.iter().flatten().enumerate() {
            approver.check(&any_of.item(at), definitions, report);
        }
        for (index, group) in self.all_of.iter().flatten().enumerate() {
            let any_of = place.key("all_of").item(index).key("any_of");
            for (at, approver) in group.any_of.iter().enumerate() {
                approver.check(&any_of.item(at), definitions, report);
            }
        }
        let rule = self.rule();
        for group in &rule.0 {
            let are_delegators = group.any_of.iter().all(|approver| *approver == Approver::Delegator);
            if group.need == 0 || group.need > NEED_MAX {
                report.problem(&place.key("need"), format!("from 1 to {NEED_MAX}"));
            } else if are_delegators && group.need > 1 {
                report.problem(place, "there is one delegating human, who counts once");
            }
        }
    }
}

impl RouteApprover {
    fn approver(&self) -> Option<Approver> {
        match (self.delegator, &self.role, &self.org_role) {
            (Some(true), None, None) => Some(Approver::Delegator),
            (None, Some(role), None) => Some(Approver::Role(role.clone())),
            (None, None, Some(role)) => Some(Approver::OrgRole(role.clone())),
            _ => None,
        }
    }

    fn check(&self, place: &Place, definitions: &Definitions, report: &mut Report) {
        if self.approver().is_none() {
            report.problem(place, "exactly one of `delegator: true`, `role` and `org_role`");
        }
        let known = |code: &Code, is_known: bool, key: &str, section: &str, report: &mut Report| {
            if !is_known && report.is_whole(section) {
                report.problem(&place.key(key), format!("no {} is called `{code}`", key.replace('_', " ")));
            }
        };
        if let Some(role) = &self.role {
            known(role, has(&definitions.roles, role), "role", "roles", report);
        }
        if let Some(role) = &self.org_role {
            known(role, has(&definitions.org_roles, role), "org_role", "organizations", report);
        }
    }
}

fn has<V>(defined: &BTreeMap<Code, V>, code: &Code) -> bool {
    defined.contains_key(code)
}

/// Refuses names of headers that can never be kept.
pub(super) fn check_bound(names: &[String], place: &Place, report: &mut Report) {
    for (at, name) in names.iter().enumerate() {
        let place = place.item(at);
        let lower = name.to_ascii_lowercase();
        if HeaderName::try_from(name.as_str()).is_err() {
            report.problem(&place, format!("`{name}` is not a header's name"));
        } else if NEVER_KEPT.contains(&lower.as_str()) {
            report.problem(&place, format!("`{name}` is never kept with an approval"));
        }
    }
}
