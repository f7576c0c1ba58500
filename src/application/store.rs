//! The tables of applications.
//!
//! Law: nothing else reads or writes them. A name is unique per site and an access key everywhere,
//! by constraint.

use std::collections::HashMap;

use super::{AccessKey, Application, Origin, RedirectUri, SecretHash};
use crate::base::{Id, Number, Timestamp};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

#[derive(FromRow)]
struct ApplicationRow {
    id: Id,
    number: Number,
    site_id: Id,
    name: String,
    description: String,
    access_key: AccessKey,
    secret_hash: SecretHash,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl ApplicationRow {
    fn with(self, allowed_origins: Vec<Origin>, redirect_uris: Vec<RedirectUri>) -> Application {
        Application {
            id: self.id,
            number: self.number,
            site: self.site_id,
            name: self.name,
            description: self.description,
            access_key: self.access_key,
            secret_hash: self.secret_hash,
            is_active: self.is_active,
            allowed_origins,
            redirect_uris,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

fn applications() -> Stmt {
    sql("SELECT id, number, site_id, name, description, access_key, secret_hash, is_active, created_at, \
         updated_at FROM application")
}

/// Every application, by number.
pub(super) async fn all(mut src: impl Source) -> Result<Vec<Application>, Error> {
    let rows: Vec<ApplicationRow> = src.all(applications().push("ORDER BY number, id")).await?;
    let listed = sql("SELECT application_id, origin FROM application_origin ORDER BY application_id, origin");
    let mut origins: HashMap<Id, Vec<Origin>> = HashMap::new();
    for (application, origin) in src.all::<(Id, Origin)>(listed).await? {
        origins.entry(application).or_default().push(origin);
    }
    let listed = sql("SELECT application_id, uri FROM application_redirect ORDER BY application_id, uri");
    let mut redirects: HashMap<Id, Vec<RedirectUri>> = HashMap::new();
    for (application, uri) in src.all::<(Id, RedirectUri)>(listed).await? {
        redirects.entry(application).or_default().push(uri);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let own = origins.remove(&row.id).unwrap_or_default();
            let redirects = redirects.remove(&row.id).unwrap_or_default();
            row.with(own, redirects)
        })
        .collect())
}

pub(super) async fn by_id(src: impl Source, id: Id) -> Result<Option<Application>, Error> {
    optional(src, applications().push("WHERE id = ?").bind(id)).await
}

pub(super) async fn by_number(
    src: impl Source,
    site: Id,
    number: Number,
) -> Result<Option<Application>, Error> {
    optional(src, applications().push("WHERE site_id = ? AND number = ?").bind(site).bind(number)).await
}

pub(super) async fn by_name(src: impl Source, site: Id, name: &str) -> Result<Option<Application>, Error> {
    optional(src, applications().push("WHERE site_id = ? AND name = ?").bind(site).bind(name)).await
}

pub(super) async fn by_key(
    src: impl Source,
    site: Id,
    key: &AccessKey,
) -> Result<Option<Application>, Error> {
    optional(src, applications().push("WHERE site_id = ? AND access_key = ?").bind(site).bind(key.as_str()))
        .await
}

async fn optional(mut src: impl Source, stmt: Stmt) -> Result<Option<Application>, Error> {
    let Some(row) = src.optional::<ApplicationRow>(stmt).await? else { return Ok(None) };
    let listed =
        sql("SELECT origin FROM application_origin WHERE application_id = ? ORDER BY origin").bind(row.id);
    let origins = src.all::<(Origin,)>(listed).await?;
    let listed =
        sql("SELECT uri FROM application_redirect WHERE application_id = ? ORDER BY uri").bind(row.id);
    let redirects = src.all::<(RedirectUri,)>(listed).await?;
    let origins = origins.into_iter().map(|(origin,)| origin).collect();
    Ok(Some(row.with(origins, redirects.into_iter().map(|(uri,)| uri).collect())))
}

pub(super) async fn insert(tx: &mut Tx, new: &Application) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO application (id, number, site_id, name, description, access_key, secret_hash, \
                    is_active, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(new.id)
        .bind(new.number)
        .bind(new.site)
        .bind(new.name.as_str())
        .bind(new.description.as_str())
        .bind(new.access_key.as_str())
        .bind(new.secret_hash.to_text())
        .bind(new.is_active)
        .bind(new.created_at)
        .bind(new.updated_at);
    tx.execute(stmt).await?;
    insert_origins(tx, new.id, &new.allowed_origins).await?;
    insert_redirects(tx, new.id, &new.redirect_uris).await
}

async fn insert_origins(tx: &mut Tx, id: Id, origins: &[Origin]) -> Result<(), Error> {
    for origin in origins {
        let stmt = sql("INSERT INTO application_origin (application_id, origin) VALUES (?, ?)");
        let stmt = stmt.bind(id).bind(origin.as_str()).upsert(&["application_id", "origin"], &[]);
        tx.execute(stmt).await?;
    }
    Ok(())
}

/// Replaces the origins; 0 where there is no such application.
pub(super) async fn set_origins(
    tx: &mut Tx,
    id: Id,
    origins: &[Origin],
    now: Timestamp,
) -> Result<u64, Error> {
    let touched =
        tx.execute(sql("UPDATE application SET updated_at = ? WHERE id = ?").bind(now).bind(id)).await?;
    if touched > 0 {
        tx.execute(sql("DELETE FROM application_origin WHERE application_id = ?").bind(id)).await?;
        insert_origins(tx, id, origins).await?;
    }
    Ok(touched)
}

async fn insert_redirects(tx: &mut Tx, id: Id, uris: &[RedirectUri]) -> Result<(), Error> {
    for uri in uris {
        let stmt = sql("INSERT INTO application_redirect (application_id, uri) VALUES (?, ?)");
        let stmt = stmt.bind(id).bind(uri.as_str()).upsert(&["application_id", "uri"], &[]);
        tx.execute(stmt).await?;
    }
    Ok(())
}

/// Replaces where codes may go; 0 where there is no such application.
pub(super) async fn set_redirects(
    tx: &mut Tx,
    id: Id,
    uris: &[RedirectUri],
    now: Timestamp,
) -> Result<u64, Error> {
    let touched =
        tx.execute(sql("UPDATE application SET updated_at = ? WHERE id = ?").bind(now).bind(id)).await?;
    if touched > 0 {
        tx.execute(sql("DELETE FROM application_redirect WHERE application_id = ?").bind(id)).await?;
        insert_redirects(tx, id, uris).await?;
    }
    Ok(touched)
}

pub(super) async fn has_redirect(mut src: impl Source, id: Id, uri: &str) -> Result<bool, Error> {
    let stmt = sql("SELECT COUNT(*) FROM application_redirect WHERE application_id = ? AND uri = ?");
    let (listed,): (i64,) = src.one(stmt.bind(id).bind(uri)).await?;
    Ok(listed > 0)
}

/// Writes what is new of name and description; 0 where there is no such application.
pub(super) async fn describe(
    tx: &mut Tx,
    id: Id,
    name: Option<&str>,
    description: Option<&str>,
    now: Timestamp,
) -> Result<u64, Error> {
    let mut stmt = sql("UPDATE application SET updated_at = ?").bind(now);
    if let Some(name) = name {
        stmt = stmt.push(", name = ?").bind(name);
    }
    if let Some(description) = description {
        stmt = stmt.push(", description = ?").bind(description);
    }
    tx.execute(stmt.push("WHERE id = ?").bind(id)).await
}

/// Removes an application with its origins; 0 where there is none.
pub(super) async fn delete(tx: &mut Tx, id: Id) -> Result<u64, Error> {
    tx.execute(sql("DELETE FROM application_origin WHERE application_id = ?").bind(id)).await?;
    tx.execute(sql("DELETE FROM application_redirect WHERE application_id = ?").bind(id)).await?;
    tx.execute(sql("DELETE FROM application WHERE id = ?").bind(id)).await
}

pub(super) async fn set_credentials(
    tx: &mut Tx,
    id: Id,
    key: &AccessKey,
    hash: &SecretHash,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE application SET access_key = ?, secret_hash = ?, updated_at = ? WHERE id = ?");
    tx.execute(stmt.bind(key.as_str()).bind(hash.to_text()).bind(now).bind(id)).await
}

/// Keeps the same secret in another form; 0 where it is not the one that was read any more.
pub(super) async fn rehash(tx: &mut Tx, id: Id, was: &SecretHash, hash: &SecretHash) -> Result<u64, Error> {
    let stmt = sql("UPDATE application SET secret_hash = ? WHERE id = ? AND secret_hash = ?");
    tx.execute(stmt.bind(hash.to_text()).bind(id).bind(was.to_text())).await
}

pub(super) async fn set_active(tx: &mut Tx, id: Id, is_active: bool, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE application SET is_active = ?, updated_at = ? WHERE id = ? AND is_active <> ?");
    tx.execute(stmt.bind(is_active).bind(now).bind(id).bind(is_active)).await
}
