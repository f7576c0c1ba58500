//! Organizations that somebody belongs to: what they are, who belongs to them, and who is invited.
//!
//! Law: one that the person has nothing to do with does not exist here either. Members and invitations are shown
//! to whoever the endpoint shows them to, and the rest of the page stands without them.

use maud::{Markup, html};
use serde_json::Value;

use super::ORGANIZATIONS;
use super::ask::{Endpoint, Question};
use super::frame::{self, EITHER, Filter, Looks, Sought};
use super::list::Listing;
use super::organization_deed as deed;
use super::value::{self, at, badge, is, number, of, text};
use crate::http::{ApiError, Call, ErrorCode, Nothing, Reply, Row, get};
use crate::web::exact::text as shown;
use crate::web::layout::Viewer;

pub(super) const LIST: Endpoint = Endpoint::get("/organizations/list/");
pub(super) const ONE: Endpoint = Endpoint::get("/organizations/detail/");
const TREE: Endpoint = Endpoint::get("/organizations/tree/");
const MEMBERS: Endpoint = Endpoint::get("/organizations/members/");
const INVITATIONS: Endpoint = Endpoint::get("/organizations/invitations/");
const ORG_ROLES: Endpoint = Endpoint::get("/org-roles/");

pub(super) const NAMES: &[&str] = &["name", "slug"];

pub(super) static FILTERS: &[Filter] = &[
    Filter { name: "search", label: "Part of the name", kind: Looks::Text },
    Filter { name: "is_active", label: "Switched on", kind: EITHER },
    Filter {
        name: "ordering",
        label: "Order",
        kind: Looks::OneOf(&[("name", "by name"), ("slug", "by slug"), ("-created_at", "the latest first")]),
    },
];

/// How members are looked for.
static MEMBER_FILTERS: &[Filter] = &[
    Filter { name: "search", label: "E-mail address, as a whole", kind: Looks::Text },
    Filter { name: "role", label: "Role", kind: Looks::Text },
];

static LISTING: Listing = Listing {
    at: ORGANIZATIONS,
    asks: LIST,
    title: "Organizations",
    lead: Some("Those that you belong to."),
    filters: FILTERS,
    caption: "Organizations",
    heads: &["Organization", "You are", "Members", "Below", "Number"],
    line,
    below: |viewer, _| deed::MAKE.form(viewer).folded(),
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(ORGANIZATIONS, |call: Call, _: Nothing| LISTING.show(call))
            .page()
            .about("The organizations that somebody belongs to"),
        get("/portcullis/admin/organizations/{id}/", one).page().about("One organization"),
    ]
}

fn line(own: &Value) -> Vec<Markup> {
    vec![
        html! {
            a href=(format!("{ORGANIZATIONS}{}/", value::escaped(text(own, "slug")))) { (shown(value::called(own, NAMES))) }
            " " @if !is(own, "is_active") { (badge("denied", "off")) }
        },
        of(own, "user_role"),
        of(own, "member_count"),
        of(own, "parent_name"),
        html! { code { (of(own, "id")) } },
    ]
}

async fn one(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "Organization", |call, viewer| Box::pin(detail(call, viewer))).await
}

async fn detail(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let slug = call.param("id")?;
    let own = Question::to(ONE).in_organization(slug).read(call).await?;
    let tree = Question::to(TREE).in_organization(slug).read(call).await?;
    let (slug, roles) = (text(&own, "slug"), roles(call).await?);
    let edit = deed::EDIT
        .form(viewer)
        .about(slug)
        .beginning("name", text(&own, "name"))
        .beginning("description", text(&own, "description"))
        .beginning("max_members", &number(&own, "max_members").to_string());
    Ok(html! {
        p.back { a href=(ORGANIZATIONS) { "← Organizations" } }
        h1 { (shown(value::called(&own, NAMES))) }
        (facts(&own))
        (members(call, viewer, slug, &roles).await?)
        (invitations(call, viewer, slug, &roles).await?)
        section aria-labelledby="tree" {
            h2 id="tree" { "Where it stands" }
            ul.tree { (branch(&tree, slug)) }
        }
        section aria-labelledby="doing" {
            h2 id="doing" { "What can be done" }
            p.meta { "What your role there does not allow is refused." }
            (edit.folded())
            (deed::MOVE.form(viewer).about(slug).folded())
            (deed::DELETE.form(viewer).about(slug).folded())
        }
    })
}

fn facts(own: &Value) -> Markup {
    html! {
        section aria-labelledby="facts" {
            h2 id="facts" { "Organization" }
            dl {
                dt { "You are" } dd { (of(own, "user_role")) }
                dt { "Slug" } dd { code { (of(own, "slug")) } }
                dt { "Number" } dd { code { (of(own, "id")) } }
                dt { "Description" } dd { (of(own, "description")) }
                dt { "Plan" } dd { (of(own, "plan")) }
                dt { "Status" } dd { (of(own, "status")) }
                dt { "Members" } dd {
                    (of(own, "member_count"))
                    @if number(own, "max_members") > 0 { " of " (of(own, "max_members")) }
                }
                dt { "Made" } dd { (at(own, "created_at")) @if !own["created_by_email"].is_null() { " by " (of(own, "created_by_email")) } }
            }
        }
    }
}

/// What members may be, to choose from.
async fn roles(call: &Call) -> Result<Vec<(String, String)>, ApiError> {
    let answer = Question::to(ORG_ROLES).read(call).await?;
    let all = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let offer = |own: &Value| (text(own, "code").to_owned(), text(own, "name").to_owned());
    Ok(all.iter().map(offer).collect())
}

async fn members(
    call: &Call,
    viewer: &Viewer<'_>,
    slug: &str,
    roles: &[(String, String)],
) -> Result<Markup, ApiError> {
    let sought = Sought::of(call)?;
    let answer = Question::to(MEMBERS).in_organization(slug).query(sought.query()).read(call).await?;
    let path = format!("{ORGANIZATIONS}{}/", value::escaped(slug));
    let all = value::list(&answer, "results");
    Ok(html! {
        section aria-labelledby="members" {
            h2 id="members" { "Members" }
            (frame::search(&path, MEMBER_FILTERS, &sought))
            @if all.is_empty() { p.empty { "There are none." } }
            ul.rows {
                @for member in all {
                    li {
                        div {
                            strong { (shown(value::called(&member["user"], &["email", "id"]))) } " "
                            (badge("", text(&member["role"], "name")))
                            p.meta { "since " (at(member, "created_at")) }
                        }
                        (of_member(viewer, slug, member, roles))
                    }
                }
            }
            (frame::pager(&path, &answer, &sought))
            (deed::ADD.form(viewer).about(slug).offering("role_code", roles.to_vec()).folded())
        }
    })
}

fn of_member(viewer: &Viewer<'_>, slug: &str, member: &Value, roles: &[(String, String)]) -> Markup {
    let (id, name) = (text(&member["user"], "id"), text(&member["user"], "email"));
    let regard = deed::REGARD
        .form(viewer)
        .about(slug)
        .carrying("member", id)
        .beginning("role_code", text(&member["role"], "code"))
        .offering("role_code", roles.to_vec())
        .named(name);
    html! {
        (regard.folded())
        (deed::REMOVE.form(viewer).about(slug).carrying("member", id).named(name).whole())
    }
}

/// Whether the list of invitations is refused to who may not invite. Any other refusal is no reason to leave
/// them out without a word.
pub(super) fn may_not_look(error: &ApiError) -> bool {
    matches!(error.code(), ErrorCode::OrgPermissionRequired | ErrorCode::OrgRoleRequired)
}

/// Nothing where the person may not invite.
async fn invitations(
    call: &Call,
    viewer: &Viewer<'_>,
    slug: &str,
    roles: &[(String, String)],
) -> Result<Markup, ApiError> {
    let query = "status=pending&page_size=100".to_owned();
    let answer = match Question::to(INVITATIONS).in_organization(slug).query(query).read(call).await {
        Ok(answer) => answer,
        Err(error) if may_not_look(&error) => return Ok(html! {}),
        Err(error) => return Err(error),
    };
    let all = value::list(&answer, "results");
    Ok(html! {
        section aria-labelledby="invitations" {
            h2 id="invitations" { "Invitations that are open" }
            @if all.is_empty() { p.empty { "There are none." } }
            ul.rows {
                @for one in all {
                    li {
                        div {
                            strong { (of(one, "email")) } " " (badge("", text(one, "role_name")))
                            p.meta { "until " (at(one, "expires_at")) @if !one["invited_by_email"].is_null() { ", by " (of(one, "invited_by_email")) } }
                        }
                        (deed::RESEND.form(viewer).about(slug).carrying("invitation", text(one, "id")).named(text(one, "email")).whole())
                        (deed::REVOKE.form(viewer).about(slug).carrying("invitation", text(one, "id")).named(text(one, "email")).whole())
                    }
                }
            }
            @if !answer["next"].is_null() { p.meta { "There are more: these are the latest." } }
            (deed::INVITE.form(viewer).about(slug).offering("role_code", roles.to_vec()).folded())
        }
    })
}

/// An organization and those below it. The endpoint cuts a tree that is too large.
fn branch(own: &Value, here: &str) -> Markup {
    let (slug, name) = (text(own, "slug"), value::called(own, NAMES));
    let below = value::list(own, "children");
    html! {
        li {
            @if slug == here { strong { (shown(name)) } }
            @else { a href=(format!("{ORGANIZATIONS}{}/", value::escaped(slug))) { (shown(name)) } }
            " " span.meta { (number(own, "member_count")) " members" }
            @if !below.is_empty() { ul { @for child in below { (branch(child, here)) } } }
        }
    }
}
