//! The rows of one person: `admin/users/{id}/` and what is done there.
//!
//! Law: what somebody changes needs the permission for that very thing; who is not of the caller's site, or
//! is gone, does not exist.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::deed::{Deed, Edit};
use super::view::Detail;
use super::{NAME_MAX, REASON_MAX, somebody};
use crate::account::{Activity, Field, MustChange};
use crate::http::{
    ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, Nothing, Row, del, get, patch, post,
};
use crate::privacy::ERASED_AT_ONCE;
use crate::rbac;

/// What every change of an account may answer.
const REFUSALS: [ErrorCode; 4] = [
    ErrorCode::NotFound,
    ErrorCode::PermissionDenied,
    ErrorCode::LastSuperuser,
    ErrorCode::LastAdministrator,
];
/// For how many minutes somebody is locked where nobody says.
pub const LOCKED_FOR: u64 = 30;
/// 30 days.
pub const LONGEST_LOCK: u64 = 43_200;

pub(super) fn rows() -> Vec<Row> {
    let changing = |row: Row| row.limit(Bucket::Users).codes(&REFUSALS).strict();
    let row = |closed: crate::http::row::Closed, needed| changing(closed.allow(needed));
    vec![
        get("/admin/users/{id}/", show)
            .allow("users.view")
            .codes(&[ErrorCode::NotFound])
            .about("Somebody, with everything that they hold"),
        row(patch("/admin/users/{id}/", change), "users.update")
            .audited(&["profile_changed", "account_activated", "account_deactivated"])
            .about(
                "Change somebody's names, whether they may log in, and whether they must choose a password",
            ),
        row(del("/admin/users/{id}/", remove), "users.delete")
            .codes(&[ErrorCode::SoleOwner])
            .audited(ERASED_AT_ONCE)
            .about("Delete somebody, with everything that is kept of them, at once and for good"),
        row(post("/admin/users/{id}/ban/", ban), "users.ban")
            .codes(&[ErrorCode::AlreadyBanned])
            .audited(&["account_banned"])
            .about("Shut somebody out for good"),
        row(post("/admin/users/{id}/unban/", unban), "users.ban")
            .codes(&[ErrorCode::NotBanned])
            .audited(&["account_unbanned"])
            .about("Let somebody in again who was banned"),
        row(post("/admin/users/{id}/lock/", lock), "users.lock")
            .codes(&[ErrorCode::AlreadyLocked])
            .audited(&["account_locked"])
            .about("Lock somebody out for some minutes"),
        row(post("/admin/users/{id}/unlock/", unlock), "users.lock")
            .codes(&[ErrorCode::NotLocked])
            .audited(&["account_unlocked"])
            .about("Lift somebody's lock, an administrator's or one after too many wrong passwords"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Json<Detail>, ApiError> {
    let user = somebody(&call).await?;
    let held = rbac::assignments(&call.app.db, user.id).await?;
    Ok(Json(Detail::of(&call.app, &user, held)))
}

/// What changes. What is left out stays as it is.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AdminUserChange")]
#[expect(dead_code, reason = "the fields of the wire; read into the ones that are skipped")]
struct ChangeBody {
    first_name: Option<String>,
    last_name: Option<String>,
    /// Whether they may log in. Whoever may not is logged out everywhere.
    is_active: Option<bool>,
    /// Whether the next login opens nothing but choosing another password.
    must_change_password: Option<bool>,
    #[schemars(skip)]
    fields: Vec<Field>,
    #[schemars(skip)]
    activity: Option<Activity>,
    #[schemars(skip)]
    must_change: Option<MustChange>,
}

impl FromFields for ChangeBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let first = fields.optional("first_name").max(NAME_MAX).or_blank().text().map(Field::FirstName);
        let last = fields.optional("last_name").max(NAME_MAX).or_blank().text().map(Field::LastName);
        let activity = fields.optional("is_active").flag();
        let must_change = fields.optional("must_change_password").flag();
        let chosen = |must| if must { MustChange::AtNextLogin } else { MustChange::No };
        let able = |is_active| if is_active { Activity::Active } else { Activity::Inactive };
        Some(Self {
            first_name: None,
            last_name: None,
            is_active: None,
            must_change_password: None,
            fields: first.into_iter().chain(last).collect(),
            activity: activity.map(able),
            must_change: must_change.map(chosen),
        })
    }
}

async fn change(call: Call, Json(body): Json<ChangeBody>) -> Result<Json<Detail>, ApiError> {
    let ChangeBody { fields, activity, must_change, .. } = body;
    let deed = Deed::Edit(Edit { fields, activity, must_change, role: None });
    let user = somebody(&call).await?;
    let (user, held) = deed.carry_out(&call, user.id, "users.update").await?;
    Ok(Json(Detail::of(&call.app, &user, held)))
}

/// Somebody who is gone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AdminUserDeleted")]
struct Deleted {
    message: &'static str,
    user_id: String,
}

async fn remove(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let user = somebody(&call).await?;
    Deed::Delete.carry_out(&call, user.id, "users.delete").await?;
    Ok(Json(Deleted { message: "User deleted successfully", user_id: user.number.to_string() }))
}

/// Somebody after they were shut out or let in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AdminUserStanding")]
struct Done {
    message: String,
    user: Detail,
}

async fn done(
    call: &Call,
    deed: &Deed,
    needed: &'static str,
    message: impl Into<String>,
) -> Result<Json<Done>, ApiError> {
    let user = somebody(call).await?;
    let (user, held) = deed.carry_out(call, user.id, needed).await?;
    Ok(Json(Done { message: message.into(), user: Detail::of(&call.app, &user, held) }))
}

/// Why.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AdminUserReason")]
struct ReasonBody {
    /// For the audit trail.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl FromFields for ReasonBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: reason(fields) })
    }
}

fn reason(fields: &mut Fields) -> Option<String> {
    let text = fields.optional("reason").max(REASON_MAX).or_null().or_blank().text();
    text.filter(|text| !text.is_empty())
}

async fn ban(call: Call, Json(body): Json<ReasonBody>) -> Result<Json<Done>, ApiError> {
    done(&call, &Deed::Ban { reason: body.reason }, "users.ban", "User banned successfully").await
}

async fn unban(call: Call, _: Nothing) -> Result<Json<Done>, ApiError> {
    done(&call, &Deed::Unban, "users.ban", "User unbanned successfully").await
}

/// For how long, and why.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AdminUserLock")]
struct LockBody {
    /// From 1 to 43200: 30 if absent.
    #[schemars(with = "Option<u64>", skip_serializing_if = "Option::is_none")]
    duration_minutes: u64,
    /// For the audit trail.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl FromFields for LockBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let minutes = fields.optional("duration_minutes").whole(1, LONGEST_LOCK).unwrap_or(LOCKED_FOR);
        Some(Self { duration_minutes: minutes, reason: reason(fields) })
    }
}

async fn lock(call: Call, Json(body): Json<LockBody>) -> Result<Json<Done>, ApiError> {
    let LockBody { duration_minutes: minutes, reason } = body;
    let lasts = Duration::from_mins(minutes);
    let deed = Deed::Lock { until: call.app.now().plus(lasts), reason };
    done(&call, &deed, "users.lock", format!("User locked for {minutes} minutes")).await
}

async fn unlock(call: Call, _: Nothing) -> Result<Json<Done>, ApiError> {
    done(&call, &Deed::Unlock, "users.lock", "User unlocked successfully").await
}
