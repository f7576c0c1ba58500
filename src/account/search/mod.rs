//! Lists of people that are too long to be read whole: in an order, or by how a word begins.
//!
//! Law: whatever is asked, a stretch of a list is one range of one index, read from where the last one
//! ended; so a page deep in a million people costs what the first one costs. What no index knows is judged
//! by whoever asks, row by row, and only so many rows at a time.

mod roll;
mod store;
#[cfg(test)]
mod tests;

pub use roll::{Roll, Usable, usable_among};
#[cfg(test)]
pub(crate) use store::crowd;

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::Account;
use crate::base::{Email, Id, Timestamp};
use crate::store::{Error, Source, Tx};

/// What a list is sorted by. Flags stand with the time of making behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    Email,
    FirstName,
    LastName,
    CreatedAt,
    LastLogin,
    IsActive,
    IsLocked,
}

/// A flag that has an index of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexed {
    Active,
    Locked,
    Banned,
    EmailVerified,
}

/// The order of a list. Where it is by time of making, a flag that is asked for has an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub by: SortBy,
    pub is_backwards: bool,
}

/// What an index is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    pub is_active: Option<bool>,
    pub is_locked: Option<bool>,
    pub is_banned: Option<bool>,
    pub is_email_verified: Option<bool>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Where in a list somebody stands: in which part of it, and the sorted value and number (or id) there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    part: usize,
    key: Key,
    last: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Key {
    Moment(Timestamp),
    Text(String),
    Nothing,
}

/// The text is no place in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

/// One part of a list: a range of one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    only: Option<(Indexed, bool)>,
    column: Column,
    /// Those who have nothing in the column.
    lacks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Email,
    FirstName,
    LastName,
    CreatedAt,
    LastLogin,
}

impl Column {
    const fn may_lack(self) -> bool {
        matches!(self, Self::Email | Self::LastLogin)
    }
}

/// From where on a part is read.
#[derive(Debug, Clone, Copy)]
enum Start<'a> {
    Beginning,
    /// Behind this number, among those with the same value.
    Among(&'a Key, i64),
    /// Behind this value.
    Behind(&'a Key),
}

impl Order {
    /// The parts of the list, in their order.
    fn parts(self, search: &Search) -> Vec<Part> {
        let part = |only, column, lacks| Part { only, column, lacks };
        let both =
            |flag| [false, true].map(|is_set| part(Some((flag, is_set)), Column::CreatedAt, false)).to_vec();
        let column = match self.by {
            SortBy::Email => Column::Email,
            SortBy::FirstName => Column::FirstName,
            SortBy::LastName => Column::LastName,
            SortBy::CreatedAt => Column::CreatedAt,
            SortBy::LastLogin => Column::LastLogin,
            SortBy::IsActive => return self.turned(both(Indexed::Active)),
            SortBy::IsLocked => return self.turned(both(Indexed::Locked)),
        };
        let only = if column == Column::CreatedAt { search.narrowest() } else { None };
        let mut parts = vec![part(only, column, false)];
        if column.may_lack() {
            parts.push(part(None, column, true));
        }
        self.turned(parts)
    }

    fn turned(self, mut parts: Vec<Part>) -> Vec<Part> {
        if self.is_backwards {
            parts.reverse();
        }
        parts
    }

    /// At most `most` accounts of a site behind a place, each with its own; fewer at the end alone.
    ///
    /// # Errors
    /// [`NoPlace`] as `Ok(Err(_))` where the place is of another list.
    pub async fn read(
        self,
        mut src: impl Source,
        site: Id,
        search: &Search,
        after: Option<&Place>,
        most: u32,
    ) -> Result<Result<Vec<(Place, Account)>, NoPlace>, Error> {
        let parts = self.parts(search);
        let begun = match after {
            None => None,
            Some(place) => match place.number().filter(|_| fits(&parts, place)) {
                Some(number) => Some((place, number)),
                None => return Ok(Err(NoPlace)),
            },
        };
        let first = begun.map_or(0, |(place, _)| place.part);
        let mut read = Vec::new();
        for (at, part) in parts.iter().enumerate().skip(first) {
            let starts = match begun.filter(|(place, _)| place.part == at) {
                None => vec![Start::Beginning],
                Some((place, number)) if part.lacks => vec![Start::Among(&place.key, number)],
                Some((place, number)) => vec![Start::Among(&place.key, number), Start::Behind(&place.key)],
            };
            for start in starts {
                let wanted = most.saturating_sub(u32::try_from(read.len()).unwrap_or(u32::MAX));
                if wanted == 0 {
                    return Ok(Ok(read));
                }
                let stretch =
                    store::Stretch { site, part: *part, backwards: self.is_backwards, search, start };
                let found: Vec<Account> = src.all(stretch.stmt(wanted)).await?;
                read.extend(found.into_iter().map(|own| (part.place(at, &own), own)));
            }
        }
        Ok(Ok(read))
    }
}

impl Part {
    fn place(self, part: usize, own: &Account) -> Place {
        let text = |text: &str| Key::Text(text.to_owned());
        let key = match self.column {
            Column::Email => own.email.as_ref().map(|email| text(email.as_str())),
            Column::FirstName => Some(text(&own.first_name)),
            Column::LastName => Some(text(&own.last_name)),
            Column::CreatedAt => Some(Key::Moment(own.created_at)),
            Column::LastLogin => own.last_login_at.map(Key::Moment),
        };
        Place { part, key: key.unwrap_or(Key::Nothing), last: own.number.to_string() }
    }
}

/// Whether a place is one of the list that has these parts.
fn fits(parts: &[Part], place: &Place) -> bool {
    parts.get(place.part).is_some_and(|part| match (&place.key, part.column) {
        (Key::Nothing, _) => part.lacks,
        (Key::Moment(_), column) => matches!(column, Column::CreatedAt | Column::LastLogin) && !part.lacks,
        (Key::Text(_), column) => !matches!(column, Column::CreatedAt | Column::LastLogin) && !part.lacks,
    })
}

impl Place {
    /// In a list of ids.
    #[must_use]
    pub fn of_id(id: Id) -> Self {
        Self { part: 0, key: Key::Nothing, last: id.to_string() }
    }

    /// The id at this place of a list of ids, or of words.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.last.parse().ok()
    }

    fn number(&self) -> Option<i64> {
        self.last.parse().ok()
    }
}

impl Search {
    /// The flag with an index whose set one would guess to be the smallest. Those whose lock is over still
    /// have the flag, so an index knows who may be locked, and not who is not.
    fn narrowest(&self) -> Option<(Indexed, bool)> {
        let locked = self.is_locked.filter(|is_set| *is_set).map(|is_set| (Indexed::Locked, is_set));
        let banned = self.is_banned.map(|is_set| (Indexed::Banned, is_set));
        let active = self.is_active.map(|is_set| (Indexed::Active, is_set));
        let proved = self.is_email_verified.map(|is_set| (Indexed::EmailVerified, is_set));
        let rare = locked.or(banned.filter(|(_, is_set)| *is_set)).or(active.filter(|(_, is_set)| !is_set));
        rare.or(proved).or(active).or(banned)
    }
}

/// How words begin that somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// The beginning that a text asks for; `None` where it is blank.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = plain(text);
        (!text.is_empty()).then_some(Self(text))
    }

    /// The accounts behind a place that have a word that begins so, each once, in the order of that word.
    ///
    /// # Errors
    /// [`NoPlace`] as `Ok(Err(_))` where the place is of another list.
    pub async fn read(
        &self,
        mut src: impl Source,
        site: Id,
        after: Option<&Place>,
        most: u32,
    ) -> Result<Result<Vec<(Place, Option<Account>)>, NoPlace>, Error> {
        let begun = match after {
            None => None,
            Some(Place { part: 0, key: Key::Text(word), last }) => match last.parse::<Id>() {
                Ok(id) => Some((word.as_str(), id)),
                Err(_) => return Ok(Err(NoPlace)),
            },
            Some(_) => return Ok(Err(NoPlace)),
        };
        let found = store::words(&mut src, site, &self.0, begun, most).await?;
        let ids: Vec<Id> = found.iter().map(|(_, id)| *id).collect();
        let all = super::store::by_ids(&mut src, &ids).await?;
        let all: HashMap<Id, Account> = all.into_iter().map(|own| (own.id, own)).collect();
        let placed = found.into_iter().map(|(word, id)| {
            let own = all.get(&id).filter(|own| self.is_first(own, &word)).cloned();
            (Place { part: 0, key: Key::Text(word), last: id.to_string() }, own)
        });
        Ok(Ok(placed.collect()))
    }

    /// Whether an account has a word that begins so.
    #[must_use]
    pub fn fit(&self, own: &Account) -> bool {
        words_of(own).iter().any(|word| word.starts_with(&self.0))
    }

    /// Whether it is by this word that an account is found first.
    fn is_first(&self, own: &Account, word: &str) -> bool {
        words_of(own).into_iter().find(|own| own.starts_with(&self.0)).is_some_and(|first| first == word)
    }
}

/// By what an account is looked for, in the order of the bytes.
fn words_of(own: &Account) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Some(email) = own.email.as_ref().map(Email::as_str) {
        let (local, domain) = email.split_once('@').unwrap_or((email, ""));
        all.extend([email.to_owned(), domain.to_owned()]);
        let ends = local.match_indices(['.', '_', '-', '+']).map(|(at, _)| at + 1);
        all.extend(ends.filter_map(|at| email.get(at..)).map(str::to_owned));
    }
    all.extend(own.username.as_ref().map(ToString::to_string));
    let name = plain(&format!("{} {}", own.first_name, own.last_name));
    let ends = name.match_indices([' ', '-', '\'', '’']).map(|(at, sign)| at + sign.len());
    all.extend(ends.filter_map(|at| name.get(at..)).map(str::to_owned));
    // The first name alone: so it was written down of those who were there before there were words.
    all.extend([plain(&own.first_name), name]);
    all.retain(|word| !word.is_empty());
    all
}

/// In lower case, with one blank where there were several, and as long as a word may be.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    text.chars().take(store::WORD_MAX).collect()
}

/// Writes down by what an account is looked for now.
pub(super) async fn index(tx: &mut Tx, own: &Account) -> Result<(), Error> {
    store::forget(tx, own.id).await?;
    store::remember(tx, own.site, own.id, words_of(own)).await
}

/// Forgets by what an account was looked for.
pub(super) async fn forget(tx: &mut Tx, account: Id) -> Result<(), Error> {
    store::forget(tx, account).await
}
