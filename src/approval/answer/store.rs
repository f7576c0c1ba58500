//! The SQL of kept answers.
//!
//! Law: an answer is written with the end of its execution, and nobody reads one whose time is over.

use super::Kind;
use crate::base::{Id, Timestamp};
use crate::store::{Error, FromRow, Source, Tx, sql};

#[derive(FromRow)]
pub(super) struct AnswerRow {
    pub kind: Kind,
    pub head: Option<Vec<u8>>,
    pub body: Option<Vec<u8>>,
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: Id,
    kind: Kind,
    sealed: Option<(Vec<u8>, Vec<u8>)>,
    ends_at: Timestamp,
) -> Result<(), Error> {
    let (head, body) = sealed.unzip();
    let stmt =
        sql("INSERT INTO approval_result (approval_id, kind, head, body, ends_at) VALUES (?, ?, ?, ?, ?)");
    let stmt = stmt.bind(id).bind(kind.name()).bind(head).bind(body).bind(ends_at);
    tx.execute(stmt).await.map(drop)
}

pub(super) async fn find(mut src: impl Source, id: Id, now: Timestamp) -> Result<Option<AnswerRow>, Error> {
    let stmt = sql("SELECT kind, head, body FROM approval_result WHERE approval_id = ? AND ends_at > ?");
    src.optional(stmt.bind(id).bind(now)).await
}

pub(super) async fn forget(tx: &mut Tx, now: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT approval_id FROM approval_result WHERE ends_at <= ? LIMIT ?").bind(now).bind(most);
    let over: Vec<(Id,)> = tx.all(over).await?;
    let delete = sql("DELETE FROM approval_result WHERE approval_id IN");
    tx.execute(delete.list(over.into_iter().map(|(id,)| id))).await
}
