//! What all pages of administrators have in common: where one can go, what is said, lists and their pages.
//!
//! Law: nobody is led to what they may not ask. What a list is asked for is what stands in its address, read by
//! the endpoint, which refuses by name what it does not know.

use ::http::StatusCode;
use futures::future::BoxFuture;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::ADMIN;
use super::ask::Endpoint;
use super::value;
use crate::http::{ApiError, Call, ErrorCode, Reply, form};
use crate::principal::Principal;
use crate::web::exact::text;
use crate::web::layout::{self, Viewer};
use crate::web::{HOME, refusal, visit};

/// A part of the administration.
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    asks: Endpoint,
    /// Whether it is there for everybody, about what is their own.
    pub(super) is_own: bool,
}

const fn section(
    path: &'static str,
    name: &'static str,
    about: &'static str,
    asks: Endpoint,
    is_own: bool,
) -> Section {
    Section { path, name, about, asks, is_own }
}

static SECTIONS: [Section; 8] = [
    section(super::USERS, "Users", "Find people, let them in and shut them out.", super::user::LIST, false),
    section(super::ROLES, "Roles", "What roles there are, and what they bring.", super::role::LIST, false),
    section(
        super::ORGANIZATIONS,
        "Organizations",
        "Those that you belong to: members and invitations.",
        super::organization::LIST,
        true,
    ),
    section(
        super::APPLICATIONS,
        "Applications",
        "Clients of the API, and their keys.",
        super::application::LIST,
        false,
    ),
    section(super::AGENTS, "Agents", "What you delegated, and ending it.", super::agent::LIST, true),
    section(HOME, "Approvals", "What agents want to do, and wait for.", super::agent::LIST, true),
    section(super::AUDIT, "Audit", "What happened, by whom, and because of what.", super::audit::LIST, false),
    section(
        super::STATISTICS,
        "Statistics",
        "How logins, registrations and safety went.",
        super::statistics::OVERVIEW,
        false,
    ),
];

/// The parts that somebody may look at.
pub(super) fn sections(call: &Call, person: &Principal) -> Vec<&'static Section> {
    let has_organizations = call.app.config().organizations.is_enabled;
    let is_there = |section: &&Section| section.path != super::ORGANIZATIONS || has_organizations;
    SECTIONS.iter().filter(is_there).filter(|section| section.asks.is_for(person)).collect()
}

/// Whether there is anything for somebody beside what is their own.
pub(super) fn is_for(person: &Principal) -> bool {
    SECTIONS.iter().any(|section| !section.is_own && section.asks.is_for(person))
}

/// A page under the navigation.
pub(super) fn page(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    title: &str,
    content: &Markup,
) -> Reply {
    let here = call.head.path.as_str();
    let is_here = |section: &Section| here.starts_with(section.path);
    let whole = html! {
        nav.sections aria-label="Administration" {
            ul {
                @for section in sections(call, viewer.person) {
                    li { a href=(section.path) aria-current=[is_here(section).then_some("page")] { (section.name) } }
                }
            }
        }
        (content)
    };
    layout::page(status, title, Some(viewer), &whole)
}

/// A page for whoever is wholly logged in, of what is made for them.
pub(super) async fn view<F>(call: Call, title: &'static str, make: F) -> Result<Reply, ApiError>
where
    F: for<'a> FnOnce(&'a Call, &'a Viewer<'a>) -> BoxFuture<'a, Result<Markup, ApiError>>,
{
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let made = make(&call, &viewer).await;
    answer(&call, &viewer, title, made)
}

/// A page that was made, or why it was not.
pub(super) fn answer(
    call: &Call,
    viewer: &Viewer<'_>,
    title: &str,
    made: Result<Markup, ApiError>,
) -> Result<Reply, ApiError> {
    match made {
        Ok(content) => {
            let content = html! { (said(call)) (content) };
            Ok(page(call, viewer, StatusCode::OK, title, &content))
        }
        Err(error) => refused(call, viewer, error, &html! {}),
    }
}

/// Why something was not shown or not done, with what can be tried instead.
pub(super) fn refused(
    call: &Call,
    viewer: &Viewer<'_>,
    error: ApiError,
    instead: &Markup,
) -> Result<Reply, ApiError> {
    let (code, status) = (error.code(), error.status());
    let told = match own_words(code) {
        Some(text) => html! { p.problem role="alert" { (text) } },
        None if code == ErrorCode::ValidationError => problems(call, &error),
        None => refusal::told(error)?.1.shown(),
    };
    let content = html! {
        h1 { (title_of(status)) }
        (told)
        (instead)
        p { a href=(ADMIN) { "To the administration" } }
    };
    Ok(page(call, viewer, status, title_of(status), &content))
}

/// What is wrong with what was asked or typed. What a page does not call anything is not named: its name came
/// from outside.
fn problems(call: &Call, error: &ApiError) -> Markup {
    html! {
        div.problem role="alert" {
            @for (field, problem) in error.problems() {
                p { @if let Some(label) = super::label_of(&call.head.path, field) { (label) ": " } (text(problem)) }
            }
        }
    }
}

fn title_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::BAD_REQUEST => "Not understood",
        _ => "Not done",
    }
}

/// Where the endpoint speaks to programs, or of something else than these pages do.
const fn own_words(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::PermissionRequired => "You do not hold the permission that this asks for.",
        ErrorCode::NotFound => "There is nothing here, or nothing that you may see.",
        ErrorCode::OrgNotFound => "There is no such organization, or none that you may know of.",
        ErrorCode::ReauthenticationRequired => {
            "Your login is too old for this. Log out, and log in again. Nothing was changed."
        }
        ErrorCode::FeatureDisabled => "Whoever runs this gateway has not switched this on.",
        _ => return None,
    })
}

/// What may be said at the top of a page: our own sentences, chosen by a word in the address.
const SAID: [(&str, &str); 12] = [
    ("made", "It was made."),
    ("changed", "It was changed."),
    ("given", "It was given. It counts from the next request on."),
    ("taken", "It was taken away. That counts from the next request on."),
    ("locked", "The account is locked, and logged out everywhere."),
    ("unlocked", "The account is not locked any more."),
    ("banned", "The account is banned, and logged out everywhere."),
    ("unbanned", "The account is not banned any more."),
    ("ended", "That login has ended."),
    ("removed", "It was removed."),
    ("stopped", "The agent was stopped. Nothing is let through in its name."),
    ("sent", "It was sent."),
];

/// The name of the word in the address. No endpoint has a parameter of this name.
const WORD: &str = "said";

fn said(call: &Call) -> Markup {
    let word = form_urlencoded::parse(call.head.query.as_bytes()).find(|(name, _)| name == WORD);
    let known = word.and_then(|(_, word)| SAID.iter().find(|(own, _)| *own == word));
    html! { @if let Some((_, text)) = known { p.done role="status" { (text) } } }
}

/// The same path, where that is said.
pub(super) fn saying(path: &str, word: &str) -> String {
    format!("{path}?{WORD}={word}")
}

/// What the address of a list asks for.
pub(super) struct Sought(Map<String, Value>);

impl Sought {
    /// Fields of a search that were left empty are not asked for.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let unreadable = |_| ApiError::new(ErrorCode::BadRequest).saying("The address cannot be read");
        let mut fields = form::fields(call.head.query.as_bytes()).map_err(unreadable)?;
        fields.remove(WORD);
        fields.retain(|_, value| value.as_str().is_some_and(|text| !text.is_empty()));
        Ok(Self(fields))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// As a query.
    pub(super) fn query(&self) -> String {
        let pairs = self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// What is looked for, without where in the list one is.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter().filter(|(name, _)| !PLACES.contains(&name.as_str()));
        fields.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }
}

/// What says where in a list one is.
const PLACES: [&str; 4] = ["after", "before", "page", "page_size"];

/// Something that can be looked for.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Looks,
}

/// How it is looked for.
pub(super) enum Looks {
    Text,
    Day,
    OneOf(&'static [(&'static str, &'static str)]),
}

/// Yes, no, or all the same.
pub(super) const EITHER: Looks = Looks::OneOf(&[("true", "yes"), ("false", "no")]);

/// The form that looks for something. It is sent by `GET`: an address can be kept, and nothing is changed.
pub(super) fn search(path: &str, filters: &[Filter], sought: &Sought) -> Markup {
    let is_narrowed = sought.fields().next().is_some();
    html! {
        form.search method="get" action=(path) role="search" {
            @for filter in filters {
                div {
                    label for=(format!("f-{}", filter.name)) { (filter.label) }
                    @match filter.kind {
                        Looks::Text => {
                            input id=(format!("f-{}", filter.name)) name=(filter.name) type="search" maxlength="200"
                                autocomplete="off" autocapitalize="off" spellcheck="false" value=(sought.text(filter.name));
                        },
                        Looks::Day => {
                            input id=(format!("f-{}", filter.name)) name=(filter.name) type="text" maxlength="40"
                                autocomplete="off" placeholder="2026-11-20" value=(sought.text(filter.name));
                        },
                        Looks::OneOf(all) => {
                            select id=(format!("f-{}", filter.name)) name=(filter.name) {
                                option value="" { "all" }
                                @for (value, word) in all {
                                    option value=(value) selected[sought.text(filter.name) == *value] { (word) }
                                }
                            }
                        },
                    }
                }
            }
            div.go {
                button type="submit" { "Search" }
                @if is_narrowed { a href=(path) { "Show all" } }
            }
        }
    }
}

/// The ways from one page of a list to the others, as the endpoint names them.
pub(super) fn pager(path: &str, answer: &Value, sought: &Sought) -> Markup {
    // The endpoint's own address: what stands behind it is the query of our page.
    let query = |name: &str| value::text(answer, name).split_once('?').map(|(_, query)| query.to_owned());
    let (next, previous) = (query("next"), query("previous"));
    let is_further = ["after", "before"].iter().any(|name| !sought.text(name).is_empty());
    let first: Vec<(&str, &str)> = sought.fields().collect();
    let first = form_urlencoded::Serializer::new(String::new()).extend_pairs(first).finish();
    let count = answer["count"].as_u64();
    html! {
        @if next.is_some() || previous.is_some() || is_further {
            nav.pager aria-label="Pages" {
                @if is_further { a href=(format!("{path}?{first}")) { "← From the beginning" } }
                @if let Some(previous) = &previous { a rel="prev" href=(format!("{path}?{previous}")) { "← Before" } }
                @else if !value::text(answer, "previous").is_empty() { a rel="prev" href=(path) { "← Before" } }
                @if let Some(next) = &next { a rel="next" href=(format!("{path}?{next}")) { "Next →" } }
            }
        }
        @if let Some(count) = count { p.meta { (count) " in all" } }
    }
}

/// A table that may be wider than the screen, which then moves alone.
pub(super) fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        @if rows.is_empty() { p.empty { "There are none." } }
        @else {
            div.table tabindex="0" role="region" aria-label=(caption) {
                table {
                    caption { (caption) }
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody {
                        @for row in rows {
                            tr { @for cell in row { td { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}
