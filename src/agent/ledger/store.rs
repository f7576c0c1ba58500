//! The SQL of what tokens may spend and what they used.
//!
//! Law: what is handed out is handed out by one write whose condition is the limit; its row count
//! decides.

use super::super::store::allowance;
use super::Usage;
use crate::base::{Id, MicroUsd, Timestamp};
use crate::shared::Allowance;
use crate::store::{Error, Source, Tx, sql};

/// Hands out requests and money of a token, if so much is left; 0 where it is not.
pub(super) async fn grant(tx: &mut Tx, id: Id, amount: Allowance) -> Result<u64, Error> {
    let (requests, money) = (amount.requests, amount.money.as_micros());
    let stmt = sql("UPDATE agent_token SET requests_granted = requests_granted + ?, \
                    budget_granted = budget_granted + ? WHERE id = ?")
    .bind(requests)
    .bind(money)
    .bind(id)
    // Who wants none of one of them may have none of it left.
    .and_if((requests > 0).then_some(requests), "requests_granted + ? <= max_requests_total")
    .and_if((money > 0).then_some(money), "budget_granted + ? <= budget_limit");
    tx.execute(stmt).await
}

/// What of a token was not handed out.
pub(super) async fn room(mut src: impl Source, id: Id) -> Result<Option<Allowance>, Error> {
    let stmt = sql("SELECT max_requests_total - requests_granted, budget_limit - budget_granted \
                    FROM agent_token WHERE id = ?");
    let row: Option<(i64, i64)> = src.optional(stmt.bind(id)).await?;
    Ok(row.map(|(requests, micros)| allowance(requests, micros)))
}

/// Takes back what was handed out.
pub(super) async fn ungrant(tx: &mut Tx, id: Id, amount: Allowance) -> Result<(), Error> {
    let (requests, money) = (amount.requests, amount.money.as_micros());
    let stmt = sql("UPDATE agent_token SET requests_granted = requests_granted - ?, \
                    budget_granted = budget_granted - ? WHERE id = ? AND requests_granted >= ? \
                    AND budget_granted >= ?");
    tx.execute(stmt.bind(requests).bind(money).bind(id).bind(requests).bind(money)).await.map(drop)
}

/// Counts money that is spent already, beyond the limit too.
pub(super) async fn charge(tx: &mut Tx, id: Id, money: MicroUsd) -> Result<(), Error> {
    // More than can be shown is not counted further: nothing is left of any budget long before.
    let stmt = sql("UPDATE agent_token SET budget_granted = budget_granted + ? WHERE id = ? \
                    AND budget_granted <= ?");
    let most = MicroUsd::MOST.as_micros();
    tx.execute(stmt.bind(money.as_micros()).bind(id).bind(most)).await.map(drop)
}

/// Notes a report by the digest of its key.
pub(super) async fn insert_report(
    tx: &mut Tx,
    id: Id,
    digest: &str,
    amount: MicroUsd,
    now: Timestamp,
) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO agent_report (token_id, key_digest, amount, reported_at) VALUES (?, ?, ?, ?)");
    tx.execute(stmt.bind(id).bind(digest).bind(amount.as_micros()).bind(now)).await.map(drop)
}

/// The amount of a report.
pub(super) async fn reported(mut src: impl Source, id: Id, digest: &str) -> Result<Option<MicroUsd>, Error> {
    let stmt = sql("SELECT amount FROM agent_report WHERE token_id = ? AND key_digest = ?");
    let row: Option<(i64,)> = src.optional(stmt.bind(id).bind(digest)).await?;
    Ok(row.and_then(|(micros,)| MicroUsd::from_micros(micros)))
}

/// What these tokens used on each day from `first` on.
pub(super) async fn usage(
    mut src: impl Source,
    tokens: &[Id],
    first: i64,
) -> Result<Vec<((Id, i64), Usage)>, Error> {
    let stmt = sql("SELECT token_id, day, requests, spent, reported FROM agent_usage WHERE day >= ?")
        .bind(first)
        .push("AND token_id IN")
        .list(tokens.iter().copied());
    let rows: Vec<(Id, i64, i64, i64, i64)> = src.all(stmt).await?;
    let of = |(id, day, requests, spent, reported)| {
        let Allowance { requests, money: spent } = allowance(requests, spent);
        ((id, day), Usage { requests, spent, reported: allowance(0, reported).money })
    };
    Ok(rows.into_iter().map(of).collect())
}

/// Adds to what tokens used on their days.
pub(super) async fn add_usage(tx: &mut Tx, used: &[((Id, i64), Usage)]) -> Result<(), Error> {
    let mut stmt = sql("INSERT INTO agent_usage (token_id, day, requests, spent, reported) VALUES");
    for (row, ((id, day), usage)) in used.iter().enumerate() {
        stmt = stmt
            .push(if row == 0 { "(?, ?, ?, ?, ?)" } else { ", (?, ?, ?, ?, ?)" })
            .bind(*id)
            .bind(*day)
            .bind(usage.requests)
            .bind(usage.spent.as_micros())
            .bind(usage.reported.as_micros());
    }
    let stmt = stmt.upsert_adding(&["token_id", "day"], "agent_usage", &["requests", "spent", "reported"]);
    tx.execute(stmt).await.map(drop)
}
