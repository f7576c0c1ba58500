//! People as the profile's clients read them.
//! Law: every answer that shows somebody shows the same keys; what is asked for beside stands behind them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::{self, Status};
use crate::account::Account;
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::policy::{Assignments, Code};
use crate::rbac::{self, Granted};
use crate::store::Error;

/// Somebody.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemUser")]
pub(super) struct User {
    /// A UUID.
    id: String,
    email: Option<String>,
    first_name: String,
    last_name: String,
    /// `superadmin`, `admin1`, `admin2`, `admin3` or `user`.
    role: &'static str,
    /// `active`, `inactive`, `locked`, or `pending` until somebody has come in who got no password.
    status: &'static str,
    is_active: bool,
    email_verified: bool,
    /// Whether a login opens nothing but choosing another password.
    must_change_password: bool,
    /// RFC 3339, UTC; null where there is none.
    password_changed_at: Option<String>,
    /// Null where no lock holds, or it has no end.
    locked_until: Option<String>,
    /// RFC 3339, UTC.
    last_login: Option<String>,
    created_at: String,
    updated_at: String,
    /// What they hold, as `resource:action`; not in plain lists of people.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<String>>,
}

impl User {
    pub(super) fn of(own: &Account, roles: &[Code], now: Timestamp) -> Self {
        Self {
            id: own.id.to_string(),
            email: own.email.as_ref().map(ToString::to_string),
            first_name: own.first_name.clone(),
            last_name: own.last_name.clone(),
            role: words::role_of(own, roles),
            status: Status::of(own, now).word(),
            is_active: own.is_active,
            email_verified: own.is_email_verified,
            must_change_password: own.must_change_password,
            password_changed_at: own.password_changed_at.map(Timestamp::rfc3339),
            locked_until: own.lock(now).and_then(|lock| lock.until).map(Timestamp::rfc3339),
            last_login: own.last_login_at.map(Timestamp::rfc3339),
            created_at: own.created_at.rfc3339(),
            updated_at: own.updated_at.rfc3339(),
            permissions: None,
        }
    }

    /// With what they hold, by what they were given.
    pub(super) fn whole(app: &App, own: &Account, given: Assignments) -> Self {
        let shown = Self::of(own, &given.roles, app.now());
        Self { permissions: Some(words::held(&app.catalogue(), own, given)), ..shown }
    }

    /// Everybody of a page: one question for all of them.
    pub(super) async fn page(app: &App, people: &[Account], is_whole: bool) -> Result<Vec<Self>, Error> {
        let ids: Vec<Id> = people.iter().map(|own| own.id).collect();
        let mut given: HashMap<Id, Assignments> = HashMap::new();
        for (id, granted) in rbac::grants_of(&app.db, &ids).await? {
            let all = given.entry(id).or_default();
            match granted {
                Granted::Role(code) => all.roles.push(code),
                Granted::Permission(code) => all.permissions.push(code),
                Granted::Group(code) => all.groups.push(code),
            }
        }
        let (catalogue, now) = (app.catalogue(), app.now());
        let shown = people.iter().map(|own| {
            let given = given.remove(&own.id).unwrap_or_default();
            let shown = Self::of(own, &given.roles, now);
            let permissions = is_whole.then(|| words::held(&catalogue, own, given));
            Self { permissions, ..shown }
        });
        Ok(shown.collect())
    }
}
