//! What the gateway sends by itself, what may be sent again, and how long answers are kept.

use ::http::{HeaderMap, StatusCode};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    async fn sealed(store: TestStore) -> Self {
        Self { mode: Mode::Sealed, ..Self::on(store).await }
    }

    async fn idempotent(store: TestStore, mode: Mode) -> Self {
        Self { mode, is_idempotent: true, ..Self::on(store).await }
    }

    async fn errands(&self) -> Vec<Id> {
        self.errands_without(&Crowd::default()).await
    }

    async fn errands_without(&self, crowd: &Crowd) -> Vec<Id> {
        let taken = take_errands(&self.app, 9, crowd, |_| Some(())).await.unwrap();
        taken.into_iter().map(|(approval, ())| approval.id).collect()
    }

    /// Executes it, and is answered.
    async fn answered(&self, approval: &Approval, status: u16, body: &[u8]) {
        let mut claim = self.claim(approval).await.unwrap().copying();
        let copy = claim.copy().unwrap();
        copy.begins(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        copy.takes(body);
        copy.ends();
        claim.settled(Outcome::Answered(status)).await;
    }
}

on_every_store! {
    async fn of_many_replicas_one_tries_what_was_approved_and_another_later(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let pending = scene.ask("1").await;
        assert!(scene.errands().await.is_empty(), "nobody has said yes");
        let approval = scene.approved("2").await;
        let mut taken: Vec<Id> = join_all((0..8).map(|_| scene.errands())).await.concat();
        assert_eq!(taken.pop(), Some(approval.id));
        assert!(taken.is_empty(), "one of eight");
        scene.app.clock.advance(4 * SECOND);
        assert!(scene.errands().await.is_empty());
        scene.app.clock.advance(SECOND);
        assert_eq!(scene.errands().await, [approval.id], "whoever took it may have died before it was claimed");
        let claim = scene.claim(&approval).await.unwrap();
        scene.app.clock.advance(6 * SECOND);
        assert!(scene.errands().await.is_empty(), "it is being sent");
        claim.settled(Outcome::Unsent).await;
        assert_eq!(scene.errands().await, [approval.id], "nothing was sent");
        scene.answered(&approval, 200, b"done").await;
        scene.app.clock.advance(6 * SECOND);
        assert!(scene.errands().await.is_empty());
        assert_eq!(scene.state(&pending).await, State::Pending);
    }

    async fn what_was_not_sent_in_time_is_not_sent(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        scene.app.clock.advance(5 * MINUTE);
        assert!(scene.errands().await.is_empty());
        assert_eq!(stands(&approval, scene.app.now()), Err(Told::Over(State::Lapsed)));
    }

    async fn a_sealed_approval_is_waited_for_until_it_is_over(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        let claim = scene.claim(&approval).await.unwrap();
        let executing = scene.now(&approval).await;
        assert_eq!(stands(&executing, scene.app.now()), Ok(State::Executing));
        assert_eq!(scene.ask("{}").await.id, approval.id, "the same question is the same approval");
        claim.settled(Outcome::Answered(200)).await;
        let over = scene.now(&approval).await;
        assert_eq!(stands(&over, scene.app.now()), Err(Told::Used(State::Executed)));
        assert_ne!(scene.ask("{}").await.id, approval.id);
    }

    async fn an_answer_is_kept_sealed_for_an_hour_and_then_dropped(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        scene.answered(&approval, 201, b"a secret of the upstream").await;
        let over = scene.now(&approval).await;
        assert_eq!((over.state, over.send_at), (State::Executed, None));
        let Some(Answered::Whole(answer)) = answered(&scene.app, &over).await.unwrap() else { panic!("no answer") };
        assert_eq!((answer.status, answer.body.as_slice()), (201, &b"a secret of the upstream"[..]));
        let stored = async || answer::as_stored(&scene.app, over.id).await;
        assert!(!stored().await.unwrap().windows(6).any(|window| window == b"secret"), "it is sealed");
        scene.app.clock.advance(ANSWER_KEPT_FOR);
        assert_eq!(answered(&scene.app, &over).await.unwrap(), None, "whether or not it was dropped");
        assert!(stored().await.is_some());
        forget(&scene.app).await.unwrap();
        assert!(stored().await.is_none());
        assert_eq!(scene.state(&approval).await, State::Executed, "that it was executed is remembered");
    }

    async fn what_failed_has_an_answer_too_and_what_broke_off_has_none(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let failed = scene.approved("1").await;
        scene.answered(&failed, 503, b"busy").await;
        assert_eq!(scene.state(&failed).await, State::Failed);
        assert!(matches!(result(&scene.app, &failed, State::Failed).await, Ok(Ok(answer)) if answer.status == 503));
        let broken = scene.approved("2").await;
        let mut claim = scene.claim(&broken).await.unwrap().copying();
        claim.copy().unwrap().begins(StatusCode::OK, &HeaderMap::new());
        claim.copy().unwrap().takes(b"half");
        claim.settled(Outcome::Answered(200)).await;
        let told = result(&scene.app, &broken, State::Executed).await.unwrap();
        assert_eq!(told, Err(Told::Used(State::Executed)));
        let large = scene.approved("3").await;
        scene.answered(&large, 200, &vec![b'x'; ANSWER_MAX + 1]).await;
        let told = result(&scene.app, &large, State::Executed).await.unwrap();
        assert_eq!(told, Err(Told::TooLarge(State::Executed)));
        let withheld = scene.approved("4").await;
        let mut claim = scene.claim(&withheld).await.unwrap().copying();
        claim.copy().unwrap().withhold();
        claim.settled(Outcome::Answered(200)).await;
        let told = result(&scene.app, &withheld, State::Executed).await.unwrap();
        assert_eq!(told, Err(Told::Withheld(State::Executed, Closed::Unclean)));
    }

    async fn what_is_idempotent_may_be_sent_again_when_nobody_knows(store: TestStore) {
        let scene = Scene::idempotent(store, Mode::Retry).await;
        let approval = scene.approved("{}").await;
        std::mem::forget(scene.claim(&approval).await.unwrap());
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Executing))));
        scene.app.clock.advance(15 * SECOND);
        let crashed = scene.now(&approval).await;
        assert_eq!(stands(&crashed, scene.app.now()), Ok(State::Indeterminate));
        assert_eq!(end_overdue(&scene.app).await.unwrap(), 1);
        let kept = content(&scene.app, &crashed).await.unwrap();
        assert_eq!(kept, Some(content_of("{}")), "it is kept to be sent again");
        let racing = (0..8).map(|_| scene.claim(&approval));
        let mut won: Vec<Claim> = join_all(racing).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1);
        won.remove(0).settled(Outcome::Answered(200)).await;
        assert_eq!(scene.state(&approval).await, State::Executed);
        assert_eq!(content(&scene.app, &crashed).await.unwrap(), None);
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Executed))));
    }

    async fn it_is_not_sent_again_without_end_nor_after_its_time(store: TestStore) {
        let scene = Scene::idempotent(store, Mode::Sealed).await;
        let approval = scene.approved("1").await;
        for pause in [5, 5, 10, 20, 40] {
            assert_eq!(scene.errands().await, [approval.id]);
            scene.claim(&approval).await.unwrap().settled(Outcome::Unknown).await;
            scene.app.clock.advance(pause * SECOND);
        }
        assert!(scene.errands().await.is_empty(), "five times are enough");
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Indeterminate))));
        let late = scene.approved("2").await;
        scene.claim(&late).await.unwrap().settled(Outcome::Unknown).await;
        forget(&scene.app).await.unwrap();
        assert!(content(&scene.app, &late).await.unwrap().is_some());
        assert!(content(&scene.app, &approval).await.unwrap().is_none(), "and it is dropped then");
        scene.app.clock.advance(5 * MINUTE);
        assert!(scene.errands().await.is_empty());
        assert!(matches!(scene.claim(&late).await, Err(ClaimError::Over(State::Indeterminate))));
        forget(&scene.app).await.unwrap();
        assert!(content(&scene.app, &late).await.unwrap().is_none());
    }

    async fn an_agent_that_is_stopped_is_not_sent_for(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        scene.suspend().await;
        assert!(scene.errands().await.is_empty());
        assert_eq!((scene.state(&approval).await, scene.now(&approval).await.send_at), (State::Void, None));
    }

    async fn what_may_have_been_done_is_not_done_again_for_an_agent_that_was_stopped(store: TestStore) {
        let scene = Scene::idempotent(store, Mode::Sealed).await;
        let (one, under_way) = (scene.approved("1").await, scene.approved("2").await);
        scene.claim(&one).await.unwrap().settled(Outcome::Unknown).await;
        let claim = scene.claim(&under_way).await.unwrap();
        assert!(scene.now(&one).await.may_be_repeated(scene.app.now()));
        scene.suspend().await;
        scene.resume().await;
        claim.settled(Outcome::Unknown).await;
        scene.app.clock.advance(10 * SECOND);
        assert!(scene.errands().await.is_empty());
        for approval in [&one, &under_way] {
            let now = scene.now(approval).await;
            assert_eq!((now.state, now.send_at), (State::Indeterminate, None));
            assert_eq!(stands(&now, scene.app.now()), Err(Told::Used(State::Indeterminate)));
            assert!(matches!(scene.claim(approval).await, Err(ClaimError::Over(State::Indeterminate))));
            assert_eq!(content(&scene.app, &now).await.unwrap(), None);
        }
        assert_ne!(scene.ask("1").await.id, one.id, "it is asked anew");
    }

    async fn what_cannot_be_had_any_more_is_not_done_again(store: TestStore) {
        let scene = Scene::idempotent(store, Mode::Retry).await;
        let approval = scene.approved("{}").await;
        scene.claim(&approval).await.unwrap().settled(Outcome::Unknown).await;
        let unknown = scene.now(&approval).await;
        assert!(!void(&scene.app, &Actor::system(), &unknown, Voided::RightLost).await.unwrap());
        assert_eq!(stands(&scene.now(&approval).await, scene.app.now()), Err(Told::Used(State::Indeterminate)));
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Indeterminate))));
    }

    async fn what_was_not_sent_is_void_where_its_agent_was_stopped_meanwhile(store: TestStore) {
        let scene = Scene::sealed(store).await;
        for is_resumed in [false, true] {
            let approval = scene.approved(if is_resumed { "1" } else { "2" }).await;
            let claim = scene.claim(&approval).await.unwrap();
            scene.suspend().await;
            if is_resumed {
                scene.resume().await;
            }
            claim.settled(Outcome::Unsent).await;
            assert_eq!(scene.state(&approval).await, State::Void);
            scene.app.clock.advance(10 * SECOND);
            if !is_resumed {
                scene.resume().await;
            }
            assert!(scene.errands().await.is_empty());
        }
    }

    async fn what_may_have_been_done_stays_unknown_where_the_second_try_was_not_sent(store: TestStore) {
        let scene = Scene::idempotent(store, Mode::Sealed).await;
        let approval = scene.approved("{}").await;
        scene.claim(&approval).await.unwrap().settled(Outcome::Unknown).await;
        scene.claim(&approval).await.unwrap().settled(Outcome::Unsent).await;
        let unknown = scene.now(&approval).await;
        assert_eq!(unknown.state, State::Indeterminate);
        assert!(unknown.may_be_repeated(scene.app.now()), "it goes on being tried");
        scene.app.clock.advance(5 * MINUTE);
        end_overdue(&scene.app).await.unwrap();
        assert_eq!(scene.state(&approval).await, State::Indeterminate);
        assert_eq!(scene.count("approval_lapsed").await, 0);
    }

    async fn what_cannot_be_sent_is_tried_less_and_less_often(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        let mut tries = Vec::new();
        for second in 0..299 {
            if scene.errands().await == [approval.id] {
                tries.push(second);
            }
            scene.app.clock.advance(SECOND);
        }
        assert_eq!(tries, [0, 5, 10, 20, 40, 80, 160, 280]);
    }

    async fn what_would_be_too_many_of_one_is_left_for_later(store: TestStore) {
        let scene = Scene::sealed(store).await;
        let approval = scene.approved("{}").await;
        let routes = Crowd { routes: vec!["pay".to_owned(), "other".to_owned()], ..Crowd::default() };
        let accounts = Crowd { accounts: vec![scene.ada.account.id], ..Crowd::default() };
        for crowd in [routes, accounts] {
            assert!(scene.errands_without(&crowd).await.is_empty(), "{crowd:?}");
        }
        let none = take_errands(&scene.app, 9, &Crowd::default(), |_| None::<()>).await.unwrap();
        assert!(none.is_empty());
        let others = Crowd { routes: vec!["other".to_owned()], accounts: vec![scene.token.id] };
        assert_eq!(scene.errands_without(&others).await, [approval.id], "at once, for nobody took it");
    }
}
