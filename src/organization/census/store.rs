//! The SQL of how many organizations and members there are.
//! Law: of members only those that are active in organizations that are.

use crate::base::Id;
use crate::store::{Error, Source, Stmt, sql};

pub(super) async fn count(mut src: impl Source, stmt: Stmt) -> Result<i64, Error> {
    let (count,): (i64,) = src.one(stmt).await?;
    Ok(count)
}

pub(super) fn of(site: Id) -> Stmt {
    sql("SELECT COUNT(*) FROM organization WHERE site_id = ?").bind(site)
}

pub(super) fn active(site: Id) -> Stmt {
    of(site).push("AND is_active = ?").bind(true)
}

pub(super) fn with_below(site: Id) -> Stmt {
    let stmt = sql(
        "SELECT COUNT(DISTINCT o.parent_id) FROM organization o JOIN organization p ON p.id = o.parent_id \
                    WHERE o.site_id = ? AND o.is_active = ? AND p.is_active = ?",
    );
    stmt.bind(site).bind(true).bind(true)
}

/// The members that count.
const MEMBERS: &str = "FROM organization o JOIN membership m ON m.organization_id = o.id \
                       WHERE o.site_id = ? AND o.is_active = ? AND m.status = 'active'";

pub(super) fn by_role(site: Id) -> Stmt {
    let stmt = sql("SELECT m.role_code, COUNT(*)").push(MEMBERS).bind(site).bind(true);
    stmt.push("GROUP BY m.role_code ORDER BY m.role_code")
}

pub(super) fn largest(site: Id, most: u32) -> Stmt {
    let stmt = sql("SELECT o.name, o.slug, COUNT(*) AS members").push(MEMBERS).bind(site).bind(true);
    let stmt = stmt.push("GROUP BY o.number, o.name, o.slug ORDER BY COUNT(*) DESC, o.number LIMIT ?");
    stmt.bind(most)
}
