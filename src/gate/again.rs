//! The same question about a request that is already under way: may it still go on?
//!
//! Law: it is asked with everything as it is now (session, rights, routes), and whatever cannot be
//! answered is a no. Nothing is counted and nothing used up: the request was let in once.

use super::Gate;
use super::authority::Authority;
use super::authorize::{Asked, authorize, organization_of};
use super::head::RequestHead;
use super::permit::Permit;
use super::target::CanonicalTarget;
use super::world::Target;
use ::http::Method;

/// What must be asked again about a request that may last.
#[derive(Debug, Clone)]
pub struct Standing {
    permit: Permit,
    authority: Authority,
    target: CanonicalTarget,
    method: Method,
}

impl Standing {
    /// The permit that was given to this request.
    pub fn new(permit: Permit, head: &RequestHead) -> Self {
        let (authority, target) = (head.authority.clone(), head.target.clone());
        Self { permit, authority, target, method: head.method.clone() }
    }

    /// Whether the request would be let in now.
    pub async fn holds(&self, gate: &Gate) -> bool {
        let Some(key) = self.permit.session() else { return true };
        let world = gate.world();
        let found = world.find(self.authority.host(), self.target.path(), &self.method);
        let Target::Route(route, params) = found else { return false };
        let now = gate.app.now();
        let (epochs, records) = (&gate.app.epochs, gate.records.as_ref());
        let caller = gate.people.find(key, epochs, &world.catalogue, records, now).await;
        let Ok(caller) = caller else { return false };
        let wish = self.permit.organization().map(|organization| organization.context.slug.as_str());
        let Ok(organization) = organization_of(gate, &world, &caller, wish).await else { return false };
        let asked = Asked {
            route,
            params: &params,
            caller: Some(&caller),
            organization: organization.as_ref(),
            application: self.permit.application(),
            now,
        };
        authorize(&world, &asked).is_ok()
    }
}
