//! What a delegation promises, on every database.

mod ledger;
mod race;

use std::sync::Arc;

use futures::future::join_all;

use super::narrow as narrow_by;
use super::*;
use crate::account::{Account, NewAccount};
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, How, Subject};
use crate::base::Secret;
use crate::config::load_text;
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::on_every_store;
use crate::policy::Assignments;
use crate::principal::Principal;
use crate::session::{self, Device, Login};
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const HOUR: Duration = Duration::from_hours(1);

const YAML: &str = "
agents: { max_tokens: 40 }
permissions: [ { code: reports }, { code: reports.read, parent: reports }, { code: pay }, { code: a-b }, { code: a.c }, { code: a_e }, { code: a_d }, { code: aa }, { code: a1 } ]
";

struct Scene {
    app: TestApp,
    account: Account,
    human: Principal,
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn limits() -> Limits {
    Limits {
        per_minute: 30,
        total: 500,
        failures: 3,
        suspend_after: 1,
        heartbeat_every: None,
        budget: MicroUsd::default(),
    }
}

fn ring() -> Keyring {
    let random = crate::base::random::SeededRandom::new(3);
    let key = SigningKey::generate(Algorithm::EdDsa, &random).unwrap();
    let (active_from, published_until) = (Timestamp::from_millis(0), None);
    Keyring::new(vec![Member { purpose: Purpose::Access, key, active_from, published_until }])
}

impl Scene {
    async fn on(store: TestStore) -> Self {
        let app = TestApp::on(store, With { yaml: YAML, ..With::default() }).await;
        app.set_keyring(ring());
        let config = load_text("preset: medium").unwrap().config;
        let mut change = app.change(Actor::system()).await.unwrap();
        let account = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Owner).await.unwrap();
        let login = Login {
            account: &account,
            application: None,
            device: &Device::parse("").unwrap(),
            address: None,
            method: Method::Password,
            scope: None,
            claims: serde_json::Map::new(),
        };
        let (session, _) =
            session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
        change.commit().await.unwrap();
        let assignments = Assignments { permissions: vec![code("reports")], ..Assignments::default() };
        let human = Principal {
            account: account.facts().into(),
            session: session.facts(),
            rights: app.catalogue().rights(&assignments).into(),
            assignments: assignments.into(),
            memberships: [].into(),
        };
        Self { app, account, human }
    }

    fn ask(&self, permissions: &[&str]) -> Mint<'_> {
        Mint {
            human: &self.human,
            organization: None,
            application: None,
            agent: "robot".to_owned(),
            permissions: permissions.iter().map(|text| code(text)).collect(),
            limits: limits(),
            lifetime: HOUR,
        }
    }

    async fn try_mint(&self, permissions: &[&str]) -> Result<(AgentToken, Secret<String>), MintError> {
        mint(&self.app, Actor::system(), self.ask(permissions)).await
    }

    async fn mint(&self) -> AgentToken {
        self.try_mint(&["reports.read"]).await.unwrap().0
    }

    /// Runs a step and commits it where it did something. A database may give up one of several
    /// that race, which is then asked again, as a caller would.
    async fn step(&self, run: impl AsyncFn(&mut Change<'_>) -> Result<bool, Error>) -> bool {
        loop {
            let mut change = self.app.change(Actor::system()).await.unwrap();
            let done = match run(&mut change).await {
                Ok(true) => change.commit().await.map(|()| true),
                other => other,
            };
            match done {
                Ok(is_done) => return is_done,
                Err(Error::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn suspend(&self, of: &AgentToken) -> bool {
        self.step(async |change| suspend(change, of.delegation(), Suspension::Manual).await).await
    }

    async fn resume(&self, of: &AgentToken) -> bool {
        self.step(async |change| resume(change, of).await).await
    }

    async fn revoke(&self, of: &AgentToken) -> bool {
        self.step(async |change| revoke(change, of.delegation()).await).await
    }

    async fn kill(&self) -> usize {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let count = revoke_all(&mut change, self.account.id).await.unwrap();
        change.commit().await.unwrap();
        count
    }

    async fn now(&self, of: &AgentToken) -> AgentToken {
        find(&self.app.db, Reference::Id(of.id)).await.unwrap().unwrap()
    }

    async fn status(&self, of: &AgentToken) -> Status {
        self.now(of).await.status
    }

    async fn count(&self, code: &str) -> usize {
        let rows = audit::tail(&self.app.db, 0, 1000).await.unwrap();
        rows.into_iter().filter(|row| row.code == code).count()
    }
}

on_every_store! {
    async fn a_permission_that_is_removed_and_made_anew_is_delegated_to_no_old_token(store: TestStore) {
        let scene = Scene::on(store).await;
        let (token, _) = scene.try_mint(&["reports", "reports.read"]).await.unwrap();
        let other = scene.mint().await;
        let of = |token: &AgentToken| scene.app.epochs.of(Subject::AgentToken(token.id));
        let before = (of(&token), of(&other));
        let (kind, gone) = ("permission", code("reports"));
        let event = RightsEvent::CatalogueChanged { kind, code: gone, did: Redefined::Deleted }.into();
        assert!(scene.step(async |change| react(change, &event).await.map(|()| true)).await);
        assert_eq!(scene.now(&token).await.permissions, [code("reports.read")]);
        assert!(of(&token) > before.0, "who knows it is told");
        assert_eq!((scene.now(&other).await.permissions, of(&other)), (vec![code("reports.read")], before.1));
        assert_eq!(scene.count("permission_revoked").await, 1);
    }

    async fn those_that_have_ended_do_not_hide_those_that_live(store: TestStore) {
        let scene = Scene::on(store).await;
        let (oldest, stopped) = (scene.mint().await, scene.mint().await);
        assert!(scene.suspend(&stopped).await);
        for _ in 0..3 {
            let over = scene.mint().await;
            assert!(scene.revoke(&over).await);
        }
        let living = async |at, limit| {
            let found = living(&scene.app.db, DEFAULT_SITE, scene.account.id, at, limit).await.unwrap();
            found.into_iter().map(|token| token.id).collect::<Vec<_>>()
        };
        let now = scene.app.now();
        assert_eq!(living(now, 2).await, [stopped.id, oldest.id]);
        assert_eq!(living(now, 1).await, [stopped.id]);
        assert!(living(now.plus(HOUR), 2).await.is_empty(), "their time is over");
    }

    async fn t7_what_is_handed_out_is_never_more_than_the_limit_and_lost_is_spent(store: TestStore) {
        let scene = Scene::on(store).await;
        let five = MicroUsd::parse("5").unwrap();
        let mut ask = scene.ask(&["reports.read"]);
        ask.limits = Limits { total: 41, budget: five, ..limits() };
        let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        let cents = |cents: i64| MicroUsd::from_micros(cents * 10_000).unwrap();
        let of = |requests, money| Allowance { requests, money };
        // Whoever took it is killed before it spends: nobody is handed it again.
        let lost = take(&scene.app, token.id, of(2, cents(25)), of(1, cents(10))).await.unwrap();
        assert_eq!(lost, Handout::Granted { amount: of(2, cents(25)), in_store: cents(475) });
        let all = (0..60).map(|_| take(&scene.app, token.id, of(2, cents(25)), of(1, cents(10))));
        let mut handed = of(2, cents(25));
        for one in join_all(all).await {
            match one {
                Ok(Handout::Granted { amount, .. }) => handed = handed.plus(amount),
                Ok(Handout::Lacking(_)) | Err(Error::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(handed.requests <= 41 && handed.money <= five, "{handed:?}");
        let found = find(&scene.app.db, Reference::Id(token.id)).await.unwrap().unwrap();
        assert_eq!(found.granted, handed);
        give_back(&scene.app, token.id, of(1, cents(5))).await.unwrap();
        give_back(&scene.app, token.id, of(100, five)).await.unwrap();
        let found = find(&scene.app.db, Reference::Id(token.id)).await.unwrap().unwrap();
        assert_eq!(found.granted, handed.minus(of(1, cents(5))), "more than was handed out comes from nobody");
    }

    async fn a_token_is_found_by_its_text_and_kept_as_a_digest(store: TestStore) {
        let scene = Scene::on(store).await;
        let (token, text) = scene.try_mint(&["reports.read", "reports", "reports.read"]).await.unwrap();
        assert!(text.expose().len() == TEXT_LEN && text.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        let found = presented(&scene.app.db, text.expose()).await.unwrap().unwrap();
        assert_eq!(found, token);
        assert_eq!(found.permissions, [code("reports"), code("reports.read")]);
        assert_eq!((found.authenticated_at, found.method), (scene.human.session.authenticated_at, Method::Password));
        assert_eq!(found.check(scene.app.now()), Ok(()));
        assert!(presented(&scene.app.db, &text.expose()[1..]).await.unwrap().is_none());
        let listed = list(&scene.app.db, DEFAULT_SITE, Some(scene.account.id), 10).await.unwrap();
        assert_eq!(listed, [found]);
    }

    async fn of_many_minted_at_once_as_many_live_as_may(store: TestStore) {
        let scene = Scene::on(store).await;
        let tried = join_all((0..50).map(|_| scene.try_mint(&["reports"]))).await;
        let (minted, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
        assert_eq!(minted.len(), 40);
        assert!(refused.into_iter().all(|one| matches!(one, Err(MintError::TooMany))));
        scene.app.clock.advance(HOUR);
        assert!(scene.try_mint(&["reports"]).await.is_ok(), "what has come to its end makes room");
    }

    async fn a_code_is_found_whatever_language_the_database_sorts_by(store: TestStore) {
        let scene = Scene::on(store).await;
        let codes = ["a-b", "a.c", "a_e", "a_d", "aa", "a1"].map(code);
        let mut everything = scene.human.clone();
        let assignments = Assignments { permissions: codes.to_vec(), ..Assignments::default() };
        everything.rights = scene.app.catalogue().rights(&assignments).into();
        let ask = Mint { human: &everything, permissions: codes.to_vec(), ..scene.ask(&[]) };
        let minted = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        let read = find(&scene.app.db, Reference::Id(minted.id)).await.unwrap().unwrap();
        assert!(read.permissions.is_sorted() && read.permissions.len() == 6, "{:?}", read.permissions);
        assert_eq!(list(&scene.app.db, DEFAULT_SITE, None, 10).await.unwrap()[0].permissions, read.permissions);
    }

    async fn t10_nothing_is_minted_of_nothing_or_of_what_the_human_lacks(store: TestStore) {
        let scene = Scene::on(store).await;
        assert!(matches!(scene.try_mint(&[]).await, Err(MintError::Empty)));
        let refused = scene.try_mint(&["reports", "pay", "unknown.code"]).await.unwrap_err();
        let MintError::NotHeld(missing) = refused else { panic!("{refused:?}") };
        assert_eq!(missing, [code("pay"), code("unknown.code")]);
        let mut everything = scene.human.clone();
        Arc::make_mut(&mut everything.rights).is_superuser = true;
        let ask = Mint { human: &everything, ..scene.ask(&["pay", "unknown.code"]) };
        let refused = mint(&scene.app, Actor::system(), ask).await.unwrap_err();
        assert!(matches!(refused, MintError::NotHeld(missing) if missing == [code("unknown.code")]));
        assert!(list(&scene.app.db, DEFAULT_SITE, None, 10).await.unwrap().is_empty(), "nothing is stored");
    }

    async fn t16_states_only_rise_and_only_a_suspension_is_taken_back(store: TestStore) {
        let scene = Scene::on(store).await;
        let token = scene.mint().await;
        assert!(!scene.resume(&token).await, "it is active");
        assert!(scene.suspend(&token).await && !scene.suspend(&token).await);
        assert_eq!(scene.now(&token).await.suspended_reason, Some(Suspension::Manual));
        assert!(scene.resume(&token).await && !scene.resume(&token).await);
        assert_eq!(scene.now(&token).await.check(scene.app.now()), Ok(()));
        assert!(scene.revoke(&token).await && !scene.revoke(&token).await);
        assert!(!scene.suspend(&token).await && !scene.resume(&token).await);
        assert_eq!(scene.status(&token).await, Status::Revoked);
        let other = scene.mint().await;
        scene.app.clock.advance(HOUR);
        assert_eq!(scene.now(&other).await.check(scene.app.now()), Err(Fault::Overdue));
        assert!(scene.suspend(&other).await, "nobody has noticed yet");
        assert!(!scene.resume(&other).await, "its time is over");
        assert_eq!(stop_overdue(&scene.app).await.unwrap(), 1);
        assert!(!scene.suspend(&other).await && !scene.resume(&other).await);
        assert_eq!(scene.status(&other).await, Status::Expired);
        assert_eq!(scene.count("agent_token_expired").await, 1);
    }

    async fn of_suspend_and_revoke_at_once_the_token_is_always_revoked(store: TestStore) {
        let scene = Scene::on(store).await;
        for _ in 0..10 {
            let token = scene.mint().await;
            let racing = join_all((0..8).map(|n| {
                let (scene, token) = (&scene, &token);
                async move { if n % 2 == 0 { scene.suspend(token).await } else { scene.revoke(token).await } }
            }));
            let done = racing.await.into_iter().filter(|is_done| *is_done).count();
            assert!((1..=2).contains(&done));
            assert_eq!(scene.status(&token).await, Status::Revoked);
        }
    }

    async fn t9_the_kill_switch_ends_everything_that_has_not_ended(store: TestStore) {
        let scene = Scene::on(store).await;
        let (active, suspended, revoked) = (scene.mint().await, scene.mint().await, scene.mint().await);
        scene.suspend(&suspended).await;
        scene.revoke(&revoked).await;
        let overdue = mint(&scene.app, Actor::system(), Mint { lifetime: Duration::from_secs(1), ..scene.ask(&["reports"]) });
        let overdue = overdue.await.unwrap().0;
        scene.app.clock.advance(Duration::from_secs(2));
        stop_overdue(&scene.app).await.unwrap();
        assert_eq!(scene.kill().await, 2);
        for (token, status) in [
            (&active, Status::Revoked),
            (&suspended, Status::Revoked),
            (&revoked, Status::Revoked),
            (&overdue, Status::Expired),
        ] {
            assert_eq!(scene.status(token).await, status);
        }
        assert_eq!(scene.kill().await, 0);
        assert_eq!(scene.count("agent_tokens_revoked").await, 2, "the second one too: somebody pulled it");
    }

    async fn t17_a_sign_of_life_in_time_keeps_alive_and_a_late_one_does_not_revive(store: TestStore) {
        let scene = Scene::on(store).await;
        let ask = Mint { limits: Limits { heartbeat_every: Some(60), ..limits() }, ..scene.ask(&["reports"]) };
        let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        let minute = Duration::from_mins(1);
        scene.app.clock.advance(minute);
        assert_eq!(token.check(scene.app.now()), Ok(()), "at the limit it is still in time");
        assert!(beat(&scene.app, token.id).await.unwrap());
        scene.app.clock.advance(minute);
        assert_eq!(stop_overdue(&scene.app).await.unwrap(), 0);
        scene.app.clock.advance(Duration::from_millis(1));
        assert_eq!(scene.now(&token).await.check(scene.app.now()), Err(Fault::Silent));
        assert!(!beat(&scene.app, token.id).await.unwrap(), "late");
        assert_eq!(stop_overdue(&scene.app).await.unwrap(), 1);
        let silent = scene.now(&token).await;
        assert_eq!((silent.status, silent.suspended_reason), (Status::Suspended, Some(Suspension::HeartbeatMissing)));
        assert!(!beat(&scene.app, token.id).await.unwrap());
        assert_eq!(scene.status(&token).await, Status::Suspended);
        assert!(scene.resume(&token).await, "a human may");
        assert_eq!(scene.now(&token).await.check(scene.app.now()), Ok(()));
        assert_eq!(scene.count("agent_token_suspended").await, 1);
    }

    async fn a_token_may_only_be_narrowed(store: TestStore) {
        let scene = Scene::on(store).await;
        let token = scene.try_mint(&["reports", "reports.read"]).await.unwrap().0;
        let narrow = async |to: Narrowing| {
            let mut change = scene.app.change(Actor::system()).await.unwrap();
            let narrowed = narrow_by(&mut change, token.id, to).await;
            if narrowed.is_ok() {
                change.commit().await.unwrap();
            }
            narrowed.map(|narrowed| narrowed.token)
        };
        let wider = Narrowing {
            permissions: Some(vec![code("pay")]),
            per_minute: Some(31),
            total: Some(501),
            failures: Some(4),
            budget: MicroUsd::from_micros(1),
            lifetime: Some(2 * HOUR),
            heartbeat_every: Some(60),
        };
        let refused = narrow(wider).await.unwrap_err();
        let NarrowError::Wider(fields) = refused else { panic!("{refused:?}") };
        assert_eq!(fields.len(), 6, "{fields:?}");
        let none = Narrowing { permissions: Some(Vec::new()), ..Narrowing::default() };
        assert!(matches!(narrow(none).await, Err(NarrowError::Wider(_))), "nothing is no delegation");
        let less = Narrowing {
            permissions: Some(vec![code("reports.read")]),
            per_minute: Some(0),
            lifetime: Some(HOUR / 2),
            heartbeat_every: Some(60),
            ..Narrowing::default()
        };
        let narrowed = narrow(less).await.unwrap();
        assert_eq!(scene.now(&token).await, narrowed);
        assert_eq!((narrowed.limits.per_minute, narrowed.permissions), (0, vec![code("reports.read")]));
        assert_eq!(narrowed.expires_at, scene.app.now().plus(HOUR / 2));
        scene.revoke(&token).await;
        let ended = narrow(Narrowing { per_minute: Some(0), ..Narrowing::default() }).await;
        assert!(matches!(ended, Err(NarrowError::Ended)));
    }
}

#[tokio::test]
async fn what_is_over_for_long_is_removed() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let token = scene.mint().await;
    scene.app.clock.advance(HOUR + scene.app.config().retention.agent_tokens);
    assert_eq!(sweep(&scene.app).await.unwrap(), 0);
    scene.app.clock.advance(Duration::from_millis(1));
    assert_eq!(sweep(&scene.app).await.unwrap(), 1);
    assert!(find(&scene.app.db, Reference::Number(token.number)).await.unwrap().is_none());
}

#[tokio::test]
async fn who_may_not_act_delegates_nothing() {
    let scene = Scene::on(TestStore::sqlite().await).await;
    let app: &Arc<App> = &scene.app;
    let mut change = app.change(Actor::system()).await.unwrap();
    assert!(session::log_out(&mut change, scene.account.id, scene.human.session.sid).await.unwrap());
    change.commit().await.unwrap();
    assert!(matches!(scene.try_mint(&["reports"]).await, Err(MintError::Refused)), "the session is over");
}
