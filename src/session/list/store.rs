//! The SQL of sessions in lists: one range of one index each.
//! Law: an account is named before anything else, because the index of its sessions is the narrowest.

use crate::base::{Id, Timestamp};
use crate::store::{Stmt, sql};

fn select() -> Stmt {
    sql("SELECT id, account_id AS account, application_id AS application, device_info, address, started_at, \
         refreshed_at, idle_ends_at, ends_at, ended_at, end_reason FROM session WHERE")
}

pub(super) fn begun(account: Option<Id>, application: Option<Id>, before: Option<Id>, most: u32) -> Stmt {
    let stmt = select().push("id < ?").bind(before.unwrap_or(Id::from_u128(u128::MAX)));
    let stmt = stmt.and_if(account, "account_id = ?").and_if(application, "application_id = ?");
    stmt.push("ORDER BY id DESC LIMIT ?").bind(most)
}

pub(super) fn one(id: Id) -> Stmt {
    select().push("id = ?").bind(id)
}

/// Those that ended at this very moment.
pub(super) fn ended_with(account: Option<Id>, at: Timestamp, before: Id, most: u32) -> Stmt {
    let stmt = select().push("ended_at = ? AND id < ?").bind(at).bind(before);
    let stmt = stmt.and_if(account, "account_id = ?");
    stmt.push("ORDER BY ended_at DESC, id DESC LIMIT ?").bind(most)
}

pub(super) fn ended_before(account: Option<Id>, at: Option<Timestamp>, most: u32) -> Stmt {
    let stmt = match at {
        Some(at) => select().push("ended_at < ?").bind(at),
        None => select().push("ended_at IS NOT NULL"),
    };
    let stmt = stmt.and_if(account, "account_id = ?");
    stmt.push("ORDER BY ended_at DESC, id DESC LIMIT ?").bind(most)
}

/// Which site a session is of, its account knows. Asked of each session that counts, so that nobody begins with
/// all accounts of the site.
const OF_SITE: &str = "AND EXISTS (SELECT 1 FROM account a WHERE a.id = s.account_id AND a.site_id = ?)";

pub(super) fn count_live(site: Id, now: Timestamp) -> Stmt {
    let stmt = sql(
        "SELECT COUNT(*) FROM session s WHERE s.ended_at IS NULL AND s.idle_ends_at > ? AND s.ends_at > ?",
    );
    stmt.bind(now).bind(now).push(OF_SITE).bind(site)
}

pub(super) fn count_ended_since(site: Id, since: Timestamp) -> Stmt {
    sql("SELECT COUNT(*) FROM session s WHERE s.ended_at >= ?").bind(since).push(OF_SITE).bind(site)
}

/// Whatever was refreshed after a moment was ended after it: that is the range of the index. The sum
/// keeps databases from taking the range of all sessions that have not ended yet instead.
pub(super) fn count_running(site: Id, now: Timestamp, given_after: Timestamp) -> Stmt {
    let stmt = sql(
        "SELECT s.end_reason, COUNT(*) FROM session s WHERE s.ended_at >= ? AND s.refreshed_at > ? AND s.ends_at + 0 > ?",
    );
    let stmt = stmt.bind(given_after).bind(given_after).bind(now).push(OF_SITE).bind(site);
    stmt.push("GROUP BY s.end_reason ORDER BY s.end_reason")
}
