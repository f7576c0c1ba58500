//! The SQL of what becomes of approvals that are over, or whose person is gone.
//! Law: an approval leaves with its votes and its answer.

use crate::base::{Id, Timestamp};
use crate::store::{Error, Source as _, Tx, sql};

/// Takes from all that was held for an account what its agents wanted to do in words, and from what it
/// denied of others' why.
pub(in crate::approval) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let results = sql("DELETE FROM approval_result WHERE approval_id IN \
                       (SELECT id FROM approval WHERE account_id = ?)");
    tx.execute(results.bind(account)).await?;
    let words = sql("UPDATE approval SET agent = '', path = '', title = '', trace = NULL, reason = NULL, \
                     send_at = NULL, head = NULL, body = NULL WHERE account_id = ?");
    tx.execute(words.bind(account)).await?;
    tx.execute(sql("UPDATE approval SET reason = NULL WHERE decided_by = ?").bind(account)).await.map(drop)
}

/// Removes some of what ended before a moment; how much.
pub(in crate::approval) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM approval WHERE ended_at < ? LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(before).bind(most)).await?;
    let mut gone = 0;
    for what in [
        "DELETE FROM approval_vote WHERE approval_id IN",
        "DELETE FROM approval_result WHERE approval_id IN",
        "DELETE FROM approval WHERE id IN",
    ] {
        gone = tx.execute(sql(what).list(over.iter().map(|(id,)| *id))).await?;
    }
    Ok(gone)
}
