//! The rows of `permissions/` (contract section 19.4).
//!
//! Law: a permission is made only below what its maker holds, and moved only by who holds it.

use schemars::JsonSchema;
use serde::Serialize;

use super::view::{Known, PermissionShown};
use super::{DESCRIPTION_MAX, NAME_MAX, REFUSALS, caller, conclude, is_sought, new_code, same_code};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging,
    Query, Row, del, get, post, put,
};
use crate::policy::Code;
use crate::rbac::define::{self, Edit, NewDefinition, Place};
use crate::rbac::{Authority, Outcome, Refused};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/permissions/", list)
            .allow("permissions.view")
            .codes(&[ErrorCode::NotFound])
            .strict()
            .about("Permissions, page by page"),
        post("/permissions/", create)
            .allow("permissions.create")
            .limit(Bucket::Rights)
            .codes(&[ErrorCode::PermissionDenied, ErrorCode::TooManyDefinitions])
            .strict()
            .audited(&["permission_changed", "permission_revoked"])
            .about("Define a permission"),
        get("/permissions/{id}/", show)
            .allow("permissions.view")
            .codes(&[ErrorCode::NotFound])
            .about("One permission"),
        put("/permissions/{id}/", update)
            .allow("permissions.update")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .codes(&[ErrorCode::CircularHierarchy])
            .strict()
            .audited(&["permission_changed"])
            .about("Change what is sent of a permission, and leave the rest"),
        del("/permissions/{id}/", delete)
            .allow("permissions.delete")
            .limit(Bucket::Rights)
            .codes(&REFUSALS)
            .audited(&["permission_changed", "permission_revoked"])
            .about("Remove a permission and those below it, from everyone"),
    ]
}

/// Which permissions, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PermissionQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Part of the code or of the name.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    /// Those below this permission, by id or code; `null` or nothing for those below none.
    #[schemars(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Any of `code`, `name` and `created_at`, joined by commas; with a `-` before one the other way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let search = fields.optional("search").or_blank().text();
        let parent = fields.optional("parent").or_blank().text();
        let ordering = Ordering::from_fields(fields, &["code", "name", "created_at"]);
        Some(Self { paging, search, parent, ordering })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<PermissionShown>>, ApiError> {
    let known = Known::read(&call.app).await?;
    let part = query.search.as_deref().unwrap_or_default().to_lowercase();
    let below = match query.parent.as_deref() {
        None => None,
        Some("" | "null") => Some(None),
        Some(text) => match known.permission_named(text) {
            Some(code) => Some(Some(code)),
            None => return Err(ApiError::invalid("parent", &["There is no such permission.".to_owned()])),
        },
    };
    let all = known.definitions().permissions.iter();
    let sought = all.filter(|(code, own)| {
        let is_found = is_sought(&part, code, &own.name);
        is_found && below.as_ref().is_none_or(|parent| own.parent == *parent)
    });
    let mut found: Vec<PermissionShown> = sought.filter_map(|(code, _)| known.permission(code)).collect();
    query.ordering.sort(&mut found, |field, left, right| match field {
        "name" => left.name.cmp(&right.name),
        "created_at" => left.created_at.cmp(&right.created_at),
        _ => left.code.cmp(&right.code),
    });
    query.paging.cut(&call, found).map(Json)
}

/// A new permission.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PermissionRequest")]
struct NewBody {
    /// What refers to it, such as `posts.publish`.
    code: Code,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Who holds this one holds the new one too.
    #[schemars(skip_serializing_if = "Option::is_none")]
    parent_code: Option<Code>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = new_code(fields);
        let name = fields.required("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let parent_code = fields.optional("parent_code").or_null().parsed(Code::parse);
        Some(Self { code: code?, name: name?, description, parent_code })
    }
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<PermissionShown>, ApiError> {
    let by = caller(&call)?;
    let NewBody { code, name, description, parent_code } = body;
    let new = NewDefinition { code, name, description: description.unwrap_or_default() };
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["permissions.create"]).await?;
        define::create_permission(&mut change, &authority, &new, parent_code.as_ref()).await?;
        conclude(change, Outcome::Changed).await
    });
    made.await.map_err(|refused| about_parent(refused, parent_code.as_ref()))?;
    shown(&call, &new.code).await.map(Created)
}

async fn show(call: Call, _: Nothing) -> Result<Json<PermissionShown>, ApiError> {
    let known = Known::read(&call.app).await?;
    known.permission(&named(&call, &known)?).map(Json).ok_or_else(missing)
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PermissionUpdate")]
struct UpdateBody {
    /// It may be sent along; it stays what it is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// `null` takes it out from below its parent.
    #[schemars(with = "Option<Code>", skip_serializing_if = "Option::is_none")]
    parent_code: Option<Place>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let code = fields.optional("code").text();
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let parent_code = if fields.is_null("parent_code") {
            Some(Place::Alone)
        } else {
            fields.optional("parent_code").parsed(Code::parse).map(Place::Below)
        };
        Some(Self { code, name, description, parent_code })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<PermissionShown>, ApiError> {
    let by = caller(&call)?;
    let code = named(&call, &Known::read(&call.app).await?)?;
    same_code(body.code.as_deref(), &code)?;
    let parent = body.parent_code.as_ref().and_then(Place::parent).cloned();
    let edit =
        Edit { name: body.name, description: body.description, place: body.parent_code, is_default: None };
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["permissions.update"]).await?;
        let outcome = define::edit_permission(&mut change, &authority, &code, edit.clone()).await?;
        conclude(change, outcome).await
    });
    written.await.map_err(|refused| match refused {
        Refused::Undefined(granted) if *granted.code() == code => missing(),
        refused => about_parent(refused, parent.as_ref()),
    })?;
    shown(&call, &code).await.map(Json)
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PermissionDeleted")]
struct Deleted {
    message: &'static str,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let by = caller(&call)?;
    let code = named(&call, &Known::read(&call.app).await?)?;
    let removed = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["permissions.delete"]).await?;
        define::remove_permission(&mut change, &authority, &code).await?;
        conclude(change, Outcome::Changed).await
    });
    removed.await.map_err(|refused| match refused {
        Refused::Undefined(_) => missing(),
        refused => refused.into(),
    })?;
    Ok(Json(Deleted { message: "Permission deleted" }))
}

async fn shown(call: &Call, code: &Code) -> Result<PermissionShown, ApiError> {
    Known::read(&call.app).await?.permission(code).ok_or_else(missing)
}

/// The permission that the path names.
fn named(call: &Call, known: &Known) -> Result<Code, ApiError> {
    known.permission_named(call.param("id")?).ok_or_else(missing)
}

/// A parent that there is not is a field that is wrong.
fn about_parent(refused: Refused, parent: Option<&Code>) -> ApiError {
    match refused {
        Refused::Undefined(granted) if Some(granted.code()) == parent => {
            ApiError::invalid("parent_code", &[format!("Permission \"{}\" not found", granted.code())])
        }
        refused => refused.into(),
    }
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("Permission not found")
}
