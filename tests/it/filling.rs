//! What a row is asked with: the query and the body that it offers itself, with one id wherever an id goes.
//!
//! Law: nothing is written down row by row, so a row that is added is asked for without a word.

use portcullis::http::Row;
use portcullis::http::input::{Accepts, Offered};
use portcullis::http::shape::Shapes;
use portcullis::server;
use serde_json::{Map, Value, json};

use crate::support::people::PASSWORD;

/// How much of what it takes a row is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Much {
    All,
    /// What it insists on, and what takes an id.
    Least,
}

/// A query and a body in which every field that takes an id has this one, and the others something plausible. Where
/// a row names something, then the least that it takes too: a field that is no good is said before anything is looked
/// for, and whoever asks for less gets further.
pub fn inputs(row: &Row, id: &str) -> Vec<(String, String)> {
    let mut all = vec![input(row, id, Much::All)];
    if row.path().contains('{') {
        all.push(input(row, id, Much::Least));
    }
    all.dedup();
    all
}

/// Whether a row may be asked for an id in anything but its path.
pub fn asks_for_ids(row: &Row) -> bool {
    input(row, "one", Much::All) != input(row, "another", Much::All)
}

fn input(row: &Row, id: &str, much: Much) -> (String, String) {
    let mut shapes = Shapes::default();
    match row.describe(&mut shapes).0 {
        Accepts::Nothing => (String::new(), String::new()),
        Accepts::Query(offered) => {
            let named = offered.asked.iter().filter(|name| is_least(&offered, name));
            let pairs: Vec<String> = named.map(|name| format!("{name}={id}")).collect();
            (if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }, String::new())
        }
        Accepts::Body(offered) => {
            let schema = shapes.input(&offered.schema);
            let sent = offered.asked.iter().filter(|name| much == Much::All || is_least(&offered, name));
            let field = |name: &&str| ((*name).to_owned(), value(name, &schema["properties"][*name], id));
            let body: Map<String, Value> = sent.map(field).collect();
            (String::new(), Value::Object(body).to_string())
        }
    }
}

fn is_least(offered: &Offered, name: &str) -> bool {
    takes_id(name) || offered.required.iter().any(|own| own == name)
}

fn takes_id(name: &str) -> bool {
    // What an agent is called is no id of anything.
    let is_label = name == "agent_id";
    let is_reference = matches!(name, "id" | "user" | "organization" | "application");
    !is_label && (is_reference || name.ends_with("_id") || name.ends_with("ids"))
}

fn value(name: &str, schema: &Value, id: &str) -> Value {
    let is = |kind: &str| {
        let told = &schema["type"];
        told == kind || told.as_array().is_some_and(|all| all.contains(&json!(kind)))
    };
    if takes_id(name) {
        return if is("array") { json!([id]) } else { json!(id) };
    }
    match name {
        "action" => json!("lock"),
        "role" => json!("user"),
        "status" => json!("active"),
        _ if name.contains("password") && !is("boolean") => json!(PASSWORD),
        _ if name.contains("email") => json!("someone@example.com"),
        _ if name.contains("role") && !is("array") => json!("member"),
        _ if is("array") => json!(["reports.read"]),
        _ if is("boolean") => json!(true),
        _ if is("integer") || is("number") => json!(1),
        _ if is("object") => json!({}),
        _ => json!("reports.read"),
    }
}

/// Every field that a row insists on is in both, and a row that insists on nothing is asked with nothing too.
#[test]
fn what_a_row_insists_on_is_sent() {
    let yaml = "preset: development\napi: { profiles: [ { use: auth-system, prefix: /compat } ] }\n";
    let table = server::public(&portcullis::config::load_text(yaml).unwrap().config);
    let row = |method: &str, path: &str| {
        table.rows().iter().find(|row| row.method() == method && row.path() == path).unwrap()
    };
    let bodies = |method: &str, path: &str| -> Vec<Value> {
        let all = inputs(row(method, path), "7");
        all.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    };
    let narrowing = bodies("PUT", "/ai/tokens/{id}/");
    assert_eq!((narrowing.len(), &narrowing[1]), (2, &json!({})));
    assert_eq!(narrowing[0]["expires_in"], 1);
    let whole = bodies("PUT", "/users/{id}");
    assert_eq!(whole.len(), 1, "every field is asked for");
    assert_eq!((&whole[0]["role"], &whole[0]["is_active"]), (&json!("user"), &json!(true)));
    assert_eq!(bodies("POST", "/organizations/members/add/")[0]["user_id"], "7");
    assert!(asks_for_ids(row("POST", "/organizations/members/add/")));
    assert!(!asks_for_ids(row("PUT", "/ai/tokens/{id}/")));
}
