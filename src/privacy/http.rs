//! The endpoints of what people ask about what is kept of them (contract section 23).
//!
//! Law: an open session is not enough for any of it that changes or shows everything. What was wrong with
//! a link is told to nobody.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Deletion, REASON_MAX, Refused, Status, days_until};
use crate::account::{self, Account};
use crate::base::{Secret, Timestamp};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode as Code, Fields, FromFields, Json, Nothing, Row, get, post,
};
use crate::login::{self, Given, Lately, PROOF_CODES, PROOF_EVENTS, Place};

const TOKEN_MAX: usize = 128;

/// Endpoints for people about themselves.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/request-account-deletion/", request)
            .person()
            .limit(Bucket::Password)
            .codes(PROOF_CODES)
            .codes(&[Code::SoleOwner, Code::LastSuperuser])
            .audited(PROOF_EVENTS)
            .audited(&[
                "deletion_request_created",
                "deletion_request_confirmed",
                "deletion_request_cancelled",
            ])
            .about("Ask for my account to be deleted"),
        post("/confirm-account-deletion/", confirm)
            .open()
            .limit(Bucket::LinkVerify)
            .codes(&[Code::TokenRequired, Code::DeletionTokenInvalid])
            .audited(&["deletion_request_confirmed"])
            .about("Confirm with the token of the link that an account is to be deleted"),
        post("/cancel-account-deletion/", cancel)
            .person()
            .limit(Bucket::Password)
            .codes(PROOF_CODES)
            .codes(&[Code::NoDeletionPending])
            .audited(PROOF_EVENTS)
            .audited(&["deletion_request_cancelled"])
            .about("Keep my account after all"),
        get("/account-deletion-status/", status).person().about("Whether my account is to be deleted"),
        post("/export-user-data/", export)
            .person()
            .limit(Bucket::Password)
            .codes(PROOF_CODES)
            .audited(PROOF_EVENTS)
            .audited(&["data_exported"])
            .about("Everything that is kept of me"),
    ]
}

/// What proves who I am, and why I leave.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DeletionRequest")]
pub struct Wanted {
    #[schemars(flatten)]
    given: Given,
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = Given::from_fields(fields);
        let reason = fields.optional("reason").max(REASON_MAX).or_null().or_blank().text();
        Some(Self { given, reason })
    }
}

/// The deletion waits to be confirmed, or for its time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionRequested")]
struct Requested {
    request_id: i64,
    message: &'static str,
    grace_period_days: u64,
}

async fn request(call: Call, Json(body): Json<Wanted>) -> Result<Created<Requested>, ApiError> {
    let deletion = ask(&call, body).await?;
    let message = match deletion.status {
        Status::ConfirmationSent => "Deletion request created. Please check your email for confirmation.",
        _ => "Deletion request confirmed. Your account will be deleted after the grace period.",
    };
    let grace_period_days = call.app.config().accounts.deletion.grace.as_secs() / 86_400;
    Ok(Created(Requested { request_id: deletion.number.0, message, grace_period_days }))
}

/// Asks for the caller's account to go.
///
/// # Errors
/// What the endpoint answers.
pub async fn ask(call: &Call, wish: Wanted) -> Result<Deletion, ApiError> {
    let account = own(call).await?;
    let mut change = login::prove_whole(call, &account, wish.given, Lately::Now).await?;
    let deletion = super::request(&mut change, account.id, wish.reason.unwrap_or_default()).await?;
    change.commit().await?;
    Ok(deletion)
}

/// What a link handed over.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DeletionConfirm")]
struct Brought {
    /// Required.
    #[schemars(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
}

impl FromFields for Brought {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.optional("token").max(TOKEN_MAX).or_null().or_blank().secret() })
    }
}

/// When the account goes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionConfirmed")]
struct Confirmed {
    message: &'static str,
    /// RFC 3339, UTC.
    grace_period_ends_at: Option<String>,
    days_remaining: u64,
}

async fn confirm(call: Call, Json(body): Json<Brought>) -> Result<Json<Confirmed>, ApiError> {
    let missing = || ApiError::new(Code::TokenRequired).saying("Confirmation token is required");
    let token = body.token.filter(|token| !token.expose().is_empty()).ok_or_else(missing)?;
    let actor = call.actor();
    let place = Place::Application(actor.application);
    let done = super::confirm(&call.app, &token, place, actor).await?;
    let done = done.ok_or_else(|| ApiError::new(Code::DeletionTokenInvalid))?;
    Ok(Json(Confirmed {
        message: "Deletion request confirmed. Your account will be deleted after the grace period.",
        grace_period_ends_at: done.due_at.map(Timestamp::rfc3339),
        days_remaining: done.due_at.map_or(0, |at| days_until(at, call.app.now())),
    }))
}

/// What proves who I am.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Proof")]
pub struct Proved {
    #[schemars(flatten)]
    given: Given,
}

impl FromFields for Proved {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { given: Given::from_fields(fields) })
    }
}

/// The account stays.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionCancelled")]
struct Cancelled {
    message: String,
    cancelled_count: usize,
}

async fn cancel(call: Call, Json(body): Json<Proved>) -> Result<Json<Cancelled>, ApiError> {
    let cancelled_count = keep(&call, body).await?;
    Ok(Json(Cancelled {
        message: format!("Cancelled {cancelled_count} deletion request(s)."),
        cancelled_count,
    }))
}

/// Calls off that the caller's account goes; how many times it was asked for.
///
/// # Errors
/// What the endpoint answers.
pub async fn keep(call: &Call, proof: Proved) -> Result<usize, ApiError> {
    let account = own(call).await?;
    let mut change = login::prove_whole(call, &account, proof.given, Lately::OrAMomentAgo).await?;
    let cancelled_count = super::cancel(&mut change, &account).await?;
    if cancelled_count == 0 {
        return Err(ApiError::new(Code::NoDeletionPending));
    }
    change.commit().await?;
    Ok(cancelled_count)
}

/// What was asked, and what comes of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionStatus")]
struct Shown {
    total_requests: usize,
    active_request: Option<Active>,
    /// The newest first.
    history: Vec<Past>,
}

/// A deletion that may still come to something.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActiveDeletion")]
struct Active {
    id: i64,
    status: &'static str,
    /// RFC 3339, UTC.
    requested_at: String,
    /// Null until it is confirmed.
    grace_period_ends_at: Option<String>,
    days_remaining: Option<u64>,
    /// Since when, after its time, nobody could take my place.
    held_back_at: Option<String>,
}

/// One of all that were ever asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PastDeletion")]
struct Past {
    id: i64,
    status: &'static str,
    requested_at: String,
    confirmed_at: Option<String>,
    completed_at: Option<String>,
    reason: String,
}

impl Past {
    fn of(deletion: &Deletion) -> Self {
        Self {
            id: deletion.number.0,
            status: deletion.status.name(),
            requested_at: deletion.requested_at.rfc3339(),
            confirmed_at: deletion.confirmed_at.map(Timestamp::rfc3339),
            completed_at: deletion.completed_at.map(Timestamp::rfc3339),
            reason: deletion.reason.clone(),
        }
    }
}

async fn status(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    let now = call.app.now();
    let all = super::of_account(&call.app.db, call.person()?.account.id).await?;
    let active = all.iter().find(|deletion| deletion.status.is_open()).map(|deletion| Active {
        id: deletion.number.0,
        status: deletion.status.name(),
        requested_at: deletion.requested_at.rfc3339(),
        grace_period_ends_at: deletion.due_at.map(Timestamp::rfc3339),
        days_remaining: deletion.due_at.map(|at| days_until(at, now)),
        held_back_at: deletion.held_back_at.map(Timestamp::rfc3339),
    });
    let history = all.iter().map(Past::of).collect();
    Ok(Json(Shown { total_requests: all.len(), active_request: active, history }))
}

async fn export(call: Call, Json(body): Json<Proved>) -> Result<Json<Value>, ApiError> {
    hand_over(&call, body).await.map(Json)
}

/// Everything that is kept of the caller.
///
/// # Errors
/// What the endpoint answers.
pub async fn hand_over(call: &Call, proof: Proved) -> Result<Value, ApiError> {
    let account = own(call).await?;
    let mut change = login::prove_whole(call, &account, proof.given, Lately::OrAMomentAgo).await?;
    let all = super::export(&mut change, &account, super::SHOWN_ROWS).await?;
    change.commit().await?;
    Ok(all)
}

async fn own(call: &Call) -> Result<Account, ApiError> {
    let id = call.person()?.account.id;
    let gone = || ApiError::internal("the account of a live session is gone");
    account::by_id(&call.app.db, id).await?.ok_or_else(gone)
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone => Self::new(Code::Unauthorized).saying("Invalid or expired token"),
            Refused::SoleOwner(slugs) => {
                let slugs: Vec<String> = slugs.iter().map(ToString::to_string).collect();
                Self::new(Code::SoleOwner).with("organizations", json!(slugs))
            }
            Refused::LastSuperuser => Self::new(Code::LastSuperuser),
            Refused::Store(cause) => cause.into(),
        }
    }
}
