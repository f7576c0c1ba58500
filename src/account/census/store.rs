//! The SQL of how many accounts there are.
//! Law: one question, one range of one index: whatever has a moment has one after 1970, which is a range where
//! `IS NOT NULL` is none.

use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt, sql};

pub(super) async fn count(mut src: impl Source, stmt: Stmt) -> Result<i64, Error> {
    let (count,): (i64,) = src.one(stmt).await?;
    Ok(count)
}

pub(super) fn of(site: Id) -> Stmt {
    sql("SELECT COUNT(*) FROM account WHERE site_id = ?").bind(site)
}

pub(super) fn deleted(site: Id) -> Stmt {
    of(site).push("AND deleted_at > 0")
}

pub(super) fn inactive(site: Id) -> Stmt {
    of(site).push("AND is_active = ?").bind(false)
}

pub(super) fn banned(site: Id) -> Stmt {
    of(site).push("AND is_banned = ?").bind(true)
}

pub(super) fn banned_and_active(site: Id) -> Stmt {
    banned(site).push("AND is_active = ?").bind(true)
}

/// By a lock that holds at this moment.
pub(super) fn locked(site: Id, now: Timestamp) -> Stmt {
    of(site).push("AND is_locked = ? AND (locked_until IS NULL OR locked_until > ?)").bind(true).bind(now)
}

/// Of them those that are neither banned nor switched off.
pub(super) fn locked_out(site: Id, now: Timestamp) -> Stmt {
    locked(site, now).push("AND is_active = ? AND is_banned = ?").bind(true).bind(false)
}

pub(super) fn seen_since(site: Id, since: Timestamp) -> Stmt {
    of(site).push("AND last_login_at >= ?").bind(since)
}

pub(super) fn verified_email(site: Id) -> Stmt {
    of(site).push("AND is_email_verified = ?").bind(true)
}

pub(super) fn verified_phone(site: Id) -> Stmt {
    of(site).push("AND is_phone_verified = ?").bind(true)
}

pub(super) fn with_2fa(site: Id) -> Stmt {
    of(site).push("AND second_factor_at > 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;
    use crate::store::{DEFAULT_SITE, Dialect};

    /// Each number is a range of the index that is for it.
    #[tokio::test]
    async fn each_number_is_a_range_of_an_index() {
        let store = TestStore::sqlite().await;
        let now = Timestamp::from_millis(1);
        for (stmt, index) in [
            (of(DEFAULT_SITE), "site_id=?"),
            (deleted(DEFAULT_SITE), "account_by_deletion (site_id=? AND deleted_at>?)"),
            (inactive(DEFAULT_SITE), "account_by_activity (site_id=? AND is_active=?)"),
            (banned(DEFAULT_SITE), "account_by_ban (site_id=? AND is_banned=?)"),
            (locked(DEFAULT_SITE, now), "account_by_lock (site_id=? AND is_locked=?)"),
            (seen_since(DEFAULT_SITE, now), "account_by_login (site_id=? AND last_login_at>?)"),
            (verified_email(DEFAULT_SITE), "account_by_proof (site_id=? AND is_email_verified=?)"),
            (verified_phone(DEFAULT_SITE), "account_by_phone_proof (site_id=? AND is_phone_verified=?)"),
            (with_2fa(DEFAULT_SITE), "account_by_second_factor (site_id=? AND second_factor_at>?)"),
        ] {
            let mut db = store.db();
            let plan: Vec<(i64, i64, i64, String)> = db.all(stmt.explained(Dialect::Sqlite)).await.unwrap();
            let plan: String = plan.into_iter().map(|(.., line)| line).collect();
            assert!(plan.starts_with("SEARCH account USING ") && plan.contains(index), "{plan}");
        }
    }
}
