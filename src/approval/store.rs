//! The SQL of approvals.
//!
//! Law: a state is left only by a write that names it in its condition, with everything that must
//! hold beside it, and the row count says whether it was left.

use std::time::Duration;

use super::{Approval, Mode, Rules, State};
use crate::base::{Id, Number, Timestamp};
use crate::policy::Code;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// How often something is taken to be executed that may have been sent before.
pub(super) const CLAIMS_MAX: i64 = 5;

#[derive(FromRow)]
struct ApprovalRow {
    id: Id,
    number: Number,
    site_id: Id,
    state: State,
    agent_token_id: Id,
    agent: String,
    account_id: Id,
    application_id: Option<Id>,
    organization_id: Option<Id>,
    route: String,
    permission: Code,
    mode: Mode,
    method: String,
    path: String,
    title: String,
    trace: Option<String>,
    policy_digest: String,
    request_digest: String,
    binding_digest: String,
    rules: String,
    execute_within: i64,
    created_at: Timestamp,
    decide_by: Timestamp,
    decided_at: Option<Timestamp>,
    decided_by: Option<Id>,
    reason: Option<String>,
    execute_by: Option<Timestamp>,
    is_idempotent: bool,
    claims: i64,
    send_at: Option<Timestamp>,
    lease_until: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    status: Option<i64>,
    kept: Option<Number>,
}

impl ApprovalRow {
    fn read(self) -> Result<Approval, Error> {
        let rules: Rules = serde_json::from_str(&self.rules)
            .map_err(|error| Error::Broken { cause: format!("the rules of an approval: {error}") })?;
        Ok(Approval {
            id: self.id,
            number: self.number,
            site: self.site_id,
            state: self.state,
            agent_token: self.agent_token_id,
            agent: self.agent,
            account: self.account_id,
            application: self.application_id,
            organization: self.organization_id,
            route: self.route,
            permission: self.permission,
            mode: self.mode,
            method: self.method,
            path: self.path,
            title: self.title,
            trace: self.trace,
            policy: self.policy_digest,
            request: self.request_digest,
            binding: self.binding_digest,
            rules,
            execute_within: Duration::from_millis(u64::try_from(self.execute_within).unwrap_or(0)),
            created_at: self.created_at,
            decide_by: self.decide_by,
            decided_at: self.decided_at,
            decided_by: self.decided_by,
            reason: self.reason,
            execute_by: self.execute_by,
            is_idempotent: self.is_idempotent,
            claims: self.claims,
            send_at: self.send_at,
            lease_until: self.lease_until,
            ended_at: self.ended_at,
            status: self.status.and_then(|status| u16::try_from(status).ok()),
            is_kept: self.kept.is_some(),
        })
    }
}

pub(super) fn select() -> Stmt {
    sql("SELECT id, number, site_id, state, agent_token_id, agent, account_id, application_id, \
         organization_id, route, permission, mode, method, path, title, trace, policy_digest, \
         request_digest, binding_digest, rules, execute_within, created_at, decide_by, decided_at, \
         decided_by, reason, execute_by, is_idempotent, claims, send_at, lease_until, ended_at, status, \
         CASE WHEN head IS NULL OR body IS NULL THEN NULL ELSE number END AS kept FROM approval")
}

async fn optional(mut src: impl Source, stmt: Stmt) -> Result<Option<Approval>, Error> {
    src.optional::<ApprovalRow>(stmt).await?.map(ApprovalRow::read).transpose()
}

pub(super) async fn all(mut src: impl Source, stmt: Stmt) -> Result<Vec<Approval>, Error> {
    src.all::<ApprovalRow>(stmt).await?.into_iter().map(ApprovalRow::read).collect()
}

pub(super) async fn by_id(src: impl Source, id: Id) -> Result<Option<Approval>, Error> {
    optional(src, select().push("WHERE id = ?").bind(id)).await
}

pub(super) async fn by_number(src: impl Source, number: Number) -> Result<Option<Approval>, Error> {
    optional(src, select().push("WHERE number = ?").bind(number)).await
}

pub(super) async fn by_token(src: impl Source, digest: &str) -> Result<Option<Approval>, Error> {
    optional(src, select().push("WHERE token_digest = ?").bind(digest)).await
}

/// The approval of the same request by the same token that somebody can wait for, as
/// [`stands`](super::stands) says. Numbers do not tell which came last: every replica has its own.
pub(super) async fn open_request(
    src: impl Source,
    agent_token: Id,
    request: &str,
    now: Timestamp,
) -> Result<Option<Approval>, Error> {
    let stmt =
        select().push("WHERE agent_token_id = ? AND request_digest = ?").bind(agent_token).bind(request);
    let stmt = stmt.push("AND ((state = 'pending' AND decide_by > ?)").bind(now);
    let stmt = stmt.push("OR (state = 'approved' AND execute_by > ?)").bind(now);
    let stmt = stmt.push("OR (state = 'executing' AND lease_until > ? AND mode = ?)");
    let stmt = stmt.bind(now).bind(Mode::Sealed.name());
    let stmt = stmt.push("OR (is_idempotent = ? AND claims < ? AND execute_by > ? AND body IS NOT NULL");
    let stmt = stmt.bind(true).bind(CLAIMS_MAX).bind(now);
    let stmt = stmt.push("AND (state = 'indeterminate' OR (state = 'executing' AND lease_until <= ?))))");
    optional(src, stmt.bind(now).push("ORDER BY created_at DESC, id LIMIT 1")).await
}

/// The last of the same that was denied after this moment.
pub(super) async fn denied_request(
    src: impl Source,
    agent_token: Id,
    request: &str,
    after: Timestamp,
) -> Result<Option<Approval>, Error> {
    let stmt = select().push("WHERE agent_token_id = ? AND request_digest = ? AND state = 'denied'");
    let stmt = stmt.bind(agent_token).bind(request).push("AND decided_at > ?").bind(after);
    optional(src, stmt.push("ORDER BY decided_at DESC, id LIMIT 1")).await
}

/// Whose open approvals are counted.
#[derive(Clone, Copy)]
pub(super) enum Waiting {
    /// An agent token's.
    Of(Id),
    /// A human's, of all that was delegated.
    For(Id),
}

/// How many wait for somebody.
pub(super) async fn count_open(mut src: impl Source, whose: Waiting, now: Timestamp) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM approval WHERE \
                    ((state = 'pending' AND decide_by > ?) OR (state = 'approved' AND execute_by > ?))");
    let stmt = stmt.bind(now).bind(now);
    let stmt = match whose {
        Waiting::Of(agent_token) => stmt.push("AND agent_token_id = ?").bind(agent_token),
        Waiting::For(account) => stmt.push("AND account_id = ?").bind(account),
    };
    let (count,): (i64,) = src.one(stmt).await?;
    Ok(count)
}

/// What is sealed of a request.
pub(super) struct Sealed {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

pub(super) async fn insert(
    tx: &mut Tx,
    approval: &Approval,
    token_digest: &str,
    rules: &str,
    sealed: Sealed,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO approval (id, number, site_id, token_digest, state, agent_token_id, agent, \
         account_id, application_id, organization_id, route, permission, mode, method, path, title, trace, \
         policy_digest, request_digest, binding_digest, rules, is_shared, execute_within, created_at, \
         decide_by, is_idempotent, claims, head, body) VALUES")
    .push("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)")
    .bind(approval.id)
    .bind(approval.number)
    .bind(approval.site)
    .bind(token_digest)
    .bind(approval.state.name())
    .bind(approval.agent_token)
    .bind(approval.agent.as_str())
    .bind(approval.account)
    .bind(approval.application)
    .bind(approval.organization)
    .bind(approval.route.as_str())
    .bind(&approval.permission)
    .bind(approval.mode.name())
    .bind(approval.method.as_str())
    .bind(approval.path.as_str())
    .bind(approval.title.as_str())
    .bind(approval.trace.as_deref())
    .bind(approval.policy.as_str())
    .bind(approval.request.as_str())
    .bind(approval.binding.as_str())
    .bind(rules)
    .bind(!approval.rules.approvers.is_delegators_alone())
    .bind(i64::try_from(approval.execute_within.as_millis()).unwrap_or(i64::MAX))
    .bind(approval.created_at)
    .bind(approval.decide_by)
    .bind(approval.is_idempotent)
    .bind(sealed.head)
    .bind(sealed.body);
    tx.execute(stmt).await.map(drop)
}

/// The sealed parts, while they are kept.
pub(super) async fn sealed(mut src: impl Source, id: Id) -> Result<Option<Sealed>, Error> {
    let kept = sql("SELECT head, body FROM approval WHERE id = ? AND head IS NOT NULL AND body IS NOT NULL");
    let row = src.optional::<(Vec<u8>, Vec<u8>)>(kept.bind(id)).await?;
    Ok(row.map(|(head, body)| Sealed { head, body }))
}

/// The same where they are no longer than that together; nothing longer leaves the store.
pub(super) async fn sealed_within(
    mut src: impl Source,
    id: Id,
    most: usize,
) -> Result<Option<Sealed>, Error> {
    let kept = sql("SELECT head, body FROM approval WHERE id = ? AND head IS NOT NULL AND body IS NOT NULL \
                    AND LENGTH(head) + LENGTH(body) <= ?");
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let row = src.optional::<(Vec<u8>, Vec<u8>)>(kept.bind(id).bind(most)).await?;
    Ok(row.map(|(head, body)| Sealed { head, body }))
}

/// Whether the sealed parts are kept.
pub(super) async fn is_kept(mut src: impl Source, id: Id) -> Result<bool, Error> {
    let kept = sql("SELECT number FROM approval WHERE id = ? AND head IS NOT NULL AND body IS NOT NULL");
    Ok(src.optional::<(Number,)>(kept.bind(id)).await?.is_some())
}

/// Takes the row of an approval that still waits for people, until the transaction ends; 0 where it
/// does not.
pub(super) async fn hold_pending(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE approval SET claims = claims WHERE id = ? AND state = 'pending' AND decide_by > ?");
    tx.execute(stmt.bind(id).bind(now)).await
}

pub(super) async fn votes(mut src: impl Source, id: Id) -> Result<Vec<Id>, Error> {
    let stmt = sql("SELECT account_id FROM approval_vote WHERE approval_id = ? ORDER BY account_id");
    Ok(src.all::<(Id,)>(stmt.bind(id)).await?.into_iter().map(|(voter,)| voter).collect())
}

pub(super) async fn vote(tx: &mut Tx, id: Id, voter: Id, now: Timestamp) -> Result<(), Error> {
    let stmt = sql("INSERT INTO approval_vote (approval_id, account_id, voted_at) VALUES (?, ?, ?)");
    tx.execute(stmt.bind(id).bind(voter).bind(now)).await.map(drop)
}

pub(super) async fn approve(
    tx: &mut Tx,
    approval: &Approval,
    by: Id,
    execute_by: Timestamp,
    now: Timestamp,
) -> Result<u64, Error> {
    let send_at = (approval.mode == Mode::Sealed).then_some(now);
    let stmt =
        sql("UPDATE approval SET state = 'approved', decided_at = ?, decided_by = ?, execute_by = ?, \
                    send_at = ? WHERE id = ? AND state = 'pending' AND decide_by > ?");
    tx.execute(stmt.bind(now).bind(by).bind(execute_by).bind(send_at).bind(approval.id).bind(now)).await
}

pub(super) async fn deny(
    tx: &mut Tx,
    id: Id,
    by: Id,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET state = 'denied', decided_at = ?, decided_by = ?, reason = ?, \
                    ended_at = ?, head = NULL, body = NULL \
                    WHERE id = ? AND state = 'pending' AND decide_by > ?");
    tx.execute(stmt.bind(now).bind(by).bind(reason).bind(now).bind(id).bind(now)).await
}

/// Ends what waits and cannot be had any more.
pub(super) async fn void(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE approval SET state = 'void', ended_at = ?, send_at = NULL, head = NULL, body = NULL \
                    WHERE id = ? AND state IN ('pending', 'approved')");
    tx.execute(stmt.bind(now).bind(id)).await
}

/// Takes away what is kept of a request that may have been sent, so that it is never sent again.
pub(super) async fn forget_request(tx: &mut Tx, id: Id) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET send_at = NULL, head = NULL, body = NULL \
                    WHERE id = ? AND state IN ('executing', 'indeterminate') AND body IS NOT NULL");
    tx.execute(stmt.bind(id)).await
}

/// Takes an approval to be executed, if it is this very one and its time still runs. What may have
/// been sent is taken again only where that does no harm, and not without end.
pub(super) async fn claim(
    tx: &mut Tx,
    approval: &Approval,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET state = 'executing', claims = claims + 1, lease_until = ?, \
                    ended_at = NULL WHERE id = ? AND claims = ? AND execute_by > ? \
                    AND request_digest = ? AND policy_digest = ? AND (state = 'approved'");
    let stmt = stmt.bind(lease_until).bind(approval.id).bind(approval.claims).bind(now);
    let stmt = stmt.bind(approval.request.as_str()).bind(approval.policy.as_str());
    let again =
        stmt.push("OR (is_idempotent = ? AND claims < ? AND body IS NOT NULL").bind(true).bind(CLAIMS_MAX);
    let again = again.push("AND (state = 'indeterminate' OR (state = 'executing' AND lease_until <= ?))))");
    tx.execute(again.bind(now)).await
}

/// Says that whoever executes it is alive; 0 where it is not executed by this claim any more.
pub(super) async fn renew(tx: &mut Tx, id: Id, claim: i64, until: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET lease_until = ? WHERE id = ? AND state = 'executing' AND claims = ?");
    tx.execute(stmt.bind(until).bind(id).bind(claim)).await
}

/// Gives back what was claimed and never sent, while its time runs and nobody has taken it away. That
/// the claim was believed dead meanwhile does not matter: nobody has claimed it since.
pub(super) async fn rearm(tx: &mut Tx, id: Id, claim: i64, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET state = 'approved', lease_until = NULL, ended_at = NULL \
                    WHERE id = ? AND state IN ('executing', 'indeterminate') AND claims = ? \
                    AND execute_by > ? AND body IS NOT NULL");
    tx.execute(stmt.bind(id).bind(claim).bind(now)).await
}

/// Ends what was claimed, also where the claim was believed dead: it knows, and nobody has claimed it
/// since. What nobody knows is never void.
pub(super) async fn finish(
    tx: &mut Tx,
    id: Id,
    claim: i64,
    state: State,
    status: Option<u16>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET state = ?, status = ?, ended_at = ?, lease_until = NULL, \
                    send_at = NULL, head = NULL, body = NULL WHERE id = ? AND claims = ?");
    let stmt = stmt.bind(state.name()).bind(status).bind(now).bind(id).bind(claim);
    tx.execute(stmt.push(match state {
        State::Void => "AND state = 'executing'",
        _ => "AND state IN ('executing', 'indeterminate')",
    }))
    .await
}

/// Ends what was claimed and nobody knows the end of. What may be sent again is kept for that.
pub(super) async fn give_up(tx: &mut Tx, approval: &Approval, now: Timestamp) -> Result<u64, Error> {
    let stmt = indeterminate(approval.is_idempotent, now)
        .push("WHERE id = ? AND state = 'executing' AND claims = ?");
    tx.execute(stmt.bind(approval.id).bind(approval.claims)).await
}

fn indeterminate(is_idempotent: bool, now: Timestamp) -> Stmt {
    let stmt = sql("UPDATE approval SET state = 'indeterminate', ended_at = ?, lease_until = NULL").bind(now);
    if is_idempotent { stmt } else { stmt.push(", send_at = NULL, head = NULL, body = NULL") }
}

pub(super) async fn expire(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE approval SET state = 'expired', ended_at = ?, head = NULL, body = NULL \
                    WHERE id = ? AND state = 'pending' AND decide_by <= ?");
    tx.execute(stmt.bind(now).bind(id).bind(now)).await
}

pub(super) async fn lapse(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE approval SET state = 'lapsed', ended_at = ?, send_at = NULL, head = NULL, body = NULL \
                    WHERE id = ? AND state = 'approved' AND execute_by <= ?");
    tx.execute(stmt.bind(now).bind(id).bind(now)).await
}

/// Gives up on whoever was executing it.
pub(super) async fn abandon(tx: &mut Tx, approval: &Approval, now: Timestamp) -> Result<u64, Error> {
    let stmt = indeterminate(approval.is_idempotent, now);
    let stmt = stmt.push("WHERE id = ? AND state = 'executing' AND lease_until <= ?");
    tx.execute(stmt.bind(approval.id).bind(now)).await
}

/// Drops some of the requests that were kept to be sent again, once they cannot be; how many.
pub(super) async fn forget_requests(tx: &mut Tx, now: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM approval \
                    WHERE state = 'indeterminate' AND head IS NOT NULL AND (execute_by <= ? OR claims >= ?) LIMIT ?");
    let over: Vec<(Id,)> = tx.all(over.bind(now).bind(CLAIMS_MAX).bind(most)).await?;
    // What cannot be sent again never can: nothing about these changes meanwhile.
    let stmt = sql("UPDATE approval SET send_at = NULL, head = NULL, body = NULL WHERE id IN");
    tx.execute(stmt.list(over.into_iter().map(|(id,)| id))).await
}

/// Approvals whose time is over although their state does not say so.
pub(super) async fn overdue(src: impl Source, now: Timestamp, limit: u32) -> Result<Vec<Approval>, Error> {
    let stmt = select().push(
        "WHERE (state = 'pending' AND decide_by <= ?) OR (state = 'approved' AND execute_by <= ?) \
         OR (state = 'executing' AND lease_until <= ?) ORDER BY number, id LIMIT ?",
    );
    all(src, stmt.bind(now).bind(now).bind(now).bind(limit)).await
}

/// What waits of one token, or of everything that an account delegated, and what may be sent again.
pub(super) async fn open_of(
    src: impl Source,
    agent_token: Option<Id>,
    account: Option<Id>,
) -> Result<Vec<Approval>, Error> {
    let stmt = select().push(
        "WHERE (state IN ('pending', 'approved') \
         OR (state IN ('executing', 'indeterminate') AND body IS NOT NULL))",
    );
    let stmt = stmt.and_if(agent_token, "agent_token_id = ?").and_if(account, "account_id = ?");
    all(src, stmt.push("ORDER BY number, id")).await
}
