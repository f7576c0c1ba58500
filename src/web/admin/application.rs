//! Applications: the clients of the API, their addresses, and their keys.
//!
//! Law: a secret is on the one page that answers the form which made it. What makes clients fail that use an old
//! one is asked about once more.

use maud::{Markup, html};
use serde_json::Value;

use super::APPLICATIONS;
use super::ask::{Endpoint, Question};
use super::deed::{Deed, Sends, Then, Whose};
use super::field::{Field, Kind};
use super::frame::{self, EITHER, Filter, Looks};
use super::list::Listing;
use super::value::{self, at, badge, is, of, text};
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};
use crate::web::exact::text as shown;
use crate::web::layout::Viewer;

pub(super) const LIST: Endpoint = Endpoint::get("/applications/");
const ONE: Endpoint = Endpoint::get("/applications/{id}/");
const NAMES: &[&str] = &["name", "id"];

pub(super) static FILTERS: &[Filter] = &[
    Filter { name: "search", label: "Part of the name", kind: Looks::Text },
    Filter { name: "is_active", label: "Switched on", kind: EITHER },
    Filter {
        name: "ordering",
        label: "Order",
        kind: Looks::OneOf(&[
            ("name", "by name"),
            ("-created_at", "the latest first"),
            ("-updated_at", "by the last change"),
        ]),
    },
];

pub(super) static DEEDS: &[&Deed] = &[&MAKE, &EDIT, &ON, &OFF, &REGENERATE, &DELETE];

const FIELDS: &[Field] = &[
    Field::new("name", "Name", Kind::Text),
    Field::new("description", "Description", Kind::Area),
    Field::new(
        "allowed_origins",
        "From where browsers may call with the key alone: one in a line, such as https://app.example.com",
        Kind::Lines,
    ),
    Field::new("redirect_uris", "Where providers may send people with a code: one in a line", Kind::Lines),
];

const fn to_application(at: &'static str, asks: Endpoint, does: &'static str) -> Deed {
    let page = Then::Lead("/portcullis/admin/applications/{id}/", "changed");
    Deed::to((ONE, NAMES), at, asks, does, page)
}

static MAKE: Deed = Deed {
    whose: Whose::Nobody,
    subject: None,
    fields: FIELDS,
    then: Then::Show(|made| ("The application was made", keys("The application was made", made))),
    ..to_application(
        "/portcullis/admin/make/application/",
        Endpoint::post("/applications/"),
        "Make an application",
    )
};

static EDIT: Deed = Deed {
    fields: FIELDS,
    ..to_application(
        "/portcullis/admin/applications/{id}/change/",
        Endpoint::put("/applications/{id}/"),
        "Change the application",
    )
};

static ON: Deed = Deed {
    fields: &[Field::new("is_active", "", Kind::Is(true))],
    ..to_application(
        "/portcullis/admin/applications/{id}/on/",
        Endpoint::patch("/applications/{id}/"),
        "Switch it on",
    )
};

static OFF: Deed = Deed {
    fields: &[Field::new("is_active", "", Kind::Is(false))],
    ..to_application(
        "/portcullis/admin/applications/{id}/off/",
        Endpoint::patch("/applications/{id}/"),
        "Switch it off",
    )
};

static REGENERATE: Deed = Deed {
    fields: &[Field::new("confirmation", "", Kind::Says("REGENERATE"))],
    sure: Some(
        "The key and the secret that it has now end at once, and whatever uses them fails. The new secret is shown once.",
    ),
    then: Then::Show(|made| ("New keys", keys("New keys", made))),
    ..to_application(
        "/portcullis/admin/applications/{id}/regenerate/",
        Endpoint::post("/applications/{id}/regenerate/"),
        "Give it new keys",
    )
};

static DELETE: Deed = Deed {
    sends: Sends::Nothing,
    sure: Some(
        "The application goes for good. Its keys, the logins through it and what was delegated by it end at once.",
    ),
    then: Then::Lead(APPLICATIONS, "removed"),
    ..to_application(
        "/portcullis/admin/applications/{id}/delete/",
        Endpoint::del("/applications/{id}/"),
        "Remove the application",
    )
};

/// What is shown once.
fn keys(title: &str, made: &Value) -> Markup {
    let (application, keys) = (&made["application"], &made["credentials"]);
    html! {
        p.back { a href=(APPLICATIONS) { "← Applications" } }
        h1 { (title) }
        section {
            p { "Copy the secret of " strong { (shown(value::called(application, NAMES))) } " now: it is not shown again." }
            h3 { "Access key" }
            p.exact { (of(keys, "access_key")) }
            h3 { "Access secret" }
            p.exact { (of(keys, "access_secret")) }
            p.meta { "Programs send them as the headers " code { "X-Access-Key" } " and " code { "X-Access-Secret" } ". Keep the secret like a password." }
        }
    }
}

static LISTING: Listing = Listing {
    at: APPLICATIONS,
    asks: LIST,
    title: "Applications",
    lead: None,
    filters: FILTERS,
    caption: "Applications",
    heads: &["Application", "", "Access key", "Made"],
    line,
    below: |viewer, _| MAKE.form(viewer).folded(),
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(APPLICATIONS, |call: Call, _: Nothing| LISTING.show(call))
            .page()
            .about("Applications, page by page"),
        get("/portcullis/admin/applications/{id}/", one).page().about("One application"),
    ]
}

fn line(own: &Value) -> Vec<Markup> {
    vec![
        html! { a href=(format!("{APPLICATIONS}{}/", value::escaped(text(own, "id")))) { (shown(value::called(own, NAMES))) } },
        standing(own),
        html! { code { (of(own, "access_key")) } },
        at(own, "created_at"),
    ]
}

fn standing(own: &Value) -> Markup {
    if is(own, "is_active") { badge("approved", "on") } else { badge("denied", "off") }
}

async fn one(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    frame::view(call, "Application", |call, viewer| Box::pin(detail(call, viewer))).await
}

async fn detail(call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
    let own = Question::to(ONE).about(call.param("id")?).read(call).await?;
    let id = text(&own, "id");
    let lines = |name: &str| value::texts(&own, name).join("\n");
    let edit = EDIT
        .form(viewer)
        .about(id)
        .beginning("name", text(&own, "name"))
        .beginning("description", text(&own, "description"))
        .beginning("allowed_origins", &lines("allowed_origins"))
        .beginning("redirect_uris", &lines("redirect_uris"));
    let switch: &'static Deed = if is(&own, "is_active") { &OFF } else { &ON };
    Ok(html! {
        p.back { a href=(APPLICATIONS) { "← Applications" } }
        h1 { (shown(value::called(&own, NAMES))) }
        section aria-labelledby="facts" {
            h2 id="facts" { "Application" }
            dl {
                dt { "Standing" } dd { (standing(&own)) }
                dt { "Description" } dd { (of(&own, "description")) }
                dt { "Access key" } dd { code { (of(&own, "access_key")) } }
                dt { "Origins" } dd { (value::codes(&value::texts(&own, "allowed_origins"))) }
                dt { "Where codes may go" } dd { (value::codes(&value::texts(&own, "redirect_uris"))) }
                dt { "Number" } dd { code { (of(&own, "id")) } }
                dt { "Made" } dd { (at(&own, "created_at")) }
                dt { "Changed" } dd { (at(&own, "updated_at")) }
            }
        }
        section aria-labelledby="doing" {
            h2 id="doing" { "What can be done" }
            (edit.folded())
            (switch.form(viewer).about(id).folded())
            (REGENERATE.form(viewer).about(id).folded())
            (DELETE.form(viewer).about(id).folded())
        }
    })
}
