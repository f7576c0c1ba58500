//! Lists of people as the profile asks for them: by words, role and status, in an order, page by page.
//! Law: what cannot be asked for is refused with its name; the rest is `administration`'s to find.

use schemars::JsonSchema;

use super::page::{Items, Paging, too_far};
use super::view::User;
use super::words::{Role, Status, ladder_codes};
use crate::account::{Order, SortBy, Words};
use crate::administration::{self, FurtherBack, People, RoleIs};
use crate::http::{ApiError, Call, Fields, FromFields, Json};
use crate::policy::seed;

const SEARCH_MAX: usize = 200;

/// Who is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemUserQuery")]
pub(super) struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// How the e-mail address, its part behind a dot or its domain, or a name begins.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    search: Option<Words>,
    /// `superadmin`, `admin1`, `admin2`, `admin3` or `user`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// `active`, `inactive`, `locked` or `pending`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// `created_at`, `email` or `last_login`: `created_at` if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    sort: SortBy,
    /// `asc` or `desc`: `desc` if absent.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    order: bool,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::from_fields(fields);
        let search = fields
            .optional("search")
            .max(SEARCH_MAX)
            .parsed(|text| Words::parse(text).ok_or("Something to look for."));
        let role = fields.optional("role").parsed(Role::parse);
        let status = fields.optional("status").parsed(Status::parse);
        let sort = fields.optional("sort").parsed(|text| match text {
            "created_at" => Ok(SortBy::CreatedAt),
            "email" => Ok(SortBy::Email),
            "last_login" => Ok(SortBy::LastLogin),
            _ => Err("One of created_at, email, last_login."),
        });
        let order = fields.optional("order").parsed(|text| match text {
            "asc" => Ok(false),
            "desc" => Ok(true),
            _ => Err("One of asc, desc."),
        });
        Some(Self {
            paging,
            search,
            role,
            status,
            sort: sort.unwrap_or(SortBy::CreatedAt),
            order: order.unwrap_or(true),
        })
    }
}

/// Who is among administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminsOnly;

/// A page of people; of administrators with what they hold.
pub(super) async fn page(
    call: &Call,
    query: ListQuery,
    only: Option<AdminsOnly>,
) -> Result<Json<Items<User>>, ApiError> {
    let any = |of, or_superuser| RoleIs::Any { of, or_superuser };
    let role = match (query.role, only) {
        (None, None) => None,
        (None, Some(AdminsOnly)) => Some(any(ladder_codes(), true)),
        (Some(Role::User), None) => Some(RoleIs::Without(ladder_codes())),
        (Some(Role::User), Some(AdminsOnly)) => {
            return Err(ApiError::invalid("role", &["Who has this role is no administrator.".to_owned()]));
        }
        (Some(Role::Admin(code)), _) => {
            let or_superuser = code.as_str() == seed::SUPER_ADMIN;
            Some(any(vec![code], or_superuser))
        }
    };
    let people = People {
        site: call.person()?.account.site,
        words: query.search,
        role,
        usable: query.status.map(Status::usable),
        order: Order { by: query.sort, is_backwards: query.order },
    };
    let (before, size) = query.paging.window();
    let found = administration::find(&call.app, &people, before, size).await?.map_err(further)?;
    let items = User::page(&call.app, &found.people, only.is_some()).await?;
    query.paging.of(items, found.total).map(Json)
}

fn further(refused: FurtherBack) -> ApiError {
    match refused {
        FurtherBack::Page => too_far(),
        FurtherBack::Words => {
            ApiError::invalid("search", &["Too many people fit: type more of it.".to_owned()])
        }
        FurtherBack::Role => {
            ApiError::invalid("role", &["Too many people have it to be looked through.".to_owned()])
        }
    }
}
