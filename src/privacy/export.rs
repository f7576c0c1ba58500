//! Everything that is kept of a person, for themselves.
//!
//! Law: what is kept is shown, and what opens anything is not: no password, seed, code, token or digest of
//! one. Each room says what it keeps by the functions that show it to its owner anyway.

use serde_json::{Map, Value, json};

use super::Deletion;
use crate::account::{self, Account};
use crate::agent::AgentToken;
use crate::apikey::ApiKey;
use crate::app::Change;
use crate::audit::{self, PrivacyEvent, Sought, Who};
use crate::base::{Id, Timestamp};
use crate::organization::invitation::{self, Invitation};
use crate::policy::Code;
use crate::principal::Membership;
use crate::session::{Device, Session};
use crate::store::Error;
use crate::{agent, apikey, application, factor, organization, passkey, rbac, session, social};

/// How many rows of the trail one answer over HTTP holds.
pub const SHOWN_ROWS: u32 = 10_000;
/// More agent tokens than anybody has had within their time.
const AGENTS: u32 = 100_000;

/// Everything that is kept of a person, with the newest `rows` rows of the trail, and notes that it was asked for.
///
/// # Errors
/// The store's.
pub async fn export(change: &mut Change<'_>, person: &Account, rows: u32) -> Result<Value, Error> {
    let (id, at) = (person.id, change.now());
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    let mut assignments = rbac::assignments(change.tx(), id).await?;
    assignments.is_superuser = person.is_superuser;
    let rights = change.app().catalogue().rights(&assignments);
    put("user_info", user_info(person, &rights.roles(), &rights.codes())?);
    put("roles", texts(&assignments.roles));
    put("groups", texts(&assignments.groups));
    put("permissions", texts(&assignments.permissions));
    let memberships = organization::memberships(change.tx(), id).await?;
    let membership =
        |own: &Membership| json!({"organization": own.slug.to_string(), "role": own.role.to_string()});
    put("organizations", memberships.iter().map(membership).collect());
    let (sent, got) = invitation::of_person(change.tx(), person, at).await?;
    put("invitations_sent", sent.iter().map(invitation_of).collect());
    put("invitations", got.iter().map(invitation_of).collect());
    let sessions = session::all_of(change.tx(), id).await?;
    put("sessions", sessions.iter().map(session_of).collect());
    put("applications", applications_of(change, &sessions).await?);
    put("second_factor", second_factor(change, person).await?);
    let passkeys = passkey::list_of(change.tx(), id).await?;
    let of = |own: &passkey::Passkey| json!({"id": own.number.0, "name": own.name, "created_at": own.created_at.rfc3339(), "last_used_at": moment(own.last_used_at)});
    put("passkeys", passkeys.iter().map(of).collect());
    let connections = social::connections(change.tx(), id).await?;
    put("social_connections", connections.iter().map(connection_of).collect());
    put("api_keys", apikey::of_account(change.tx(), id).await?.iter().map(key_of).collect());
    let tokens = agent::list(change.tx(), person.site, Some(id), AGENTS).await?;
    put("agent_tokens", tokens.iter().map(agent_of).collect());
    put("deletion_requests", super::of_account(change.tx(), id).await?.iter().map(deletion_of).collect());
    let (attempts, trail, total) = trail_of(change, id, rows).await?;
    let shown = trail.len();
    put("login_attempts", attempts);
    put("audit_logs", Value::Array(trail));
    put(
        "export_metadata",
        json!({"exported_at": at.rfc3339(), "user_id": id.to_string(), "audit_logs_total": total, "audit_logs_shown": shown}),
    );
    change.record(PrivacyEvent::Exported { account: id }).await?;
    Ok(Value::Object(all))
}

fn texts(codes: &[Code]) -> Value {
    codes.iter().map(ToString::to_string).collect()
}

fn moment(at: Option<Timestamp>) -> Value {
    at.map(Timestamp::rfc3339).into()
}

fn user_info(person: &Account, roles: &[Code], permissions: &[Code]) -> Result<Value, Error> {
    let shown = serde_json::to_value(account::user(person, roles, permissions));
    let mut shown = shown.map_err(|cause| Error::Broken { cause: cause.to_string() })?;
    let more = [
        ("number", json!(person.number.0)),
        ("pending_email", json!(person.pending_email.as_ref().map(ToString::to_string))),
        ("pending_phone", json!(person.pending_phone.as_ref().map(ToString::to_string))),
        ("is_staff", json!(person.is_staff)),
        ("is_superuser", json!(person.is_superuser)),
        ("password_changed_at", moment(person.password_changed_at)),
    ];
    for (name, value) in more {
        shown[name] = value;
    }
    Ok(shown)
}

fn invitation_of(own: &Invitation) -> Value {
    json!({
        "id": own.number.0, "organization": own.organization.to_string(), "email": own.email.to_string(),
        "role": own.role.to_string(), "status": own.status.name(), "created_at": own.created_at.rfc3339(),
        "expires_at": own.expires_at.rfc3339(),
    })
}

fn session_of(own: &Session) -> Value {
    let device = Device::parse(&own.device_info).unwrap_or_default();
    json!({
        "id": own.id.to_string(), "method": own.method.name(), "device": device.summary(),
        "ip_address": own.address, "created_at": own.started_at.rfc3339(),
        "last_activity": own.refreshed_at.rfc3339(), "expires_at": own.ends_at.rfc3339(),
        "ended_at": moment(own.ended_at),
    })
}

/// The applications through which the person came in.
async fn applications_of(change: &mut Change<'_>, sessions: &[Session]) -> Result<Value, Error> {
    let mut ids: Vec<Id> = sessions.iter().filter_map(|own| own.application).collect();
    ids.sort_unstable();
    ids.dedup();
    let site = change.actor().site;
    let known = application::list(change.tx(), site).await?;
    let used = known.iter().filter(|own| ids.binary_search(&own.id).is_ok());
    Ok(used.map(|own| json!({"id": own.id.to_string(), "name": own.name})).collect())
}

async fn second_factor(change: &mut Change<'_>, person: &Account) -> Result<Value, Error> {
    let left = factor::backup_codes_left(change.tx(), person.id).await?;
    let since = moment(person.second_factor_at);
    Ok(
        json!({"is_enabled": person.second_factor_at.is_some(), "enabled_at": since, "backup_codes_remaining": left}),
    )
}

fn connection_of(own: &social::Connection) -> Value {
    json!({
        "id": own.id.to_string(), "provider": own.provider, "issuer": own.issuer, "subject": own.subject,
        "email": own.email.as_ref().map(ToString::to_string),
        "created_at": own.created_at.rfc3339(), "last_used_at": own.used_at.rfc3339(),
    })
}

fn key_of(own: &ApiKey) -> Value {
    json!({
        "id": own.id.to_string(), "name": own.name, "prefix": own.hint, "scopes": texts(&own.scopes),
        "created_at": own.created_at.rfc3339(), "expires_at": own.expires_at.rfc3339(),
        "revoked_at": moment(own.revoked_at), "last_used": moment(own.last_used_at),
    })
}

fn agent_of(own: &AgentToken) -> Value {
    json!({
        "id": own.number.0, "agent_id": own.agent, "status": own.status.name(), "permissions": texts(&own.permissions),
        "created_at": own.created_at.rfc3339(), "expires_at": own.expires_at.rfc3339(),
        "last_used_at": moment(own.last_used_at),
    })
}

fn deletion_of(own: &Deletion) -> Value {
    json!({
        "id": own.number.0, "status": own.status.name(), "reason": own.reason,
        "requested_at": own.requested_at.rfc3339(), "confirmed_at": moment(own.confirmed_at),
        "grace_period_ends_at": moment(own.due_at),
    })
}

/// Logins and everything, of what the trail says about the person: the newest rows, oldest first.
async fn trail_of(change: &mut Change<'_>, id: Id, rows: u32) -> Result<(Value, Vec<Value>, i64), Error> {
    let sought = Sought { account: Some(id), ..Sought::default() };
    let total = audit::count_of(change.tx(), &sought).await?;
    let trail = audit::latest_of(change.tx(), &sought, rows).await?;
    let shown = |row: &audit::Row| {
        // Where an administrator was, and with what, is theirs.
        let is_others = row.actor_kind == Who::Account(id).kind() && row.actor != Some(id);
        let place = |name: &str| row.personal.get(name).filter(|_| !is_others).cloned();
        json!({
            "id": row.seq, "action": row.code, "created_at": row.happened_at.rfc3339(),
            "by": row.actor_kind, "by_me": row.actor == Some(id),
            "ip_address": place("address"), "user_agent": place("user_agent"), "details": row.personal["detail"],
        })
    };
    let is_login = |row: &&audit::Row| matches!(row.code.as_str(), "login" | "login_failed");
    let attempts = trail.iter().filter(is_login).map(shown).collect();
    Ok((attempts, trail.iter().map(shown).collect(), total))
}
