//! The profile `auth-system` on the running gateway: that system's error object around what none of its endpoints
//! says itself, and what its health says of a gateway that has lost its store.
//!
//! Law: whatever goes wrong, its clients read one form, and nothing of what the gateway stands on.

use std::time::Duration;

use portcullis::store::sql;
use serde_json::{Value, json};

use crate::auth_system::{ask, plain, refusal, root, yaml};
use crate::support::people::{PASSWORD, elsewhere, request};
use crate::support::replica::{Place, until};
use crate::support::{Cut, Gateway, exchange};

const JSON: &str = "application/json";

#[tokio::test]
async fn a_body_that_is_not_read_and_a_fault_of_ours_are_told_in_its_form() {
    let gateway = Gateway::start(&format!("{}limits: {{ body: {{ api_bytes: 16KiB }} }}\n", yaml())).await;
    let root = root(&gateway).await;
    let create = async |kind: &str, body: &str| {
        let text = request("POST", "/api/v1/users", &[root.bearer(), elsewhere()], body);
        exchange(gateway.public(), text.replacen(JSON, kind, 1)).await.expect("an answer")
    };
    let person = json!({"email": "jane@example.com", "password": PASSWORD, "first_name": "Jane"}).to_string();
    let long = json!({"first_name": "x".repeat(17 << 10)}).to_string();
    assert_eq!(refusal(&create(JSON, &long).await), plain(413, "BODY_TOO_LARGE"));
    for kind in ["text/plain", "application/xml", "application/json; charset=latin1"] {
        let refused = create(kind, &person).await;
        assert_eq!(refusal(&refused), plain(415, "UNSUPPORTED_MEDIA_TYPE"), "{kind}");
    }
    for body in ["{", r#"{"email": "a@example.com", "email": "b@example.com"}"#] {
        assert_eq!(refusal(&create(JSON, body).await), plain(400, "VALIDATION_ERROR"), "{body}");
    }
    let write = async |statement: &'static str| {
        let mut tx = gateway.running.app.db.begin().await.unwrap();
        tx.execute(sql(statement)).await.unwrap();
        tx.commit().await.unwrap();
    };
    write("CREATE TRIGGER full BEFORE INSERT ON account BEGIN SELECT RAISE(ABORT, 'a fault that a test made'); END")
        .await;
    let broken = create(JSON, &person).await;
    assert_eq!(refusal(&broken), plain(500, "INTERNAL_ERROR"));
    assert!(!broken.text().contains("fault"), "{}", broken.text());
    write("DROP TRIGGER full").await;
    let made = create(JSON, &person).await;
    assert_eq!(made.status, 201, "none of the others made her: {}", made.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_store_is_unhealthy_and_says_why_to_those_alone_who_may_know() {
    let place = Place::new().await;
    let (cut, store) = Cut::in_front_of(&place.store.address()).await;
    let gateway = Gateway::start(&format!("{}{}", place.yaml(&store, "memory"), yaml())).await;
    let root = root(&gateway).await;
    let detailed = async || ask(&gateway, Some(&root), "GET", "/health/detailed", Value::Null).await;
    let health = async || ask(&gateway, None, "GET", "/health", Value::Null).await;
    assert_eq!(detailed().await.json()["checks"]["database"]["status"], "healthy");
    assert_eq!(health().await.status, 200);
    cut.cut();
    let told = detailed().await;
    assert_eq!(told.status, 200, "who is known still asks: {}", told.text());
    let told = told.json();
    let statuses = (&told["status"], &told["checks"]["database"]["status"]);
    assert_eq!(statuses, (&json!("unhealthy"), &json!("unhealthy")));
    until(Duration::from_secs(18), "no requests any more", async || health().await.status == 503).await;
    let unhealthy = health().await;
    assert_eq!(refusal(&unhealthy), plain(503, "SERVICE_UNAVAILABLE"));
    assert!(!unhealthy.text().contains("store") && !unhealthy.text().contains("database"));
    cut.mend();
    until(Duration::from_secs(10), "healthy again", async || {
        detailed().await.json()["status"] == "healthy" && health().await.status == 200
    })
    .await;
}
