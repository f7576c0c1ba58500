//! The rows of `api-keys/`.
//!
//! Law: a person sees and ends their own keys; for all others they do not exist. Nobody puts into a key
//! what they do not hold, and who sits down at somebody's open session makes no key that outlives it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{ApiKey, LONGEST, New, Refused};
use crate::account;
use crate::base::visible::is_hidden;
use crate::base::{Id, Secret, Timestamp};
use crate::crypto::password::MAX_BYTES;
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Paged, Paging, Query, Row,
    del, get, post,
};
use crate::login;
use crate::policy::Code;
use crate::session;

const NAME_MAX: usize = 100;
const SCOPES_MAX: usize = 200;
/// A login that is older asks for the password before a key is made.
const KEEP_IT: &str = "Save the key now! It will never be shown again.";

/// Endpoints for people with programs.
#[must_use]
pub fn rows() -> Vec<Row> {
    use ErrorCode as E;
    vec![
        get("/api-keys/", list)
            .person()
            .strict()
            .codes(&[E::NotFound])
            .about("My API keys, the newest first, page by page"),
        post("/api-keys/", create)
            .person()
            .strict()
            .limit(Bucket::Password)
            .codes(&[
                E::PermissionDenied,
                E::TooManyApiKeys,
                E::MfaRequired,
                E::ReauthenticationRequired,
                E::ReauthRequired,
                E::InvalidPassword,
                E::PasswordlessAccount,
                E::AccountLocked,
                E::Overloaded,
            ])
            .audited(&["api_key_created", "login_failed", "account_locked"])
            .about("Make an API key; it is shown once"),
        get("/api-keys/{id}/", show).person().codes(&[E::NotFound]).about("One API key of mine"),
        del("/api-keys/{id}/", revoke)
            .person()
            .codes(&[E::NotFound])
            .audited(&["api_key_revoked"])
            .about("End an API key of mine"),
    ]
}

/// A key, without its text.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
struct Shown {
    id: String,
    name: String,
    /// How it begins.
    prefix: String,
    /// The permissions that it reaches, as far as I hold them.
    scopes: Vec<String>,
    /// Whether it may still be used.
    is_active: bool,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    expires_at: String,
    /// RFC 3339, UTC.
    revoked_at: Option<String>,
    /// RFC 3339, UTC; to about half a minute.
    last_used: Option<String>,
}

impl Shown {
    fn of(key: &ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            prefix: key.hint.clone(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            is_active: key.is_alive(now),
            created_at: key.created_at.rfc3339(),
            expires_at: key.expires_at.rfc3339(),
            revoked_at: key.revoked_at.map(Timestamp::rfc3339),
            last_used: key.last_used_at.map(Timestamp::rfc3339),
        }
    }
}

/// Which page.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApiKeyQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { paging: Paging::exact(fields) })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<Shown>>, ApiError> {
    let now = call.app.now();
    let all = super::of_account(&call.app.db, call.person()?.account.id).await?;
    let all = all.iter().map(|key| Shown::of(key, now)).collect();
    query.paging.cut(&call, all).map(Json)
}

/// A new key.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApiKeyRequest")]
pub struct NewBody {
    /// What it is for.
    name: String,
    /// Codes of permissions that I hold now. None: it opens only what asks for no permission.
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Code>>,
    /// Seconds: 90 days if absent, a year at most, where the configuration says nothing else.
    #[schemars(with = "Option<u64>", range(min = 1))]
    #[schemars(rename = "expires_in", skip_serializing_if = "Option::is_none")]
    lifetime: Option<Duration>,
    /// Asked for where the login is older than 15 minutes.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name").max(NAME_MAX).text();
        if name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().any(is_hidden)) {
            fields.problem("name", "Not a valid string.");
        }
        let scopes = scopes(fields);
        let lifetime = lifetime(fields);
        let password = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
        let password = password.filter(|password| !password.expose().is_empty());
        Some(Self { name: name?, scopes, lifetime, password })
    }
}

fn scopes(fields: &mut Fields) -> Option<Vec<Code>> {
    const NAME: &str = "scopes";
    let members = match fields.optional(NAME).or_null().json()? {
        Value::Array(members) if members.len() <= SCOPES_MAX => members,
        Value::Array(_) => {
            fields.problem(NAME, format!("Ensure this field has no more than {SCOPES_MAX} elements."));
            return None;
        }
        _ => {
            fields.problem(NAME, "Expected a list of items.");
            return None;
        }
    };
    let mut all = Vec::new();
    for (place, member) in members.iter().enumerate() {
        match member.as_str().map(Code::parse) {
            Some(Ok(code)) => all.push(code),
            _ => fields.problem_in(NAME, place, "Not a permission code."),
        }
    }
    Some(all)
}

fn lifetime(fields: &mut Fields) -> Option<Duration> {
    const NAME: &str = "expires_in";
    let seconds = fields.optional(NAME).or_null().json()?;
    let span = seconds.as_u64().map(Duration::from_secs).filter(|span| !span.is_zero() && *span <= LONGEST);
    if span.is_none() {
        fields.problem(NAME, format!("A whole number of seconds, from 1 to {}.", LONGEST.as_secs()));
    }
    span
}

/// A key, and the only showing of its text.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiKeyCreated")]
struct Made {
    message: &'static str,
    api_key: Shown,
    /// To be sent as `X-API-Key`.
    key: String,
    warning: &'static str,
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<Made>, ApiError> {
    let person = call.person()?;
    refuse_missing(&call, &body)?;
    let account = account::by_id(&call.app.db, person.account.id).await?;
    let account = account.ok_or_else(|| ApiError::internal("the account of a session is gone"))?;
    login::step_up(&call, &account, body.password.clone()).await?;
    let sid = call.person()?.session.sid;
    let (key, text) = make(&call, body, sid).await?;
    Ok(Created(Made {
        message: "API key created",
        api_key: Shown::of(&key, call.app.now()),
        key: text.expose().clone(),
        warning: KEEP_IT,
    }))
}

/// Nobody puts into a key what they do not hold.
fn refuse_missing(call: &Call, wish: &NewBody) -> Result<(), ApiError> {
    let rights = &call.person()?.rights;
    let scopes = wish.scopes.iter().flatten();
    let missing: Vec<String> =
        scopes.filter(|code| !rights.holds_code(code)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = "A key reaches only permissions that you hold";
    Err(ApiError::new(ErrorCode::PermissionDenied).saying(text).with("missing", missing))
}

/// Makes a key for the caller, who has proved just now who they are, in the session `sid`: that is asked for
/// where this is called. Proving it with a second factor began a session in the place of the caller's.
///
/// # Errors
/// What the endpoint answers.
pub async fn make(call: &Call, wish: NewBody, sid: Id) -> Result<(ApiKey, Secret<String>), ApiError> {
    refuse_missing(call, &wish)?;
    let NewBody { name, scopes, lifetime, password: _ } = wish;
    let new = New { account: call.person()?.account.id, name, scopes: scopes.unwrap_or_default(), lifetime };
    let mut change = call.app.change(call.actor()).await?;
    let made = super::create(&mut change, new).await?;
    // The account's row is held: what ended the session meanwhile was before this.
    let now = change.now();
    if !session::by_id(change.tx(), sid).await?.is_some_and(|own| own.is_alive(now)) {
        return Err(ApiError::new(ErrorCode::Unauthorized).saying("Invalid or expired token"));
    }
    change.commit().await?;
    Ok(made)
}

async fn show(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    Ok(Json(Shown::of(&own(&call).await?, call.app.now())))
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiKeyRevoked")]
struct Ended {
    message: &'static str,
}

async fn revoke(call: Call, _: Nothing) -> Result<Json<Ended>, ApiError> {
    revoke_own(&call).await?;
    Ok(Json(Ended { message: "API key revoked" }))
}

/// Ends the key of the caller's that the path names as `id`.
///
/// # Errors
/// What the endpoint answers.
pub async fn revoke_own(call: &Call) -> Result<(), ApiError> {
    let key = own(call).await?;
    let mut change = call.app.change(call.actor()).await?;
    // That it is over already is as good.
    if super::revoke(&mut change, &key).await? {
        change.commit().await?;
    }
    Ok(())
}

/// The key of the caller's that the path names.
async fn own(call: &Call) -> Result<ApiKey, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("API key not found");
    let id = call.param("id")?.parse::<Id>().map_err(|_| missing())?;
    let account = call.person()?.account.id;
    let found = super::by_id(&call.app.db, id).await?;
    found.filter(|key| key.account == account).ok_or_else(missing)
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany => Self::new(ErrorCode::TooManyApiKeys),
            Refused::TooLong(longest) => {
                Self::invalid("expires_in", &[format!("{} seconds at most.", longest.as_secs())])
            }
            Refused::Gone => Self::internal("the account of a session is gone"),
            Refused::Store(cause) => cause.into(),
        }
    }
}
