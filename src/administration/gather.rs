//! One page of people: read from the index that fits best, judged by what no index knows.
//!
//! Law: no page looks through more than [`LOOKED_THROUGH`](crate::http::LOOKED_THROUGH) accounts; so no
//! question makes the store read it whole.

use std::collections::{HashMap, HashSet};

use crate::account::{Account, Order, Place, Search, Words};
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Onward, gather};
use crate::policy::Code;
use crate::rbac::{self, Granted};

/// Which people somebody looks for.
#[derive(Debug)]
pub(super) struct Sought {
    pub(super) site: Id,
    pub(super) words: Option<Words>,
    pub(super) role: Option<Code>,
    pub(super) order: Order,
    pub(super) search: Search,
    pub(super) is_deleted: bool,
    pub(super) has_second_factor: Option<bool>,
}

/// People, with the codes of their roles, and where the page ended if there may be more.
pub(super) struct Gathered {
    pub(super) people: Vec<(Account, Vec<String>)>,
    pub(super) next: Option<Place>,
}

type Read = Vec<(Place, Option<Account>)>;

impl Sought {
    /// The page of `size` people behind a place.
    pub(super) async fn gather(
        &self,
        app: &App,
        after: Option<Place>,
        size: usize,
    ) -> Result<Gathered, ApiError> {
        let (people, next) = gather(size, after, |at, most| self.wanted(app, at, most)).await?;
        Ok(Gathered { people: named(app, people).await?, next })
    }

    /// Some people behind a place, and those of them who are looked for.
    async fn wanted(&self, app: &App, after: Option<Place>, most: u32) -> Result<Read, ApiError> {
        let (now, read) = (app.now(), self.read(app, after.as_ref(), most).await?);
        let holders = self.holders(app, &read).await?;
        let is_sought = |own: &Account| {
            holders.as_ref().is_none_or(|all| all.contains(&own.id)) && self.is_sought(own, now)
        };
        Ok(read.into_iter().map(|(place, own)| (place, own.filter(is_sought))).collect())
    }

    async fn read(&self, app: &App, after: Option<&Place>, limit: u32) -> Result<Read, ApiError> {
        let db = &app.db;
        if let Some(words) = &self.words {
            return words.read(db, self.site, after, limit).await?.map_err(|_| Onward::elsewhere());
        }
        let Some(role) = &self.role else {
            let read = self.order.read(db, self.site, &self.search, after, limit).await?;
            let read = read.map_err(|_| Onward::elsewhere())?;
            return Ok(read.into_iter().map(|(place, own)| (place, Some(own))).collect());
        };
        let after = match after {
            Some(place) => Some(place.id().ok_or_else(Onward::elsewhere)?),
            None => None,
        };
        // The order of ids is that of the moments at which they were made.
        let role = Granted::Role(role.clone());
        let ids = rbac::holders_after(db, &role, after, self.order.is_backwards, limit).await?;
        let all = crate::account::by_ids(db, &ids).await?;
        let mut all: HashMap<Id, Account> = all.into_iter().map(|own| (own.id, own)).collect();
        Ok(ids.into_iter().map(|id| (Place::of_id(id), all.remove(&id))).collect())
    }

    /// Those of them who have the role that is asked for, where the index does not know.
    async fn holders(&self, app: &App, read: &Read) -> Result<Option<HashSet<Id>>, ApiError> {
        let Some(role) = self.role.as_ref().filter(|_| self.words.is_some()) else { return Ok(None) };
        let ids: Vec<Id> = read.iter().filter_map(|(_, own)| Some(own.as_ref()?.id)).collect();
        let granted = rbac::grants_of(&app.db, &ids).await?;
        let role = Granted::Role(role.clone());
        Ok(Some(granted.into_iter().filter(|(_, one)| *one == role).map(|(id, _)| id).collect()))
    }

    fn is_sought(&self, own: &Account, now: Timestamp) -> bool {
        let Search { is_active, is_locked, is_banned, is_email_verified, since, until } = self.search;
        let fits = |wanted: Option<bool>, is_so: bool| wanted.is_none_or(|wanted| wanted == is_so);
        own.site == self.site
            && own.deleted_at.is_some() == self.is_deleted
            && fits(is_active, own.is_active)
            && fits(is_locked, own.lock(now).is_some())
            && fits(is_banned, own.is_banned)
            && fits(is_email_verified, own.is_email_verified)
            && fits(self.has_second_factor, own.second_factor_at.is_some())
            && since.is_none_or(|since| own.created_at >= since)
            && until.is_none_or(|until| own.created_at < until)
    }
}

/// Everybody of a page with the roles that they were given: one question for all.
async fn named(app: &App, people: Vec<Account>) -> Result<Vec<(Account, Vec<String>)>, ApiError> {
    let ids: Vec<Id> = people.iter().map(|own| own.id).collect();
    let mut roles: HashMap<Id, Vec<String>> = HashMap::new();
    for (id, granted) in rbac::grants_of(&app.db, &ids).await? {
        if let Granted::Role(code) = granted {
            roles.entry(id).or_default().push(code.to_string());
        }
    }
    Ok(people
        .into_iter()
        .map(|own| (own.id, own))
        .map(|(id, own)| (own, roles.remove(&id).unwrap_or_default()))
        .collect())
}
