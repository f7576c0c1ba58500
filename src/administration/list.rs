//! The list of people: `GET admin/users/`.
//!
//! Law: a filter, an order or a combination that no index answers is refused with its name, never left out
//! in silence and never answered by reading everybody.

use schemars::JsonSchema;

use super::gather::Sought;
use super::view::Item;
use crate::account::{Order, Search, SortBy, Words};
use crate::base::Timestamp;
use crate::http::{ApiError, Call, Fields, FromFields, Json, Keyset, Onward, Query, Row, get};
use crate::policy::Code;

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/users/", list)
            .allow("users.view")
            .strict()
            .about("People, page by page, the latest first unless asked otherwise"),
    ]
}

const ORDERS: [(&str, SortBy); 7] = [
    ("email", SortBy::Email),
    ("first_name", SortBy::FirstName),
    ("last_name", SortBy::LastName),
    ("created_at", SortBy::CreatedAt),
    ("last_login", SortBy::LastLogin),
    ("is_active", SortBy::IsActive),
    ("is_locked", SortBy::IsLocked),
];
const LATEST: Order = Order { by: SortBy::CreatedAt, is_backwards: true };
const SEARCH_MAX: usize = 200;

/// Who is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AdminUserQuery")]
struct ListQuery {
    #[schemars(flatten)]
    onward: Onward,
    /// How the e-mail address, its part behind a dot or its domain, the user name, or a name begins. The list
    /// is then in the order of what was found.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    search: Option<Words>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    /// By an administrator, at this moment.
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_locked: Option<bool>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_banned: Option<bool>,
    /// Those who are gone, of whom nothing but the number is known; without it they are left out.
    #[schemars(with = "Option<bool>", skip_serializing_if = "Option::is_none")]
    is_deleted: bool,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_email_verified: Option<bool>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_2fa_enabled: Option<bool>,
    /// The code of a role that was given to them.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    role: Option<Code>,
    /// Made at this moment or later: RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_from: Option<Timestamp>,
    /// Made before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_to: Option<Timestamp>,
    /// One of `email`, `first_name`, `last_name`, `created_at`, `last_login`, `is_active`, `is_locked`, with `-`
    /// before it backwards: `-created_at` if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Order,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let onward = Onward::from_fields(fields);
        let search = fields
            .optional("search")
            .max(SEARCH_MAX)
            .parsed(|text| Words::parse(text).ok_or("Something to look for."));
        let is_active = fields.optional("is_active").flag();
        let is_locked = fields.optional("is_locked").flag();
        let is_banned = fields.optional("is_banned").flag();
        let is_deleted = fields.optional("is_deleted").flag().unwrap_or_default();
        let is_email_verified = fields.optional("is_email_verified").flag();
        let is_2fa_enabled = fields.optional("is_2fa_enabled").flag();
        let role = fields.optional("role").parsed(Code::parse);
        let date_from = fields.optional("date_from").moment();
        let date_to = fields.optional("date_to").moment();
        let asked = ordering(fields);
        if asked.is_some() && search.is_some() {
            fields.problem("ordering", "Not with search: what was found is in the order of its words.");
        } else if role.is_some() && asked.is_some_and(|asked| asked.by != SortBy::CreatedAt) {
            fields.problem("ordering", "Only created_at or -created_at with role.");
        }
        let ordering = asked.unwrap_or(LATEST);
        Some(Self {
            onward,
            search,
            is_active,
            is_locked,
            is_banned,
            is_deleted,
            is_email_verified,
            is_2fa_enabled,
            role,
            date_from,
            date_to,
            ordering,
        })
    }
}

fn ordering(fields: &mut Fields) -> Option<Order> {
    fields.optional("ordering").parsed(|text| {
        let (wanted, is_backwards) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
        let known = ORDERS.iter().find(|(name, _)| *name == wanted);
        known.map(|(_, by)| Order { by: *by, is_backwards }).ok_or_else(|| {
            let names: Vec<&str> = ORDERS.iter().map(|(name, _)| *name).collect();
            format!("One of {}, with - before it backwards.", names.join(", "))
        })
    })
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<Item>>, ApiError> {
    if let Some(role) = &query.role
        && !call.app.catalogue().definitions().roles.contains_key(role)
    {
        return Err(ApiError::invalid("role", &["There is no such role.".to_owned()]));
    }
    let sought = Sought {
        site: call.person()?.account.site,
        words: query.search,
        role: query.role,
        order: query.ordering,
        search: Search {
            is_active: query.is_active,
            is_locked: query.is_locked,
            is_banned: query.is_banned,
            is_email_verified: query.is_email_verified,
            since: query.date_from,
            until: query.date_to,
        },
        is_deleted: query.is_deleted,
        has_second_factor: query.is_2fa_enabled,
    };
    let gathered = sought.gather(&call.app, query.onward.place()?, query.onward.size()).await?;
    let now = call.app.now();
    let items = gathered.people.into_iter().map(|(own, roles)| Item::of(&own, roles, now)).collect();
    query.onward.page(&call, items, gathered.next.as_ref()).map(Json)
}
