//! An agent asks: the same question waits once, however often it is asked.
//!
//! Law: a token's row is held while its question is written, so that of many who ask at once one
//! writes, the cap is exact, and nothing is asked in the name of a token that was stopped first.

use std::time::Duration;

use super::digest::binding_digest;
use super::rule::{self, Matter};
use super::store::{self, Waiting};
use super::{Approval, Content, Mode, Rules, SERIES, State, digest};
use crate::account;
use crate::agent::{self, AgentToken};
use crate::app::App;
use crate::audit::{Actor, Step};
use crate::base::{Id, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::policy::Code;
use crate::store::Error;

/// How many of a token's questions may wait at once.
const OPEN_MAX: i64 = 20;
/// The same for all tokens of one human.
const OPEN_PER_HUMAN: i64 = 100;
/// How long the same is not asked again after a no.
const COOL_DOWN: Duration = Duration::from_mins(5);
/// How often a database that gave up is asked again.
const TRIES: usize = 5;
const TITLE_MAX: usize = 300;

/// What an agent wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub token: &'a AgentToken,
    pub route: &'a str,
    pub permission: &'a Code,
    pub mode: Mode,
    pub is_idempotent: bool,
    pub rules: &'a Rules,
    pub policy: &'a str,
    pub request: &'a str,
    pub trace: Option<&'a str>,
    pub decide_within: Duration,
    pub execute_within: Duration,
    pub content: &'a Content,
}

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It waits, now or since it was asked first.
    Open(Box<Approval>),
    /// A human said no to the same a moment ago.
    Denied { reason: Option<String>, retry_after: Duration },
    /// Too many wait already.
    TooMany,
    /// The token may not act any more.
    Stopped,
}

/// Asks, unless the same waits already.
pub async fn request(app: &App, actor: &Actor, ask: Ask<'_>) -> Result<Asked, Error> {
    // The usual case of a repeated question costs no write.
    if let Some(known) = store::open_request(&app.db, ask.token.id, ask.request, app.now()).await? {
        return Ok(Asked::Open(Box::new(known)));
    }
    let token = ask.token;
    let matter = Matter { site: actor.site, account: token.account, organization: token.organization };
    let deciders = match app.config().mail {
        Some(_) => rule::deciders(app, matter, &ask.rules.approvers).await?,
        None => Vec::new(),
    };
    for _ in 1..TRIES {
        match write(app, actor, ask, &deciders).await {
            Err(Error::Busy) => {}
            done => return done,
        }
    }
    write(app, actor, ask, &deciders).await
}

async fn write(app: &App, actor: &Actor, ask: Ask<'_>, deciders: &[Id]) -> Result<Asked, Error> {
    let mut change = app.change(actor.clone()).await?;
    let now = change.now();
    let token = ask.token;
    // The account's row first, as everywhere: what waits for one human is counted one after the other.
    if !account::hold(&mut change, token.account).await? || !agent::hold_active(&mut change, token.id).await?
    {
        return Ok(Asked::Stopped);
    }
    if let Some(known) = store::open_request(change.tx(), token.id, ask.request, now).await? {
        return Ok(Asked::Open(Box::new(known)));
    }
    let denied = store::denied_request(change.tx(), token.id, ask.request, now.minus(COOL_DOWN)).await?;
    if let Some(denied) = denied
        && let Some(wait) = cooling(&denied, now)
    {
        return Ok(Asked::Denied { reason: denied.reason, retry_after: wait });
    }
    let of_token = store::count_open(change.tx(), Waiting::Of(token.id), now).await?;
    if of_token >= OPEN_MAX
        || store::count_open(change.tx(), Waiting::For(token.account), now).await? >= OPEN_PER_HUMAN
    {
        return Ok(Asked::TooMany);
    }
    let id = change.new_id();
    let approval = Approval {
        id,
        number: change.number(SERIES).await?,
        site: actor.site,
        state: State::Pending,
        agent_token: token.id,
        agent: token.agent.clone(),
        account: token.account,
        application: token.application,
        organization: token.organization,
        route: ask.route.to_owned(),
        permission: ask.permission.clone(),
        mode: ask.mode,
        method: ask.content.method.clone(),
        path: path(&ask.content.target).to_owned(),
        title: title(&ask),
        trace: ask.trace.map(str::to_owned),
        policy: ask.policy.to_owned(),
        request: ask.request.to_owned(),
        binding: binding_digest(id, ask.request),
        rules: ask.rules.clone(),
        execute_within: ask.execute_within,
        created_at: now,
        decide_by: now.plus(ask.decide_within),
        decided_at: None,
        decided_by: None,
        reason: None,
        execute_by: None,
        is_idempotent: ask.is_idempotent,
        claims: 0,
        send_at: None,
        lease_until: None,
        ended_at: None,
        status: None,
        is_kept: true,
    };
    let rules = serde_json::to_string(&approval.rules).map_err(|e| Error::Broken { cause: e.to_string() })?;
    let token_digest = TokenDigest::of(digest::token(&app.seal, id).expose());
    let sealed = ask.content.seal(app, id)?;
    store::insert(change.tx(), &approval, token_digest.as_str(), &rules, sealed).await?;
    let decide_by = approval.decide_by;
    change.record(approval.event(Step::Requested { decide_by, deciders: deciders.to_vec() })).await?;
    change.commit().await?;
    app.metrics.approval(State::Pending.into());
    Ok(Asked::Open(Box::new(approval)))
}

/// How long after a no the same may not be asked again.
pub(super) fn cooling(denied: &Approval, now: Timestamp) -> Option<Duration> {
    let until = denied.decided_at?.plus(COOL_DOWN);
    (until > now).then(|| until.since(now))
}

/// One line from the route's own words.
fn title(ask: &Ask<'_>) -> String {
    let line = format!("{} through route {} ({})", ask.content.method, ask.route, ask.permission);
    line.chars().take(TITLE_MAX).collect()
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}
