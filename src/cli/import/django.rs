//! People as `manage.py dumpdata` writes them: JSON, one object per row.
//!
//! Law: what Django knows of people and this gateway does not take is told, once for all of them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Found;
use super::person::Person;
use crate::cli::out::Failure;

#[derive(Deserialize)]
struct Row {
    model: String,
    #[serde(default)]
    pk: Value,
    fields: Map<String, Value>,
}

pub(super) fn read(bytes: &[u8], model: &str) -> Result<Found, Failure> {
    let rows: Vec<Row> = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let (own, others): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.model.eq_ignore_ascii_case(model));
    if own.is_empty() && !others.is_empty() {
        let mut models: Vec<_> = others.iter().map(|row| row.model.as_str()).collect();
        models.sort_unstable();
        models.dedup();
        let text = format!("nobody is a {model} in this file; `--model` names one of: {}", models.join(", "));
        return Err(Failure::Problem(text));
    }
    let mut remarks = Vec::new();
    if !others.is_empty() {
        remarks.push(format!("{} rows of other models", others.len()));
    }
    for (field, what) in [("groups", "groups"), ("user_permissions", "permissions of their own")] {
        let holders = own.iter().filter(|row| !list_is_empty(&row.fields, field)).count();
        if holders > 0 {
            remarks
                .push(format!("the {what} of {holders} people; `portcullis user grant` gives rights here"));
        }
    }
    let people = own.iter().enumerate().map(|(at, row)| person(at + 1, row)).collect();
    Ok(Found { people, remarks, estate: None })
}

/// What is wrong, by its place alone: the parser's own words may quote a hash.
fn broken(error: &serde_json::Error) -> Failure {
    Failure::problem(format_args!(
        "this is not what `manage.py dumpdata` writes, a JSON list of rows with `model` and `fields`: see line {}, \
         column {}",
        error.line(),
        error.column()
    ))
}

fn list_is_empty(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn person(number: usize, row: &Row) -> Person {
    let text = |name: &str| row.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| row.fields.get(name).and_then(Value::as_bool);
    let place = match &row.pk {
        Value::Number(key) => format!("user {key}"),
        Value::String(key) => format!("user {}", key.escape_debug()),
        // With `--natural-primary` there is none.
        _ => format!("person {number} of the file"),
    };
    Person {
        place,
        email: text("email"),
        phone: String::new(),
        username: text("username"),
        hash: text("password"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        is_inactive: flag("is_active") == Some(false),
        is_staff: flag("is_staff") == Some(true),
        is_superuser: flag("is_superuser") == Some(true),
        ..Person::default()
    }
}
