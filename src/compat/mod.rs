//! Other systems whose clients are served as they are: profiles, each mounted where the configuration says.
//!
//! Law: a profile is a translation. It reads what its clients send, calls an operation of a slice, and says the
//! outcome in its own words; it has no rule, no SQL and no state of its own, so whatever holds for the native API
//! holds for it. Its rows stand in the same table, with who may call them.

mod auth_system;

use crate::config::Wire;
use crate::http::Row;

/// The endpoints of a profile.
#[must_use]
pub fn rows(wire: Wire) -> Vec<Row> {
    match wire {
        Wire::AuthSystem => auth_system::rows(),
    }
}
