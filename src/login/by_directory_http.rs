//! The endpoints of passwords that a directory takes.
//!
//! Law: an answer says the same about every user name. What is wrong with an account is told only to
//! whoever gave the right password.

use schemars::JsonSchema;

use super::by_directory::{self, Member, Refused};
use super::by_password::{Refused as Login, Visit};
use super::connections::{Shown, connect, proved};
use super::http::{LOGIN_CODES, LOGIN_EVENTS, carrier, cookies, device, refuse_foreign, refused_login};
use super::input::{code, device_info};
use super::newcomer::EVENTS as NEWCOMER_EVENTS;
use super::show::Tokens;
use crate::base::{Secret, Timestamp};
use crate::crypto::password::MAX_BYTES;
use crate::directory::{self, UserName};
use crate::factor;
use crate::http::reply::WithCookies;
use crate::http::{ApiError, Bucket, Call, Created, ErrorCode as Code, Fields, FromFields, Json, Row, post};
use crate::session::{Device, Method};

/// The endpoints of the directory.
pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/login/ldap/", log_in)
            .open()
            .limit(Bucket::Login)
            .codes(LOGIN_CODES)
            .codes(&[
                Code::FeatureDisabled,
                Code::DirectoryUnavailable,
                Code::DirectoryAuthFailed,
                Code::RegistrationClosed,
                Code::Overloaded,
            ])
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .audited(NEWCOMER_EVENTS)
            .about("Log in with user name and password of the directory"),
        post("/ldap/link/", link)
            .person()
            .limit(Bucket::Password)
            .codes(&[
                Code::FeatureDisabled,
                Code::DirectoryUnavailable,
                Code::DirectoryAuthFailed,
                Code::SocialAlreadyLinked,
                Code::MfaRequired,
                Code::ReauthenticationRequired,
                Code::ReauthRequired,
                Code::InvalidPassword,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["social_connected", "login_failed", "account_locked"])
            .about("Let a password of the directory open my account"),
    ]
}

/// Whom the directory knows, and their password there.
struct Given {
    user: UserName,
    password: Secret<String>,
}

impl Given {
    fn read(fields: &mut Fields) -> Option<Self> {
        let user = fields.required("username").max(UserName::MAX_LEN).parsed(UserName::parse);
        let password = fields.required("password").max(MAX_BYTES).secret();
        Some(Self { user: user?, password: password? })
    }
}

/// User name and password of the directory.
#[derive(JsonSchema)]
#[schemars(rename = "LdapLogin")]
struct Wanted {
    #[expect(dead_code, reason = "documents the wire; read into `given`")]
    #[schemars(length(min = 1, max = 128))]
    username: String,
    #[expect(dead_code, reason = "documents the wire; read into `given`")]
    password: Secret<String>,
    #[schemars(skip)]
    given: Given,
    /// Where the account has a second factor: six digits of the device, or a backup code.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    totp_code: Option<factor::Code>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    device_info: Option<Device>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = Given::read(fields);
        let totp_code = code(fields, "totp_code");
        let device_info = device_info(fields);
        let (username, password) = (String::new(), Secret::new(String::new()));
        Some(Self { username, password, given: given?, totp_code, device_info })
    }
}

/// User name and password of the directory, and the own password where the login is not fresh.
#[derive(JsonSchema)]
#[schemars(rename = "LdapLink")]
struct Linked {
    #[expect(dead_code, reason = "documents the wire; read into `given`")]
    #[schemars(length(min = 1, max = 128))]
    username: String,
    #[expect(dead_code, reason = "documents the wire; read into `given`")]
    password: Secret<String>,
    #[schemars(skip)]
    given: Given,
    /// Of the account: asked for where the login is older than 15 minutes and there is no second factor.
    #[schemars(skip_serializing_if = "Option::is_none")]
    current_password: Option<Secret<String>>,
}

impl FromFields for Linked {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = Given::read(fields);
        let own = fields.optional("current_password").max(MAX_BYTES).or_null().or_blank().secret();
        let current_password = own.filter(|password| !password.expose().is_empty());
        let (username, password) = (String::new(), Secret::new(String::new()));
        Some(Self { username, password, given: given?, current_password })
    }
}

fn visit(call: &Call, said: Option<Device>) -> Visit {
    let (device, address) = (device(call, said), call.head.client);
    Visit { method: Method::Directory, device, address, actor: call.actor() }
}

async fn log_in(call: Call, Json(body): Json<Wanted>) -> Result<WithCookies<Json<Tokens>>, ApiError> {
    let carrier = carrier(&call.app.config());
    refuse_foreign(&call, carrier)?;
    let Wanted { given: Given { user, password }, totp_code: code, device_info, .. } = body;
    let member = Member { user, password, code };
    let visit = visit(&call, device_info);
    let entered = by_directory::log_in(&call.app, member, visit).await;
    let entered = entered.map_err(|why| refused(why, call.app.now()))?;
    let answer = Tokens::of_entered(&entered, carrier, call.app.now());
    Ok(Json(answer).with_cookies(cookies(&call, &entered.session, &entered.pair)))
}

async fn link(call: Call, Json(body): Json<Linked>) -> Result<Created<Shown>, ApiError> {
    let account = proved(&call, body.current_password).await?;
    let Given { user, password } = body.given;
    let proof = by_directory::prove(&call.app, &user, &password, &visit(&call, None)).await;
    let (_, attempts, identity) = proof.map_err(|why| match why {
        // Whoever is logged in is told nothing about logins.
        Refused::Login(Login::Wrong) => ApiError::new(Code::DirectoryAuthFailed).saying(WRONG),
        other => refused(other, call.app.now()),
    })?;
    by_directory::withdraw(&call.app, attempts).await?;
    connect(&call, &account, directory::NAME, &identity).await
}

const WRONG: &str = "Invalid user name or password";

fn refused(why: Refused, now: Timestamp) -> ApiError {
    match why {
        Refused::Login(refused) => refused_login(refused, WRONG, now),
        Refused::NoDirectory => ApiError::new(Code::FeatureDisabled),
        Refused::Unavailable => ApiError::new(Code::DirectoryUnavailable),
        Refused::Exists => ApiError::new(Code::DirectoryAuthFailed).saying(
            "An account with this email already exists. Log in to it another way to connect the directory with it.",
        ),
        Refused::Closed => ApiError::new(Code::RegistrationClosed),
    }
}
