//! Who could still manage rights, after something was taken.
//!
//! Law: on a site that has an administrator, the last one who could log in now is not removed by rights:
//! who is locked, banned or gone is nobody's other one. The flag of superusers has the same law in `account`.

use super::authority::{alone, is_super_admin};
use super::{Authority, Granted, Refused, store};
use crate::account::{self, Account};
use crate::app::Change;
use crate::base::Id;
use crate::policy::Catalogue;
use crate::policy::catalogue::Assignments;
use crate::policy::definition::Definitions;
use crate::store::Error;

/// Refuses that nobody could manage rights any more, after somebody with these assignments was shut out.
///
/// # Errors
/// [`Refused::LastAdministrator`]; the change is then not to be committed.
pub async fn keep_one(change: &mut Change<'_>, by: &Authority, held: &Assignments) -> Result<(), Refused> {
    if !by.are_administrators(held) || are_left(change, by.definitions().clone(), by.site()).await? {
        return Ok(());
    }
    Err(Refused::LastAdministrator)
}

/// Somebody who is about to go, by nobody's hand.
#[derive(Debug)]
pub struct Leaving {
    definitions: Definitions,
    is_administrator: bool,
    site: Id,
}

impl Leaving {
    /// Takes the turn to change rights and looks at what somebody holds who is about to go.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(change: &mut Change<'_>, account: &Account) -> Result<Self, Error> {
        let now = change.now();
        super::define::store::take_turn(change.tx(), now).await?;
        let config = change.app().config();
        let definitions = super::definitions(change.tx(), &config.definitions).await?;
        let catalogue = Catalogue::build(definitions.clone(), 0);
        let held = super::assignments(change.tx(), account.id).await?;
        let is_administrator = is_super_admin(&catalogue, &catalogue.rights(&held));
        Ok(Self { definitions, is_administrator, site: account.site })
    }

    /// Whether somebody could still manage rights, now that they are gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn leaves_one(self, change: &mut Change<'_>) -> Result<bool, Error> {
        Ok(!self.is_administrator || are_left(change, self.definitions, self.site).await?)
    }
}

/// Whether a superuser, or somebody with the role that holds everything, could log in. Whoever asks has the
/// turn to change rights.
pub(super) async fn are_left(
    change: &mut Change<'_>,
    definitions: Definitions,
    site: Id,
) -> Result<bool, Error> {
    if account::has_superuser(change, site).await? {
        return Ok(true);
    }
    let catalogue = Catalogue::build(definitions, 0);
    let roles = catalogue.definitions().roles.keys().cloned().map(Granted::Role);
    let groups = catalogue.definitions().groups.keys().cloned().map(Granted::Group);
    for granted in roles.chain(groups) {
        if !is_super_admin(&catalogue, &catalogue.rights(&alone(&granted))) {
            continue;
        }
        for id in store::accounts_with(change.tx(), &granted).await? {
            let Some(account) = account::by_id(change.tx(), id).await? else { continue };
            // Held until the change ends: who is counted on is not shut out meanwhile.
            if account.site == site && account.deleted_at.is_none() && account::hold(change, id).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
