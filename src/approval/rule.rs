//! Who decides, as kept with an approval, and what a person is to it now.
//!
//! Law: nobody outside the agent's organization decides, and nobody counts for what they no longer
//! are: roles and memberships are read as they are at the moment of asking.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Approval;
use crate::account::{self, Standing};
use crate::app::App;
use crate::base::Id;
use crate::organization::{self, Inherit, OrgContext};
use crate::policy::approver::{Approver, Capacity};
use crate::policy::{Allow, Approvers, Condition, Rights};
use crate::principal::{Membership, Principal};
use crate::rbac;
use crate::store::{Error, Source};

/// Who decides, and in what kind of session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    pub approvers: Approvers,
    /// The session had a second factor.
    pub mfa: bool,
    /// The login is not older than this.
    pub max_age: Option<Duration>,
}

impl Rules {
    /// What a route's policy asks of a session it also asks of those who approve.
    #[must_use]
    pub fn new(approvers: Approvers, allow: &Allow) -> Self {
        let mut rules = Self { approvers, mfa: false, max_age: None };
        if let Allow::When(condition) = allow {
            rules.take(condition);
        }
        rules
    }

    /// Of alternatives nothing is asked: another one may be why the human passes.
    fn take(&mut self, condition: &Condition) {
        match condition {
            Condition::All(list) => list.iter().for_each(|inner| self.take(inner)),
            Condition::Mfa => self.mfa = true,
            Condition::MaxAge(age) => self.max_age = Some(self.max_age.map_or(*age, |own| own.min(*age))),
            _ => {}
        }
    }
}

/// Whose a question is, asked or not yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matter {
    pub site: Id,
    /// The human who delegated.
    pub account: Id,
    pub organization: Option<Id>,
}

impl Approval {
    pub(super) const fn matter(&self) -> Matter {
        Matter { site: self.site, account: self.account, organization: self.organization }
    }
}

/// What this person is to a question. Nothing at all outside its site and organization.
async fn capacity(
    app: &App,
    mut src: impl Source,
    matter: Matter,
    account: Id,
    rights: &Rights,
    memberships: &[Membership],
) -> Result<Capacity, Error> {
    let there = match matter.organization {
        None => None,
        Some(id) => match context(app, &mut src, id, memberships).await? {
            Some(there) => Some(there),
            None => return Ok(Capacity::default()),
        },
    };
    let is_member = there.as_ref().is_none_or(OrgContext::is_member);
    let org_roles = there.map(|there| there.here.into_iter().chain(there.above).collect());
    Ok(Capacity {
        is_delegator: account == matter.account,
        roles: if is_member { rights.roles() } else { Vec::new() },
        org_roles: org_roles.unwrap_or_default(),
    })
}

/// What somebody with these memberships is in an organization, while it is active.
pub(super) async fn context(
    app: &App,
    mut src: impl Source,
    id: Id,
    memberships: &[Membership],
) -> Result<Option<OrgContext>, Error> {
    let config = app.config();
    let Some(own) = organization::by_id(&mut src, id).await? else { return Ok(None) };
    let Some(place) = organization::place(&mut src, own.site, &own.slug).await? else { return Ok(None) };
    let inherit = if config.organizations.inherit_roles { Inherit::FromAbove } else { Inherit::Nothing };
    Ok(organization::context(memberships, &place, inherit).ok())
}

pub(super) async fn capacity_of(
    app: &App,
    approval: &Approval,
    person: &Principal,
) -> Result<Capacity, Error> {
    if person.account.site != approval.site {
        return Ok(Capacity::default());
    }
    let (account, memberships) = (person.account.id, &person.memberships);
    capacity(app, &app.db, approval.matter(), account, &person.rights, memberships).await
}

/// The same of somebody who is not here, read now.
pub(super) async fn capacity_of_voter(
    app: &App,
    mut src: impl Source,
    matter: Matter,
    voter: Id,
) -> Result<Capacity, Error> {
    let account = account::by_id(&mut src, voter).await?;
    let may_act =
        account.is_some_and(|own| own.standing(app.now()) == Standing::Good && own.site == matter.site);
    if !may_act {
        return Ok(Capacity::default());
    }
    let (rights, memberships) = standing(app, &mut src, voter).await?;
    capacity(app, src, matter, voter, &rights, &memberships).await
}

/// What an account may do and where it belongs, read now.
pub(super) async fn standing(
    app: &App,
    mut src: impl Source,
    id: Id,
) -> Result<(Rights, Vec<Membership>), Error> {
    let mut assignments = rbac::assignments(&mut src, id).await?;
    assignments.is_superuser =
        account::by_id(&mut src, id).await?.is_some_and(|account| account.is_superuser);
    let memberships = organization::memberships(&mut src, id).await?;
    Ok((app.catalogue().rights(&assignments), memberships))
}

/// How many are asked whether they decide: more would hold up the request that asks.
const ASKED_MAX: usize = 50;

/// Those who would decide about it, to be told: the delegating human, members of its organization, and
/// where it has none, holders of the roles that decide. Not those who decide from an organization
/// above: they see it in their list. Read before the question is written, so that nobody waits for it;
/// who is told and decides no more is a stranger when it comes to that.
pub(super) async fn deciders(app: &App, matter: Matter, approvers: &Approvers) -> Result<Vec<Id>, Error> {
    let mut known = vec![matter.account];
    if !approvers.is_delegators_alone() {
        match matter.organization {
            Some(id) => {
                let members = organization::members(&app.db, id).await?;
                known.extend(members.into_iter().map(|member| member.account));
            }
            None => {
                for approver in approvers.0.iter().flat_map(|group| &group.any_of) {
                    if let Approver::Role(code) = approver {
                        known.extend(rbac::holders_of(app, &app.db, code).await?);
                    }
                }
            }
        }
    }
    let mut asked = HashSet::new();
    known.retain(|id| asked.insert(*id));
    let mut deciders = Vec::new();
    for id in known.into_iter().take(ASKED_MAX) {
        if approvers.admit(&capacity_of_voter(app, &app.db, matter, id).await?) {
            deciders.push(id);
        }
    }
    Ok(deciders)
}

/// Whether this person is one of those who decide about it, open or not.
pub async fn may_decide(app: &App, approval: &Approval, person: &Principal) -> Result<bool, Error> {
    Ok(approval.rules.approvers.admit(&capacity_of(app, approval, person).await?))
}
