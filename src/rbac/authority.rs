//! How far somebody reaches who changes rights.
//!
//! Law: nobody gives, takes or redefines what reaches further than they do, by a permission, a parent, a
//! role, a group or a name that a policy asks for; what a policy asks *not* to be there only those take who
//! reach everywhere: superusers and holders of `super_admin`. It is judged by what the store says after the
//! turn was taken, never by what the caller held when the request came in: until COMMIT nobody else changes
//! rights.

use std::collections::BTreeSet;

use super::{Granted, Refused, assignments, define, definitions};
use crate::account::{self, Account, Standing};
use crate::app::Change;
use crate::base::Id;
use crate::config::Config;
use crate::policy::allow::{Allow, Condition};
use crate::policy::catalogue::Assignments;
use crate::policy::definition::{Definitions, ManagedBy};
use crate::policy::{Approver, Catalogue, Code, Rights, seed};
use crate::store::{DEFAULT_SITE, Error};

/// Somebody who may change rights, and everything that is defined, until the change ends.
#[derive(Debug)]
pub struct Authority {
    catalogue: Catalogue,
    own: Rights,
    /// Roles and groups that a policy of the file asks for by name: these mean more than the permissions
    /// they bring.
    named: BTreeSet<(&'static str, Code)>,
    /// Roles, groups and permissions that shut somebody out of a route.
    shunned: BTreeSet<(&'static str, Code)>,
    is_staff: bool,
    site: Id,
}

impl Authority {
    /// Takes the turn to change rights and looks at what `caller` holds now.
    ///
    /// # Errors
    /// [`Refused::NotAllowed`] where the caller does not hold all of `needed` any more.
    pub async fn take(change: &mut Change<'_>, caller: Id, needed: &[&'static str]) -> Result<Self, Refused> {
        let catalogue = turn(change).await?;
        let account = account::by_id(change.tx(), caller).await?;
        let account = account.filter(|account| account.standing(change.now()) == Standing::Good);
        let (mut held, mut is_staff, mut site) = (Assignments::default(), false, DEFAULT_SITE);
        if let Some(account) = account {
            held = assignments(change.tx(), caller).await?;
            held.is_superuser = account.is_superuser;
            (is_staff, site) = (account.is_staff, account.site);
        }
        let authority = Self::with(change, catalogue, &held, is_staff, site);
        for code in needed {
            let no_code = |_| Error::Broken { cause: format!("{code} is asked for and is no code") };
            authority.holds(&Code::parse(code).map_err(no_code)?)?;
        }
        Ok(authority)
    }

    /// Takes the turn for the operator, who has the store in their hands: like a superuser they reach everywhere,
    /// and like everybody they change only what was made here.
    ///
    /// # Errors
    /// The store's.
    pub async fn operator(change: &mut Change<'_>) -> Result<Self, Error> {
        let catalogue = turn(change).await?;
        let held = Assignments { is_superuser: true, ..Assignments::default() };
        Ok(Self::with(change, catalogue, &held, true, DEFAULT_SITE))
    }

    fn with(change: &Change<'_>, catalogue: Catalogue, held: &Assignments, is_staff: bool, site: Id) -> Self {
        let own = catalogue.rights(held);
        let config = change.app().config();
        let (named, shunned) = (names_in(&config), shunned_in(&config));
        Self { catalogue, own, named, shunned, is_staff, site }
    }

    #[must_use]
    pub const fn definitions(&self) -> &Definitions {
        self.catalogue.definitions()
    }

    #[must_use]
    pub const fn site(&self) -> Id {
        self.site
    }

    /// Whether the caller holds a permission that this needs.
    pub fn holds(&self, needed: &Code) -> Result<(), Refused> {
        if self.own.holds_code(needed) { Ok(()) } else { Err(Refused::NotAllowed(needed.clone())) }
    }

    /// Whether everything that `granted` brings is the caller's own.
    pub fn covers(&self, granted: &Granted) -> Result<(), Refused> {
        if self.reaches_everywhere() {
            return Ok(());
        }
        let brought = self.brought_by(granted);
        let permission = brought.codes().into_iter().find(|code| !self.own.holds_code(code));
        let names = brought.roles().into_iter().map(Granted::Role);
        let names = names.chain(brought.groups().into_iter().map(Granted::Group));
        let mut names: Vec<Granted> = names.filter(|named| !self.may_pass_on(named)).collect();
        // Its own name last: `covers_content` looks past that one alone.
        names.sort_by_key(|named| named == granted);
        match permission.map(Granted::Permission).or_else(|| names.into_iter().next()) {
            Some(missing) => Err(Refused::NotHeld(missing)),
            None => Ok(()),
        }
    }

    /// Whether somebody holds nothing that the caller does not hold: then the caller may change their
    /// account. What they hold.
    ///
    /// # Errors
    /// [`Refused::HoldsMore`] with the first thing that is more.
    pub async fn reaches(&self, change: &mut Change<'_>, other: &Account) -> Result<Assignments, Refused> {
        let mut held = assignments(change.tx(), other.id).await?;
        held.is_superuser = other.is_superuser;
        let more = |what: &dyn ToString| Err(Refused::HoldsMore(what.to_string()));
        if other.is_superuser && !self.own.is_superuser {
            return more(&"superuser");
        }
        if other.is_staff && !self.is_staff && !self.reaches_everywhere() {
            return more(&"staff");
        }
        let roles = held.roles.iter().cloned().map(Granted::Role);
        let groups = held.groups.iter().cloned().map(Granted::Group);
        let permissions = held.permissions.iter().cloned().map(Granted::Permission);
        for granted in roles.chain(groups).chain(permissions) {
            match self.covers(&granted) {
                Err(Refused::NotHeld(missing)) => return more(&missing),
                judged => judged?,
            }
        }
        Ok(held)
    }

    /// Whether these assignments are those of somebody who can do everything.
    pub(super) fn are_administrators(&self, held: &Assignments) -> bool {
        self.counts_as_super_admin(&self.catalogue.rights(held))
    }

    /// The same for what a role or group brings, whoever has its name: what changing it is about.
    pub fn covers_content(&self, of: &Granted) -> Result<(), Refused> {
        match self.covers(of) {
            Err(Refused::NotHeld(missing)) if missing == *of => Ok(()),
            judged => judged,
        }
    }

    /// Whether this may be taken from somebody, or be made to bring something else: not by who holds it
    /// where a policy asks for it, or for what it brings, not to be there.
    pub fn may_lose(&self, granted: &Granted) -> Result<(), Refused> {
        if self.reaches_everywhere() {
            return Ok(());
        }
        let brought = self.brought_by(granted);
        let permissions = brought.codes().into_iter().map(Granted::Permission);
        let roles = brought.roles().into_iter().map(Granted::Role);
        let groups = brought.groups().into_iter().map(Granted::Group);
        let mut all = permissions.chain(roles).chain(groups).chain([granted.clone()]);
        match all.find(|one| self.shunned.contains(&(one.kind(), one.code().clone()))) {
            Some(shunned) => Err(Refused::HeldAgainst(shunned)),
            None => Ok(()),
        }
    }

    /// Whether a name may come to be that brings nothing: it means whatever upstreams take it for, so only
    /// who reaches everywhere makes it.
    pub(super) fn may_name(&self, name: &Granted) -> Result<(), Refused> {
        if self.reaches_everywhere() { Ok(()) } else { Err(Refused::NotHeld(name.clone())) }
    }

    /// Whether it is nothing but a name.
    pub(super) fn brings_nothing(&self, granted: &Granted) -> bool {
        self.brought_by(granted).codes().is_empty()
    }

    fn reaches_everywhere(&self) -> bool {
        self.own.is_superuser || self.counts_as_super_admin(&self.own)
    }

    /// Whether whoever has `granted` can do everything, whatever is defined later.
    pub(super) fn makes_administrators(&self, granted: &Granted) -> bool {
        self.counts_as_super_admin(&self.brought_by(granted))
    }

    /// What somebody would have who was granted this alone.
    fn brought_by(&self, granted: &Granted) -> Rights {
        self.catalogue.rights(&alone(granted))
    }

    fn counts_as_super_admin(&self, rights: &Rights) -> bool {
        is_super_admin(&self.catalogue, rights)
    }

    /// Whether the name may be given on by somebody who holds all the permissions that it brings. A name
    /// that brings none, or that a policy asks for, means something else: only who has it gives it on.
    fn may_pass_on(&self, named: &Granted) -> bool {
        let (catalogue, own) = (&self.catalogue, &self.own);
        let has = match named {
            Granted::Role(code) => catalogue.role(code).is_some_and(|role| own.has_role(role)),
            Granted::Group(code) => catalogue.group(code).is_some_and(|group| own.is_in_group(group)),
            Granted::Permission(code) => own.holds_code(code),
        };
        let means_more = named.code().as_str() == seed::SUPER_ADMIN
            || self.named.contains(&(named.kind(), named.code().clone()))
            || self.brings_nothing(named);
        has || !means_more
    }

    /// Whether a definition was made here, and so may be changed here.
    pub(super) fn own_definition(&self, what: &Granted) -> Result<(), Refused> {
        let all = self.definitions();
        let managed_by = match what {
            Granted::Permission(code) => all.permissions.get(code).map(|own| own.managed_by),
            Granted::Role(code) => all.roles.get(code).map(|own| own.managed_by),
            Granted::Group(code) => all.groups.get(code).map(|own| own.managed_by),
        };
        match managed_by {
            None => Err(Refused::Undefined(what.clone())),
            Some(ManagedBy::Store) => Ok(()),
            Some(ManagedBy::Config) => Err(Refused::ManagedByConfig(what.code().clone())),
            Some(ManagedBy::Seed) => Err(Refused::BuiltIn(what.code().clone())),
        }
    }
}

/// Takes the turn to change rights; what is defined, until the change ends.
async fn turn(change: &mut Change<'_>) -> Result<Catalogue, Error> {
    let now = change.now();
    define::store::take_turn(change.tx(), now).await?;
    let config = change.app().config();
    Ok(Catalogue::build(definitions(change.tx(), &config.definitions).await?, 0))
}

/// Whether these rights are those of the role that holds everything.
pub(super) fn is_super_admin(catalogue: &Catalogue, rights: &Rights) -> bool {
    let role = catalogue.definitions().roles.get_key_value(seed::SUPER_ADMIN);
    role.and_then(|(code, _)| catalogue.role(code)).is_some_and(|role| rights.has_role(role))
}

/// The assignments of somebody who was granted nothing else.
pub(super) fn alone(granted: &Granted) -> Assignments {
    let mut all = Assignments::default();
    match granted {
        Granted::Role(code) => all.roles.push(code.clone()),
        Granted::Permission(code) => all.permissions.push(code.clone()),
        Granted::Group(code) => all.groups.push(code.clone()),
    }
    all
}

/// The roles and groups that policies of the file ask for by name.
fn names_in(config: &Config) -> BTreeSet<(&'static str, Code)> {
    let mut named = BTreeSet::new();
    for route in &config.routes {
        if let Allow::When(condition) = &route.allow {
            condition.visit(&mut |condition| match condition {
                Condition::Role(code) => drop(named.insert(("role", code.clone()))),
                Condition::Group(code) => drop(named.insert(("group", code.clone()))),
                _ => {}
            });
        }
        let rules = route.agents.iter().filter_map(|agents| agents.approvers.as_ref());
        for approver in rules.flat_map(|rule| rule.rule().0).flat_map(|group| group.any_of) {
            if let Approver::Role(code) = approver {
                named.insert(("role", code));
            }
        }
    }
    named
}

/// What policies of the file ask not to be there: what stands below an odd number of `not`.
fn shunned_in(config: &Config) -> BTreeSet<(&'static str, Code)> {
    fn collect(condition: &Condition, is_turned: bool, all: &mut BTreeSet<(&'static str, Code)>) {
        match condition {
            Condition::Role(code) if is_turned => drop(all.insert(("role", code.clone()))),
            Condition::Group(code) if is_turned => drop(all.insert(("group", code.clone()))),
            Condition::Permission(code) if is_turned => drop(all.insert(("permission", code.clone()))),
            _ => {}
        }
        let is_turned = is_turned != matches!(condition, Condition::Not(_));
        for child in condition.children() {
            collect(child, is_turned, all);
        }
    }
    let mut all = BTreeSet::new();
    for route in &config.routes {
        if let Allow::When(condition) = &route.allow {
            collect(condition, false, &mut all);
        }
    }
    all
}
