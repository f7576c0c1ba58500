//! `/users/{id}/lock`, `/users/{id}/unlock` and `/users/bulk-actions`: shutting people out and letting them in.
//!
//! Law: of many people each is done by themselves, in a change of their own: what is refused of one is told of that
//! one, and stops nobody else's.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::auth::Done;
use super::refusal::{WORDING, briefly};
use super::{CHANGED, NAME};
use crate::account::{self, Activity, Reference};
use crate::administration::{Deed, Edit, LOCKED_FOR, LONGEST_LOCK, REASON_MAX, somebody};
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, Nothing, Row, post};
use crate::policy::Code;
use crate::privacy::ERASED_AT_ONCE;

/// How many people are done at once.
const AT_ONCE: usize = 100;

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        post("/users/bulk-actions", bulk)
            .allow("users.view")
            .codes(&[ErrorCode::PermissionDenied])
            .audited(&[
                "account_activated",
                "account_deactivated",
                "account_locked",
                "account_unlocked",
                "session_ended",
            ])
            .audited(ERASED_AT_ONCE)
            .about("Do the same to up to 100 people; each is done, or not, by themselves"),
        post("/users/{id}/lock", lock)
            .allow("users.lock")
            .codes(CHANGED)
            .codes(&[ErrorCode::AlreadyLocked])
            .audited(&["account_locked", "session_ended"])
            .about("Lock somebody out for some minutes"),
        post("/users/{id}/unlock", unlock)
            .allow("users.lock")
            .codes(CHANGED)
            .codes(&[ErrorCode::NotLocked])
            .audited(&["account_unlocked"])
            .about("Lift somebody's lock, an administrator's or one after too many wrong passwords"),
    ];
    rows.into_iter()
        .map(|row| row.limit(Bucket::AuthSystemUsers).strict().of_profile(NAME, WORDING))
        .collect()
}

fn reason(fields: &mut Fields) -> Option<String> {
    let text = fields.optional("reason").max(REASON_MAX).or_null().or_blank().text();
    text.filter(|text| !text.is_empty())
}

fn minutes(fields: &mut Fields) -> u64 {
    fields.optional("duration_minutes").whole(1, LONGEST_LOCK).unwrap_or(LOCKED_FOR)
}

/// For how long, and why.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemLock")]
struct LockBody {
    /// For the audit trail.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// From 1 to 43200: 30 if absent.
    #[schemars(with = "Option<u64>", skip_serializing_if = "Option::is_none")]
    duration_minutes: u64,
}

impl FromFields for LockBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: reason(fields), duration_minutes: minutes(fields) })
    }
}

/// Somebody is locked out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemLocked")]
struct Locked {
    message: &'static str,
    /// RFC 3339, UTC.
    locked_until: Option<String>,
}

async fn lock(call: Call, Json(body): Json<LockBody>) -> Result<Json<Locked>, ApiError> {
    let own = somebody(&call).await?;
    let deed = Deed::Lock { until: until(&call, body.duration_minutes), reason: body.reason };
    let (own, _) = deed.carry_out(&call, own.id, "users.lock").await?;
    let lock = own.lock(call.app.now()).and_then(|lock| lock.until);
    Ok(Json(Locked {
        message: "User account locked successfully",
        locked_until: lock.map(Timestamp::rfc3339),
    }))
}

fn until(call: &Call, minutes: u64) -> Timestamp {
    call.app.now().plus(Duration::from_mins(minutes))
}

async fn unlock(call: Call, _: Nothing) -> Result<Json<Done>, ApiError> {
    let own = somebody(&call).await?;
    Deed::Unlock.carry_out(&call, own.id, "users.lock").await?;
    Ok(Json(Done { message: "User account unlocked successfully" }))
}

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Activate,
    Deactivate,
    Lock,
    Unlock,
    Delete,
}

impl Action {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "activate" => Ok(Self::Activate),
            "deactivate" => Ok(Self::Deactivate),
            "lock" => Ok(Self::Lock),
            "unlock" => Ok(Self::Unlock),
            "delete" => Ok(Self::Delete),
            _ => Err("One of activate, deactivate, lock, unlock, delete."),
        }
    }

    const fn needs(self) -> &'static str {
        match self {
            Self::Activate | Self::Deactivate => "users.update",
            Self::Lock | Self::Unlock => "users.lock",
            Self::Delete => "users.delete",
        }
    }
}

/// The same for many.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemBulk")]
struct BulkBody {
    /// From 1 to 100, each once.
    #[schemars(with = "Vec<String>", length(min = 1, max = 100))]
    user_ids: Vec<Id>,
    /// `activate`, `deactivate`, `lock`, `unlock` or `delete`.
    #[schemars(with = "String")]
    action: Action,
    /// For the audit trail, where somebody is locked.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// For how long somebody is locked: from 1 to 43200, 30 if absent.
    #[schemars(with = "Option<u64>", skip_serializing_if = "Option::is_none")]
    duration_minutes: u64,
}

impl FromFields for BulkBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = fields.required("user_ids").json();
        let user_ids = given.and_then(|given| ids(fields, &given));
        let action = fields.required("action").parsed(Action::parse);
        let (reason, duration_minutes) = (reason(fields), minutes(fields));
        Some(Self { user_ids: user_ids?, action: action?, reason, duration_minutes })
    }
}

fn ids(fields: &mut Fields, given: &Value) -> Option<Vec<Id>> {
    let Some(list) = given.as_array().filter(|list| (1..=AT_ONCE).contains(&list.len())) else {
        fields.problem("user_ids", format!("A list of 1 to {AT_ONCE} ids."));
        return None;
    };
    let ids: Option<Vec<Id>> = list.iter().map(|one| one.as_str()?.parse().ok()).collect();
    let Some(ids) = ids else {
        fields.problem("user_ids", "Each of them is the id of a user.");
        return None;
    };
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        fields.problem("user_ids", "Somebody stands in it twice.");
        return None;
    }
    Some(ids)
}

/// What became of each.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemBulkDone")]
struct Finished {
    message: &'static str,
    /// How many were asked for.
    total: usize,
    /// How many of them it was tried for: all.
    processed: usize,
    /// How many of them are now as was asked.
    affected_users: usize,
    failed_users: Vec<Failed>,
    results: Vec<Outcome>,
}

/// Somebody to whom it was not done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemBulkFailed")]
struct Failed {
    user_id: String,
    code: &'static str,
    message: String,
}

/// What became of one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemBulkOutcome")]
struct Outcome {
    user_id: String,
    /// `done` or `failed`.
    result: &'static str,
}

async fn bulk(call: Call, Json(body): Json<BulkBody>) -> Result<Json<Finished>, ApiError> {
    let needed = body.action.needs();
    let rights = &call.person()?.rights;
    if !Code::parse(needed).is_ok_and(|code| rights.holds_code(&code)) {
        return Err(ApiError::new(ErrorCode::PermissionRequired).with("missing", vec![needed]));
    }
    let deed = deed_of(&call, &body);
    let (mut failed_users, mut results) = (Vec::new(), Vec::new());
    for id in &body.user_ids {
        let user_id = id.to_string();
        let result = match one(&call, *id, &deed, needed).await {
            Ok(()) => "done",
            Err(refused) => {
                let (code, message) = briefly(&refused);
                failed_users.push(Failed { user_id: user_id.clone(), code, message });
                "failed"
            }
        };
        results.push(Outcome { user_id, result });
    }
    let total = results.len();
    let affected_users = total - failed_users.len();
    let message = "Bulk action completed";
    Ok(Json(Finished { message, total, processed: total, affected_users, failed_users, results }))
}

fn deed_of(call: &Call, body: &BulkBody) -> Deed {
    let switch = |activity| Deed::Edit(Edit { activity: Some(activity), ..Edit::default() });
    match body.action {
        Action::Activate => switch(Activity::Active),
        Action::Deactivate => switch(Activity::Inactive),
        Action::Lock => Deed::Lock { until: until(call, body.duration_minutes), reason: body.reason.clone() },
        Action::Unlock => Deed::Unlock,
        Action::Delete => Deed::Delete,
    }
}

async fn one(call: &Call, id: Id, deed: &Deed, needed: &'static str) -> Result<(), ApiError> {
    let site = call.person()?.account.site;
    let missing = || ApiError::new(ErrorCode::NotFound).saying("User not found");
    let own = account::find(&call.app.db, site, &Reference::Id(id)).await?.ok_or_else(missing)?;
    deed.carry_out(call, own.id, needed).await.map(drop)
}
