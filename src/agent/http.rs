//! The rows of `ai/tokens/`.
//!
//! Law: humans mint, narrow, stop and resume their own tokens and see nobody else's; an agent has
//! two endpoints here, its heartbeat and its reports, and only for itself.

mod own;
mod usage;

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::input::{MintBody, NarrowBody};
use super::ledger::without_purses;
use super::view::{Shown, shown};
use super::{AgentToken, Limits, Mint, MintError, NarrowError, Narrowed, Narrowing, Reference, Status, mint};
use crate::app::App;
use crate::audit::Suspension;
use crate::base::{Id, Slug};
use crate::config::Agents;
use crate::http::{ApiError, Call, Created, ErrorCode, Json, Nothing, Row, del, get, post, put};
use crate::organization::{self, Inherit, OrgContext};
use crate::principal::Principal;
use crate::store::{Error, again};

pub use own::{Own, calling, count_own};

/// How many tokens a list shows.
const LISTED: u32 = 1000;
const UNNAMED: &str = "unknown";

/// Endpoints for what humans delegate.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        post("/ai/tokens/", create)
            .person()
            .strict()
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::AgentsStopped, ErrorCode::TooManyAgentTokens])
            .audited(&["agent_token_created"])
            .about("Delegate to an agent; the token is shown once"),
        get("/ai/tokens/", list).person().about("My agent tokens, the newest first"),
        get("/ai/tokens/{id}/", show).person().codes(&[ErrorCode::NotFound]).about("One of my agent tokens"),
        put("/ai/tokens/{id}/", narrow)
            .person()
            .strict()
            .codes(&[ErrorCode::NotFound, ErrorCode::AgentTokenEnded])
            .audited(&["agent_token_narrowed"])
            .about("Take something away from an agent token"),
        del("/ai/tokens/{id}/", revoke)
            .person()
            .codes(&[ErrorCode::NotFound])
            .audited(&["agent_token_revoked"])
            .about("End an agent token for good"),
        post("/ai/tokens/{id}/revoke/", revoke)
            .person()
            .codes(&[ErrorCode::NotFound])
            .audited(&["agent_token_revoked"])
            .about("End an agent token for good"),
        post("/ai/tokens/{id}/suspend/", suspend)
            .person()
            .codes(&[ErrorCode::NotFound, ErrorCode::AgentTokenEnded])
            .audited(&["agent_token_suspended"])
            .about("Suspend an agent token"),
        post("/ai/tokens/{id}/resume/", resume)
            .person()
            .codes(&[ErrorCode::NotFound, ErrorCode::AgentTokenEnded])
            .audited(&["agent_token_resumed"])
            .about("Let a suspended agent token act again"),
        post("/ai/tokens/revoke-all/", revoke_all)
            .person()
            .audited(&["agent_tokens_revoked"])
            .about("End all of my agent tokens at once"),
        post("/ai/tokens/{id}/heartbeat/", own::heartbeat)
            .agent()
            .codes(&[ErrorCode::RateLimited])
            .unaudited("a sign of life changes nobody's rights; its absence leaves an event")
            .about("Tell that the agent is alive"),
        post("/ai/tokens/{id}/report-usage/", usage::report_usage)
            .agent()
            .codes(&[ErrorCode::BudgetExceeded, ErrorCode::IdempotencyKeyReused, ErrorCode::RateLimited])
            .audited(&["agent_token_suspended"])
            .about("Tell what the agent spent elsewhere; the same Idempotency-Key counts once"),
        get("/ai/usage/", usage::list)
            .person()
            .strict()
            .about("What my agents used, by token and day, the newest first"),
    ]
}

/// A token that was minted just now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MintedAgentToken")]
struct Minted {
    id: i64,
    /// Goes behind `Authorization: AgentBearer`. Shown this once.
    token: String,
    agent_id: String,
    status: &'static str,
    /// RFC 3339, UTC.
    expires_at: String,
}

async fn create(call: Call, Json(body): Json<MintBody>) -> Result<Created<Minted>, ApiError> {
    let (config, human) = (call.app.config(), call.person()?);
    let agents = &config.agents;
    if !agents.is_enabled {
        return Err(ApiError::new(ErrorCode::BadRequest).saying("AIRS is disabled"));
    }
    let named = body.organization.clone().or_else(|| named_by_header(&call));
    let organization = match named {
        Some(slug) => Some(context(&call, human, &slug).await?),
        None => None,
    };
    let limits = limits(&body, agents);
    let ask = Mint {
        human,
        organization: organization.as_ref(),
        application: call.application.as_ref().map(|application| application.id),
        agent: body.agent_id.unwrap_or_else(|| UNNAMED.to_owned()),
        permissions: body.permissions.unwrap_or_default(),
        limits,
        lifetime: body.lifetime.unwrap_or(agents.default_lifetime).min(agents.max_lifetime),
    };
    let (token, text) = mint(&call.app, call.actor(), ask).await?;
    Ok(Created(Minted {
        id: token.number.0,
        token: text.expose().clone(),
        agent_id: token.agent,
        status: token.status.name(),
        expires_at: token.expires_at.rfc3339(),
    }))
}

/// The gate has looked the header's organization up already.
fn named_by_header(call: &Call) -> Option<Slug> {
    call.head.org_slug.as_deref().and_then(|slug| Slug::parse(slug).ok())
}

/// What the human is in the organization of this slug.
async fn context(call: &Call, human: &Principal, slug: &Slug) -> Result<OrgContext, ApiError> {
    let organizations = &call.app.config().organizations;
    let unknown = || ApiError::new(ErrorCode::OrgNotFound).with("slug", slug.to_string());
    if !organizations.is_enabled {
        return Err(unknown());
    }
    let inherit = if organizations.inherit_roles { Inherit::FromAbove } else { Inherit::Nothing };
    let place = organization::place(&call.app.db, human.account.site, slug).await?.ok_or_else(unknown)?;
    organization::context(&human.memberships, &place, inherit).map_err(|_| unknown())
}

fn limits(body: &MintBody, agents: &Agents) -> Limits {
    let (breaker, defaults) = (body.circuit_breaker.as_ref(), &agents.defaults);
    Limits {
        per_minute: breaker.and_then(|own| own.per_minute).unwrap_or(defaults.requests_per_minute),
        total: breaker.and_then(|own| own.total).unwrap_or(defaults.requests_total),
        failures: breaker.and_then(|own| own.failures).unwrap_or(defaults.failed_requests),
        suspend_after: breaker.and_then(|own| own.suspend_after).unwrap_or(agents.suspend_after),
        heartbeat_every: body.dead_mans_switch.as_ref().and_then(|own| own.every),
        budget: body.budget.unwrap_or(defaults.budget_usd),
    }
}

impl From<MintError> for ApiError {
    fn from(error: MintError) -> Self {
        let denied = |text: String| {
            Self::new(ErrorCode::PermissionDenied).detail("permissions", [text.as_str()].into()).saying(text)
        };
        match error {
            MintError::Empty => denied("Agent tokens must request explicit permissions.".to_owned()),
            MintError::NotHeld(codes) => {
                let first = codes.first().map(ToString::to_string).unwrap_or_default();
                let missing: Vec<String> = codes.iter().map(ToString::to_string).collect();
                denied(format!("User does not have permission '{first}'.")).with("missing", missing)
            }
            MintError::Refused => Self::new(ErrorCode::Unauthorized).saying("Invalid or expired token"),
            MintError::TooMany => Self::new(ErrorCode::TooManyAgentTokens),
            MintError::Killed => Self::new(ErrorCode::AgentsStopped),
            MintError::Store(cause) => cause.into(),
        }
    }
}

async fn list(call: Call, _: Nothing) -> Result<Json<Vec<Shown>>, ApiError> {
    let account = &call.person()?.account;
    let mut tokens = super::list(&call.app.db, account.site, Some(account.id), LISTED).await?;
    without_purses(&call.app, &mut tokens).await;
    let mut slugs: HashMap<Id, Option<String>> = HashMap::new();
    let mut all = Vec::with_capacity(tokens.len());
    for token in &tokens {
        let slug = match token.organization {
            None => None,
            Some(id) => match slugs.get(&id) {
                Some(known) => known.clone(),
                None => slugs.entry(id).or_insert(slug_of(&call.app, token).await?).clone(),
            },
        };
        all.push(shown(token, slug));
    }
    Ok(Json(all))
}

async fn slug_of(app: &App, token: &AgentToken) -> Result<Option<String>, Error> {
    let Some(id) = token.organization else { return Ok(None) };
    let found = organization::by_id(&app.db, id).await?;
    Ok(found.map(|organization| organization.slug.to_string()))
}

/// The caller's own token that the path names.
async fn own(call: &Call) -> Result<AgentToken, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("Not found");
    let reference: Reference = call.param("id")?.parse().map_err(|_| missing())?;
    let found = super::find(&call.app.db, reference).await?;
    let human = call.person()?.account.id;
    found.filter(|token| token.account == human).ok_or_else(missing)
}

async fn show(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    showing(&call, own(&call).await?).await
}

/// A token as it is shown, without what lies in its purse.
async fn showing(call: &Call, token: AgentToken) -> Result<Json<Shown>, ApiError> {
    let mut token = token;
    without_purses(&call.app, std::slice::from_mut(&mut token)).await;
    let slug = slug_of(&call.app, &token).await?;
    Ok(Json(shown(&token, slug)))
}

async fn narrow(call: Call, Json(body): Json<NarrowBody>) -> Result<Json<Shown>, ApiError> {
    let token = own(&call).await?;
    let breaker = body.circuit_breaker.unwrap_or_default();
    let to = Narrowing {
        permissions: body.permissions.map(|mut codes| {
            codes.sort_unstable();
            codes.dedup();
            codes
        }),
        per_minute: breaker.per_minute,
        total: breaker.total,
        failures: breaker.failures,
        heartbeat_every: body.dead_mans_switch.and_then(|switch| switch.every),
        budget: body.budget,
        lifetime: body.lifetime,
    };
    let narrow = || async {
        let mut change = call.app.change(call.actor()).await?;
        let Narrowed { token, fields } = super::narrow(&mut change, token.id, to.clone()).await?;
        if !fields.is_empty() {
            change.commit().await?;
        }
        Ok(token)
    };
    let narrowed = match again(narrow).await {
        Ok(token) => token,
        Err(NarrowError::Ended) => return Err(ended(&call, token.id).await?),
        Err(NarrowError::Store(cause)) => return Err(cause.into()),
        Err(NarrowError::Wider(fields)) => {
            let refused = ApiError::new(ErrorCode::ValidationError);
            let message = "This may only be made less, and never nothing.";
            return Err(fields
                .into_iter()
                .fold(refused, |refused, name| refused.detail(name, [message].into())));
        }
    };
    showing(&call, narrowed).await
}

/// What a token is after a call.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgentTokenState")]
struct State {
    status: &'static str,
}

async fn revoke(call: Call, _: Nothing) -> Result<Json<State>, ApiError> {
    let token = own(&call).await?;
    let revoke = || async {
        let mut change = call.app.change(call.actor()).await?;
        let is_done = super::revoke(&mut change, token.delegation()).await?;
        if is_done { change.commit().await } else { Ok(()) }
    };
    again(revoke).await?;
    Ok(Json(State { status: "revoked" }))
}

async fn suspend(call: Call, _: Nothing) -> Result<Json<State>, ApiError> {
    step(&call, &own(&call).await?, Status::Suspended).await
}

async fn resume(call: Call, _: Nothing) -> Result<Json<State>, ApiError> {
    step(&call, &own(&call).await?, Status::Active).await
}

/// One step of a token's state that is there already or can still be reached.
async fn step(call: &Call, token: &AgentToken, to: Status) -> Result<Json<State>, ApiError> {
    let status = if to == Status::Active { "active" } else { "suspended" };
    let step = || async {
        let mut change = call.app.change(call.actor()).await?;
        let is_done = match to {
            Status::Active => super::resume(&mut change, token).await?,
            _ => super::suspend(&mut change, token.delegation(), Suspension::Manual).await?,
        };
        if is_done {
            change.commit().await?;
        }
        Ok::<_, Error>(is_done)
    };
    if again(step).await? {
        return Ok(Json(State { status }));
    }
    let now = super::find(&call.app.db, Reference::Id(token.id)).await?;
    if now.is_some_and(|token| token.status == to && token.expires_at > call.app.now()) {
        return Ok(Json(State { status }));
    }
    Err(ended(call, token.id).await?)
}

/// The refusal for a token that has ended, with how.
async fn ended(call: &Call, id: Id) -> Result<ApiError, Error> {
    let token = super::find(&call.app.db, Reference::Id(id)).await?;
    let status = match token.map(|token| token.status) {
        Some(Status::Revoked) => Status::Revoked,
        _ => Status::Expired,
    };
    Ok(ApiError::new(ErrorCode::AgentTokenEnded).with("status", status.name()))
}

/// What became of all of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgentTokensRevoked")]
struct AllRevoked {
    status: &'static str,
    /// How many had not ended before.
    count: usize,
}

async fn revoke_all(call: Call, _: Nothing) -> Result<Json<AllRevoked>, ApiError> {
    let account = call.person()?.account.id;
    let revoke_all = || async {
        let mut change = call.app.change(call.actor()).await?;
        let count = super::revoke_all(&mut change, account).await?;
        change.commit().await?;
        Ok::<_, Error>(count)
    };
    let count = again(revoke_all).await?;
    Ok(Json(AllRevoked { status: "revoked", count }))
}
