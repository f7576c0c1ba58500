//! The tables of rights: definitions that were made here, and grants.
//!
//! Law: nothing else reads or writes them. A grant is inserted or left as it is in one statement;
//! whose id stands in the row afterwards is the one that granted.

use super::{Granted, Holders};
use crate::base::{Id, Number, Timestamp};
use crate::policy::Code;
use crate::policy::definition::{Definitions, Group, ManagedBy, Permission, Role};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

#[derive(FromRow)]
struct PermissionRow {
    code: Code,
    name: String,
    description: String,
    parent_code: Option<Code>,
}

#[derive(FromRow)]
struct RoleRow {
    code: Code,
    name: String,
    description: String,
    is_default: bool,
}

#[derive(FromRow)]
struct GroupRow {
    code: Code,
    name: String,
    description: String,
}

/// A row of `role_grant` or `group_grant`.
type GrantRow = (Code, String, Code);

/// Every definition that was made here.
pub(super) async fn definitions(mut src: impl Source) -> Result<Definitions, Error> {
    let mut all = Definitions::default();
    let permissions = sql("SELECT code, name, description, parent_code FROM permission ORDER BY code");
    for row in src.all::<PermissionRow>(permissions).await? {
        let PermissionRow { code, name, description, parent_code: parent } = row;
        let permission = Permission { name, description, parent, managed_by: ManagedBy::Store };
        all.permissions.insert(code, permission);
    }
    for row in src.all::<RoleRow>(sql("SELECT code, name, description, is_default FROM role")).await? {
        let RoleRow { code, name, description, is_default } = row;
        let (permissions, inherits) = (Vec::new(), Vec::new());
        let managed_by = ManagedBy::Store;
        let role = Role { name, description, permissions, inherits, is_default, managed_by };
        all.roles.insert(code, role);
    }
    for row in src.all::<GroupRow>(sql("SELECT code, name, description FROM account_group")).await? {
        let GroupRow { code, name, description } = row;
        let (roles, permissions) = (Vec::new(), Vec::new());
        let group = Group { name, description, roles, permissions, managed_by: ManagedBy::Store };
        all.groups.insert(code, group);
    }
    all.org_roles = super::org_role::definitions(&mut src).await?;
    let grants = sql("SELECT role_code, kind, code FROM role_grant ORDER BY role_code, kind, code");
    for (role, kind, code) in src.all::<GrantRow>(grants).await? {
        let Some(role) = all.roles.get_mut(&role) else { continue };
        match Granted::parse(&kind, code) {
            Some(Granted::Permission(code)) => role.permissions.push(code),
            Some(Granted::Role(code)) => role.inherits.push(code),
            _ => {}
        }
    }
    let grants = sql("SELECT group_code, kind, code FROM group_grant ORDER BY group_code, kind, code");
    for (group, kind, code) in src.all::<GrantRow>(grants).await? {
        let Some(group) = all.groups.get_mut(&group) else { continue };
        match Granted::parse(&kind, code) {
            Some(Granted::Permission(code)) => group.permissions.push(code),
            Some(Granted::Role(code)) => group.roles.push(code),
            _ => {}
        }
    }
    Ok(all)
}

/// What an account was granted, by kind and code.
pub(super) async fn grants(mut src: impl Source, account: Id) -> Result<Vec<Granted>, Error> {
    let rows = sql("SELECT kind, code FROM account_grant WHERE account_id = ? ORDER BY kind, code");
    let rows = src.all::<(String, Code)>(rows.bind(account)).await?;
    Ok(rows.into_iter().filter_map(|(kind, code)| Granted::parse(&kind, code)).collect())
}

/// Inserts a grant under `grant_id` unless the account has it; whether it was this one.
pub(super) async fn grant(
    tx: &mut Tx,
    account: Id,
    granted: &Granted,
    grant_id: Id,
    now: Timestamp,
) -> Result<bool, Error> {
    let insert = sql("INSERT INTO account_grant (account_id, kind, code, grant_id, granted_at) \
                      VALUES (?, ?, ?, ?, ?)");
    let insert = insert.bind(account).bind(granted.kind()).bind(granted.code()).bind(grant_id).bind(now);
    tx.execute(insert.upsert(&["account_id", "kind", "code"], &[])).await?;
    let stands = sql("SELECT grant_id FROM account_grant WHERE account_id = ? AND kind = ? AND code = ?");
    let stands = stands.bind(account).bind(granted.kind()).bind(granted.code());
    let (id,): (Id,) = tx.one(stands).await?;
    Ok(id == grant_id)
}

/// Removes a grant; whether there was one.
pub(super) async fn revoke(tx: &mut Tx, account: Id, granted: &Granted) -> Result<bool, Error> {
    let delete = sql("DELETE FROM account_grant WHERE account_id = ? AND kind = ? AND code = ?");
    let rows = tx.execute(delete.bind(account).bind(granted.kind()).bind(granted.code())).await?;
    Ok(rows == 1)
}

/// Removes a grant from these accounts.
pub(super) async fn revoke_from(tx: &mut Tx, accounts: &[Id], granted: &Granted) -> Result<(), Error> {
    let delete = sql("DELETE FROM account_grant WHERE kind = ? AND code = ? AND account_id IN");
    let delete = delete.bind(granted.kind()).bind(granted.code());
    tx.execute(delete.list(accounts.iter().copied())).await.map(drop)
}

/// Whether any account has a grant.
pub(super) async fn has_holder(mut src: impl Source, granted: &Granted) -> Result<bool, Error> {
    let one = sql("SELECT account_id FROM account_grant WHERE kind = ? AND code = ? LIMIT 1");
    let one = one.bind(granted.kind()).bind(granted.code());
    Ok(src.optional::<(Id,)>(one).await?.is_some())
}

/// Inserts a group under `id` unless there is one of that code; whether it was this one.
pub(super) async fn add_group(
    tx: &mut Tx,
    id: Id,
    number: Number,
    code: &Code,
    name: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let insert =
        sql("INSERT INTO account_group (id, number, code, name, description, created_at, updated_at) \
                      VALUES (?, ?, ?, ?, '', ?, ?)");
    let insert = insert.bind(id).bind(number).bind(code).bind(name).bind(now).bind(now);
    tx.execute(insert.upsert(&["code"], &[])).await?;
    let stands = sql("SELECT id FROM account_group WHERE code = ?").bind(code);
    let (stands,): (Id,) = tx.one(stands).await?;
    Ok(stands == id)
}

/// Takes the row of a group until the transaction ends; whether there is one.
pub(super) async fn hold_group(tx: &mut Tx, code: &Code, now: Timestamp) -> Result<bool, Error> {
    let update = sql("UPDATE account_group SET updated_at = ? WHERE code = ?");
    Ok(tx.execute(update.bind(now).bind(code)).await? == 1)
}

/// Removes a group and what it has; whether there was one. The accounts in it are not touched.
pub(super) async fn remove_group(tx: &mut Tx, code: &Code) -> Result<bool, Error> {
    let rows = tx.execute(sql("DELETE FROM account_group WHERE code = ?").bind(code)).await?;
    tx.execute(sql("DELETE FROM group_grant WHERE group_code = ?").bind(code)).await?;
    Ok(rows == 1)
}

/// Inserts what a group has under `grant_id` unless it has it; whether it was this one.
pub(super) async fn grant_to_group(
    tx: &mut Tx,
    group: &Code,
    granted: &Granted,
    grant_id: Id,
) -> Result<bool, Error> {
    let insert = sql("INSERT INTO group_grant (group_code, kind, code, grant_id) VALUES (?, ?, ?, ?)");
    let insert = insert.bind(group).bind(granted.kind()).bind(granted.code()).bind(grant_id);
    tx.execute(insert.upsert(&["group_code", "kind", "code"], &[])).await?;
    let stands = sql("SELECT grant_id FROM group_grant WHERE group_code = ? AND kind = ? AND code = ?");
    let stands = stands.bind(group).bind(granted.kind()).bind(granted.code());
    let (id,): (Id,) = tx.one(stands).await?;
    Ok(id == grant_id)
}

/// Removes what a group has; whether it had it.
pub(super) async fn revoke_from_group(tx: &mut Tx, group: &Code, granted: &Granted) -> Result<bool, Error> {
    let delete = sql("DELETE FROM group_grant WHERE group_code = ? AND kind = ? AND code = ?");
    let rows = tx.execute(delete.bind(group).bind(granted.kind()).bind(granted.code())).await?;
    Ok(rows == 1)
}

/// Every code that was granted to accounts, with how many have it.
pub(super) async fn holders(mut src: impl Source) -> Result<Vec<Holders>, Error> {
    let count = sql("SELECT kind, code, COUNT(*) FROM account_grant GROUP BY kind, code ORDER BY kind, code");
    let rows = src.all::<(String, Code, i64)>(count).await?;
    let holders = rows.into_iter().filter_map(|(kind, code, accounts)| {
        Granted::parse(&kind, code).map(|granted| Holders { granted, accounts })
    });
    Ok(holders.collect())
}

/// The accounts that have a grant, in the order of their ids.
pub(super) async fn accounts_with(mut src: impl Source, granted: &Granted) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT account_id FROM account_grant WHERE kind = ? AND code = ? ORDER BY account_id");
    let rows = src.all::<(Id,)>(rows.bind(granted.kind()).bind(granted.code())).await?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// What these accounts were granted.
pub(super) async fn grants_of(mut src: impl Source, accounts: &[Id]) -> Result<Vec<(Id, Granted)>, Error> {
    let rows = sql("SELECT account_id, kind, code FROM account_grant WHERE account_id IN");
    let rows = rows.list(accounts.iter().copied()).push("ORDER BY account_id, kind, code");
    let rows = src.all::<(Id, String, Code)>(rows).await?;
    let granted = rows.into_iter().filter_map(|(id, kind, code)| Some((id, Granted::parse(&kind, code)?)));
    Ok(granted.collect())
}

/// Some of the accounts that have a grant, from behind one of them.
pub(super) fn holders_after(granted: &Granted, after: Option<Id>, is_backwards: bool, most: u32) -> Stmt {
    let rows = sql("SELECT account_id FROM account_grant WHERE kind = ? AND code = ?");
    let rows = rows.bind(granted.kind()).bind(granted.code());
    let (further, order) = if is_backwards {
        ("account_id < ?", "ORDER BY account_id DESC LIMIT ?")
    } else {
        ("account_id > ?", "ORDER BY account_id LIMIT ?")
    };
    rows.and_if(after, further).push(order).bind(most)
}

/// Some of the accounts of a site that have a grant.
pub(super) fn holders_on(site: Id, granted: &Granted, after: Option<Id>, most: u32) -> Stmt {
    let rows = sql("SELECT g.account_id FROM account_grant g JOIN account a ON a.id = g.account_id \
                    WHERE g.kind = ? AND g.code = ? AND a.site_id = ? AND a.deleted_at IS NULL");
    let rows = rows.bind(granted.kind()).bind(granted.code()).bind(site);
    rows.and_if(after, "g.account_id > ?").push("ORDER BY g.account_id LIMIT ?").bind(most)
}

pub(super) async fn ids(mut src: impl Source, rows: Stmt) -> Result<Vec<Id>, Error> {
    Ok(src.all::<(Id,)>(rows).await?.into_iter().map(|(id,)| id).collect())
}
