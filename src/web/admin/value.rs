//! What endpoints answer, as pages show it.
//!
//! Law: whatever an answer holds is text, with what cannot be seen written out; what is not there is said not
//! to be there.

use maud::{Markup, html};
use serde_json::Value;

use crate::web::exact::text as shown;

/// A text of an answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(super) fn is(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_default()
}

pub(super) fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_default()
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Texts of a list.
pub(super) fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    list(value, name).iter().filter_map(Value::as_str).collect()
}

/// Numbers by their names, as they stand in the answer.
pub(super) fn counts<'a>(value: &'a Value, name: &str) -> Vec<(&'a str, i64)> {
    let members = value[name].as_object().into_iter().flatten();
    members.map(|(name, count)| (name.as_str(), count.as_i64().unwrap_or_default())).collect()
}

/// Anything that is one thing: a text, a number, yes or no.
pub(super) fn plain(value: &Value) -> Markup {
    match value {
        Value::Null => none(),
        Value::Bool(is) => html! { @if *is { "yes" } @else { "no" } },
        Value::String(own) if own.is_empty() => none(),
        Value::String(own) => shown(own),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => shown(&value.to_string()),
    }
}

/// What an answer says of something, by its name.
pub(super) fn of(value: &Value, name: &str) -> Markup {
    plain(&value[name])
}

pub(super) fn none() -> Markup {
    html! { span.empty { "none" } }
}

/// A moment, to the second.
pub(super) fn at(value: &Value, name: &str) -> Markup {
    let Some(whole) = value[name].as_str() else { return html! { span.empty { "never" } } };
    // `2026-11-20T10:00:00.000000Z`.
    let short = whole.get(..19).unwrap_or(whole).replace('T', " ");
    html! { time datetime=(whole) { (short) " UTC" } }
}

/// Words of the catalogue, one beside the other.
pub(super) fn codes(all: &[&str]) -> Markup {
    html! {
        @if all.is_empty() { (none()) }
        @for (at, code) in all.iter().enumerate() { @if at > 0 { ", " } code { (shown(code)) } }
    }
}

pub(super) fn badge(class: &str, word: &str) -> Markup {
    html! { span class=(format!("badge {class}")) { (word) } " " }
}

/// The first of these that an answer has as a text: what somebody or something is called.
pub(super) fn called<'a>(value: &'a Value, names: &[&str]) -> &'a str {
    let found = names.iter().map(|name| text(value, name)).find(|own| !own.is_empty());
    found.unwrap_or("without a name")
}

/// A part of a path or of a query.
pub(super) fn escaped(part: &str) -> String {
    form_urlencoded::byte_serialize(part.as_bytes()).collect()
}
