//! `/users`: people, found, made, replaced, changed and gone.
//!
//! Law: what a client may set is offered by name, and whoever gives a role must be able to give it; everything
//! else that would grant something is refused by name.

use schemars::JsonSchema;

use super::list::{self, ListQuery};
use super::page::Items;
use super::refusal::WORDING;
use super::view::User;
use super::words::{Role, Status, ladder_codes};
use super::{CHANGED, NAME};
use crate::account::{Account, Activity, Field};
use crate::administration::{self, Deed, Edit, NAME_MAX, Newcomer, OneOf, somebody};
use crate::base::{Email, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, NoContent, Nothing, Query, Row,
    del, get, patch, post, put,
};
use crate::privacy::ERASED_AT_ONCE;
use crate::rbac;

pub(super) const EDITED: &[&str] = &[
    "profile_changed",
    "contact_changed",
    "account_activated",
    "account_deactivated",
    "session_ended",
    "role_assigned",
    "role_removed",
];

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        get("/users", everybody)
            .allow("users.view")
            .about("People, page by page, the latest first unless asked otherwise"),
        get("/users/{id}", show).allow("users.view").codes(&[ErrorCode::NotFound]).about("Somebody"),
        post("/users", create)
            .allow("users.create")
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::PasswordBreached, ErrorCode::Overloaded])
            .audited(&["account_created", "role_assigned"])
            .about("Make an account for somebody"),
        put("/users/{id}", replace)
            .allow("users.update")
            .codes(CHANGED)
            .audited(EDITED)
            .about("Change everything of somebody"),
        patch("/users/{id}", change)
            .allow("users.update")
            .codes(CHANGED)
            .audited(EDITED)
            .about("Change something of somebody"),
        del("/users/{id}", remove)
            .allow("users.delete")
            .codes(CHANGED)
            .codes(&[ErrorCode::SoleOwner])
            .audited(ERASED_AT_ONCE)
            .about("Delete somebody, with everything that is kept of them, at once and for good"),
    ];
    rows.into_iter()
        .map(|row| row.limit(Bucket::AuthSystemUsers).strict().of_profile(NAME, WORDING))
        .collect()
}

async fn everybody(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Items<User>>, ApiError> {
    list::page(&call, query, None).await
}

async fn show(call: Call, _: Nothing) -> Result<Json<User>, ApiError> {
    let own = somebody(&call).await?;
    let given = rbac::assignments(&call.app.db, own.id).await?;
    Ok(Json(User::of(&own, &given.roles, call.app.now())))
}

/// Somebody new.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemUserNew")]
struct NewBody {
    #[schemars(with = "String", email)]
    email: Email,
    password: Secret<String>,
    #[schemars(with = "Option<String>")]
    first_name: String,
    #[schemars(with = "Option<String>")]
    last_name: String,
    /// `user` if absent.
    #[schemars(with = "Option<String>")]
    role: Role,
    /// Whether the first login opens nothing but choosing another password: true if absent.
    #[schemars(with = "Option<bool>")]
    must_change_password: bool,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email").email();
        let password = fields.required("password").max(MAX_BYTES).secret();
        let first_name = fields.optional("first_name").max(NAME_MAX).or_blank().text();
        let last_name = fields.optional("last_name").max(NAME_MAX).or_blank().text();
        let role = fields.optional("role").parsed(Role::parse);
        let must_change_password = fields.optional("must_change_password").flag().unwrap_or(true);
        Some(Self {
            email: email?,
            password: password?,
            first_name: first_name.unwrap_or_default(),
            last_name: last_name.unwrap_or_default(),
            role: role.unwrap_or(Role::User),
            must_change_password,
        })
    }
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<User>, ApiError> {
    defined(&call, &body.role)?;
    let newcomer = Newcomer {
        email: Some(body.email),
        first_name: body.first_name,
        last_name: body.last_name,
        password: Some(body.password),
        must_change_password: body.must_change_password,
        role: body.role.code(),
        ..Newcomer::default()
    };
    let (made, given) = administration::make(&call, newcomer).await?;
    Ok(Created(User::of(&made, &given.roles, call.app.now())))
}

/// Refuses a role that has a word here and that nobody has defined.
pub(super) fn defined(call: &Call, role: &Role) -> Result<(), ApiError> {
    match role {
        Role::Admin(code) if !call.app.catalogue().definitions().roles.contains_key(code) => {
            Err(ApiError::invalid("role", &["There is no such role here: define it first.".to_owned()]))
        }
        Role::Admin(_) | Role::User => Ok(()),
    }
}

/// What somebody is to be. What is left out of a change stays as it is.
#[derive(Debug)]
struct Wish {
    email: Option<Email>,
    first_name: Option<String>,
    last_name: Option<String>,
    role: Option<Role>,
    status: Option<Status>,
    is_active: Option<bool>,
}

/// Reads a wish; whether each of its fields must be there is for `field` to say.
macro_rules! wish {
    ($fields:ident, $field:ident) => {{
        let email = $fields.$field("email").email();
        let first_name = $fields.$field("first_name").max(NAME_MAX).or_blank().text();
        let last_name = $fields.$field("last_name").max(NAME_MAX).or_blank().text();
        let role = $fields.$field("role").parsed(Role::parse);
        let status = $fields.$field("status").parsed(Status::parse);
        let is_active = $fields.$field("is_active").flag();
        if let (Some(status), Some(is_active)) = (status, is_active)
            && is_active == (status == Status::Inactive)
        {
            $fields.problem("is_active", "This and status say different things.");
        }
        Wish { email, first_name, last_name, role, status, is_active }
    }};
}

/// Everything of somebody.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemUserWhole")]
struct WholeBody {
    #[schemars(flatten, with = "WholeFields")]
    wish: Wish,
}

/// The fields of the wire, every one.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "documents the wire")]
struct WholeFields {
    email: String,
    first_name: String,
    last_name: String,
    role: String,
    /// `active` or `inactive`; `locked` or `pending` where they are.
    status: String,
    is_active: bool,
}

impl FromFields for WholeBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { wish: wish!(fields, required) })
    }
}

/// Something of somebody.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemUserChange")]
struct ChangeBody {
    #[schemars(flatten, with = "ChangeFields")]
    wish: Wish,
}

/// The fields of the wire, each as one likes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "documents the wire")]
struct ChangeFields {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    role: Option<String>,
    /// `active` or `inactive`; `locked` or `pending` where they are.
    status: Option<String>,
    is_active: Option<bool>,
}

impl FromFields for ChangeBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { wish: wish!(fields, optional) })
    }
}

async fn replace(call: Call, Json(body): Json<WholeBody>) -> Result<Json<User>, ApiError> {
    edited(&call, body.wish).await
}

async fn change(call: Call, Json(body): Json<ChangeBody>) -> Result<Json<User>, ApiError> {
    edited(&call, body.wish).await
}

async fn edited(call: &Call, wish: Wish) -> Result<Json<User>, ApiError> {
    let own = somebody(call).await?;
    if let Some(role) = &wish.role {
        defined(call, role)?;
    }
    still_so(call, &own, wish.status)?;
    if own.is_superuser && wish.role.as_ref().is_some_and(|role| !role.is_highest()) {
        let text = "This is a superuser, which no role changes: an operator says who is one.";
        return Err(ApiError::invalid("role", &[text.to_owned()]));
    }
    let is_active = wish.is_active.or(wish.status.map(|status| status != Status::Inactive));
    let able = |is_active| if is_active { Activity::Active } else { Activity::Inactive };
    let fields = [
        wish.email.map(Field::Email),
        wish.first_name.map(Field::FirstName),
        wish.last_name.map(Field::LastName),
    ];
    let edit = Edit {
        fields: fields.into_iter().flatten().collect(),
        activity: is_active.map(able),
        must_change: None,
        role: wish.role.map(|role| OneOf { among: ladder_codes(), wanted: role.code() }),
    };
    let (own, given) = Deed::Edit(edit).carry_out(call, own.id, "users.update").await?;
    Ok(Json(User::of(&own, &given.roles, call.app.now())))
}

/// What a status would not change is refused, and may be written where it is so: clients send back what they read.
fn still_so(call: &Call, own: &Account, wanted: Option<Status>) -> Result<(), ApiError> {
    let (now, is_awaited) = (call.app.now(), own.password_hash.is_none() && own.last_login_at.is_none());
    let is_locked = own.lock(now).is_some();
    let refused = match wanted {
        Some(Status::Locked) if Status::of(own, now) != Status::Locked => {
            "To lock somebody, POST to /users/{id}/lock."
        }
        Some(Status::Active | Status::Pending) if own.is_banned || is_locked => {
            "Somebody locked is unlocked by POST to /users/{id}/unlock; a ban is lifted in the native API."
        }
        Some(Status::Active) if is_awaited => {
            "Who got no password and has never come in is pending until they do."
        }
        Some(Status::Pending) if !is_awaited => {
            "Who has a password, or has come in, is not pending any more."
        }
        _ => return Ok(()),
    };
    Err(ApiError::invalid("status", &[refused.to_owned()]))
}

async fn remove(call: Call, _: Nothing) -> Result<NoContent, ApiError> {
    let own = somebody(&call).await?;
    Deed::Delete.carry_out(&call, own.id, "users.delete").await?;
    Ok(NoContent)
}
