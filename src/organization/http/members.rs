//! The rows of `organizations/members/`: who belongs to an organization, and as what.
//!
//! Law: only who belongs to it, above it or below it already, or whom the caller may look at anyway, is made a
//! member outright, and nobody an owner; everybody else is invited, and nobody learns here who exists. What
//! somebody is changes only in the hands of those who reach what they were and what they become; leaving is
//! everybody's own.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::view::{MemberShown, members};
use super::{caller, conclude, may_there, role_there, there};
use crate::account::{self, Account, Reference};
use crate::base::{Id, Number};
use crate::http::{
    ApiError, Bucket, Call, Created, Cursor, ErrorCode, Fields, FromFields, Json, Keyset, Nothing, Query,
    Row, del, get, patch, post,
};
use crate::organization::invitation::INVITES;
use crate::organization::{self, ACTIVE, Organization, Refused, Standing, directory, owner, store};
use crate::policy::Code;
use crate::rbac::Outcome;
use crate::store::again;

const MANAGES: &str = "org.members.manage";
const REMOVES: &str = "org.members.remove";

pub(super) fn rows() -> Vec<Row> {
    let refusals = [
        ErrorCode::NotFound,
        ErrorCode::OrgPermissionRequired,
        ErrorCode::PermissionDenied,
        ErrorCode::LastOwner,
    ];
    vec![
        get("/organizations/members/", list)
            .person()
            .in_organization()
            .codes(&[ErrorCode::OrgMembershipRequired])
            .strict()
            .about("Who belongs to an organization, page by page, the latest first"),
        post("/organizations/members/add/", add)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&[
                ErrorCode::NotFound,
                ErrorCode::OrgPermissionRequired,
                ErrorCode::PermissionDenied,
                ErrorCode::AlreadyMember,
                ErrorCode::MemberLimitReached,
            ])
            .strict()
            .audited(&["member_added", "invitation_ended"])
            .about("Make somebody a member who belongs to the same line of organizations"),
        patch("/organizations/members/{id}/", update)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&refusals)
            .strict()
            .audited(&["member_role_updated", "invitation_ended"])
            .about("Give a member another role"),
        del("/organizations/members/{id}/remove/", remove)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&refusals)
            .audited(&["member_removed", "invitation_ended"])
            .about("End a membership, also your own"),
    ]
}

/// Which members.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MemberQuery")]
struct ListQuery {
    #[schemars(flatten)]
    cursor: Cursor,
    /// One member, by the whole e-mail address or by id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    /// Those with this role.
    #[schemars(skip_serializing_if = "Option::is_none")]
    role: Option<Code>,
    /// `active`, which all of them are.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    #[expect(dead_code, reason = "all of them are active: nothing else can be asked for")]
    status: Option<&'static str>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let cursor = Cursor::from_fields(fields);
        let search = fields.optional("search").text();
        let role = fields.optional("role").parsed(Code::parse);
        let status = fields.optional("status").parsed(|text| {
            if text == ACTIVE { Ok(ACTIVE) } else { Err("Only active: others do not belong to it.") }
        });
        Some(Self { cursor, search, role, status })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<MemberShown>>, ApiError> {
    let own = there(&call).await?;
    role_there(&call, own.id)?;
    let sought = match query.search.as_deref().map(str::parse::<Reference>) {
        None => None,
        // Members see addresses of each other, and neither numbers nor user names: none of these is to be tried.
        Some(Err(_) | Ok(Reference::Phone(_) | Reference::Username(_))) => {
            return Ok(Json(query.cursor.page(&call, Vec::new())?));
        }
        Some(Ok(reference)) => match account::find(&call.app.db, own.site, &reference).await? {
            None => return Ok(Json(query.cursor.page(&call, Vec::new())?)),
            Some(found) => Some(found.id),
        },
    };
    let sought = store::Sought { account: sought, role: query.role, before: query.cursor.place() };
    let rows = store::belonging(&call.app.db, own.id, &sought, query.cursor.limit()).await?;
    let shown = members(&call.app, &own, rows).await?;
    query.cursor.page(&call, shown).map(Json)
}

/// Somebody who is to belong to it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MemberRequest")]
struct AddBody {
    /// A person, by id.
    #[schemars(with = "String")]
    user_id: Person,
    role_code: Code,
}

/// A person as a body names them.
#[derive(Debug, Clone, Copy)]
enum Person {
    Id(Id),
    Number(Number),
}

impl FromFields for AddBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = fields.required("user_id").json();
        let user_id = given.and_then(|value| {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let person = match text.parse::<Reference>() {
                Ok(Reference::Id(id)) => Some(Person::Id(id)),
                Ok(Reference::Number(number)) => Some(Person::Number(number)),
                _ => None,
            };
            if person.is_none() {
                fields.problem("user_id", "Not the id of a person.");
            }
            person
        });
        let role_code = fields.required("role_code").parsed(Code::parse);
        Some(Self { user_id: user_id?, role_code: role_code? })
    }
}

async fn add(call: Call, Json(body): Json<AddBody>) -> Result<Created<MemberShown>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    // Before anything is looked for: who may not invite makes no work, and learns nothing about anybody.
    may_there(&call, &own, INVITES).await?;
    let reference = match body.user_id {
        Person::Id(id) => Reference::Id(id),
        Person::Number(number) => Reference::Number(number),
    };
    let found = account::find(&call.app.db, own.site, &reference).await?;
    let user = found.filter(|user| user.deleted_at.is_none());
    let is_known = match &user {
        Some(user) => may_know(&call, &own, user).await?,
        None => false,
    };
    let added = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        // Before the organization: who is being erased, or may not act, comes in nowhere meanwhile.
        let is_here = match user.as_ref().filter(|_| is_known) {
            Some(user) => account::hold(&mut change, user.id).await?,
            None => false,
        };
        let standing = Standing::take(&mut change, by, own.id).await?;
        standing.may(INVITES)?;
        let Some(user) = user.as_ref().filter(|_| is_here) else { return Err(Refused::NotAMember) };
        standing.reach(&body.role_code)?;
        if body.role_code == owner() {
            return Err(Refused::OwnsUnasked);
        }
        let all = standing.definitions();
        organization::add_member(&mut change, all, own.id, user.id, &body.role_code).await?;
        conclude(change, Outcome::Changed).await?;
        Ok(user.id)
    });
    let added = added.await.map_err(|refused| match refused {
        Refused::NotAMember => ApiError::new(ErrorCode::NotFound).saying("User not found"),
        other => other.into(),
    });
    Ok(Created(member(&call, &own, added?).await?))
}

/// Whether the caller may know that somebody is there: of the organization, of one below it, of one above it that
/// the caller belongs to as well, or by a right to look at people. Who stands beside it is a stranger.
async fn may_know(call: &Call, own: &Organization, user: &Account) -> Result<bool, ApiError> {
    let principal = call.person()?;
    let views = Code::parse("users.view").is_ok_and(|code| principal.rights.holds_code(&code));
    if views || user.id == principal.account.id {
        return Ok(true);
    }
    let place = directory::read(&call.app.db, own.site, &own.slug).await?.ok_or(Refused::Gone)?;
    let is_callers = |id: &Id| principal.memberships.iter().any(|held| held.organization == *id);
    let mut line: Vec<Id> = place.above.into_iter().filter(is_callers).collect();
    line.push(own.id);
    for held in organization::memberships(&call.app.db, user.id).await?.iter().take(FEW) {
        if line.contains(&held.organization) {
            return Ok(true);
        }
        let place = directory::read(&call.app.db, own.site, &held.slug).await?;
        if place.is_some_and(|place| place.above.contains(&own.id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many memberships of somebody are looked at.
const FEW: usize = 200;

async fn member(call: &Call, own: &Organization, account: Id) -> Result<MemberShown, ApiError> {
    let sought = store::Sought { account: Some(account), role: None, before: None };
    let rows = store::belonging(&call.app.db, own.id, &sought, 1).await?;
    let shown = members(&call.app, own, rows).await?.into_iter().next();
    shown.map(|(_, member)| member).ok_or_else(|| Refused::NotAMember.into())
}

/// What a member is to be.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "MemberUpdate")]
struct RoleBody {
    role_code: Code,
}

impl FromFields for RoleBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { role_code: fields.required("role_code").parsed(Code::parse)? })
    }
}

async fn update(call: Call, Json(body): Json<RoleBody>) -> Result<Json<MemberShown>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let user = named(&call, &own).await?;
    let written = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let standing = Standing::take(&mut change, by, own.id).await?;
        standing.may(MANAGES)?;
        let user = user.ok_or(Refused::NotAMember)?;
        let was = store::role_of(change.tx(), own.id, user).await?.ok_or(Refused::NotAMember)?;
        standing.reach(&was)?;
        standing.reach(&body.role_code)?;
        let all = standing.definitions();
        organization::set_role(&mut change, all, own.id, user, &body.role_code).await?;
        let outcome = if was == body.role_code { Outcome::Unchanged } else { Outcome::Changed };
        conclude(change, outcome).await?;
        Ok::<_, Refused>(user)
    });
    let user = written.await?;
    Ok(Json(member(&call, &own, user).await?))
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MemberRemoved")]
struct Removed {
    message: &'static str,
}

async fn remove(call: Call, _: Nothing) -> Result<Json<Removed>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let user = named(&call, &own).await?;
    let removed = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let standing = Standing::take(&mut change, by, own.id).await?;
        if user != Some(by) {
            standing.may(REMOVES)?;
        }
        let user = user.ok_or(Refused::NotAMember)?;
        let was = store::role_of(change.tx(), own.id, user).await?.ok_or(Refused::NotAMember)?;
        if user != by {
            standing.reach(&was)?;
        }
        organization::remove_member(&mut change, own.id, user).await?;
        conclude(change, Outcome::Changed).await
    });
    removed.await?;
    Ok(Json(Removed { message: "Member removed successfully" }))
}

/// The person of the caller's site whom the path names, by number or id.
async fn named(call: &Call, own: &Organization) -> Result<Option<Id>, ApiError> {
    let Ok(reference @ (Reference::Id(_) | Reference::Number(_))) = call.param("id")?.parse::<Reference>()
    else {
        return Ok(None);
    };
    Ok(account::find(&call.app.db, own.site, &reference).await?.map(|user| user.id))
}
