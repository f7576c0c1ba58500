//! The SQL of agent tokens.
//!
//! Law: a state is left only by a write that names it in its condition, and the row count says
//! whether it was left. Only a resume leads back, and only from a suspension.

use std::collections::HashMap;

use super::{AgentToken, Limits, Status};
use crate::audit::{Delegation, Suspension};
use crate::base::{Id, MicroUsd, Number, Timestamp};
use crate::policy::Code;
use crate::session::Method;
use crate::shared::Allowance;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};
use crate::text_column;

text_column!(Status, Status::from_name);
text_column!(Suspended, |text| suspension(text).map(Suspended));

/// A reason as stored.
struct Suspended(Suspension);

fn suspension(name: &str) -> Option<Suspension> {
    let all = [
        Suspension::RateLimit,
        Suspension::Anomaly,
        Suspension::Manual,
        Suspension::HeartbeatMissing,
        Suspension::BudgetExceeded,
    ];
    all.into_iter().find(|reason| super::reason_name(*reason) == name)
}

#[derive(FromRow)]
struct TokenRow {
    id: Id,
    number: Number,
    site_id: Id,
    agent: String,
    account_id: Id,
    application_id: Option<Id>,
    organization_id: Option<Id>,
    status: Status,
    suspended_reason: Option<Suspended>,
    max_requests_per_minute: i64,
    max_requests_total: i64,
    max_failed_requests: i64,
    suspend_after: i64,
    heartbeat_every: Option<i64>,
    heartbeat_at: Option<Timestamp>,
    heartbeat_due_at: Option<Timestamp>,
    budget_limit: i64,
    requests_granted: i64,
    budget_granted: i64,
    method: Method,
    authenticated_at: Timestamp,
    has_second_factor: bool,
    resumes: i64,
    resumed_at: Option<Timestamp>,
    created_at: Timestamp,
    expires_at: Timestamp,
    suspended_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl TokenRow {
    /// The codes are looked up by halves. Databases sort by their own language's rules.
    fn with(self, mut permissions: Vec<Code>) -> AgentToken {
        permissions.sort_unstable();
        AgentToken {
            id: self.id,
            number: self.number,
            site: self.site_id,
            agent: self.agent,
            account: self.account_id,
            application: self.application_id,
            organization: self.organization_id,
            permissions,
            status: self.status,
            suspended_reason: self.suspended_reason.map(|Suspended(reason)| reason),
            limits: Limits {
                per_minute: whole(self.max_requests_per_minute),
                total: whole(self.max_requests_total),
                failures: whole(self.max_failed_requests),
                suspend_after: whole(self.suspend_after),
                heartbeat_every: self.heartbeat_every.map(whole),
                budget: MicroUsd::from_micros(self.budget_limit).unwrap_or_default(),
            },
            granted: allowance(self.requests_granted, self.budget_granted),
            heartbeat_at: self.heartbeat_at,
            heartbeat_due_at: self.heartbeat_due_at,
            method: self.method,
            authenticated_at: self.authenticated_at,
            has_second_factor: self.has_second_factor,
            resumes: self.resumes,
            resumed_at: self.resumed_at,
            created_at: self.created_at,
            expires_at: self.expires_at,
            suspended_at: self.suspended_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        }
    }
}

/// What does not fit was not written by us; nothing is the closed reading of a limit.
fn whole(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Less than nothing is nothing; more than can be shown is the most that can be.
pub(super) fn allowance(requests: i64, micros: i64) -> Allowance {
    let money = MicroUsd::from_micros(micros.clamp(0, MicroUsd::MOST.as_micros())).unwrap_or_default();
    Allowance { requests: whole(requests), money }
}

fn select() -> Stmt {
    sql("SELECT id, number, site_id, agent, account_id, application_id, organization_id, status, \
         suspended_reason, max_requests_per_minute, max_requests_total, max_failed_requests, suspend_after, \
         heartbeat_every, heartbeat_at, heartbeat_due_at, budget_limit, requests_granted, budget_granted, method, \
         authenticated_at, has_second_factor, resumes, resumed_at, created_at, expires_at, suspended_at, revoked_at, \
         last_used_at FROM agent_token")
}

pub(super) async fn by_id(src: impl Source, id: Id) -> Result<Option<AgentToken>, Error> {
    optional(src, select().push("WHERE id = ?").bind(id)).await
}

pub(super) async fn by_number(src: impl Source, number: Number) -> Result<Option<AgentToken>, Error> {
    optional(src, select().push("WHERE number = ?").bind(number)).await
}

pub(super) async fn by_digest(src: impl Source, digest: &str) -> Result<Option<AgentToken>, Error> {
    optional(src, select().push("WHERE digest = ?").bind(digest)).await
}

pub(super) async fn digest_of(mut src: impl Source, id: Id) -> Result<Option<String>, Error> {
    let stmt = sql("SELECT digest FROM agent_token WHERE id = ?").bind(id);
    Ok(src.optional::<(String,)>(stmt).await?.map(|(digest,)| digest))
}

async fn optional(mut src: impl Source, stmt: Stmt) -> Result<Option<AgentToken>, Error> {
    let Some(row) = src.optional::<TokenRow>(stmt).await? else { return Ok(None) };
    let codes = sql("SELECT code FROM agent_token_permission WHERE token_id = ?").bind(row.id);
    let codes = src.all::<(Code,)>(codes).await?;
    Ok(Some(row.with(codes.into_iter().map(|(code,)| code).collect())))
}

/// Tokens, the newest first; of one human if `account` says so.
pub(super) async fn list(
    mut src: impl Source,
    site: Id,
    account: Option<Id>,
    limit: u32,
) -> Result<Vec<AgentToken>, Error> {
    let rows = select().push("WHERE site_id = ?").bind(site).and_if(account, "account_id = ?");
    with_codes(&mut src, rows.push("ORDER BY number DESC, id LIMIT ?").bind(limit)).await
}

/// Those of one human that have not ended, the newest first.
pub(super) async fn living(
    mut src: impl Source,
    site: Id,
    account: Id,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<AgentToken>, Error> {
    let rows = select().push("WHERE site_id = ? AND account_id = ?").bind(site).bind(account);
    let rows = rows.push("AND status IN ('ACTIVE', 'SUSPENDED') AND expires_at > ?").bind(now);
    with_codes(&mut src, rows.push("ORDER BY number DESC, id LIMIT ?").bind(limit)).await
}

/// Tokens with what they are for.
async fn with_codes(src: &mut impl Source, rows: Stmt) -> Result<Vec<AgentToken>, Error> {
    let rows: Vec<TokenRow> = src.all(rows).await?;
    let mut codes: HashMap<Id, Vec<Code>> = HashMap::new();
    for page in rows.chunks(200) {
        let ids = page.iter().map(|row| row.id);
        let of = sql("SELECT token_id, code FROM agent_token_permission WHERE token_id IN").list(ids);
        for (id, code) in src.all::<(Id, Code)>(of).await? {
            codes.entry(id).or_default().push(code);
        }
    }
    let with = |row: TokenRow| {
        let own = codes.remove(&row.id).unwrap_or_default();
        row.with(own)
    };
    Ok(rows.into_iter().map(with).collect())
}

/// How many of one human's tokens have neither been revoked nor come to their end.
pub(super) async fn count_alive(mut src: impl Source, account: Id, now: Timestamp) -> Result<i64, Error> {
    let stmt = sql("SELECT COUNT(*) FROM agent_token WHERE account_id = ? \
                    AND status IN ('ACTIVE', 'SUSPENDED') AND expires_at > ?");
    let (count,): (i64,) = src.one(stmt.bind(account).bind(now)).await?;
    Ok(count)
}

pub(super) async fn delegators(mut src: impl Source, site: Id) -> Result<Vec<Id>, Error> {
    let stmt = sql("SELECT DISTINCT account_id FROM agent_token WHERE site_id = ? \
                    AND status IN ('ACTIVE', 'SUSPENDED') ORDER BY account_id");
    Ok(src.all::<(Id,)>(stmt.bind(site)).await?.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn insert(tx: &mut Tx, token: &AgentToken, digest: &str) -> Result<(), Error> {
    let Limits { per_minute, total, failures, suspend_after, heartbeat_every, budget } = token.limits;
    let stmt =
        sql("INSERT INTO agent_token (id, number, site_id, digest, agent, account_id, application_id, \
         organization_id, status, max_requests_per_minute, max_requests_total, max_failed_requests, \
         suspend_after, heartbeat_every, heartbeat_at, heartbeat_due_at, budget_limit, method, \
         authenticated_at, has_second_factor, resumes, created_at, changed_at, expires_at) VALUES")
        .push("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(token.id)
        .bind(token.number)
        .bind(token.site)
        .bind(digest)
        .bind(token.agent.as_str())
        .bind(token.account)
        .bind(token.application)
        .bind(token.organization)
        .bind(token.status.name())
        .bind(per_minute)
        .bind(total)
        .bind(failures)
        .bind(suspend_after)
        .bind(heartbeat_every)
        .bind(token.heartbeat_at)
        .bind(token.heartbeat_due_at)
        .bind(budget.as_micros())
        .bind(token.method.name())
        .bind(token.authenticated_at)
        .bind(token.has_second_factor)
        .bind(token.resumes)
        .bind(token.created_at)
        .bind(token.created_at)
        .bind(token.expires_at);
    tx.execute(stmt).await?;
    insert_permissions(tx, token.id, &token.permissions).await
}

async fn insert_permissions(tx: &mut Tx, id: Id, permissions: &[Code]) -> Result<(), Error> {
    for code in permissions {
        let stmt = sql("INSERT INTO agent_token_permission (token_id, code) VALUES (?, ?)");
        tx.execute(stmt.bind(id).bind(code)).await?;
    }
    Ok(())
}

/// The tokens that name a permission.
pub(super) async fn naming(mut src: impl Source, code: &Code) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT token_id FROM agent_token_permission WHERE code = ? ORDER BY token_id").bind(code);
    Ok(src.all::<(Id,)>(rows).await?.into_iter().map(|(id,)| id).collect())
}

/// Takes a permission from what these tokens name.
pub(super) async fn unname(tx: &mut Tx, tokens: &[Id], code: &Code) -> Result<(), Error> {
    let delete = sql("DELETE FROM agent_token_permission WHERE code = ? AND token_id IN").bind(code);
    tx.execute(delete.list(tokens.iter().copied())).await.map(drop)
}

/// Takes the row of a token that has not ended, until the transaction ends; 0 where it has.
pub(super) async fn hold(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE agent_token SET changed_at = ? WHERE id = ? AND status IN ('ACTIVE', 'SUSPENDED') \
                    AND expires_at > ?");
    tx.execute(stmt.bind(now).bind(id).bind(now)).await
}

/// The same of a token that may act at this moment; 0 where it may not.
pub(super) async fn hold_active(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE agent_token SET changed_at = ? WHERE id = ? AND status = 'ACTIVE' \
                    AND expires_at > ? AND (heartbeat_due_at IS NULL OR heartbeat_due_at >= ?)");
    tx.execute(stmt.bind(now).bind(id).bind(now).bind(now)).await
}

/// Writes limits, end and permissions of a token that the transaction holds.
pub(super) async fn narrow(tx: &mut Tx, token: &AgentToken) -> Result<(), Error> {
    let Limits { per_minute, total, failures, suspend_after, heartbeat_every, budget } = token.limits;
    let stmt = sql("UPDATE agent_token SET max_requests_per_minute = ?, max_requests_total = ?, \
                    max_failed_requests = ?, suspend_after = ?, heartbeat_every = ?, heartbeat_at = ?, \
                    heartbeat_due_at = ?, budget_limit = ?, expires_at = ? WHERE id = ?")
    .bind(per_minute)
    .bind(total)
    .bind(failures)
    .bind(suspend_after)
    .bind(heartbeat_every)
    .bind(token.heartbeat_at)
    .bind(token.heartbeat_due_at)
    .bind(budget.as_micros())
    .bind(token.expires_at)
    .bind(token.id);
    tx.execute(stmt).await?;
    tx.execute(sql("DELETE FROM agent_token_permission WHERE token_id = ?").bind(token.id)).await?;
    insert_permissions(tx, token.id, &token.permissions).await
}

pub(super) async fn suspend(tx: &mut Tx, id: Id, reason: Suspension, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE agent_token SET status = 'SUSPENDED', suspended_reason = ?, suspended_at = ?, \
                    changed_at = ? WHERE id = ? AND status = 'ACTIVE'");
    tx.execute(stmt.bind(super::reason_name(reason)).bind(now).bind(now).bind(id)).await
}

/// Suspends a token whose sign of life is overdue now, whatever was known before.
pub(super) async fn silence(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE agent_token SET status = 'SUSPENDED', suspended_reason = 'HEARTBEAT_MISSING', \
                    suspended_at = ?, changed_at = ? WHERE id = ? AND status = 'ACTIVE' \
                    AND heartbeat_due_at < ?");
    tx.execute(stmt.bind(now).bind(now).bind(id).bind(now)).await
}

/// Takes a suspension back. The next sign of life must come as the row says at this moment.
pub(super) async fn resume(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE agent_token SET status = 'ACTIVE', suspended_reason = NULL, suspended_at = NULL, \
                    resumes = resumes + 1, resumed_at = ?, heartbeat_at = ?, \
                    heartbeat_due_at = ? + heartbeat_every * 1000, changed_at = ? \
                    WHERE id = ? AND status = 'SUSPENDED' AND expires_at > ?");
    tx.execute(stmt.bind(now).bind(now).bind(now).bind(now).bind(id).bind(now)).await
}

pub(super) async fn revoke(tx: &mut Tx, id: Id, by: Option<Id>, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE agent_token SET status = 'REVOKED', revoked_at = ?, revoked_by = ?, changed_at = ? \
                    WHERE id = ? AND status <> 'REVOKED'");
    tx.execute(stmt.bind(now).bind(by).bind(now).bind(id)).await
}

/// The numbers of everything of one human that has not ended, ended now.
pub(super) async fn revoke_all(
    tx: &mut Tx,
    account: Id,
    by: Option<Id>,
    now: Timestamp,
) -> Result<Vec<Number>, Error> {
    // Who asks holds the account's row, and so does whoever mints: no other token comes in between.
    let open =
        sql("SELECT number FROM agent_token WHERE account_id = ? AND status IN ('ACTIVE', 'SUSPENDED') \
                    ORDER BY number");
    let open: Vec<(Number,)> = tx.all(open.bind(account)).await?;
    let stmt =
        sql("UPDATE agent_token SET status = 'REVOKED', revoked_at = ?, revoked_by = ?, changed_at = ? \
                    WHERE account_id = ? AND status IN ('ACTIVE', 'SUSPENDED')");
    tx.execute(stmt.bind(now).bind(by).bind(now).bind(account)).await?;
    Ok(open.into_iter().map(|(number,)| number).collect())
}

/// Forgets that a second factor was proved when tokens were minted.
pub(super) async fn unprove(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("UPDATE agent_token SET has_second_factor = ? WHERE account_id = ?");
    tx.execute(stmt.bind(false).bind(account)).await.map(drop)
}

/// The same where it was a passkey that proved it.
pub(super) async fn unprove_passkeys(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("UPDATE agent_token SET has_second_factor = ? WHERE account_id = ? AND method = ?");
    let by = Method::Passkey.name();
    tx.execute(stmt.bind(false).bind(account).bind(by)).await.map(drop)
}

/// Through an application, or for an organization.
pub(super) const OF_APPLICATION: &str = "application_id = ?";
pub(super) const OF_ORGANIZATION: &str = "organization_id = ?";

/// What was delegated so, and has not ended.
pub(super) async fn open_of(tx: &mut Tx, so: &'static str, id: Id) -> Result<Vec<Delegation>, Error> {
    let open = sql("SELECT id, account_id, application_id, organization_id FROM agent_token WHERE");
    let open = open.push(so).bind(id).push("AND status IN ('ACTIVE', 'SUSPENDED') ORDER BY id");
    let open: Vec<(Id, Id, Option<Id>, Option<Id>)> = tx.all(open).await?;
    let of = |(token, account, application, organization)| Delegation {
        token,
        account,
        application,
        organization,
    };
    Ok(open.into_iter().map(of).collect())
}

/// How often everything that an account delegated was stopped.
pub(super) async fn kills(mut src: impl Source, account: Id) -> Result<i64, Error> {
    let row: Option<(i64,)> =
        src.optional(sql("SELECT kills FROM agent_kill WHERE account_id = ?").bind(account)).await?;
    Ok(row.map_or(0, |(kills,)| kills))
}

pub(super) async fn count_kill(tx: &mut Tx, account: Id) -> Result<(), Error> {
    let stmt = sql("INSERT INTO agent_kill (account_id, kills) VALUES (?, 1)").bind(account);
    tx.execute(stmt.upsert_with(&["account_id"], "kills = agent_kill.kills + 1")).await.map(drop)
}

pub(super) async fn expire(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE agent_token SET status = 'EXPIRED', changed_at = ? WHERE id = ? \
                    AND status IN ('ACTIVE', 'SUSPENDED') AND expires_at <= ?");
    tx.execute(stmt.bind(now).bind(id).bind(now)).await
}

/// Tokens whose time is over although their state does not say so.
pub(super) async fn overdue(mut src: impl Source, now: Timestamp, limit: u32) -> Result<Vec<Id>, Error> {
    let stmt = sql("SELECT id FROM agent_token WHERE status IN ('ACTIVE', 'SUSPENDED') AND expires_at <= ? \
                    ORDER BY expires_at, id LIMIT ?");
    Ok(src.all::<(Id,)>(stmt.bind(now).bind(limit)).await?.into_iter().map(|(id,)| id).collect())
}

/// Active tokens whose sign of life is overdue.
pub(super) async fn silent(mut src: impl Source, now: Timestamp, limit: u32) -> Result<Vec<Id>, Error> {
    let stmt = sql("SELECT id FROM agent_token WHERE status = 'ACTIVE' AND heartbeat_due_at < ? \
                    ORDER BY heartbeat_due_at, id LIMIT ?");
    Ok(src.all::<(Id,)>(stmt.bind(now).bind(limit)).await?.into_iter().map(|(id,)| id).collect())
}

/// Notes a sign of life that came in time; 0 where it did not, or the token may not act. When the next
/// one must come the row says, which may have been narrowed since somebody read it.
pub(super) async fn beat(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE agent_token SET heartbeat_at = ?, \
                    heartbeat_due_at = ? + heartbeat_every * 1000 WHERE id = ? \
                    AND status = 'ACTIVE' AND expires_at > ? \
                    AND (heartbeat_due_at IS NULL OR heartbeat_due_at >= ?)");
    tx.execute(stmt.bind(now).bind(now).bind(id).bind(now).bind(now)).await
}

pub(super) async fn note_use(tx: &mut Tx, id: Id, at: Timestamp) -> Result<(), Error> {
    let stmt = sql("UPDATE agent_token SET last_used_at = ? WHERE id = ? \
                    AND (last_used_at IS NULL OR last_used_at < ?)");
    tx.execute(stmt.bind(at).bind(id).bind(at)).await.map(drop)
}

/// Takes the labels from all tokens of one human.
pub(super) async fn erase(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("UPDATE agent_token SET agent = '' WHERE account_id = ?").bind(account)).await.map(drop)
}

/// Removes some of what ended before a moment; how many tokens went.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM agent_token WHERE expires_at < ? LIMIT ?").bind(before).bind(most);
    let over: Vec<(Id,)> = tx.all(over).await?;
    let ids = || over.iter().map(|(id,)| *id);
    // An agent may report every second for as long as it lives, so reports go by themselves, and first.
    let reports = sql("SELECT token_id, key_digest FROM agent_report WHERE token_id IN");
    let reports = reports.list(ids()).push("LIMIT ?").bind(most);
    let reports: Vec<(Id, String)> = tx.all(reports).await?;
    if let Some((token, _)) = reports.first() {
        let of_one = reports.iter().filter(|(of, _)| of == token).map(|(_, digest)| digest.as_str());
        let delete = sql("DELETE FROM agent_report WHERE token_id = ? AND key_digest IN").bind(*token);
        return tx.execute(delete.list(of_one)).await;
    }
    tx.execute(sql("DELETE FROM agent_token_permission WHERE token_id IN").list(ids())).await?;
    tx.execute(sql("DELETE FROM agent_usage WHERE token_id IN").list(ids())).await?;
    tx.execute(sql("DELETE FROM agent_token WHERE id IN").list(ids())).await
}
