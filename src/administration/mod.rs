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
mod roll;
mod rung;
#[cfg(test)]
mod tests;
mod user;
mod view;

use crate::account::{self, Account, Reference};
use crate::http::{ApiError, Call, ErrorCode, Row};

pub use create::{Newcomer, make};
pub use deed::{Deed, Edit, OneOf};
pub use roll::{Found, FurtherBack, People, RoleIs, find};
pub use rung::{Rung, rungs};
pub use user::{LOCKED_FOR, LONGEST_LOCK};

/// Endpoints for those who look after people.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = list::rows();
    rows.extend(create::rows());
    rows.extend(user::rows());
    rows
}

/// How many characters a name has at most.
pub const NAME_MAX: usize = 100;
/// How many a reason has.
pub const REASON_MAX: usize = 500;

/// The person of the caller's site whom the path names, by number or id.
///
/// # Errors
/// 404 where there is nobody.
pub async fn somebody(call: &Call) -> Result<Account, ApiError> {
    let Ok(reference @ (Reference::Id(_) | Reference::Number(_))) = call.param("id")?.parse::<Reference>()
    else {
        return Err(missing());
    };
    account::find(&call.app.db, call.person()?.account.site, &reference).await?.ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("User not found")
}
