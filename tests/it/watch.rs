//! The audit trail and the attempts to log in, read over HTTP (contract section 22) on the running gateway.
//! Law: who may not watch learns nothing, and no list tells a secret.

use portcullis::base::Id;
use serde_json::{Value, json};

use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission};
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream};

struct Scene {
    upstream: Upstream,
    gateway: Gateway,
    keys: Keys,
    watcher: User,
    ada: User,
}

impl Scene {
    async fn new() -> Self {
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start(&format!(
            "{TRUSTING}upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: pay, match: {{ path: /pay, methods: [GET, POST] }}, upstream: up, allow: {{ permission: users.view }},
             agents: {{ permission: users.view }} }} ]
",
            upstream.address
        ))
        .await;
        let keys = gateway.application("console", &[]).await;
        let watcher = gateway.user("watcher", &keys).await;
        gateway.grant(watcher.id, permission("security.view")).await;
        let ada = gateway.user("ada", &keys).await;
        gateway.grant(ada.id, permission("users.view")).await;
        Self { upstream, gateway, keys, watcher, ada }
    }

    async fn call(&self, user: &User, method: &str, path: &str) -> Answer {
        let lines = [vec![user.bearer()], self.keys.lines().to_vec()].concat();
        self.gateway.call(method, path, &lines, &Value::Null).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call(&self.watcher, "GET", path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    async fn ids(&self, path: &str) -> Vec<i64> {
        ids(&self.get(path).await)
    }

    /// A login that fails, from an address of its own.
    async fn fail(&self, email: &str) -> String {
        let from = elsewhere();
        let lines = [&self.keys.lines()[..], std::slice::from_ref(&from)].concat();
        let body = json!({"email": email, "password": "Wrong-horse-9-battery"});
        let answer = self.gateway.call("POST", "/login/email/", &lines, &body).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        from.trim_start_matches("X-Forwarded-For: ").to_owned()
    }
}

fn ids(page: &Value) -> Vec<i64> {
    let all = page["results"].as_array().unwrap().iter();
    all.map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn the_trail_is_read_page_by_page_and_nothing_is_missed_or_told_twice() {
    let scene = Scene::new().await;
    let everything = scene.ids("/admin/audit-logs/?page_size=100").await;
    assert!(everything.len() > 5 && everything.is_sorted_by(|left, right| left > right), "{everything:?}");
    let mut path = "/admin/audit-logs/?page_size=2&ordering=-created_at".to_owned();
    let mut walked = Vec::new();
    loop {
        let page = scene.get(&path).await;
        walked.extend(ids(&page));
        // What happens meanwhile moves nothing from one page to the next.
        scene.gateway.account(&format!("more{}", walked.len()), |_| {}).await;
        let Some(next) = page["next"].as_str() else { break };
        path = next.split_once("/api/v1/auth").unwrap().1.to_owned();
    }
    assert_eq!(walked, everything);
    let one = scene.get(&format!("/admin/audit-logs/{}/", everything[0])).await;
    assert_eq!(one["id"], everything[0].to_string());
}

#[tokio::test]
async fn filters_narrow_the_trail_and_unknown_ones_are_refused() {
    let scene = Scene::new().await;
    let ada = scene.ada.id;
    let granted = scene.get("/admin/audit-logs/?action=permission_granted").await;
    assert_eq!(granted["results"].as_array().unwrap().len(), 2);
    let hers = scene.get(&format!("/admin/audit-logs/?user_id={ada}&action=permission_granted,login")).await;
    let actions: Vec<_> =
        hers["results"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["permission_granted", "login"]);
    let login = &hers["results"][1];
    assert_eq!(
        (&login["user_email"], &login["application_name"]),
        (&json!("ada@example.com"), &json!("console"))
    );
    let by_number = format!("/admin/audit-logs/?user_id={}&action=login", login["user"]);
    assert_eq!(scene.ids(&by_number).await, ids(&hers)[1..]);
    let address = login["ip_address"].as_str().unwrap().to_owned();
    let from_there = scene.get(&format!("/admin/audit-logs/?ip_address={address}&action=login")).await;
    assert_eq!(ids(&from_there), ids(&hers)[1..]);
    let request = login["request_id"].as_str().unwrap();
    assert!(scene.ids(&format!("/admin/audit-logs/?request_id={request}")).await.contains(&ids(&hers)[1]));
    assert!(scene.ids("/admin/audit-logs/?date_from=2999-01-01").await.is_empty());
    assert!(scene.ids("/admin/audit-logs/?date_to=2001-01-01T00:00:00Z").await.is_empty());
    let slip = scene.call(&scene.watcher, "GET", "/admin/audit-logs/?action=login,user_locked").await;
    let told = slip.json()["details"]["action"][0].clone();
    assert_eq!((slip.status, told), (400, json!("There is no event \"user_locked\".")));
    for (query, field) in [
        ("colour=red", "colour"),
        ("ordering=created_at", "ordering"),
        ("page=2", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("before=x", "before"),
        ("before=-1", "before"),
        ("date_from=yesterday", "date_from"),
        ("ip_address=1.2.3", "ip_address"),
        ("user_id=99999", "user_id"),
        ("user_id=ada@example.com", "user_id"),
        ("organization=1%20OR%201", "organization"),
        ("agent_token=x", "agent_token"),
        ("application_id=nothing", "application_id"),
    ] {
        for list in ["audit-logs", "login-attempts"] {
            let answer = scene.call(&scene.watcher, "GET", &format!("/admin/{list}/?{query}")).await;
            let named = answer.json()["details"].get(field).is_some();
            assert!(answer.status == 400 && named, "{list} {query}: {}", answer.text());
        }
    }
    for id in ["0", "-1", "99999999", "x", "1%20OR%201"] {
        let answer = scene.call(&scene.watcher, "GET", &format!("/admin/audit-logs/{id}/")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{id}");
    }
}

#[tokio::test]
async fn what_an_agent_did_is_told_with_its_human_its_token_and_its_prompt() {
    let scene = Scene::new().await;
    let lines = [vec![scene.ada.bearer()], scene.keys.lines().to_vec()].concat();
    let minted =
        scene.gateway.call("POST", "/ai/tokens/", &lines, &json!({"permissions": ["users.view"]})).await;
    let token = minted.json();
    let agent = format!("Authorization: AgentBearer {}", token["token"].as_str().unwrap());
    let trace = "X-Prompt-Trace-ID: prompt-7".to_owned();
    assert_eq!(scene.gateway.send("POST", "/pay", &[agent, trace]).await.status, 200);
    assert_eq!(scene.upstream.count(), 1);
    let list = "/admin/audit-logs/?prompt_trace_id=prompt-7";
    crate::support::replica::until(
        std::time::Duration::from_secs(5),
        "the action is in the trail",
        async || !scene.ids(list).await.is_empty(),
    )
    .await;
    let acted = scene.get(list).await["results"][0].clone();
    assert_eq!((&acted["action"], &acted["actor_kind"]), (&json!("agent_action"), &json!("agent")));
    assert_eq!(acted["on_behalf_of"], acted["user"]);
    assert_eq!(
        (&acted["user_email"], &acted["prompt_trace_id"]),
        (&json!("ada@example.com"), &json!("prompt-7"))
    );
    let id = acted["agent_token"].as_str().unwrap();
    let number = token["id"].clone();
    for named in [id.to_owned(), number.to_string()] {
        let found = scene.ids(&format!("/admin/audit-logs/?agent_token={named}")).await;
        assert!(found.contains(&acted["id"].as_str().unwrap().parse().unwrap()), "{named}: {found:?}");
    }
    let all = scene.get("/admin/audit-logs/?page_size=100").await.to_string();
    for secret in
        [token["token"].as_str().unwrap(), PASSWORD, scene.ada.access.as_str(), scene.ada.refresh.as_str()]
    {
        assert!(!all.contains(secret));
    }
}

#[tokio::test]
async fn attempts_to_log_in_are_told_with_their_reason_and_no_mistyped_name() {
    let scene = Scene::new().await;
    let from = scene.fail("ada@example.com").await;
    scene.fail("my-password@nowhere.example").await;
    let failed = scene.get("/admin/login-attempts/?success=false").await;
    let told: Vec<_> = failed["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["identifier"].clone(), one["failure_reason"].clone(), one["success"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (Value::Null, json!("unknown_identifier"), json!(false)),
            (json!("ada@example.com"), json!("wrong_password"), json!(false)),
        ]
    );
    assert!(!failed.to_string().contains("my-password"));
    assert_eq!(failed["results"][1]["ip_address"], json!(from));
    let there = scene.get(&format!("/admin/login-attempts/?ip_address={from}")).await;
    assert_eq!(ids(&there), ids(&failed)[1..]);
    let hers = scene.get("/admin/login-attempts/?identifier=ADA@example.com").await;
    let outcomes: Vec<_> =
        hers["results"].as_array().unwrap().iter().map(|one| one["success"].clone()).collect();
    assert_eq!(outcomes, [json!(false), json!(true)]);
    assert!(scene.ids("/admin/login-attempts/?identifier=nobody@example.com").await.is_empty());
}

#[tokio::test]
async fn who_watches_one_site_sees_nothing_of_another_and_others_see_nothing() {
    let scene = Scene::new().await;
    let elsewhere = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);
    let app = &scene.gateway.running.app;
    let mut actor = portcullis::audit::Actor::command_line();
    actor.site = elsewhere;
    let mut change = app.change(actor).await.unwrap();
    let new = portcullis::account::NewAccount::of(elsewhere);
    let how = portcullis::audit::How::Administrator;
    let stranger = portcullis::account::create(&mut change, &new, how).await.unwrap();
    change.commit().await.unwrap();
    let seq = portcullis::audit::head(&app.db, portcullis::audit::Stream::Changes).await.unwrap().seq;
    let hidden = scene.call(&scene.watcher, "GET", &format!("/admin/audit-logs/{seq}/")).await;
    assert_eq!(hidden.status, 404, "{}", hidden.text());
    assert!(!scene.ids("/admin/audit-logs/?page_size=100").await.contains(&seq));
    assert!(scene.ids(&format!("/admin/audit-logs/?user_id={}", stranger.id)).await.is_empty());
    for path in ["/admin/audit-logs/", "/admin/audit-logs/1/", "/admin/login-attempts/"] {
        let refused = scene.call(&scene.ada, "GET", path).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "PERMISSION_REQUIRED"), "{path}");
    }
}

#[tokio::test]
async fn decisions_and_changes_are_one_list_and_each_can_be_asked_for_alone() {
    let scene = Scene::new().await;
    let lines = [vec![scene.ada.bearer()], scene.keys.lines().to_vec()].concat();
    let minted =
        scene.gateway.call("POST", "/ai/tokens/", &lines, &json!({"permissions": ["users.view"]})).await;
    let agent = format!("Authorization: AgentBearer {}", minted.json()["token"].as_str().unwrap());
    for _ in 0..3 {
        assert_eq!(scene.gateway.send("POST", "/pay", std::slice::from_ref(&agent)).await.status, 200);
    }
    let list = "/admin/audit-logs/?stream=data_plane";
    crate::support::replica::until(
        std::time::Duration::from_secs(5),
        "the actions are in the trail",
        async || scene.ids(list).await.len() == 3,
    )
    .await;
    let of = |page: &Value, field: &str| -> Vec<Value> {
        page["results"].as_array().unwrap().iter().map(|one| one[field].clone()).collect()
    };
    let decisions = scene.get(list).await;
    assert_eq!(of(&decisions, "stream"), vec![json!("data_plane"); 3]);
    assert_eq!(of(&decisions, "action"), vec![json!("agent_action"); 3]);
    let changes = scene.ids("/admin/audit-logs/?stream=changes&page_size=100").await;
    let all = scene.get("/admin/audit-logs/?page_size=100").await;
    assert_eq!(all["results"].as_array().unwrap().len(), changes.len() + 3);
    for (query, expected) in [("page_size=2", ids(&all)), ("stream=data_plane&page_size=2", ids(&decisions))]
    {
        let (mut path, mut walked) = (format!("/admin/audit-logs/?{query}"), Vec::new());
        loop {
            let page = scene.get(&path).await;
            walked.extend(ids(&page));
            // What happens meanwhile moves nothing from one page to the next.
            scene.gateway.account(&format!("more{}{}", query.len(), walked.len()), |_| {}).await;
            let Some(next) = page["next"].as_str() else { break };
            path = next.split_once("/api/v1/auth").unwrap().1.to_owned();
        }
        assert_eq!(walked, expected, "{query}");
    }
    let one = scene.get(&format!("/admin/audit-logs/{}/", ids(&decisions)[0])).await;
    assert_eq!(one, decisions["results"][0]);
    let last = ids(&decisions)[2];
    for (query, field) in [
        ("stream=traffic".to_owned(), "stream"),
        (format!("before={last}"), "before"),
        (format!("stream=changes&before={last}"), "before"),
        (format!("stream=data_plane&before=1-{last}"), "before"),
        (format!("before=1-2-{last}"), "before"),
    ] {
        let answer = scene.call(&scene.watcher, "GET", &format!("/admin/audit-logs/?{query}")).await;
        let is_named = answer.json()["details"].get(field).is_some();
        assert!(answer.status == 400 && is_named, "{query}: {}", answer.text());
    }
    let export = "/admin/audit-logs/export/?format=json&stream=data_plane";
    assert_eq!(scene.call(&scene.watcher, "GET", export).await.json(), decisions["results"]);
    let told = scene.get("/admin/audit-logs/?action=audit_exported").await;
    assert_eq!(told["results"][0]["details"]["filters"], json!({"stream": "data_plane"}));
}
