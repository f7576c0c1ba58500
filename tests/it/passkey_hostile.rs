//! Everything that a hostile device, page or person may send in place of a passkey (security bar 2.G,
//! 94 to 96).
//!
//! Law: one uniform refusal, the challenge is used up whatever comes of it, and of many answers to
//! one challenge one counts.

use std::sync::Arc;
use std::time::Duration;

use portcullis::store::Dialect;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::on_one_and_on_two;
use crate::passkey::{COMPLETE, MINE, Scene, call, not_accepted, refusal};
use crate::support::authenticator::{Authenticator, PRESENT, Twist, VERIFIED};
use crate::support::raw::Answer;
use crate::support::upstream::spawn;

on_one_and_on_two! {
    async fn a_hostile_answer_to_a_new_passkey_adds_nothing(dialect: Dialect) {
        let scene = Scene::on(dialect, "").await;
        let ada = scene.ada().await;
        let taken = scene.enrol(&ada).await;
        let twists = [
            ("origin", Twist { origin: "https://app.example.com.evil.test", ..Twist::default() }),
            ("a page below", Twist { origin: "https://deep.app.example.com", ..Twist::default() }),
            ("plain http", Twist { origin: "http://app.example.com", ..Twist::default() }),
            ("another port", Twist { origin: "https://app.example.com:8443", ..Twist::default() }),
            ("domain", Twist { rp_id: "evil.test", ..Twist::default() }),
            ("type", Twist { kind: Some("webauthn.get"), ..Twist::default() }),
            ("nobody there", Twist { flags: VERIFIED, ..Twist::default() }),
            ("not verified", Twist { flags: PRESENT, ..Twist::default() }),
            ("in a frame", Twist { is_cross_origin: true, ..Twist::default() }),
            ("challenge", Twist { challenge: Some("AAAA".to_owned()), ..Twist::default() }),
            ("algorithm", Twist { algorithm: -47, ..Twist::default() }),
        ];
        for (what, twist) in twists {
            let asked = scene.ask_to_register(&ada).await;
            let mut device = Authenticator::new();
            let refused = scene.register(&ada, &asked, device.create(&asked.1, &twist)).await;
            assert_eq!(refusal(&refused), (400, "REGISTRATION_FAILED".to_owned()), "{what}");
            let honest = scene.register(&ada, &asked, device.create(&asked.1, &Twist::default())).await;
            assert_eq!(honest.code(), "REGISTRATION_FAILED", "{what}: the challenge is used up");
        }
        let refused = |answer: Answer| assert_eq!(refusal(&answer), (400, "REGISTRATION_FAILED".to_owned()));
        let asked = scene.ask_to_register(&ada).await;
        let mut copy = Authenticator::new();
        copy.credential.clone_from(&taken.credential);
        refused(scene.register(&ada, &asked, copy.create(&asked.1, &Twist::default())).await);
        let bob = scene.gateway().user("bob", &scene.keys).await;
        let asked = scene.ask_to_register(&bob).await;
        refused(scene.register(&bob, &asked, copy.create(&asked.1, &Twist::default())).await);

        let asked = scene.ask_to_register(&ada).await;
        let mut device = Authenticator::new();
        let answer = device.create(&asked.1, &Twist::default());
        refused(scene.register(&bob, &asked, answer.clone()).await);
        let asked = scene.ask_to_register(&ada).await;
        let elsewhere = scene.gateway().log_in("ada", ada.id, &scene.keys).await;
        refused(scene.register(&elsewhere, &asked, device.create(&asked.1, &Twist::default())).await);
        let asked = scene.ask_to_register(&ada).await;
        scene.clock.advance(Duration::from_mins(5));
        refused(scene.register(&ada, &asked, device.create(&asked.1, &Twist::default())).await);
        let login = scene.ask(None).await;
        refused(scene.register(&ada, &(login.0, asked.1.clone()), device.create(&asked.1, &Twist::default())).await);
        let body = json!({"challenge_id": asked.0});
        let missing = scene.call("POST", "/webauthn/register/complete/", Some(&ada), &body).await;
        assert_eq!((refusal(&missing), missing.json()["error"].clone()),
            ((400, "MISSING_FIELDS".to_owned()), json!("credential is required")));
        for nonsense in [json!(7), json!({}), json!("x"), json!({"id": "x", "rawId": "!", "response": {}})] {
            let asked = scene.ask_to_register(&ada).await;
            refused(scene.register(&ada, &asked, nonsense).await);
        }
        let list = scene.call("GET", MINE, Some(&ada), &Value::Null).await.json();
        assert_eq!(list["count"], 1);
    }

    async fn a_hostile_answer_logs_nobody_in_and_uses_the_challenge_up(dialect: Dialect) {
        let scene = Scene::on(dialect, "").await;
        let ada = scene.ada().await;
        let bob = scene.gateway().user("bob", &scene.keys).await;
        let (mut device, mut other) = (scene.enrol(&ada).await, scene.enrol(&bob).await);
        let twists = [
            ("origin", Twist { origin: "https://evil.test", ..Twist::default() }),
            ("a page below", Twist { origin: "https://deep.app.example.com", ..Twist::default() }),
            ("domain", Twist { rp_id: "app.example.com", ..Twist::default() }),
            ("type", Twist { kind: Some("webauthn.create"), ..Twist::default() }),
            ("nobody there", Twist { flags: VERIFIED, ..Twist::default() }),
            ("not verified", Twist { flags: PRESENT, ..Twist::default() }),
            ("in a frame", Twist { is_cross_origin: true, ..Twist::default() }),
            ("challenge", Twist { challenge: Some("AAAA".to_owned()), ..Twist::default() }),
            ("signature", Twist { is_signature_bad: true, ..Twist::default() }),
            ("somebody else's handle", Twist { handle: Some(other.handle.clone()), ..Twist::default() }),
            ("no handle", Twist { handle: Some(Vec::new()), ..Twist::default() }),
        ];
        for (what, twist) in twists {
            let asked = scene.ask(None).await;
            let refused = scene.answer(&asked, &device.get(&asked.1, &twist)).await;
            assert_eq!(refusal(&refused), not_accepted(), "{what}");
            let honest = scene.answer(&asked, &device.get(&asked.1, &Twist::default())).await;
            assert_eq!(refusal(&honest), not_accepted(), "{what}: the challenge is used up");
        }
        let asked = scene.ask(Some("ada@example.com")).await;
        let refused = scene.answer(&asked, &other.get(&asked.1, &Twist::default())).await;
        assert_eq!(refusal(&refused), not_accepted(), "another person's passkey");
        let asked = scene.ask(Some("ada@example.com")).await;
        let bare = Twist { handle: Some(Vec::new()), ..Twist::default() };
        assert_eq!(scene.answer(&asked, &device.get(&asked.1, &bare)).await.status, 200, "the address says who");
        let asked = scene.ask(Some("nobody@example.com")).await;
        assert_eq!(refusal(&scene.answer(&asked, &device.get(&asked.1, &Twist::default())).await), not_accepted());
        let asked = scene.ask(None).await;
        let mut unknown = Authenticator::new();
        unknown.handle.clone_from(&device.handle);
        assert_eq!(refusal(&scene.answer(&asked, &unknown.get_again(&asked.1, &Twist::default())).await), not_accepted());
        let asked = scene.ask(None).await;
        scene.clock.advance(Duration::from_mins(5));
        assert_eq!(refusal(&scene.answer(&asked, &device.get(&asked.1, &Twist::default())).await), not_accepted(), "late");
        let register = scene.ask_to_register(&ada).await;
        let refused = scene.answer(&register, &device.get(&register.1, &Twist::default())).await;
        assert_eq!(refusal(&refused), not_accepted(), "a challenge for something else");
        for nonsense in ["", "AAAA", "not base64!"] {
            let refused = scene.answer(&(nonsense.to_owned(), asked.1.clone()), &json!({"id": 1})).await;
            assert!(matches!(refused.status, 400 | 401), "{}", refused.text());
        }
        assert_eq!(scene.log_in(&mut device, None).await.status, 200, "nothing was locked");
    }

    async fn of_many_answers_to_one_challenge_one_counts(dialect: Dialect) {
        let scene = Arc::new(Scene::on(dialect, "sessions: { max: 100 }\n").await);
        let ada = scene.ada().await;
        let mut device = scene.enrol(&ada).await;
        let asked = scene.ask(None).await;
        let answer = device.get(&asked.1, &Twist::default());
        let barrier = Arc::new(Barrier::new(64));
        let mut started = Vec::new();
        for number in 0..64 {
            let (scene, barrier) = (Arc::clone(&scene), Arc::clone(&barrier));
            let body = json!({"challenge_id": asked.0, "credential": answer});
            started.push(spawn(async move {
                barrier.wait().await;
                call(scene.replicas.nth(number), &scene.keys, "POST", COMPLETE, None, &body).await.status
            }));
        }
        let mut won = 0;
        for one in started {
            let status = one.await.unwrap();
            assert!(matches!(status, 200 | 401), "{status}");
            won += usize::from(status == 200);
        }
        assert_eq!(won, 1);
        assert!(!scene.trail().await.iter().any(|code| code == "passkey_counter_regressed"));

        let asked = scene.ask_to_register(&ada).await;
        let mut started = Vec::new();
        for number in 0..64 {
            let (scene, ada, barrier) = (Arc::clone(&scene), ada.clone(), Arc::clone(&barrier));
            let credential = Authenticator::new().create(&asked.1, &Twist::default());
            let body = json!({"challenge_id": asked.0, "credential": credential});
            started.push(spawn(async move {
                barrier.wait().await;
                let path = "/webauthn/register/complete/";
                call(scene.replicas.nth(number), &scene.keys, "POST", path, Some(&ada), &body).await.status
            }));
        }
        let mut won = 0;
        for one in started {
            won += usize::from(one.await.unwrap() == 201);
        }
        assert_eq!(won, 1);
        let list = scene.call("GET", MINE, Some(&ada), &Value::Null).await.json();
        assert_eq!(list["count"], 2);
    }

    async fn a_passkey_that_does_not_count_on_raises_the_alarm(dialect: Dialect) {
        let scene = Scene::on(dialect, "").await;
        let ada = scene.ada().await;
        let mut device = scene.enrol(&ada).await;
        for _ in 0..2 {
            let asked = scene.ask(None).await;
            let answer = device.get_again(&asked.1, &Twist::default());
            assert_eq!(scene.answer(&asked, &answer).await.status, 200, "one that never counts is fine");
        }
        device.counter = 6;
        assert_eq!(scene.log_in(&mut device, None).await.status, 200);
        for counter in [7, 3, 0] {
            device.counter = counter;
            let asked = scene.ask(None).await;
            let answer = device.get_again(&asked.1, &Twist::default());
            assert_eq!(refusal(&scene.answer(&asked, &answer).await), not_accepted(), "{counter}");
        }
        let asked = scene.ask(None).await;
        let forged = device.get_again(&asked.1, &Twist { is_signature_bad: true, ..Twist::default() });
        assert_eq!(refusal(&scene.answer(&asked, &forged).await), not_accepted());
        let alarms = scene.trail().await.iter().filter(|code| *code == "passkey_counter_regressed").count();
        assert_eq!(alarms, 3, "strangers without the key raise none");
        device.counter = 7;
        assert_eq!(scene.log_in(&mut device, None).await.status, 200, "the one that counted on still opens");
    }
}
