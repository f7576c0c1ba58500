//! Applications managed over HTTP (contract section 20), on the running gateway.
//! What is deleted takes with it what came through it.

use serde_json::{Value, json};

use crate::support::people::{Keys, User, permission};
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream};

struct Scene {
    upstream: Upstream,
    gateway: Gateway,
    keys: Keys,
    admin: User,
}

impl Scene {
    async fn of(permissions: &[&str]) -> Self {
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start(&format!(
            "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in, agents: {{ permission: users.view }} }} ]
",
            upstream.address
        ))
        .await;
        let keys = gateway.application("console", &[]).await;
        let admin = gateway.user("ada", &keys).await;
        for code in permissions {
            gateway.grant(admin.id, permission(code)).await;
        }
        Self { upstream, gateway, keys, admin }
    }

    async fn all() -> Self {
        Self::of(&["applications", "users.view"]).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let lines = [vec![self.admin.bearer()], self.keys.lines().to_vec()].concat();
        self.gateway.call(method, path, &lines, &body).await
    }

    async fn make(&self, body: Value) -> Value {
        let answer = self.call("POST", "/applications/", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }
}

fn keys_of(made: &Value) -> [String; 2] {
    let keys = &made["credentials"];
    let of = |name: &str| keys[name].as_str().unwrap().to_owned();
    [format!("X-Access-Key: {}", of("access_key")), format!("X-Access-Secret: {}", of("access_secret"))]
}

#[tokio::test]
async fn the_contracts_example_is_answered_field_by_field() {
    let scene = Scene::all().await;
    let body = json!({"name": "Mobile", "description": "x", "allowed_origins": ["https://m.example.com"],
        "redirect_uris": ["https://m.example.com/cb", "com.example.m:/cb"]});
    let made = scene.make(body).await;
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let fields = [
        "access_key",
        "allowed_origins",
        "created_at",
        "description",
        "id",
        "is_active",
        "name",
        "redirect_uris",
        "updated_at",
    ];
    assert_eq!(names(&made), ["application", "credentials", "message", "warning"]);
    assert_eq!(names(&made["application"]), fields);
    assert_eq!(made["message"], "Application created successfully");
    assert_eq!(made["warning"], "Save the access_secret now! It will never be shown again.");
    assert_eq!(made["application"]["allowed_origins"], json!(["https://m.example.com"]));
    let both = json!(["com.example.m:/cb", "https://m.example.com/cb"]);
    assert_eq!(made["application"]["redirect_uris"], both);
    assert_eq!(made["application"]["access_key"], made["credentials"]["access_key"]);
    let id = made["application"]["id"].as_str().unwrap().to_owned();
    let secret = made["credentials"]["access_secret"].as_str().unwrap();
    assert_eq!((made["credentials"]["access_key"].as_str().unwrap().len(), secret.len()), (64, 64));

    let path = format!("/applications/{id}/");
    let shown = scene.call("GET", &path, Value::Null).await;
    assert_eq!((shown.status, names(&shown.json())), (200, fields.map(str::to_owned).to_vec()));
    assert!(!shown.text().contains(secret), "it is shown once");
    let renamed = scene
        .call("PUT", &path, json!({"name": "Mobile 2", "allowed_origins": [], "redirect_uris": []}))
        .await
        .json();
    assert_eq!((&renamed["name"], &renamed["description"]), (&json!("Mobile 2"), &json!("x")));
    assert_eq!((&renamed["allowed_origins"], &renamed["redirect_uris"]), (&json!([]), &json!([])));
    let off = scene.call("PATCH", &path, json!({"is_active": false})).await.json();
    assert_eq!(off["message"], "Application deactivated successfully");
    assert_eq!(off["application"]["is_active"], false);
    let on = scene.call("PUT", &path, json!({"is_active": true})).await.json();
    assert_eq!(on["is_active"], true);
    for (method, body) in
        [("PUT", json!({"is_active": true})), ("PUT", json!({})), ("PATCH", json!({"is_active": true}))]
    {
        let same = scene.call(method, &path, body.clone()).await;
        assert_eq!(same.status, 200, "{method} {body}, as it is already: {}", same.text());
    }
    let gone = scene.call("DELETE", &path, Value::Null).await;
    assert_eq!(gone.json(), json!({"message": "Application \"Mobile 2\" deleted successfully"}));
    let again = scene.call("DELETE", &path, Value::Null).await;
    assert_eq!((again.status, again.code().as_str()), (404, "NOT_FOUND"));
    assert_eq!(again.json()["error"], "Application not found");
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_stored() {
    let scene = Scene::all().await;
    let bad = scene
        .call("POST", "/applications/", json!({"allowed_origins": ["nonsense", "https://a.example"]}))
        .await;
    let expected =
        json!({"name": ["This field is required."], "allowed_origins": {"0": ["Enter a valid URL."]}});
    assert_eq!((bad.status, &bad.json()["details"]), (400, &expected));
    for body in [
        json!({"name": "x".repeat(101)}),
        json!({"name": " "}),
        json!({"name": "console"}),
        json!({"name": "new", "allowed_origins": "https://a.example"}),
        json!({"name": "new", "redirect_uris": ["javascript:alert(1)"]}),
        json!({"name": "new", "redirect_uris": ["http://app.example.com/cb"]}),
        json!({"name": "new", "allowed_origins": ["https://*.example"]}),
        json!({"name": "new", "is_active": false}),
    ] {
        assert_eq!(scene.call("POST", "/applications/", body.clone()).await.status, 400, "{body}");
    }
    let first = scene.call("GET", "/applications/", Value::Null).await.json();
    assert_eq!((&first["count"], &first["results"][0]["name"]), (&json!(1), &json!("console")));
    let own = format!("/applications/{}/", first["results"][0]["id"].as_str().unwrap());
    assert_eq!(scene.call("PATCH", &own, json!({"name": "x"})).await.code(), "INVALID_FIELDS");
    for path in
        ["/applications/99999/", "/applications/console/", "/applications/-1/", "/applications/1%20OR%201/"]
    {
        assert_eq!(scene.call("GET", path, Value::Null).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn old_keys_end_when_somebody_means_it() {
    let scene = Scene::all().await;
    let made = scene.make(json!({"name": "batch"})).await;
    let path = format!("/applications/{}/regenerate/", made["application"]["id"].as_str().unwrap());
    for body in [json!({}), json!({"confirmation": "yes"})] {
        let answer = scene.call("POST", &path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "CONFIRMATION_REQUIRED"));
    }
    let requirements = "/password/requirements/";
    let with =
        async |lines: [String; 2]| scene.gateway.call("GET", requirements, &lines, &Value::Null).await.status;
    assert_eq!(with(keys_of(&made)).await, 200);
    let new = scene.call("POST", &path, json!({"confirmation": "REGENERATE"})).await.json();
    assert_eq!(new["old_credentials_invalidated"], true);
    assert_eq!((with(keys_of(&made)).await, with(keys_of(&new)).await), (401, 200));
}

#[tokio::test]
async fn lists_come_by_page_and_lead_to_each_other() {
    let scene = Scene::all().await;
    for number in 1..=4 {
        scene.make(json!({"name": format!("app {number}"), "description": "Robots & Co"})).await;
    }
    let get = async |query: &str| scene.call("GET", &format!("/applications/{query}"), Value::Null).await;
    let page = get("?search=robots+%26&page_size=3&ordering=-name").await.json();
    let names = |page: &Value| -> Vec<String> {
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["app 4", "app 3", "app 2"]);
    let counts = ["count", "page", "page_size", "total_pages"].map(|name| page[name].as_u64().unwrap());
    assert_eq!((counts, &page["previous"]), ([4, 1, 3, 2], &Value::Null));
    let next = page["next"].as_str().unwrap().to_owned();
    let (_, query) = next.split_once("/api/v1/auth/applications/").unwrap();
    assert_eq!(query, "?ordering=-name&page=2&page_size=3&search=robots+%26", "sorted");
    let last = get(query).await.json();
    assert_eq!((names(&last), &last["next"]), (vec!["app 1".to_owned()], &Value::Null));
    assert!(last["previous"].as_str().unwrap().ends_with("?ordering=-name&page_size=3&search=robots+%26"));
    assert_eq!(get("?page=last&page_size=2").await.json()["page"], 3);
    assert_eq!(get("?page_size=100").await.json()["page_size"], 100);
    assert_eq!(get("").await.json()["page_size"], 20);
    assert_eq!(names(&get("").await.json()), ["app 1", "app 2", "app 3", "app 4", "console"]);
    assert_eq!(
        names(&get("?ordering=-is_active,-name").await.json()),
        ["console", "app 4", "app 3", "app 2", "app 1"]
    );
    assert_eq!(get("?is_active=false").await.json()["count"], 0);
    for query in ["?page=0", "?page=2", "?page=-1", "?page=x", "?page=99999999999999999999"] {
        let answer = get(query).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (404, Some("Invalid page.")), "{query}");
    }
}

/// Nobody takes a list for narrowed or sorted that is not, or a field for set that is none.
#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    let scene = Scene::all().await;
    let made = scene.make(json!({"name": "batch"})).await;
    let one = format!("/applications/{}/", made["application"]["id"].as_str().unwrap());
    let regenerate = format!("{one}regenerate/");
    for (method, path, body, field) in [
        ("GET", "/applications/?colour=red", Value::Null, "colour"),
        ("GET", "/applications/?site=default", Value::Null, "site"),
        ("GET", "/applications/?ordering=secret_hash", Value::Null, "ordering"),
        ("GET", "/applications/?ordering=name,-name", Value::Null, "ordering"),
        ("GET", "/applications/?is_active=maybe", Value::Null, "is_active"),
        ("GET", "/applications/?page_size=0", Value::Null, "page_size"),
        ("GET", "/applications/?page_size=-1", Value::Null, "page_size"),
        ("GET", "/applications/?page_size=101", Value::Null, "page_size"),
        ("GET", "/applications/?page_size=garbage", Value::Null, "page_size"),
        ("POST", "/applications/", json!({"name": "new", "access_secret": "mine"}), "access_secret"),
        ("POST", "/applications/", json!({"name": "new", "id": "1"}), "id"),
        ("PUT", &*one, json!({"name": "new", "access_key": "mine"}), "access_key"),
        ("PUT", &*one, json!({"origins": []}), "origins"),
        ("POST", &*regenerate, json!({"confirmation": "REGENERATE", "access_key": "mine"}), "access_key"),
        ("GET", "/api-keys/?scope=reports", Value::Null, "scope"),
        ("GET", "/api-keys/?page_size=0", Value::Null, "page_size"),
        ("GET", "/api-keys/?page_size=1000", Value::Null, "page_size"),
        ("GET", "/org-roles/?page_size=5", Value::Null, "page_size"),
        ("GET", "/org-roles/?search=owner", Value::Null, "search"),
    ] {
        let answer = scene.call(method, path, body.clone()).await;
        let names = answer.json()["details"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        assert_eq!((answer.status, names), (400, Some(vec![field.to_owned()])), "{method} {path} {body}");
    }
    let now = scene.call("GET", &one, Value::Null).await.json();
    assert_eq!(now, made["application"], "nothing was changed");
    let all = scene.call("GET", "/applications/", Value::Null).await.json();
    assert_eq!(all["count"], 2, "and nothing was made");
}

#[tokio::test]
async fn each_endpoint_asks_for_its_own_permission() {
    let scene = Scene::of(&["applications.view"]).await;
    let own = scene.call("GET", "/applications/", Value::Null).await.json();
    let path = format!("/applications/{}/", own["results"][0]["id"].as_str().unwrap());
    let regenerate = format!("{path}regenerate/");
    for (method, path, body) in [
        ("POST", "/applications/", json!({"name": "x"})),
        ("PUT", &*path, json!({"name": "x"})),
        ("PATCH", &*path, json!({"is_active": false})),
        ("DELETE", &*path, Value::Null),
        ("POST", &*regenerate, json!({"confirmation": "REGENERATE"})),
    ] {
        let answer = scene.call(method, path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "PERMISSION_REQUIRED"), "{method} {path}");
    }
    assert_eq!(scene.call("GET", &path, Value::Null).await.json()["name"], "console");
}

#[tokio::test]
async fn what_came_through_a_deleted_application_ends_with_it() {
    let scene = Scene::all().await;
    let made = scene.make(json!({"name": "mobile"})).await;
    let (keys, id) = (keys_of(&made), made["application"]["id"].as_str().unwrap().to_owned());
    let credentials = json!({"email": "ada@example.com", "password": crate::support::people::PASSWORD});
    let login = scene.gateway.call("POST", "/login/email/", &keys, &credentials).await;
    assert_eq!(login.status, 200, "{}", login.text());
    let bearer = format!("Authorization: Bearer {}", login.json()["access_token"].as_str().unwrap());
    let own = [vec![bearer.clone()], keys.to_vec()].concat();
    let minted =
        scene.gateway.call("POST", "/ai/tokens/", &own, &json!({"permissions": ["users.view"]})).await.json();
    let agent = format!("Authorization: AgentBearer {}", minted["token"].as_str().unwrap());
    for line in [&bearer, &agent] {
        assert_eq!(scene.gateway.send("GET", "/mine", std::slice::from_ref(line)).await.status, 200);
    }
    let gone = scene.call("DELETE", &format!("/applications/{id}/"), Value::Null).await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    let person = scene.gateway.send("GET", "/mine", &[bearer]).await;
    let delegate = scene.gateway.send("GET", "/mine", &[agent]).await;
    assert_eq!((person.status, delegate.status), (401, 403), "{} {}", person.text(), delegate.text());
    let tokens = scene.call("GET", "/ai/tokens/", Value::Null).await.json();
    assert_eq!(tokens[0]["status"], "REVOKED");
    assert_eq!(scene.upstream.count(), 2);
}
