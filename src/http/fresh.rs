//! How lately whoever calls must have proved who they are, where a call may change keys or what people may do.
//!
//! Law: what an endpoint asks follows from the events that it declares, so none can forget to ask. The gate and the
//! pages that ask endpoints judge by this one function; without `api.admin_max_age` no login is too old.

use std::time::Duration;

use super::row::{Access, Row, Trace};
use crate::base::Timestamp;
use crate::principal::SessionFacts;

/// What changes the keys of programs, or what somebody may do.
const KEYS_AND_RIGHTS: [&str; 10] = [
    "app_created",
    "app_credentials_regenerated",
    "app_deleted",
    "permission_changed",
    "permission_granted",
    "permission_revoked",
    "role_assigned",
    "role_removed",
    "group_joined",
    "group_left",
];

/// Whether a call of this row may change keys or rights of others, by a permission to do so. Who deletes somebody
/// ends all of theirs.
#[must_use]
pub fn is_asked(row: &Row) -> bool {
    let is_by_right = matches!(row.access(), Access::Permission(_));
    let Some(Trace::Audited(events)) = row.trace() else { return false };
    is_by_right && events.iter().any(|event| KEYS_AND_RIGHTS.contains(event))
}

/// How old the login may be at most, where this one is older.
#[must_use]
pub fn too_old(
    row: &Row,
    most: Option<Duration>,
    session: &SessionFacts,
    now: Timestamp,
) -> Option<Duration> {
    let most = most.filter(|_| is_asked(row))?;
    (now.since(session.authenticated_at) > most).then_some(most)
}
