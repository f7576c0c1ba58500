//! The endpoints of passkeys (contract section 14).
//!
//! Law: asking for one tells nothing about who has any, and what was wrong with an answer is told to
//! nobody. A way in is added or removed by whoever has just proved who they are, as well as the
//! account can.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::by_passkey;
use super::by_password::{Refused, Visit};
use super::connections::remove_passkey;
use super::enrol::account_of;
use super::http::{carrier, cookies, device, refuse_foreign, refused_login};
use super::input::device_info;
use super::show::Tokens;
use super::step::step_up;
use crate::base::{Email, Number, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::http::reply::WithCookies;
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode as Code, Fields, FromFields, Json, Nothing, Reply, Row, del,
    get, patch, post,
};
use crate::passkey::{self, Begun, Identified, NotAdded, NotRemoved, Passkey, Presented};
use crate::principal::Scope;
use crate::session::{Device, Method};

/// A challenge of ours is shorter.
const CHALLENGE_MAX: usize = 8 * 1024;
const NAME_MAX: usize = 100;
const WRONG: &str = "The passkey was not accepted";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = logins();
    rows.extend(own());
    rows
}

fn logins() -> Vec<Row> {
    vec![
        post("/webauthn/authenticate/begin/", begin_login)
            .open()
            .limit(Bucket::Passkey)
            .codes(&[Code::FeatureDisabled])
            .unaudited("asks a question and keeps nothing of it")
            .about("Ask for a passkey to log in with"),
        post("/webauthn/authenticate/complete/", log_in)
            .open()
            .limit(Bucket::Login)
            .codes(&[
                Code::FeatureDisabled,
                Code::MissingFields,
                Code::WebauthnAuthFailed,
                Code::LoginFailed,
                Code::AccountLocked,
                Code::SessionLimitExceeded,
                Code::DeviceLimitExceeded,
                Code::CsrfFailed,
            ])
            .audited(&[
                "login",
                "login_failed",
                "2fa_verified",
                "passkey_counter_regressed",
                "session_ended",
                "new_device_detected",
                "session_limit_exceeded",
                "device_limit_exceeded",
            ])
            .about("Log in with a passkey"),
    ]
}

fn own() -> Vec<Row> {
    vec![
        post("/webauthn/register/begin/", begin_registration)
            .person()
            .admitting(Scope::SecondFactorSetupOnly)
            .limit(Bucket::SecondFactor)
            .codes(&[
                Code::FeatureDisabled,
                Code::TooManyPasskeys,
                Code::MfaRequired,
                Code::ReauthenticationRequired,
                Code::ReauthRequired,
                Code::InvalidPassword,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["login_failed", "account_locked"])
            .about("Ask for a new passkey of mine"),
        post("/webauthn/register/complete/", register)
            .person()
            .admitting(Scope::SecondFactorSetupOnly)
            .limit(Bucket::SecondFactor)
            .codes(&[
                Code::FeatureDisabled,
                Code::MissingFields,
                Code::RegistrationFailed,
                Code::TooManyPasskeys,
            ])
            .audited(&["passkey_added", "session_ended"])
            .about("Add a passkey of mine"),
        get("/webauthn/credentials/", list).person().about("My passkeys, the oldest first"),
        patch("/webauthn/credentials/{id}/", rename)
            .person()
            .codes(&[Code::CredentialNotFound])
            .audited(&["passkey_renamed"])
            .about("Call a passkey of mine something else"),
        del("/webauthn/credentials/{id}/", remove)
            .person()
            .limit(Bucket::SecondFactor)
            .codes(&[
                Code::CredentialNotFound,
                Code::LastFactor,
                Code::MfaRequired,
                Code::ReauthenticationRequired,
                Code::ReauthRequired,
                Code::InvalidPassword,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["passkey_removed", "login_failed", "account_locked"])
            .about("Remove a passkey of mine"),
    ]
}

/// Who wants to log in, where that is to be said.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasskeyLoginRequest")]
struct Wanted {
    /// Only a passkey of this account is then accepted.
    #[schemars(with = "Option<String>", email, skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { email: fields.optional("email").or_null().email() })
    }
}

/// A question for an authenticator.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasskeyChallenge")]
struct Question {
    /// Send it back with the answer, within five minutes.
    challenge_id: String,
    /// JSON: the `publicKey` of `navigator.credentials`, as `parseCreationOptionsFromJSON` or
    /// `parseRequestOptionsFromJSON` read it.
    options: String,
}

impl Question {
    fn of(begun: &Begun) -> Json<Self> {
        Json(Self { challenge_id: begun.challenge_id.clone(), options: begun.options.to_string() })
    }
}

async fn begin_login(call: Call, Json(body): Json<Wanted>) -> Result<Json<Question>, ApiError> {
    let whom = body.email.as_ref().map_or(Identified::ByPasskey, Identified::ByEmail);
    let begun = passkey::begin_login(&call.app, call.actor().site, whom).await?;
    Ok(Question::of(&begun.ok_or_else(|| ApiError::new(Code::FeatureDisabled))?))
}

/// An answer of an authenticator.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasskeyLogin")]
struct Answered {
    #[schemars(skip_serializing_if = "Option::is_none")]
    challenge_id: Option<String>,
    /// As `PublicKeyCredential.toJSON()` writes it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    credential: Option<Value>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

fn challenge_id(fields: &mut Fields) -> Option<String> {
    fields.optional("challenge_id").max(CHALLENGE_MAX).or_null().or_blank().text()
}

impl FromFields for Answered {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let challenge_id = challenge_id(fields);
        let credential = fields.optional("credential").or_null().json();
        Some(Self { challenge_id, credential, device_info: device_info(fields) })
    }
}

fn presented(challenge_id: Option<String>, credential: Option<Value>) -> Result<Presented, ApiError> {
    let missing = |what: &'static str| ApiError::new(Code::MissingFields).saying(what);
    let credential = credential
        .filter(|credential| !credential.is_null())
        .ok_or_else(|| missing("credential is required"))?;
    let challenge_id = challenge_id.ok_or_else(|| missing("challenge_id is required"))?;
    Ok(Presented { challenge_id, credential })
}

/// Tokens, and by what they were got.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasskeyTokens")]
struct Opened {
    #[serde(flatten)]
    tokens: Tokens,
    message: &'static str,
    /// The id of the passkey's credential.
    credential_used: String,
}

async fn log_in(call: Call, Json(body): Json<Answered>) -> Result<WithCookies<Json<Opened>>, ApiError> {
    if !passkey::is_open(&call.app) {
        return Err(ApiError::new(Code::FeatureDisabled));
    }
    let presented = presented(body.challenge_id, body.credential)?;
    let carrier = carrier(&call.app.config());
    refuse_foreign(&call, carrier)?;
    let (device, address) = (device(&call, body.device_info), call.head.client);
    let visit = Visit { method: Method::Passkey, device, address, actor: call.actor() };
    let now = call.app.now();
    let entered = by_passkey::log_in(&call.app, presented, visit).await;
    let (entered, credential_used) = entered.map_err(|refused| match refused {
        Refused::Wrong => ApiError::new(Code::WebauthnAuthFailed),
        other => refused_login(other, WRONG, now),
    })?;
    let tokens = Tokens::of_entered(&entered, carrier, call.app.now());
    let answer = Opened { tokens, message: "Authentication successful", credential_used };
    Ok(Json(answer).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}

/// A password, where the login is not fresh.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasskeyStepUp")]
struct StepUp {
    /// Asked for where the login is older than 15 minutes and the account has no second factor.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
}

impl FromFields for StepUp {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
        Some(Self { password: given.filter(|password| !password.expose().is_empty()) })
    }
}

async fn begin_registration(call: Call, Json(body): Json<StepUp>) -> Result<Json<Question>, ApiError> {
    if !passkey::is_open(&call.app) {
        return Err(ApiError::new(Code::FeatureDisabled));
    }
    let account = account_of(&call).await?;
    step_up(&call, &account, body.password).await?;
    let session = call.person()?.session.sid;
    Ok(Question::of(&passkey::begin_registration(&call.app, &account, session).await?))
}

/// A new passkey.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasskeyRegistration")]
struct Made {
    #[schemars(skip_serializing_if = "Option::is_none")]
    challenge_id: Option<String>,
    /// As `PublicKeyCredential.toJSON()` writes it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    credential: Option<Value>,
    /// What it is to be called; `Passkey` where it is left out.
    #[schemars(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
}

fn device_name(fields: &mut Fields) -> Option<String> {
    fields.optional("device_name").max(NAME_MAX).or_null().or_blank().text()
}

impl FromFields for Made {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let challenge_id = challenge_id(fields);
        let credential = fields.optional("credential").or_null().json();
        Some(Self { challenge_id, credential, device_name: device_name(fields) })
    }
}

/// A passkey was added.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasskeyAdded")]
struct Added {
    message: &'static str,
    credential: AddedPasskey,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AddedPasskey {
    id: String,
    device_name: String,
    /// RFC 3339, UTC.
    created_at: String,
}

async fn register(call: Call, Json(body): Json<Made>) -> Result<Created<Added>, ApiError> {
    if !passkey::is_open(&call.app) {
        return Err(ApiError::new(Code::FeatureDisabled));
    }
    let presented = presented(body.challenge_id, body.credential)?;
    let account = account_of(&call).await?;
    let session = call.person()?.session.sid;
    let name = body.device_name.unwrap_or_default();
    let made = passkey::add(&call.app, &account, session, presented, &name, call.actor()).await?;
    let (id, created_at) = (made.number.0.to_string(), made.created_at.rfc3339());
    let credential = AddedPasskey { id, device_name: made.name, created_at };
    Ok(Created(Added { message: "Passkey registered successfully", credential }))
}

/// A passkey.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OwnPasskey")]
struct Shown {
    id: i64,
    device_name: String,
    /// RFC 3339, UTC.
    created_at: String,
    last_used_at: Option<String>,
    /// How its device is reached, as it says itself: `internal`, `usb`, `hybrid`.
    transports: Vec<String>,
}

impl Shown {
    fn of(passkey: Passkey) -> Self {
        Self {
            id: passkey.number.0,
            device_name: passkey.name,
            created_at: passkey.created_at.rfc3339(),
            last_used_at: passkey.last_used_at.map(crate::base::Timestamp::rfc3339),
            transports: passkey.transports,
        }
    }
}

/// Somebody's passkeys.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OwnPasskeys")]
struct All {
    credentials: Vec<Shown>,
    count: usize,
}

async fn list(call: Call, _: Nothing) -> Result<Json<All>, ApiError> {
    let credentials = passkey::list_of(&call.app.db, call.person()?.account.id).await?;
    let credentials: Vec<Shown> = credentials.into_iter().map(Shown::of).collect();
    Ok(Json(All { count: credentials.len(), credentials }))
}

fn unknown() -> ApiError {
    ApiError::new(Code::CredentialNotFound)
}

fn number(call: &Call) -> Result<Number, ApiError> {
    call.param("id")?.parse().map(Number).map_err(|_| unknown())
}

/// What a passkey is to be called.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasskeyName")]
struct Renamed {
    /// `Passkey` where it is blank.
    #[schemars(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
}

impl FromFields for Renamed {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { device_name: device_name(fields) })
    }
}

async fn rename(call: Call, Json(body): Json<Renamed>) -> Result<Json<Shown>, ApiError> {
    let name = body
        .device_name
        .ok_or_else(|| ApiError::new(Code::MissingFields).saying("device_name is required"))?;
    let number = number(&call)?;
    let mut change = call.app.change(call.actor()).await?;
    let account = call.person()?.account.id;
    let renamed = passkey::rename(&mut change, account, number, &name).await?.ok_or_else(unknown)?;
    change.commit().await?;
    Ok(Json(Shown::of(renamed)))
}

async fn remove(call: Call, Json(body): Json<StepUp>) -> Result<Reply, ApiError> {
    let number = number(&call)?;
    let account = account_of(&call).await?;
    step_up(&call, &account, body.password).await?;
    let kept = call.person()?.session.sid;
    let mut change = call.app.change(call.actor()).await?;
    remove_passkey(&mut change, account.id, kept, number).await?;
    change.commit().await?;
    Ok(Reply::empty(::http::StatusCode::NO_CONTENT))
}

impl From<NotAdded> for ApiError {
    fn from(refused: NotAdded) -> Self {
        match refused {
            NotAdded::Off => Self::new(Code::FeatureDisabled),
            NotAdded::TooMany => Self::new(Code::TooManyPasskeys),
            NotAdded::Refused => Self::new(Code::RegistrationFailed),
            NotAdded::Store(cause) => cause.into(),
        }
    }
}

impl From<NotRemoved> for ApiError {
    fn from(refused: NotRemoved) -> Self {
        match refused {
            NotRemoved::Unknown => unknown(),
            NotRemoved::Last => Self::new(Code::LastFactor),
            NotRemoved::Store(cause) => cause.into(),
        }
    }
}
