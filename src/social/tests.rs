//! What social login promises: what an ID token must say, what a browser keeps, and what the store
//! keeps, on every database.

use futures::future::join_all;
use serde_json::{Value, json};

use super::id_token::{Expected, read};
use super::*;
use crate::account::{self, Account, NewAccount};
use crate::app::testing::{TestApp, With};
use crate::audit::{Actor, How};
use crate::config::ProviderKind;
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const NOW: Timestamp = Timestamp::from_millis(1_795_168_800_000);
const TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn claims(more: &Value) -> serde_json::Map<String, Value> {
    let now = NOW.as_secs();
    let mut claims =
        json!({"iss": "https://id.example.com", "aud": "us", "sub": "ada", "iat": now, "exp": now + 60});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object().unwrap().clone()
}

fn judged(kind: ProviderKind, issuer: &str, more: &Value) -> Result<Identity, &'static str> {
    let audiences = vec!["us", "phone"];
    read(&claims(more), &Expected { kind, issuer, audiences, nonce: None, now: NOW })
}

#[test]
fn a_token_for_several_clients_is_ours_only_where_all_of_them_are() {
    let judge = |more: Value| judged(ProviderKind::Oidc, "https://id.example.com", &more).is_ok();
    assert!(judge(json!({})) && judge(json!({"aud": ["phone"]})));
    assert!(judge(json!({"aud": ["us", "phone"], "azp": "phone"})));
    assert!(judge(json!({"aud": "us", "azp": "phone"})));
    for more in [
        json!({"aud": ["us", "phone"]}),
        json!({"aud": ["us", "else"], "azp": "us"}),
        json!({"aud": "us", "azp": "else"}),
        json!({"aud": "us", "azp": 7}),
        json!({"aud": ["us", 7]}),
        json!({"aud": {"us": 1}}),
        json!({"iss": "https://id.example.com/"}),
    ] {
        assert!(!judge(more.clone()), "{more}");
    }
}

#[test]
fn google_has_two_names_and_nobody_else_has() {
    let short = json!({"iss": "accounts.google.com"});
    let google = "https://accounts.google.com";
    assert_eq!(judged(ProviderKind::Google, google, &short).unwrap().issuer, google);
    assert!(judged(ProviderKind::Oidc, google, &short).is_err());
    assert!(judged(ProviderKind::Google, "https://id.example.com", &short).is_err());
}

#[test]
fn a_person_of_microsoft_is_one_of_their_tenant() {
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let issuer = template.replace("{tenantid}", TENANT);
    let judge = |more: Value| judged(ProviderKind::Microsoft, template, &more);
    let ada = judge(json!({"iss": issuer, "tid": TENANT})).unwrap();
    assert_eq!((ada.issuer.as_str(), ada.subject), (template, format!("{TENANT}/ada")));
    for more in [
        json!({"iss": issuer}),
        json!({"iss": issuer, "tid": "00000000-0000-0000-0000-000000000000"}),
        json!({"iss": "https://login.microsoftonline.com/evil/v2.0", "tid": "evil"}),
        json!({"iss": template, "tid": "{tenantid}"}),
        json!({"iss": "https://evil.example/v2.0", "tid": TENANT}),
    ] {
        assert!(judge(more.clone()).is_err(), "{more}");
    }
    // With one tenant the issuer is the tenant's own.
    assert!(judged(ProviderKind::Microsoft, &issuer, &json!({"iss": issuer})).is_ok());
    assert!(judged(ProviderKind::Microsoft, &issuer, &json!({"iss": template})).is_err());
}

#[test]
fn an_address_is_somebodys_where_the_provider_has_seen_it() {
    let address = |kind: ProviderKind, more: Value| id_token::address(kind, &claims(&more));
    let ada = Email::parse("ada@example.com").unwrap();
    let with = |name: &str, value: Value| json!({"email": "Ada@Example.com", name: value});
    let (oidc, microsoft) = (ProviderKind::Oidc, ProviderKind::Microsoft);
    for value in [json!(true), json!("true")] {
        assert_eq!(address(oidc, with("email_verified", value)), Address::Verified(ada.clone()));
    }
    for value in [json!(false), json!(null), json!("yes"), json!("false"), json!([true])] {
        assert_eq!(address(oidc, with("email_verified", value.clone())), Address::Unverified, "{value}");
    }
    assert_eq!(address(oidc, json!({"email_verified": true})), Address::None);
    assert_eq!(address(oidc, json!({"email": "nonsense", "email_verified": true})), Address::None);
    // Whoever runs a tenant says `email_verified` too.
    assert_eq!(address(microsoft, with("email_verified", json!(true))), Address::Claimed(ada.clone()));
    assert_eq!(address(microsoft, with("xms_edov", json!("1"))), Address::Verified(ada.clone()));
    assert_eq!(address(microsoft, with("xms_edov", json!(true))), Address::Verified(ada.clone()));
    // What Google has once seen and does not host may be somebody else's by now.
    let google = |more: Value| address(ProviderKind::Google, more);
    assert_eq!(google(with("email_verified", json!(true))), Address::Claimed(ada.clone()));
    let hosted = json!({"email": "ada@example.com", "email_verified": true, "hd": "example.com"});
    assert_eq!(google(hosted), Address::Verified(ada));
    let own = json!({"email": "ada@gmail.com", "email_verified": true});
    assert_eq!(google(own), Address::Verified(Email::parse("ada@gmail.com").unwrap()));
    assert_eq!(google(json!({"email": "ada@gmail.com", "email_verified": false})), Address::Unverified);
}

#[tokio::test]
async fn what_a_browser_keeps_is_read_by_us_alone_and_not_for_long() {
    let app = TestApp::new().await;
    let flow = Flow::begin(&app, "acme", DEFAULT_SITE, "/portcullis/approvals/");
    let kept = flow.seal(&app);
    assert!(!kept.expose().contains(flow.state()) && Flow::open(&app, kept.expose()).is_some());
    assert!(
        flow.is_of("acme", flow.state()) && !flow.is_of("other", flow.state()) && !flow.is_of("acme", "")
    );
    let mut changed = kept.expose().clone();
    let last = if changed.ends_with('A') { "B" } else { "A" };
    changed.replace_range(changed.len() - 1.., last);
    assert!(Flow::open(&app, &changed).is_none() && Flow::open(&app, "").is_none());
    assert!(Pending::open(&app, kept.expose()).is_none(), "it is for something else");
    app.clock.advance(GOOD_FOR);
    assert!(Flow::open(&app, kept.expose()).is_none());
}

fn ada() -> Identity {
    Identity {
        issuer: "https://id.example.com".to_owned(),
        subject: "Ada-1".to_owned(),
        address: Address::Verified(Email::parse("ada@example.com").unwrap()),
        first_name: "Ada".to_owned(),
        last_name: String::new(),
    }
}

async fn person(app: &TestApp) -> Account {
    let mut change = app.change(Actor::system()).await.unwrap();
    let made = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Owner).await.unwrap();
    change.commit().await.unwrap();
    made
}

async fn connected(app: &TestApp, account: &Account, identity: &Identity) -> Result<Id, NotConnected> {
    let mut change = app.change(Actor::system()).await.unwrap();
    let ids = (account.site, account.id);
    let id = connect(&mut change, ids, "acme", identity, Whose::Account).await?;
    change.commit().await.unwrap();
    Ok(id)
}

on_every_store! {
    async fn an_identity_opens_one_account(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let (one, two) = (person(&app).await, person(&app).await);
        let id = connected(&app, &one, &ada()).await.unwrap();
        assert!(matches!(connected(&app, &two, &ada()).await, Err(NotConnected::Taken)));
        assert!(matches!(connected(&app, &one, &ada()).await, Err(NotConnected::Taken)));
        // A subject is compared as it is written.
        let other = Identity { subject: "ada-1".to_owned(), ..ada() };
        connected(&app, &two, &other).await.unwrap();
        let found = find(&app.db, DEFAULT_SITE, "https://id.example.com", "Ada-1").await.unwrap().unwrap();
        assert_eq!((found.account, found.id, found.provider.as_str()), (one.id, id, "acme"));
        assert!(find(&app.db, DEFAULT_SITE, "https://id.example.com", "ADA-1").await.unwrap().is_none());
        assert!(find(&app.db, DEFAULT_SITE, "https://other.example", "Ada-1").await.unwrap().is_none());
        let mut change = app.change(Actor::system()).await.unwrap();
        let key = (found.issuer.as_str(), found.subject.as_str());
        assert!(note_use(&mut change, (DEFAULT_SITE, one.id), key).await.unwrap());
        assert!(!note_use(&mut change, (DEFAULT_SITE, two.id), key).await.unwrap());
        assert!(disconnect(&mut change, &found).await.unwrap());
        assert!(!disconnect(&mut change, &found).await.unwrap());
        change.commit().await.unwrap();
        assert!(connections(&app.db, one.id).await.unwrap().is_empty());
        assert_eq!(connections(&app.db, two.id).await.unwrap().len(), 1);
    }

    async fn what_was_used_is_used(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let forget_at = app.now().plus(GOOD_FOR);
        let all = join_all((0..64).map(|_| use_now(&app, "state:x", forget_at))).await;
        let first = all.into_iter().filter(|own| *own.as_ref().unwrap() == Use::First);
        assert_eq!(first.count(), 1);
        assert_eq!(use_now(&app, "state:y", forget_at).await.unwrap(), Use::First);
        let token = |signature: &str| Secret::new(format!("head.body.{signature}"));
        assert_eq!(use_token(&app, &token("one")).await.unwrap(), Use::First);
        assert_eq!(use_token(&app, &token("two")).await.unwrap(), Use::Again, "the same with another signature");
        app.clock.advance(GOOD_FOR);
        assert_eq!(sweep(&app).await.unwrap(), 2);
        assert_eq!(use_now(&app, "state:x", app.now().plus(GOOD_FOR)).await.unwrap(), Use::First);
    }
}
