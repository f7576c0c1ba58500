//! Invitations over HTTP that do not end with a yes: declined, taken back, too late, and to where it is full.
//!
//! Law: an invitation that ended opens nothing, and the list says what ended it. One that could not be accepted
//! stands as it stood.

use std::time::Duration;

use portcullis::audit;
use serde_json::{Value, json};

use crate::codes::Post;
use crate::organizations::{INVITE, UPDATE, told};
use crate::support::people::{User, elsewhere};
use crate::support::raw::Answer;

const ACCEPT: &str = "POST /organizations/invitations/accept/";
const DECLINE: &str = "POST /organizations/invitations/decline/";

struct Scene {
    post: Post,
    /// Owns `acme`.
    ada: User,
    /// Belongs to nothing.
    bob: User,
}

impl Scene {
    async fn new() -> Self {
        let post = Post::start("").await;
        let ada = post.gateway.user("ada", &post.keys).await;
        let bob = post.gateway.user("bob", &post.keys).await;
        post.gateway.organization("acme", ada.id, None).await;
        Self { post, ada, bob }
    }

    /// Calls in `acme`, except for what invited people do who know of no organization yet.
    async fn call(&self, user: &User, what: &str, body: Value) -> Answer {
        let (method, path) = what.split_once(' ').unwrap();
        let mut lines = [vec![user.bearer(), elsewhere()], self.post.keys.lines().to_vec()].concat();
        if ![ACCEPT, DECLINE].contains(&what) {
            lines.push("X-Org-Slug: acme".to_owned());
        }
        self.post.gateway.call(method, path, &lines, &body).await
    }

    async fn ok(&self, user: &User, what: &str, body: Value) -> Value {
        let answer = self.call(user, what, body).await;
        assert!(answer.status < 300, "{what}: {}", answer.text());
        answer.json()
    }

    async fn refused(&self, user: &User, what: &str, body: Value) -> (u16, String) {
        let answer = self.call(user, what, body).await;
        assert!(answer.status >= 400, "{what}: {}", answer.text());
        (answer.status, answer.code())
    }

    /// Invites somebody for a day: the invitation's number, and what its token is sent as.
    async fn invite(&self, email: &str) -> (String, Value) {
        let body = json!({"email": email, "role_code": "member", "expires_in_days": 1});
        let made = self.ok(&self.ada, INVITE, body).await;
        assert_eq!(made["status"], "pending");
        (made["id"].as_str().unwrap().to_owned(), json!({"token": made["token"]}))
    }

    /// Whom the invitations are for that a query finds, the latest first.
    async fn found(&self, by: &User, query: &str) -> Vec<String> {
        let page = self.ok(by, &format!("GET /organizations/invitations/?{query}"), Value::Null).await;
        let all = page["results"].as_array().unwrap().iter();
        all.map(|one| one["email"].as_str().unwrap().to_owned()).collect()
    }

    /// By what the trail says that invitations ended.
    async fn ends(&self) -> Vec<Value> {
        let rows = audit::tail(&self.post.gateway.running.app.db, 0, 1000).await.unwrap();
        let ended = rows.iter().filter(|row| row.code == "invitation_ended");
        ended.map(|row| row.personal["detail"]["how"].clone()).collect()
    }
}

#[tokio::test]
async fn who_says_no_does_not_belong_there_and_may_be_asked_again() {
    let scene = Scene::new().await;
    let (ada, bob) = (&scene.ada, &scene.bob);
    let eve = scene.post.gateway.user("eve", &scene.post.keys).await;
    let (number, token) = scene.invite("bob@example.com").await;
    let foreign = scene.refused(&eve, DECLINE, token.clone()).await;
    assert_eq!(foreign, told(404, "INVITATION_NOT_FOUND"), "it is not hers to decline");
    assert_eq!(scene.found(ada, "status=pending").await, ["bob@example.com"]);
    assert_eq!(scene.ok(bob, DECLINE, token.clone()).await, json!({"message": "Invitation declined"}));
    let over = told(410, "INVITATION_OVER");
    for what in [DECLINE, ACCEPT] {
        assert_eq!(scene.refused(bob, what, token.clone()).await, over, "{what}");
    }
    let again = format!("POST /organizations/invitations/{number}/resend/");
    assert_eq!(scene.refused(ada, &again, Value::Null).await, over, "a no is not asked about again");
    assert_eq!(scene.found(ada, "status=declined").await, ["bob@example.com"]);
    assert!(scene.found(ada, "status=pending").await.is_empty());
    let detail = "GET /organizations/detail/";
    assert_eq!(scene.refused(bob, detail, Value::Null).await, told(404, "ORG_NOT_FOUND"));
    let (_, token) = scene.invite("bob@example.com").await;
    assert_eq!(scene.ok(bob, ACCEPT, token).await["user_role"], "member", "another one counts as any does");
    assert_eq!(scene.ok(bob, detail, Value::Null).await["slug"], "acme");
    assert_eq!(scene.found(ada, "status=accepted").await, ["bob@example.com"]);
    assert_eq!(scene.ends().await, ["declined", "accepted"]);
}

#[tokio::test]
async fn what_was_taken_back_or_is_too_late_opens_nothing_and_is_found_by_what_ended_it() {
    let scene = Scene::new().await;
    let (ada, bob) = (&scene.ada, &scene.bob);
    scene.invite("cat@example.com").await;
    let (number, token) = scene.invite("bob@example.com").await;
    let revoke = format!("DELETE /organizations/invitations/{number}/");
    assert_eq!(scene.refused(bob, &revoke, Value::Null).await, told(404, "ORG_NOT_FOUND"));
    assert_eq!(scene.ok(ada, &revoke, Value::Null).await, json!({"message": "Invitation revoked"}));
    let over = told(410, "INVITATION_OVER");
    assert_eq!(scene.refused(ada, &revoke, Value::Null).await, over);
    assert_eq!(scene.refused(bob, ACCEPT, token).await, over);
    let both = vec!["bob@example.com", "cat@example.com"];
    for (query, expected) in [
        ("", both.clone()),
        ("status=revoked", vec!["bob@example.com"]),
        ("status=pending", vec!["cat@example.com"]),
        ("status=expired", vec![]),
        ("email=bob@example.com", vec!["bob@example.com"]),
        ("email=Cat@Example.com", vec!["cat@example.com"]),
        ("email=nobody@example.com", vec![]),
        ("email=cat@example.com&status=pending", vec!["cat@example.com"]),
        ("email=cat@example.com&status=revoked", vec![]),
    ] {
        assert_eq!(scene.found(ada, query).await, expected, "{query}");
    }
    let (_, late) = scene.invite("bob@example.com").await;
    scene.post.clock.advance(Duration::from_hours(25));
    // A login does not last that long.
    let ada = &scene.post.gateway.log_in("ada", ada.id, &scene.post.keys).await;
    let bob = &scene.post.gateway.log_in("bob", bob.id, &scene.post.keys).await;
    for what in [ACCEPT, DECLINE] {
        assert_eq!(scene.refused(bob, what, late.clone()).await, over, "{what}");
    }
    assert_eq!(scene.found(ada, "status=expired").await, both);
    assert!(scene.found(ada, "status=pending").await.is_empty());
    assert_eq!(scene.refused(bob, "GET /organizations/detail/", Value::Null).await.0, 404);
    assert_eq!(scene.ends().await, ["revoked"], "time leaves no row");
}

#[tokio::test]
async fn where_it_is_full_an_invitation_stands_until_there_is_room() {
    let scene = Scene::new().await;
    let (ada, bob) = (&scene.ada, &scene.bob);
    let (_, token) = scene.invite("bob@example.com").await;
    scene.ok(ada, UPDATE, json!({"max_members": 1})).await;
    let full = told(400, "MEMBER_LIMIT_REACHED");
    assert_eq!(scene.refused(bob, ACCEPT, token.clone()).await, full);
    assert_eq!(scene.refused(bob, "GET /organizations/detail/", Value::Null).await.0, 404);
    assert_eq!(scene.found(ada, "status=pending").await, ["bob@example.com"], "nothing of it was used up");
    assert_eq!(scene.ends().await, Vec::<Value>::new());
    scene.ok(ada, UPDATE, json!({"max_members": 2})).await;
    assert_eq!(scene.ok(bob, ACCEPT, token).await["member_count"], 2);
    let eve = scene.post.gateway.user("eve", &scene.post.keys).await;
    let (_, token) = scene.invite("eve@example.com").await;
    assert_eq!(scene.refused(&eve, ACCEPT, token).await, full, "he took the last place");
}
