//! What somebody who is signed in does with their second factor, by the API or on a page.
//!
//! Law: nothing is turned off, replaced or proved again without a code, and every code that is
//! looked at costs a try. Whoever proved one goes on in a new session: a copy of the old one must not
//! gain by it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::again::EITHER_ASKED;
use super::by_password::{self, Entered};
use super::by_proof::spend_own;
use super::http::{locked, reauthenticate, refused_login};
use super::initial::prove_code;
use super::lockout::Attempt;
use super::second::{self, Closed};
use super::step::{Step, step_of};
use super::{claims_of, rights_of};
use crate::account::{self, Account};
use crate::app::Change;
use crate::audit::EndReason;
use crate::base::Secret;
use crate::factor::{self, Accepted, Code, Enrolment};
use crate::http::{ApiError, Call, ErrorCode};
use crate::otp::Digits;
use crate::principal::Scope;
use crate::session::{self, Device, Pair, Session, StartError};

/// A login that is older asks for the password before a second factor is set up.
pub(super) const FRESH_FOR: Duration = Duration::from_mins(15);

/// Makes a seed and backup codes for the caller.
///
/// # Errors
/// What the client is told.
pub async fn begin_second_factor(
    call: &Call,
    password: Option<Secret<String>>,
) -> Result<Enrolment, ApiError> {
    let account = account_of(call).await?;
    if account.second_factor_at.is_some() {
        return Err(ApiError::new(ErrorCode::SecondFactorAlreadyOn));
    }
    match step_of(call, &account).await? {
        Step::Done => {}
        Step::SecondFactor => return Err(ApiError::new(ErrorCode::MfaRequired)),
        Step::Password | Step::LogIn => reauthenticate(call, &account, password).await?,
    }
    let mut change = call.app.change(call.actor()).await?;
    let begun = factor::set_up(&mut change, &account).await?;
    change.commit().await?;
    Ok(begun)
}

/// Turns the caller's second factor on; the session in the place of theirs.
///
/// # Errors
/// What the client is told.
pub async fn turn_second_factor_on(call: &Call, code: &Code) -> Result<Entered, ApiError> {
    let app = &call.app;
    let account = account_of(call).await?;
    let rights = rights_of(app, &account).await?;
    let claims = claims_of(app, &account, &rights).await?;
    let attempt = again(call, &account).await?;
    let mut change = app.change(call.actor()).await?;
    match factor::confirm(&mut change, account.id, code).await {
        Ok(true) => {}
        Ok(false) => {
            drop(change);
            return Err(wrong(call, &account, &attempt).await);
        }
        Err(not_now) => {
            drop(change);
            attempt.withdraw(app).await?;
            return Err(not_now.into());
        }
    }
    attempt.succeeded(change.tx()).await?;
    let (account, session, pair) = prove(call, &mut change, claims).await?;
    // Whoever turns it on may fear that somebody else is in.
    session::end_others(&mut change, account.id, session.id, EndReason::SecondFactorChanged).await?;
    change.commit().await?;
    Ok(Entered { account, rights, session, pair })
}

/// Notes that the caller proved their second factor just now; the session in the place of theirs.
///
/// # Errors
/// What the client is told.
pub async fn prove_again(call: &Call, account: &Account, code: &Code) -> Result<Entered, ApiError> {
    let mut change = spent(call, account, code, Accepted::Any).await?;
    let rights = rights_of(&call.app, account).await?;
    let claims = claims_of(&call.app, account, &rights).await?;
    let (account, session, pair) = prove(call, &mut change, claims).await?;
    change.commit().await?;
    Ok(Entered { account, rights, session, pair })
}

/// Turns the caller's second factor off, and ends every other session.
///
/// # Errors
/// What the client is told.
pub async fn turn_second_factor_off(
    call: &Call,
    code: &Code,
    password: Option<Secret<String>>,
    login_code: Option<&Digits>,
) -> Result<(), ApiError> {
    let account = account_of(call).await?;
    let proof = match (password, login_code) {
        (None, Some(digits)) => Some(prove_code(call, &account, digits).await?),
        (None, None) if account.password_hash.is_some() => {
            return Err(ApiError::new(ErrorCode::ReauthRequired).saying(EITHER_ASKED));
        }
        (password, _) => reauthenticate(call, &account, password).await.map(|()| None)?,
    };
    // Holds the account's row.
    let mut change = spent(call, &account, code, Accepted::Any).await?;
    if let Some(proof) = proof
        && !spend_own(&mut change, &proof).await?
    {
        return Err(ApiError::new(ErrorCode::LoginCodeRequired));
    }
    if !factor::disable(&mut change, &account).await? {
        return Err(ApiError::new(ErrorCode::InvalidCode));
    }
    let kept = call.person()?.session.sid;
    session::end_others(&mut change, account.id, kept, EndReason::SecondFactorChanged).await?;
    Ok(change.commit().await?)
}

/// New backup codes of the caller's; the old ones end.
///
/// # Errors
/// What the client is told.
pub async fn new_backup_codes(call: &Call, code: &Code) -> Result<Vec<Secret<String>>, ApiError> {
    let account = account_of(call).await?;
    let mut change = spent(call, &account, code, Accepted::Device).await?;
    let codes = factor::replace_backup_codes(&mut change, account.id).await?;
    change.commit().await?;
    Ok(codes)
}

/// Puts another session in the place of the caller's, in which the second factor is proved. Of one
/// that was only for setting it up, a whole one.
async fn prove(
    call: &Call,
    change: &mut Change<'_>,
    claims: Map<String, Value>,
) -> Result<(Account, Session, Pair), ApiError> {
    let person = call.person()?;
    let over = || ApiError::new(ErrorCode::Unauthorized).saying("Invalid or expired token");
    let old = session::by_id(change.tx(), person.session.sid).await?.ok_or_else(over)?;
    // As it is by now: with a second factor.
    let account = account::by_id(change.tx(), old.account).await?.ok_or_else(over)?;
    let config = call.app.config();
    let begun = if old.scope == Some(Scope::SecondFactorSetupOnly) {
        if !old.is_alive(change.now()) || !session::end(change, &old, EndReason::SetupDone).await? {
            return Err(over());
        }
        let login = session::Login {
            account: &account,
            application: old.application,
            device: &Device::parse(&old.device_info).unwrap_or_default(),
            address: Some(call.head.client),
            method: old.method,
            scope: second::scope_of(&config, &account),
            claims,
        };
        match session::start(change, &config.sessions, &config.tokens, login).await {
            Ok((mut session, pair)) => {
                session::prove(change, &mut session).await?;
                Ok((session, pair))
            }
            Err(refused) => Err(refused),
        }
    } else {
        session::renew(change, &config.tokens, &old, claims).await
    };
    match begun {
        Ok((session, pair)) => Ok((account, session, pair)),
        Err(StartError::Refused) => Err(over()),
        Err(other) => Err(refused_login(by_password::Refused::from(other), "Log in again", call.app.now())),
    }
}

/// A change in which the code of a signed-in person is used up.
pub(super) async fn spent<'a>(
    call: &'a Call,
    account: &Account,
    code: &Code,
    accepted: Accepted,
) -> Result<Change<'a>, ApiError> {
    if account.second_factor_at.is_none() {
        return Err(ApiError::new(ErrorCode::InvalidCode).saying("2FA is not enabled"));
    }
    let attempt = again(call, account).await?;
    let mut change = call.app.change(call.actor()).await?;
    // The account's row first, as everywhere.
    let is_right = account::hold(&mut change, account.id).await?
        && factor::spend(&mut change, account.id, code, accepted).await?;
    if !is_right {
        drop(change);
        return Err(wrong(call, account, &attempt).await.saying("Invalid code."));
    }
    attempt.succeeded(change.tx()).await?;
    Ok(change)
}

async fn again(call: &Call, account: &Account) -> Result<Attempt, ApiError> {
    second::again(&call.app, account).await.map_err(|closed| match closed {
        Closed::Until(until) => locked(Some(until), call.app.now()),
        Closed::Store(cause) => cause.into(),
    })
}

async fn wrong(call: &Call, account: &Account, attempt: &Attempt) -> ApiError {
    match second::failed(&call.app, call.actor(), account, attempt).await {
        Ok(()) => ApiError::new(ErrorCode::InvalidCode),
        Err(cause) => cause.into(),
    }
}

/// The caller's account as it is now.
pub(super) async fn account_of(call: &Call) -> Result<Account, ApiError> {
    let id = call.person()?.account.id;
    let gone = || ApiError::internal("the account of a live session is gone");
    account::by_id(&call.app.db, id).await?.ok_or_else(gone)
}
