//! The SQL of definitions that are made here, and of the turn to change rights.
//!
//! Law: whoever writes here has taken the turn, so that what was read after it still holds.

use crate::base::{Id, Number, Timestamp};
use crate::policy::Code;
use crate::rbac::Granted;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// Waits for whoever changes rights now, and makes the next one wait until the transaction ends.
pub(in crate::rbac) async fn take_turn(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    let turn = sql("UPDATE rights_turn SET taken_at = ? WHERE id = 1").bind(now);
    if tx.execute(turn).await? == 1 {
        Ok(())
    } else {
        Err(Error::Broken { cause: "the row of the turn is gone".into() })
    }
}

/// What the store alone knows of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    pub number: Number,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(FromRow)]
struct MadeRow {
    code: Code,
    number: Number,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The kinds of definitions, each with a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Permission,
    Role,
    Group,
}

/// What the store knows of all definitions of a kind.
pub(in crate::rbac) async fn made(mut src: impl Source, kind: Kind) -> Result<Vec<(Code, Made)>, Error> {
    let rows = match kind {
        Kind::Permission => {
            sql("SELECT code, number, created_at, updated_at FROM permission ORDER BY number")
        }
        Kind::Role => sql("SELECT code, number, created_at, updated_at FROM role ORDER BY number"),
        Kind::Group => sql("SELECT code, number, created_at, updated_at FROM account_group ORDER BY number"),
    };
    let made = |row: MadeRow| {
        let MadeRow { code, number, created_at, updated_at } = row;
        (code, Made { number, created_at, updated_at })
    };
    Ok(src.all::<MadeRow>(rows).await?.into_iter().map(made).collect())
}

/// What a row begins with, whatever it defines.
pub(super) struct NewRow<'a> {
    pub id: Id,
    pub number: Number,
    pub code: &'a Code,
    pub name: &'a str,
    pub description: &'a str,
    pub now: Timestamp,
}

impl NewRow<'_> {
    fn bind_to(&self, stmt: Stmt) -> Stmt {
        let stmt = stmt.bind(self.id).bind(self.number).bind(self.code).bind(self.name);
        stmt.bind(self.description).bind(self.now).bind(self.now)
    }
}

pub(super) async fn add_permission(
    tx: &mut Tx,
    row: &NewRow<'_>,
    parent: Option<&Code>,
) -> Result<(), Error> {
    let insert = sql("INSERT INTO permission (id, number, code, name, description, created_at, updated_at, \
                      parent_code) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    tx.execute(row.bind_to(insert).bind(parent)).await.map(drop)
}

pub(super) async fn add_role(tx: &mut Tx, row: &NewRow<'_>, is_default: bool) -> Result<(), Error> {
    let insert = sql("INSERT INTO role (id, number, code, name, description, created_at, updated_at, \
                      is_default) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    tx.execute(row.bind_to(insert).bind(is_default)).await.map(drop)
}

/// Where a permission stands among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Below none.
    Alone,
    Below(Code),
}

impl Place {
    #[must_use]
    pub const fn parent(&self) -> Option<&Code> {
        match self {
            Self::Alone => None,
            Self::Below(parent) => Some(parent),
        }
    }
}

/// What is to be written over what a definition has; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub name: Option<String>,
    pub description: Option<String>,
    /// Of permissions.
    pub place: Option<Place>,
    /// Of roles.
    pub is_default: Option<bool>,
}

impl Edit {
    /// Without what the definition is called and described as already.
    pub(super) fn but_for(self, name: &str, description: &str) -> Self {
        Self {
            name: self.name.filter(|new| new != name),
            description: self.description.filter(|new| new != description),
            ..self
        }
    }
}

pub(super) async fn edit(tx: &mut Tx, what: &Granted, edit: &Edit, now: Timestamp) -> Result<(), Error> {
    let stmt = match what {
        Granted::Permission(_) => sql("UPDATE permission SET updated_at = ?"),
        Granted::Role(_) => sql("UPDATE role SET updated_at = ?"),
        Granted::Group(_) => sql("UPDATE account_group SET updated_at = ?"),
    };
    let mut stmt = stmt.bind(now);
    if let Some(name) = &edit.name {
        stmt = stmt.push(", name = ?").bind(name.as_str());
    }
    if let Some(description) = &edit.description {
        stmt = stmt.push(", description = ?").bind(description.as_str());
    }
    if let Some(place) = &edit.place {
        stmt = stmt.push(", parent_code = ?").bind(place.parent());
    }
    if let Some(is_default) = edit.is_default {
        stmt = stmt.push(", is_default = ?").bind(is_default);
    }
    tx.execute(stmt.push("WHERE code = ?").bind(what.code())).await.map(drop)
}

/// Removes a permission or role with what it brings; whether there was one.
pub(super) async fn remove(tx: &mut Tx, what: &Granted) -> Result<bool, Error> {
    let delete = match what {
        Granted::Permission(_) => sql("DELETE FROM permission WHERE code = ?"),
        Granted::Role(_) => sql("DELETE FROM role WHERE code = ?"),
        Granted::Group(_) => sql("DELETE FROM account_group WHERE code = ?"),
    };
    let rows = tx.execute(delete.bind(what.code())).await?;
    let own = match what {
        Granted::Permission(_) => None,
        Granted::Role(_) => Some(sql("DELETE FROM role_grant WHERE role_code = ?")),
        Granted::Group(_) => Some(sql("DELETE FROM group_grant WHERE group_code = ?")),
    };
    if let Some(own) = own {
        tx.execute(own.bind(what.code())).await?;
    }
    Ok(rows == 1)
}

/// Takes something from every role and group of the store.
pub(super) async fn take_from_definitions(tx: &mut Tx, what: &Granted) -> Result<(), Error> {
    let roles = sql("DELETE FROM role_grant WHERE kind = ? AND code = ?");
    tx.execute(roles.bind(what.kind()).bind(what.code())).await?;
    let groups = sql("DELETE FROM group_grant WHERE kind = ? AND code = ?");
    tx.execute(groups.bind(what.kind()).bind(what.code())).await.map(drop)
}

pub(super) async fn add_to_role(tx: &mut Tx, role: &Code, granted: &Granted) -> Result<(), Error> {
    let insert = sql("INSERT INTO role_grant (role_code, kind, code) VALUES (?, ?, ?)");
    let insert = insert.bind(role).bind(granted.kind()).bind(granted.code());
    tx.execute(insert.upsert(&["role_code", "kind", "code"], &[])).await.map(drop)
}

pub(super) async fn take_from_role(tx: &mut Tx, role: &Code, granted: &Granted) -> Result<(), Error> {
    let delete = sql("DELETE FROM role_grant WHERE role_code = ? AND kind = ? AND code = ?");
    tx.execute(delete.bind(role).bind(granted.kind()).bind(granted.code())).await.map(drop)
}
