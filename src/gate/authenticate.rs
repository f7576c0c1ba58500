//! Who calls? From a credential to a snapshot of the caller, or to the refusal that it deserves.
//!
//! Law: the credential is chosen by its place and never by its validity, so a bad one never falls
//! through to the next. Nothing that a token says about rights is read. A view of other processes'
//! changes that is too old decides nothing.

use std::sync::Arc;
use std::time::Duration;

use super::agent::AgentRefusal;
use super::credential::Credential;
use super::head::{Kind, RequestHead};
use super::person::{Key, Snapshot};
use super::rejection::{Flaw, Pace, Rejection, Silent};
use super::ticket::{self, Ticket};
use super::token::{Freshness, Keys, Refused};
use super::world::World;
use super::{Gate, apikey, failure};
use crate::audit::Subject;
use crate::base::Timestamp;
use crate::factor;
use crate::metrics::Cached;
use crate::principal::Scope;

/// Above this age our view of what was revoked elsewhere is worth nothing.
pub(super) const VIEW_MAX: Duration = Duration::from_secs(10);

/// A caller whose credential was good.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub snapshot: Arc<Snapshot>,
    /// Set where the credential opens only a few endpoints.
    pub scope: Option<Scope>,
    /// The organization that the credential itself names.
    pub organization: Option<String>,
    /// Until when the cookie is good that was shown, where it was one.
    pub cookie_until: Option<Timestamp>,
}

/// Who the request says it comes from, checked; `None` where it says nothing.
pub(super) async fn authenticate(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
) -> Result<Option<Caller>, Rejection> {
    let presented = &head.presented;
    // Which of two was meant? Whatever we took, the other would be lost without a word.
    if presented.api_key.is_some() && presented.authorization.is_some() {
        return Err(Rejection::Malformed(Flaw::Credentials));
    }
    let (key, scope, organization) = match Credential::of(presented.authorization.as_ref()) {
        Credential::Bearer(token) => {
            let (key, scope) = bearer(gate, world, head, token)?;
            (key, scope, None)
        }
        Credential::Agent(_) => return Err(Rejection::Agent(AgentRefusal::NotAllowed)),
        Credential::Unusable => return Err(Rejection::TokenInvalid),
        Credential::Absent => match (&presented.api_key, ticket_of(head)) {
            (Some(value), _) => (apikey::find(gate, head, value).await?, None, None),
            (None, Some(text)) => {
                let ticket = redeem(gate, head, text).await?;
                (ticket.key, None, ticket.organization.map(|slug| slug.to_string()))
            }
            (None, None) => return Ok(None),
        },
    };
    let snapshot = current(gate, world, key, head.at).await?;
    let scope = scope.or(snapshot.principal.session.scope);
    Ok(Some(Caller { snapshot, scope, organization, cookie_until: None }))
}

/// Whether what was shown is why: a route that asks nobody who they are takes such a caller for nobody.
pub(super) const fn is_of_credential(refusal: &Rejection) -> bool {
    matches!(refusal, Rejection::TokenInvalid | Rejection::ApiKeyInvalid | Rejection::CookieFromElsewhere)
}

/// The snapshot, as of this moment, of a caller whose credential was checked at some time.
pub(super) async fn current(
    gate: &Gate,
    world: &World,
    key: Key,
    at: Timestamp,
) -> Result<Arc<Snapshot>, Rejection> {
    if gate.app.view_age() > VIEW_MAX {
        return Err(Rejection::Unavailable(Silent::View));
    }
    let known = gate.people.find(key, &gate.app.epochs, &world.catalogue, gate.records.as_ref(), at).await?;
    // In sessions too that began before the account had to have a second factor.
    let session = &known.principal.session;
    let rule = world.config.accounts.staff_second_factor;
    if session.scope.is_none() && factor::is_missing(rule, &known.principal.account, session.second_factor_at)
    {
        return Ok(Arc::new(known.only_for(Scope::SecondFactorSetupOnly)));
    }
    Ok(known)
}

fn bearer(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    token: &str,
) -> Result<(Key, Option<Scope>), Rejection> {
    // The epoch first: keys that change in between make the entry old, not wrong.
    let epoch = gate.app.epochs.of(Subject::Keys);
    let ring = gate.app.keyring();
    let keys = Keys { ring: &ring, settings: &world.config.tokens, epoch };
    match gate.tokens.verify(token, keys, head.client, head.at) {
        Ok((verified, freshness)) => {
            gate.app.metrics.token_cache(match freshness {
                Freshness::Cached => Cached::Hit,
                Freshness::Checked => Cached::Miss,
            });
            Ok((verified.key, verified.scope))
        }
        Err(Refused::TooManyFailures { retry_after }) => Err(slow_down(head, retry_after)),
        Err(Refused::KnownBad) => Err(Rejection::TokenInvalid),
        Err(Refused::Invalid(invalid)) => {
            tracing::debug!(request_id = head.id.as_str(), why = invalid.label(), "a token was refused");
            Err(Rejection::TokenInvalid)
        }
    }
}

/// Too many bad credentials came from this address.
pub(super) fn slow_down(head: &RequestHead, retry_after: Duration) -> Rejection {
    Rejection::Limited(Pace {
        limit: failure::BURST,
        remaining: 0,
        window: failure::FORGIVEN_WITHIN,
        reset_at: head.at.plus(failure::FORGIVEN_WITHIN),
        retry_after,
    })
}

/// The ticket of a WebSocket handshake. Two of them are none: choosing would be guessing.
pub(super) fn ticket_of(head: &RequestHead) -> Option<&str> {
    let query = head.target.query().filter(|_| head.kind == Kind::WebSocket)?;
    ticket::of(query)
}

async fn redeem(gate: &Gate, head: &RequestHead, text: &str) -> Result<Ticket, Rejection> {
    let app = &gate.app;
    Ticket::redeem(text, &app.seal, &app.db, head.at).await.map_err(|refused| match refused {
        ticket::Refused::Invalid => Rejection::TokenInvalid,
        ticket::Refused::Silent => Rejection::Unavailable(Silent::Store),
    })
}
