//! The rows of `users/{id}/roles/`, `users/{id}/permissions/` and `users/{id}/groups/` (contract
//! section 19.6).
//!
//! Law: nobody gives or takes what they do not hold, to themselves or to others. People of another site do
//! not exist, neither do those who are gone.

use schemars::JsonSchema;
use serde::Serialize;

use super::roles::CodesBody;
use super::view::{GroupShown, Known, PermissionShown, RoleListed};
use super::{all_known, caller, conclude, texts};
use crate::account::{self, Account, Reference};
use crate::http::{
    ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, Nothing, Query, Row, del, get, post,
};
use crate::policy::Code;
use crate::rbac::{self, Authority, Granted, Outcome, define};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    let taking = [ErrorCode::NotFound, ErrorCode::PermissionDenied, ErrorCode::LastAdministrator];
    vec![
        get("/users/{id}/roles/", roles)
            .allow("users.roles.view")
            .codes(&[ErrorCode::NotFound])
            .about("The roles that somebody was given"),
        post("/users/{id}/roles/", give_role)
            .allow("users.roles.assign")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::NotFound, ErrorCode::RoleNotFound, ErrorCode::PermissionDenied])
            .strict()
            .audited(&["role_assigned"])
            .about("Give somebody a role"),
        del("/users/{id}/roles/", take_role)
            .allow("users.roles.remove")
            .limit(Bucket::Rights)
            .codes(&taking)
            .codes(&[ErrorCode::MissingParam])
            .strict()
            .audited(&["role_removed"])
            .about("Take a role from somebody"),
        get("/users/{id}/permissions/", permissions)
            .allow("users.permissions.view")
            .codes(&[ErrorCode::NotFound])
            .about("What somebody may do"),
        post("/users/{id}/permissions/", give_permissions)
            .allow("users.permissions.assign")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::NotFound, ErrorCode::PermissionsNotFound, ErrorCode::PermissionDenied])
            .strict()
            .audited(&["permission_granted"])
            .about("Give somebody permissions of their own"),
        del("/users/{id}/permissions/", take_permissions)
            .allow("users.permissions.remove")
            .limit(Bucket::Rights)
            .codes(&taking)
            .codes(&[ErrorCode::PermissionsNotFound])
            .strict()
            .audited(&["permission_revoked"])
            .about("Take permissions of their own from somebody"),
        get("/users/{id}/groups/", groups)
            .allow("users.roles.view")
            .codes(&[ErrorCode::NotFound])
            .about("The groups that somebody is in"),
        post("/users/{id}/groups/", join_group)
            .allow("users.roles.assign")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::NotFound, ErrorCode::GroupNotFound, ErrorCode::PermissionDenied])
            .strict()
            .audited(&["group_joined"])
            .about("Put somebody into a group"),
        del("/users/{id}/groups/", leave_group)
            .allow("users.roles.remove")
            .limit(Bucket::Rights)
            .codes(&taking)
            .codes(&[ErrorCode::MissingParam])
            .strict()
            .audited(&["group_left"])
            .about("Take somebody out of a group"),
    ]
}

/// The roles of somebody.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserRoles")]
struct Roles {
    user_id: String,
    roles: Vec<RoleListed>,
}

async fn roles(call: Call, _: Nothing) -> Result<Json<Roles>, ApiError> {
    let user = somebody(&call).await?;
    let known = Known::read(&call.app).await?;
    let held = rbac::assignments(&call.app.db, user.id).await?;
    let roles = held.roles.iter().filter_map(|code| known.role_listed(code)).collect();
    Ok(Json(Roles { user_id: user.number.to_string(), roles }))
}

/// A role to give.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RoleAssignment")]
struct RoleBody {
    role_code: Code,
}

impl FromFields for RoleBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { role_code: fields.required("role_code").parsed(Code::parse)? })
    }
}

/// The roles afterwards.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserRolesChanged")]
struct RolesChanged {
    message: &'static str,
    roles: Vec<String>,
}

async fn give_role(call: Call, Json(body): Json<RoleBody>) -> Result<Json<RolesChanged>, ApiError> {
    let user = somebody(&call).await?;
    set(&call, &user, "users.roles.assign", &[Granted::Role(body.role_code)], true).await?;
    roles_of(&call, &user, "Role assigned").await
}

/// Which role.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RoleNamed")]
struct RoleQuery {
    /// The role to take away.
    #[schemars(skip_serializing_if = "Option::is_none")]
    role_code: Option<Code>,
}

impl FromFields for RoleQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { role_code: fields.optional("role_code").parsed(Code::parse) })
    }
}

async fn take_role(call: Call, Query(query): Query<RoleQuery>) -> Result<Json<RolesChanged>, ApiError> {
    let user = somebody(&call).await?;
    let code = query.role_code.ok_or_else(|| lacking("role_code query parameter required"))?;
    set(&call, &user, "users.roles.remove", &[Granted::Role(code)], false).await?;
    roles_of(&call, &user, "Role removed").await
}

async fn roles_of(
    call: &Call,
    user: &Account,
    message: &'static str,
) -> Result<Json<RolesChanged>, ApiError> {
    let held = rbac::assignments(&call.app.db, user.id).await?;
    Ok(Json(RolesChanged { message, roles: texts(&held.roles) }))
}

/// What somebody may do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPermissions")]
struct Reach {
    user_id: String,
    email: Option<String>,
    /// Given to them alone.
    direct_permissions: Vec<PermissionShown>,
    /// Codes of everything that they hold, by roles, groups and parents too.
    all_permissions: Vec<String>,
}

async fn permissions(call: Call, _: Nothing) -> Result<Json<Reach>, ApiError> {
    let user = somebody(&call).await?;
    let known = Known::read(&call.app).await?;
    let held = rbac::assignments(&call.app.db, user.id).await?;
    Ok(Json(Reach {
        user_id: user.number.to_string(),
        email: user.email.as_ref().map(ToString::to_string),
        direct_permissions: known.permissions(&held.permissions),
        all_permissions: texts(&known.catalogue().rights(&held).codes()),
    }))
}

/// Somebody with more permissions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPermissionsAdded")]
struct More {
    message: String,
    added: Vec<String>,
    user_id: String,
    direct_permissions: Vec<PermissionShown>,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    already_assigned: Vec<String>,
}

async fn give_permissions(call: Call, Json(body): Json<CodesBody>) -> Result<Json<More>, ApiError> {
    let user = somebody(&call).await?;
    all_known(&Known::read(&call.app).await?, &body.permission_codes)?;
    let granted: Vec<Granted> = body.permission_codes.into_iter().map(Granted::Permission).collect();
    let (added, already_assigned) = set(&call, &user, "users.permissions.assign", &granted, true).await?;
    let message = format!("{} permission(s) added", added.len());
    let (user_id, direct_permissions) = direct(&call, &user).await?;
    Ok(Json(More { message, added, user_id, direct_permissions, already_assigned }))
}

/// Somebody with fewer permissions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPermissionsRemoved")]
struct Fewer {
    message: String,
    removed: Vec<String>,
    user_id: String,
    direct_permissions: Vec<PermissionShown>,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_removed: Vec<String>,
}

async fn take_permissions(call: Call, Json(body): Json<CodesBody>) -> Result<Json<Fewer>, ApiError> {
    let user = somebody(&call).await?;
    all_known(&Known::read(&call.app).await?, &body.permission_codes)?;
    let granted: Vec<Granted> = body.permission_codes.into_iter().map(Granted::Permission).collect();
    let (removed, not_removed) = set(&call, &user, "users.permissions.remove", &granted, false).await?;
    let message = format!("{} permission(s) removed", removed.len());
    let (user_id, direct_permissions) = direct(&call, &user).await?;
    Ok(Json(Fewer { message, removed, user_id, direct_permissions, not_removed }))
}

async fn direct(call: &Call, user: &Account) -> Result<(String, Vec<PermissionShown>), ApiError> {
    let known = Known::read(&call.app).await?;
    let held = rbac::assignments(&call.app.db, user.id).await?;
    Ok((user.number.to_string(), known.permissions(&held.permissions)))
}

/// The groups of somebody.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserGroups")]
struct Groups {
    user_id: String,
    groups: Vec<GroupShown>,
}

async fn groups(call: Call, _: Nothing) -> Result<Json<Groups>, ApiError> {
    let user = somebody(&call).await?;
    groups_of(&call, &user).await
}

/// A group to join.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupAssignment")]
struct GroupBody {
    group_code: Code,
}

impl FromFields for GroupBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { group_code: fields.required("group_code").parsed(Code::parse)? })
    }
}

async fn join_group(call: Call, Json(body): Json<GroupBody>) -> Result<Json<Groups>, ApiError> {
    let user = somebody(&call).await?;
    set(&call, &user, "users.roles.assign", &[Granted::Group(body.group_code)], true).await?;
    groups_of(&call, &user).await
}

/// Which group.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupNamed")]
struct GroupQuery {
    /// The group to leave.
    #[schemars(skip_serializing_if = "Option::is_none")]
    group_code: Option<Code>,
}

impl FromFields for GroupQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { group_code: fields.optional("group_code").parsed(Code::parse) })
    }
}

async fn leave_group(call: Call, Query(query): Query<GroupQuery>) -> Result<Json<Groups>, ApiError> {
    let user = somebody(&call).await?;
    let code = query.group_code.ok_or_else(|| lacking("group_code query parameter required"))?;
    set(&call, &user, "users.roles.remove", &[Granted::Group(code)], false).await?;
    groups_of(&call, &user).await
}

async fn groups_of(call: &Call, user: &Account) -> Result<Json<Groups>, ApiError> {
    let known = Known::read(&call.app).await?;
    let held = rbac::assignments(&call.app.db, user.id).await?;
    let groups = held.groups.iter().filter_map(|code| known.group(code)).collect();
    Ok(Json(Groups { user_id: user.number.to_string(), groups }))
}

/// Gives somebody these things or takes them; what changed, and what was so already.
async fn set(
    call: &Call,
    user: &Account,
    needed: &'static str,
    all: &[Granted],
    has: bool,
) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let by = caller(call)?;
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &[needed]).await?;
        let (mut changed, mut was_so) = (Vec::new(), Vec::new());
        for granted in all {
            let outcome = if has {
                define::give(&mut change, &authority, user.id, granted).await?
            } else {
                define::take(&mut change, &authority, user.id, granted).await?
            };
            match outcome {
                Outcome::Changed => changed.push(granted.code().to_string()),
                Outcome::Unchanged => was_so.push(granted.code().to_string()),
            }
        }
        let outcome = if changed.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        conclude(change, outcome).await?;
        Ok::<_, rbac::Refused>((changed, was_so))
    });
    Ok(written.await?)
}

/// The person of the caller's site whom the path names, by number or id.
async fn somebody(call: &Call) -> Result<Account, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("User not found");
    let Ok(reference @ (Reference::Id(_) | Reference::Number(_))) = call.param("id")?.parse::<Reference>()
    else {
        return Err(missing());
    };
    account::find(&call.app.db, call.person()?.account.site, &reference).await?.ok_or_else(missing)
}

fn lacking(text: &'static str) -> ApiError {
    ApiError::new(ErrorCode::MissingParam).saying(text)
}
