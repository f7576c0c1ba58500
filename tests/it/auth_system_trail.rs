//! The profile `auth-system` on the running gateway: the audit trail as a file, in that system's words.
//! Law: a file holds what the list shows, nothing in it runs, and that somebody took it is in the trail.

use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::auth_system::{ask, enter, keys, root, yaml};
use crate::auth_system_users::{no, ok, told};
use crate::on_one_and_on_two;
use crate::support::people::{PASSWORD, User, elsewhere, permission, request};
use crate::support::raw::{Answer, exchange};
use crate::support::{Gateway, Replicas};

const EVIL: &str = "=cmd|' /C calc'!A0";
/// Of the list, and of every file.
const COLUMNS: [&str; 12] = [
    "id",
    "user_id",
    "user_email",
    "action",
    "resource",
    "resource_id",
    "old_values",
    "new_values",
    "ip_address",
    "user_agent",
    "additional_info",
    "created_at",
];

async fn file(gateway: &Gateway, user: &User, query: &str) -> Answer {
    let answer = ask(gateway, Some(user), "GET", &format!("/audit/logs/export?{query}"), Value::Null).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer
}

async fn list(gateway: &Gateway, user: &User, query: &str) -> Vec<Value> {
    let page = ok(gateway, user, "GET", &format!("/audit/logs?size=100&{query}"), Value::Null).await;
    assert!(page["pages"].as_u64().unwrap() <= 1, "all of it is on one page");
    page["items"].as_array().unwrap().clone()
}

fn cells(answer: &Answer) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&answer.body[..]);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// A login that fails, by a program that calls itself so.
async fn fail(gateway: &Gateway, program: &str) {
    let lines = [elsewhere(), format!("User-Agent: {program}")];
    let body = json!({"email": "ann@example.com", "password": "Wrong-horse-9-battery"}).to_string();
    let text = request("POST", "/api/v1/auth/login", &lines, &body);
    assert_eq!(exchange(gateway.public(), text).await.unwrap().status, 401);
}

on_one_and_on_two! {
    async fn a_file_holds_what_the_list_shows_in_three_forms(dialect: Dialect) {
        let replicas = Replicas::on(dialect, &yaml()).await;
        let (here, there): (&Gateway, &Gateway) = (&replicas.here, &replicas.there);
        let root = root(here).await;
        let ann = enter(here, "ann").await;
        fail(here, EVIL).await;
        let jane = json!({"email": "jane@example.com", "password": PASSWORD, "first_name": "Jane", "last_name": "Smith",
            "role": "user"});
        let jane = ok(here, &root, "POST", "/users", jane).await;

        let shown = list(there, &root, "page=1").await;
        let json = file(there, &root, "format=json").await;
        assert_eq!(json.json(), Value::Array(shown.clone()), "entry for entry");
        let mut sorted = COLUMNS.to_vec();
        sorted.sort_unstable();
        assert!(shown.iter().all(|entry| keys(entry) == sorted), "{shown:?}");
        assert_eq!(json.header("content-type"), Some("application/json"));
        assert_eq!(json.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(json.header("cache-control"), Some("no-store"));
        let named = json.header("content-disposition").unwrap();
        assert!(named.starts_with("attachment; filename=\"audit-2") && named.ends_with(".json\""), "{named}");

        let made = list(here, &root, "action=user_created&resource=users").await;
        assert_eq!(made, list(here, &root, "action=account_created").await, "by either word");
        let first = &made[0];
        assert_eq!((&first["action"], &first["resource_id"]), (&json!("user_created"), &jane["id"]));
        assert_eq!((&first["user_id"], &first["user_email"]), (&json!(root.id.to_string()), &json!("root@example.com")));
        let more = &first["additional_info"];
        assert_eq!((&more["actor_kind"], &more["actor_id"]), (&json!("account"), &json!(root.id.to_string())));
        assert!(more["request_id"].is_string() && first["ip_address"].is_string(), "{first}");

        let csv = file(here, &root, "format=csv&action=login_failed").await;
        assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
        assert!(csv.header("content-disposition").unwrap().ends_with(".csv\""));
        let table = cells(&csv);
        assert_eq!((table.len(), &table[0][..]), (2, &COLUMNS.map(str::to_owned)[..]));
        let at = |name: &str| table[1][COLUMNS.iter().position(|column| *column == name).unwrap()].as_str();
        assert_eq!(at("user_agent"), format!("'{EVIL}"), "a name is no formula");
        assert_eq!((at("action"), at("user_email"), at("old_values")), ("login_failed", "ann@example.com", ""));
        let info: Value = serde_json::from_str(at("additional_info")).unwrap();
        assert_eq!(info["actor_kind"], "anonymous");

        // Whom it is about, and who did it.
        let about_her = list(here, &root, &format!("user_id={}", ann.id)).await.len();
        let hers = file(here, &root, &format!("format=csv&user_id={}", ann.id)).await;
        assert_eq!((cells(&hers).len() - 1, about_her > 2), (about_her, true));
        let by_root = list(here, &root, &format!("user_id={}&action=user_created", root.id)).await;
        assert!(by_root.contains(first), "who made somebody is found by what they did");
        let sheet = file(here, &root, "format=xlsx&resource=users&start_date=2001-01-01").await;
        assert!(sheet.body.starts_with(b"PK") && sheet.header("content-type").unwrap().contains("spreadsheetml"));
        let none = file(here, &root, "format=csv&end_date=2001-01-01").await;
        assert_eq!(cells(&none).len(), 1, "the heading alone");

        let told = list(here, &root, "action=audit_exported").await;
        let details: Vec<&Value> = told.iter().map(|entry| &entry["new_values"]).collect();
        assert_eq!(details.len(), 5, "each of them");
        assert_eq!(details[4], &json!({"format": "json", "filters": {}, "rows": shown.len()}));
        assert_eq!(details[3], &json!({"format": "csv", "filters": {"action": "login_failed"}, "rows": 1}));
        assert_eq!(details[2]["filters"], json!({"concerning": ann.id.to_string()}));
        assert_eq!((&details[1]["format"], &details[1]["filters"]["about"]), (&json!("xlsx"), &json!("account")));
        assert!(told.iter().all(|entry| entry["user_id"] == json!(root.id.to_string())), "{told:?}");
        for secret in [PASSWORD, root.access.as_str(), root.refresh.as_str()] {
            assert!(!json.text().contains(secret) && !csv.text().contains(secret));
        }
    }
}

#[tokio::test]
async fn what_there_is_not_is_refused_by_name_and_nothing_is_taken() {
    let gateway = Gateway::start(&yaml()).await;
    let watcher = enter(&gateway, "watcher").await;
    let path = "/audit/logs/export?format=csv";
    let denied = told(403, "PERMISSION_DENIED", None);
    assert_eq!(no(&gateway, &watcher, "GET", path, Value::Null).await, denied);
    gateway.grant(watcher.id, permission("security.view")).await;
    let wrong = |field| told(422, "VALIDATION_ERROR", Some(field));
    let unknown = |field| told(400, "VALIDATION_ERROR", Some(field));
    for (query, expected) in [
        ("", wrong("format")),
        ("?format=pdf", wrong("format")),
        ("?format=CSV", wrong("format")),
        ("?format=csv&user_id=1", wrong("user_id")),
        ("?format=csv&action=user_made", wrong("action")),
        ("?format=csv&resource=cars", wrong("resource")),
        ("?format=csv&start_date=soon", wrong("start_date")),
        ("?format=csv&end_date=later", wrong("end_date")),
        ("?format=csv&page=1", unknown("page")),
        ("?format=csv&size=10", unknown("size")),
        ("?format=csv&date_from=2026-01-01", unknown("date_from")),
        ("?format=csv&site=1", unknown("site")),
    ] {
        let refused = no(&gateway, &watcher, "GET", &format!("/audit/logs/export{query}"), Value::Null).await;
        assert_eq!(refused, expected, "{query}");
    }
    let head = ask(&gateway, Some(&watcher), "HEAD", path, Value::Null).await;
    assert_eq!((head.status, head.body.len()), (200, 0), "nothing was taken, so nothing is told");
    let posted = ask(&gateway, Some(&watcher), "POST", path, json!({})).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(list(&gateway, &watcher, "action=audit_exported").await, Vec::<Value>::new());
}
