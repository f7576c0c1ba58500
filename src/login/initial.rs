//! A first password, for people who log in without one (contract section 16.2).
//!
//! Law: an open session is not enough to give an account a password, because whoever has one could
//! keep the account: it takes a code, which was sent to the confirmed number just now.

use schemars::JsonSchema;
use serde::Serialize;

use super::breached::breached;
use super::by_proof::spend_own;
use super::http::refuse_weak;
use super::password::{owner_of, policy_of};
use crate::account::{self, Account, MustChange, NewPassword, PasswordHash};
use crate::app::App;
use crate::audit::{Actor, Contact, How};
use crate::base::Secret;
use crate::breach;
use crate::crypto::password::policy::Weakness;
use crate::crypto::password::{MAX_BYTES, Overloaded};
use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Fields, FromFields, Json, Row, post};
use crate::otp::{self, Digits, Proof, Purpose, Which};
use crate::principal::Scope;
use crate::store::Error;

pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/password/set-initial/", set_initial)
            .person()
            .admitting(Scope::PasswordChangeOnly)
            .limit(Bucket::OtpVerify)
            .codes(&[Code::HasPassword, Code::LoginCodeRequired, Code::PasswordBreached, Code::Overloaded])
            .audited(&["password_change", "session_ended", "code_refused"])
            .about("Set my first password, with a code to log in with; every session of mine ends"),
    ]
}

/// A first password, and the code that it takes.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "InitialPassword")]
pub struct Wanted {
    /// Six digits, from `login/otp/request/`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    otp_code: Option<Digits>,
    new_password: Secret<String>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let otp_code = fields.optional("otp_code").or_null().parsed(Digits::parse);
        let new_password = fields.required("new_password").max(MAX_BYTES).secret();
        Some(Self { otp_code, new_password: new_password? })
    }
}

/// There is a password now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InitialPasswordSet")]
struct Done {
    message: &'static str,
}

async fn set_initial(call: Call, Json(body): Json<Wanted>) -> Result<Json<Done>, ApiError> {
    set_first_password(&call, body).await?;
    Ok(Json(Done { message: "Password set successfully" }))
}

/// Sets the caller's first password, which ends every session of theirs.
///
/// # Errors
/// What the endpoint answers.
pub async fn set_first_password(call: &Call, wish: Wanted) -> Result<(), ApiError> {
    let id = call.person()?.account.id;
    let gone = || ApiError::internal("the account of a live session is gone");
    let account = account::by_id(&call.app.db, id).await?.ok_or_else(gone)?;
    set(&call.app, &account, wish, call.actor()).await.map_err(refused)
}

/// Why there is no first password.
#[derive(Debug)]
pub(super) enum Refused {
    HasOne,
    /// Not a code that was sent to log in with, or none.
    NoCode,
    Weak(Vec<Weakness>),
    Breached(breach::Refused),
    Overloaded,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<Overloaded> for Refused {
    fn from(Overloaded: Overloaded) -> Self {
        Self::Overloaded
    }
}

async fn set(app: &App, account: &Account, wanted: Wanted, actor: Actor) -> Result<(), Refused> {
    if account.password_hash.is_some() {
        return Err(Refused::HasOne);
    }
    let settings = &app.config().accounts.password;
    let weaknesses = policy_of(settings).check(wanted.new_password.expose(), &owner_of(account));
    if !weaknesses.is_empty() {
        return Err(Refused::Weak(weaknesses));
    }
    let proof = prove(app, account, wanted.otp_code, &actor).await?;
    breach::check(app, &wanted.new_password).await.map_err(Refused::Breached)?;
    let hash = PasswordHash::new(app.hasher.hash(wanted.new_password).await?);
    let mut change = app.change(actor).await?;
    // The account's row first, as everywhere where both are written.
    if !account::hold(&mut change, account.id).await? || !spend_own(&mut change, &proof).await? {
        return Err(Refused::NoCode);
    }
    let (how, history) = (How::Owner, settings.history);
    let new = NewPassword { was: None, hash: &hash, must_change: MustChange::No, how, history };
    if !account::set_password(&mut change, account.id, new).await? {
        return Err(Refused::HasOne);
    }
    change.commit().await?;
    Ok(())
}

/// Looks at a code to log in with that a signed-in person gives in the place of a password.
///
/// # Errors
/// What the client is told: it is none of theirs.
pub(super) async fn prove_code(call: &Call, account: &Account, digits: &Digits) -> Result<Proof, ApiError> {
    prove(&call.app, account, Some(digits.clone()), &call.actor()).await.map_err(refused)
}

pub(super) async fn prove(
    app: &App,
    account: &Account,
    digits: Option<Digits>,
    actor: &Actor,
) -> Result<Proof, Refused> {
    let digits = digits.ok_or(Refused::NoCode)?;
    let which = Which { account: account.id, purpose: Purpose::Login, channel: Contact::Phone };
    let proof = otp::check(app, which, &digits, actor.clone()).await.map_err(|refused| match refused {
        otp::Refused::Store(cause) => Refused::Store(cause),
        otp::Refused::Unknown | otp::Refused::Over | otp::Refused::Wrong { .. } => Refused::NoCode,
    })?;
    let has_it = account.phone.as_ref().is_some_and(|phone| phone.as_str() == proof.target());
    if has_it { Ok(proof) } else { Err(Refused::NoCode) }
}

fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::HasOne => ApiError::new(Code::HasPassword),
        Refused::NoCode => ApiError::new(Code::LoginCodeRequired),
        Refused::Weak(weaknesses) => match refuse_weak("new_password", &weaknesses) {
            Err(error) => error,
            Ok(()) => ApiError::internal("a password was refused without a reason"),
        },
        Refused::Breached(why) => breached(why),
        Refused::Overloaded => ApiError::new(Code::Overloaded),
        Refused::Store(cause) => cause.into(),
    }
}
