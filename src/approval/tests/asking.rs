//! What asking promises: a question waits once, is bound to all of it, and is kept sealed.

use super::super::store as rows;
use super::*;

on_every_store! {
    async fn t12_the_same_question_waits_once(store: TestStore) {
        let scene = Scene::on(store).await;
        let asked = join_all((0..12).map(|_| scene.ask("{}"))).await;
        assert!(asked.iter().all(|one| one.id == asked[0].id));
        assert_eq!(scene.count("approval_requested").await, 1);
        assert_ne!(scene.ask("{ }").await.id, asked[0].id, "one byte makes it another question");
        scene.approve(&scene.ada, &asked[0]).await.unwrap();
        let again = scene.ask("{}").await;
        assert_eq!((again.id, again.state), (asked[0].id, State::Approved));
        scene.claim(&again).await.unwrap().settled(Outcome::Answered(200)).await;
        assert_ne!(scene.ask("{}").await.id, again.id, "what is done may be asked for again");
    }

    async fn t12_after_a_no_the_same_is_not_asked_for_five_minutes(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.ask("{}").await;
        assert_eq!(scene.deny(&approval).await.unwrap(), Decided::Denied);
        scene.app.clock.advance(2 * MINUTE);
        let refused = scene.asked("{}").await;
        let reason = Some("too much".to_owned());
        assert_eq!(refused, Asked::Denied { reason, retry_after: 3 * MINUTE });
        assert!(matches!(scene.asked("[]").await, Asked::Open(_)), "another question may be asked");
        scene.app.clock.advance(3 * MINUTE);
        assert!(matches!(scene.asked("{}").await, Asked::Open(_)));
    }

    async fn t12_twenty_questions_of_a_token_wait_at_most(store: TestStore) {
        let scene = Scene::on(store).await;
        let asked = join_all((0..30).map(|n| { let scene = &scene; async move { scene.asked(&n.to_string()).await } })).await;
        assert_eq!(asked.iter().filter(|one| matches!(one, Asked::Open(_))).count(), 20);
        assert_eq!(asked.iter().filter(|one| **one == Asked::TooMany).count(), 10);
        let open = open_for(&scene.app, &scene.ada, 200).await.unwrap();
        assert_eq!(open.len(), 20);
        scene.deny(&open[0]).await.unwrap();
        assert!(matches!(scene.asked("more").await, Asked::Open(_)));
    }

    async fn t12_a_hundred_questions_wait_for_one_human_at_most(store: TestStore) {
        let mut scene = Scene::on(store).await;
        for agent in 0..6 {
            scene.token = minted(&scene.app, &scene.ada).await;
            for n in 0..20 {
                let asked = scene.asked(&n.to_string()).await;
                assert_eq!(matches!(asked, Asked::Open(_)), agent < 5, "{agent}.{n}: {asked:?}");
            }
        }
        let open = open_for(&scene.app, &scene.ada, 200).await.unwrap();
        assert_eq!(open.len(), 100);
        scene.deny(&open[0]).await.unwrap();
        assert!(matches!(scene.asked("more").await, Asked::Open(_)));
    }

    async fn the_request_is_kept_sealed_and_read_back_exactly(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.ask("{\"iban\": \"FR76\"}").await;
        let kept = content(&scene.app, &approval).await.unwrap().unwrap();
        assert_eq!(kept, content_of("{\"iban\": \"FR76\"}"));
        let sealed = rows::sealed(&scene.app.db, approval.id).await.unwrap().unwrap();
        let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!has(&sealed.body, "FR76") && !has(&sealed.head, "zoe"));
        let text = token(&scene.app, approval.id);
        assert_eq!(text.expose().len(), 86);
        assert_eq!(approval.path, "/pay/7", "what is not sealed has no query");
    }
}

#[tokio::test]
async fn t1_every_part_of_a_request_changes_its_digest() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let (one, other) = (scene.ada.account.id, scene.token.id);
    let headers = [("content-type".to_owned(), b"a".to_vec())];
    let plain = Bound {
        site: one,
        organization: None,
        agent_token: one,
        account: one,
        route: "pay",
        policy: "p",
        upstream: "up",
        method: "POST",
        authority: "gw",
        target: "/pay?a=1",
        headers: &headers,
        body: b"{}",
    };
    let twice = [headers[0].clone(), headers[0].clone()];
    let shifted = [("content-typ".to_owned(), b"ea".to_vec())];
    let digests = [
        plain,
        Bound { site: other, ..plain },
        Bound { organization: Some(one), ..plain },
        Bound { agent_token: other, ..plain },
        Bound { account: other, ..plain },
        Bound { route: "pa", policy: "yp", ..plain },
        Bound { policy: "q", ..plain },
        Bound { upstream: "down", ..plain },
        Bound { method: "PUT", ..plain },
        Bound { authority: "gw2", ..plain },
        Bound { target: "/pay?a=2", ..plain },
        Bound { headers: &[], ..plain },
        Bound { headers: &twice, ..plain },
        Bound { headers: &shifted, ..plain },
        Bound { body: b"{ }", ..plain },
    ]
    .map(|bound| request_digest(&bound));
    let distinct: std::collections::HashSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(request_digest(&plain), digests[0]);
}

#[tokio::test]
async fn an_old_login_does_not_approve_what_asks_for_a_new_one() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let approval = scene.ask("{}").await;
    let route = &scene.app.config().routes[0];
    let aged = crate::policy::Allow::When(crate::policy::Condition::All(vec![
        crate::policy::Condition::SignedIn,
        crate::policy::Condition::MaxAge(MINUTE),
    ]));
    let rules = Rules::new(Approvers::delegator(), &aged);
    assert_eq!(rules.max_age, Some(MINUTE));
    assert_eq!(Rules::new(Approvers::delegator(), &route.allow).max_age, None);
    let strict = Approval { rules, ..approval };
    scene.app.clock.advance(MINUTE + Duration::from_secs(1));
    let content = content_of("aged");
    let ask = Ask {
        token: &scene.token,
        route: "pay",
        permission: &code("pay"),
        mode: Mode::Retry,
        is_idempotent: false,
        rules: &strict.rules,
        policy: &scene.policy(),
        request: &scene.digest(&content),
        trace: None,
        decide_within: MINUTE,
        execute_within: MINUTE,
        content: &content,
    };
    let Asked::Open(asked) = request(&scene.app, &Actor::system(), ask).await.unwrap() else { panic!() };
    let refused = scene.approve(&scene.ada, &asked).await;
    assert!(matches!(refused, Err(DecideError::Session(SessionNeed::Recent))));
    assert_eq!(scene.state(&asked).await, State::Pending);
    assert_eq!(scene.deny(&asked).await.unwrap(), Decided::Denied, "to say no needs nothing more");
}
