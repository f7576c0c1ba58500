//! Deletions as those see them who watch over them (contract section 23), on the running gateway.
//! Law: nobody is erased whose wish was not confirmed, and what guards the last superuser holds here too.

use std::time::Duration;

use futures::future::join_all;
use portcullis::account;
use portcullis::privacy;
use serde_json::{Value, json};

use crate::codes::Post;
use crate::support::people::{PASSWORD, User, elsewhere, permission, role};
use crate::support::raw::Answer;

const ALL: &str = "/admin/deletion-requests/";
const MEANT: &str = "PERMANENTLY DELETE";

struct Scene {
    post: Post,
    /// May look and act, and nothing else.
    clerk: User,
    ada: User,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let post = Post::start(more).await;
        let clerk = post.gateway.user("clerk", &post.keys).await;
        for code in ["gdpr.admin", "gdpr.process"] {
            post.gateway.grant(clerk.id, permission(code)).await;
        }
        let ada = post.gateway.user("ada", &post.keys).await;
        Self { post, clerk, ada }
    }

    async fn call(&self, user: &User, method: &str, path: &str, body: Value) -> Answer {
        let lines = [&self.post.keys.lines()[..], &[user.bearer(), elsewhere()]].concat();
        self.post.gateway.call(method, path, &lines, &body).await
    }

    /// The number of a deletion that this person asks for; the mail with this number has its link.
    async fn asked(&self, user: &User, number: usize) -> (String, String) {
        let token = self.post.leave(user, number).await;
        let status = self.post.status_of(user).await;
        (status["active_request"]["id"].to_string(), token)
    }

    /// The same, confirmed.
    async fn confirmed(&self, user: &User, number: usize) -> String {
        let (id, token) = self.asked(user, number).await;
        let done = self.post.call(None, "/confirm-account-deletion/", json!({"token": token})).await;
        assert_eq!(done.status, 200, "{}", done.text());
        id
    }

    async fn process(&self, id: &str, body: Value) -> Answer {
        self.call(&self.clerk, "POST", &format!("{ALL}{id}/process/"), body).await
    }
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn a_confirmed_deletion_is_carried_out_by_whoever_may_and_means_it() {
    let scene = Scene::new("").await;
    let (id, token) = scene.asked(&scene.ada, 1).await;
    let meant = json!({"confirmation": MEANT, "admin_notes": "asked by phone"});
    let refused = scene.process(&id, meant.clone()).await;
    assert_eq!(told(&refused), (400, "REQUEST_NOT_CONFIRMED".to_owned()));
    let expected =
        "Cannot process request with status \"confirmation_sent\". Only confirmed requests can be processed.";
    assert_eq!(refused.json()["error"], expected);
    scene.post.call(None, "/confirm-account-deletion/", json!({"token": token})).await;
    for body in [json!({}), json!({"confirmation": "permanently delete"}), json!({"confirmation": true})] {
        let refused = scene.process(&id, body).await;
        assert!(matches!(refused.code().as_str(), "CONFIRMATION_REQUIRED" | "VALIDATION_ERROR"));
    }
    assert_eq!(told(&scene.process("999", meant.clone()).await), (404, "NOT_FOUND".to_owned()));
    assert_eq!(told(&scene.process("x", meant.clone()).await), (404, "NOT_FOUND".to_owned()));
    let shown = scene.call(&scene.clerk, "GET", &format!("{ALL}{id}/"), Value::Null).await.json();
    assert_eq!((&shown["user_email"], &shown["reason"]), (&json!("ada@example.com"), &json!("bye")));
    assert!(shown["ip_address"].as_str().is_some_and(|address| address.starts_with("10.0.")), "{shown}");

    let done = scene.process(&id, meant.clone()).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let done = done.json();
    assert_eq!(done["message"], "Account deletion processed successfully");
    for key in ["deletion_completed", "data_anonymized", "user_notified"] {
        assert_eq!(done[key], true, "{key}");
    }
    let request = &done["request"];
    assert_eq!((&request["status"], &request["user_email"]), (&json!("completed"), &Value::Null));
    assert_eq!((&request["reason"], &request["ip_address"]), (&json!(""), &Value::Null));
    assert_eq!(
        (&request["admin_notes"], &request["processed_by_email"]),
        (&json!("asked by phone"), &json!("clerk@example.com"))
    );
    assert_eq!(done["processed_at"], request["completed_at"]);
    let seq = done["audit_log_id"].as_i64().expect("a row of the trail");
    let row =
        portcullis::audit::one(&scene.post.gateway.running.app.db, portcullis::store::DEFAULT_SITE, seq);
    let row = row.await.unwrap().expect("the row");
    assert_eq!(
        (row.code.as_str(), row.actor, row.account),
        ("deletion_request_processed", Some(scene.clerk.id), Some(scene.ada.id))
    );
    assert_eq!(scene.call(&scene.ada, "GET", "/me/", Value::Null).await.status, 401);
    let twice = scene.process(&id, meant).await;
    assert_eq!(told(&twice), (400, "REQUEST_NOT_CONFIRMED".to_owned()));
    let app = &scene.post.gateway.running.app;
    portcullis::audit::verify(&app.db, &app.seal, portcullis::audit::Stream::Changes).await.unwrap();
}

#[tokio::test]
async fn the_list_is_filtered_sorted_and_cut_into_pages() {
    let scene = Scene::new("").await;
    let first = scene.confirmed(&scene.ada, 1).await;
    scene.post.clock.advance(Duration::from_mins(1));
    let again =
        scene.call(&scene.ada, "POST", "/request-account-deletion/", json!({"password": PASSWORD})).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let list = async |query: &str| {
        let answer = scene.call(&scene.clerk, "GET", &format!("{ALL}{query}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()
    };
    let ids = |list: &Value| -> Vec<String> {
        list["results"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let second = again.json()["request_id"].to_string();
    let all = list("").await;
    assert_eq!((ids(&all), &all["count"]), (vec![first.clone(), second.clone()], &json!(2)));
    assert_eq!(ids(&list("?ordering=-requested_at").await), [second.clone(), first.clone()]);
    assert_eq!(
        ids(&list("?ordering=-confirmed_at").await),
        [first.clone(), second.clone()],
        "none comes last"
    );
    assert_eq!(ids(&list("?ordering=grace_period_ends_at").await), [first.clone(), second.clone()]);
    assert_eq!(ids(&list("?status=cancelled").await), std::slice::from_ref(&first));
    assert_eq!(ids(&list("?status=confirmation_sent").await), std::slice::from_ref(&second));
    assert!(ids(&list(&format!("?user_id={}", scene.clerk.id)).await).is_empty());
    assert_eq!(ids(&list(&format!("?user_id={}", scene.ada.id)).await).len(), 2);
    let user = all["results"][0]["user"].as_i64().unwrap();
    assert_eq!(ids(&list(&format!("?user_id={user}")).await).len(), 2);
    let at = all["results"][1]["requested_at"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(ids(&list(&format!("?date_from={at}")).await), std::slice::from_ref(&second));
    assert_eq!(ids(&list(&format!("?date_to={at}")).await), std::slice::from_ref(&first));
    let page = list("?page_size=1&page=2").await;
    assert_eq!((ids(&page), &page["total_pages"], &page["next"]), (vec![second], &json!(2), &Value::Null));
    for query in
        ["?ordering=reason", "?status=pending", "?user_id=4711", "?date_from=x", "?page_size=0", "?more=1"]
    {
        let refused = scene.call(&scene.clerk, "GET", &format!("{ALL}{query}"), Value::Null).await;
        assert_eq!(told(&refused), (400, "VALIDATION_ERROR".to_owned()), "{query}");
    }
    assert_eq!(scene.call(&scene.clerk, "GET", &format!("{ALL}?page=9"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn looking_and_acting_are_permissions_of_their_own() {
    let scene = Scene::new("").await;
    let id = scene.confirmed(&scene.ada, 1).await;
    let looks = scene.post.gateway.user("looks", &scene.post.keys).await;
    scene.post.gateway.grant(looks.id, permission("gdpr.admin")).await;
    let eve = scene.post.gateway.user("eve", &scene.post.keys).await;
    let (one, process) = (format!("{ALL}{id}/"), format!("{ALL}{id}/process/"));
    let expired = format!("{ALL}process-expired/");
    let body = json!({"confirmation": MEANT});
    for (method, path, body) in [("GET", ALL, &Value::Null), ("GET", one.as_str(), &Value::Null)] {
        assert_eq!(scene.call(&looks, method, path, body.clone()).await.status, 200);
        assert_eq!(
            told(&scene.call(&eve, method, path, body.clone()).await),
            (403, "PERMISSION_REQUIRED".to_owned())
        );
    }
    for user in [&looks, &eve, &scene.ada] {
        for path in [&process, &expired] {
            let refused = scene.call(user, "POST", path, body.clone()).await;
            assert_eq!(told(&refused), (403, "PERMISSION_REQUIRED".to_owned()), "{path}");
        }
    }
    let bare = scene.post.call(None, &process, body).await;
    assert_eq!(bare.status, 401);
    assert_eq!(scene.post.status_of(&scene.ada).await["active_request"]["status"], "confirmed");
}

#[tokio::test]
async fn the_last_superuser_and_the_only_owner_stay_whoever_processes() {
    let scene = Scene::new("accounts: { staff_second_factor: optional }\n").await;
    let gateway = &scene.post.gateway;
    let meant = || json!({"confirmation": MEANT});
    gateway.organization("shared", scene.ada.id, None).await;
    let ada = scene.confirmed(&scene.ada, 1).await;
    let shared = gateway.organization_of("shared").await.unwrap();
    gateway.join(shared, scene.clerk.id, "member").await;
    let refused = scene.process(&ada, meant()).await;
    assert_eq!(told(&refused), (409, "SOLE_OWNER".to_owned()));
    assert_eq!(refused.json()["organizations"], json!(["shared"]));
    // A superuser who wants to go themself, and another one who is banned meanwhile.
    let other = gateway.account("other", |new| new.is_superuser = true).await;
    let root = gateway.account("root", |new| new.is_superuser = true).await;
    let root = gateway.log_in("root", root, &scene.post.keys).await;
    let person = account::by_id(&gateway.running.app.db, root.id).await.unwrap().unwrap();
    let number =
        gateway.change(async |change| privacy::schedule(change, &person).await.unwrap().number).await;
    let path = format!("{ALL}{number}/process/");
    let set = async |ban: account::Ban| {
        gateway.change(async |change| account::set_ban(change, other, ban).await.unwrap()).await
    };
    assert!(set(account::Ban::Imposed).await);
    let refused = scene.call(&root, "POST", &path, meant()).await;
    assert_eq!(told(&refused), (409, "LAST_SUPERUSER".to_owned()));
    assert!(set(account::Ban::Lifted).await);
    let done = scene.call(&root, "POST", &path, meant()).await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test]
async fn nobody_processes_the_wish_of_somebody_who_holds_more() {
    let scene = Scene::new("roles: [ { code: analyst, permissions: [users.view] } ]\n").await;
    let gateway = &scene.post.gateway;
    let ada = scene.confirmed(&scene.ada, 1).await;
    gateway.grant(scene.ada.id, role("analyst")).await;
    let refused = scene.process(&ada, json!({"confirmation": MEANT})).await;
    assert_eq!(told(&refused), (403, "PERMISSION_DENIED".to_owned()));
    let root = gateway.account("root", |new| new.is_superuser = true).await;
    gateway.account("other", |new| new.is_superuser = true).await;
    let person = account::by_id(&gateway.running.app.db, root).await.unwrap().unwrap();
    let number =
        gateway.change(async |change| privacy::schedule(change, &person).await.unwrap().number).await;
    let refused = scene.process(&number.to_string(), json!({"confirmation": MEANT})).await;
    assert_eq!(told(&refused), (403, "PERMISSION_DENIED".to_owned()));
    gateway.grant(scene.clerk.id, permission("users.view")).await;
    let done = scene.process(&ada, json!({"confirmation": MEANT})).await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test]
async fn the_wish_of_somebody_who_was_stopped_waits_whoever_processes() {
    let scene = Scene::new("").await;
    let id = scene.confirmed(&scene.ada, 1).await;
    let ada = scene.ada.id;
    let set = async |ban: account::Ban| {
        scene.post.gateway.change(async |change| account::set_ban(change, ada, ban).await.unwrap()).await
    };
    assert!(set(account::Ban::Imposed).await);
    let refused = scene.process(&id, json!({"confirmation": MEANT})).await;
    assert_eq!(told(&refused), (409, "ACCOUNT_STOPPED".to_owned()));
    assert!(set(account::Ban::Lifted).await);
    assert_eq!(scene.process(&id, json!({"confirmation": MEANT})).await.status, 200);
}

#[tokio::test]
async fn the_last_who_could_manage_rights_does_not_go_by_any_way() {
    let scene = Scene::new("").await;
    let gateway = &scene.post.gateway;
    let id = scene.confirmed(&scene.ada, 1).await;
    gateway.grant(scene.ada.id, role("super_admin")).await;
    let process = format!("{ALL}{id}/process/");
    let refused = scene.call(&scene.ada, "POST", &process, json!({"confirmation": MEANT})).await;
    assert_eq!(told(&refused), (409, "LAST_ADMINISTRATOR".to_owned()));
    scene.post.clock.advance(Duration::from_hours(30 * 24));
    privacy::delete_due(&gateway.running.app).await.unwrap();
    let ada = account::by_id(&gateway.running.app.db, scene.ada.id).await.unwrap().unwrap();
    assert!(ada.email.is_some(), "held back when its time came");
    let trail = scene.post.codes_of_the_trail().await;
    assert!(trail.iter().any(|code| code == "deletion_request_failed"), "{trail:?}");
    gateway.grant(scene.clerk.id, role("super_admin")).await;
    scene.post.clock.advance(Duration::from_hours(24));
    privacy::delete_due(&gateway.running.app).await.unwrap();
    let ada = account::by_id(&gateway.running.app.db, scene.ada.id).await.unwrap().unwrap();
    assert!(ada.email.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_process_one_deletion_and_its_person_who_calls_it_off_one_has_their_way() {
    let scene = Scene::new("").await;
    let id = scene.confirmed(&scene.ada, 1).await;
    let body = json!({"confirmation": MEANT});
    let tries = (0..16).map(|_| scene.process(&id, body.clone()));
    let keep = scene.call(&scene.ada, "POST", "/cancel-account-deletion/", json!({"password": PASSWORD}));
    let (answers, kept) = futures::join!(join_all(tries), keep);
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    let is_kept = kept.status == 200;
    assert_eq!(done + usize::from(is_kept), 1, "{done} and {}", kept.text());
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(
            matches!(answer.code().as_str(), "REQUEST_NOT_CONFIRMED" | "RATE_LIMITED"),
            "{}",
            answer.text()
        );
    }
    let lives = scene.call(&scene.ada, "GET", "/me/", Value::Null).await.status == 200;
    assert_eq!(lives, is_kept);
}

#[tokio::test]
async fn what_is_due_is_deleted_at_once_where_somebody_says_so() {
    let scene = Scene::new("").await;
    let id = scene.confirmed(&scene.ada, 1).await;
    let sweep = async || scene.call(&scene.clerk, "POST", &format!("{ALL}process-expired/"), json!({})).await;
    let none = sweep().await.json();
    let expected = json!({"message": "0 deletion(s) processed, 0 failed", "processed": 0, "failed": 0});
    assert_eq!(none, expected);
    // The session of the clerk ends before the time is over.
    scene.post.clock.advance(Duration::from_hours(30 * 24));
    let clerk = scene.post.gateway.log_in("clerk", scene.clerk.id, &scene.post.keys).await;
    let swept = scene.call(&clerk, "POST", &format!("{ALL}process-expired/"), json!({})).await.json();
    // The gateway's own turn may have been quicker.
    assert!(swept["processed"] == 1 || swept["processed"] == 0, "{swept}");
    let shown = scene.call(&clerk, "GET", &format!("{ALL}{id}/"), Value::Null).await.json();
    assert_eq!((&shown["status"], &shown["is_grace_period_expired"]), (&json!("completed"), &json!(true)));
}
