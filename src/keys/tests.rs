//! Keys come, sign, retire and go.
//!
//! Law: at no moment of a rotation is a token refused that was signed by the rules.

use super::*;
use crate::app::testing::{TestApp, With};
use crate::audit;
use crate::crypto::seal::SealKey;
use crate::on_every_store;
use crate::store::sql;
use crate::store::testing::TestStore;

fn with() -> With {
    With { appliers: vec![reload], ..With::default() }
}

fn active(app: &App, purpose: Purpose) -> (String, Algorithm) {
    let ring = app.keyring();
    let key = ring.active(purpose, app.now()).expect("a key signs");
    (key.kid().to_owned(), key.algorithm())
}

fn verifies(app: &App, kid: &str) -> bool {
    app.keyring().find(Purpose::Access, kid, app.now()).is_some()
}

on_every_store! {
    async fn the_first_start_makes_the_keys_and_the_next_one_finds_them(store: TestStore) {
        let app = TestApp::on(store, with()).await;
        ensure(&app).await.unwrap();
        let (access, assertion) = (active(&app, Purpose::Access), active(&app, Purpose::Assertion));
        assert_eq!((access.1, assertion.1), (Algorithm::EdDsa, Algorithm::Es256));
        let other = app.another(with()).await;
        ensure(&other).await.unwrap();
        assert_eq!(active(&other, Purpose::Access), access);
        assert_eq!(active(&other, Purpose::Assertion), assertion);
        assert_eq!(list(&app).await.unwrap().len(), 2);
        assert_eq!(audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.unwrap().end.seq, 2);
    }

    async fn processes_that_start_together_agree_on_one_key(store: TestStore) {
        let app = TestApp::on(store, with()).await;
        let other = app.another(with()).await;
        let (a, b) = tokio::join!(ensure(&app), ensure(&other));
        assert_eq!((a, b), (Ok(()), Ok(())));
        app.catch_up().await.unwrap();
        other.catch_up().await.unwrap();
        assert_eq!(active(&app, Purpose::Access), active(&other, Purpose::Access));
        assert_eq!(list(&app).await.unwrap().len(), 2, "one for each purpose");
    }

    async fn the_first_key_signs_at_once_where_a_clock_is_behind_and_no_later_one_does(store: TestStore) {
        let app = TestApp::on(store, with()).await;
        ensure(&app).await.unwrap();
        let other = app.another(with()).await;
        load(&other).await.unwrap();
        for purpose in PURPOSES {
            let (first, _) = active(&app, purpose);
            let signs = |at| other.keyring().active(purpose, at).map(|key| key.kid().to_owned());
            assert_eq!(signs(app.now().minus(LEEWAY)).as_ref(), Some(&first));
            let new = rotate(&app, Actor::command_line(), purpose).await.unwrap();
            load(&other).await.unwrap();
            let signs = |at| other.keyring().active(purpose, at).map(|key| key.kid().to_owned());
            assert_eq!(signs(app.now().minus(LEEWAY)).as_ref(), Some(&first));
            assert_eq!(signs(app.now()), Some(first));
            assert_eq!(signs(app.now().plus(SETTLE)), Some(new));
        }
    }

    async fn a_rotation_overlaps(store: TestStore) {
        let app = TestApp::on(store, with()).await;
        let other = app.another(with()).await;
        ensure(&app).await.unwrap();
        let (old, _) = active(&app, Purpose::Access);
        let new = rotate(&app, Actor::command_line(), Purpose::Access).await.unwrap();
        let rows = audit::tail(&app.db, 0, 100).await.unwrap();
        let named = |code: &str| -> Vec<&str> {
            let rows = rows.iter().filter(|row| row.code == code);
            rows.filter_map(|row| row.personal["detail"]["kid"].as_str()).collect()
        };
        assert_eq!((named("key_added").len(), named("key_added").last()), (3, Some(&&*new)));
        assert_eq!(named("key_retired"), [&*old]);
        other.catch_up().await.unwrap();
        assert!(verifies(&other, &new), "published before it signs");
        assert_eq!(active(&app, Purpose::Access).0, old);
        app.clock.advance(SETTLE);
        assert_eq!(active(&app, Purpose::Access).0, new);
        app.clock.advance(app.config().tokens.access_for);
        assert!(verifies(&app, &old), "the last token it signed may still be in use");
        app.clock.advance(LEEWAY);
        assert!(!verifies(&app, &old) && verifies(&app, &new));
        let kids = |listed: Vec<Listed>| listed.into_iter().map(|key| key.kid).collect::<Vec<_>>();
        assert!(!kids(list(&app).await.unwrap()).contains(&old));
        assert_eq!(forget(&app).await.unwrap(), 1);
    }

    async fn the_wrong_seal_key_is_told_and_opens_nothing(store: TestStore) {
        let app = TestApp::on(store, with()).await;
        ensure(&app).await.unwrap();
        let (kid, _) = active(&app, Purpose::Access);
        let mut tx = app.db.begin().await.unwrap();
        let stranger = SealKey::from_bytes([9; 32]).seal(app.random.as_ref(), "x", b"x");
        let swap = sql("UPDATE signing_key SET sealed = ? WHERE kid = ?").bind(stranger).bind(&kid);
        tx.execute(swap).await.unwrap();
        tx.commit().await.unwrap();
        let failure = load(&app).await.unwrap_err();
        assert_eq!(failure, Failure::Sealed { kid });
        assert!(failure.to_string().contains("seal_file"));
    }
}

#[tokio::test]
async fn a_new_algorithm_in_the_configuration_brings_a_new_key() {
    let app = TestApp::on(TestStore::sqlite().await, with()).await;
    ensure(&app).await.unwrap();
    let (old, _) = active(&app, Purpose::Access);
    let yaml = "tokens: { algorithm: ES256 }";
    let app2 = app.another(With { yaml, ..with() }).await;
    ensure(&app2).await.unwrap();
    app.clock.advance(SETTLE);
    assert_eq!(active(&app2, Purpose::Access).1, Algorithm::Es256);
    assert!(verifies(&app2, &old));
    ensure(&app2).await.unwrap();
    assert_eq!(list(&app2).await.unwrap().len(), 3, "once");
}

#[tokio::test]
async fn rs256_asks_for_a_key_from_a_file() {
    let with = With { yaml: "tokens: { algorithm: RS256 }", ..with() };
    let app = TestApp::on(TestStore::sqlite().await, with).await;
    assert_eq!(ensure(&app).await, Err(Failure::NoRsaKey));
    let bad = Secret::new(b"-----BEGIN PRIVATE KEY-----".to_vec());
    let added = add(&app, Actor::command_line(), Purpose::Access, &bad).await;
    assert_eq!(added, Err(Failure::Bad(BadKey::Malformed)));
}

#[tokio::test]
async fn a_private_key_is_in_no_column_and_no_debug_text() {
    let app = TestApp::on(TestStore::sqlite().await, with()).await;
    ensure(&app).await.unwrap();
    let ring = app.keyring();
    let seed = ring.active(Purpose::Access, app.now()).unwrap().to_bytes().expose().clone();
    let rows = store::published(&app.db, app.now()).await.unwrap();
    assert!(rows.iter().all(|row| !row.sealed.windows(seed.len()).any(|part| part == seed)));
    let shown = format!("{:?} {:?} {:?}", app.app, ring, list(&app).await.unwrap());
    assert!(!shown.contains("seed") && !shown.contains(&format!("{:?}", &seed[..4])));
}
