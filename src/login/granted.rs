//! A password that somebody gives to somebody else.
//! Law: it obeys the same policy as everybody's, and its place in an answer is the field that it came in.

use super::breached::breached;
use super::http::refuse_weak;
use super::password::{Unhashed, hash_of};
use crate::account::PasswordHash;
use crate::app::App;
use crate::base::Secret;
use crate::breach;
use crate::crypto::password::policy::Owner;
use crate::http::{ApiError, ErrorCode};

/// Judges and hashes the password that came in the field `password`.
///
/// # Errors
/// What its rules have against it; that others know it; that too many are hashed at once.
pub async fn granted(
    app: &App,
    password: Secret<String>,
    owner: &Owner<'_>,
) -> Result<PasswordHash, ApiError> {
    let kept = password.clone();
    match hash_of(app, password, owner).await {
        Ok(hash) => breach::check(app, &kept).await.map_err(breached).map(|_| hash),
        Err(Unhashed::Overloaded) => Err(ApiError::new(ErrorCode::Overloaded)),
        Err(Unhashed::Weak(weaknesses)) => {
            refuse_weak("password", &weaknesses)?;
            Err(ApiError::new(ErrorCode::ValidationError))
        }
    }
}
