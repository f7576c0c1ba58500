//! What applications promise, on every database.

use futures::future::join_all;

use super::*;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor};
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

fn named(name: &str, origins: &[&str]) -> NewApplication {
    NewApplication {
        site: DEFAULT_SITE,
        name: name.to_owned(),
        description: String::new(),
        allowed_origins: origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect(),
        redirect_uris: Vec::new(),
    }
}

async fn make(app: &TestApp, new: NewApplication) -> Result<(Application, Credentials), WriteError> {
    let mut change = app.change(Actor::command_line()).await?;
    let made = create(&mut change, new).await?;
    change.commit().await?;
    Ok(made)
}

async fn switch(app: &TestApp, id: Id, activity: Activity) -> bool {
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let done = set_activity(&mut change, id, activity).await.unwrap();
    if done {
        change.commit().await.unwrap();
    }
    done
}

fn with_secret(credentials: &Credentials) -> Presented<'_> {
    let secret = Some(credentials.access_secret.expose().as_str());
    Presented { key: credentials.access_key.as_str(), secret, origin: None }
}

async fn codes(app: &TestApp) -> Vec<String> {
    audit::tail(&app.db, 0, 1000).await.unwrap().into_iter().map(|row| row.code).collect()
}

on_every_store! {
    async fn right_keys_name_their_application(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &[])).await.unwrap();
        let (_, other) = make(&app, named("other", &[])).await.unwrap();
        let found = directory.authenticate(&app, with_secret(&keys)).await.unwrap();
        assert_eq!((found.id, &*found.name), (web.id, "web"));
        for presented in [
            Presented { secret: Some(other.access_secret.expose()), ..with_secret(&keys) },
            Presented { secret: Some(""), ..with_secret(&keys) },
            Presented { key: &"0".repeat(64), ..with_secret(&keys) },
            Presented { key: "", ..with_secret(&keys) },
            Presented { key: &keys.access_key.as_str().to_uppercase(), ..with_secret(&keys) },
        ] {
            assert_eq!(directory.authenticate(&app, presented).await.unwrap_err(), Refusal::Invalid);
        }
        assert_eq!(codes(&app).await, ["app_created", "app_created"]);
    }

    async fn a_browser_is_known_by_an_origin_that_is_listed(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &["https://app.example.com", "https://App.example.com/"])).await.unwrap();
        let (_, closed) = make(&app, named("closed", &[])).await.unwrap();
        let from = |keys: &Credentials, origin: Option<&str>| {
            let key = keys.access_key.as_str().to_owned();
            let origin = origin.map(str::to_owned);
            let (app, directory) = (&app, &directory);
            async move {
                let presented = Presented { key: &key, secret: None, origin: origin.as_deref() };
                directory.authenticate(app, presented).await.map(|found| found.id)
            }
        };
        assert_eq!(from(&keys, Some("https://app.example.com")).await, Ok(web.id));
        assert_eq!(from(&keys, None).await, Err(Refusal::OriginMissing));
        for origin in ["https://app.example.com.evil.com", "https://evil.com", "null", "", "http://app.example.com",
            "https://app.example.com:8443"] {
            assert_eq!(from(&keys, Some(origin)).await, Err(Refusal::OriginDenied), "{origin}");
        }
        assert_eq!(from(&closed, Some("https://app.example.com")).await, Err(Refusal::OriginDenied));
        // A wrong secret is not forgiven for the sake of an origin.
        let both = Presented { secret: Some("wrong"), origin: Some("https://app.example.com"), ..with_secret(&keys) };
        assert_eq!(directory.authenticate(&app, both).await.unwrap_err(), Refusal::Invalid);
    }

    async fn origins_are_replaced_as_a_whole_and_listed_for_preflights(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, _) = make(&app, named("web", &["https://one.example"])).await.unwrap();
        directory.refresh(&app).await.unwrap();
        assert!(directory.is_origin("https://one.example"));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let two = [Origin::parse("https://two.example").unwrap(), Origin::parse("https://two.example/").unwrap()];
        assert!(set_origins(&mut change, web.id, &two).await.unwrap());
        assert!(!set_origins(&mut change, Id::from_u128(9), &two).await.unwrap());
        change.commit().await.unwrap();
        directory.refresh(&app).await.unwrap();
        assert!(directory.is_origin("https://two.example") && !directory.is_origin("https://one.example"));
        assert_eq!(find(&app.db, DEFAULT_SITE, "web").await.unwrap().unwrap().allowed_origins, two[..1]);
    }

    async fn new_credentials_end_the_old_ones_at_once(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, old) = make(&app, named("web", &[])).await.unwrap();
        directory.authenticate(&app, with_secret(&old)).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let new = regenerate(&mut change, web.id).await.unwrap().unwrap();
        assert!(regenerate(&mut change, Id::from_u128(9)).await.unwrap().is_none());
        change.commit().await.unwrap();
        assert_eq!(directory.authenticate(&app, with_secret(&old)).await.unwrap_err(), Refusal::Invalid);
        assert_eq!(directory.authenticate(&app, with_secret(&new)).await.unwrap().id, web.id);
    }

    async fn a_disabled_application_is_unknown_until_it_is_enabled(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &["https://app.example"])).await.unwrap();
        directory.authenticate(&app, with_secret(&keys)).await.unwrap();
        assert!(switch(&app, web.id, Activity::Disabled).await);
        assert!(!switch(&app, web.id, Activity::Disabled).await, "it is so already");
        assert_eq!(directory.authenticate(&app, with_secret(&keys)).await.unwrap_err(), Refusal::Invalid);
        assert!(directory.active(&app, web.id).await.unwrap().is_none());
        assert!(!directory.is_origin("https://app.example"));
        assert!(switch(&app, web.id, Activity::Active).await);
        assert_eq!(directory.active(&app, web.id).await.unwrap().unwrap().id, web.id);
        assert_eq!(codes(&app).await, ["app_created", "app_disabled", "app_enabled"]);
    }

    async fn what_is_deleted_is_gone_and_its_name_is_free(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &["https://app.example"])).await.unwrap();
        let (other, _) = make(&app, named("other", &[])).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert_eq!(describe(&mut change, other.id, Some("web"), None).await, Err(WriteError::NameTaken));
        drop(change);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert!(delete(&mut change, &web).await.unwrap());
        change.commit().await.unwrap();
        assert_eq!(directory.authenticate(&app, with_secret(&keys)).await.unwrap_err(), Refusal::Invalid);
        assert!(!directory.is_origin("https://app.example"));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert!(!delete(&mut change, &web).await.unwrap(), "it is gone already");
        assert_eq!(describe(&mut change, other.id, Some(" "), None).await, Err(WriteError::BadName));
        assert_eq!(describe(&mut change, other.id, Some(" web "), Some("x")).await, Ok(true));
        assert_eq!(describe(&mut change, web.id, Some("web2"), None).await, Ok(false));
        change.commit().await.unwrap();
        let now = find(&app.db, DEFAULT_SITE, "web").await.unwrap().unwrap();
        assert_eq!((now.id, now.description.as_str()), (other.id, "x"));
        assert_eq!(codes(&app).await, ["app_created", "app_created", "app_deleted", "app_updated"]);
    }

    async fn a_change_by_another_process_binds_once_it_is_followed(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let other = app.another(With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &[])).await.unwrap();
        directory.authenticate(&app, with_secret(&keys)).await.unwrap();
        let mut change = other.change(Actor::command_line()).await.unwrap();
        assert!(set_activity(&mut change, web.id, Activity::Disabled).await.unwrap());
        change.commit().await.unwrap();
        app.catch_up().await.unwrap();
        assert_eq!(directory.authenticate(&app, with_secret(&keys)).await.unwrap_err(), Refusal::Invalid);
    }

    async fn an_imported_secret_is_kept_in_our_form_after_its_first_use(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let directory = Directory::default();
        let (web, keys) = make(&app, named("web", &[])).await.unwrap();
        // The contract's vector (section 32).
        let secret = "0bf887d6ea49dc5fca8a0db769f25d53e6d32d101297a7dc5b5341de936d4014";
        let kept = "JDJiJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXUxaUc3TTJxdTFGekFLYzlkRHd3TlRYUnVnLzdrdDd5";
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let imported = SecretHash::parse(kept).unwrap();
        let now = change.now();
        store::set_credentials(change.tx(), web.id, &keys.access_key, &imported, now).await.unwrap();
        change.record(ApplicationEvent::Regenerated { application: web.id }).await.unwrap();
        change.commit().await.unwrap();
        let wrong = Presented { secret: Some("wrong"), ..with_secret(&keys) };
        assert_eq!(directory.authenticate(&app, wrong).await.unwrap_err(), Refusal::Invalid);
        let right = Presented { secret: Some(secret), ..with_secret(&keys) };
        let all = join_all((0..4).map(|_| directory.authenticate(&app, right))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        let now = find(&app.db, DEFAULT_SITE, "web").await.unwrap().unwrap();
        assert_eq!(now.secret_hash, SecretHash::of(secret));
        let hashed = app.hasher.performed();
        directory.authenticate(&app, right).await.unwrap();
        assert_eq!(app.hasher.performed(), hashed, "no slow hash any more");
        assert_eq!(codes(&app).await.iter().filter(|code| *code == "app_updated").count(), 1);
    }

    async fn a_name_is_unique_and_an_application_is_found_in_four_ways(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let (web, _) = make(&app, named(" web ", &[])).await.unwrap();
        assert_eq!(make(&app, named("web", &[])).await.unwrap_err(), WriteError::NameTaken);
        for name in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert_eq!(make(&app, named(name, &[])).await.unwrap_err(), WriteError::BadName, "{name:?}");
        }
        for text in [&web.id.to_string(), &web.number.to_string(), web.access_key.as_str(), "web"] {
            let found = find(&app.db, DEFAULT_SITE, text).await.unwrap();
            assert_eq!(found.map(|found| found.id), Some(web.id), "{text}");
            assert!(find(&app.db, Id::from_u128(77), text).await.unwrap().is_none());
        }
        assert_eq!(list(&app.db, DEFAULT_SITE).await.unwrap().len(), 1);
        assert!(list(&app.db, Id::from_u128(77)).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_keys_cost_no_question_to_the_store() {
    let app = TestApp::new().await;
    let directory = Directory::default();
    let (_, keys) = make(&app, named("web", &[])).await.unwrap();
    directory.authenticate(&app, with_secret(&keys)).await.unwrap();
    app.db.close().await;
    assert!(directory.authenticate(&app, with_secret(&keys)).await.is_ok());
    let unknown = Presented { key: &"0".repeat(64), ..with_secret(&keys) };
    assert_eq!(directory.authenticate(&app, unknown).await.unwrap_err(), Refusal::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_passes_on_an_old_picture_while_the_store_is_silent() {
    let app = TestApp::new().await;
    let directory = Directory::default();
    let (_, keys) = make(&app, named("web", &[])).await.unwrap();
    directory.authenticate(&app, with_secret(&keys)).await.unwrap();
    app.db.close().await;
    app.epochs.raise_to(audit::Subject::Applications, 1_000);
    let refused = directory.authenticate(&app, with_secret(&keys)).await.unwrap_err();
    assert!(matches!(refused, Refusal::Store(_)), "{refused:?}");
}
