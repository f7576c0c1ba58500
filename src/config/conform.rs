//! The file against its schema: every unknown key, wrong type and missing value, all at once.
//!
//! Law: what does not conform is reported once and left out, so that the rest can still be checked.
//! Of the schema's words only those are understood that our own types produce.

use serde_json::Value as Json;

use super::place::{Place, Step};
use super::problem::{Report, nearest};
use super::scalar::parser_of;
use super::tree::{Node, Value};

/// Whether a value may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// It was reported: whoever contains it must do without.
    Drop,
}
use Verdict::{Drop, Keep};

/// Checks a whole file and removes what does not conform.
pub(super) fn conform(file: &mut Node, schema: &Json, report: &mut Report) {
    let check = Check { root: schema };
    if check.node(file, schema, &Place::root(), report) == Drop {
        file.value = Value::Map(Vec::new());
    }
}

struct Check<'a> {
    root: &'a Json,
}

impl<'a> Check<'a> {
    fn node(&self, node: &mut Node, schema: &'a Json, place: &Place, report: &mut Report) -> Verdict {
        if node.value == Value::Unreadable {
            return Drop;
        }
        let mut branches = Vec::new();
        self.branches(schema, &mut branches);
        reinterpret(node, &branches);
        let kind = kind_of(&node.value);
        let fitting: Vec<&Json> = branches.iter().copied().filter(|branch| has_kind(branch, kind)).collect();
        if fitting.is_empty() {
            wrong_kind(node, &branches, place, report);
            return Drop;
        }
        match &mut node.value {
            Value::Text(text) => {
                // What a variable holds may be a secret that went to the wrong place.
                let shown = node.written.as_deref().unwrap_or(text);
                if let Err((problem, known)) = text_fits(text, shown, &fitting) {
                    report.problem(place, problem).at(node.origin).suggest(text, known);
                    return Drop;
                }
                Keep
            }
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => number_fits(node, fitting[0], place, report),
            Value::List(_) => self.list(node, fitting[0], place, report),
            Value::Map(_) => self.map(node, fitting[0], place, report),
            Value::Null | Value::Unreadable => Keep,
        }
    }

    /// The alternatives of a schema, references followed.
    fn branches(&self, schema: &'a Json, found: &mut Vec<&'a Json>) {
        let inner = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key).and_then(Json::as_array));
        if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
            if let Some(target) = name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                self.branches(target, found);
            }
        } else if let Some(inner) = inner {
            for branch in inner {
                self.branches(branch, found);
            }
        } else {
            found.push(schema);
        }
    }

    fn list(&self, node: &mut Node, schema: &'a Json, place: &Place, report: &mut Report) -> Verdict {
        let Value::List(items) = &mut node.value else { return Keep };
        if schema.get("minItems").is_some() && items.is_empty() {
            report.problem(place, "an empty list means nothing here").at(node.origin);
            return Drop;
        }
        let Some(inner) = schema.get("items") else { return Keep };
        let count = items.len();
        items.retain_mut(|item| {
            let place = place.item(item.item);
            self.node(item, inner, &place, report) == Keep
        });
        if items.len() < count {
            leave_out(place, report);
        }
        // A list that lost all of its items would mean something else than the file says.
        if count > 0 && items.is_empty() { Drop } else { Keep }
    }

    fn map(&self, node: &mut Node, schema: &'a Json, place: &Place, report: &mut Report) -> Verdict {
        let Value::Map(entries) = &mut node.value else { return Keep };
        if schema.get("minProperties").is_some() && entries.is_empty() {
            report.problem(place, "an empty map means nothing here").at(node.origin);
            return Drop;
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        let mut is_less = false;
        let mut mistyped: Vec<&str> = Vec::new();
        let mut has_unknown = false;
        entries.retain_mut(|entry| {
            let place = place.key(&entry.key);
            let inner = properties.and_then(|all| all.get(&entry.key)).or(others.filter(|s| s.is_object()));
            let verdict = if let Some(inner) = inner {
                self.node(&mut entry.node, inner, &place, report)
            } else {
                let known: Vec<&str> =
                    properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                has_unknown = true;
                mistyped.extend(nearest(&entry.key, &known));
                report.problem(&place, "unknown key").at(entry.at).suggest(&entry.key, known);
                return false;
            };
            is_less |= verdict == Drop;
            verdict == Keep
        });
        if is_less || has_unknown {
            leave_out(place, report);
        }
        // Conditions that lost all of their keys would be no condition at all.
        if schema.get("minProperties").is_some() && entries.is_empty() {
            return Drop;
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        let missing: Vec<&str> = required
            .filter_map(Json::as_str)
            .filter(|key| !entries.iter().any(|entry| entry.key == *key))
            .collect();
        // What is missing because it was just dropped or misspelt has been reported already.
        if !is_less {
            for key in missing.iter().filter(|key| !mistyped.contains(*key)) {
                let hint = hint_for_missing(key);
                let problem = report.problem(place, format!("`{key}` is missing")).at(node.origin);
                if let Some(hint) = hint {
                    problem.hint(hint);
                }
            }
        }
        if missing.is_empty() { Keep } else { Drop }
    }
}

fn hint_for_missing(key: &str) -> Option<&'static str> {
    match key {
        "allow" => {
            Some("say who may pass: `anyone`, `signed_in` or conditions such as `{permission: reports.read}`")
        }
        "match" => Some("say which requests are meant: `match: { path: /reports/** }`"),
        "servers" => Some("say where the backend is: `servers: [127.0.0.1:9000]`"),
        _ => None,
    }
}

/// Notes in which section something was left out.
fn leave_out(place: &Place, report: &mut Report) {
    if let Some(Step::Key(section)) = place.steps().first() {
        report.leave_out(section);
    }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Unreadable | Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(_) => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn has_kind(schema: &Json, kind: &str) -> bool {
    let is = |own: &str| own == kind || own == "number" && kind == "integer";
    match schema.get("type") {
        Some(Json::String(own)) => is(own),
        Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).any(is),
        _ => schema.get("const").is_some_and(|word| word.is_string() && kind == "string"),
    }
}

/// A variable filled in is text. Where the schema wants a number or a word of truth, it is read as
/// one, as if it stood in the file.
fn reinterpret(node: &mut Node, branches: &[&Json]) {
    let wants = |kind: &str| branches.iter().any(|branch| has_kind(branch, kind));
    if node.written.is_none() || wants("string") {
        return;
    }
    if let Value::Text(text) = &node.value {
        match text.parse::<i64>() {
            Ok(number) if wants("integer") => node.value = Value::Int(number),
            _ => match text.parse::<bool>() {
                Ok(flag) if wants("boolean") => node.value = Value::Bool(flag),
                _ => {}
            },
        }
    }
}

fn wrong_kind(node: &Node, branches: &[&Json], place: &Place, report: &mut Report) {
    let mut wanted: Vec<&str> = Vec::new();
    for (kind, text) in [
        ("string", "text"),
        ("integer", "a whole number"),
        ("boolean", "`true` or `false`"),
        ("array", "a list"),
        ("object", "a map"),
    ] {
        if branches.iter().any(|branch| has_kind(branch, kind)) {
            wanted.push(text);
        }
    }
    let found = match node.value {
        Value::Null | Value::Unreadable => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Int(_) => "a number",
        Value::Float(_) => "a number with a point",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    let problem =
        report.problem(place, format!("expected {}, found {found}", wanted.join(" or "))).at(node.origin);
    let is_plain = matches!(node.value, Value::Int(_) | Value::Float(_) | Value::Bool(_));
    let notation =
        branches.iter().find_map(|branch| branch.get("format").and_then(Json::as_str).and_then(parser_of));
    if wanted == ["text"] && matches!(node.value, Value::List(_)) && place.to_string().contains(".allow") {
        problem.hint("one code here; for several write `all: [...]` or `any: [...]` around conditions");
    } else if let (["a list"], Value::Text(_), Some(Step::Key(key))) =
        (&*wanted, &node.value, place.steps().last())
    {
        problem.hint(format!("a list stands in brackets, also of one: `{key}: [...]`"));
    } else if let (true, Some(Err(why))) = (is_plain, notation.map(|parser| parser(""))) {
        problem.hint(why);
    } else if is_plain && wanted.contains(&"text") {
        problem.hint("if it is text, put it in quotes");
    }
}

/// Whether a text is one of the words or in the notation that the schema asks for.
fn text_fits<'a>(text: &str, shown: &str, branches: &[&'a Json]) -> Result<(), (String, Vec<&'a str>)> {
    let mut words: Vec<&str> = Vec::new();
    let mut wrong = None;
    for branch in branches.iter().filter(|branch| has_kind(branch, "string")) {
        let listed = branch.get("enum").and_then(Json::as_array).into_iter().flatten();
        let own: Vec<&str> = listed.chain(branch.get("const")).filter_map(Json::as_str).collect();
        if own.contains(&text) {
            return Ok(());
        }
        if own.is_empty() {
            let parser = branch.get("format").and_then(Json::as_str).and_then(parser_of);
            let is_short = branch.get("minLength").is_some() && text.is_empty();
            match parser.map_or(Ok(()), |parser| parser(text)) {
                Ok(()) if is_short => wrong = Some("empty".to_owned()),
                Ok(()) => return Ok(()),
                Err(why) => wrong = Some(why),
            }
        }
        words.extend(own);
    }
    Err(match wrong {
        Some(why) => (why, words),
        None => (format!("`{shown}` is not possible here"), words),
    })
}

fn number_fits(node: &Node, schema: &Json, place: &Place, report: &mut Report) -> Verdict {
    if let Value::Bool(flag) = node.value
        && let Some(possible) = schema.get("enum").and_then(Json::as_array)
        && !possible.contains(&Json::Bool(flag))
    {
        report
            .problem(place, format!("`{flag}` says nothing here"))
            .at(node.origin)
            .hint("remove the key, or use `not`");
        return Drop;
    }
    let Value::Int(number) = node.value else { return Keep };
    let bound = |key: &str| schema.get(key).and_then(Json::as_i64);
    let (least, most) = (bound("minimum"), bound("maximum"));
    if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("{least} or more"),
            _ => format!("at most {}", most.unwrap_or_default()),
        };
        report.problem(place, format!("{number} is not possible here: {range}")).at(node.origin);
        return Drop;
    }
    Keep
}
