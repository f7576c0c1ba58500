//! What a decision says: a verdict, and what every answer to the request carries.
//!
//! Law: three verdicts and never a bare yes. What may be forwarded holds its [`Permit`].

use std::sync::Arc;

use ::http::HeaderValue;
use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL,
    HeaderName, VARY,
};

use super::agent::{Spent, budget_left};
use super::cors::Granted;
use super::hold::Kept;
use super::permit::Permit;
use super::refused::Asker;
use super::rejection::{Pace, Rejection};
use super::route::{CredentialUse, Route};
use super::target::CanonicalTarget;
use crate::base::MicroUsd;
use crate::http::Reply;
use crate::principal::Principal;

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    Forward(Box<Admitted>),
    Answer(Reply),
    Reject(Rejection),
}

/// A request that may be forwarded, with everything that is written on it.
#[derive(Debug)]
pub struct Admitted {
    pub permit: Permit,
    /// As the upstream gets it.
    pub target: CanonicalTarget,
    /// What the upstream is told about the caller.
    pub stamps: Vec<(HeaderName, HeaderValue)>,
    pub authorization: Authorization,
    /// Failures of this agent are known that a success would forgive.
    pub has_failures: bool,
    /// What an agent spent on the request.
    pub spent: Option<Spent>,
    /// What is sent instead of what came, where people approved it.
    pub kept: Option<Box<Kept>>,
}

/// What happens to the client's `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    Removed,
    /// It is not ours, and the route asks for it.
    Forwarded,
}

/// A verdict and its circumstances.
#[derive(Debug)]
pub struct Decision {
    pub verdict: Verdict,
    /// The route that was found, also where its policy then said no.
    pub route: Option<Arc<Route>>,
    /// Headers of the answer, whoever gives it; `Vary` is added to what is there, and `Cache-Control`
    /// narrows it.
    pub answer: Vec<(HeaderName, HeaderValue)>,
    /// Headers that an upstream has no say in on this route.
    pub answer_without: &'static [HeaderName],
}

/// What the answer will carry, collected while the steps are taken.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what the steps found, one by one")]
pub(super) struct Answer {
    granted: Option<Granted>,
    has_cors: bool,
    /// Browsers may come by a cookie.
    has_cookie: bool,
    is_for_one: bool,
    pace: Option<Pace>,
    /// Of the budget of the agent that asks, on a route that costs.
    budget_left: Option<MicroUsd>,
    /// Who asks, for who writes down a refusal.
    asker: Option<Asker>,
    /// What becomes of it is in the trail already.
    has_row: bool,
}

/// An upstream must not widen what the route grants.
const CORS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

impl Decision {
    pub(super) fn refused(rejection: Rejection) -> Self {
        Self { verdict: Verdict::Reject(rejection), route: None, answer: Vec::new(), answer_without: &[] }
    }

    pub(super) fn answered(reply: Reply) -> Self {
        Self { verdict: Verdict::Answer(reply), route: None, answer: Vec::new(), answer_without: &[] }
    }

    pub(super) fn on_route(route: &Arc<Route>, verdict: Result<Verdict, Rejection>, answer: Answer) -> Self {
        let verdict = verdict.unwrap_or_else(|rejection| {
            route.metrics.refused(rejection.label());
            Verdict::Reject(rejection)
        });
        let answer_without = if answer.has_cors { &CORS[..] } else { &[] };
        Self { verdict, route: Some(Arc::clone(route)), answer: answer.headers(), answer_without }
    }

    /// The route's own answer to a preflight, which has all that it needs.
    pub(super) fn preflight(route: &Arc<Route>, reply: Reply) -> Self {
        Self { route: Some(Arc::clone(route)), ..Self::answered(reply) }
    }
}

impl Answer {
    pub fn of(route: &Route, granted: Option<Granted>) -> Self {
        Self {
            granted,
            has_cors: route.cors.is_some(),
            has_cookie: route.rule.browser && route.credential != CredentialUse::Ignored,
            is_for_one: false,
            pace: None,
            budget_left: None,
            asker: None,
            has_row: false,
        }
    }

    pub fn asked_by(&mut self, person: Option<&Principal>) {
        self.asker = person.map(|person| Asker { account: person.account.id, site: person.account.site });
    }

    pub const fn asker(&self) -> Option<Asker> {
        self.asker
    }

    pub const fn leaves_row(&mut self, has_row: bool) {
        self.has_row = has_row;
    }

    pub const fn has_row(&self) -> bool {
        self.has_row
    }

    pub fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }

    /// Whether it is for somebody whom no `Authorization` tells a shared cache of: a cookie and keys of ours,
    /// an application's too, say nothing to caches.
    pub fn keep_private(&mut self, is_for_one: bool) {
        self.is_for_one = is_for_one;
    }

    pub fn pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    pub fn budget_left(&mut self, left: Option<MicroUsd>) {
        self.budget_left = left;
    }

    /// A route with CORS answers differently to different pages, whether one asks or not; one that browsers come
    /// to, to different people.
    fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if self.has_cors {
            headers.push((VARY, HeaderValue::from_static("Origin")));
        }
        if self.has_cookie {
            headers.push((VARY, HeaderValue::from_static("Cookie")));
        }
        if self.is_for_one {
            headers.push((CACHE_CONTROL, HeaderValue::from_static("private")));
        }
        if let Some(granted) = &self.granted {
            granted.write(&mut |name, value| headers.push((name, value)));
        }
        headers.extend(self.pace.iter().flat_map(Pace::headers));
        headers.extend(self.budget_left.map(budget_left));
        headers
    }
}
