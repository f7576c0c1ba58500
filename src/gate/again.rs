//! The same question about a request that is already under way: may it still go on, and until when?
//!
//! Law: it is asked with everything as it is now (session, rights, routes), and whatever cannot be
//! answered is a no. Nothing is counted and nothing used up: the request was let in once.

use super::Gate;
use super::authority::Authority;
use super::authorize::{Asked, authorize, organization_of};
use super::head::RequestHead;
use super::permit::Permit;
use super::person::Key;
use super::target::CanonicalTarget;
use super::world::Target;
use crate::base::Timestamp;
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
        };
        authorize(&world, &asked).ok()?;
        Some(caller.principal.session.ends_at)
    }
}
