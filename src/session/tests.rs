//! What a session promises, on every database.

use std::sync::Arc;

use futures::future::join_all;

use serde_json::Map;

use super::*;
use crate::account::{self, Account, Activity, Ban, NewAccount};
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, Subject};
use crate::base::Clock as _;
use crate::config::{Config, load_text};
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const MINUTE: Duration = Duration::from_mins(1);

struct Scene {
    app: TestApp,
    config: Arc<Config>,
    account: Account,
}

fn configured(yaml: &str) -> Arc<Config> {
    load_text(yaml).unwrap().config
}

fn ring() -> Keyring {
    let random = crate::base::random::SeededRandom::new(3);
    Keyring::new(vec![Member {
        purpose: Purpose::Access,
        key: SigningKey::generate(Algorithm::EdDsa, &random).unwrap(),
        active_from: Timestamp::from_millis(0),
        published_until: None,
    }])
}

impl Scene {
    async fn on(store: TestStore, yaml: &str) -> Self {
        let app = TestApp::on(store, With { reactions: vec![react], ..With::default() }).await;
        app.set_keyring(ring());
        let mut change = app.change(Actor::system()).await.unwrap();
        let account = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Owner).await.unwrap();
        change.commit().await.unwrap();
        Self { app, config: configured(yaml), account }
    }

    async fn log_in_on(&self, device: &str) -> Result<(Session, Pair), StartError> {
        let mut change = self.app.change(Actor::system()).await?;
        let device = Device::parse(device).unwrap();
        let login = Login {
            account: &self.account,
            application: None,
            device: &device,
            address: None,
            method: Method::Password,
            scope: None,
            claims: Map::new(),
        };
        let started = start(&mut change, &self.config.sessions, &self.config.tokens, login).await?;
        change.commit().await?;
        Ok(started)
    }

    async fn log_in(&self) -> (Session, Pair) {
        self.log_in_on("").await.unwrap()
    }

    async fn refresh_through(&self, app: &App, token: &Secret<String>) -> Result<Refreshed, RefreshError> {
        let request = RefreshRequest { token, application: None, actor: Actor::system() };
        refresh(app, &self.config.sessions, &self.config.tokens, request, async |_| Ok(Map::new())).await
    }

    async fn refresh(&self, token: &Secret<String>) -> Result<Refreshed, RefreshError> {
        self.refresh_through(&self.app, token).await
    }

    async fn live(&self) -> Vec<Id> {
        let sessions = live_of(&self.app.db, self.account.id, self.app.now()).await.unwrap();
        sessions.iter().map(|session| session.id).collect()
    }

    async fn codes(&self) -> Vec<String> {
        audit::tail(&self.app.db, 0, 1000).await.unwrap().into_iter().map(|row| row.code).collect()
    }

    async fn change<T>(&self, run: impl AsyncFnOnce(&mut Change<'_>) -> T) -> T {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let outcome = run(&mut change).await;
        change.commit().await.unwrap();
        outcome
    }
}

const MEDIUM: &str = "preset: medium";

on_every_store! {
    async fn of_sixty_four_uses_of_one_token_all_get_the_same_child(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let other = scene.app.another(With::default()).await;
        other.set_keyring(ring());
        let (session, pair) = scene.log_in().await;
        let uses = join_all((0..64).map(|n| {
            let (scene, other, token) = (&scene, &other, &pair.refresh);
            async move { scene.refresh_through(if n % 2 == 0 { &scene.app } else { other }, token).await }
        }))
        .await;
        let children: Vec<&Pair> = uses.iter().map(|used| &used.as_ref().unwrap().pair).collect();
        for child in &children {
            assert!(child.refresh == children[0].refresh && child.access.token == children[0].access.token);
        }
        assert!(children[0].refresh != pair.refresh);
        assert_eq!(scene.live().await, [session.id]);
        let refreshes = scene.codes().await.into_iter().filter(|code| code == "token_refresh").count();
        assert_eq!(refreshes, 1, "one branch, one row");
    }

    async fn a_used_token_that_comes_back_after_the_grace_ends_the_family(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let (session, pair) = scene.log_in().await;
        let child = scene.refresh(&pair.refresh).await.unwrap().pair;
        scene.app.clock.advance(Duration::from_millis(9_999));
        assert!(scene.refresh(&pair.refresh).await.unwrap().pair.refresh == child.refresh);
        scene.app.clock.advance(Duration::from_millis(1));
        let before = scene.app.epochs.of(Subject::Session(session.id));
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Reused)));
        assert!(scene.app.epochs.of(Subject::Session(session.id)) > before, "its access tokens die too");
        assert!(matches!(scene.refresh(&child.refresh).await, Err(RefreshError::Over)));
        assert!(scene.live().await.is_empty());
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Over)), "told once");
        assert_eq!(scene.codes().await[1..], ["login", "token_refresh", "refresh_reuse"]);
    }

    async fn where_there_is_no_grace_not_even_a_change_that_began_earlier_is_in_it(store: TestStore) {
        let scene = Scene::on(store, "preset: medium\ntokens: { refresh_grace: 0s }").await;
        let (_, pair) = scene.log_in().await;
        let now = scene.app.clock.now();
        scene.refresh(&pair.refresh).await.unwrap();
        scene.app.clock.set(now.minus(Duration::from_millis(5)));
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Reused)));
    }

    async fn a_grandparent_is_reuse_even_within_the_grace(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let (_, pair) = scene.log_in().await;
        let child = scene.refresh(&pair.refresh).await.unwrap().pair;
        let grandchild = scene.refresh(&child.refresh).await.unwrap().pair;
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Reused)));
        assert!(matches!(scene.refresh(&grandchild.refresh).await, Err(RefreshError::Over)));
    }

    async fn what_was_committed_before_a_crash_is_answered_again(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let (_, pair) = scene.log_in().await;
        // The answer is lost, and the process too: another one has only the store.
        let lost = scene.refresh(&pair.refresh).await.unwrap().pair;
        let other = scene.app.another(With::default()).await;
        other.set_keyring(ring());
        let again = scene.refresh_through(&other, &pair.refresh).await.unwrap().pair;
        assert!(again.refresh == lost.refresh);
        assert!(scene.refresh_through(&other, &lost.refresh).await.is_ok());
        scene.app.clock.advance(MINUTE);
        assert!(matches!(scene.refresh_through(&other, &pair.refresh).await, Err(RefreshError::Reused)));
    }

    async fn the_store_never_holds_a_usable_token(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let (_, pair) = scene.log_in().await;
        let child = scene.refresh(&pair.refresh).await.unwrap().pair;
        scene.refresh(&child.refresh).await.unwrap();
        let tokens = store::dump(&scene.app.db).await.unwrap();
        assert_eq!(tokens.len(), 3);
        for secret in [pair.refresh.expose(), child.refresh.expose(), child.access.token.expose()] {
            for (digest, successor) in &tokens {
                assert_ne!(digest, secret);
                let sealed = successor.as_deref().unwrap_or_default();
                assert!(!sealed.windows(secret.len()).any(|window| window == secret.as_bytes()));
            }
        }
        let kept = tokens.iter().filter(|(_, successor)| successor.is_some()).count();
        assert_eq!(kept, 1, "an answered successor is forgotten");
    }

    async fn a_session_ends_when_it_idles_and_at_its_end_in_any_case(store: TestStore) {
        let scene = Scene::on(store, "preset: medium\nsessions: {idle_for: 1h, end_after: 3h}").await;
        let (session, pair) = scene.log_in().await;
        let idle = scene.log_in_on("v=1|os=linux").await.unwrap();
        let mut token = pair.refresh;
        for _ in 0..5 {
            scene.app.clock.advance(Duration::from_mins(35));
            let refreshed = scene.refresh(&token).await.unwrap();
            assert!(refreshed.pair.refresh_expires_at <= session.ends_at);
            assert!(refreshed.pair.access.expires_at <= session.ends_at);
            token = refreshed.pair.refresh;
        }
        assert!(matches!(scene.refresh(&idle.1.refresh).await, Err(RefreshError::Expired)), "idle for too long");
        scene.app.clock.set(session.ends_at);
        assert!(matches!(scene.refresh(&token).await, Err(RefreshError::Expired)), "the end in any case");
        assert!(scene.live().await.is_empty());
    }

    async fn another_application_gets_nothing_and_breaks_nothing(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let (_, pair) = scene.log_in().await;
        let application = Some(Id::from_u128(5));
        let request = RefreshRequest { token: &pair.refresh, application, actor: Actor::system() };
        let (sessions, tokens) = (&scene.config.sessions, &scene.config.tokens);
        let refused = refresh(&scene.app, sessions, tokens, request, async |_| Ok(Map::new())).await;
        assert!(matches!(refused, Err(RefreshError::OtherApplication)));
        assert!(scene.refresh(&pair.refresh).await.is_ok());
    }

    async fn who_may_not_act_may_not_refresh_and_every_session_ends(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let id = scene.account.id;
        let (_, pair) = scene.log_in().await;
        scene.change(async |change| account::lock(change, id, None).await.unwrap()).await;
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Refused)));
        assert!(matches!(scene.log_in_on("").await, Err(StartError::Refused)));
        scene.change(async |change| account::unlock(change, id).await.unwrap()).await;
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Over)), "it does not come back");
        let (_, pair) = scene.log_in().await;
        let off = Activity::Inactive;
        scene.change(async |change| account::set_activity(change, id, off).await.unwrap()).await;
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Refused)));
        assert!(scene.live().await.is_empty());
        scene.change(async |change| account::set_activity(change, id, Activity::Active).await.unwrap()).await;
        let (_, pair) = scene.log_in().await;
        scene.change(async |change| account::set_ban(change, id, Ban::Imposed).await.unwrap()).await;
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Refused)));
        assert!(matches!(scene.log_in_on("").await, Err(StartError::Refused)));
        assert!(scene.live().await.is_empty());
    }

    async fn of_ten_logins_at_once_no_more_live_than_may(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let started = join_all((0..10).map(|_| scene.log_in_on(""))).await;
        assert!(started.iter().all(Result::is_ok));
        assert_eq!(scene.live().await.len(), 5);
    }

    async fn the_oldest_session_goes_first(store: TestStore) {
        let scene = Scene::on(store, "preset: medium\nsessions: {max: 2}").await;
        let mut started = Vec::new();
        for _ in 0..3 {
            started.push(scene.log_in().await.0.id);
            scene.app.clock.advance(MINUTE);
        }
        assert_eq!(scene.live().await, started[1..]);
        assert_eq!(scene.codes().await[3..], ["session_ended", "login"]);
    }

    async fn a_login_above_the_limit_is_refused_where_it_says_so(store: TestStore) {
        let scene = Scene::on(store, "preset: medium\nsessions: {max: 3, when_full: deny}").await;
        let started = join_all((0..10).map(|_| scene.log_in_on(""))).await;
        let refused = started.iter().filter(|s| matches!(s, Err(StartError::SessionLimit))).count();
        assert_eq!((refused, scene.live().await.len()), (7, 3));
    }

    async fn devices_are_limited_apart_from_sessions(store: TestStore) {
        let deny = Scene::on(store, "preset: medium\nsessions: {devices: 2}").await;
        for device in ["v=1|os=linux;osv=1", "v=1|os=linux;osv=2", "v=1|os=macos"] {
            deny.log_in_on(device).await.unwrap();
        }
        assert!(matches!(deny.log_in_on("v=1|os=windows").await, Err(StartError::DeviceLimit)));
        assert!(deny.log_in_on("v=1|os=macos").await.is_ok(), "a known device is not a new one");
        let devices = deny.codes().await.into_iter().filter(|code| code == "new_device_detected").count();
        assert_eq!(devices, 1);
    }

    async fn the_oldest_device_makes_room_where_it_says_so(store: TestStore) {
        let yaml = "preset: medium\nsessions: {devices: 2, when_devices_full: revoke_oldest}";
        let scene = Scene::on(store, yaml).await;
        let mut started = Vec::new();
        for device in ["v=1|os=linux", "v=1|os=macos", "v=1|os=linux", "v=1|os=windows"] {
            started.push(scene.log_in_on(device).await.unwrap().0.id);
            scene.app.clock.advance(MINUTE);
        }
        assert_eq!(scene.live().await, [started[1], started[3]], "both sessions of the first device went");
    }

    async fn logging_out_ends_one_session_or_all(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let id = scene.account.id;
        let (first, pair) = scene.log_in().await;
        let (second, _) = scene.log_in().await;
        scene.log_in().await;
        let found = of_refresh_token(&scene.app.db, pair.refresh.expose()).await.unwrap();
        assert_eq!(found.map(|session| session.id), Some(first.id));
        assert!(of_refresh_token(&scene.app.db, "nonsense").await.unwrap().is_none());
        assert!(scene.change(async |change| log_out(change, id, first.id).await.unwrap()).await);
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Over)));
        assert_eq!(scene.live().await.len(), 2);
        let before = scene.app.epochs.of(Subject::Session(second.id));
        assert_eq!(scene.change(async |change| log_out_everywhere(change, id).await.unwrap()).await, 2);
        assert!(scene.app.epochs.of(Subject::Session(second.id)) > before);
        assert!(scene.live().await.is_empty());
    }

    async fn a_logout_between_two_refreshes_wins(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let id = scene.account.id;
        for _ in 0..10 {
            let (session, pair) = scene.log_in().await;
            let out = scene.change(async |change| log_out(change, id, session.id).await.unwrap());
            let (_, refreshed) = futures::join!(out, scene.refresh(&pair.refresh));
            if let Ok(refreshed) = refreshed {
                assert!(matches!(scene.refresh(&refreshed.pair.refresh).await, Err(RefreshError::Over)));
            }
            assert!(scene.live().await.is_empty());
        }
    }

    async fn without_rotation_one_token_serves_for_the_whole_session(store: TestStore) {
        let scene = Scene::on(store, "preset: medium\ntokens: {rotation: false}").await;
        let (_, pair) = scene.log_in().await;
        for _ in 0..3 {
            scene.app.clock.advance(Duration::from_hours(24 * 6));
            let refreshed = scene.refresh(&pair.refresh).await.unwrap().pair;
            assert!(refreshed.refresh == pair.refresh && refreshed.access.token != pair.access.token);
        }
        scene.app.clock.advance(Duration::from_hours(24 * 8));
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Expired)));
    }

    async fn a_token_that_is_kept_stays_the_same_although_others_rotate(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        let device = Device::parse("").unwrap();
        let login = Login {
            account: &scene.account,
            application: None,
            device: &device,
            address: None,
            method: Method::Password,
            scope: None,
            claims: Map::new(),
        };
        let (session, first) =
            start(&mut change, &scene.config.sessions, &scene.config.tokens, login).await.unwrap();
        let (never, id) = (first.refresh.clone(), session.id);
        let pair = keep(&mut change, &session, first).await.unwrap();
        change.commit().await.unwrap();
        assert!(is_kept(pair.refresh.expose()) && !is_kept(never.expose()));
        for _ in 0..3 {
            scene.app.clock.advance(Duration::from_hours(24));
            let refreshed = scene.refresh(&pair.refresh).await.unwrap();
            assert!(refreshed.session.id == id && refreshed.pair.refresh == pair.refresh);
        }
        // Neither the text behind the mark nor the mark before another token is one.
        assert!(matches!(scene.refresh(&never).await, Err(RefreshError::Over)));
        let (_, other) = scene.log_in().await;
        let marked = Secret::new(format!("kept.{}", other.refresh.expose()));
        assert!(matches!(scene.refresh(&marked).await, Err(RefreshError::Over)));
        let rotated = scene.refresh(&other.refresh).await.unwrap().pair;
        assert!(rotated.refresh != other.refresh);
        assert!(scene.change(async |change| log_out(change, scene.account.id, id).await.unwrap()).await);
        assert!(matches!(scene.refresh(&pair.refresh).await, Err(RefreshError::Over)));
    }

    async fn sessions_that_are_long_over_are_swept(store: TestStore) {
        let scene = Scene::on(store, MEDIUM).await;
        scene.log_in().await;
        scene.app.clock.advance(Duration::from_hours(24 * 8));
        scene.log_in().await;
        assert_eq!(sweep(&scene.app).await.unwrap(), 0);
        scene.app.clock.advance(scene.config.retention.sessions);
        assert_eq!(sweep(&scene.app).await.unwrap(), 1);
        assert_eq!(store::dump(&scene.app.db).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_says_who_and_where_and_until_when() {
    let yaml = "preset: medium\ntokens: {audience: shop, claims: {fixed: {tier: gold}}}";
    let scene = Scene::on(TestStore::sqlite().await, yaml).await;
    let (session, pair) = scene.log_in().await;
    let now = scene.app.now();
    let text = pair.access.token.expose();
    let claims = read_access(&scene.app.keyring(), &scene.config.tokens, text, now).unwrap();
    assert_eq!((claims.sub, claims.user_id, claims.sid), (scene.account.id, scene.account.id, session.id));
    assert_eq!((claims.app_id.as_str(), claims.kind.as_str()), ("default", "access"));
    assert_eq!((claims.iat, claims.nbf, claims.exp - claims.iat), (now.as_secs(), now.as_secs(), 900));
    assert_eq!((claims.iss.as_str(), claims.aud.as_deref()), ("portcullis", Some("shop")));
    scene.app.clock.advance(Duration::from_mins(15));
    assert!(read_access(&scene.app.keyring(), &scene.config.tokens, text, scene.app.now()).is_err());
    let elsewhere = configured(MEDIUM);
    let (ring, none) = (scene.app.keyring(), Keyring::default());
    assert!(read_access(&none, &elsewhere.tokens, text, now).is_err());
    assert!(read_access(&ring, &scene.config.tokens, pair.refresh.expose(), now).is_err());
}
