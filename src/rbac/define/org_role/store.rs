//! The SQL of org roles that are made here.
//!
//! Law: whoever writes here has taken the turn to change rights, or holds a role against its removal.

use std::collections::BTreeMap;

use super::{Made, Wanted};
use crate::base::{Id, Number, Timestamp};
use crate::policy::definition::{ManagedBy, OrgRole};
use crate::policy::{Code, Grant};
use crate::store::{Error, FromRow, Source, Tx, sql};

#[derive(FromRow)]
struct Row {
    code: Code,
    name: String,
    description: String,
}

/// Every org role that was made here.
pub(in crate::rbac) async fn definitions(mut src: impl Source) -> Result<BTreeMap<Code, OrgRole>, Error> {
    let mut all = BTreeMap::new();
    for row in src.all::<Row>(sql("SELECT code, name, description FROM org_role")).await? {
        let Row { code, name, description } = row;
        let (permissions, managed_by) = (Vec::new(), ManagedBy::Store);
        all.insert(code, OrgRole { name, description, permissions, is_default: false, managed_by });
    }
    let grants = sql("SELECT role_code, permission FROM org_role_grant ORDER BY role_code, permission");
    for (role, grant) in src.all::<(Code, String)>(grants).await? {
        // What cannot be read grants nothing.
        let (Some(role), Ok(grant)) = (all.get_mut(&role), Grant::parse(&grant)) else { continue };
        role.permissions.push(grant);
    }
    Ok(all)
}

#[derive(FromRow)]
struct MadeRow {
    code: Code,
    number: Number,
    created_at: Timestamp,
    updated_at: Timestamp,
}

pub(super) async fn made(mut src: impl Source) -> Result<Vec<(Code, Made)>, Error> {
    let rows = sql("SELECT code, number, created_at, updated_at FROM org_role ORDER BY number");
    let made = |row: MadeRow| {
        let MadeRow { code, number, created_at, updated_at } = row;
        (code, Made { number, created_at, updated_at })
    };
    Ok(src.all::<MadeRow>(rows).await?.into_iter().map(made).collect())
}

pub(super) async fn add(
    tx: &mut Tx,
    (id, number): (Id, Number),
    code: &Code,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(), Error> {
    let name = wanted.name.as_deref().unwrap_or_else(|| code.as_str());
    let insert = sql("INSERT INTO org_role (id, number, code, name, description, created_at, updated_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)")
    .bind(id)
    .bind(number)
    .bind(code)
    .bind(name)
    .bind(wanted.description.as_deref().unwrap_or_default())
    .bind(now)
    .bind(now);
    tx.execute(insert).await.map(drop)
}

pub(super) async fn add_grant(tx: &mut Tx, code: &Code, grant: &Grant) -> Result<(), Error> {
    let insert = sql("INSERT INTO org_role_grant (role_code, permission) VALUES (?, ?)");
    let insert = insert.bind(code).bind(grant.to_string().as_str());
    tx.execute(insert.upsert(&["role_code", "permission"], &[])).await.map(drop)
}

pub(super) async fn clear_grants(tx: &mut Tx, code: &Code) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM org_role_grant WHERE role_code = ?").bind(code)).await.map(drop)
}

pub(super) async fn edit(tx: &mut Tx, code: &Code, wanted: &Wanted, now: Timestamp) -> Result<(), Error> {
    let mut update = sql("UPDATE org_role SET updated_at = ?").bind(now);
    if let Some(name) = &wanted.name {
        update = update.push(", name = ?").bind(name.as_str());
    }
    if let Some(description) = &wanted.description {
        update = update.push(", description = ?").bind(description.as_str());
    }
    tx.execute(update.push("WHERE code = ?").bind(code)).await.map(drop)
}

pub(super) async fn hold(tx: &mut Tx, code: &Code, now: Timestamp) -> Result<bool, Error> {
    let update = sql("UPDATE org_role SET updated_at = ? WHERE code = ?").bind(now).bind(code);
    Ok(tx.execute(update).await? == 1)
}

/// Removes an org role with what it grants; whether there was one.
pub(super) async fn remove(tx: &mut Tx, code: &Code) -> Result<bool, Error> {
    let rows = tx.execute(sql("DELETE FROM org_role WHERE code = ?").bind(code)).await?;
    clear_grants(tx, code).await?;
    Ok(rows == 1)
}
