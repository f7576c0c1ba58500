//! Roles: which there are, what each brings, and changing those that were made here.
//!
//! Law: roles that came with the gateway or stand in its configuration are shown and not changed: the endpoint
//! refuses that, and no page offers it.

use maud::{Markup, html};
use serde_json::Value;

use super::ROLES;
use super::ask::{Endpoint, Question};
use super::deed::{Deed, Sends, Then, Whose};
use super::field::{Field, Kind};
use super::frame::{self, EITHER, Filter, Looks};
use super::list::Listing;
use super::value::{self, at, badge, codes, is, of, text};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};
use crate::web::exact::text as shown;
use crate::web::layout::Viewer;

pub(super) const LIST: Endpoint = Endpoint::get("/roles/");
const ONE: Endpoint = Endpoint::get("/roles/{id}/");
const NAMES: &[&str] = &["name", "code"];

pub(super) static FILTERS: &[Filter] = &[
    Filter { name: "search", label: "Part of the name", kind: Looks::Text },
    Filter { name: "is_default", label: "For everybody new", kind: EITHER },
    Filter {
        name: "ordering",
        label: "Order",
        kind: Looks::OneOf(&[("name", "by name"), ("code", "by code"), ("-created_at", "the latest first")]),
    },
];

pub(super) static DEEDS: &[&Deed] = &[&MAKE, &EDIT, &BRING, &LACK, &DELETE];

const PAGE: &str = "/portcullis/admin/roles/{id}/";

const fn to_role(at: &'static str, asks: Endpoint, does: &'static str, said: &'static str) -> Deed {
    Deed::to((ONE, NAMES), at, asks, does, Then::Lead(PAGE, said))
}

static MAKE: Deed = Deed {
    whose: Whose::Nobody,
    subject: None,
    fields: &[
        Field::new("code", "Code, such as moderator. It stays what it is.", Kind::Text),
        Field::new("name", "Name", Kind::Text),
        Field::new("description", "Description", Kind::Blank),
    ],
    then: Then::Lead(ROLES, "made"),
    ..to_role("/portcullis/admin/make/role/", Endpoint::post("/roles/"), "Make a role", "made")
};

static EDIT: Deed = Deed {
    fields: &[
        Field::new("name", "Name", Kind::Text),
        Field::new("description", "Description", Kind::Area),
        Field::new(
            "is_default",
            "Does everybody new get it?",
            Kind::OneOf(&[("false", "no"), ("true", "yes")]),
        ),
    ],
    ..to_role(
        "/portcullis/admin/roles/{id}/change/",
        Endpoint::put("/roles/{id}/"),
        "Change the role",
        "changed",
    )
};

static BRING: Deed = Deed {
    fields: &[Field::new("permission_codes", "Permission", Kind::OfferedAlone)],
    ..to_role(
        "/portcullis/admin/roles/{id}/permissions/give/",
        Endpoint::post("/roles/{id}/permissions/"),
        "Let it bring a permission",
        "given",
    )
};

static LACK: Deed = Deed {
    fields: &[Field::new("permission_codes", "Permission", Kind::OfferedAlone)],
    ..to_role(
        "/portcullis/admin/roles/{id}/permissions/take/",
        Endpoint::del("/roles/{id}/permissions/"),
        "Take it out",
        "taken",
    )
};

static DELETE: Deed = Deed {
    sends: Sends::Nothing,
    sure: Some("The role goes for good, and everybody who has it loses what it brings at once."),
    then: Then::Lead(ROLES, "removed"),
    ..to_role(
        "/portcullis/admin/roles/{id}/delete/",
        Endpoint::del("/roles/{id}/"),
        "Remove the role",
        "removed",
    )
};

static LISTING: Listing = Listing {
    at: ROLES,
    asks: LIST,
    title: "Roles",
    lead: None,
    filters: FILTERS,
    caption: "Roles",
    heads: &["Role", "Code", "", "Comes from"],
    line,
    below: |viewer, _| MAKE.form(viewer).folded(),
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(ROLES, |call: Call, _: Nothing| LISTING.show(call)).page().about("Roles, page by page"),
        get("/portcullis/admin/roles/{id}/", one).page().about("One role"),
    ]
}

/// Roles to choose from; none where the person may not see them, or there are more than anybody chooses from.
pub(super) async fn offers(call: &Call) -> Result<Vec<(String, String)>, ApiError> {
    named(call, LIST, "ordering=name").await
}

/// Permissions to choose from, the same.
async fn permissions(call: &Call) -> Result<Vec<(String, String)>, ApiError> {
    named(call, Endpoint::get("/permissions/"), "ordering=code").await
}

async fn named(call: &Call, list: Endpoint, order: &str) -> Result<Vec<(String, String)>, ApiError> {
    let all = Question::to(list).query(format!("page_size=100&{order}")).read_if_allowed(call).await?;
    let whole = all.filter(|all| all["next"].is_null()).unwrap_or_default();
    let offer = |own: &Value| {
        let (code, name) = (text(own, "code"), text(own, "name"));
        (code.to_owned(), format!("{name} ({code})"))
    };
    Ok(value::list(&whole, "results").iter().map(offer).collect())
}

fn line(own: &Value) -> Vec<Markup> {
    vec![
        html! { a href=(format!("{ROLES}{}/", value::escaped(text(own, "id")))) { (shown(value::called(own, NAMES))) } },
        html! { code { (of(own, "code")) } },
        html! { @if is(own, "is_default") { (badge("", "for everybody new")) } },
        origin(own),
    ]
}

/// Who looks after it.
fn origin(own: &Value) -> Markup {
    html! {
        @match text(own, "managed_by") {
            "store" => { "made here" },
            "config" => { "the configuration" },
            _ => { "the gateway" },
        }
    }
}

async fn one(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "Role", |call, viewer| Box::pin(detail(call, viewer))).await
}

async fn detail(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let own = Question::to(ONE).about(call.param("id")?).read(call).await?;
    let (id, held) = (text(&own, "id"), value::list(&own, "permissions"));
    let is_ours = text(&own, "managed_by") == "store";
    let bring = BRING.form(viewer).about(id);
    let bring = match permissions(call).await? {
        all if all.is_empty() => bring,
        all => bring.offering("permission_codes", all),
    };
    let edit = EDIT
        .form(viewer)
        .about(id)
        .beginning("name", text(&own, "name"))
        .beginning("description", text(&own, "description"))
        .beginning("is_default", if is(&own, "is_default") { "true" } else { "false" });
    Ok(html! {
        p.back { a href=(ROLES) { "← Roles" } }
        h1 { (shown(value::called(&own, NAMES))) }
        section aria-labelledby="facts" {
            h2 id="facts" { "Role" }
            dl {
                dt { "Code" } dd { code { (of(&own, "code")) } }
                dt { "Description" } dd { (of(&own, "description")) }
                dt { "For everybody new" } dd { (of(&own, "is_default")) }
                dt { "Comes from" } dd { (origin(&own)) }
                dt { "Has the rights of" } dd { (codes(&value::texts(&own, "inherits"))) }
                @if is_ours { dt { "Made" } dd { (at(&own, "created_at")) } }
            }
            @if is_ours { (edit.folded()) (DELETE.form(viewer).about(id).folded()) }
        }
        section aria-labelledby="brings" {
            h2 id="brings" { "What it brings" }
            @if held.is_empty() { p.empty { "Nothing." } }
            ul.rows {
                @for permission in held {
                    li {
                        div { strong { (of(permission, "name")) } " " code { (of(permission, "code")) } }
                        @if is_ours {
                            (LACK.form(viewer).about(id).carrying("permission_codes", text(permission, "code")).named(text(permission, "code")).whole())
                        }
                    }
                }
            }
            @if is_ours { (bring.folded()) }
        }
    })
}
