//! Why a request that waits for people goes no further, as agents are told.
//!
//! Law: the table of the design: nothing that an agent presents opens anything but the very request
//! that was approved, and what it presents wrongly stays as it is.

use std::time::Duration;

use ::http::header::{HeaderName, RETRY_AFTER};
use ::http::{HeaderValue, StatusCode as S, StatusCode};
use serde_json::{Map, Value, json};

use super::super::rejection::{Told as Row, seconds, whole_seconds};
use crate::approval::Told;

/// When an agent that asks for too much may ask again.
const LATER: Duration = Duration::from_secs(30);

/// Why a held request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldRefusal {
    Told(Told),
    /// Too many of this token's requests wait already.
    TooMany,
    /// A body that the human and the upstream could read differently.
    Body(BodyFlaw),
}

/// What is wrong with a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFlaw {
    ByteOrderMark,
    NotUtf8,
    /// Not JSON, or a key stands twice.
    Malformed,
    /// Two keys of an object differ in nothing but case.
    AlikeKeys,
    TooDeep,
    /// More than one line says what it is.
    ManyTypes,
}

impl HoldRefusal {
    #[rustfmt::skip]
    pub(in crate::gate) fn told(&self) -> Row {
        let row = |status: StatusCode, code, label, text, remedy| Row { status, code, label, text, remedy };
        let anew = "Send the request without X-Action-Confirmation to ask again.";
        match self {
            Self::Told(Told::Unknown) => row(S::CONFLICT, "APPROVAL_UNKNOWN", "approval_unknown",
                "There is no such approval", anew),
            Self::Told(Told::Mismatch) => row(S::CONFLICT, "APPROVAL_MISMATCH", "approval_mismatch",
                "The approval is for another request",
                "Send exactly what was approved: method, host, path, query, bound headers and body."),
            Self::Told(Told::Used(_)) => row(S::CONFLICT, "APPROVAL_USED", "approval_used",
                "The approval was used", "One approval is executed once; see `state`, and ask again if it must be."),
            Self::Told(Told::TooLarge(_)) => row(S::CONFLICT, "RESULT_TOO_LARGE", "approval_too_large",
                "It was executed, and the answer was too large to be kept", "See `state`; ask the service what came of it."),
            Self::Told(Told::Withheld(..)) => row(S::CONFLICT, "RESULT_WITHHELD", "approval_withheld",
                "It was executed, and agents may not read the answer", "See `state` and `reason`."),
            Self::Told(Told::Denied { .. }) => row(S::FORBIDDEN, "APPROVAL_DENIED", "approval_denied",
                "A human denied this", "See `reason`, and do not ask for the same again."),
            Self::Told(Told::Over(_)) => row(S::GONE, "APPROVAL_EXPIRED", "approval_expired",
                "The approval's time is over", anew),
            Self::Told(Told::Void) => row(S::CONFLICT, "APPROVAL_VOID", "approval_void",
                "What was asked for cannot be had any more", anew),
            Self::TooMany => row(S::TOO_MANY_REQUESTS, "TOO_MANY_PENDING", "approval_too_many",
                "Too many requests of this agent wait for approval", "Wait until some of them are decided."),
            Self::Body(flaw) => row(S::BAD_REQUEST, "BAD_REQUEST", "approval_body",
                "The request is malformed.", flaw.remedy()),
        }
    }

    /// When it makes sense to come back.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Told(Told::Denied { retry_after, .. }) => *retry_after,
            Self::TooMany => Some(LATER),
            Self::Told(_) | Self::Body(_) => None,
        }
    }

    /// The headers that this refusal owes the agent.
    pub(in crate::gate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.retry_after().map(|wait| (RETRY_AFTER, whole_seconds(wait))).into_iter().collect()
    }

    /// What the answer says beside the code.
    pub(in crate::gate) fn extend(&self, body: &mut Map<String, Value>) {
        match self {
            Self::Told(
                Told::Used(state) | Told::Over(state) | Told::TooLarge(state) | Told::Withheld(state, _),
            ) => {
                body.insert("state".into(), json!(state.name()));
                if let Self::Told(Told::Withheld(_, why)) = self {
                    body.insert("reason".into(), json!(why.name()));
                }
            }
            Self::Told(Told::Denied { reason, .. }) => {
                body.insert("reason".into(), json!(reason));
            }
            Self::Told(_) | Self::TooMany | Self::Body(_) => {}
        }
        if let Some(wait) = self.retry_after() {
            body.insert("retry_after".into(), json!(seconds(wait)));
        }
    }
}

impl BodyFlaw {
    const fn remedy(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "Send JSON without a byte order mark.",
            Self::NotUtf8 => "Send JSON as UTF-8.",
            Self::Malformed => "Send one JSON value in which no key stands twice.",
            Self::AlikeKeys => "Send JSON in which no two keys of an object differ in nothing but case.",
            Self::TooDeep => "Send JSON that is nested at most 64 levels deep.",
            Self::ManyTypes => "Send one Content-Type.",
        }
    }
}
