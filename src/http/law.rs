//! The laws of a table, checked by walking it: what a careless new row would break.
//!
//! Each function returns the breaches in words, so that one test run shows all of them.

use std::collections::HashSet;

use serde_json::Value;

use super::code::ErrorCode;
use super::input::{Accepts, Offered};
use super::row::{Mount, Row, Trace};
use super::shape::Shapes;
use super::table::Table;

/// Everything that is wrong with a table; empty when nothing is.
pub fn breaches(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let mut places = HashSet::new();
    let mut operations = HashSet::new();
    let mut shapes = Shapes::default();
    for row in table.rows() {
        row.describe(&mut shapes);
        let place = format!("{} {}", row.method(), table.full_path(row));
        if !places.insert(place.trim_end_matches('/').to_owned()) {
            found.push(format!("{place}: declared twice"));
        }
        if !operations.insert(row.operation()) {
            found.push(format!("{place}: operation {} twice", row.operation()));
        }
        found.extend(breaches_of(row).into_iter().map(|what| format!("{place}: {what}")));
    }
    found.extend(shapes.collisions().into_iter().map(|name| format!("{name}: two shapes of one name")));
    found
}

/// What only those answer who guess at secrets for somebody, or hash.
const ASKS_MUCH: [ErrorCode; 4] =
    [ErrorCode::InvalidPassword, ErrorCode::InvalidCode, ErrorCode::LoginFailed, ErrorCode::Overloaded];

fn breaches_of(row: &Row) -> Vec<String> {
    let mut found = Vec::new();
    if row.summary().is_empty() {
        found.push("says nothing about itself".to_owned());
    }
    if !row.path().starts_with('/') || (row.mount() == Mount::Api && !row.path().ends_with('/')) {
        found.push("a path of the API has a slash at both ends".to_owned());
    }
    let mutates = !matches!(row.method().as_str(), "GET" | "HEAD");
    match row.trace() {
        None if mutates => found.push("neither audited nor says why not".to_owned()),
        Some(Trace::Audited(events)) if events.is_empty() => found.push("audited by no event".to_owned()),
        Some(Trace::Unaudited("")) => found.push("gives no reason for leaving no audit event".to_owned()),
        _ => {}
    }
    let mut codes = HashSet::new();
    for code in row.declared_codes() {
        if !codes.insert(code) {
            found.push(format!("{code:?} declared twice"));
        }
    }
    if row.bucket().is_none() && codes.iter().any(|code| ASKS_MUCH.contains(code)) {
        found.push("checks a password, a code or hashes, and may be asked as often as one likes".to_owned());
    }
    found.extend(documented_as_read(row));
    found
}

/// The schema of an input names the fields that its reader asks for, and requires the same ones.
fn documented_as_read(row: &Row) -> Vec<String> {
    let mut shapes = Shapes::default();
    let offered = match row.describe(&mut shapes).0 {
        Accepts::Nothing => return Vec::new(),
        Accepts::Body(offered) | Accepts::Query(offered) => offered,
    };
    let Offered { schema, asked, required } = offered;
    let schema = shapes.input(&schema);
    let documented: HashSet<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let demanded: HashSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let asked: HashSet<&str> = asked.into_iter().collect();
    let required: HashSet<&str> = required.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    if documented != asked {
        found.push(format!("documents {documented:?} but reads {asked:?}"));
    }
    if demanded != required {
        found.push(format!("documents {demanded:?} as required but requires {required:?}"));
    }
    found
}
