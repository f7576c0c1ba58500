//! What the one who asks for a change is in an organization, looked up within that change.
//!
//! Law: the organization's row is held first, so what was found is so until COMMIT. Nobody gives or takes a
//! role that exceeds what they hold there: who owns an organization gives every role in it; everybody else
//! what their own permissions cover, and no name that a policy asks for unless they have it. The default
//! roles are everybody's who may bring somebody in.

use std::collections::BTreeSet;

use super::{Inherit, OrgContext, Organization, Refused, context, directory, hold, store};
use crate::account::{self, Standing as Condition};
use crate::app::Change;
use crate::base::Id;
use crate::config::Config;
use crate::policy::allow::{Allow, Condition as Asked};
use crate::policy::definition::Definitions;
use crate::policy::{Approver, Code, Grant, seed};
use crate::rbac;

/// Somebody who changes something in an organization, until the change ends.
#[derive(Debug)]
pub struct Standing {
    pub organization: Organization,
    context: OrgContext,
    definitions: Definitions,
    /// Org roles that a policy of the file asks for by name: they mean more than their permissions.
    named: BTreeSet<Code>,
}

impl Standing {
    /// Holds the organization and looks at what `caller` is there now.
    ///
    /// # Errors
    /// [`Refused::Gone`] where it is not there, or the caller has nothing to do with it.
    pub async fn take(change: &mut Change<'_>, caller: Id, organization: Id) -> Result<Self, Refused> {
        hold(change, organization).await?;
        Self::look(change, caller, organization).await
    }

    /// The same without holding it: of an organization beside the one that is changed, and where the turn
    /// to change trees was taken.
    pub(super) async fn look(change: &mut Change<'_>, caller: Id, organization: Id) -> Result<Self, Refused> {
        let (config, now) = (change.app().config(), change.now());
        let person = account::by_id(change.tx(), caller).await?;
        let is_good = person.is_some_and(|person| person.standing(now) == Condition::Good);
        let own = store::by_id(change.tx(), organization).await?.filter(|own| own.is_active && is_good);
        let Some(own) = own else { return Err(Refused::Gone) };
        let place = directory::read(change.tx(), own.site, &own.slug).await?.ok_or(Refused::Gone)?;
        let memberships = store::memberships(change.tx(), caller).await?;
        let inherit = if config.organizations.inherit_roles { Inherit::FromAbove } else { Inherit::Nothing };
        let context = context(&memberships, &place, inherit).map_err(|_| Refused::Gone)?;
        let definitions = rbac::definitions(change.tx(), &config.definitions).await?;
        Ok(Self { organization: own, context, definitions, named: names_in(&config) })
    }

    #[must_use]
    pub const fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Whether the caller owns it, directly.
    pub fn own(&self) -> Result<(), Refused> {
        if self.context.is_owner() { Ok(()) } else { Err(Refused::LacksRole) }
    }

    /// Whether the caller may do this there.
    pub fn may(&self, permission: &str) -> Result<(), Refused> {
        let code = Code::parse(permission).map_err(|_| Refused::Gone)?;
        if self.context.may(&code, &self.definitions.org_roles) { Ok(()) } else { Err(Refused::Lacks(code)) }
    }

    /// Whether the caller may make somebody this, or make somebody who is this something else.
    pub fn reach(&self, role: &Code) -> Result<(), Refused> {
        if self.context.is_owner() {
            return Ok(());
        }
        // What nothing defines any more brings nothing.
        let Some(wanted) = self.definitions.org_roles.get(role) else { return Ok(()) };
        let holds_it = self.held().any(|held| held == role);
        let means_more = self.named.contains(role) || wanted.permissions.is_empty();
        let is_within = wanted.permissions.iter().all(|grant| self.covers(grant));
        let is_fine =
            role.as_str() != seed::OWNER && (wanted.is_default || (is_within && (holds_it || !means_more)));
        if is_fine { Ok(()) } else { Err(Refused::Exceeds(role.clone())) }
    }

    fn held(&self) -> impl Iterator<Item = &Code> {
        self.context.here.iter().chain(&self.context.above)
    }

    /// Whether everything that a grant brings is the caller's, or every member's.
    fn covers(&self, wanted: &Grant) -> bool {
        let all = &self.definitions.org_roles;
        let own = self.held().filter_map(|role| all.get(role));
        let everybodys = all.values().filter(|role| role.is_default);
        let mut grants = own.chain(everybodys).flat_map(|role| &role.permissions);
        grants.any(|grant| match (grant, wanted) {
            (_, Grant::Exact(code)) => grant.covers(code),
            (Grant::Below(_), Grant::Below(stem)) => grant.covers(stem),
            (Grant::Exact(_), Grant::Below(_)) => false,
        })
    }
}

/// The org roles that policies of the file ask for by name.
fn names_in(config: &Config) -> BTreeSet<Code> {
    let mut named = BTreeSet::new();
    let admin = || Code::parse(seed::ADMIN).ok();
    for route in &config.routes {
        if let Allow::When(condition) = &route.allow {
            condition.visit(&mut |condition| match condition {
                Asked::OrgRole(code) => drop(named.insert(code.clone())),
                Asked::OrgAdmin => named.extend(admin()),
                _ => {}
            });
        }
        let rules = route.agents.iter().filter_map(|agents| agents.approvers.as_ref());
        for approver in rules.flat_map(|rule| rule.rule().0).flat_map(|group| group.any_of) {
            if let Approver::OrgRole(code) = approver {
                named.insert(code);
            }
        }
    }
    named
}
