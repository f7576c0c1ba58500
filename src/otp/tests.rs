//! What one-time codes promise, on every database: few tries, one use, one purpose.

use futures::future::join_all;
use serde_json::Map;

use super::contact::{Confirmed, Unconfirmed, confirm};
use super::*;
use crate::account::{self, Field, NewAccount, Target};
use crate::app::testing::{TestApp, With};
use crate::audit::{self, How};
use crate::base::{Email, Phone};
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose as KeyPurpose};
use crate::http::{Table, law};
use crate::notify::testing::{Waiting, waiting};
use crate::on_every_store;
use crate::session;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Source as _, sql};

const BOTH: &str = "mail: { via: console }\nsms: { via: console }\n";

struct Scene {
    app: TestApp,
    account: Account,
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

impl Scene {
    async fn on(store: TestStore, yaml: &'static str) -> Self {
        let with = With { yaml, reactions: vec![session::react], ..With::default() };
        let app = TestApp::on(store, with).await;
        let account = person(&app, "ada@example.com", Some("+33612345678")).await;
        Self { app, account }
    }

    fn which(&self, channel: Contact) -> Which {
        Which { account: self.account.id, purpose: Purpose::Contact, channel }
    }

    async fn send(&self, channel: Contact) -> Result<Sent, NotSent> {
        let account = account::by_id(&self.app.db, self.account.id).await?.unwrap();
        let to = contact::target_of(&account, channel).unwrap();
        let mut change = self.app.change(Actor::system()).await?;
        let errand = Errand { account: &account, purpose: Purpose::Contact, to: &to, form: Form::Code };
        let sent = send(&mut change, &errand).await?;
        change.commit().await?;
        Ok(sent)
    }

    /// A new code, as the person reads it.
    async fn code(&self, channel: Contact) -> Digits {
        self.send(channel).await.unwrap();
        Digits::parse(&self.last().await.code()).unwrap()
    }

    async fn last(&self) -> Waiting {
        waiting(&self.app).await.pop().expect("a message")
    }

    async fn check(&self, channel: Contact, code: &Digits) -> Result<Proof, Refused> {
        check(&self.app, self.which(channel), code, Actor::system()).await
    }

    async fn confirm(&self, sid: Id, proof: &Proof) -> Result<Confirmed, Unconfirmed> {
        let mut change = self.app.change(Actor::system()).await?;
        let confirmed = confirm(&mut change, self.account.id, sid, proof).await?;
        change.commit().await?;
        Ok(confirmed)
    }

    async fn wish(&self, field: Field) {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        account::edit(&mut change, self.account.id, &[field]).await.unwrap();
        change.commit().await.unwrap();
    }

    async fn stored(&self) -> Account {
        account::by_id(&self.app.db, self.account.id).await.unwrap().unwrap()
    }

    async fn count(&self, code: &str) -> usize {
        let rows = audit::tail(&self.app.db, 0, 1000).await.unwrap();
        rows.iter().filter(|row| row.code == code).count()
    }
}

async fn person(app: &TestApp, address: &str, phone: Option<&str>) -> Account {
    made(app, address, phone, |_| {}).await
}

async fn made(
    app: &TestApp,
    address: &str,
    phone: Option<&str>,
    change_it: impl FnOnce(&mut NewAccount),
) -> Account {
    let mut new = NewAccount {
        email: Some(email(address)),
        phone: phone.map(|phone| Phone::parse(phone).unwrap()),
        ..NewAccount::of(DEFAULT_SITE)
    };
    change_it(&mut new);
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, &new, How::Owner).await.unwrap();
    change.commit().await.unwrap();
    account
}

/// Six digits that are not these.
fn other(code: &Digits, add: u32) -> Digits {
    let number: u32 = code.expose().parse().unwrap();
    Digits::parse(&format!("{:06}", (number + add) % 1_000_000)).unwrap()
}

const NOBODY: Id = Id::from_u128(9);

on_every_store! {
    async fn what_is_sent_to_one_address_is_limited_whoever_asks(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let app = &scene.app;
        let victim = Target::Email(email("victim@example.com"));
        let mut people = Vec::new();
        for number in 0..12 {
            people.push(person(app, &format!("p{number}@example.com"), None).await);
        }
        let ask = async |account: &Account, to: &Target| {
            let mut change = app.change(Actor::system()).await.unwrap();
            let errand = Errand { account, purpose: Purpose::Contact, to, form: Form::Code };
            let sent = send(&mut change, &errand).await?;
            change.commit().await?;
            Ok::<Sent, NotSent>(sent)
        };
        let racing = join_all(people[..8].iter().map(|account| ask(account, &victim))).await;
        assert_eq!(racing.iter().filter(|sent| sent.is_ok()).count(), 1, "{racing:?}");
        let began = app.now();
        for (account, number) in people[8..].iter().zip(1..) {
            assert!(matches!(ask(account, &victim).await, Err(NotSent::TooSoon { until }) if until == app.now().plus(COOL_DOWN)));
            app.clock.advance(COOL_DOWN);
            assert!(ask(account, &victim).await.is_ok(), "{number}");
        }
        app.clock.advance(COOL_DOWN);
        let other = person(app, "q@example.com", None).await;
        let enough = ask(&other, &victim).await;
        assert!(matches!(enough, Err(NotSent::TooSoon { until }) if until == began.plus(FORGOTTEN_AFTER)), "{enough:?}");
        // Who was refused may be sent one elsewhere, and nobody else is held up.
        assert!(ask(&other, &Target::Email(email("q@example.com"))).await.is_ok());
        assert!(scene.send(Contact::Email).await.is_ok());
        assert_eq!(waiting(app).await.iter().filter(|one| one.to == "victim@example.com").count(), 5);
        app.clock.advance(FORGOTTEN_AFTER);
        assert!(ask(&other, &victim).await.is_ok());
        let rows: Vec<(String,)> = (&app.db).all(sql("SELECT digest FROM code_target")).await.unwrap();
        assert!(rows.iter().all(|(digest,)| digest.len() == 64), "no address is kept: {rows:?}");
        app.clock.advance(FORGOTTEN_AFTER + app.config().retention.otp_codes + Duration::from_secs(1));
        while sweep(app).await.unwrap() > 0 {}
        let (left,): (i64,) = (&app.db).one(sql("SELECT COUNT(*) FROM code_target")).await.unwrap();
        assert_eq!(left, 0);
    }

    async fn wishes_neither_hold_up_who_has_an_address_nor_learn_of_them(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let app = &scene.app;
        let to = Target::Email(email("victim@example.com"));
        let eve = person(app, "eve@example.com", None).await;
        let sent = async |account: &Account| {
            let mut change = app.change(Actor::system()).await.unwrap();
            let errand = Errand { account, purpose: Purpose::Contact, to: &to, form: Form::Code };
            let sent = send(&mut change, &errand).await?;
            change.commit().await?;
            Ok::<Sent, NotSent>(sent)
        };
        for _ in 0..SENDS {
            sent(&eve).await.unwrap();
            app.clock.advance(COOL_DOWN);
        }
        assert!(sent(&eve).await.is_err());
        let victim = person(app, "victim@example.com", None).await;
        assert!(sent(&victim).await.is_ok(), "whoever registers is sent a code");
        // What went to the one who has it is not seen by another who wishes for it.
        let mallory = person(app, "mallory@example.com", None).await;
        app.clock.advance(FORGOTTEN_AFTER);
        assert!(sent(&mallory).await.is_ok());
        app.clock.advance(COOL_DOWN);
        assert!(sent(&victim).await.is_ok());
        assert!(sent(&mallory).await.is_ok(), "a moment after the other");
    }

    async fn who_is_sent_no_code_at_another_address_keeps_the_one_before(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let app = &scene.app;
        let code = scene.code(Contact::Email).await;
        let other = person(app, "eve@example.com", None).await;
        let to = Target::Email(email("new@example.com"));
        let mut change = app.change(Actor::system()).await.unwrap();
        ask(&mut change, &other, &to).await.unwrap();
        change.commit().await.unwrap();
        app.clock.advance(COOL_DOWN.saturating_sub(Duration::from_secs(1)));
        let mut change = app.change(Actor::system()).await.unwrap();
        account::edit(&mut change, scene.account.id, &[Field::Bio("hi".to_owned())]).await.unwrap();
        ask(&mut change, &scene.account, &to).await.unwrap();
        change.commit().await.unwrap();
        assert!(scene.check(Contact::Email, &code).await.is_ok());
    }

    async fn a_code_proves_the_address_that_it_went_to_and_is_used_by_that(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let code = scene.code(Contact::Email).await;
        assert_eq!(scene.last().await.to, "ada@example.com");
        let proof = scene.check(Contact::Email, &code).await.unwrap();
        let confirmed = scene.confirm(NOBODY, &proof).await.unwrap();
        assert_eq!(confirmed, Confirmed::Proved(Target::Email(email("ada@example.com"))));
        let account = scene.stored().await;
        assert_eq!((account.is_email_verified, account.is_phone_verified), (true, false));
        assert!(matches!(scene.check(Contact::Email, &code).await, Err(Refused::Unknown)));
        assert!(matches!(scene.confirm(NOBODY, &proof).await, Err(Unconfirmed::Refused)));
        assert_eq!(scene.count("email_verified").await, 1);
    }

    async fn of_sixty_four_uses_of_one_code_one_counts(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let code = scene.code(Contact::Phone).await;
        let uses = join_all((0..64).map(|_| async {
            let proof = scene.check(Contact::Phone, &code).await.ok()?;
            scene.confirm(NOBODY, &proof).await.ok()
        }))
        .await;
        assert_eq!(uses.iter().flatten().count(), 1);
        assert_eq!(scene.count("phone_verified").await, 1);
        assert_eq!(scene.count("code_refused").await, 0, "a right code is no wrong try");
    }

    async fn of_sixty_four_guesses_at_once_five_are_judged(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let code = scene.code(Contact::Email).await;
        let guesses: Vec<Digits> = (1..=64).map(|add| other(&code, add)).collect();
        let judged = join_all(guesses.iter().map(|guess| scene.check(Contact::Email, guess))).await;
        let wrong = judged.iter().filter(|one| matches!(one, Err(Refused::Wrong { .. }))).count();
        assert_eq!((wrong, scene.count("code_refused").await), (5, 5));
        assert!(matches!(scene.check(Contact::Email, &code).await, Err(Refused::Over)), "the right one too");
    }

    async fn a_new_code_does_not_bring_tries_back_until_they_are_forgotten(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let first = scene.code(Contact::Email).await;
        for left in (1..=4).rev() {
            let refused = scene.check(Contact::Email, &other(&first, 1)).await;
            assert!(matches!(refused, Err(Refused::Wrong { left: found }) if found == left), "{refused:?}");
        }
        scene.app.clock.advance(COOL_DOWN);
        let second = scene.code(Contact::Email).await;
        assert!(matches!(scene.check(Contact::Email, &other(&second, 1)).await, Err(Refused::Wrong { left: 0 })));
        scene.app.clock.advance(COOL_DOWN);
        let third = scene.code(Contact::Email).await;
        assert!(matches!(scene.check(Contact::Email, &third).await, Err(Refused::Over)));
        scene.app.clock.advance(FORGOTTEN_AFTER);
        let fourth = scene.code(Contact::Email).await;
        assert!(scene.check(Contact::Email, &fourth).await.is_ok());
        assert!(matches!(scene.check(Contact::Email, &third).await, Err(Refused::Wrong { left: 4 })), "an old one");
    }

    async fn a_code_counts_for_its_own_channel_account_and_time(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let bob = person(&scene.app, "bob@example.com", None).await;
        let code = scene.code(Contact::Email).await;
        assert!(matches!(scene.check(Contact::Phone, &code).await, Err(Refused::Unknown)));
        let of_bob = Which { account: bob.id, ..scene.which(Contact::Email) };
        assert!(matches!(check(&scene.app, of_bob, &code, Actor::system()).await, Err(Refused::Unknown)));
        let proof = scene.check(Contact::Email, &code).await.unwrap();
        scene.app.clock.advance(scene.app.config().login.otp.valid_for);
        assert!(matches!(scene.confirm(NOBODY, &proof).await, Err(Unconfirmed::Refused)));
        assert!(matches!(scene.check(Contact::Email, &code).await, Err(Refused::Over)));
    }

    async fn codes_are_sent_with_pauses_and_not_too_many(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        for _ in 0..5 {
            scene.send(Contact::Email).await.unwrap();
            let soon = scene.send(Contact::Email).await;
            assert!(matches!(soon, Err(NotSent::TooSoon { until }) if until > scene.app.now()), "{soon:?}");
            scene.send(Contact::Phone).await.unwrap();
            scene.app.clock.advance(COOL_DOWN);
        }
        let enough = scene.send(Contact::Email).await;
        let Err(NotSent::TooSoon { until }) = enough else { panic!("{enough:?}") };
        assert_eq!(waiting(&scene.app).await.len(), 10);
        scene.app.clock.set(until);
        scene.send(Contact::Email).await.unwrap();
        scene.app.clock.advance(FORGOTTEN_AFTER * 2 + scene.app.config().retention.otp_codes);
        assert_eq!(sweep(&scene.app).await.unwrap(), 2);
    }

    async fn a_change_takes_effect_at_the_new_address_and_is_told_to_the_old_one(store: TestStore) {
        let mut scene = Scene::on(store, BOTH).await;
        scene.account = made(&scene.app, "eve@example.com", None, |new| new.is_verified = true).await;
        let (mine, stolen) = (scene.log_in().await, scene.log_in().await);
        scene.wish(Field::PendingEmail(Some(email("new@example.com")))).await;
        let code = scene.code(Contact::Email).await;
        assert_eq!(scene.last().await.to, "new@example.com");
        let proof = scene.check(Contact::Email, &code).await.unwrap();
        scene.app.clock.advance(Duration::from_secs(1));
        let confirmed = scene.confirm(mine, &proof).await.unwrap();
        assert_eq!(confirmed, Confirmed::Changed(Target::Email(email("new@example.com"))));
        let account = scene.stored().await;
        assert_eq!(account.email, Some(email("new@example.com")));
        assert_eq!((account.pending_email, account.is_email_verified), (None, true));
        let notice = scene.last().await;
        assert_eq!(notice.to, "eve@example.com");
        assert!(notice.text.contains("n***@example.com") && !notice.text.contains("new@"), "{}", notice.text);
        let live = session::live_of(&scene.app.db, account.id, scene.app.now()).await.unwrap();
        assert_eq!(live.iter().map(|session| session.id).collect::<Vec<_>>(), [mine], "not {stolen}");
    }

    async fn what_is_wished_for_no_more_is_not_confirmed(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        scene.wish(Field::PendingPhone(Some(Phone::parse("+33600000001").unwrap()))).await;
        let code = scene.code(Contact::Phone).await;
        assert_eq!(scene.last().await.to, "+33600000001");
        let proof = scene.check(Contact::Phone, &code).await.unwrap();
        scene.wish(Field::PendingPhone(Some(Phone::parse("+33600000002").unwrap()))).await;
        assert!(matches!(scene.confirm(NOBODY, &proof).await, Err(Unconfirmed::Refused)));
        assert_eq!(scene.stored().await.phone, scene.account.phone);
    }

    async fn of_two_who_prove_one_address_the_first_has_it(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        scene.wish(Field::PendingEmail(Some(email("both@example.com")))).await;
        let code = scene.code(Contact::Email).await;
        person(&scene.app, "both@example.com", None).await;
        let proof = scene.check(Contact::Email, &code).await.unwrap();
        assert!(matches!(scene.confirm(NOBODY, &proof).await, Err(Unconfirmed::Taken)));
        assert_eq!(scene.stored().await.email, scene.account.email);
    }

    async fn who_may_do_nothing_confirms_nothing(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let code = scene.code(Contact::Email).await;
        let proof = scene.check(Contact::Email, &code).await.unwrap();
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        account::lock(&mut change, scene.account.id, None).await.unwrap();
        change.commit().await.unwrap();
        assert!(matches!(scene.confirm(NOBODY, &proof).await, Err(Unconfirmed::Refused)));
    }

    async fn the_store_and_the_trail_never_hold_a_code(store: TestStore) {
        let scene = Scene::on(store, BOTH).await;
        let code = scene.code(Contact::Email).await;
        let wrong = other(&code, 7);
        let refused = scene.check(Contact::Email, &wrong).await;
        let rows = sql("SELECT code_digest, target FROM one_time_code");
        let rows: Vec<(String, String)> = (&scene.app.db).all(rows).await.unwrap();
        let trail = format!("{:?}", audit::tail(&scene.app.db, 0, 1000).await.unwrap());
        let plain = crate::crypto::digest::sha256_hex(code.expose().as_bytes());
        for secret in [code.expose(), wrong.expose(), &plain] {
            for place in [format!("{rows:?}"), trail.clone(), format!("{code:?} {refused:?}")] {
                assert!(!place.contains(&format!("\"{secret}")), "{place}");
            }
        }
        assert_eq!(rows.len(), 1);
    }

    async fn without_a_way_to_send_it_there_is_no_code(store: TestStore) {
        let scene = Scene::on(store, "mail: { via: console }\n").await;
        assert!(matches!(scene.send(Contact::Phone).await, Err(NotSent::NoWay)));
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        let to = Target::Phone(Phone::parse("+33600000001").unwrap());
        ask(&mut change, &scene.account, &to).await.unwrap();
        drop(change);
        assert!(waiting(&scene.app).await.is_empty());
    }
}

impl Scene {
    async fn log_in(&self) -> Id {
        self.app.set_keyring(Keyring::new(vec![Member {
            purpose: KeyPurpose::Access,
            key: SigningKey::generate(Algorithm::EdDsa, self.app.random.as_ref()).unwrap(),
            active_from: Timestamp::from_millis(0),
            published_until: None,
        }]));
        let config = self.app.config();
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let login = session::Login {
            account: &self.account,
            application: None,
            device: &session::Device::default(),
            address: None,
            method: session::Method::Password,
            scope: None,
            claims: Map::new(),
        };
        let started = session::start(&mut change, &config.sessions, &config.tokens, login).await;
        let (session, _) = started.unwrap();
        change.commit().await.unwrap();
        session.id
    }
}

#[test]
fn the_rows_keep_the_laws_of_a_table() {
    assert_eq!(law::breaches(&Table::new("/api/v1/auth", rows())), Vec::<String>::new());
}

#[test]
fn an_address_is_shown_without_most_of_it() {
    assert_eq!(words::masked(&Target::Email(email("carol@example.com"))), "c***@example.com");
    assert_eq!(words::masked(&Target::Phone(Phone::parse("+33699999999").unwrap())), "***9999");
}

#[test]
fn a_text_message_tells_phones_where_its_code_belongs() {
    let text = words::message("gw.example.com", &Digits::parse("012345").unwrap());
    assert!(text.starts_with("012345 is your code") && text.ends_with("\n@gw.example.com #012345"), "{text}");
    assert!(text.len() <= 160, "one message: {}", text.len());
}

#[test]
fn a_subject_holds_no_code() {
    let until = Timestamp::from_millis(1_795_168_800_000);
    let digits = Digits::parse("012345").unwrap();
    let host = "gw.example.com";
    let letter = words::Letter { purpose: Purpose::Contact, host, digits: &digits, link: None, until };
    let (subject, text) = letter.write();
    assert!(!subject.contains("012345") && text.contains("    012345\n"));
    assert!(text.contains("until 2026-11-20 10:00 UTC"), "{text}");
}
