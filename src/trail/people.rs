//! The names behind the ids of a page of rows.
//!
//! Law: one question for a page, not one for a row; of another site's people nothing is told.

use std::collections::{BTreeSet, HashMap};

use crate::account::{self, Known};
use crate::app::App;
use crate::application;
use crate::audit::Row;
use crate::base::{Email, Id};
use crate::session;
use crate::store::Error;

/// Who and what the rows of a page are about, and who did it.
#[derive(Debug)]
pub struct Names {
    accounts: HashMap<Id, Known>,
    applications: HashMap<Id, (i64, String)>,
}

impl Names {
    /// The same for a page of sessions.
    pub(super) async fn of_sessions(app: &App, site: Id, rows: &[session::Row]) -> Result<Self, Error> {
        let ids: BTreeSet<Id> = rows.iter().map(|row| row.account).collect();
        let ids: Vec<Id> = ids.into_iter().collect();
        let has_application = rows.iter().any(|row| row.application.is_some());
        Self::read(app, site, &ids, has_application).await
    }

    pub(super) async fn of(app: &App, site: Id, rows: &[Row]) -> Result<Self, Error> {
        let by_people = rows.iter().filter(|row| row.actor_kind == "account").filter_map(|row| row.actor);
        let ids: BTreeSet<Id> = rows.iter().filter_map(|row| row.account).chain(by_people).collect();
        let ids: Vec<Id> = ids.into_iter().collect();
        Self::read(app, site, &ids, rows.iter().any(|row| row.application.is_some())).await
    }

    async fn read(app: &App, site: Id, ids: &[Id], has_application: bool) -> Result<Self, Error> {
        let known = account::known(&app.db, site, ids).await?;
        let accounts = known.into_iter().map(|known| (known.id, known)).collect();
        let applications = if has_application { application::list(&app.db, site).await? } else { Vec::new() };
        let applications = applications.into_iter().map(|own| (own.id, (own.number.0, own.name))).collect();
        Ok(Self { accounts, applications })
    }

    /// The address of somebody whom a row is about, or who did it.
    #[must_use]
    pub fn email(&self, id: Id) -> Option<&Email> {
        self.account(Some(id))?.email.as_ref()
    }

    pub(super) fn account(&self, id: Option<Id>) -> Option<&Known> {
        self.accounts.get(&id?)
    }

    pub(super) fn application(&self, id: Option<Id>) -> Option<&(i64, String)> {
        self.applications.get(&id?)
    }
}
