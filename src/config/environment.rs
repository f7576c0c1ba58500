//! `${NAME}` in the file: filled in from the environment, before anything is checked.
//!
//! Law: only values have variables, never keys; a variable that is not set is a problem at its
//! place, never an empty text. `$${` writes `${` itself.

use super::place::Place;
use super::problem::Report;
use super::tree::{Node, Value};

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment.
#[expect(clippy::disallowed_methods, reason = "config is the one module that reads the environment")]
pub fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Fills in every variable below a node.
pub(super) fn fill(node: &mut Node, place: &Place, lookup: Lookup<'_>, report: &mut Report) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => {
            let written = text.clone();
            match substitute(&written, lookup) {
                Ok(filled) => node.value = Value::Text(filled),
                Err(problem) => {
                    let hint = "set it, or write `$${` for the two characters themselves";
                    report.problem(place, problem).at(node.origin).hint(hint);
                    node.value = Value::Unreadable;
                }
            }
            node.written = Some(written);
        }
        Value::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                fill(item, &place.item(at), lookup, report);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                fill(&mut entry.node, &place.key(&entry.key), lookup, report);
            }
        }
        _ => {}
    }
}

fn substitute(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let (name, after) = rest[at + 2..].split_once('}').ok_or("`${` without `}`")?;
        let name_ok = !name.is_empty()
            && !name.as_bytes()[0].is_ascii_digit()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !name_ok {
            return Err(format!("`${{{name}}}` is not the name of an environment variable"));
        }
        let value = lookup(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "WHO").then(|| "ada ${WHO}".to_owned())
    }

    #[test]
    fn variables_are_filled_in_once() {
        let fill = |text: &str| substitute(text, &lookup);
        assert_eq!(fill("a ${WHO} b").unwrap(), "a ada ${WHO} b");
        assert_eq!(fill("$${WHO} $5 }{").unwrap(), "${WHO} $5 }{");
        for text in ["${WHO", "${}", "${1A}", "${A-B}", "${NOBODY}"] {
            assert!(fill(text).is_err(), "{text}");
        }
    }
}
