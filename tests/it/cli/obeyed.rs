//! Commands beside a running gateway: what one of them changes, the gateway obeys.
//!
//! Law: within a second of the command's end, on the sockets, without a signal or a restart; and the
//! upstream sees nothing of what is refused from then on.

use std::time::Duration;

use serde_json::{Value, json};

use super::Place;
use super::gateway::Gateway;
use crate::support::people::{PASSWORD, request};
use crate::support::raw::Answer;
use crate::support::replica::{until, within};
use crate::support::{Upstream, exchange};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway in its own process, the place where commands run, and a person who is logged in.
struct Scene {
    upstream: Upstream,
    place: Place,
    gateway: Gateway,
    keys: [String; 2],
    access: String,
}

impl Scene {
    async fn start() -> Self {
        let upstream = Upstream::echo().await;
        let place = Place::with(&format!(
            "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: reports, match: {{ path: /reports }}, upstream: up, allow: {{ permission: reports.read }} }}
  - {{ name: root, match: {{ path: /root }}, upstream: up, allow: {{ superuser: true }} }}
  - {{ name: staff, match: {{ path: /staff }}, upstream: up, allow: {{ staff: true }} }}
  - {{ name: ours, match: {{ path: /ours }}, upstream: up, allow: {{ org: member }} }}
",
            upstream.address
        ));
        let gateway = Gateway::start(&place);
        for name in ["ada", "boss"] {
            let line = format!("user create {name}@example.com --verified --password-stdin");
            place.run_with(&line, PASSWORD).good();
        }
        let made = place.run("app create web").json();
        let line = |name: &str, key: &str| format!("{name}: {}", made[key].as_str().expect("a key"));
        let keys = [line("X-Access-Key", "access_key"), line("X-Access-Secret", "access_secret")];
        let mut scene = Self { upstream, place, gateway, keys, access: String::new() };
        // The gateway learns of the application as of everything else.
        until(SECOND, "logged in", async || {
            let answer = scene.log_in().await;
            if answer.status == 200 {
                answer.json()["access_token"].as_str().expect("a token").clone_into(&mut scene.access);
            }
            answer.status == 200
        })
        .await;
        scene
    }

    async fn log_in(&self) -> Answer {
        let body = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
        self.ask(&request("POST", "/api/v1/auth/login/email/", &self.keys, &body)).await
    }

    async fn ask(&self, text: &str) -> Answer {
        exchange(self.gateway.public, text).await.expect("an answer")
    }

    /// What a route says to Ada.
    async fn status(&self, path: &str) -> u16 {
        let mut lines = vec![format!("Authorization: Bearer {}", self.access)];
        if path == "/ours" {
            lines.push("X-Org-Slug: acme".to_owned());
        }
        self.ask(&request("GET", path, &lines, "")).await.status
    }

    /// Runs a command, after which a route says this within a second, and goes on saying it.
    async fn after(&self, command: &str, path: &str, status: u16) {
        assert_ne!(self.status(path).await, status, "before `{command}`");
        self.place.run(command).good();
        within(SECOND, command, async || self.status(path).await == status).await;
        let before = self.upstream.count();
        assert_eq!(self.status(path).await, status, "`{command}` stays obeyed");
        assert_eq!(self.upstream.count() - before, usize::from(status == 200), "{command}");
    }

    async fn kids(&self) -> Vec<String> {
        let set = self.ask(&request("GET", "/.well-known/jwks.json", &[], "")).await.json();
        let all = set["keys"].as_array().expect("keys").iter();
        all.filter_map(|key| key["kid"].as_str()).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_granted_opens_a_route_and_what_is_revoked_closes_it() {
    let scene = Scene::start().await;
    scene.after("user grant ada@example.com --role analyst", "/reports", 200).await;
    scene.after("user revoke ada@example.com --role analyst", "/reports", 403).await;
    scene.after("user grant ada@example.com --permission reports.read", "/reports", 200).await;
    scene.after("user grant ada@example.com --superuser", "/root", 200).await;
    assert_eq!(scene.status("/reports").await, 200, "which is every permission");
    let told = scene.place.run("user revoke ada@example.com --superuser").bad();
    assert!(told.contains("last superuser"), "{told}");
    scene.place.run("user grant boss@example.com --superuser").good();
    scene.after("user revoke ada@example.com --superuser", "/root", 403).await;
    scene.after("user grant ada@example.com --staff", "/staff", 200).await;
    scene.after("user revoke ada@example.com --staff", "/staff", 403).await;
    scene.place.run("org create Acme --owner boss@example.com").good();
    scene.after("org add acme ada@example.com", "/ours", 200).await;
    scene.after("org remove acme ada@example.com", "/ours", 404).await;
    assert_eq!(scene.status("/mine").await, 200, "and nothing else was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_role_brings_is_obeyed_for_everybody_who_has_it() {
    let scene = Scene::start().await;
    scene.place.run("role create press").good();
    scene.place.run("user grant ada@example.com --role press").good();
    scene.after("role grant press --permission reports.read", "/reports", 200).await;
    scene.after("role revoke press --permission reports.read", "/reports", 403).await;
    scene.after("role grant press --permission reports.read", "/reports", 200).await;
    scene.after("role remove press", "/reports", 403).await;
    assert_eq!(scene.status("/mine").await, 200, "and nothing else was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_locked_is_out_and_comes_in_again_only_when_unlocked() {
    let scene = Scene::start().await;
    scene.after("user lock ada@example.com", "/mine", 401).await;
    assert_ne!(scene.log_in().await.status, 200, "nor anew");
    scene.place.run("user unlock ada@example.com").good();
    until(SECOND, "unlocked", async || scene.log_in().await.status == 200).await;
    assert_eq!(scene.status("/mine").await, 401, "what the lock ended stays ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_disabled_application_brought_in_is_out() {
    let scene = Scene::start().await;
    scene.after("app disable web", "/mine", 401).await;
    let refused = scene.log_in().await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "APP_AUTH_INVALID"));
    scene.place.run("app enable web").good();
    until(SECOND, "enabled", async || scene.log_in().await.status == 200).await;
    assert!(scene.place.run("app enable web").good().contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_rotated_is_published_and_the_old_one_stays_good() {
    let scene = Scene::start().await;
    let before = scene.kids().await;
    let told = scene.place.run("keys rotate --for access").good();
    let kid = told.split_whitespace().next().expect("a kid").to_owned();
    assert!(!before.contains(&kid));
    until(SECOND, "published", async || scene.kids().await.contains(&kid)).await;
    let after = scene.kids().await;
    assert!(before.iter().all(|old| after.contains(old)), "{before:?} {after:?}");
    assert_eq!(scene.status("/mine").await, 200, "tokens of the old one are good");
    let listed: Value = scene.place.run("keys list --json").json();
    assert!(listed.to_string().contains(&kid), "{listed}");
}
