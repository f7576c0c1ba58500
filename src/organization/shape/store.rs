//! The SQL of what organizations are called and where they stand.
//!
//! Law: who writes a parent or a depth has taken the turn; who writes anything else holds the row.

use super::{DEEPEST, Edit, Terms};
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Tx, sql};

/// How many rows one statement names.
const PAGE: usize = 500;

/// Waits for whoever changes trees now, and makes the next one wait until the transaction ends.
pub(super) async fn take_turn(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    let turn = sql("UPDATE organization_turn SET taken_at = ? WHERE id = 1").bind(now);
    if tx.execute(turn).await? == 1 {
        Ok(())
    } else {
        Err(Error::Broken { cause: "the row of the turn is gone".into() })
    }
}

pub(super) async fn metadata(tx: &mut Tx, id: Id) -> Result<Option<String>, Error> {
    let row = sql("SELECT metadata FROM organization WHERE id = ?").bind(id);
    Ok(tx.optional::<(Option<String>,)>(row).await?.and_then(|(text,)| text))
}

/// Writes what is said of an organization; at least one thing is.
pub(super) async fn edit(tx: &mut Tx, id: Id, edit: &Edit) -> Result<(), Error> {
    let mut update = sql("UPDATE organization SET id = id");
    if let Some(name) = &edit.name {
        update = update.push(", name = ?").bind(name.as_str());
    }
    if let Some(description) = &edit.description {
        update = update.push(", description = ?").bind(description.as_str());
    }
    if let Some(metadata) = &edit.metadata {
        update = update.push(", metadata = ?").bind(metadata.as_str());
    }
    if let Some(max) = edit.max_members {
        update = update.push(", max_members = ?").bind(i64::from(max));
    }
    tx.execute(update.push("WHERE id = ?").bind(id)).await.map(drop)
}

pub(super) async fn set_terms(tx: &mut Tx, id: Id, terms: &Terms) -> Result<(), Error> {
    let mut update = sql("UPDATE organization SET id = id");
    if let Some(plan) = &terms.plan {
        update = update.push(", plan = ?").bind(plan.as_str());
    }
    if let Some(status) = &terms.status {
        update = update.push(", status = ?").bind(status.as_str());
    }
    tx.execute(update.push("WHERE id = ?").bind(id)).await.map(drop)
}

/// Everything below an organization, active or not, level by level.
pub(super) async fn levels_below(tx: &mut Tx, id: Id) -> Result<Vec<Vec<Id>>, Error> {
    let mut levels: Vec<Vec<Id>> = Vec::new();
    let mut level = vec![id];
    loop {
        let mut below = Vec::new();
        for page in level.chunks(PAGE) {
            let rows = sql("SELECT id FROM organization WHERE parent_id IN").list(page.iter().copied());
            below.extend(tx.all::<(Id,)>(rows.push("ORDER BY id")).await?.into_iter().map(|(id,)| id));
        }
        if below.is_empty() {
            return Ok(levels);
        }
        if levels.len() == DEEPEST {
            return Err(Error::Broken { cause: "organizations that are below each other".into() });
        }
        levels.push(below.clone());
        level = below;
    }
}

pub(super) async fn put_below(tx: &mut Tx, id: Id, parent: Option<Id>, depth: u32) -> Result<(), Error> {
    let update = sql("UPDATE organization SET parent_id = ?, depth = ? WHERE id = ?");
    tx.execute(update.bind(parent).bind(depth).bind(id)).await.map(drop)
}

pub(super) async fn set_depth(tx: &mut Tx, ids: &[Id], depth: u32) -> Result<(), Error> {
    for page in ids.chunks(PAGE) {
        let update = sql("UPDATE organization SET depth = ?").bind(depth).push("WHERE id IN");
        tx.execute(update.list(page.iter().copied())).await?;
    }
    Ok(())
}

/// Gives an organization another plan, if it has the first one; whether it had.
pub(super) async fn replace_plan(tx: &mut Tx, id: Id, (was, plan): (&str, &str)) -> Result<bool, Error> {
    let update = sql("UPDATE organization SET plan = ? WHERE id = ? AND plan = ?");
    Ok(tx.execute(update.bind(plan).bind(id).bind(was)).await? > 0)
}

/// The same of its status.
pub(super) async fn replace_status(tx: &mut Tx, id: Id, (was, status): (&str, &str)) -> Result<bool, Error> {
    let update = sql("UPDATE organization SET status = ? WHERE id = ? AND status = ?");
    Ok(tx.execute(update.bind(status).bind(id).bind(was)).await? > 0)
}
