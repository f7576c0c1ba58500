//! The rows of `groups/`: named sets of roles and permissions. They ask for the permissions of roles,
//! because that is what they are to those who manage rights.
//!
//! Law: nobody puts into a group what they do not hold, nor changes one that reaches further than they do.

use schemars::JsonSchema;
use serde::Serialize;

use super::view::{GroupShown, Known};
use super::{DESCRIPTION_MAX, NAME_MAX, REFUSALS, caller, codes, conclude, is_sought, new_code, same_code};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging,
    Query, Row, del, get, post, put,
};
use crate::policy::Code;
use crate::rbac::define::{self, Edit, NewDefinition};
use crate::rbac::{Authority, Granted, Outcome, Refused};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/groups/", list)
            .allow("roles.view")
            .codes(&[ErrorCode::NotFound])
            .strict()
            .about("Groups, page by page"),
        post("/groups/", create)
            .allow("roles.create")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::TooManyDefinitions])
            .strict()
            .audited(&["permission_changed", "group_left"])
            .about("Make an empty group"),
        get("/groups/{id}/", show).allow("roles.view").codes(&[ErrorCode::NotFound]).about("One group"),
        put("/groups/{id}/", update)
            .allow("roles.update")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .strict()
            .audited(&["permission_changed"])
            .about("Change what is sent of a group, and leave the rest"),
        del("/groups/{id}/", delete)
            .allow("roles.delete")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .audited(&["permission_changed", "group_left"])
            .about("Remove a group, from everyone in it"),
        post("/groups/{id}/grants/", add)
            .allow("roles.manage_permissions")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .codes(&[ErrorCode::PermissionsNotFound, ErrorCode::RoleNotFound])
            .strict()
            .audited(&["permission_changed"])
            .about("Give roles and permissions to everyone in a group"),
        del("/groups/{id}/grants/", remove)
            .allow("roles.manage_permissions")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::LastAdministrator])
            .strict()
            .audited(&["permission_changed"])
            .about("Take roles and permissions from everyone in a group"),
    ]
}

/// Which groups, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Part of the code or of the name.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    /// `name`, `code`, `created_at`, joined by commas; with a `-` before one the other way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let search = fields.optional("search").or_blank().text();
        let ordering = Ordering::from_fields(fields, &["name", "code", "created_at"]);
        Some(Self { paging, search, ordering })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<GroupShown>>, ApiError> {
    let known = Known::read(&call.app).await?;
    let part = query.search.as_deref().unwrap_or_default().to_lowercase();
    let sought = known.definitions().groups.iter().filter(|(code, own)| is_sought(&part, code, &own.name));
    let mut found: Vec<GroupShown> = sought.filter_map(|(code, _)| known.group(code)).collect();
    query.ordering.sort(&mut found, |field, left, right| match field {
        "code" => left.code.cmp(&right.code),
        "created_at" => left.created_at.cmp(&right.created_at),
        _ => left.name.cmp(&right.name),
    });
    query.paging.cut(&call, found).map(Json)
}

/// A new group.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupRequest")]
struct NewBody {
    /// What refers to it, such as `night-shift`.
    code: Code,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = new_code(fields);
        let name = fields.required("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        Some(Self { code: code?, name: name?, description })
    }
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<GroupShown>, ApiError> {
    let by = caller(&call)?;
    let new =
        NewDefinition { code: body.code, name: body.name, description: body.description.unwrap_or_default() };
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.create"]).await?;
        define::make_group(&mut change, &authority, &new).await?;
        conclude(change, Outcome::Changed).await
    });
    made.await?;
    shown(&call, &new.code).await.map(Created)
}

async fn show(call: Call, _: Nothing) -> Result<Json<GroupShown>, ApiError> {
    let known = Known::read(&call.app).await?;
    known.group(&named(&call, &known)?).map(Json).ok_or_else(missing)
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupUpdate")]
struct UpdateBody {
    /// It may be sent along; it stays what it is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = fields.optional("code").text();
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        Some(Self { code, name, description })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<GroupShown>, ApiError> {
    let by = caller(&call)?;
    let code = named(&call, &Known::read(&call.app).await?)?;
    same_code(body.code.as_deref(), &code)?;
    let edit = Edit { name: body.name, description: body.description, ..Edit::default() };
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.update"]).await?;
        let outcome = define::describe_group(&mut change, &authority, &code, edit.clone()).await?;
        conclude(change, outcome).await
    });
    written.await.map_err(gone)?;
    shown(&call, &code).await.map(Json)
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GroupDeleted")]
struct Deleted {
    message: &'static str,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let by = caller(&call)?;
    let code = named(&call, &Known::read(&call.app).await?)?;
    let removed = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.delete"]).await?;
        define::drop_group(&mut change, &authority, &code).await?;
        conclude(change, Outcome::Changed).await
    });
    removed.await.map_err(gone)?;
    Ok(Json(Deleted { message: "Group deleted" }))
}

/// Roles and permissions; at least one of them.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "GroupGrants")]
struct GrantsBody {
    #[schemars(skip_serializing_if = "Option::is_none")]
    role_codes: Option<Vec<Code>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    permission_codes: Option<Vec<Code>>,
}

impl FromFields for GrantsBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let role_codes = codes(fields, "role_codes", false);
        let permission_codes = codes(fields, "permission_codes", false);
        Some(Self { role_codes, permission_codes })
    }
}

async fn add(call: Call, Json(body): Json<GrantsBody>) -> Result<Json<GroupShown>, ApiError> {
    set(&call, body, true).await
}

async fn remove(call: Call, Json(body): Json<GrantsBody>) -> Result<Json<GroupShown>, ApiError> {
    set(&call, body, false).await
}

async fn set(call: &Call, body: GrantsBody, has: bool) -> Result<Json<GroupShown>, ApiError> {
    let by = caller(call)?;
    let code = named(call, &Known::read(&call.app).await?)?;
    let roles = body.role_codes.unwrap_or_default().into_iter().map(Granted::Role);
    let permissions = body.permission_codes.unwrap_or_default().into_iter().map(Granted::Permission);
    let all: Vec<Granted> = roles.chain(permissions).collect();
    if all.is_empty() {
        let text = "Name at least one of role_codes and permission_codes.".to_owned();
        return Err(ApiError::invalid(crate::http::fields::WHOLE, &[text]));
    }
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["roles.manage_permissions"]).await?;
        let mut outcome = Outcome::Unchanged;
        for granted in &all {
            let set = define::set_group_grant(&mut change, &authority, &code, granted, has).await?;
            outcome = outcome.or(set);
        }
        conclude(change, outcome).await
    });
    written.await.map_err(gone)?;
    shown(call, &code).await.map(Json)
}

async fn shown(call: &Call, code: &Code) -> Result<GroupShown, ApiError> {
    Known::read(&call.app).await?.group(code).ok_or_else(missing)
}

/// The group that the path names.
fn named(call: &Call, known: &Known) -> Result<Code, ApiError> {
    known.group_named(call.param("id")?).ok_or_else(missing)
}

/// A group that is gone by now is the path's, not the body's.
fn gone(refused: Refused) -> ApiError {
    match refused {
        Refused::Undefined(Granted::Group(_)) => missing(),
        refused => refused.into(),
    }
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("Group not found")
}
