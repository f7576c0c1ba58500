//! The rows of `roles/` (contract section 19.5).
//!
//! Law: a role never brings what its maker does not hold, and who changes one reaches as far as it does.

use schemars::JsonSchema;
use serde::Serialize;

use super::view::{Known, PermissionShown, RoleListed, RoleShown};
use super::{
    DESCRIPTION_MAX, NAME_MAX, REFUSALS, all_known, caller, codes, conclude, is_sought, new_code, same_code,
};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging,
    Query, Row, del, get, post, put,
};
use crate::policy::Code;
use crate::rbac::define::{self, Edit, NewDefinition};
use crate::rbac::{Authority, Granted, Outcome, Refused};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    let changed = ["permission_changed"];
    vec![
        get("/roles/", list)
            .allow("roles.view")
            .codes(&[ErrorCode::NotFound])
            .strict()
            .about("Roles, page by page"),
        post("/roles/", create)
            .allow("roles.create")
            .limit(Bucket::Rights)
            .codes(&[
                ErrorCode::PermissionDenied,
                ErrorCode::TooManyDefinitions,
                ErrorCode::PermissionsNotFound,
            ])
            .strict()
            .audited(&["permission_changed", "role_removed"])
            .about("Define a role"),
        get("/roles/{id}/", show).allow("roles.view").codes(&[ErrorCode::NotFound]).about("One role"),
        put("/roles/{id}/", update)
            .allow("roles.update")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .codes(&[ErrorCode::PermissionsNotFound])
            .strict()
            .audited(&changed)
            .about("Change what is sent of a role, and leave the rest"),
        del("/roles/{id}/", delete)
            .allow("roles.delete")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .audited(&["permission_changed", "role_removed"])
            .about("Remove a role, from everyone"),
        get("/roles/{id}/permissions/", permissions)
            .allow("roles.manage_permissions")
            .codes(&[ErrorCode::NotFound])
            .about("What a role brings"),
        post("/roles/{id}/permissions/", add)
            .allow("roles.manage_permissions")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .codes(&[ErrorCode::PermissionsNotFound])
            .strict()
            .audited(&changed)
            .about("Let a role bring more"),
        del("/roles/{id}/permissions/", remove)
            .allow("roles.manage_permissions")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .codes(&[ErrorCode::PermissionsNotFound])
            .strict()
            .audited(&changed)
            .about("Let a role bring less"),
    ]
}

/// Which roles, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RoleQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Part of the code or of the name.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_default: Option<bool>,
    /// Any of `name`, `code`, `is_default` and `created_at`, joined by commas; with a `-` before one the other
    /// way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let search = fields.optional("search").or_blank().text();
        let is_default = fields.optional("is_default").flag();
        let ordering = Ordering::from_fields(fields, &["name", "code", "is_default", "created_at"]);
        Some(Self { paging, search, is_default, ordering })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<RoleListed>>, ApiError> {
    let known = Known::read(&call.app).await?;
    let part = query.search.as_deref().unwrap_or_default().to_lowercase();
    let sought = known.definitions().roles.iter().filter(|(code, own)| {
        let is_found = is_sought(&part, code, &own.name);
        is_found && query.is_default.is_none_or(|wanted| own.is_default == wanted)
    });
    let mut found: Vec<RoleListed> = sought.filter_map(|(code, _)| known.role_listed(code)).collect();
    query.ordering.sort(&mut found, |field, left, right| match field {
        "code" => left.code.cmp(&right.code),
        "is_default" => left.is_default.cmp(&right.is_default),
        "created_at" => left.created_at.cmp(&right.created_at),
        _ => left.name.cmp(&right.name),
    });
    query.paging.cut(&call, found).map(Json)
}

/// A new role.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RoleRequest")]
struct NewBody {
    /// What refers to it, such as `moderator`.
    code: Code,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_default: Option<bool>,
    /// What it brings: nothing that you do not hold.
    #[schemars(skip_serializing_if = "Option::is_none")]
    permission_codes: Option<Vec<Code>>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = new_code(fields);
        let name = fields.required("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let is_default = fields.optional("is_default").flag();
        let permission_codes = codes(fields, "permission_codes", false);
        Some(Self { code: code?, name: name?, description, is_default, permission_codes })
    }
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<RoleShown>, ApiError> {
    let by = caller(&call)?;
    let permissions = body.permission_codes.unwrap_or_default();
    all_known(&Known::read(&call.app).await?, &permissions)?;
    let is_default = body.is_default.unwrap_or_default();
    let new =
        NewDefinition { code: body.code, name: body.name, description: body.description.unwrap_or_default() };
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.create"]).await?;
        define::create_role(&mut change, &authority, &new, is_default, &permissions).await?;
        conclude(change, Outcome::Changed).await
    });
    made.await?;
    Known::read(&call.app).await?.role(&new.code).map(Created).ok_or_else(missing)
}

async fn show(call: Call, _: Nothing) -> Result<Json<RoleShown>, ApiError> {
    let known = Known::read(&call.app).await?;
    known.role(&named(&call, &known)?).map(Json).ok_or_else(missing)
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RoleUpdate")]
struct UpdateBody {
    /// It may be sent along; it stays what it is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_default: Option<bool>,
    /// All that it brings from now on. Asks for `roles.manage_permissions` too.
    #[schemars(skip_serializing_if = "Option::is_none")]
    permission_codes: Option<Vec<Code>>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = fields.optional("code").text();
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let is_default = fields.optional("is_default").flag();
        let permission_codes = codes(fields, "permission_codes", false);
        Some(Self { code, name, description, is_default, permission_codes })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<RoleShown>, ApiError> {
    let by = caller(&call)?;
    let known = Known::read(&call.app).await?;
    let code = named(&call, &known)?;
    same_code(body.code.as_deref(), &code)?;
    all_known(&known, body.permission_codes.as_deref().unwrap_or_default())?;
    let needed: &[&'static str] = match body.permission_codes {
        Some(_) => &["roles.update", "roles.manage_permissions"],
        None => &["roles.update"],
    };
    let wanted = body.permission_codes;
    let edit =
        Edit { name: body.name, description: body.description, is_default: body.is_default, place: None };
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, needed).await?;
        let mut outcome = define::edit_role(&mut change, &authority, &code, edit.clone()).await?;
        for (permission, has) in differences(&authority, &code, wanted.as_deref()) {
            let set = define::set_role_permission(&mut change, &authority, &code, &permission, has).await?;
            outcome = outcome.or(set);
        }
        conclude(change, outcome).await
    });
    written.await.map_err(gone)?;
    Known::read(&call.app).await?.role(&code).map(Json).ok_or_else(missing)
}

/// What a role lacks of what is wanted, and what it has beyond it.
fn differences(authority: &Authority, role: &Code, wanted: Option<&[Code]>) -> Vec<(Code, bool)> {
    let (Some(wanted), Some(own)) = (wanted, authority.definitions().roles.get(role)) else {
        return Vec::new();
    };
    let added = wanted.iter().filter(|code| !own.permissions.contains(code)).map(|code| (code.clone(), true));
    let taken =
        own.permissions.iter().filter(|code| !wanted.contains(code)).map(|code| (code.clone(), false));
    added.chain(taken).collect()
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoleDeleted")]
struct Deleted {
    message: &'static str,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let by = caller(&call)?;
    let code = named(&call, &Known::read(&call.app).await?)?;
    let removed = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.delete"]).await?;
        define::remove_role(&mut change, &authority, &code).await?;
        conclude(change, Outcome::Changed).await
    });
    removed.await.map_err(gone)?;
    Ok(Json(Deleted { message: "Role deleted" }))
}

/// What a role brings.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolePermissions")]
struct Brought {
    role_id: String,
    role_code: String,
    permissions: Vec<PermissionShown>,
}

async fn permissions(call: Call, _: Nothing) -> Result<Json<Brought>, ApiError> {
    let known = Known::read(&call.app).await?;
    let role = known.role(&named(&call, &known)?).ok_or_else(missing)?;
    Ok(Json(Brought { role_id: role.id, role_code: role.code, permissions: role.permissions }))
}

/// Some permissions.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PermissionCodes")]
pub(super) struct CodesBody {
    /// At least one.
    pub permission_codes: Vec<Code>,
}

impl FromFields for CodesBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { permission_codes: codes(fields, "permission_codes", true)? })
    }
}

/// A role that brings more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolePermissionsAdded")]
struct More {
    message: String,
    added: Vec<String>,
    role_code: String,
    permissions: Vec<PermissionShown>,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    already_assigned: Vec<String>,
}

async fn add(call: Call, Json(body): Json<CodesBody>) -> Result<Json<More>, ApiError> {
    let (role, added, already_assigned) = set(&call, &body.permission_codes, true).await?;
    let message = format!("{} permission(s) added", added.len());
    let (role_code, permissions) = (role.code, role.permissions);
    Ok(Json(More { message, added, role_code, permissions, already_assigned }))
}

/// A role that brings less.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolePermissionsRemoved")]
struct Fewer {
    message: String,
    removed: Vec<String>,
    role_code: String,
    permissions: Vec<PermissionShown>,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_removed: Vec<String>,
}

async fn remove(call: Call, Json(body): Json<CodesBody>) -> Result<Json<Fewer>, ApiError> {
    let (role, removed, not_removed) = set(&call, &body.permission_codes, false).await?;
    let message = format!("{} permission(s) removed", removed.len());
    let (role_code, permissions) = (role.code, role.permissions);
    Ok(Json(Fewer { message, removed, role_code, permissions, not_removed }))
}

/// Gives a role these permissions or takes them; the role afterwards, what changed, and what was so already.
async fn set(
    call: &Call,
    permissions: &[Code],
    has: bool,
) -> Result<(RoleShown, Vec<String>, Vec<String>), ApiError> {
    let by = caller(call)?;
    let known = Known::read(&call.app).await?;
    let code = named(call, &known)?;
    all_known(&known, permissions)?;
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.manage_permissions"]).await?;
        let (mut changed, mut was_so) = (Vec::new(), Vec::new());
        for permission in permissions {
            match define::set_role_permission(&mut change, &authority, &code, permission, has).await? {
                Outcome::Changed => changed.push(permission.to_string()),
                Outcome::Unchanged => was_so.push(permission.to_string()),
            }
        }
        let outcome = if changed.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        conclude(change, outcome).await?;
        Ok((changed, was_so))
    });
    let (changed, was_so) = written.await.map_err(gone)?;
    let role = Known::read(&call.app).await?.role(&code).ok_or_else(missing)?;
    Ok((role, changed, was_so))
}

/// The role that the path names.
fn named(call: &Call, known: &Known) -> Result<Code, ApiError> {
    known.role_named(call.param("id")?).ok_or_else(missing)
}

/// A role that is gone by now is the path's, not the body's.
fn gone(refused: Refused) -> ApiError {
    match refused {
        Refused::Undefined(Granted::Role(_)) => missing(),
        refused => refused.into(),
    }
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("Role not found")
}
