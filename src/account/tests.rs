//! What an account promises, on every database.

use std::time::Duration;

use futures::future::join_all;

use super::*;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor};
use crate::base::{Email, Phone};
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, sql};

fn ada() -> NewAccount {
    NewAccount {
        email: Some(Email::parse("ada@example.com").unwrap()),
        phone: Some(Phone::parse("+33612345678").unwrap()),
        username: Some(Username::parse("ada").unwrap()),
        password_hash: Some(PasswordHash::new("first".to_owned())),
        first_name: "Ada".to_owned(),
        ..NewAccount::of(DEFAULT_SITE)
    }
}

async fn make(app: &TestApp, new: &NewAccount) -> Result<Account, WriteError> {
    let mut change = app.change(Actor::system()).await?;
    let account = create(&mut change, new, How::Owner).await?;
    change.commit().await?;
    Ok(account)
}

async fn codes(app: &TestApp) -> Vec<String> {
    audit::tail(&app.db, 0, 1000).await.unwrap().into_iter().map(|row| row.code).collect()
}

async fn read(app: &TestApp, account: &Account) -> Account {
    by_id(&app.db, account.id).await.unwrap().unwrap()
}

fn password<'a>(was: &'a PasswordHash, hash: &'a PasswordHash, history: u32) -> NewPassword<'a> {
    NewPassword { was: Some(was), hash, must_change: MustChange::No, how: How::Owner, history }
}

/// Keeps somebody out in one of the ways there are.
async fn shut_out(change: &mut Change<'_>, account: Id, way: usize) -> Result<bool, Error> {
    match way % 4 {
        0 => set_activity(change, account, Activity::Inactive).await,
        1 => set_ban(change, account, Ban::Imposed).await,
        2 => erase(change, account, How::Administrator).await,
        _ => lock(change, account, None).await,
    }
}

/// Runs one operation as a change of its own.
macro_rules! in_change {
    ($app:expr, |$change:ident| $operation:expr) => {{
        let mut $change = $app.change(Actor::command_line()).await.unwrap();
        let done = $operation.await.unwrap();
        if done {
            $change.commit().await.unwrap();
        }
        done
    }};
}

on_every_store! {
    async fn an_account_is_found_by_every_name_it_has(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let made = make(&app, &ada()).await.unwrap();
        assert_eq!((made.first_name.as_str(), made.is_active, made.is_staff), ("Ada", true, false));
        for name in ["ada@example.com", "ADA@Example.com", "+33 6 12 34 56 78", "Ada", &made.id.to_string(),
            &made.number.to_string()] {
            let found = find(&app.db, DEFAULT_SITE, &name.parse().unwrap()).await.unwrap();
            assert_eq!(found.map(|found| found.id), Some(made.id), "{name}");
        }
        let elsewhere = Id::from_u128(77);
        assert!(find(&app.db, elsewhere, &"ada".parse().unwrap()).await.unwrap().is_none());
        assert_eq!(list(&app.db, DEFAULT_SITE, 10, 0).await.unwrap().len(), 1);
        assert_eq!(list(&app.db, DEFAULT_SITE, 10, 1).await.unwrap().len(), 0);
        assert_eq!(codes(&app).await, ["account_created"]);
    }

    async fn a_superuser_counts_where_their_standing_is_good(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let now = app.now();
        let moment = |millis: i64| Some(Timestamp::from_millis(now.as_millis() + millis));
        for case in 0..32_u32 {
            let site = Id::from_u128(1000 + u128::from(case));
            let own = make(&app, &NewAccount { is_superuser: true, ..NewAccount::of(site) }).await.unwrap();
            let is_set = |bit: u32| case & (1 << bit) != 0;
            let until = [None, moment(-1), moment(0), moment(1)][(case >> 3) as usize];
            let mut tx = app.db.begin().await.unwrap();
            let stmt = sql("UPDATE account SET is_active = ?, is_banned = ?, is_locked = ?, locked_until = ? WHERE id = ?");
            let stmt = stmt.bind(is_set(0)).bind(is_set(1)).bind(is_set(2)).bind(until).bind(own.id);
            tx.execute(stmt).await.unwrap();
            tx.commit().await.unwrap();
            let is_good = read(&app, &own).await.standing(now) == Standing::Good;
            let mut change = app.change(Actor::command_line()).await.unwrap();
            assert_eq!(has_superuser(&mut change, site).await.unwrap(), is_good, "{case}");
        }
    }

    async fn of_twenty_registrations_of_one_address_one_is_made(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let new = NewAccount { phone: None, username: None, ..ada() };
        let outcomes = join_all((0..20).map(|_| make(&app, &new))).await;
        let taken = |outcome: &Result<Account, WriteError>| matches!(outcome, Err(WriteError::Taken(Taken::Email)));
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| taken(outcome)).count(), 19, "{outcomes:?}");
        assert_eq!(list(&app.db, DEFAULT_SITE, 100, 0).await.unwrap().len(), 1);
        assert_eq!(codes(&app).await, ["account_created"], "who lost left no trace");
    }

    async fn each_name_is_unique_within_its_site_and_free_in_another(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        make(&app, &ada()).await.unwrap();
        let bare = NewAccount::of(DEFAULT_SITE);
        for (new, taken) in [
            (NewAccount { email: ada().email, ..bare.clone() }, Taken::Email),
            (NewAccount { phone: ada().phone, ..bare.clone() }, Taken::Phone),
            (NewAccount { username: ada().username, ..bare.clone() }, Taken::Username),
        ] {
            let refused = make(&app, &new).await;
            assert!(matches!(refused, Err(WriteError::Taken(found)) if found == taken), "{refused:?}");
        }
        make(&app, &NewAccount { site: Id::from_u128(77), ..ada() }).await.unwrap();
        // Nothing is unique about not having a name.
        make(&app, &bare).await.unwrap();
        make(&app, &bare).await.unwrap();
    }

    async fn a_password_is_changed_by_whoever_saw_the_present_one(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &NewAccount { must_change_password: true, ..ada() }).await.unwrap();
        let hashes: Vec<_> = (0..5).map(|n| PasswordHash::new(format!("hash {n}"))).collect();
        let first = PasswordHash::new("first".to_owned());
        let outcomes = join_all(hashes.iter().map(|hash| {
            let (app, first) = (&app, &first);
            async move { in_change!(app, |change| set_password(&mut change, account.id, password(first, hash, 2))) }
        }))
        .await;
        assert_eq!(outcomes.iter().filter(|done| **done).count(), 1);
        let winner = &hashes[outcomes.iter().position(|done| *done).unwrap()];
        let now = read(&app, &account).await;
        assert_eq!((now.password_hash.as_ref(), now.must_change_password), (Some(winner), false));
        assert_eq!(former_passwords(&app.db, account.id, 5).await.unwrap(), std::slice::from_ref(&first));
    }

    async fn only_so_many_former_passwords_are_remembered(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &ada()).await.unwrap();
        let hashes: Vec<_> = ["first", "second", "third", "fourth"].map(|text| PasswordHash::new(text.to_owned())).into();
        for pair in hashes.windows(2) {
            app.clock.advance(Duration::from_secs(1));
            assert!(in_change!(app, |change| set_password(&mut change, account.id, password(&pair[0], &pair[1], 2))));
        }
        let former = former_passwords(&app.db, account.id, 9).await.unwrap();
        assert_eq!(former, [hashes[2].clone(), hashes[1].clone()]);
        let last = PasswordHash::new("last".to_owned());
        assert!(in_change!(app, |change| set_password(&mut change, account.id, password(&hashes[3], &last, 0))));
        assert!(former_passwords(&app.db, account.id, 9).await.unwrap().is_empty());
    }

    async fn a_lock_holds_until_its_end_or_until_it_is_lifted(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &ada()).await.unwrap();
        let until = app.now().plus(Duration::from_mins(5));
        assert!(in_change!(app, |change| lock(&mut change, account.id, Some(until))));
        let locked = read(&app, &account).await;
        assert_eq!(locked.standing(app.now()), Standing::Locked { until: Some(until) });
        assert!(!in_change!(app, |change| note_login(&mut change, &account)));
        assert!(!in_change!(app, |change| hold(&mut change, account.id)));
        app.clock.set(until);
        assert_eq!(locked.standing(app.now()), Standing::Good);
        let mut change = app.change(Actor::system()).await.unwrap();
        assert!(note_login(&mut change, &account).await.unwrap());
        drop(change);
        assert!(in_change!(app, |change| lock(&mut change, account.id, None)));
        app.clock.advance(Duration::from_hours(24 * 365));
        assert_eq!(read(&app, &account).await.standing(app.now()), Standing::Locked { until: None });
        assert!(in_change!(app, |change| unlock(&mut change, account.id)));
        assert!(!in_change!(app, |change| unlock(&mut change, account.id)));
        assert_eq!(codes(&app).await, ["account_created", "account_locked", "account_locked", "account_unlocked"]);
    }

    async fn an_inactive_account_may_do_nothing(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &ada()).await.unwrap();
        assert!(in_change!(app, |change| set_activity(&mut change, account.id, Activity::Inactive)));
        assert!(!in_change!(app, |change| set_activity(&mut change, account.id, Activity::Inactive)));
        assert_eq!(read(&app, &account).await.standing(app.now()), Standing::Inactive);
        assert!(!in_change!(app, |change| note_login(&mut change, &account)));
        assert!(in_change!(app, |change| set_activity(&mut change, account.id, Activity::Active)));
        assert_eq!(read(&app, &account).await.standing(app.now()), Standing::Good);
    }

    async fn a_banned_account_may_do_nothing_until_the_ban_is_lifted(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &ada()).await.unwrap();
        assert!(!in_change!(app, |change| set_ban(&mut change, account.id, Ban::Lifted)));
        assert!(in_change!(app, |change| set_ban(&mut change, account.id, Ban::Imposed)));
        assert!(!in_change!(app, |change| set_ban(&mut change, account.id, Ban::Imposed)));
        let banned = read(&app, &account).await;
        assert_eq!((banned.standing(app.now()), banned.is_active), (Standing::Banned, false));
        assert!(!in_change!(app, |change| note_login(&mut change, &account)));
        assert!(!in_change!(app, |change| hold(&mut change, account.id)));
        assert!(in_change!(app, |change| set_ban(&mut change, account.id, Ban::Lifted)));
        assert_eq!(read(&app, &account).await.standing(app.now()), Standing::Good);
        assert_eq!(codes(&app).await, ["account_created", "account_banned", "account_unbanned"]);
    }

    async fn what_was_not_given_cannot_be_verified(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &NewAccount { phone: None, ..ada() }).await.unwrap();
        assert!(!in_change!(app, |change| verify(&mut change, account.id, Channel::Phone, How::Administrator)));
        assert!(in_change!(app, |change| verify(&mut change, account.id, Channel::Email, How::Administrator)));
        assert!(!in_change!(app, |change| verify(&mut change, account.id, Channel::Email, How::Administrator)));
        let now = read(&app, &account).await;
        assert_eq!((now.is_email_verified, now.is_phone_verified), (true, false));
        let born_verified = make(&app, &NewAccount { is_verified: true, ..NewAccount::of(DEFAULT_SITE) }).await;
        assert!(!born_verified.unwrap().is_email_verified, "there is no address to be verified");
    }

    async fn an_edit_touches_the_fields_it_names_and_no_others(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let account = make(&app, &ada()).await.unwrap();
        let change_one = async |field: Field| {
            let mut change = app.change(Actor::system()).await.unwrap();
            let edited = edit(&mut change, account.id, &[field]).await;
            if edited.is_ok() {
                change.commit().await.unwrap();
            }
            edited.map(Option::unwrap)
        };
        let custom = serde_json::json!({"colour": ["red"]});
        change_one(Field::Bio("mathematician".to_owned())).await.unwrap();
        change_one(Field::Custom(Some(custom.clone()))).await.unwrap();
        let pending = Email::parse("new@example.com").unwrap();
        let edited = change_one(Field::PendingEmail(Some(pending.clone()))).await.unwrap();
        assert_eq!((edited.bio.as_str(), edited.custom_fields()), ("mathematician", custom));
        assert_eq!((edited.email, edited.pending_email), (account.email.clone(), Some(pending)));
        make(&app, &NewAccount { username: Username::parse("bob").ok(), ..NewAccount::of(DEFAULT_SITE) }).await.unwrap();
        let taken = change_one(Field::Username(Username::parse("bob").ok())).await;
        assert!(matches!(taken, Err(WriteError::Taken(Taken::Username))), "{taken:?}");
        let codes = codes(&app).await;
        assert_eq!(codes[1..4], ["profile_changed", "profile_changed", "contact_pending"]);
    }

    async fn flags_are_raised_and_lowered_once_and_told_with_what_they_are_now(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = make(&app, &ada()).await.unwrap();
        for flag in [Flag::Staff, Flag::Superuser] {
            assert!(in_change!(app, |change| raise(&mut change, ada.id, flag)));
            assert!(!in_change!(app, |change| raise(&mut change, ada.id, flag)), "it is so already");
        }
        let own = read(&app, &ada).await;
        assert_eq!((own.is_staff, own.is_superuser), (true, true));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert_eq!(lower(&mut change, ada.id, Flag::Superuser).await.unwrap(), Lowered::LastSuperuser);
        assert_eq!(lower(&mut change, ada.id, Flag::Staff).await.unwrap(), Lowered::Yes);
        assert_eq!(lower(&mut change, ada.id, Flag::Staff).await.unwrap(), Lowered::WasNot);
        change.commit().await.unwrap();
        let own = read(&app, &ada).await;
        assert_eq!((own.is_staff, own.is_superuser), (false, true));
        let rows = audit::tail(&app.db, 0, 1000).await.unwrap();
        let told = rows.iter().filter(|row| row.code == "account_flags_changed").count();
        assert_eq!(told, 3);
    }

    async fn who_cannot_log_in_does_not_count_as_another_superuser(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = make(&app, &NewAccount { is_superuser: true, ..ada() }).await.unwrap();
        let bob = make(&app, &NewAccount { is_superuser: true, ..NewAccount::of(DEFAULT_SITE) }).await.unwrap();
        assert!(in_change!(app, |change| set_ban(&mut change, bob.id, Ban::Imposed)));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert_eq!(lower(&mut change, ada.id, Flag::Superuser).await.unwrap(), Lowered::LastSuperuser);
        assert_eq!(lower(&mut change, bob.id, Flag::Superuser).await.unwrap(), Lowered::Yes);
        change.commit().await.unwrap();
    }

    async fn of_sixteen_superusers_who_are_lowered_at_once_one_stays(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let mut all = Vec::new();
        for _ in 0..16 {
            let new = NewAccount { is_superuser: true, ..NewAccount::of(DEFAULT_SITE) };
            all.push(make(&app, &new).await.unwrap());
        }
        let lowered = join_all(all.iter().map(|own| crate::store::again(|| async {
            let mut change = app.change(Actor::command_line()).await?;
            let lowered = lower(&mut change, own.id, Flag::Superuser).await?;
            if lowered == Lowered::Yes {
                change.commit().await?;
            }
            Ok::<_, Error>(lowered)
        })))
        .await;
        let mut count = lowered.iter().filter(|one| matches!(one, Ok(Lowered::Yes))).count();
        // Some may have been told to come back, and do, one after the other.
        for (_, own) in lowered.iter().zip(&all).filter(|(one, _)| matches!(one, Err(Error::Busy))) {
            let mut change = app.change(Actor::command_line()).await.unwrap();
            if lower(&mut change, own.id, Flag::Superuser).await.unwrap() == Lowered::Yes {
                change.commit().await.unwrap();
                count += 1;
            }
        }
        assert_eq!(count, 15, "{lowered:?}");
    }

    async fn the_last_superuser_is_not_shut_out_in_any_way(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let ada = make(&app, &NewAccount { is_superuser: true, ..ada() }).await.unwrap();
        let bob = make(&app, &NewAccount { is_superuser: true, ..NewAccount::of(DEFAULT_SITE) }).await.unwrap();
        let eve = make(&app, &NewAccount::of(DEFAULT_SITE)).await.unwrap();
        assert!(in_change!(app, |change| lock(&mut change, bob.id, None)), "there is another one");
        for way in 0..4 {
            assert!(!in_change!(app, |change| shut_out(&mut change, ada.id, way)), "{way}");
            let mut change = app.change(Actor::command_line()).await.unwrap();
            assert!(is_last_superuser(&mut change, ada.id).await.unwrap());
            assert!(!is_last_superuser(&mut change, eve.id).await.unwrap(), "is none");
        }
        assert_eq!(read(&app, &ada).await.standing(app.now()), Standing::Good);
        assert!(in_change!(app, |change| unlock(&mut change, bob.id)));
        assert!(in_change!(app, |change| shut_out(&mut change, ada.id, 0)));
        assert!(!in_change!(app, |change| shut_out(&mut change, bob.id, 1)));
        assert!(in_change!(app, |change| shut_out(&mut change, eve.id, 1)), "others are nobody's last");
    }

    async fn of_64_superusers_who_are_shut_out_at_once_one_stays(store: TestStore) {
        let app = TestApp::on(store, With::default()).await;
        let mut all = Vec::new();
        for _ in 0..64 {
            let new = NewAccount { is_superuser: true, ..NewAccount::of(DEFAULT_SITE) };
            all.push(make(&app, &new).await.unwrap());
        }
        let attempt = async |own: &Account, way: usize| {
            let mut change = app.change(Actor::command_line()).await?;
            let is_done = shut_out(&mut change, own.id, way).await?;
            if is_done {
                change.commit().await?;
            }
            Ok::<_, Error>(is_done)
        };
        let tries = all.iter().enumerate();
        let first = join_all(tries.map(|(way, own)| crate::store::again(move || attempt(own, way)))).await;
        let mut gone = first.iter().filter(|one| matches!(one, Ok(true))).count();
        // Some may have been told to come back, or waited for a connection in vain, and do it one after the other.
        for (way, own) in all.iter().enumerate() {
            if first[way].is_err() && attempt(own, way).await.unwrap() {
                gone += 1;
            }
        }
        assert_eq!(gone, 63, "{first:?}");
    }
}

#[test]
fn the_user_object_has_every_key_of_the_contract() {
    let keys = [
        "avatar",
        "bio",
        "created_at",
        "custom_fields",
        "email",
        "first_name",
        "id",
        "is_2fa_enabled",
        "is_active",
        "is_email_verified",
        "is_phone_verified",
        "language",
        "last_login",
        "last_name",
        "permissions",
        "phone",
        "preferences",
        "roles",
        "timezone",
        "updated_at",
        "username",
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let account = runtime.block_on(async {
        let app = TestApp::new().await;
        make(&app, &ada()).await.unwrap()
    });
    let code = |text: &str| text.parse().unwrap();
    let shown = serde_json::to_value(user(&account, &[code("admin")], &[code("users.view")])).unwrap();
    let found: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(found, keys);
    assert_eq!(shown["created_at"], "2026-11-20T10:00:00.000000Z");
    assert_eq!((&shown["roles"][0], &shown["permissions"][0]), (&"admin".into(), &"users.view".into()));
}
