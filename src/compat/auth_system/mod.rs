//! The profile `auth-system`: the REST API of "Authentication System", for the clients that were written for it.
//!
//! Law: its paths, fields, statuses, limits and words are that system's; who may do what, and what comes of it, is
//! the gateway's. Whatever stands in its document is here; what does not answers 404 in its words.

mod admin;
mod audit;
mod auth;
mod health;
mod list;
mod lock;
mod page;
mod refusal;
mod stats;
mod users;
mod view;
mod words;

use crate::http::{ErrorCode, Row};

/// The name in the configuration, in the API document and in operations.
const NAME: &str = "auth-system";
/// Longer than any token that was given out.
const TOKEN_MAX: usize = 128;
/// What every change of an account may be refused for.
const CHANGED: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::PermissionDenied,
    ErrorCode::LastSuperuser,
    ErrorCode::LastAdministrator,
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = auth::rows();
    rows.extend(users::rows());
    rows.extend(lock::rows());
    rows.extend(admin::rows());
    rows.extend(stats::rows());
    rows.extend(audit::rows());
    rows.extend(health::rows());
    rows
}
