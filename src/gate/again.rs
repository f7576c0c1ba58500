//! The same question about a request that is already under way: may it still go on, and until when?
//!
//! Law: it is asked with everything as it is now (session, rights, routes), and whatever cannot be
//! answered is a no. Nothing is counted and nothing used up: the request was let in once. What a cookie
//! let in goes no further than the cookie, however long the session behind it is.

use std::sync::Arc;

use super::Gate;
use super::agent::{self, Digest};
use super::authority::Authority;
use super::authorize::{Asked, OfAgent, authorize, organization_of};
use super::head::RequestHead;
use super::permit::Permit;
use super::person::Key;
use super::route::Route;
use super::target::CanonicalTarget;
use super::world::{Target, World};
use crate::base::Timestamp;
use crate::policy::table::Params;
use ::http::Method;

/// What must be asked again about a request that may last.
#[derive(Debug, Clone)]
pub struct Standing {
    permit: Permit,
    session: Key,
    authority: Authority,
    target: CanonicalTarget,
    method: Method,
}

impl Standing {
    /// The permit that was given to this request; `None` where it is nobody's, and stands.
    pub fn new(permit: &Permit, head: &RequestHead) -> Option<Self> {
        let session = permit.session()?;
        let (authority, target, method) = (head.authority.clone(), head.target.clone(), head.method.clone());
        Some(Self { permit: permit.clone(), session, authority, target, method })
    }

    /// Whose request it is.
    pub const fn session(&self) -> Key {
        self.session
    }

    /// When to ask again at the latest, because the session ends then unless it is prolonged;
    /// `None` when the request would not be let in now.
    pub async fn holds_until(&self, gate: &Gate) -> Option<Timestamp> {
        let key = self.session;
        let world = gate.world();
        let found = world.find(self.authority.host(), self.target.path(), &self.method);
        let Target::Route(route, params) = found else { return None };
        let now = gate.app.now();
        let cookie_until = self.permit.cookie_until();
        if cookie_until.is_some_and(|until| until <= now) {
            return None;
        }
        if let Some(grant) = self.permit.caller().and_then(|caller| caller.agent.as_ref()) {
            return self.of_agent(gate, &world, route, &params, grant.digest).await;
        }
        let (epochs, records) = (&gate.app.epochs, gate.records.as_ref());
        let caller = gate.people.find(key, epochs, &world.catalogue, records, now).await.ok()?;
        let wish = self.permit.organization().map(|organization| organization.context.slug.as_str());
        let organization = organization_of(gate, &world, &caller, wish).await.ok()?;
        let asked = Asked {
            route,
            params: &params,
            caller: Some(&caller),
            organization: organization.as_ref(),
            application: self.permit.application(),
            now,
            agent: None,
        };
        authorize(&world, &asked).ok()?;
        let ends_at = caller.principal.session.ends_at;
        Some(cookie_until.map_or(ends_at, |until| until.min(ends_at)))
    }

    /// The same where an agent asked.
    async fn of_agent(
        &self,
        gate: &Gate,
        world: &Arc<World>,
        route: &Arc<Route>,
        params: &Params<'_, '_>,
        digest: Digest,
    ) -> Option<Timestamp> {
        let now = gate.app.now();
        let mut caller =
            gate.agents.of_digest(digest, agent::sources(gate, world, now)).await.ok()?.acting().ok()?;
        if caller.agent.as_ref()?.check(now).is_err() {
            // A sign of life may have come that no cache was told of.
            gate.agents.forget(&digest);
            caller =
                gate.agents.of_digest(digest, agent::sources(gate, world, now)).await.ok()?.acting().ok()?;
        }
        let grant = caller.agent.as_ref()?;
        grant.check(now).ok()?;
        let (organization, standing) = agent::organization(gate, world, None, &caller, grant).await.ok()?;
        let asked = Asked {
            route,
            params,
            caller: Some(&caller),
            organization: organization.as_ref(),
            application: self.permit.application(),
            now,
            agent: Some(OfAgent { grant, standing }),
        };
        authorize(world, &asked).ok()?;
        Some(grant.stands_until())
    }
}
