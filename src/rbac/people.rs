//! Who was granted what, for lists of people.
//! Law: one question for a page of people, never one for each.

use super::{Granted, authority, store};
use crate::base::Id;
use crate::policy::definition::Definitions;
use crate::policy::{Catalogue, Rights};
use crate::store::{Error, Source};

/// What each of these accounts was granted directly, by account.
pub async fn grants_of(src: impl Source, accounts: &[Id]) -> Result<Vec<(Id, Granted)>, Error> {
    store::grants_of(src, accounts).await
}

/// Accounts that were granted something, by id, from behind one of them.
pub async fn holders_after(
    src: impl Source,
    granted: &Granted,
    after: Option<Id>,
    is_backwards: bool,
    most: u32,
) -> Result<Vec<Id>, Error> {
    let rows = store::holders_after(granted, after, is_backwards, most);
    store::ids(src, rows).await
}

/// Accounts of a site that were granted something, by id, from behind one of them, so many at most: how many
/// there are elsewhere is nobody's to know here.
pub async fn holders_on(
    src: impl Source,
    site: Id,
    granted: &Granted,
    after: Option<Id>,
    most: u32,
) -> Result<Vec<Id>, Error> {
    store::ids(src, store::holders_on(site, granted, after, most)).await
}

/// Everything that accounts were granted, with how many have it.
pub async fn holders(src: impl Source) -> Result<Vec<Holders>, Error> {
    store::holders(src).await
}

/// What somebody would hold who was granted this alone.
#[must_use]
pub fn brought_by(catalogue: &Catalogue, granted: &Granted) -> Rights {
    catalogue.rights(&authority::alone(granted))
}

/// How many accounts were granted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub granted: Granted,
    pub accounts: i64,
}

/// What accounts were granted and nothing defines: it gives them nothing, and an operator should
/// know.
pub async fn orphans(src: impl Source, definitions: &Definitions) -> Result<Vec<Holders>, Error> {
    let mut holders = store::holders(src).await?;
    holders.retain(|one| !one.granted.is_defined_in(definitions));
    Ok(holders)
}

/// What the configuration file defines though it was made here before: the file decides what it brings,
/// and whoever was given it has it. An operator should know, for somebody may have guessed the name.
pub async fn defined_twice(mut src: impl Source, overlay: &Definitions) -> Result<Vec<Holders>, Error> {
    let here = store::definitions(&mut src).await?;
    let permissions = here.permissions.into_keys().map(Granted::Permission);
    let all = permissions.chain(here.roles.into_keys().map(Granted::Role));
    let all = all.chain(here.groups.into_keys().map(Granted::Group));
    let holders = store::holders(src).await?;
    let counted = |granted: Granted| {
        let held = holders.iter().find(|one| one.granted == granted);
        Holders { accounts: held.map_or(0, |held| held.accounts), granted }
    };
    Ok(all.filter(|granted| granted.is_defined_in(overlay)).map(counted).collect())
}
