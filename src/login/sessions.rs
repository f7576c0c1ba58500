//! The endpoints of open sessions: where somebody is logged in, and ending it there.
//!
//! Law: a person sees and ends their own sessions, and whose a session is, is asked before anything
//! else about it. Devices are what clients say they are: a hint for people, which decides nothing.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Change;
use crate::audit::EndReason;
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Call, ErrorCode, Json, Nothing, Row, del, get};
use crate::session::{self, Device, Session};
use crate::store::Error;

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/sessions/", list).person().about("Where I am logged in, the newest first"),
        del("/sessions/", end_others)
            .person()
            .audited(&["session_ended"])
            .about("End every session of mine but this one"),
        del("/sessions/{id}/", end_one)
            .person()
            .codes(&[ErrorCode::NotFound])
            .audited(&["session_ended"])
            .about("End one session of mine"),
        get("/devices/", devices).person().about("The devices on which I am logged in"),
        del("/devices/{id}/", end_device)
            .person()
            .codes(&[ErrorCode::NotFound])
            .audited(&["session_ended"])
            .about("End every session of mine on one device"),
    ]
}

/// One login that is open.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenSession")]
struct Shown {
    id: String,
    /// The session that asks.
    is_current: bool,
    device_summary: String,
    /// Tells devices apart, as far as one can; null where nothing is known of the device.
    device_id: Option<String>,
    /// Where the login came from.
    ip_address: Option<String>,
    /// How the person logged in.
    method: &'static str,
    /// RFC 3339, UTC, as all of these.
    started_at: String,
    last_used_at: String,
    /// When it ends unless it is refreshed.
    expires_at: String,
    second_factor_at: Option<String>,
}

impl Shown {
    fn of(session: &Session, current: Id) -> Self {
        Self {
            id: session.id.to_string(),
            is_current: session.id == current,
            device_summary: summary(session),
            device_id: device_id(session),
            ip_address: session.address.clone(),
            method: session.method.name(),
            started_at: session.started_at.rfc3339(),
            last_used_at: session.refreshed_at.rfc3339(),
            expires_at: session.idle_ends_at.min(session.ends_at).rfc3339(),
            second_factor_at: session.second_factor_at.map(Timestamp::rfc3339),
        }
    }
}

fn summary(session: &Session) -> String {
    // It was checked when it came in.
    Device::parse(&session.device_info).unwrap_or_default().summary()
}

fn device_id(session: &Session) -> Option<String> {
    (!session.device_info.is_empty()).then(|| session.device_key.clone())
}

/// The caller's live sessions, the newest first, and which of them asks.
async fn mine(call: &Call) -> Result<(Vec<Session>, Id), ApiError> {
    let person = call.person()?;
    let mut sessions = session::live_of(&call.app.db, person.account.id, call.app.now()).await?;
    sessions.reverse();
    Ok((sessions, person.session.sid))
}

async fn list(call: Call, _: Nothing) -> Result<Json<Vec<Shown>>, ApiError> {
    let (sessions, current) = mine(&call).await?;
    Ok(Json(sessions.iter().map(|session| Shown::of(session, current)).collect()))
}

/// Some sessions were ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionsEnded")]
struct Ended {
    message: &'static str,
    count: u32,
}

impl Ended {
    const fn of(count: u32) -> Json<Self> {
        Json(Self { message: "Logged out there", count })
    }
}

async fn end_others(call: Call, _: Nothing) -> Result<Json<Ended>, ApiError> {
    let person = call.person()?;
    let mut change = call.app.change(call.actor()).await?;
    let (account, own) = (person.account.id, person.session.sid);
    let count = session::end_others(&mut change, account, own, EndReason::Revoked).await?;
    if count > 0 {
        change.commit().await?;
    }
    Ok(Ended::of(count))
}

async fn end_one(call: Call, _: Nothing) -> Result<Json<Ended>, ApiError> {
    let id: Option<Id> = call.param("id")?.parse().ok();
    end_where(&call, |session| Some(session.id) == id).await
}

/// One device with open sessions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenDevice")]
struct Known {
    id: String,
    /// The session that asks is on it.
    is_current: bool,
    device_summary: String,
    sessions: usize,
    /// Where the newest login came from.
    ip_address: Option<String>,
    /// RFC 3339, UTC: of the sessions that are open.
    first_seen_at: String,
    last_seen_at: String,
}

async fn devices(call: Call, _: Nothing) -> Result<Json<Vec<Known>>, ApiError> {
    let (sessions, current) = mine(&call).await?;
    let mut keys: Vec<&str> = Vec::new();
    for session in &sessions {
        if !keys.contains(&session.device_key.as_str()) {
            keys.push(&session.device_key);
        }
    }
    Ok(Json(keys.into_iter().filter_map(|key| known(key, &sessions, current)).collect()))
}

fn known(key: &str, sessions: &[Session], current: Id) -> Option<Known> {
    let on_it: Vec<&Session> = sessions.iter().filter(|session| session.device_key == key).collect();
    let (newest, oldest) = (on_it.first()?, on_it.last()?);
    let last_seen_at = on_it.iter().map(|session| session.refreshed_at).max()?;
    Some(Known {
        id: key.to_owned(),
        is_current: on_it.iter().any(|session| session.id == current),
        device_summary: summary(newest),
        sessions: on_it.len(),
        ip_address: newest.address.clone(),
        first_seen_at: oldest.started_at.rfc3339(),
        last_seen_at: last_seen_at.rfc3339(),
    })
}

async fn end_device(call: Call, _: Nothing) -> Result<Json<Ended>, ApiError> {
    let key = call.param("id")?.to_owned();
    end_where(&call, |session| session.device_key == key).await
}

/// Ends those of the caller's sessions that are meant; not found where there are none.
async fn end_where(call: &Call, is_meant: impl Fn(&Session) -> bool) -> Result<Json<Ended>, ApiError> {
    let account = call.person()?.account.id;
    let mut change = call.app.change(call.actor()).await?;
    let count = end_some(&mut change, account, is_meant).await?;
    if count == 0 {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    change.commit().await?;
    Ok(Ended::of(count))
}

async fn end_some(
    change: &mut Change<'_>,
    account: Id,
    is_meant: impl Fn(&Session) -> bool,
) -> Result<u32, Error> {
    let now = change.now();
    let mut count = 0;
    for session in session::live_of(change.tx(), account, now).await? {
        if is_meant(&session) {
            count += u32::from(session::end(change, &session, EndReason::Revoked).await?);
        }
    }
    Ok(count)
}
