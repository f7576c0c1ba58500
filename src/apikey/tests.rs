//! API keys in the store: made, listed, used, ended.

use super::*;
use crate::account::NewAccount;
use crate::app::testing::{TestApp, With};
use crate::audit::{Actor, How, Subject};
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

async fn person(app: &TestApp) -> Id {
    let mut change = app.change(Actor::system()).await.unwrap();
    let made = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Administrator).await.unwrap();
    change.commit().await.unwrap();
    made.id
}

async fn make(
    app: &TestApp,
    account: Id,
    scopes: &[&str],
    lifetime: Option<Duration>,
) -> Result<(ApiKey, Secret<String>), Refused> {
    let scopes = scopes.iter().map(|text| code(text)).collect();
    let mut change = app.change(Actor::system()).await.unwrap();
    let made = create(&mut change, New { account, name: "report".to_owned(), scopes, lifetime }).await?;
    change.commit().await.unwrap();
    Ok(made)
}

async fn end(app: &TestApp, key: &ApiKey) -> bool {
    let mut change = app.change(Actor::system()).await.unwrap();
    let is_ended = revoke(&mut change, key).await.unwrap();
    if is_ended {
        change.commit().await.unwrap();
    }
    is_ended
}

on_every_store! {
    async fn a_key_is_found_by_its_text_alone_and_that_is_not_stored(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = person(&app).await;
        let (key, text) = make(&app, ada, &["reports.write", "reports.read", "reports.read"], None).await.unwrap();
        assert!(text.expose().len() == TEXT_LEN && text.expose().starts_with(&key.hint));
        assert_eq!(key.scopes, [code("reports.read"), code("reports.write")]);
        assert_eq!(key.expires_at, app.now().plus(Duration::from_hours(90 * 24)));
        let digest = TokenDigest::of(text.expose());
        assert_eq!(by_digest(&app.db, digest.as_str()).await.unwrap(), Some((key.id, ada)));
        assert_eq!(by_digest(&app.db, text.expose()).await.unwrap(), None);
        assert_eq!(by_id(&app.db, key.id).await.unwrap(), Some(key.clone()));
        let rows = format!("{:?}", crate::audit::tail(&app.db, 0, 100).await.unwrap());
        assert!(rows.contains("api_key_created") && rows.contains("reports.read") && !rows.contains(text.expose()));
        let too_long = make(&app, ada, &[], Some(LONGEST + Duration::from_secs(1))).await;
        assert!(matches!(too_long, Err(Refused::TooLong(LONGEST))), "{too_long:?}");
        let (other, _) = make(&app, ada, &[], Some(LONGEST)).await.unwrap();
        assert_eq!(other.expires_at, app.now().plus(LONGEST));
        assert_eq!(by_number(&app.db, other.number).await.unwrap(), Some(other.clone()));
        assert_eq!(list(&app.db, 1).await.unwrap(), std::slice::from_ref(&other));
        assert_eq!(list(&app.db, 9).await.unwrap(), [other.clone(), key.clone()]);
        assert_eq!(of_account(&app.db, ada).await.unwrap(), [other, key], "the newest first");
        assert_eq!(of_account(&app.db, Id::from_u128(7)).await.unwrap(), []);
    }

    async fn a_key_ends_once_and_whoever_knows_it_is_told(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = person(&app).await;
        let (key, _) = make(&app, ada, &[], None).await.unwrap();
        let before = app.epochs.of(Subject::ApiKey(key.id));
        assert!(end(&app, &key).await);
        assert!(app.epochs.of(Subject::ApiKey(key.id)) > before);
        assert!(!end(&app, &key).await);
        assert!(!by_id(&app.db, key.id).await.unwrap().unwrap().is_alive(app.now()));
        let (brief, _) = make(&app, ada, &[], Some(Duration::from_mins(1))).await.unwrap();
        app.clock.advance(Duration::from_mins(1));
        assert!(!brief.is_alive(app.now()) && !end(&app, &brief).await);
        assert_eq!(sweep(&app).await.unwrap(), 0, "people may still ask what happened");
        app.clock.advance(app.config().retention.api_keys + Duration::from_secs(1));
        assert_eq!(sweep(&app).await.unwrap(), 2);
        assert_eq!(of_account(&app.db, ada).await.unwrap(), []);
    }

    async fn a_permission_that_is_removed_and_made_anew_is_named_by_no_old_key(store: TestStore) {
        let app = TestApp::on(store, With { reactions: vec![react], ..With::default() }).await;
        let ada = person(&app).await;
        let (key, _) = make(&app, ada, &["pay", "view"], None).await.unwrap();
        let (other, _) = make(&app, ada, &["view"], None).await.unwrap();
        let of = |key: &ApiKey| app.epochs.of(Subject::ApiKey(key.id));
        let before = (of(&key), of(&other));
        for kind in ["role", "permission"] {
            let mut change = app.change(Actor::system()).await.unwrap();
            let gone = RightsEvent::CatalogueChanged { kind, code: code("pay"), did: Redefined::Deleted };
            change.record(gone).await.unwrap();
            change.commit().await.unwrap();
            let left = by_id(&app.db, key.id).await.unwrap().unwrap().scopes;
            assert_eq!(left.contains(&code("pay")), kind == "role", "{left:?}");
            assert_eq!(of(&key) > before.0, kind == "permission", "{kind}");
        }
        assert_eq!(by_id(&app.db, key.id).await.unwrap().unwrap().scopes, [code("view")]);
        assert_eq!(by_id(&app.db, other.id).await.unwrap().unwrap().scopes, [code("view")]);
        assert_eq!(of(&other), before.1, "whom it does not touch is not told");
    }

    async fn the_last_use_never_goes_back(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = person(&app).await;
        let (key, _) = make(&app, ada, &[], None).await.unwrap();
        let (early, late) = (app.now(), app.now().plus(Duration::from_secs(9)));
        note_uses(&app, &[(key.id, late), (key.id, early)]).await.unwrap();
        assert_eq!(by_id(&app.db, key.id).await.unwrap().unwrap().last_used_at, Some(late));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_only_so_many_keys() {
    let app = TestApp::on(TestStore::sqlite().await, With::default()).await;
    let ada = person(&app).await;
    let (first, _) = make(&app, ada, &[], None).await.unwrap();
    for _ in 1..MOST {
        make(&app, ada, &[], None).await.unwrap();
    }
    assert!(matches!(make(&app, ada, &[], None).await, Err(Refused::TooMany)));
    assert!(end(&app, &first).await);
    assert!(make(&app, ada, &[], None).await.is_ok(), "what is over does not count");
}
