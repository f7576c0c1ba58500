//! The rows of organizations themselves: make, list, look at, change, move and delete.
//!
//! Law: below an organization only those put another one who may change that one, and nobody takes one away
//! from under it behind its back. A tree is shown from the highest place on that the caller belongs to.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::tree::tree;
use super::view::{Shown, one, shown};
use super::{
    DESCRIPTION_MAX, NAME_MAX, Named, about_parent, caller, conclude, enabled, no_parent, role_there, there,
};
use crate::app::Change;
use crate::base::{Id, Slug};
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging,
    Query, Row, del, get, patch, post,
};
use crate::organization::founding::WRITES;
use crate::organization::{self, Edit, New, Refused, Standing, owner, shape, store};
use crate::policy::Code;
use crate::rbac::Outcome;
use crate::store::again;

/// Who may take it elsewhere: covered by `org.*` alone.
const MOVES: &str = "org.move";
/// The longest metadata, as text.
const METADATA_MAX: usize = 16 * 1024;

pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/organizations/", create)
            .person()
            .limit(Bucket::Rights)
            .codes(&[
                ErrorCode::FeatureDisabled,
                ErrorCode::OrgNotFound,
                ErrorCode::OrgPermissionRequired,
                ErrorCode::OrgTooDeep,
                ErrorCode::TooManyOrganizations,
            ])
            .strict()
            .audited(&["organization_created", "organization_updated", "member_added"])
            .about("Make an organization of your own, also below another one"),
        get("/organizations/list/", list)
            .person()
            .codes(&[ErrorCode::FeatureDisabled, ErrorCode::NotFound])
            .strict()
            .about("The organizations that you belong to"),
        get("/organizations/detail/", detail)
            .person()
            .in_organization()
            .codes(&[ErrorCode::OrgMembershipRequired])
            .about("The organization that X-Org-Slug names"),
        get("/organizations/tree/", tree)
            .person()
            .in_organization()
            .codes(&[ErrorCode::OrgMembershipRequired])
            .about("The organizations below the highest one that you belong to on the way up"),
        patch("/organizations/update/", update)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&[ErrorCode::OrgRoleRequired])
            .strict()
            .audited(&["organization_updated"])
            .about("Change what an organization is called and how many may belong to it"),
        post("/organizations/move/", relocate)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&[
                ErrorCode::OrgRoleRequired,
                ErrorCode::OrgPermissionRequired,
                ErrorCode::OrgTooDeep,
                ErrorCode::CircularHierarchy,
            ])
            .strict()
            .audited(&["organization_moved", "organization_updated"])
            .about("Put an organization, with all below it, below another one or below none"),
        del("/organizations/delete/", delete)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&[ErrorCode::OrgRoleRequired, ErrorCode::OrgHasChildren])
            .audited(&["organization_deleted", "invitation_ended"])
            .about("Switch an organization off, with everything that was delegated for it"),
    ]
}

/// A new organization.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrganizationRequest")]
struct NewBody {
    name: String,
    /// Letters, digits, `_` and `-`; made from the name if absent. It stays what it is.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    slug: Option<Slug>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The id of the one that it belongs under.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    parent_id: Option<Named>,
    /// A JSON object.
    #[schemars(with = "Option<Value>", skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    /// How many may belong to it; 0 for any number.
    #[schemars(skip_serializing_if = "Option::is_none")]
    max_members: Option<u32>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name").max(NAME_MAX).text();
        let slug = fields.optional("slug").max(100).parsed(|text| Slug::parse(text).map_err(|_| BAD_SLUG));
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let parent_id = Named::from_body(fields, "parent_id");
        let metadata = metadata(fields);
        let max_members = max_members(fields);
        Some(Self { name: name?, slug, description, parent_id, metadata, max_members })
    }
}

const BAD_SLUG: &str = "Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens.";

fn metadata(fields: &mut Fields) -> Option<String> {
    let value = fields.optional("metadata").json()?;
    let text = value.to_string();
    if !value.is_object() {
        fields.problem("metadata", "Expected an object.");
        return None;
    }
    if text.len() > METADATA_MAX {
        fields.problem("metadata", format!("Ensure this has no more than {METADATA_MAX} bytes."));
        return None;
    }
    Some(text)
}

fn max_members(fields: &mut Fields) -> Option<u32> {
    let most = fields.optional("max_members").whole(0, 1_000_000)?;
    u32::try_from(most).ok()
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<Shown>, ApiError> {
    enabled(&call)?;
    let (by, site) = (caller(&call)?, call.person()?.account.site);
    let parent = match body.parent_id {
        None => None,
        Some(named) => Some(named.find(&call).await?.ok_or_else(no_parent)?),
    };
    let edit = Edit { metadata: body.metadata, max_members: body.max_members, ..Edit::default() };
    let description = body.description.unwrap_or_default();
    let max_depth = call.app.config().organizations.max_depth;
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let new = New {
            site,
            name: &body.name,
            slug: body.slug.clone(),
            description: &description,
            parent: parent.as_ref(),
            owner: by,
            max_depth,
        };
        let made = organization::create_for(&mut change, new, &edit).await?;
        let shown = seen(&mut change, made.id, Some(owner())).await?;
        conclude(change, Outcome::Changed).await?;
        Ok(shown)
    });
    Ok(Created(made.await.map_err(about_parent)?))
}

/// Which organizations, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrganizationQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Part of the name or of the slug.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    /// Those directly below the one with this id.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    parent: Option<Named>,
    /// Any of `name`, `slug`, `created_at` and `is_active`, joined by commas; with a `-` before one the other
    /// way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let search = fields.optional("search").or_blank().text();
        let is_active = fields.optional("is_active").flag();
        let parent = fields.optional("parent").parsed(Named::parse);
        let ordering = Ordering::from_fields(fields, &["name", "slug", "created_at", "is_active"]);
        Some(Self { paging, search, is_active, parent, ordering })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<Shown>>, ApiError> {
    enabled(&call)?;
    let account = &call.person()?.account;
    let part = query.search.as_deref().unwrap_or_default().to_lowercase();
    let below = match query.parent {
        None => None,
        Some(named) => Some(named.find(&call).await?.map(|own| own.id)),
    };
    let mut found = store::of_account(&call.app.db, account.id).await?;
    found.retain(|(own, _)| {
        let is_found = own.slug.as_str().contains(&part) || own.name.to_lowercase().contains(&part);
        is_found
            && query.is_active.is_none_or(|wanted| own.is_active == wanted)
            && below.is_none_or(|id| id.is_some() && own.parent == id)
    });
    query.ordering.sort(&mut found, |field, (left, _), (right, _)| match field {
        "slug" => left.slug.as_str().cmp(right.slug.as_str()),
        "created_at" => left.created_at.cmp(&right.created_at),
        "is_active" => left.is_active.cmp(&right.is_active),
        _ => left.name.cmp(&right.name),
    });
    let found = found.into_iter().map(|(own, role)| (own, Some(role))).collect();
    let mut page = query.paging.cut(&call, found)?;
    let shown = shown(&call.app.db, account.site, page.take_results()).await?;
    Ok(Json(page.of(shown)))
}

async fn detail(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    let own = there(&call).await?;
    let role = role_there(&call, own.id)?;
    Ok(Json(one(&call.app.db, own.site, own, Some(role)).await?))
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrganizationUpdate")]
struct UpdateBody {
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// A JSON object, in the place of the one that is there.
    #[schemars(with = "Option<Value>", skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    /// How many may belong to it; 0 for any number.
    #[schemars(skip_serializing_if = "Option::is_none")]
    max_members: Option<u32>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let metadata = metadata(fields);
        let max_members = max_members(fields);
        Some(Self { name, description, metadata, max_members })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<Shown>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let UpdateBody { name, description, metadata, max_members } = body;
    let edit = Edit { name, description, metadata, max_members };
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let standing = Standing::take(&mut change, by, own.id).await?;
        standing.may(WRITES).map_err(|_| Refused::LacksRole)?;
        let outcome = organization::edit(&mut change, own.id, &edit).await?;
        let shown = seen(&mut change, own.id, role_there(&call, own.id).ok()).await?;
        conclude(change, outcome).await?;
        Ok::<_, Refused>(shown)
    });
    Ok(Json(written.await?))
}

/// An organization as somebody sees it who is this there. Read before the change is made for good: what was
/// committed is never answered with a refusal because reading it again failed.
pub(super) async fn seen(change: &mut Change<'_>, id: Id, role: Option<Code>) -> Result<Shown, Refused> {
    let own = organization::by_id(change.tx(), id).await?.ok_or(Refused::Gone)?;
    Ok(one(change.tx(), own.site, own, role).await?)
}

/// Where an organization is to stand.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "OrganizationMove")]
struct MoveBody {
    /// The id of the one that it belongs under from now on; null for none.
    #[schemars(schema_with = "id_or_null")]
    parent_id: Option<Named>,
}

/// An id, or null for none: which of both has to be said.
fn id_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"] })
}

impl FromFields for MoveBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        if fields.is_null("parent_id") {
            return Some(Self { parent_id: None });
        }
        Some(Self { parent_id: Some(Named::required(fields, "parent_id")?) })
    }
}

async fn relocate(call: Call, Json(body): Json<MoveBody>) -> Result<Json<Shown>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let parent = match body.parent_id {
        None => None,
        Some(named) => Some(named.find(&call).await?.ok_or_else(no_parent)?.id),
    };
    let max_depth = call.app.config().organizations.max_depth;
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        shape::take_turn(&mut change).await?;
        let standing = Standing::take(&mut change, by, own.id).await?;
        standing.may(MOVES).map_err(|_| Refused::LacksRole)?;
        // Who stands above has rights in what stands below: neither is given nor taken behind their backs.
        if let Some(above) = standing.organization.parent {
            let above = Standing::look(&mut change, by, above).await;
            above.and_then(|above| above.may(WRITES)).map_err(lacks_above)?;
        }
        if let Some(above) = parent {
            Standing::look(&mut change, by, above).await?.may(WRITES)?;
        }
        let outcome = organization::move_to(&mut change, own.id, parent, max_depth).await?;
        if outcome == Outcome::Changed {
            // Nobody takes along what an organization above pays for.
            let from = standing.organization.parent;
            shape::take_terms(&mut change, own.id, (from, parent)).await?;
        }
        let shown = seen(&mut change, own.id, role_there(&call, own.id).ok()).await?;
        conclude(change, outcome).await?;
        Ok(shown)
    });
    Ok(Json(written.await.map_err(about_parent)?))
}

/// Below which organization one's own stands is no secret: who has nothing to do with that one lacks the right.
fn lacks_above(refused: Refused) -> Refused {
    match (refused, Code::parse(WRITES)) {
        (Refused::Gone, Ok(code)) => Refused::Lacks(code),
        (other, _) => other,
    }
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrganizationDeleted")]
struct Deleted {
    message: &'static str,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let deleted = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        shape::take_turn(&mut change).await?;
        Standing::take(&mut change, by, own.id).await?.own()?;
        organization::delete(&mut change, own.id).await?;
        conclude(change, Outcome::Changed).await
    });
    deleted.await?;
    Ok(Json(Deleted { message: "Organization deleted successfully" }))
}
