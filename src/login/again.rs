//! Proving anew who one is, by everything that the account can be asked for.
//!
//! Law: for what cannot be undone, or shows everything, an open session is not enough. The password or a
//! code that was sent stands for the login, and beside it comes the second factor where there is one; a
//! code that is used counts once, in the change that it is for.

use schemars::JsonSchema;

use super::by_proof::spend_own;
use super::enrol::{FRESH_FOR, spent};
use super::http::reauthenticate;
use super::initial;
use super::second;
use crate::account::{self, Account};
use crate::app::Change;
use crate::base::Secret;
use crate::crypto::password::MAX_BYTES;
use crate::factor::{Accepted, Code};
use crate::http::{ApiError, Call, ErrorCode, Fields};
use crate::otp::{Digits, Proof};

/// The refusals of whoever does not prove it.
pub const PROOF_CODES: &[ErrorCode] = &[
    ErrorCode::ReauthRequired,
    ErrorCode::InvalidPassword,
    ErrorCode::LoginCodeRequired,
    ErrorCode::CodeRequired,
    ErrorCode::InvalidCode,
    ErrorCode::MfaRequired,
    ErrorCode::ReauthenticationRequired,
    ErrorCode::AccountLocked,
    ErrorCode::Overloaded,
];
/// What trying may leave in the trail.
pub const PROOF_EVENTS: &[&str] = &["login_failed", "account_locked", "code_refused", "2fa_backup_used"];

/// What somebody proves it by.
#[derive(Debug, JsonSchema)]
pub struct Given {
    /// The present password, where the account has one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
    /// In its place: six digits, from `login/otp/request/`.
    #[schemars(with = "Option<String>", rename = "reauth_otp_code", skip_serializing_if = "Option::is_none")]
    login_code: Option<Digits>,
    /// Six digits of the device or a backup code, where the account has a second factor; where it has none, the
    /// same as `reauth_otp_code`.
    #[schemars(with = "Option<String>", rename = "otp_code", skip_serializing_if = "Option::is_none")]
    code: Option<Secret<String>>,
}

impl Given {
    /// Reads `password`, `reauth_otp_code` and `otp_code`.
    pub fn from_fields(fields: &mut Fields) -> Self {
        let password = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
        let login_code = fields.optional("reauth_otp_code").or_null().parsed(Digits::parse);
        let code = fields.optional("otp_code").max(Code::MAX_LEN).or_null().or_blank().secret();
        let given = |text: &Secret<String>| !text.expose().trim().is_empty();
        Self { password: password.filter(given), login_code, code: code.filter(given) }
    }
}

/// What is said where neither a password nor a code in its place came.
pub(super) const EITHER_ASKED: &str = "Current password or a valid OTP code is required";

/// How lately a second factor must have been proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lately {
    /// With this request.
    Now,
    /// With this request, or in this session a few minutes ago.
    OrAMomentAgo,
}

/// What has to be given yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    pub first: First,
    /// A code of the second factor.
    pub code: bool,
    /// The second factor was proved in this session a few minutes ago.
    was_proved: bool,
}

/// What stands for the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Password,
    /// It was a moment ago, and there is no password to ask for.
    Nothing,
    /// It is too old: a code that was sent, or another login.
    LogIn,
}

/// What [`prove_whole`] will ask the caller for.
///
/// # Errors
/// 401 where nobody calls.
pub fn asked_for(call: &Call, account: &Account, lately: Lately) -> Result<Missing, ApiError> {
    let (session, now) = (&call.person()?.session, call.app.now());
    let is_fresh = |at| now.since(at) <= FRESH_FOR;
    let first = match account.password_hash {
        Some(_) => First::Password,
        None if is_fresh(session.authenticated_at) => First::Nothing,
        None => First::LogIn,
    };
    let was_proved = session.second_factor_at.is_some_and(is_fresh);
    let code = account.second_factor_at.is_some() && (lately == Lately::Now || !was_proved);
    Ok(Missing { first, code, was_proved })
}

/// A change in which everything that the caller proved who they are by is used up, and their account is
/// held.
///
/// # Errors
/// What the client is told: what is asked for yet, or what was wrong.
pub async fn prove_whole<'a>(
    call: &'a Call,
    account: &Account,
    given: Given,
    lately: Lately,
) -> Result<Change<'a>, ApiError> {
    let Given { password, login_code, code } = given;
    let has_factor = account.second_factor_at.is_some();
    // Without a second factor the one field means the other.
    let (code, other) = if has_factor { (code, None) } else { (None, code) };
    let login_code = login_code.or_else(|| other.and_then(|text| Digits::parse(text.expose()).ok()));
    let missing = asked_for(call, account, lately)?;
    let proof = prove_login(call, account, password, login_code.as_ref(), missing.first).await?;
    let mut change = if missing.code {
        let code = code.and_then(|text| Code::read(text.expose()));
        let text = "Two-factor authentication code required";
        let code = code.ok_or_else(|| ApiError::new(ErrorCode::CodeRequired).saying(text))?;
        spent(call, account, &code, Accepted::Any).await?
    } else if second::must_come_with_passkey(&call.app, account).await? && !missing.was_proved {
        return Err(ApiError::new(ErrorCode::MfaRequired));
    } else {
        call.app.change(call.actor()).await?
    };
    if !account::hold(&mut change, account.id).await? {
        return Err(ApiError::new(ErrorCode::Unauthorized).saying("Invalid or expired token"));
    }
    if let Some(proof) = proof
        && !spend_own(&mut change, &proof).await?
    {
        return Err(ApiError::new(ErrorCode::LoginCodeRequired));
    }
    Ok(change)
}

/// What stands for the login: a password, a code that was sent, or, where the account has no password, the
/// login itself.
async fn prove_login(
    call: &Call,
    account: &Account,
    password: Option<Secret<String>>,
    login_code: Option<&Digits>,
    first: First,
) -> Result<Option<Proof>, ApiError> {
    match (password, login_code) {
        (Some(password), _) if first == First::Password => {
            reauthenticate(call, account, Some(password)).await.map(|()| None)
        }
        (_, Some(digits)) => initial::prove_code(call, account, digits).await.map(Some),
        (_, None) => match first {
            First::Password => Err(ApiError::new(ErrorCode::ReauthRequired).saying(EITHER_ASKED)),
            First::Nothing => Ok(None),
            First::LogIn => Err(ApiError::new(ErrorCode::ReauthenticationRequired)),
        },
    }
}
