//! The SQL of errands.
//!
//! Law: a turn is taken by one conditional write, and only the row count says by whom.

use super::super::Approval;
use super::super::store::{CLAIMS_MAX, all, select};
use super::Crowd;
use crate::base::Timestamp;
use crate::store::{Error, Source, Tx, sql};

/// What the gateway is to send now, without what a crowd has.
pub(super) async fn errands(
    src: impl Source,
    now: Timestamp,
    crowd: &Crowd,
    limit: u32,
) -> Result<Vec<Approval>, Error> {
    let stmt =
        select().push("WHERE send_at <= ? AND execute_by > ? AND (state = 'approved'").bind(now).bind(now);
    let stmt =
        stmt.push("OR (state = 'indeterminate' AND is_idempotent = ? AND claims < ? AND body IS NOT NULL))");
    let mut stmt = stmt.bind(true).bind(CLAIMS_MAX);
    if !crowd.routes.is_empty() {
        stmt = stmt.push("AND route NOT IN").list(crowd.routes.iter().map(String::as_str));
    }
    if !crowd.accounts.is_empty() {
        stmt = stmt.push("AND account_id NOT IN").list(crowd.accounts.iter().copied());
    }
    all(src, stmt.push("ORDER BY send_at, id LIMIT ?").bind(limit)).await
}

/// Takes one of these to try it; 0 where somebody else has. Nobody else tries before `until`.
pub(super) async fn take_errand(tx: &mut Tx, approval: &Approval, until: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET send_at = ? WHERE id = ? AND send_at = ? AND claims = ?");
    tx.execute(stmt.bind(until).bind(approval.id).bind(approval.send_at).bind(approval.claims)).await
}
