//! What administrators do on pages: each a form, and the endpoint that it is sent on to.
//!
//! Law: a deed is one row of data. How often it may be asked and what it leaves in the trail is taken from the
//! endpoint's row; only a form of our own page is believed; what cannot be undone is asked about once more, by the
//! server, whatever a page showed before.

use ::http::StatusCode;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::ask::{Endpoint, Question};
use super::field::{Field, Shape};
use super::frame;
use super::value;
use crate::http::row::Trace;
use crate::http::{ApiError, Call, ErrorCode, Reply, Row, post};
use crate::web::exact::text;
use crate::web::form::Form;
use crate::web::layout::{Viewer, lead_to};
use crate::web::visit;

/// Something that can be done.
pub(super) struct Deed {
    /// Where its form leads to.
    pub(super) at: &'static str,
    pub(super) asks: Endpoint,
    pub(super) whose: Whose,
    pub(super) sends: Sends,
    pub(super) fields: &'static [Field],
    /// What stands on the button.
    pub(super) does: &'static str,
    /// What is said before it is done, where it cannot be undone.
    pub(super) sure: Option<&'static str>,
    /// What it is done to: where that is read, and which of its fields tells what it is called.
    pub(super) subject: Option<(Endpoint, &'static [&'static str])>,
    pub(super) then: Then,
}

/// What stands for `{id}` in the endpoint's path, and which organization is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Nobody,
    /// What the page's path names.
    Path,
    /// What this field of the form names.
    Field(&'static str),
    /// The page's path names the organization.
    Organization,
    /// The same, and this field something within.
    Within(&'static str),
}

/// How its fields travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    Nothing,
    Body,
    Query,
}

/// What comes after it.
pub(super) enum Then {
    /// This page, with this word; `{id}` is what the path named.
    Lead(&'static str, &'static str),
    /// What the endpoint answered, shown once.
    Show(fn(&Value) -> (&'static str, Markup)),
}

/// The field that says that somebody means it.
pub(super) const SURE: &str = "sure";

impl Deed {
    /// A deed to what the path names, with no fields yet: each page tells what else holds for its own.
    pub(super) const fn to(
        subject: (Endpoint, &'static [&'static str]),
        at: &'static str,
        asks: Endpoint,
        does: &'static str,
        then: Then,
    ) -> Self {
        Self {
            at,
            asks,
            whose: Whose::Path,
            sends: Sends::Body,
            fields: &[],
            does,
            sure: None,
            subject: Some(subject),
            then,
        }
    }

    /// Its row; nothing where there is no such endpoint.
    pub(super) fn row(&'static self) -> Option<Row> {
        let asked = self.asks.row()?;
        let run = move |call: Call, form: Form| perform(call, form, self);
        Some(as_counted(post(self.at, run).page().about(self.does), asked))
    }

    /// Its form, for whoever may do it.
    pub(super) fn form<'a>(&'static self, viewer: &'a Viewer<'a>) -> Shape<'a> {
        Shape::of(self, viewer)
    }

    /// What the path of the page named; empty where it names nothing.
    fn path_id<'a>(&self, call: &'a Call) -> Result<&'a str, ApiError> {
        if self.at.contains("{id}") { call.param("id") } else { Ok("") }
    }

    /// Whether its form leads to this path.
    pub(super) fn is_at(&self, path: &str) -> bool {
        match self.at.split_once("{id}") {
            Some((before, behind)) => path.starts_with(before) && path.ends_with(behind),
            None => path == self.at,
        }
    }

    /// A path of a page, for what this is done to.
    fn path(path: &str, id: &str) -> String {
        path.replace("{id}", &value::escaped(id))
    }

    /// Where its form leads to, for what it is done to.
    pub(super) fn place(&self, id: &str) -> String {
        Self::path(self.at, id)
    }

    fn question<'a>(&self, call: &'a Call, form: &'a Form) -> Result<Question<'a>, ApiError> {
        let (question, id) = (Question::to(self.asks), self.path_id(call)?);
        let missing = |name: &str| ApiError::invalid(name, &["This field is required.".to_owned()]);
        let named = |name: &'static str| Some(form.text(name)).filter(|id| !id.is_empty());
        let question = match self.whose {
            Whose::Nobody => question,
            Whose::Path => question.about(id),
            Whose::Field(name) => question.about(named(name).ok_or_else(|| missing(name))?),
            Whose::Organization => question.in_organization(id),
            Whose::Within(name) => {
                question.in_organization(id).about(named(name).ok_or_else(|| missing(name))?)
            }
        };
        let fields: Map<String, Value> = self.fields.iter().filter_map(|field| field.read(form)).collect();
        Ok(match self.sends {
            Sends::Nothing => question,
            Sends::Body => question.body(fields),
            Sends::Query => {
                let pairs = fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
                question.query(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
            }
        })
    }

    /// What it is done to, as its own endpoint tells; nothing where the person may not see that.
    async fn subject(&self, call: &Call) -> Result<Option<String>, ApiError> {
        let Some((endpoint, names)) = self.subject else { return Ok(None) };
        let id = self.path_id(call)?;
        let question = match self.whose {
            Whose::Organization | Whose::Within(_) => Question::to(endpoint).in_organization(id),
            Whose::Nobody | Whose::Path | Whose::Field(_) => Question::to(endpoint).about(id),
        };
        let found = question.read_if_allowed(call).await?;
        Ok(found.map(|found| value::called(&found, names).to_owned()))
    }

    /// Where one came from.
    fn back(&self, id: &str) -> Option<String> {
        match self.then {
            Then::Lead(path, _) => Some(Self::path(path, id)),
            Then::Show(_) => None,
        }
    }
}

/// The row of a form, counted and traced as the endpoint is that it asks.
pub(super) fn as_counted(row: Row, asked: &Row) -> Row {
    let row = match asked.bucket() {
        Some(bucket) => row.limit(bucket),
        None => row,
    };
    match asked.trace() {
        Some(Trace::Audited(events)) => row.audited(events),
        Some(Trace::Unaudited(why)) => row.unaudited(why),
        None => row,
    }
}

async fn perform(call: Call, form: Form, deed: &'static Deed) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    if !deed.asks.is_for(viewer.person) {
        let error = ApiError::new(ErrorCode::PermissionRequired);
        return frame::refused(&call, &viewer, error, &html! {});
    }
    if let Some(warning) = deed.sure.filter(|_| form.text(SURE) != "yes") {
        return match deed.subject(&call).await {
            Ok(subject) => confirm(&call, &viewer, deed, &form, warning, subject.as_deref()),
            Err(error) => frame::refused(&call, &viewer, error, &html! {}),
        };
    }
    let asked = async { deed.question(&call, &form)?.read(&call).await };
    match asked.await {
        Ok(answer) => done(&call, &viewer, deed, &answer),
        Err(error) => {
            let again = again(&call, &viewer, deed, &form)?;
            frame::refused(&call, &viewer, error, &again)
        }
    }
}

fn done(call: &Call, viewer: &Viewer<'_>, deed: &Deed, answer: &Value) -> Result<Reply, ApiError> {
    match deed.then {
        Then::Lead(path, word) => Ok(lead_to(&frame::saying(&Deed::path(path, deed.path_id(call)?), word))),
        Then::Show(shown) => {
            let (title, content) = shown(answer);
            Ok(frame::page(call, viewer, StatusCode::OK, title, &content))
        }
    }
}

/// The form once more, with what was typed, where there is something to mend.
fn again(call: &Call, viewer: &Viewer<'_>, deed: &'static Deed, form: &Form) -> Result<Markup, ApiError> {
    let id = deed.path_id(call)?;
    let shape = deed.form(viewer).about(id).typed(form);
    Ok(html! {
        @if shape.asks_anything() { section { h2 { (deed.does) } (shape.whole()) } }
        @if let Some(back) = deed.back(id) { p.back { a href=(back) { "← Back" } } }
    })
}

/// Asks once more, before anything is done.
fn confirm(
    call: &Call,
    viewer: &Viewer<'_>,
    deed: &'static Deed,
    form: &Form,
    warning: &str,
    subject: Option<&str>,
) -> Result<Reply, ApiError> {
    let id = deed.path_id(call)?;
    let content = html! {
        h1 { (deed.does) @if let Some(subject) = subject { ": " (text(subject)) } }
        section {
            p { strong { (warning) } }
            (deed.form(viewer).about(id).typed(form).confirming())
            @if let Some(back) = deed.back(id) { p { a href=(back) { "No, leave it as it is" } } }
        }
    };
    Ok(frame::page(call, viewer, StatusCode::OK, deed.does, &content))
}
