//! The rows of `org-roles/`: what members of organizations may be (contract section 25.4).
//!
//! Law: everybody sees them, because everybody may be asked to give one. What came with the gateway or stands
//! in the file stays as it is, and what somebody is is not removed.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::caller;
use super::view::{RoleShown, roles};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Query, Row, del, get,
    post, put,
};
use crate::organization::role::{self, Kept};
use crate::policy::definition::ManagedBy;
use crate::policy::{Code, Grant};
use crate::rbac::define::{DESCRIPTION_MAX, NAME_MAX, new_code};
use crate::rbac::org_role::{self, GRANTS_MAX, Stays, Wanted};
use crate::rbac::{Authority, Outcome};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    let changing =
        [ErrorCode::NotFound, ErrorCode::PermissionDenied, ErrorCode::ManagedByConfig, ErrorCode::BuiltIn];
    vec![
        get("/org-roles/", list).person().strict().about("What members of organizations may be"),
        post("/org-roles/", create)
            .allow("roles.create")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::TooManyDefinitions, ErrorCode::OrgRoleInUse])
            .strict()
            .audited(&["permission_changed"])
            .about("Define an org role, for all organizations"),
        get("/org-roles/{id}/", show).person().codes(&[ErrorCode::NotFound]).about("One org role"),
        put("/org-roles/{id}/", update)
            .allow("roles.update")
            .limit(Bucket::Rights)
            .codes(&changing)
            .strict()
            .audited(&["permission_changed"])
            .about("Change what is sent of an org role, and leave the rest"),
        del("/org-roles/{id}/", delete)
            .allow("roles.delete")
            .limit(Bucket::Rights)
            .codes(&changing)
            .codes(&[ErrorCode::OrgRoleInUse])
            .audited(&["permission_changed", "invitation_ended"])
            .about("Remove an org role that nobody is"),
    ]
}

/// No parameters: those that there are not are refused.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrgRoleQuery")]
struct Plain {}

impl FromFields for Plain {
    fn from_fields(_: &mut Fields) -> Option<Self> {
        Some(Self {})
    }
}

async fn list(call: Call, _: Query<Plain>) -> Result<Json<Vec<RoleShown>>, ApiError> {
    let mut all = roles(&call.app).await?;
    all.sort_by(|left, right| left.name.cmp(&right.name).then_with(|| left.code.cmp(&right.code)));
    Ok(Json(all))
}

async fn show(call: Call, _: Nothing) -> Result<Json<RoleShown>, ApiError> {
    one(&call, call.param("id")?).await.map(Json)
}

async fn one(call: &Call, code: &str) -> Result<RoleShown, ApiError> {
    let found = roles(&call.app).await?.into_iter().find(|role| role.code == code || role.id == code);
    found.ok_or_else(missing)
}

/// A new org role.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrgRoleRequest")]
struct NewBody {
    /// What refers to it, such as `buyer`.
    code: Code,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Codes, or `x.*` for `x` and everything below it.
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<Grant>>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = fields.required("code").max(NAME_MAX).parsed(new_code);
        let name = fields.required("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let permissions = grants(fields);
        Some(Self { code: code?, name: name?, description, permissions })
    }
}

/// A list of grants; each one that is none is told by its place.
fn grants(fields: &mut Fields) -> Option<Vec<Grant>> {
    const NAME: &str = "permissions";
    let members = match fields.optional(NAME).or_null().json()? {
        Value::Array(members) if members.len() <= GRANTS_MAX => members,
        _ => {
            fields.problem(NAME, format!("Expected a list of at most {GRANTS_MAX} items."));
            return None;
        }
    };
    let mut all = Vec::new();
    for (place, member) in members.iter().enumerate() {
        match member.as_str().filter(|text| text.len() <= NAME_MAX).map(Grant::parse) {
            Some(Ok(grant)) if all.contains(&grant) => {}
            Some(Ok(grant)) => all.push(grant),
            _ => fields.problem_in(NAME, place, "Not a code."),
        }
    }
    Some(all)
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<RoleShown>, ApiError> {
    let by = caller(&call)?;
    let NewBody { code, name, description, permissions } = body;
    let wanted = Wanted { name: Some(name), description, permissions };
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.create"]).await?;
        role::create(&mut change, &authority, &code, &wanted).await?;
        Ok::<_, Kept>(change.commit().await?)
    });
    made.await?;
    one(&call, code.as_str()).await.map(Created)
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrgRoleUpdate")]
struct UpdateBody {
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// All that it grants from now on.
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<Grant>>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let permissions = grants(fields);
        Some(Self { name, description, permissions })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<RoleShown>, ApiError> {
    let (by, code) = (caller(&call)?, named(&call).await?);
    let UpdateBody { name, description, permissions } = body;
    let wanted = Wanted { name, description, permissions };
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.update"]).await?;
        match org_role::edit(&mut change, &authority, &code, &wanted).await? {
            Outcome::Changed => Ok::<_, Kept>(change.commit().await?),
            Outcome::Unchanged => Ok(()),
        }
    });
    written.await?;
    one(&call, code.as_str()).await.map(Json)
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrgRoleDeleted")]
struct Deleted {
    message: &'static str,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let (by, code) = (caller(&call)?, named(&call).await?);
    let removed = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.delete"]).await?;
        role::remove(&mut change, &authority, &code).await?;
        Ok::<_, Kept>(change.commit().await?)
    });
    removed.await?;
    Ok(Json(Deleted { message: "Role deleted" }))
}

async fn named(call: &Call) -> Result<Code, ApiError> {
    let found = one(call, call.param("id")?).await?;
    Code::parse(&found.code).map_err(|_| missing())
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("Role not found")
}

impl From<Kept> for ApiError {
    fn from(kept: Kept) -> Self {
        let Kept::Stays(stays) = kept else { return Self::new(ErrorCode::OrgRoleInUse) };
        match stays {
            Stays::Undefined => missing(),
            Stays::Taken => Self::invalid("code", &["role with this code already exists.".to_owned()]),
            Stays::Elsewhere(ManagedBy::Config) => Self::new(ErrorCode::ManagedByConfig),
            Stays::Elsewhere(_) => Self::new(ErrorCode::BuiltIn),
            Stays::Full => Self::new(ErrorCode::TooManyDefinitions),
            Stays::Refused(refused) => refused.into(),
        }
    }
}
