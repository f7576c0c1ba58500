//! The rows of `admin/deletion-requests/`, for those who watch over what becomes of people's accounts
//! (contract section 23).
//!
//! Law: who asks sees the deletions of the own site and no others. Nobody is erased whose own wish was not
//! confirmed or who was stopped, nor by anybody who at that moment may not or holds less. Words typed out stand
//! before what cannot be undone, and what guards the last superuser, the last who manages rights and
//! organizations without an owner holds here too.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::due::{self, NotProcessed, PROCESS};
use super::store::{self, Sought};
use super::{Deletion, Status};
use crate::account::{self, Known, Reference};
use crate::audit::{self, Search};
use crate::base::{Id, Number, Timestamp};
use crate::http::{
    ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging,
    Query, Row, get, post,
};
use crate::store::again;

/// What somebody types who means it.
const WORDS: &str = "PERMANENTLY DELETE";
const NOTES_MAX: usize = 500;
const PROCESSED: &str = "deletion_request_processed";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/deletion-requests/", list)
            .allow("gdpr.admin")
            .codes(&[Code::NotFound])
            .strict()
            .about("Accounts that are to go or went, page by page"),
        get("/admin/deletion-requests/{id}/", show)
            .allow("gdpr.admin")
            .codes(&[Code::NotFound])
            .about("One of them"),
        post("/admin/deletion-requests/process-expired/", process_expired)
            .allow(PROCESS)
            .limit(Bucket::Password)
            .audited(&["account_deleted", PROCESSED, "deletion_request_failed", "deletion_request_put_off"])
            .about("Delete the accounts whose time is over now rather than within a minute"),
        post("/admin/deletion-requests/{id}/process/", process)
            .allow(PROCESS)
            .limit(Bucket::Password)
            .codes(&[
                Code::NotFound,
                Code::ConfirmationRequired,
                Code::DeletionNotConfirmed,
                Code::PermissionDenied,
                Code::AccountStopped,
                Code::SoleOwner,
                Code::LastSuperuser,
                Code::LastAdministrator,
            ])
            .strict()
            .audited(&["account_deleted", PROCESSED])
            .about("Delete an account for good whose person has confirmed it, without waiting"),
    ]
}

/// An account that is to go, or went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeletionListed")]
struct Shown {
    id: String,
    /// The number of the account.
    user: Option<i64>,
    /// Null once the account is gone.
    user_email: Option<String>,
    /// `confirmation_sent`, `confirmed`, `completed` or `cancelled`.
    status: &'static str,
    /// RFC 3339, UTC.
    requested_at: String,
    confirmed_at: Option<String>,
    grace_period_ends_at: Option<String>,
    completed_at: Option<String>,
    cancelled_at: Option<String>,
    /// Since when something stands in its way, which the trail says.
    held_back_at: Option<String>,
    /// From where it was asked for; null once the account is gone.
    ip_address: Option<String>,
    /// What its person said; empty once the account is gone.
    reason: String,
    admin_notes: String,
    /// The number of whoever did not wait for the end of the grace period.
    processed_by: Option<i64>,
    processed_by_email: Option<String>,
    is_grace_period_expired: bool,
}

/// Shows them with the names of those whom they are about.
async fn shown(call: &Call, all: &[Deletion]) -> Result<Vec<Shown>, ApiError> {
    let ids: BTreeSet<Id> =
        all.iter().flat_map(|one| [Some(one.account), one.processed_by]).flatten().collect();
    let ids: Vec<Id> = ids.into_iter().collect();
    let known = account::known(&call.app.db, call.person()?.account.site, &ids).await?;
    let known: HashMap<Id, Known> = known.into_iter().map(|known| (known.id, known)).collect();
    let email = |known: &Known| known.email.as_ref().map(ToString::to_string);
    let now = call.app.now();
    let shown = all.iter().map(|one| {
        let (user, by) = (known.get(&one.account), one.processed_by.and_then(|id| known.get(&id)));
        Shown {
            id: one.number.to_string(),
            user: user.map(|user| user.number.0),
            user_email: user.and_then(email),
            status: one.status.name(),
            requested_at: one.requested_at.rfc3339(),
            confirmed_at: one.confirmed_at.map(Timestamp::rfc3339),
            grace_period_ends_at: one.due_at.map(Timestamp::rfc3339),
            completed_at: one.completed_at.map(Timestamp::rfc3339),
            cancelled_at: one.cancelled_at.map(Timestamp::rfc3339),
            held_back_at: one.held_back_at.map(Timestamp::rfc3339),
            ip_address: one.address.clone(),
            reason: one.reason.clone(),
            admin_notes: one.notes.clone(),
            processed_by: by.map(|by| by.number.0),
            processed_by_email: by.and_then(email),
            is_grace_period_expired: one.due_at.is_some_and(|at| at <= now),
        }
    });
    Ok(shown.collect())
}

/// Which ones, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DeletionQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Whose, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// `confirmation_sent`, `confirmed`, `completed` or `cancelled`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// Asked for at this moment or later: RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_from: Option<Timestamp>,
    /// Asked for before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_to: Option<Timestamp>,
    /// `requested_at`, `confirmed_at`, `grace_period_ends_at`, joined by commas; with a `-` before one the other
    /// way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let user_id = fields.optional("user_id").text();
        let status = fields.optional("status").parsed(|text| {
            Status::from_name(text).ok_or_else(|| format!("\"{text}\" is not a valid choice."))
        });
        let date_from = fields.optional("date_from").moment();
        let date_to = fields.optional("date_to").moment();
        let ordering =
            Ordering::from_fields(fields, &["requested_at", "confirmed_at", "grace_period_ends_at"]);
        Some(Self { paging, user_id, status, date_from, date_to, ordering })
    }
}

/// The id of whom a filter names. Somebody who is gone is named by their id.
async fn whom(call: &Call, text: Option<&str>) -> Result<Option<Id>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || ApiError::invalid("user_id", &["There is no such user.".to_owned()]);
    match text.parse::<Reference>() {
        Ok(Reference::Id(id)) => Ok(Some(id)),
        Ok(reference @ Reference::Number(_)) => {
            let found = account::find(&call.app.db, call.person()?.account.site, &reference).await?;
            found.map(|account| Some(account.id)).ok_or_else(unknown)
        }
        Ok(_) | Err(_) => Err(unknown()),
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<Shown>>, ApiError> {
    let site = call.person()?.account.site;
    let sought = Sought {
        account: whom(&call, query.user_id.as_deref()).await?,
        status: query.status,
        since: query.date_from,
        until: query.date_to,
    };
    let count = usize::try_from(store::count(&call.app.db, site, sought).await?).unwrap_or_default();
    let (before, size) = query.paging.window(count)?;
    let narrow = |number: usize| u32::try_from(number).map_err(|_| missing());
    let window = (narrow(before)?, narrow(size)?);
    let all = store::sought(&call.app.db, site, sought, query.ordering.by(), window).await?;
    let all = shown(&call, &all).await?;
    query.paging.page(&call, count, all).map(Json)
}

async fn show(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    let found = named(&call).await?;
    one(&call, &found).await.map(Json)
}

async fn one(call: &Call, found: &Deletion) -> Result<Shown, ApiError> {
    shown(call, std::slice::from_ref(found)).await?.pop().ok_or_else(missing)
}

/// The deletion of the caller's site that the path names.
async fn named(call: &Call) -> Result<Deletion, ApiError> {
    let number = call.param("id")?.parse::<i64>().map_err(|_| missing())?;
    let site = call.person()?.account.site;
    store::by_number(&call.app.db, site, Number(number)).await?.ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::new(Code::NotFound).saying("Deletion request not found")
}

/// That it is meant.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DeletionProcess")]
struct Meant {
    /// `PERMANENTLY DELETE`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    confirmation: Option<String>,
    /// Why, for those who look at it later.
    #[schemars(skip_serializing_if = "Option::is_none")]
    admin_notes: Option<String>,
}

impl FromFields for Meant {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let confirmation = fields.optional("confirmation").or_null().or_blank().text();
        let admin_notes = fields.optional("admin_notes").max(NOTES_MAX).or_null().or_blank().text();
        Some(Self { confirmation, admin_notes })
    }
}

/// The account is gone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionProcessed")]
#[expect(clippy::struct_field_names, reason = "the contract's names")]
struct Processed {
    message: &'static str,
    deletion_completed: bool,
    processed_at: Option<String>,
    data_anonymized: bool,
    /// The row of the trail that says so.
    audit_log_id: Option<i64>,
    /// Whether there was an address or number of theirs to write to.
    user_notified: bool,
    request: Shown,
}

async fn process(call: Call, Json(body): Json<Meant>) -> Result<Json<Processed>, ApiError> {
    let found = named(&call).await?;
    if body.confirmation.as_deref() != Some(WORDS) {
        return Err(ApiError::new(Code::ConfirmationRequired).saying("Explicit confirmation required"));
    }
    let notes = body.admin_notes.unwrap_or_default();
    let by = call.person()?.account.id;
    let erased = again(|| due::carry_out(&call.app, call.actor(), &found, (by, &notes))).await;
    let user_notified = match erased {
        Ok(is_told) => is_told,
        Err(NotProcessed::NotConfirmed) => return Err(unconfirmed(named(&call).await?.status)),
        Err(NotProcessed::Stopped) => return Err(ApiError::new(Code::AccountStopped)),
        Err(NotProcessed::Refused(refused)) => return Err(refused.into()),
        Err(NotProcessed::NotAllowed(refused)) => return Err(refused.into()),
    };
    let done = named(&call).await?;
    let search =
        Search { codes: vec![PROCESSED.to_owned()], account: Some(done.account), ..Search::default() };
    let found = audit::search(&call.app.db, done.site, &search, 1).await?;
    Ok(Json(Processed {
        message: "Account deletion processed successfully",
        deletion_completed: true,
        processed_at: done.completed_at.map(Timestamp::rfc3339),
        data_anonymized: true,
        audit_log_id: found.rows.first().map(|row| row.seq),
        user_notified,
        request: one(&call, &done).await?,
    }))
}

fn unconfirmed(status: Status) -> ApiError {
    let text = format!(
        "Cannot process request with status \"{}\". Only confirmed requests can be processed.",
        status.name()
    );
    ApiError::new(Code::DeletionNotConfirmed).saying(text)
}

/// What became of those whose time is over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletionsProcessed")]
struct Swept {
    message: String,
    processed: u32,
    /// Something stands in the way, which the trail says.
    failed: u32,
}

async fn process_expired(call: Call, _: Nothing) -> Result<Json<Swept>, ApiError> {
    let site = call.person()?.account.site;
    let due::Turn { gone: processed, held_back: failed } =
        due::delete_due_of(&call.app, Some(site), &call.actor()).await?;
    let message = format!("{processed} deletion(s) processed, {failed} failed");
    Ok(Json(Swept { message, processed, failed }))
}
