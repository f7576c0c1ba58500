//! What agents spent: their own reports, and what people read about it.
//!
//! Law: an agent reports for itself only; a human reads about their own agents only.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::ledger::used_since;
use super::super::ledger::without_purses;
use super::super::{ReportError, Reported, Usage, report};
use super::own::{Own, paced_caller};
use super::{LISTED, State};
use crate::base::{Id, MicroUsd, Timestamp};
use crate::http::{ApiError, Call, ErrorCode, Fields, FromFields, Json, Query};
use crate::metrics::Dependency;

const TOKENS_MAX: u64 = 1_000_000_000_000;
const KEY_MAX: usize = 255;
/// How many days are shown, and how many if nobody says.
const DAYS_MAX: i64 = 366;
const DAYS: i64 = 30;

/// What an agent spent since its last report.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AgentUsageReport")]
pub(super) struct ReportBody {
    /// Dollars.
    #[schemars(rename = "cost_usd")]
    cost: Option<MicroUsd>,
    /// Not kept.
    #[schemars(rename = "prompt_tokens")]
    _prompt_tokens: Option<u64>,
    /// Not kept.
    #[schemars(rename = "completion_tokens")]
    _completion_tokens: Option<u64>,
}

impl FromFields for ReportBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            cost: fields.optional("cost_usd").amount(),
            _prompt_tokens: fields.optional("prompt_tokens").whole(0, TOKENS_MAX),
            _completion_tokens: fields.optional("completion_tokens").whole(0, TOKENS_MAX),
        })
    }
}

pub(super) async fn report_usage(call: Call, Json(body): Json<ReportBody>) -> Result<Json<State>, ApiError> {
    let token = paced_caller(&call, Own::Usage).await?;
    let key = call.head.idempotency_key.as_deref();
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
        return Err(ApiError::new(ErrorCode::BadRequest).saying("The Idempotency-Key is empty or too long"));
    }
    match report(&call.app, &token, body.cost.unwrap_or_default(), key).await? {
        Reported::Counted => Ok(Json(State { status: "ok" })),
        Reported::Exhausted => Err(ApiError::new(ErrorCode::BudgetExceeded).with("status", "suspended")),
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::KeyReused => Self::new(ErrorCode::IdempotencyKeyReused),
            ReportError::Shared(cause) => Self::unavailable(cause).lacking(Dependency::Shared),
            ReportError::Store(cause) => cause.into(),
        }
    }
}

/// Of which days.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AgentUsageQuery")]
pub(super) struct UsageQuery {
    /// How many days back, today included.
    days: Option<i64>,
}

impl FromFields for UsageQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let days = fields.optional("days").parsed(|text| match text.parse() {
            Ok(number @ 1..=DAYS_MAX) => Ok(number),
            _ => Err("A number from 1 to 366."),
        });
        Some(Self { days })
    }
}

/// What a human's agents used.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgentUsage")]
pub(super) struct Shown {
    /// The first and the last day, in UTC.
    from: String,
    to: String,
    tokens: Vec<OfToken>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgentTokenUsage")]
struct OfToken {
    id: i64,
    agent_id: String,
    status: &'static str,
    /// Dollars, and so below.
    budget_limit_usd: MicroUsd,
    /// In its whole life.
    current_spend_usd: MicroUsd,
    current_request_count: u32,
    /// Days on which it did something, the newest first.
    days: Vec<OfDay>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgentDayUsage")]
struct OfDay {
    day: String,
    /// Requests that were dispatched.
    requests: u32,
    /// What they cost.
    spend_usd: MicroUsd,
    /// What the agent reported.
    reported_usd: MicroUsd,
}

pub(super) async fn list(call: Call, Query(query): Query<UsageQuery>) -> Result<Json<Shown>, ApiError> {
    let account = &call.person()?.account;
    let mut tokens = super::super::list(&call.app.db, account.site, Some(account.id), LISTED).await?;
    without_purses(&call.app, &mut tokens).await;
    let today = call.app.now().days();
    let first = today - query.days.unwrap_or(DAYS) + 1;
    let ids: Vec<Id> = tokens.iter().map(|token| token.id).collect();
    let used = used_since(&call.app, &ids, first).await?;
    let days_of = |id: Id| {
        let days = used.range((id, i64::MIN)..=(id, i64::MAX)).rev();
        days.map(|((_, day), Usage { requests, spent, reported })| OfDay {
            day: date_of(*day),
            requests: *requests,
            spend_usd: *spent,
            reported_usd: *reported,
        })
        .collect()
    };
    let tokens = tokens.into_iter().map(|token| OfToken {
        id: token.number.0,
        status: token.status.name(),
        budget_limit_usd: token.limits.budget,
        current_spend_usd: token.granted.money,
        current_request_count: token.granted.requests,
        days: days_of(token.id),
        agent_id: token.agent,
    });
    Ok(Json(Shown { from: date_of(first), to: date_of(today), tokens: tokens.collect() }))
}

/// A day since 1970 as a date.
fn date_of(day: i64) -> String {
    let mut text = Timestamp::from_millis(day * 86_400_000).rfc3339();
    text.truncate("2026-11-21".len());
    text
}
