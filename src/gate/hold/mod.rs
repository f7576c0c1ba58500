//! What waits for people: a request of an agent on a route that holds it.
//!
//! Law: the body comes first, whole, and everything that will be sent goes into one digest. What is
//! presented opens that very request once, or nothing. Nothing is taken to be executed here: that is
//! the last step before the request is sent, after everything that could still refuse it.

mod body;
mod refusal;
mod words;

use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use ::http::{HeaderValue, StatusCode};
use bytes::Bytes;

use super::Gate;
use super::agent::{AgentRefusal, Grant};
use super::body::BodySource;
use super::head::{RequestHead, Scheme};
use super::rejection::{Rejection, Silent};
use super::route::Route;
use super::target::CanonicalTarget;
use crate::agent::Status;
use crate::approval::{
    self, Approval, Ask, Asked, Bound, Claim, ClaimError, Content, Mode, Reference, Rules, State, Told,
};
use crate::audit::{Actor, Voided};
use crate::base::Id;
use crate::config::{self, Comparison, Config, Hold, HoldMode, HoldWord, RouteApprovers};
use crate::crypto::token::TokenDigest;
use crate::http::Reply;
use crate::policy::Approvers;
use crate::store::Error;

pub use refusal::{BodyFlaw, HoldRefusal};
pub use words::Waits;

const APPROVAL_ID: HeaderName = HeaderName::from_static("x-portcullis-approval-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// How a route holds what agents ask.
#[derive(Debug)]
pub(super) struct Holding {
    /// What about a request makes it wait; `None`: every one does.
    when: Option<Comparison>,
    /// Who sends what was approved.
    mode: Mode,
    is_result_replayed: bool,
    is_idempotent: bool,
    rules: Rules,
    pub policy: String,
    /// The headers that are kept, by name.
    bound: Vec<HeaderName>,
    decide_within: Duration,
    execute_within: Duration,
    wait: Duration,
    pub body_max: usize,
}

impl Holding {
    /// `None` where nothing waits.
    pub fn of(rule: &config::Route, config: &Config) -> Option<Self> {
        let agents = rule.agents.as_ref()?;
        let when = match &agents.hold {
            _ if config.agents.confirm.contains(&agents.permission) => None,
            Hold::Word(HoldWord::Never) => return None,
            Hold::Word(HoldWord::Always) => None,
            Hold::When(held) => Some(held.when.clone()),
        };
        let approvers = agents.approvers.as_ref().map_or_else(Approvers::delegator, RouteApprovers::rule);
        let names = agents.bound_headers.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok());
        let mut bound: Vec<HeaderName> =
            [ACCEPT, CONTENT_ENCODING, CONTENT_TYPE].into_iter().chain(names).collect();
        bound.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        bound.dedup();
        Some(Self {
            when,
            mode: match agents.mode {
                HoldMode::Retry => Mode::Retry,
                HoldMode::Sealed => Mode::Sealed,
            },
            is_result_replayed: agents.is_result_replayed,
            is_idempotent: agents.is_idempotent,
            rules: Rules::new(approvers, &rule.allow),
            policy: approval::policy_digest(config, rule),
            bound,
            decide_within: agents.decide_within,
            execute_within: agents.execute_within,
            wait: agents.wait,
            body_max: usize::try_from(rule.held_body).unwrap_or(usize::MAX),
        })
    }
}

/// What a request is held by.
pub(super) struct Question<'a> {
    pub gate: &'a Gate,
    pub head: &'a RequestHead,
    pub route: &'a Route,
    pub holding: &'a Holding,
    pub grant: &'a Grant,
    /// As the upstream would get it.
    pub target: &'a CanonicalTarget,
    pub actor: &'a Actor,
}

/// What came with a request, beside its body, that is kept or asked for.
pub(super) struct Came {
    /// By name, then in the order in which they came.
    headers: Vec<(String, Vec<u8>)>,
    idempotency_key: Option<String>,
    /// How long the agent would rather wait than be told to come back.
    wait: Duration,
}

/// What becomes of a request on such a route.
pub(super) enum Held {
    /// It does not wait. Its body was read for that.
    Free(Bytes),
    /// It waits, and this is what the agent is told.
    Waits(Reply, Id),
    /// It was executed, and this is what the upstream answered then.
    Replayed(Reply, Id),
    /// People have approved it.
    Due(Box<Due>),
}

/// An approved request that may be taken to be executed.
pub(super) struct Due {
    approval: Approval,
    content: Content,
    /// Whether its answer is kept.
    is_copied: bool,
}

/// A request that is sent as it was approved, and the right to send it.
#[derive(Debug)]
pub struct Kept {
    pub claim: Claim,
    /// All that is sent beside what the gateway writes.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub(super) stamps: [(HeaderName, HeaderValue); 2],
}

impl Question<'_> {
    /// What came beside the body that matters here.
    pub fn read(&self, source: &dyn BodySource) -> Came {
        let of = |name: &HeaderName| {
            let values = source.sent(name).into_iter();
            values.map(|value| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect::<Vec<_>>()
        };
        Came {
            headers: self.holding.bound.iter().flat_map(of).collect(),
            idempotency_key: idempotency_key(source),
            wait: preferred(source).min(self.holding.wait),
        }
    }

    /// Holds the request, or lets it go on. Its whole body is `body`.
    pub async fn judge(&self, came: Came, body: Bytes) -> Result<Held, Rejection> {
        let Came { headers, idempotency_key, wait } = came;
        let of = |wanted: &HeaderName| {
            let found = headers.iter().filter(|(name, _)| name == wanted.as_str());
            found.map(|(_, value)| value.as_slice()).collect::<Vec<_>>()
        };
        // What is coded cannot be looked into, so it waits.
        let is_plain = of(&CONTENT_ENCODING).iter().all(|coding| coding.eq_ignore_ascii_case(b"identity"));
        let is_held = {
            // Not kept while people decide: it takes many times the body's memory.
            let value = body::read_by(&of(&CONTENT_TYPE), &body)
                .map_err(|flaw| Rejection::Held(HoldRefusal::Body(flaw)))?;
            let when = self.holding.when.as_ref();
            !is_plain || when.is_none_or(|when| body::is_held(when, value.as_ref()))
        };
        // What would be written into a call of a language model is written before people see it.
        let body = match &self.route.tariff {
            Some(tariff) => tariff.call(&body)?.body,
            None => body,
        };
        if !is_held {
            return Ok(Held::Free(body));
        }
        let content = Content {
            method: self.head.method.to_string(),
            authority: self.head.authority.as_str().to_owned(),
            asked: self.head.target.as_str().to_owned(),
            target: self.target.as_str().to_owned(),
            headers,
            body: body.to_vec(),
            client: self.head.client,
            is_https: self.head.scheme == Scheme::Https,
            idempotency_key,
        };
        let digest = self.digest(&content);
        let approval = match &self.head.presented.confirmation {
            None => self.ask(&content, &digest).await?,
            Some(token) => match self.present(token, &digest).await? {
                Presented::Waits(approval) => *approval,
                Presented::Approved(approval) => return self.due(*approval).await,
                Presented::Answered(reply, id) => return Ok(Held::Replayed(reply, id)),
            },
        };
        let approval = self.wait(approval, wait).await?;
        let told = approval::waiting(&self.gate.app, &approval);
        Ok(Held::Waits(named(Reply::json(StatusCode::ACCEPTED, &told), approval.id)?, approval.id))
    }

    fn digest(&self, content: &Content) -> String {
        let token = &self.grant.token;
        approval::request_digest(&Bound {
            site: token.site,
            organization: token.organization,
            agent_token: token.id,
            account: token.account,
            route: &self.route.rule.name,
            policy: &self.holding.policy,
            upstream: &self.route.rule.upstream,
            method: &content.method,
            authority: &content.authority,
            target: &content.target,
            headers: &content.headers,
            body: &content.body,
        })
    }

    async fn ask(&self, content: &Content, digest: &str) -> Result<Approval, Rejection> {
        let permission = &self.route.rule.agents.as_ref().ok_or(Rejection::Internal)?.permission;
        let ask = Ask {
            token: &self.grant.token,
            route: &self.route.rule.name,
            permission,
            mode: self.holding.mode,
            is_idempotent: self.holding.is_idempotent,
            rules: &self.holding.rules,
            policy: &self.holding.policy,
            request: digest,
            trace: self.head.trace(),
            decide_within: self.holding.decide_within,
            execute_within: self.holding.execute_within,
            content,
        };
        match approval::request(&self.gate.app, self.actor, ask).await.map_err(|error| silent(&error))? {
            Asked::Open(approval) => Ok(*approval),
            Asked::Denied { reason, retry_after } => {
                Err(told(Told::Denied { reason, retry_after: Some(retry_after) }))
            }
            Asked::TooMany => Err(Rejection::Held(HoldRefusal::TooMany)),
            Asked::Stopped => Err(Rejection::Agent(AgentRefusal::Status(Status::Suspended))),
        }
    }

    async fn present(&self, token: &HeaderValue, digest: &str) -> Result<Presented, Rejection> {
        let app = &self.gate.app;
        let text = token.to_str().map_err(|_| told(Told::Unknown))?;
        let named = Reference::Token(TokenDigest::of(text));
        let found = approval::find(&app.db, &named).await.map_err(|error| silent(&error))?;
        let own = found.filter(|approval| approval.agent_token == self.grant.token.id);
        let approval = own.ok_or_else(|| told(Told::Unknown))?;
        let state = match approval::stands(&approval, app.now()) {
            Err(Told::Used(state)) if self.holding.is_result_replayed && approval.request == digest => {
                return self.replay(&approval, state).await;
            }
            stands => stands.map_err(told)?,
        };
        if approval.route == self.route.rule.name && approval.policy != self.holding.policy {
            let voided = approval::void(app, self.actor, &approval, Voided::PolicyChanged).await;
            voided.map_err(|error| silent(&error))?;
            return Err(told(Told::Void));
        }
        if approval.request != digest {
            return Err(told(Told::Mismatch));
        }
        Ok(match state {
            State::Approved | State::Indeterminate if approval.mode == Mode::Retry => {
                Presented::Approved(Box::new(approval))
            }
            _ => Presented::Waits(Box::new(approval)),
        })
    }

    /// What the upstream answered when it was executed.
    async fn replay(&self, approval: &Approval, state: State) -> Result<Presented, Rejection> {
        let answer = approval::result(&self.gate.app, approval, state).await;
        let answer = answer.map_err(|error| silent(&error))?.map_err(told)?;
        Ok(Presented::Answered(named(answer.again(), approval.id)?, approval.id))
    }

    async fn due(&self, approval: Approval) -> Result<Held, Rejection> {
        let content = approval::content(&self.gate.app, &approval).await.map_err(|error| silent(&error))?;
        // Nothing is kept of what is over: somebody was faster.
        let content = content.ok_or_else(|| told(Told::Used(State::Executing)))?;
        let is_copied = self.holding.is_result_replayed;
        Ok(Held::Due(Box::new(Due { approval, content, is_copied })))
    }

    /// Waits until people have decided, as long as the agent prefers and the route allows.
    async fn wait(&self, approval: Approval, wait: Duration) -> Result<Approval, Rejection> {
        let app = &self.gate.app;
        let found = approval::wait(app, approval, wait).await.map_err(|error| silent(&error))?;
        let approval = found.ok_or_else(|| told(Told::Unknown))?;
        match approval::stands(&approval, app.now()) {
            // The gateway was quick; its answer is asked for where it is kept.
            Err(Told::Used(_)) if approval.mode == Mode::Sealed => Ok(approval),
            stands => stands.map_err(told).map(|_| approval),
        }
    }
}

/// What a presented token opens.
enum Presented {
    Waits(Box<Approval>),
    Approved(Box<Approval>),
    Answered(Reply, Id),
}

impl Due {
    /// What the gateway sends by itself.
    pub fn errand(approval: Approval, content: Content) -> Self {
        Self { approval, content, is_copied: true }
    }

    pub fn id(&self) -> Id {
        self.approval.id
    }

    /// What is sent, to the byte.
    pub fn body(&self) -> Bytes {
        Bytes::copy_from_slice(&self.content.body)
    }

    /// Takes the approval. From here on it is sent, or given back because it was not.
    pub async fn claim(self: Box<Self>, gate: &Gate, actor: &Actor) -> Result<Kept, Rejection> {
        let Self { approval, content, is_copied } = *self;
        let claim = match approval::claim(&gate.app, actor, &approval).await {
            Ok(claim) if is_copied => claim.copying(),
            Ok(claim) => claim,
            Err(ClaimError::Store(error)) => return Err(silent(&error)),
            Err(ClaimError::Void(_)) => return Err(told(Told::Void)),
            Err(ClaimError::Over(state)) => return Err(told(over(state))),
        };
        let mut headers = Vec::with_capacity(content.headers.len());
        for (name, value) in &content.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| Rejection::Internal)?;
            headers.push((name, HeaderValue::from_bytes(value).map_err(|_| Rejection::Internal)?));
        }
        let id = approval.id.to_string();
        let key = content.idempotency_key.as_deref().unwrap_or(&id);
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Rejection::Internal);
        let stamps = [(APPROVAL_ID, value(&id)?), (IDEMPOTENCY_KEY, value(key)?)];
        Ok(Kept { claim, headers, body: Bytes::from(content.body), stamps })
    }
}

/// The same answer with the approval's name on it.
fn named(reply: Reply, id: Id) -> Result<Reply, Rejection> {
    let name = HeaderValue::try_from(id.to_string()).map_err(|_| Rejection::Internal)?;
    Ok(reply.with(APPROVAL_ID, name))
}

/// What somebody is told who came too late.
fn over(state: State) -> Told {
    match state {
        State::Denied => Told::Denied { reason: None, retry_after: None },
        State::Expired | State::Lapsed => Told::Over(state),
        State::Void => Told::Void,
        State::Executed | State::Failed | State::Indeterminate => Told::Used(state),
        // Somebody else took it, and may have given it back since.
        State::Pending | State::Approved | State::Executing => Told::Used(State::Executing),
    }
}

fn told(told: Told) -> Rejection {
    Rejection::Held(HoldRefusal::Told(told))
}

fn silent(error: &Error) -> Rejection {
    tracing::warn!(%error, "an approval cannot be read or written");
    Rejection::Unavailable(Silent::Store)
}

/// The agent's own key, where it has the form of one.
fn idempotency_key(source: &dyn BodySource) -> Option<String> {
    let values = source.sent(&IDEMPOTENCY_KEY);
    let [value] = values.as_slice() else { return None };
    let text = value.to_str().ok()?;
    (1..=IDEMPOTENCY_KEY_MAX).contains(&text.len()).then(|| text.to_owned())
}

/// `Prefer: wait=N` (RFC 7240 section 4.3), in seconds.
fn preferred(source: &dyn BodySource) -> Duration {
    let values = source.sent(&PREFER);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    let mut parts = texts.flat_map(|text| text.split([',', ';'])).filter_map(|part| part.split_once('='));
    let wait = parts.find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let seconds = wait.and_then(|(_, value)| value.trim().trim_matches('"').parse::<u32>().ok());
    Duration::from_secs(seconds.unwrap_or(0).into())
}
