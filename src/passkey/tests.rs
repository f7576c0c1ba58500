//! Challenges and the last way in, by themselves; what devices answer is tested on the running gateway.

use std::time::Duration;

use super::ceremony::{NONE, Purpose, With, seal, take};
use super::store::{self, New};
use super::*;
use crate::account::NewAccount;
use crate::app::testing::{TestApp, With as Given};
use crate::audit::How;
use crate::base::{Email, Secret};
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const YAML: &str = "login: { passkeys: { rp_id: example.com, origins: ['https://example.com'] } }\n";

async fn scene(store: TestStore) -> TestApp {
    TestApp::on(store, Given { yaml: YAML, ..Given::default() }).await
}

fn with(account: Id) -> With {
    With { site: DEFAULT_SITE, account, session: NONE }
}

async fn person(app: &TestApp, name: &str) -> Account {
    let email = Email::parse(&format!("{name}@example.com")).ok();
    let new = NewAccount { email, ..NewAccount::of(DEFAULT_SITE) };
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, &new, How::Owner).await.unwrap();
    change.commit().await.unwrap();
    account
}

async fn add_row(app: &TestApp, account: &Account, digest: &str) -> Number {
    let mut change = app.change(Actor::system()).await.unwrap();
    let (id, number, now) = (change.new_id(), change.number(SERIES).await.unwrap(), change.now());
    let (site, account, name, credential) = (account.site, account.id, "x", "{}");
    let new = New { id, number, site, account, digest, name, credential, counter: 0, transports: "", now };
    store::insert(change.tx(), &new).await.unwrap();
    change.record(PasskeyEvent::Added { account, passkey: id }).await.unwrap();
    change.commit().await.unwrap();
    number
}

async fn try_to_remove(app: &TestApp, account: Id, number: Number) -> Result<(), NotRemoved> {
    let mut change = app.change(Actor::system()).await.unwrap();
    let kept = Id::from_u128(1);
    remove(&mut change, account, kept, number, false).await?;
    change.commit().await?;
    Ok(())
}

on_every_store! {
    async fn a_challenge_counts_once_for_what_it_was_made_for_and_not_for_long(store: TestStore) {
        let app = scene(store).await;
        let whom = with(Id::from_u128(7));
        let text = seal(&app, Purpose::LogIn, whom, &"state").unwrap();
        assert_eq!(take::<String>(&app, Purpose::Register, &text).await.unwrap(), None, "for something else");
        let taken = take::<String>(&app, Purpose::LogIn, &text).await.unwrap();
        assert_eq!(taken, Some((whom, "state".to_owned())));
        assert_eq!(take::<String>(&app, Purpose::LogIn, &text).await.unwrap(), None, "twice");
        let text = seal(&app, Purpose::LogIn, whom, &"state").unwrap();
        app.clock.advance(Duration::from_mins(5));
        assert_eq!(take::<String>(&app, Purpose::LogIn, &text).await.unwrap(), None, "late");
        for text in ["", "A", "é", "AAAA"] {
            assert_eq!(take::<String>(&app, Purpose::LogIn, text).await.unwrap(), None, "{text}");
        }
    }

    async fn a_challenge_is_as_long_for_nobody_as_for_somebody(store: TestStore) {
        let app = scene(store).await;
        let mut lengths = Vec::new();
        for account in [NONE, Id::from_u128(u128::MAX), app.new_id()] {
            lengths.push(seal(&app, Purpose::LogIn, with(account), &"state").unwrap().len());
        }
        assert!(lengths.windows(2).all(|two| two[0] == two[1]), "{lengths:?}");
    }

    async fn the_only_way_in_is_not_taken_away(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada").await;
        let (one, two) = (add_row(&app, &ada, "one").await, add_row(&app, &ada, "two").await);
        let (first, second) = tokio::join!(try_to_remove(&app, ada.id, one), try_to_remove(&app, ada.id, two));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let left = if first.is_ok() { two } else { one };
        assert!(matches!(try_to_remove(&app, ada.id, left).await, Err(NotRemoved::Last)));
        let mut change = app.change(Actor::system()).await.unwrap();
        let beside = remove(&mut change, ada.id, Id::from_u128(1), left, true).await;
        assert!(beside.is_ok(), "a provider or a directory opens it too: {beside:?}");
        drop(change);
        let hash = account::PasswordHash::new(app.hasher.hash(Secret::new("x".to_owned())).await.unwrap());
        let new = account::NewPassword {
            was: None,
            hash: &hash,
            must_change: account::MustChange::No,
            how: How::Owner,
            history: 0,
        };
        let mut change = app.change(Actor::system()).await.unwrap();
        assert!(account::set_password(&mut change, ada.id, new).await.unwrap());
        change.commit().await.unwrap();
        assert!(try_to_remove(&app, ada.id, left).await.is_ok(), "there is a password now");
        assert!(matches!(try_to_remove(&app, ada.id, left).await, Err(NotRemoved::Unknown)));
    }

    async fn a_site_has_a_credential_once_and_an_account_only_its_own(store: TestStore) {
        let app = scene(store).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let number = add_row(&app, &ada, "one").await;
        add_row(&app, &ada, "two").await;
        let mut change = app.change(Actor::system()).await.unwrap();
        let again = New {
            id: change.new_id(),
            number: change.number(SERIES).await.unwrap(),
            site: bob.site,
            account: bob.id,
            digest: "one",
            name: "x",
            credential: "{}",
            counter: 0,
            transports: "",
            now: change.now(),
        };
        assert!(matches!(store::insert(change.tx(), &again).await, Err(Error::Conflict(_))));
        drop(change);
        assert!(matches!(try_to_remove(&app, bob.id, number).await, Err(NotRemoved::Unknown)));
        assert_eq!(count_of(&app.db, ada.id).await.unwrap(), 2);
    }
}
