//! Who decides, over HTTP and on the page: several people, people who lose the role in between, and
//! sessions that are too weak or too old (T4; security bar 2.J). Law: a yes counts while whoever said it
//! may say it, each person once, and only from such a session as the route asks for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Scene, scene};
use crate::agent_gate::told;
use crate::agent_hold::{PENDING, confirmed};
use crate::support::Upstream;
use crate::support::forms::{Browser, LIST};
use crate::support::people::{TRUSTING, User, role};
use crate::support::raw::Answer;

pub fn routes(upstream: &Upstream) -> String {
    let held = "permission: reports.read, hold: always";
    format!(
        "{TRUSTING}roles: [ {{ code: finance }} ]
upstreams: {{ up: {{ servers: ['{}'], breaker: off }} }}
routes:
  - {{ name: one, match: {{ path: /one }}, upstream: up, allow: signed_in, agents: {{ {held}, approvers: {{ any_of: [ {{ role: finance }} ] }} }} }}
  - {{ name: two, match: {{ path: /two }}, upstream: up, allow: signed_in, agents: {{ {held}, approvers: {{ any_of: [ {{ role: finance }} ], need: 2 }} }} }}
  - {{ name: sealed, match: {{ path: /sealed }}, upstream: up, allow: signed_in, agents: {{ {held}, mode: sealed, approvers: {{ any_of: [ {{ role: finance }} ], need: 2 }} }} }}
  - {{ name: fresh, match: {{ path: /fresh }}, upstream: up, allow: {{ max_age: 5m }}, agents: {{ {held} }} }}
",
        upstream.address
    )
}

async fn with_upstream() -> (Upstream, Scene, String) {
    let upstream = Upstream::echo().await;
    let scene = scene(&routes(&upstream)).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    (upstream, scene, token)
}

impl Scene {
    pub async fn finance(&self, name: &str) -> User {
        let user = self.gateway.user(name, &self.keys).await;
        self.gateway.grant(user.id, role("finance")).await;
        user
    }

    pub async fn yes(&self, user: &User, named: &str) -> Answer {
        let path = format!("{PENDING}{named}/confirm/");
        self.gateway.call("POST", &path, &self.lines(user), &Value::Null).await
    }

    /// The page of what this names.
    async fn page(&self, named: &str) -> String {
        let shown = self.call("GET", &format!("{PENDING}{named}/"), &Value::Null).await.json();
        format!("{LIST}{}/", shown["id"])
    }
}

#[tokio::test]
async fn t4_two_must_agree_and_one_person_twice_is_one() {
    let (upstream, scene, token) = with_upstream().await;
    let (bob, carol) = (scene.finance("bob").await, scene.finance("carol").await);
    let named = scene.hold("/two", &token, "{}").await;
    let elsewhere = scene.gateway.log_in("bob", bob.id, &scene.keys).await;
    for (user, what) in [(&bob, "once"), (&bob, "twice"), (&elsewhere, "from another device")] {
        let counted = scene.yes(user, &named).await;
        assert_eq!(
            (counted.status, &counted.json()["missing"]),
            (200, &json!(1)),
            "{what}: {}",
            counted.text()
        );
        assert_eq!(scene.standing(&named).await, "pending", "{what}");
        let early = scene.post("/two", &token, &[&confirmed(&named)], "{}").await;
        assert_eq!((early.status, &early.json()["approval"]), (202, &json!("pending")), "{what}");
    }
    let stranger = scene.yes(&scene.ada, &named).await;
    assert_eq!(stranger.status, 400, "who delegated is not asked here: {}", stranger.text());
    assert_eq!(upstream.count(), 0);
    let done = scene.yes(&carol, &named).await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("confirmed")), "{}", done.text());
    assert_eq!(scene.post("/two", &token, &[&confirmed(&named)], "{}").await.status, 200);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn t4_two_at_once_are_two_and_one_at_once_is_one() {
    let (_upstream, scene, token) = with_upstream().await;
    let (bob, carol) = (scene.finance("bob").await, scene.finance("carol").await);
    let named = scene.hold("/two", &token, "1").await;
    let all = futures::future::join_all((0..16).map(|_| scene.yes(&bob, &named))).await;
    assert!(all.iter().all(|one| [200, 503].contains(&one.status)), "{all:?}");
    assert!(all.iter().any(|one| one.status == 200), "somebody was heard: {all:?}");
    assert_eq!(scene.standing(&named).await, "pending", "sixteen times one is one");
    let (one, other) = futures::join!(scene.yes(&carol, &named), scene.yes(&bob, &named));
    assert!(one.status == 200 && [200, 400, 409].contains(&other.status), "{} {}", one.text(), other.text());
    assert_eq!(scene.standing(&named).await, "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_of_who_lost_the_role_opens_nothing_any_more() {
    let (upstream, scene, token) = with_upstream().await;
    let (bob, carol) = (scene.finance("bob").await, scene.finance("carol").await);
    let one = scene.hold("/one", &token, "{}").await;
    assert_eq!(scene.yes(&bob, &one).await.json()["status"], "confirmed");
    let two = scene.hold("/two", &token, "{}").await;
    assert_eq!(scene.yes(&bob, &two).await.json()["missing"], 1);
    let sealed = scene.hold("/sealed", &token, "{}").await;
    assert_eq!(scene.yes(&bob, &sealed).await.json()["missing"], 1);
    scene.gateway.revoke(bob.id, role("finance")).await;
    let refused = scene.post("/one", &token, &[&confirmed(&one)], "{}").await;
    assert_eq!(told(&refused), (409, "APPROVAL_VOID".to_owned()), "{}", refused.text());
    assert_eq!((scene.standing(&one).await.as_str(), upstream.count()), ("void", 0));
    // Before the last yes: it does not count beside the others.
    for named in [&two, &sealed] {
        let counted = scene.yes(&carol, named).await;
        assert_eq!(counted.json()["missing"], 1, "{}", counted.text());
        assert_eq!(scene.standing(named).await, "pending");
    }
    let dora = scene.finance("dora").await;
    for named in [&two, &sealed] {
        assert_eq!(scene.yes(&dora, named).await.json()["status"], "confirmed");
    }
    assert_eq!(scene.post("/two", &token, &[&confirmed(&two)], "{}").await.status, 200);
    scene.comes_to(&sealed, "executed").await;
    assert_eq!(upstream.count(), 2);
    // What comes back does not revive what is void.
    scene.gateway.grant(bob.id, role("finance")).await;
    let still = scene.post("/one", &token, &[&confirmed(&one)], "{}").await;
    assert_eq!(told(&still), (409, "APPROVAL_VOID".to_owned()));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn the_page_counts_a_yes_and_says_that_more_are_needed() {
    let (_upstream, scene, token) = with_upstream().await;
    scene.finance("bob").await;
    scene.finance("carol").await;
    let named = scene.hold("/two", &token, "{}").await;
    let page = scene.page(&named).await;
    for (name, state) in [("bob", "pending"), ("bob", "pending"), ("carol", "approved")] {
        let mut browser = Browser::new(&scene.gateway);
        browser.log_in(name).await;
        let answer = browser.post(&format!("{page}approve/"), &[]).await;
        assert_eq!(answer.status, 303, "{name}: {}", answer.text());
        let shown = browser.get(answer.header("location").expect("a page")).await.text();
        assert_eq!(shown.contains("More people must agree"), state == "pending", "{name}: {shown}");
        assert_eq!(scene.standing(&named).await, state, "{name}");
    }
}

#[tokio::test]
async fn the_page_approves_nothing_in_a_session_that_is_too_old_and_may_deny() {
    let (upstream, scene, token) = with_upstream().await;
    let (first, second) = (scene.hold("/fresh", &token, "1").await, scene.hold("/fresh", &token, "2").await);
    let (page, other) = (scene.page(&first).await, scene.page(&second).await);
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    scene.clock.advance(Duration::from_mins(6));
    let refused = browser.post(&format!("{page}approve/"), &[]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Your login is too old for this"), "{}", refused.text());
    assert!(refused.text().contains("approve/"), "what can be decided is still there");
    assert_eq!(
        browser.post(&format!("{other}deny/"), &[("reason", "no")]).await.status,
        303,
        "a no asks for less"
    );
    browser.log_in("ada").await;
    assert_eq!(browser.post(&format!("{page}approve/"), &[]).await.status, 303);
    let states = (scene.standing(&first).await, scene.standing(&second).await);
    assert_eq!(states, ("approved".to_owned(), "denied".to_owned()));
    assert_eq!(upstream.count(), 0);
}
