//! Lists of people by page number, with how many there are.
//!
//! Law: nobody is counted or passed over beyond [`COUNTED`], and nobody is looked through for words or a role
//! beyond [`LOOKED_THROUGH`]: who asks for more is told to ask more narrowly, never given a part for the whole.

use std::cmp::Ordering;

use super::gather::Sought;
use crate::account::{self, Account, Order, Roll, Search, SortBy, Usable, Words};
use crate::app::App;
use crate::base::Id;
use crate::http::{ApiError, LOOKED_THROUGH};
use crate::policy::Code;
use crate::rbac::{self, Granted};

/// How many people are counted, and how far pages are turned.
pub const COUNTED: u32 = 10_000;

/// Which people are looked for.
#[derive(Debug)]
pub struct People {
    pub site: Id,
    pub words: Option<Words>,
    pub role: Option<RoleIs>,
    pub usable: Option<Usable>,
    pub order: Order,
}

/// What is asked of the roles that people were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleIs {
    /// One of these, or being a superuser where that is said.
    Any { of: Vec<Code>, or_superuser: bool },
    /// None of these, and no superuser.
    Without(Vec<Code>),
}

/// A page of people, and how many there are: no more than [`COUNTED`] are counted.
#[derive(Debug)]
pub struct Found {
    pub people: Vec<Account>,
    pub total: u32,
}

/// So many fit that they are not looked through: these are asked for more narrowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FurtherBack {
    /// By words.
    Words,
    /// By role.
    Role,
    /// The page is beyond what is counted.
    Page,
}

/// The page of `size` people behind the first `before`.
///
/// # Errors
/// The store's; [`FurtherBack`] as `Ok(Err(_))`.
pub async fn find(
    app: &App,
    wanted: &People,
    before: u32,
    size: u32,
) -> Result<Result<Found, FurtherBack>, ApiError> {
    if before.saturating_add(size) > COUNTED {
        return Ok(Err(FurtherBack::Page));
    }
    let few = match (&wanted.role, &wanted.words) {
        (Some(RoleIs::Any { of, or_superuser }), _) => holders(app, wanted.site, of, *or_superuser).await?,
        (_, Some(words)) => by_words(app, wanted.site, words).await?,
        (Some(RoleIs::Without(_)) | None, None) => return on_roll(app, wanted, before, size).await,
    };
    let few = match few {
        Ok(few) => few,
        Err(further) => return Ok(Err(further)),
    };
    let people = wanted.chosen(app, few).await?;
    Ok(people.map(|people| {
        let total = u32::try_from(people.len()).unwrap_or(u32::MAX);
        let (before, size) = (index(before), index(size));
        Found { people: people.into_iter().skip(before).take(size).collect(), total }
    }))
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Everybody, or everybody but those who have one of some roles: by the index of the order.
async fn on_roll(
    app: &App,
    wanted: &People,
    before: u32,
    size: u32,
) -> Result<Result<Found, FurtherBack>, ApiError> {
    let except = match &wanted.role {
        Some(RoleIs::Without(codes)) => match holders(app, wanted.site, codes, true).await? {
            Ok(people) => people.into_iter().map(|own| own.id).collect(),
            Err(further) => return Ok(Err(further)),
        },
        _ => Vec::new(),
    };
    let People { site, usable, order, .. } = *wanted;
    let roll = Roll { site, order, usable, except: &except, now: app.now() };
    let total = roll.count(&app.db, COUNTED).await?;
    Ok(Ok(Found { people: roll.read(&app.db, before, size).await?, total }))
}

/// Everybody of a site who was given one of these roles, or is a superuser.
async fn holders(
    app: &App,
    site: Id,
    codes: &[Code],
    or_superuser: bool,
) -> Result<Result<Vec<Account>, FurtherBack>, ApiError> {
    let most = u32::try_from(LOOKED_THROUGH).unwrap_or(u32::MAX).saturating_add(1);
    let mut ids: Vec<Id> = Vec::new();
    for code in codes {
        ids.extend(rbac::holders_on(&app.db, site, &Granted::Role(code.clone()), None, most).await?);
        if ids.len() > LOOKED_THROUGH {
            return Ok(Err(FurtherBack::Role));
        }
    }
    if or_superuser {
        ids.extend(account::superusers(&app.db, site, None, most).await?);
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > LOOKED_THROUGH {
        return Ok(Err(FurtherBack::Role));
    }
    let mut people = account::by_ids(&app.db, &ids).await?;
    people.retain(|own| own.site == site);
    Ok(Ok(people))
}

async fn by_words(app: &App, site: Id, words: &Words) -> Result<Result<Vec<Account>, FurtherBack>, ApiError> {
    let sought = Sought {
        site,
        words: Some(words.clone()),
        role: None,
        order: Order { by: SortBy::CreatedAt, is_backwards: true },
        search: Search::default(),
        is_deleted: false,
        has_second_factor: None,
    };
    let gathered = sought.gather(app, None, LOOKED_THROUGH).await?;
    if gathered.next.is_some() {
        return Ok(Err(FurtherBack::Words));
    }
    Ok(Ok(gathered.people.into_iter().map(|(own, _)| own).collect()))
}

impl People {
    /// Those of some people who are looked for, in the order that is asked for.
    async fn chosen(
        &self,
        app: &App,
        few: Vec<Account>,
    ) -> Result<Result<Vec<Account>, FurtherBack>, ApiError> {
        let without = match &self.role {
            Some(RoleIs::Without(codes)) => match holders(app, self.site, codes, true).await? {
                Ok(people) => people.into_iter().map(|own| own.id).collect(),
                Err(further) => return Ok(Err(further)),
            },
            _ => Vec::new(),
        };
        let now = app.now();
        let mut people: Vec<Account> = few
            .into_iter()
            .filter(|own| own.deleted_at.is_none() && !without.contains(&own.id))
            .filter(|own| self.words.as_ref().is_none_or(|words| words.fit(own)))
            .filter(|own| self.usable.is_none_or(|usable| usable == Usable::of(own, now)))
            .collect();
        people.sort_by(|left, right| self.order_of(left, right));
        Ok(Ok(people))
    }

    /// As the index of the same order has it.
    fn order_of(&self, left: &Account, right: &Account) -> Ordering {
        // Those who have nothing there stand behind all others.
        let text = |own: &Account| own.email.as_ref().map(ToString::to_string);
        let by = match self.order.by {
            SortBy::Email => (text(left).is_none(), text(left)).cmp(&(text(right).is_none(), text(right))),
            SortBy::FirstName => left.first_name.cmp(&right.first_name),
            SortBy::LastName => left.last_name.cmp(&right.last_name),
            SortBy::LastLogin => (left.last_login_at.is_none(), left.last_login_at)
                .cmp(&(right.last_login_at.is_none(), right.last_login_at)),
            SortBy::IsActive => left.is_active.cmp(&right.is_active),
            SortBy::CreatedAt | SortBy::IsLocked => left.created_at.cmp(&right.created_at),
        };
        let order = by.then(left.number.0.cmp(&right.number.0));
        if self.order.is_backwards { order.reverse() } else { order }
    }
}
