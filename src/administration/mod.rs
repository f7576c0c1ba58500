//! People, for those who look after them (contract section 21): found, made, changed, shut out and let in,
//! and gone.
//!
//! Law: nobody changes the account of somebody who holds more than they do, and that is judged within the
//! transaction that writes, where nobody else changes rights. Somebody who can manage rights is always left.
//! Rights are not given here, and nothing is taken for proved: such fields are refused by name.

mod create;
mod deed;
mod gather;
mod list;
#[cfg(test)]
mod tests;
mod user;
mod view;

use crate::account::{self, Account, Reference};
use crate::http::{ApiError, Call, ErrorCode, Row};

/// Endpoints for those who look after people.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = list::rows();
    rows.extend(create::rows());
    rows.extend(user::rows());
    rows
}

const NAME_MAX: usize = 100;
const REASON_MAX: usize = 500;

/// The person of the caller's site whom the path names, by number or id.
async fn somebody(call: &Call) -> Result<Account, ApiError> {
    let Ok(reference @ (Reference::Id(_) | Reference::Number(_))) = call.param("id")?.parse::<Reference>()
    else {
        return Err(missing());
    };
    account::find(&call.app.db, call.person()?.account.site, &reference).await?.ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("User not found")
}
