//! Permissions, roles and groups that are made here, and what accounts get of them from somebody who is
//! not the operator.
//!
//! Law: every operation is given the [`Authority`] that it is done by, and asks it before it writes. What
//! is removed is taken from everyone and everything that had it, so that whoever uses the code again
//! begins with nobody.

pub mod org_role;
pub(super) mod store;

use std::collections::BTreeMap;

use super::administrators;
use super::authority::Authority;
use super::{Granted, Outcome, Refused, gained, lost, redefined, revoke, revoke_from_all};
use crate::app::Change;
use crate::audit::Redefined;
use crate::base::Id;
use crate::policy::Code;
use crate::policy::definition::ManagedBy;

pub use store::{Edit, Kind, Made, Place};

/// How many definitions of a kind the store has at most: every gateway holds them all, with what each
/// brings, and more than once while they change.
pub const MOST: usize = 5_000;
/// How long the name and the description of something that is made here are at most, in characters.
pub const NAME_MAX: usize = 100;
pub const DESCRIPTION_MAX: usize = 2000;

/// Reads a code for something new. Digits alone would be taken for a number.
pub fn new_code(text: &str) -> Result<Code, String> {
    match Code::parse(text) {
        Ok(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("A code is more than a number.".to_owned())
        }
        Ok(code) => Ok(code),
        Err(refused) => Err(refused.to_string()),
    }
}

/// What is to be defined.
#[derive(Debug, Clone)]
pub struct NewDefinition {
    pub code: Code,
    pub name: String,
    pub description: String,
}

/// Defines a permission, below another one if there is a parent. Who holds the parent holds it at once.
pub async fn create_permission(
    change: &mut Change<'_>,
    by: &Authority,
    new: &NewDefinition,
    parent: Option<&Code>,
) -> Result<(), Refused> {
    let what = Granted::Permission(new.code.clone());
    refuse_taken(by, &what)?;
    refuse_full(by, &what)?;
    if let Some(parent) = parent {
        let parent = Granted::Permission(parent.clone());
        refuse_undefined(by, &parent)?;
        by.covers(&parent)?;
    }
    begin_with_nobody(change, &what).await?;
    let row = store::NewRow {
        id: change.new_id(),
        number: change.number("permission").await?,
        code: &new.code,
        name: &new.name,
        description: &new.description,
        now: change.now(),
    };
    store::add_permission(change.tx(), &row, parent).await?;
    redefined(change, &what, Redefined::Created).await.map(drop)
}

/// Changes a permission. Below another parent it is held by whoever holds that one, so it must be the
/// caller's to give.
pub async fn edit_permission(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    edit: Edit,
) -> Result<Outcome, Refused> {
    let what = Granted::Permission(code.clone());
    by.own_definition(&what)?;
    by.covers(&what)?;
    by.may_lose(&what)?;
    let all = &by.definitions().permissions;
    let Some(own) = all.get(code) else { return Err(Refused::Undefined(what)) };
    let place = edit.place.clone().filter(|place| place.parent() != own.parent.as_ref());
    if let Some(Place::Below(parent)) = &place {
        refuse_undefined(by, &Granted::Permission(parent.clone()))?;
        let mut above = Some(parent);
        // As many steps as there are permissions: a store that holds a circle already ends nobody's request.
        for _ in 0..=all.len() {
            match above {
                Some(at) if at == code => return Err(Refused::Circle(code.clone())),
                Some(at) => above = all.get(at).and_then(|own| own.parent.as_ref()),
                None => break,
            }
        }
    }
    let edit = Edit { place, is_default: None, ..edit.but_for(&own.name, &own.description) };
    write(change, &what, &edit).await
}

/// Removes a permission and those of the store below it, everywhere.
pub async fn remove_permission(change: &mut Change<'_>, by: &Authority, code: &Code) -> Result<(), Refused> {
    let what = Granted::Permission(code.clone());
    by.own_definition(&what)?;
    by.covers(&what)?;
    by.may_lose(&what)?;
    let mut below: BTreeMap<&Code, Vec<&Code>> = BTreeMap::new();
    for (code, own) in &by.definitions().permissions {
        if let Some(parent) = own.parent.as_ref().filter(|_| own.managed_by == ManagedBy::Store) {
            below.entry(parent).or_default().push(code);
        }
    }
    // Taken out of the map as it goes down: a circle in the store ends where it closes.
    let mut todo = vec![code];
    while let Some(code) = todo.pop() {
        todo.extend(below.remove(code).unwrap_or_default().into_iter().filter(|below| *below != what.code()));
        remove(change, &Granted::Permission(code.clone())).await?;
    }
    Ok(())
}

/// Defines a role that brings these permissions.
pub async fn create_role(
    change: &mut Change<'_>,
    by: &Authority,
    new: &NewDefinition,
    is_default: bool,
    permissions: &[Code],
) -> Result<(), Refused> {
    let what = Granted::Role(new.code.clone());
    refuse_taken(by, &what)?;
    refuse_full(by, &what)?;
    if permissions.is_empty() {
        by.may_name(&what)?;
    }
    begin_with_nobody(change, &what).await?;
    let row = store::NewRow {
        id: change.new_id(),
        number: change.number("role").await?,
        code: &new.code,
        name: &new.name,
        description: &new.description,
        now: change.now(),
    };
    store::add_role(change.tx(), &row, is_default).await?;
    redefined(change, &what, Redefined::Created).await?;
    for permission in permissions {
        let granted = Granted::Permission(permission.clone());
        refuse_undefined(by, &granted)?;
        by.covers(&granted)?;
        store::add_to_role(change.tx(), &new.code, &granted).await?;
        redefined(change, &what, gained(&granted)).await?;
    }
    Ok(())
}

/// Changes a role. Where it becomes one that new accounts get, everything that it brings is given to them.
pub async fn edit_role(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    edit: Edit,
) -> Result<Outcome, Refused> {
    let what = own_role(by, code)?;
    if edit.is_default == Some(true) {
        by.covers(&what)?;
    }
    let Some(own) = by.definitions().roles.get(code) else { return Err(Refused::Undefined(what)) };
    let is_default = edit.is_default.filter(|is_default| *is_default != own.is_default);
    let edit = Edit { place: None, is_default, ..edit.but_for(&own.name, &own.description) };
    write(change, &what, &edit).await
}

/// Gives a permission to a role of the store, or takes it away.
pub async fn set_role_permission(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    permission: &Code,
    has: bool,
) -> Result<Outcome, Refused> {
    let what = own_role(by, code)?;
    let granted = Granted::Permission(permission.clone());
    by.covers(&granted)?;
    if has {
        judge_name(change, by, &what).await?;
    } else {
        by.may_lose(&granted)?;
    }
    let had = by.definitions().roles.get(code).is_some_and(|own| own.permissions.contains(permission));
    if had == has {
        return Ok(Outcome::Unchanged);
    }
    if has {
        refuse_undefined(by, &granted)?;
        store::add_to_role(change.tx(), code, &granted).await?;
        redefined(change, &what, gained(&granted)).await
    } else {
        store::take_from_role(change.tx(), code, &granted).await?;
        redefined(change, &what, lost(&granted)).await
    }
}

/// Removes a role, from everyone who has it too.
pub async fn remove_role(change: &mut Change<'_>, by: &Authority, code: &Code) -> Result<(), Refused> {
    let what = own_role(by, code)?;
    judge_name(change, by, &what).await?;
    remove(change, &what).await?;
    keep_an_administrator(change, by, &what).await
}

/// Makes an empty group.
pub async fn make_group(change: &mut Change<'_>, by: &Authority, new: &NewDefinition) -> Result<(), Refused> {
    let what = Granted::Group(new.code.clone());
    refuse_taken(by, &what)?;
    refuse_full(by, &what)?;
    begin_with_nobody(change, &what).await?;
    // The command line takes no turn: it may have been quicker.
    if super::create_group(change, by.definitions(), &new.code, &new.name).await? == Outcome::Unchanged {
        return Err(Refused::Taken(what));
    }
    let described = Edit { description: Some(new.description.clone()), ..Edit::default() };
    let now = change.now();
    store::edit(change.tx(), &what, &described, now).await?;
    Ok(())
}

/// Changes how people read a group.
pub async fn describe_group(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    edit: Edit,
) -> Result<Outcome, Refused> {
    let what = own_group(by, code)?;
    let Some(own) = by.definitions().groups.get(code) else { return Err(Refused::Undefined(what)) };
    let edit = Edit { place: None, is_default: None, ..edit.but_for(&own.name, &own.description) };
    write(change, &what, &edit).await
}

/// Removes a group, and takes it from its members.
pub(super) async fn drop_group(change: &mut Change<'_>, by: &Authority, code: &Code) -> Result<(), Refused> {
    let what = own_group(by, code)?;
    judge_name(change, by, &what).await?;
    super::remove_group(change, by.definitions(), code).await?;
    keep_an_administrator(change, by, &what).await
}

/// Gives a role or permission to everyone in a group, or takes it from them.
pub(super) async fn set_group_grant(
    change: &mut Change<'_>,
    by: &Authority,
    code: &Code,
    granted: &Granted,
    has: bool,
) -> Result<Outcome, Refused> {
    let what = own_group(by, code)?;
    by.covers(granted)?;
    if has {
        judge_name(change, by, &what).await?;
        return super::grant_to_group(change, by.definitions(), code, granted).await;
    }
    by.may_lose(granted)?;
    let outcome = super::revoke_from_group(change, by.definitions(), code, granted).await?;
    keep_an_administrator(change, by, granted).await?;
    Ok(outcome)
}

/// Gives an account what is the caller's to give.
pub async fn give(
    change: &mut Change<'_>,
    by: &Authority,
    account: Id,
    granted: &Granted,
) -> Result<Outcome, Refused> {
    refuse_undefined(by, granted)?;
    by.covers(granted)?;
    super::grant(change, by.definitions(), account, granted).await
}

/// Takes from an account what would be the caller's to give, and never from the last administrator.
pub async fn take(
    change: &mut Change<'_>,
    by: &Authority,
    account: Id,
    granted: &Granted,
) -> Result<Outcome, Refused> {
    by.covers(granted)?;
    by.may_lose(granted)?;
    let outcome = revoke(change, account, granted).await?;
    keep_an_administrator(change, by, granted).await?;
    Ok(outcome)
}

fn own_role(by: &Authority, code: &Code) -> Result<Granted, Refused> {
    own(by, Granted::Role(code.clone()))
}

fn own_group(by: &Authority, code: &Code) -> Result<Granted, Refused> {
    own(by, Granted::Group(code.clone()))
}

fn own(by: &Authority, what: Granted) -> Result<Granted, Refused> {
    by.own_definition(&what)?;
    by.covers_content(&what)?;
    by.may_lose(&what)?;
    Ok(what)
}

/// Filling or removing what is nothing but a name is judged as giving that name: afterwards it would be
/// passed on like any other. Names of groups reach no upstream, so nobody's may be filled.
async fn judge_name(change: &mut Change<'_>, by: &Authority, what: &Granted) -> Result<(), Refused> {
    if !by.brings_nothing(what) {
        return Ok(());
    }
    let is_nobodys_group =
        matches!(what, Granted::Group(_)) && !super::store::has_holder(change.tx(), what).await?;
    if is_nobodys_group { Ok(()) } else { by.covers(what) }
}

fn refuse_full(by: &Authority, what: &Granted) -> Result<(), Refused> {
    let all = by.definitions();
    let is_made_here = |managed_by: ManagedBy| managed_by == ManagedBy::Store;
    let made = match what {
        Granted::Permission(_) => all.permissions.values().filter(|one| is_made_here(one.managed_by)).count(),
        Granted::Role(_) => all.roles.values().filter(|one| is_made_here(one.managed_by)).count(),
        Granted::Group(_) => all.groups.values().filter(|one| is_made_here(one.managed_by)).count(),
    };
    if made < MOST { Ok(()) } else { Err(Refused::Full(what.kind())) }
}

fn refuse_taken(by: &Authority, what: &Granted) -> Result<(), Refused> {
    if what.is_defined_in(by.definitions()) { Err(Refused::Taken(what.clone())) } else { Ok(()) }
}

fn refuse_undefined(by: &Authority, what: &Granted) -> Result<(), Refused> {
    if what.is_defined_in(by.definitions()) { Ok(()) } else { Err(Refused::Undefined(what.clone())) }
}

async fn write(change: &mut Change<'_>, what: &Granted, edit: &Edit) -> Result<Outcome, Refused> {
    let fields = [
        ("name", edit.name.is_some()),
        ("description", edit.description.is_some()),
        ("parent", edit.place.is_some()),
        ("is_default", edit.is_default.is_some()),
    ];
    let fields: Vec<&'static str> = fields.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    if fields.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let now = change.now();
    store::edit(change.tx(), what, edit, now).await?;
    redefined(change, what, Redefined::Updated(fields)).await
}

async fn remove(change: &mut Change<'_>, what: &Granted) -> Result<(), Refused> {
    if !store::remove(change.tx(), what).await? {
        return Err(Refused::Undefined(what.clone()));
    }
    begin_with_nobody(change, what).await?;
    redefined(change, what, Redefined::Deleted).await.map(drop)
}

/// Takes a code from everyone and everything that was granted it: what a file once defined and does not
/// any more may have left grants behind.
async fn begin_with_nobody(change: &mut Change<'_>, what: &Granted) -> Result<(), Refused> {
    revoke_from_all(change, what).await?;
    store::take_from_definitions(change.tx(), what).await?;
    Ok(())
}

/// After something was taken that makes administrators: somebody of the site is one still.
async fn keep_an_administrator(
    change: &mut Change<'_>,
    by: &Authority,
    taken: &Granted,
) -> Result<(), Refused> {
    if !by.makes_administrators(taken) {
        return Ok(());
    }
    let config = change.app().config();
    let all = super::definitions(change.tx(), &config.definitions).await?;
    let is_one_left = administrators::are_left(change, all, by.site()).await?;
    if is_one_left { Ok(()) } else { Err(Refused::LastAdministrator) }
}
