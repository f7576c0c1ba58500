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
