//! Open sessions as their people see them: listed, and ended one by one.

use super::*;
use crate::http::ErrorCode;
use crate::login::connections::connected;
use crate::on_every_store;
use crate::social::{self, Address, Identity, Owner};

impl Scene {
    async fn log_in_on(&self, device: &str) -> Answer {
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_info": device});
        self.app.clock.advance(Duration::from_secs(1));
        self.post("/login/email/", body).await
    }

    async fn ask(&self, method: Method, path: &str, of: &Answer) -> Answer {
        let carried = self.caller(of).await;
        self.send_through(&self.app.app, method, path, &json!({}), carried).await
    }
}

fn ids(list: &Answer) -> Vec<&str> {
    list.body.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

on_every_store! {
    async fn a_person_sees_where_they_are_logged_in_and_ends_it(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        let first = scene.log_in_on("v=1|os=linux|device=desktop").await;
        let second = scene.log_in_on("v=1|os=linux;osv=2|device=desktop").await;
        let third = scene.log_in_on("v=1|os=android|device=mobile").await;
        let list = scene.ask(Method::GET, "/sessions/", &second).await;
        assert_eq!(ids(&list), [&third, &second, &first].map(|answer| answer.text("session_id")));
        let shown = &list.body[1];
        assert_eq!((&shown["is_current"], &list.body[0]["is_current"]), (&json!(true), &json!(false)));
        assert_eq!((&shown["method"], &shown["ip_address"]), (&json!("password"), &json!("127.0.0.1")));
        assert_eq!((&shown["device_summary"], &shown["second_factor_at"]), (&json!("desktop — linux 2"), &Value::Null));
        let devices = scene.ask(Method::GET, "/devices/", &second).await;
        let told: Vec<_> = devices.body.as_array().unwrap().iter()
            .map(|one| (one["sessions"].as_u64().unwrap(), one["is_current"].as_bool().unwrap())).collect();
        assert_eq!(told, [(1, false), (2, true)]);

        let path = format!("/sessions/{}/", third.text("session_id"));
        assert_eq!(scene.ask(Method::DELETE, &path, &second).await.body["count"], 1);
        assert_eq!(scene.ask(Method::DELETE, &path, &second).await.verdict(), (404, "NOT_FOUND"), "it is over");
        let refresh = json!({"refresh_token": third.text("refresh")});
        assert_eq!(scene.post("/refresh/", refresh).await.code(), "REFRESH_FAILED");
        assert_eq!(scene.live(&ada).await, 2);
        let path = format!("/devices/{}/", devices.body[1]["id"].as_str().unwrap());
        assert_eq!(scene.ask(Method::DELETE, &path, &second).await.body["count"], 2, "this one included");
        assert_eq!(scene.live(&ada).await, 0);
        let ended = scene.codes().await.into_iter().filter(|code| code == "session_ended").count();
        assert_eq!(ended, 3);
    }

    async fn what_ended_while_a_provider_was_asked_links_nothing(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        let entered = scene.log_in_on("v=1|os=linux").await;
        let sid: Id = entered.text("session_id").parse().unwrap();
        let identity = |subject: &str| Identity {
            issuer: "https://id.example.com".to_owned(),
            subject: subject.to_owned(),
            address: Address::None,
            first_name: String::new(),
            last_name: String::new(),
        };
        let link = async |subject: &str| {
            let owner = Owner { account: ada.id, session: sid };
            connected(&scene.app, Actor::system(), ada.site, owner, "acme", &identity(subject)).await
        };
        assert!(link("one").await.is_ok());
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        session::log_out_everywhere(&mut change, ada.id).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(link("two").await.err().map(|refused| refused.code()), Some(ErrorCode::Unauthorized));
        assert_eq!(social::connections(&scene.app.db, ada.id).await.unwrap().len(), 1);
    }

    async fn nobody_sees_or_ends_what_is_somebody_elses(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        let entered = scene.log_in_on("v=1|os=linux").await;
        scene.person(|new| (new.email, new.phone) = (Email::parse("bob@example.com").ok(), None)).await;
        let bob = scene.log_in("bob@example.com", PASSWORD).await;
        let device = scene.ask(Method::GET, "/devices/", &entered).await.body[0]["id"].as_str().unwrap().to_owned();
        for path in [
            format!("/sessions/{}/", entered.text("session_id")),
            format!("/devices/{device}/"),
            "/sessions/nonsense/".to_owned(),
        ] {
            assert_eq!(scene.ask(Method::DELETE, &path, &bob).await.verdict(), (404, "NOT_FOUND"), "{path}");
        }
        assert_eq!(ids(&scene.ask(Method::GET, "/sessions/", &bob).await), [bob.text("session_id")]);
        assert_eq!(scene.live(&ada).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_others_end_at_once() {
    let scene = Scene::new().await;
    let ada = scene.ada().await;
    let mut entered = Vec::new();
    for _ in 0..3 {
        entered.push(scene.log_in_on("v=1|os=linux").await);
    }
    assert_eq!(scene.ask(Method::DELETE, "/sessions/", &entered[1]).await.body["count"], 2);
    assert_eq!(scene.ask(Method::DELETE, "/sessions/", &entered[1]).await.body["count"], 0);
    assert_eq!(scene.live(&ada).await, 1);
    let refresh = json!({"refresh_token": entered[1].text("refresh")});
    assert_eq!(scene.post("/refresh/", refresh).await.status, 200, "this one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_came_too_late_counts_as_expired() {
    let scene = Scene::with("sessions: { idle_for: 1h, end_after: 3h }").await;
    scene.ada().await;
    let entered = scene.log_in_on("v=1|os=linux").await;
    scene.app.clock.advance(Duration::from_hours(2));
    let late = scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await;
    let unknown = scene.post("/refresh/", json!({"refresh_token": "nobody's"})).await;
    assert_eq!((late.status, late.code()), (unknown.status, unknown.code()), "told alike");
    let text = scene.app.app.metrics.render();
    for result in ["expired", "unknown"] {
        let line = format!("portcullis_refresh_total{{result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}
