//! Who was granted what, for lists of people.
//! Law: one question for a page of people, never one for each.

use super::{Granted, Holders, authority, store};
use crate::base::Id;
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

/// Everything that accounts were granted, with how many have it.
pub async fn holders(src: impl Source) -> Result<Vec<Holders>, Error> {
    store::holders(src).await
}

/// What somebody would hold who was granted this alone.
#[must_use]
pub fn brought_by(catalogue: &Catalogue, granted: &Granted) -> Rights {
    catalogue.rights(&authority::alone(granted))
}
