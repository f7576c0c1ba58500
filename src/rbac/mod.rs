//! Rights: what is defined, and who was granted what.
//!
//! Law: a grant is a code. What a code means is looked up in the catalogue as it is now, so a role
//! that is no longer defined grants nothing, and a decision never reads rights from anywhere else.
//! Every change is one transaction with its audit row; doing it twice changes nothing twice.

use std::fmt;

use futures::future::{BoxFuture, FutureExt};

use crate::app::{App, Change, Turn};
use crate::audit::{Redefined, RightsEvent, Subject};
use crate::base::Id;
use crate::policy::catalogue::Assignments;
use crate::policy::definition::{Definitions, ManagedBy};
use crate::policy::{Code, seed};
use crate::store::{Error, GivenUp, Source};

mod administrators;
mod authority;
pub mod define;
mod http;
mod people;
mod store;
#[cfg(test)]
mod tests;

pub use administrators::{Leaving, keep_one};
pub use authority::Authority;
pub use define::{give, org_role, take};
pub use http::rows;
pub use people::{
    Holders, brought_by, defined_twice, grants_of, holders, holders_after, holders_on, orphans,
};

/// How many accounts one statement takes something from.
const PAGE: usize = 200;

/// Something that can be granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Granted {
    Role(Code),
    Permission(Code),
    Group(Code),
}

impl Granted {
    /// The word for the kind, in the store and for people.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Role(_) => "role",
            Self::Permission(_) => "permission",
            Self::Group(_) => "group",
        }
    }

    #[must_use]
    pub const fn code(&self) -> &Code {
        match self {
            Self::Role(code) | Self::Permission(code) | Self::Group(code) => code,
        }
    }

    fn parse(kind: &str, code: Code) -> Option<Self> {
        match kind {
            "role" => Some(Self::Role(code)),
            "permission" => Some(Self::Permission(code)),
            "group" => Some(Self::Group(code)),
            _ => None,
        }
    }

    /// Whether anything defines it.
    #[must_use]
    pub fn is_defined_in(&self, definitions: &Definitions) -> bool {
        match self {
            Self::Role(code) => definitions.roles.contains_key(code),
            Self::Permission(code) => definitions.permissions.contains_key(code),
            Self::Group(code) => definitions.groups.contains_key(code),
        }
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.code())
    }
}

/// Whether there was anything to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Changed,
    /// It was so already; nothing is recorded.
    Unchanged,
}

impl Outcome {
    /// Of two steps of one change: whether either changed anything.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Changed => Self::Changed,
            Self::Unchanged => other,
        }
    }
}

/// Why rights were not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing defines it: granting it would do nothing, now or until someone defines it.
    Undefined(Granted),
    /// A group cannot be in a group.
    NotForGroups,
    /// The configuration file defines it; only the file can change it.
    ManagedByConfig(Code),
    /// It came with the gateway.
    BuiltIn(Code),
    /// Something has this code already.
    Taken(Granted),
    /// It would be its own ancestor.
    Circle(Code),
    /// It reaches further than who wants to give, take or change it.
    NotHeld(Granted),
    /// A policy asks for it not to be there: taking it opens what it closes.
    HeldAgainst(Granted),
    /// There are so many of the kind that there are no more.
    Full(&'static str),
    /// Who wants to change rights may not, or not any more.
    NotAllowed(Code),
    /// Nobody could manage rights any more.
    LastAdministrator,
    /// Whose account it is holds this, and who wants to change it does not.
    HoldsMore(String),
    Store(Error),
}

impl GivenUp for Refused {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_given_up())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined(granted) => write!(f, "there is no {granted}"),
            Self::NotForGroups => f.write_str("a group has roles and permissions, not groups"),
            Self::ManagedByConfig(code) => {
                write!(f, "{code} is defined in the configuration file: change it there")
            }
            Self::BuiltIn(code) => write!(f, "{code} came with the gateway and cannot be changed"),
            Self::Taken(granted) => write!(f, "there is a {granted} already"),
            Self::Circle(code) => write!(f, "{code} would be its own ancestor"),
            Self::NotHeld(granted) => write!(f, "{granted} is more than you hold yourself"),
            Self::HeldAgainst(granted) => write!(f, "a route lets nobody pass who has the {granted}"),
            Self::Full(kind) => {
                write!(f, "there are {} definitions of the kind {kind} already", define::MOST)
            }
            Self::NotAllowed(code) => write!(f, "the permission {code} is required"),
            Self::HoldsMore(what) => write!(f, "whose account it is holds more than you: {what}"),
            Self::LastAdministrator => f.write_str("nobody else could manage rights"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Every definition in force: what came with the gateway, under what the store has, under what
/// the configuration file says.
pub async fn definitions(src: impl Source, overlay: &Definitions) -> Result<Definitions, Error> {
    Ok(seed::definitions().under(&store::definitions(src).await?).under(overlay))
}

/// Puts the definitions of a configuration file in force, over what the store has: once at the
/// start.
pub async fn configure(app: &App, overlay: Definitions) -> Result<(), Error> {
    prepare(app, overlay).await?.put_in_force();
    Ok(())
}

/// Definitions that are read and not yet in force. Nobody else replaces them as long as this lives.
pub struct Prepared<'a> {
    turn: Turn<'a>,
    all: Definitions,
    overlay: Definitions,
}

/// Reads what the definitions will be under another configuration file: whatever can fail has not
/// failed then, and nothing has changed yet.
pub async fn prepare(app: &App, overlay: Definitions) -> Result<Prepared<'_>, Error> {
    let turn = app.in_force.turn().await;
    let all = definitions(&app.db, &overlay).await?;
    for Holders { granted, accounts } in defined_twice(&app.db, &overlay).await? {
        tracing::warn!(
            %granted, accounts,
            "the configuration file defines what was made over HTTP or by command before, and whoever has it keeps it"
        );
    }
    Ok(Prepared { turn, all, overlay })
}

impl Prepared<'_> {
    pub fn put_in_force(self) {
        self.turn.put_in_force(self.all, Some(self.overlay));
    }
}

/// Reads the definitions again where a change touched them (an [`Applier`](crate::app::Applier)).
pub fn apply<'a>(app: &'a App, subjects: &'a [Subject]) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        if subjects.contains(&Subject::Catalogue) {
            let turn = app.in_force.turn().await;
            let all = definitions(&app.db, turn.overlay()).await?;
            turn.put_in_force(all, None);
        }
        Ok(())
    }
    .boxed()
}

/// What an account was granted. Whether it is a superuser is written on the account itself, and is
/// the caller's to add.
pub async fn assignments(src: impl Source, account: Id) -> Result<Assignments, Error> {
    let mut assignments = Assignments::default();
    for granted in store::grants(src, account).await? {
        match granted {
            Granted::Role(code) => assignments.roles.push(code),
            Granted::Permission(code) => assignments.permissions.push(code),
            Granted::Group(code) => assignments.groups.push(code),
        }
    }
    Ok(assignments)
}

/// Grants something that `definitions` have to an account.
pub async fn grant(
    change: &mut Change<'_>,
    definitions: &Definitions,
    account: Id,
    granted: &Granted,
) -> Result<Outcome, Refused> {
    if !granted.is_defined_in(definitions) {
        return Err(Refused::Undefined(granted.clone()));
    }
    if let Granted::Group(code) = granted {
        hold_group(change, definitions, code).await?;
    }
    let (id, now) = (change.new_id(), change.now());
    if !store::grant(change.tx(), account, granted, id, now).await? {
        return Ok(Outcome::Unchanged);
    }
    let event = match granted.clone() {
        Granted::Role(role) => RightsEvent::RoleAssigned { account, role },
        Granted::Permission(permission) => RightsEvent::PermissionGranted { account, permission },
        Granted::Group(group) => RightsEvent::GroupJoined { account, group },
    };
    change.record(event).await?;
    Ok(Outcome::Changed)
}

/// Takes something from an account, defined or not.
pub async fn revoke(change: &mut Change<'_>, account: Id, granted: &Granted) -> Result<Outcome, Error> {
    if !store::revoke(change.tx(), account, granted).await? {
        return Ok(Outcome::Unchanged);
    }
    let event = match granted.clone() {
        Granted::Role(role) => RightsEvent::RoleRemoved { account, role },
        Granted::Permission(permission) => RightsEvent::PermissionRevoked { account, permission },
        Granted::Group(group) => RightsEvent::GroupLeft { account, group },
    };
    change.record(event).await?;
    Ok(Outcome::Changed)
}

/// Takes something from everyone who has it, page by page: one statement and one event for many.
async fn revoke_from_all(change: &mut Change<'_>, granted: &Granted) -> Result<(), Error> {
    for page in store::accounts_with(change.tx(), granted).await?.chunks(PAGE) {
        store::revoke_from(change.tx(), page, granted).await?;
        let accounts = page.to_vec();
        let event = match granted.clone() {
            Granted::Role(role) => RightsEvent::RoleRemovedFrom { accounts, role },
            Granted::Permission(permission) => RightsEvent::PermissionRevokedFrom { accounts, permission },
            Granted::Group(group) => RightsEvent::GroupLeftBy { accounts, group },
        };
        change.record(event).await?;
    }
    Ok(())
}

/// Takes everything from an account that is gone.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    for granted in store::grants(change.tx(), account).await? {
        revoke(change, account, &granted).await?;
    }
    Ok(())
}

/// Makes an empty group.
pub async fn create_group(
    change: &mut Change<'_>,
    definitions: &Definitions,
    code: &Code,
    name: &str,
) -> Result<Outcome, Refused> {
    let group = Granted::Group(code.clone());
    refuse_if_configured(definitions, &group)?;
    let (id, now) = (change.new_id(), change.now());
    let number = change.number("group").await?;
    if !store::add_group(change.tx(), id, number, code, name, now).await? {
        return Ok(Outcome::Unchanged);
    }
    redefined(change, &group, Redefined::Created).await
}

/// Removes a group and takes it from its members.
pub async fn remove_group(
    change: &mut Change<'_>,
    definitions: &Definitions,
    code: &Code,
) -> Result<Outcome, Refused> {
    let group = Granted::Group(code.clone());
    refuse_if_configured(definitions, &group)?;
    if !store::remove_group(change.tx(), code).await? {
        return Ok(Outcome::Unchanged);
    }
    revoke_from_all(change, &group).await?;
    redefined(change, &group, Redefined::Deleted).await
}

/// Gives a role or a permission to everyone in a group.
pub async fn grant_to_group(
    change: &mut Change<'_>,
    definitions: &Definitions,
    code: &Code,
    granted: &Granted,
) -> Result<Outcome, Refused> {
    let group = group_for(definitions, code, granted)?;
    if !granted.is_defined_in(definitions) {
        return Err(Refused::Undefined(granted.clone()));
    }
    hold_group(change, definitions, code).await?;
    let id = change.new_id();
    if !store::grant_to_group(change.tx(), code, granted, id).await? {
        return Ok(Outcome::Unchanged);
    }
    redefined(change, &group, gained(granted)).await
}

/// Takes a role or a permission from everyone in a group.
pub async fn revoke_from_group(
    change: &mut Change<'_>,
    definitions: &Definitions,
    code: &Code,
    granted: &Granted,
) -> Result<Outcome, Refused> {
    let group = group_for(definitions, code, granted)?;
    if !store::revoke_from_group(change.tx(), code, granted).await? {
        return Ok(Outcome::Unchanged);
    }
    redefined(change, &group, lost(granted)).await
}

/// The accounts in a group, in the order of their ids.
pub async fn members(src: impl Source, group: &Code) -> Result<Vec<Id>, Error> {
    store::accounts_with(src, &Granted::Group(group.clone())).await
}

/// The accounts that hold a role: by itself, by a role that inherits it, or by a group.
pub async fn holders_of(app: &App, mut src: impl Source, role: &Code) -> Result<Vec<Id>, Error> {
    let catalogue = app.catalogue();
    let definitions = catalogue.definitions();
    let gives = |assignments: &Assignments| catalogue.rights(assignments).roles().contains(role);
    let mut grants = Vec::new();
    for code in definitions.roles.keys() {
        if gives(&Assignments { roles: vec![code.clone()], ..Assignments::default() }) {
            grants.push(Granted::Role(code.clone()));
        }
    }
    for code in definitions.groups.keys() {
        if gives(&Assignments { groups: vec![code.clone()], ..Assignments::default() }) {
            grants.push(Granted::Group(code.clone()));
        }
    }
    let mut holders = Vec::new();
    for granted in &grants {
        holders.extend(store::accounts_with(&mut src, granted).await?);
    }
    Ok(holders)
}

fn group_for(definitions: &Definitions, code: &Code, granted: &Granted) -> Result<Granted, Refused> {
    let group = Granted::Group(code.clone());
    if matches!(granted, Granted::Group(_)) {
        return Err(Refused::NotForGroups);
    }
    refuse_if_configured(definitions, &group)?;
    if group.is_defined_in(definitions) { Ok(group) } else { Err(Refused::Undefined(group)) }
}

fn refuse_if_configured(definitions: &Definitions, group: &Granted) -> Result<(), Refused> {
    match definitions.groups.get(group.code()) {
        Some(known) if known.managed_by == ManagedBy::Config => {
            Err(Refused::ManagedByConfig(group.code().clone()))
        }
        _ => Ok(()),
    }
}

/// Keeps a group of the store from being removed until the change ends, so that nobody is in a group
/// that is gone and would be in the next one of that code.
async fn hold_group(change: &mut Change<'_>, definitions: &Definitions, code: &Code) -> Result<(), Refused> {
    let is_in_store = definitions.groups.get(code).is_some_and(|group| group.managed_by == ManagedBy::Store);
    let now = change.now();
    if is_in_store && !store::hold_group(change.tx(), code, now).await? {
        return Err(Refused::Undefined(Granted::Group(code.clone())));
    }
    Ok(())
}

/// Records that a definition changed.
async fn redefined(change: &mut Change<'_>, what: &Granted, did: Redefined) -> Result<Outcome, Refused> {
    let event = RightsEvent::CatalogueChanged { kind: what.kind(), code: what.code().clone(), did };
    change.record(event).await?;
    Ok(Outcome::Changed)
}

fn gained(granted: &Granted) -> Redefined {
    Redefined::Gained { kind: granted.kind(), code: granted.code().clone() }
}

fn lost(granted: &Granted) -> Redefined {
    Redefined::Lost { kind: granted.kind(), code: granted.code().clone() }
}
