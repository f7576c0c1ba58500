//! Stepping up: whoever adds or removes a way in has just proved who they are.
//!
//! Law: as well as the account can: by its second factor where it has one, and by a login or the
//! password where it has not.

use super::enrol::FRESH_FOR;
use super::http::reauthenticate;
use super::second;
use crate::account::Account;
use crate::base::Secret;
use crate::http::{ApiError, Call, ErrorCode};

/// What is still asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Done,
    Password,
    SecondFactor,
    /// There is no password to ask for.
    LogIn,
}

/// What the caller has to prove yet.
///
/// # Errors
/// 401 where nobody calls.
pub async fn step_of(call: &Call, account: &Account) -> Result<Step, ApiError> {
    let (session, now) = (&call.person()?.session, call.app.now());
    let is_fresh = |at| now.since(at) <= FRESH_FOR;
    if account.second_factor_at.is_some() || second::must_come_with_passkey(&call.app, account).await? {
        let is_proved = session.second_factor_at.is_some_and(is_fresh);
        return Ok(if is_proved { Step::Done } else { Step::SecondFactor });
    }
    Ok(match account.password_hash {
        _ if is_fresh(session.authenticated_at) => Step::Done,
        Some(_) => Step::Password,
        None => Step::LogIn,
    })
}

/// Takes the password where that is asked for.
///
/// # Errors
/// What the client is told: what else is asked for, or that it was wrong.
pub async fn step_up(
    call: &Call,
    account: &Account,
    password: Option<Secret<String>>,
) -> Result<(), ApiError> {
    match step_of(call, account).await? {
        Step::Done => Ok(()),
        Step::Password => reauthenticate(call, account, password).await,
        Step::SecondFactor => Err(ApiError::new(ErrorCode::MfaRequired)),
        Step::LogIn => Err(ApiError::new(ErrorCode::ReauthenticationRequired)),
    }
}
