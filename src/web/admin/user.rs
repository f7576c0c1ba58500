//! People: finding them, and what there is of each.
//!
//! Law: what is shown of somebody beside their account (roles, groups, logins) is shown to whoever may ask the
//! endpoint of that very thing.

use maud::{Markup, html};
use serde_json::Value;

use super::ask::{Endpoint, Question};
use super::deed::Deed;
use super::frame::{self, EITHER, Filter, Looks};
use super::list::Listing;
use super::user_deed as deed;
use super::value::{self, at, badge, codes, is, of, text};
use super::{AUDIT, USERS, audit, role};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};
use crate::web::exact::text as shown;
use crate::web::layout::Viewer;

pub(super) const LIST: Endpoint = Endpoint::get("/admin/users/");
pub(super) const ONE: Endpoint = Endpoint::get("/admin/users/{id}/");
const ROLES: Endpoint = Endpoint::get("/users/{id}/roles/");
const GROUPS: Endpoint = Endpoint::get("/users/{id}/groups/");
const PERMISSIONS: Endpoint = Endpoint::get("/users/{id}/permissions/");
const LOGINS: Endpoint = Endpoint::get("/admin/refresh-tokens/");

/// What somebody is called, the best first.
pub(super) const NAMES: &[&str] = &["email", "username", "phone", "id"];

pub(super) static FILTERS: &[Filter] = &[
    Filter { name: "search", label: "Begins with", kind: Looks::Text },
    Filter { name: "role", label: "Role", kind: Looks::Text },
    Filter { name: "is_active", label: "May log in", kind: EITHER },
    Filter { name: "is_locked", label: "Locked", kind: EITHER },
    Filter { name: "is_banned", label: "Banned", kind: EITHER },
    Filter { name: "is_2fa_enabled", label: "Second factor", kind: EITHER },
    Filter { name: "is_email_verified", label: "Address proved", kind: EITHER },
    Filter { name: "is_deleted", label: "Deleted", kind: Looks::OneOf(&[("true", "only these")]) },
    Filter { name: "date_from", label: "Made since", kind: Looks::Day },
    Filter { name: "date_to", label: "Made before", kind: Looks::Day },
    Filter {
        name: "ordering",
        label: "Order",
        kind: Looks::OneOf(&[
            ("-created_at", "the latest first"),
            ("created_at", "the oldest first"),
            ("email", "by e-mail address"),
            ("last_name", "by last name"),
            ("-last_login", "by the last login"),
        ]),
    },
];

static LISTING: Listing = Listing {
    at: USERS,
    asks: LIST,
    title: "Users",
    lead: None,
    filters: FILTERS,
    caption: "Users",
    heads: &["Who", "Standing", "Roles", "Made", "Last login"],
    line,
    below: |viewer, _| deed::MAKE.form(viewer).folded(),
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(USERS, |call: Call, _: Nothing| LISTING.show(call)).page().about("People, page by page"),
        get("/portcullis/admin/users/{id}/", one).page().about("Somebody"),
    ]
}

fn line(own: &Value) -> Vec<Markup> {
    let name = [text(own, "first_name"), text(own, "last_name")].join(" ");
    vec![
        html! {
            a href=(format!("{USERS}{}/", value::escaped(text(own, "id")))) { (shown(value::called(own, NAMES))) }
            @if !name.trim().is_empty() { br; span.meta { (shown(name.trim())) } }
        },
        standing(own),
        codes(&value::texts(own, "roles")),
        at(own, "created_at"),
        at(own, "last_login"),
    ]
}

/// Whether somebody may come in, and what is known of them.
fn standing(own: &Value) -> Markup {
    html! {
        @if is(own, "is_deleted") { (badge("denied", "deleted")) }
        @else if is(own, "is_banned") { (badge("denied", "banned")) }
        @else if is(own, "is_locked") { (badge("denied", "locked")) }
        @else if is(own, "is_active") { (badge("approved", "active")) }
        @else { (badge("denied", "inactive")) }
        @if is(own, "is_2fa_enabled") { (badge("", "second factor")) }
        @if is(own, "is_superuser") { (badge("pending", "superuser")) }
    }
}

async fn one(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "User", |call, viewer| Box::pin(detail(call, viewer))).await
}

async fn detail(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let own = Question::to(ONE).about(call.param("id")?).read(call).await?;
    // The endpoint's own word for it, whichever one the address has.
    let id = text(&own, "id");
    Ok(html! {
        p.back { a href=(USERS) { "← Users" } }
        h1 { (shown(value::called(&own, NAMES))) }
        (facts(&own))
        @if !is(&own, "is_deleted") {
            (doing(viewer, &own, id))
            (roles(call, viewer, id).await?)
            (groups(call, viewer, id).await?)
            (permissions(call, viewer, id).await?)
            (logins(call, viewer, id).await?)
        }
        @if audit::LIST.is_for(viewer.person) {
            p { a href=(format!("{AUDIT}?user_id={}", value::escaped(id))) { "What the audit trail says of this person" } }
        }
    })
}

fn facts(own: &Value) -> Markup {
    let proved = |name: &str| html! { @if is(own, name) { (badge("", "proved")) } @else { (badge("pending", "not proved")) } };
    html! {
        section aria-labelledby="facts" {
            h2 id="facts" { "Account" }
            dl {
                dt { "Standing" } dd { (standing(own)) }
                @if is(own, "is_locked") { dt { "Locked until" } dd { @if own["locked_until"].is_null() { "somebody lifts it" } @else { (at(own, "locked_until")) } } }
                dt { "First name" } dd { (of(own, "first_name")) }
                dt { "Last name" } dd { (of(own, "last_name")) }
                dt { "E-mail address" } dd { (of(own, "email")) " " @if !own["email"].is_null() { (proved("is_email_verified")) } }
                dt { "Phone number" } dd { (of(own, "phone")) " " @if !own["phone"].is_null() { (proved("is_phone_verified")) } }
                dt { "User name" } dd { (of(own, "username")) }
                dt { "Second factor" } dd { (of(own, "is_2fa_enabled")) }
                dt { "Must choose a password" } dd { (of(own, "must_change_password")) }
                dt { "Staff" } dd { (of(own, "is_staff")) }
                dt { "Number" } dd { code { (of(own, "id")) } }
                dt { "Id" } dd { code { (of(own, "account_id")) } }
                dt { "Made" } dd { (at(own, "created_at")) }
                dt { "Last login" } dd { (at(own, "last_login")) }
            }
        }
    }
}

fn doing(viewer: &Viewer<'_>, own: &Value, id: &str) -> Markup {
    let one = |deed: &'static Deed| deed.form(viewer).about(id).folded();
    let edit = deed::EDIT
        .form(viewer)
        .about(id)
        .beginning("first_name", text(own, "first_name"))
        .beginning("last_name", text(own, "last_name"));
    let may = [
        edit.folded(),
        if is(own, "is_locked") { one(&deed::UNLOCK) } else { one(&deed::LOCK) },
        // A lock after too many wrong passwords is none of an administrator, and lifted the same way.
        if is(own, "is_locked") {
            html! {}
        } else {
            one(&deed::UNLOCK)
        },
        if is(own, "is_banned") { one(&deed::UNBAN) } else { one(&deed::BAN) },
        if is(own, "is_active") { one(&deed::DEACTIVATE) } else { one(&deed::ACTIVATE) },
        if is(own, "must_change_password") {
            html! {}
        } else {
            one(&deed::MUST_CHANGE)
        },
        one(&deed::DELETE),
    ];
    html! {
        @if may.iter().any(|form| !form.0.is_empty()) {
            section aria-labelledby="doing" {
                h2 id="doing" { "What can be done" }
                @for form in &may { (form) }
            }
        }
    }
}

async fn roles(call: &Call, viewer: &Viewer<'_>, id: &str) -> Result<Markup, ApiError> {
    let Some(answer) = Question::to(ROLES).about(id).read_if_allowed(call).await? else {
        return Ok(html! {});
    };
    let held = value::list(&answer, "roles");
    let mut offers = role::offers(call).await?;
    offers.retain(|(code, _)| held.iter().all(|own| text(own, "code") != code));
    let give = deed::GIVE_ROLE.form(viewer).about(id);
    let give = if offers.is_empty() { give } else { give.offering("role_code", offers) };
    Ok(html! {
        section aria-labelledby="roles" {
            h2 id="roles" { "Roles" }
            @if held.is_empty() { p.empty { "None." } }
            (holdings(viewer, id, held, &deed::TAKE_ROLE, "role_code", "name"))
            (give.folded())
        }
    })
}

/// What somebody holds, each with the form that takes it away: by its code in this field, and called by this.
fn holdings(
    viewer: &Viewer<'_>,
    id: &str,
    held: &[Value],
    take: &'static Deed,
    field: &'static str,
    called: &str,
) -> Markup {
    html! {
        ul.rows {
            @for own in held {
                li {
                    div { strong { (of(own, "name")) } " " code { (of(own, "code")) } }
                    (take.form(viewer).about(id).carrying(field, text(own, "code")).named(text(own, called)).whole())
                }
            }
        }
    }
}

async fn groups(call: &Call, viewer: &Viewer<'_>, id: &str) -> Result<Markup, ApiError> {
    let Some(answer) = Question::to(GROUPS).about(id).read_if_allowed(call).await? else {
        return Ok(html! {});
    };
    let held = value::list(&answer, "groups");
    Ok(html! {
        section aria-labelledby="groups" {
            h2 id="groups" { "Groups" }
            @if held.is_empty() { p.empty { "None." } }
            (holdings(viewer, id, held, &deed::LEAVE, "group_code", "name"))
            (deed::JOIN.form(viewer).about(id).folded())
        }
    })
}

async fn permissions(call: &Call, viewer: &Viewer<'_>, id: &str) -> Result<Markup, ApiError> {
    let Some(answer) = Question::to(PERMISSIONS).about(id).read_if_allowed(call).await? else {
        return Ok(html! {});
    };
    let held = value::list(&answer, "direct_permissions");
    let all = value::texts(&answer, "all_permissions");
    Ok(html! {
        section aria-labelledby="permissions" {
            h2 id="permissions" { "Permissions of their own" }
            @if held.is_empty() { p.empty { "None: all that they may do comes by roles and groups." } }
            (holdings(viewer, id, held, &deed::REFUSE, "permission_codes", "code"))
            (deed::PERMIT.form(viewer).about(id).folded())
            details { summary { "Everything that they may do (" (all.len()) ")" } p { (codes(&all)) } }
        }
    })
}

async fn logins(call: &Call, viewer: &Viewer<'_>, id: &str) -> Result<Markup, ApiError> {
    if !LOGINS.is_for(viewer.person) {
        return Ok(html! {});
    }
    let open = format!("user_id={}&is_revoked=false&expired=false&page_size=100", value::escaped(id));
    let answer = Question::to(LOGINS).query(open).read(call).await?;
    let held = value::list(&answer, "results");
    Ok(html! {
        section aria-labelledby="logins" {
            h2 id="logins" { "Where they are logged in" }
            @if held.is_empty() { p.empty { "Nowhere." } }
            ul.rows {
                @for own in held {
                    li {
                        div {
                            strong { (of(own, "device_info")) }
                            p.meta {
                                "since " (at(own, "created_at")) ", from " (of(own, "ip_address"))
                                @if !own["application_name"].is_null() { ", through " (of(own, "application_name")) }
                                ", last refreshed " (at(own, "last_used_at"))
                            }
                        }
                        (deed::END.form(viewer).about(id).carrying("session", text(own, "id")).named(text(own, "id")).whole())
                    }
                }
            }
            @if !answer["next"].is_null() { p.meta { "There are more: these are the latest." } }
        }
    })
}
