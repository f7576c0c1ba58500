//! The SQL of lists of approvals.
//!
//! Law: what cannot concern a reader is not read for that reader, and what could is.

use super::super::store::{all, select};
use super::super::{Approval, State};
use super::Filter;
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt};

/// Whose list it is, and what of others' could be something that this person decides about: more than
/// is, and never less.
#[derive(Debug)]
pub(in crate::approval) struct Reader {
    pub account: Id,
    /// Where the person is somebody; `None`: in too many to name them.
    pub organizations: Option<Vec<Id>>,
    /// What the rules that this person fits have in them: `{"role":"finance"}`.
    pub words: Vec<String>,
}

impl Reader {
    fn narrow(&self, stmt: Stmt) -> Stmt {
        let mut stmt = stmt.push("AND (account_id = ?").bind(self.account);
        if !self.words.is_empty() {
            stmt = stmt.push("OR (is_shared = ?").bind(true);
            if let Some(organizations) = &self.organizations {
                stmt = stmt.push("AND (organization_id IS NULL OR organization_id IN");
                stmt = stmt.list(organizations.iter().copied()).push(")");
            }
            for (at, word) in self.words.iter().enumerate() {
                stmt = stmt.push(if at == 0 { "AND (rules LIKE ?" } else { "OR rules LIKE ?" });
                // No sign of a code means anything to LIKE but `_`, which means any sign.
                stmt = stmt.bind(format!("%{word}%"));
            }
            stmt = stmt.push("))");
        }
        stmt.push(")")
    }
}

/// What fits a filter, the newest first; where there is a reader, what that person's agents asked for
/// and what the person could decide about.
pub(in crate::approval) async fn listed(
    src: impl Source,
    site: Id,
    reader: Option<&Reader>,
    filter: &Filter,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Approval>, Error> {
    let mut stmt = select().push("WHERE site_id = ?").bind(site);
    if let Some(reader) = reader {
        stmt = reader.narrow(stmt);
    }
    stmt = stmt
        .and_if(filter.before, "number < ?")
        .and_if(filter.agent_token, "agent_token_id = ?")
        .and_if(filter.agent.as_deref(), "agent = ?")
        .and_if(filter.route.as_deref(), "route = ?")
        .and_if(filter.trace.as_deref(), "trace = ?");
    if let Some(state) = filter.state {
        stmt = standing(stmt, state, now);
    }
    all(src, stmt.push("ORDER BY number DESC LIMIT ?").bind(limit)).await
}

/// Those in this state, whether or not somebody has written down yet what time did to them: the same
/// as [`Approval::state_at`].
fn standing(stmt: Stmt, state: State, now: Timestamp) -> Stmt {
    let stmt = stmt.push("AND (state = ?").bind(state.name());
    match state {
        State::Pending => stmt.push("AND decide_by > ?)").bind(now),
        State::Approved => stmt.push("AND execute_by > ?)").bind(now),
        State::Executing => stmt.push("AND lease_until > ?)").bind(now),
        State::Expired => stmt.push("OR (state = 'pending' AND decide_by <= ?))").bind(now),
        State::Lapsed => stmt.push("OR (state = 'approved' AND execute_by <= ?))").bind(now),
        State::Indeterminate => stmt.push("OR (state = 'executing' AND lease_until <= ?))").bind(now),
        State::Executed | State::Failed | State::Denied | State::Void => stmt.push(")"),
    }
}
