//! `/admin/users`: those who have one of the profile's administrative roles, and what they may do.
//! Law: `rbac` decides who gives what: nobody gives, here either, what they do not hold.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::list::{self, AdminsOnly, ListQuery};
use super::page::Items;
use super::refusal::WORDING;
use super::users::defined;
use super::view::User;
use super::words::{self, Role};
use super::{CHANGED, NAME};
use crate::administration::{self, Deed, NAME_MAX, Newcomer, somebody};
use crate::base::{Email, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Query, Row, get, post, put,
};
use crate::policy::Code;

/// How many permissions somebody is given at once.
const AT_ONCE: usize = 200;

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        get("/admin/users", administrators)
            .allow("users.roles.view")
            .about("Administrators, page by page, with what they hold"),
        post("/admin/users", create)
            .allow("users.roles.assign")
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::PasswordBreached, ErrorCode::Overloaded])
            .audited(&["account_created", "role_assigned", "permission_granted"])
            .about("Make an account for an administrator"),
        put("/admin/users/{id}/permissions", permit)
            .allow("users.permissions.assign")
            .codes(CHANGED)
            .audited(&["permission_granted", "permission_revoked"])
            .about("Give somebody exactly these permissions of their own, beside those of their roles"),
    ];
    rows.into_iter()
        .map(|row| row.limit(Bucket::AuthSystemUsers).strict().of_profile(NAME, WORDING))
        .collect()
}

async fn administrators(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Items<User>>, ApiError> {
    // Who they are, beside what they hold.
    let rights = &call.person()?.rights;
    if !Code::parse("users.view").is_ok_and(|code| rights.holds_code(&code)) {
        return Err(ApiError::new(ErrorCode::PermissionRequired).with("missing", vec!["users.view"]));
    }
    list::page(&call, query, Some(AdminsOnly)).await
}

/// A new administrator.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemAdminNew")]
struct NewBody {
    #[schemars(with = "String", email)]
    email: Email,
    password: Secret<String>,
    #[schemars(with = "Option<String>")]
    first_name: String,
    #[schemars(with = "Option<String>")]
    last_name: String,
    /// `superadmin`, `admin1`, `admin2` or `admin3`.
    #[schemars(with = "String")]
    role: Role,
    /// Permissions of their own, beside those of the role.
    #[schemars(with = "Option<Vec<String>>")]
    permissions: Vec<String>,
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
        let role = fields.required("role").parsed(|text| match Role::parse(text) {
            Ok(Role::User) => Err("Who has this role is no administrator.".to_owned()),
            role => role,
        });
        let given = fields.optional("permissions").json();
        let permissions = given.map_or_else(|| Some(Vec::new()), |given| words_in(fields, &given));
        let must_change_password = fields.optional("must_change_password").flag().unwrap_or(true);
        Some(Self {
            email: email?,
            password: password?,
            first_name: first_name.unwrap_or_default(),
            last_name: last_name.unwrap_or_default(),
            role: role?,
            permissions: permissions?,
            must_change_password,
        })
    }
}

fn words_in(fields: &mut Fields, given: &Value) -> Option<Vec<String>> {
    let list = given.as_array().filter(|list| list.len() <= AT_ONCE);
    let words = list.and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    if words.is_none() {
        fields.problem("permissions", format!("A list of at most {AT_ONCE} permissions."));
    }
    words
}

/// What these words stand for; each that stands for nothing is named.
fn permissions_of(call: &Call, words: &[String]) -> Result<Vec<Code>, ApiError> {
    let catalogue = call.app.catalogue();
    let (mut codes, mut unknown) = (Vec::new(), Vec::new());
    for word in words {
        match words::permission(&catalogue, word) {
            Some(all) => codes.extend(all),
            None => unknown.push(format!("There is no permission {word}.")),
        }
    }
    if !unknown.is_empty() {
        return Err(ApiError::invalid("permissions", &unknown));
    }
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
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
        permissions: permissions_of(&call, &body.permissions)?,
        ..Newcomer::default()
    };
    let (made, given) = administration::make(&call, newcomer).await?;
    Ok(Created(User::whole(&call.app, &made, given)))
}

/// Permissions of somebody's own.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuthSystemPermissions")]
struct PermissionsBody {
    permissions: Vec<String>,
}

impl FromFields for PermissionsBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = fields.required("permissions").json()?;
        Some(Self { permissions: words_in(fields, &given)? })
    }
}

/// What somebody has of their own now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemPermitted")]
struct Permitted {
    message: &'static str,
    permissions: Vec<String>,
}

async fn permit(call: Call, Json(body): Json<PermissionsBody>) -> Result<Json<Permitted>, ApiError> {
    let own = somebody(&call).await?;
    let codes = permissions_of(&call, &body.permissions)?;
    let (_, held) = Deed::Permit(codes).carry_out(&call, own.id, "users.permissions.assign").await?;
    Ok(Json(Permitted {
        message: "Permissions updated successfully",
        permissions: words::permissions(&held.permissions),
    }))
}
