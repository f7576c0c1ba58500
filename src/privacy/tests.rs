//! Accounts that go, in the store: asked for, confirmed, called off, held back, and gone.

mod stale;

use std::collections::BTreeSet;

use futures::future::join_all;

use super::*;
use crate::account::{NewAccount, Standing};
use crate::agent::{self, Limits, Mint};
use crate::app::testing::{TestApp, With};
use crate::app::{Applier, Reaction};
use crate::audit::{self, AccountEvent, How, Sought, Subject};
use crate::base::{Email, MicroUsd, Phone};
use crate::notify::testing::waiting;
use crate::policy::definition::Definitions;
use crate::policy::{Assignments, Code};
use crate::principal::Principal;
use crate::session::{self, Device, Method};
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Source as _, sql};
use crate::{apikey, approval, factor, keys, notice, on_every_store, otp, rbac};

const DAY: Duration = Duration::from_hours(24);

/// As a gateway has them.
fn reactions() -> Vec<Reaction> {
    vec![session::react, otp::react, agent::react, apikey::react, approval::react, notice::react, react]
}

fn appliers() -> Vec<Applier> {
    vec![keys::reload, rbac::apply]
}

async fn scene(store: TestStore) -> TestApp {
    let yaml = "mail: { via: console }\nsms: { via: console }\n";
    let app = TestApp::on(store, With { yaml, reactions: reactions(), appliers: appliers() }).await;
    keys::ensure(&app).await.unwrap();
    rbac::configure(&app, Definitions::default()).await.unwrap();
    app
}

async fn person(app: &App, name: &str, change_it: impl FnOnce(&mut NewAccount)) -> Account {
    let email = Email::parse(&format!("{name}@example.com")).unwrap();
    let mut new = NewAccount { email: Some(email), is_verified: true, ..NewAccount::of(DEFAULT_SITE) };
    new.first_name = name.to_owned();
    change_it(&mut new);
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, &new, How::Owner).await.unwrap();
    change.commit().await.unwrap();
    account
}

/// Asks, a moment after whatever was before: what waits is read in the order of moments.
async fn asked(app: &TestApp, account: Id) -> Deletion {
    app.clock.advance(Duration::from_secs(1));
    let mut change = app.change(Actor::system()).await.unwrap();
    let new = request(&mut change, account, "bye".to_owned()).await.unwrap();
    change.commit().await.unwrap();
    new
}

/// The token in the last message that has one.
async fn sent(app: &App) -> Secret<String> {
    let all = waiting(app).await;
    let text = all.iter().rev().find_map(|one| one.text.split_once("?token=")).expect("a link").1;
    Secret::new(text.chars().take(43).collect())
}

async fn confirmed_by(app: &App, token: &Secret<String>) -> Option<Deletion> {
    confirm(app, token, Place::Page, Actor::system()).await.unwrap()
}

async fn standing(app: &App, id: Id) -> Standing {
    account::by_id(&app.db, id).await.unwrap().unwrap().standing(app.now())
}

async fn organization(app: &App, owner: Id, name: &str) -> Id {
    let new = organization::New {
        site: DEFAULT_SITE,
        name,
        slug: None,
        description: "",
        parent: None,
        owner,
        max_depth: 5,
    };
    let mut change = app.change(Actor::system()).await.unwrap();
    let made = organization::create(&mut change, new).await.unwrap();
    change.commit().await.unwrap();
    made.id
}

async fn join(app: &App, organization: Id, account: Id, role: &str) {
    let mut change = app.change(Actor::system()).await.unwrap();
    let catalogue = app.catalogue();
    let role = Code::parse(role).unwrap();
    organization::add_member(&mut change, catalogue.definitions(), organization, account, &role)
        .await
        .unwrap();
    change.commit().await.unwrap();
}

async fn codes(app: &App, account: Id) -> Vec<String> {
    let sought = Sought { account: Some(account), ..Sought::default() };
    let rows = audit::tail_of(&app.db, &sought, 0, 1000).await.unwrap();
    rows.into_iter().map(|row| row.code).collect()
}

on_every_store! {
    async fn an_account_goes_once_it_is_confirmed_and_its_time_is_over(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |_| {}).await;
        let first = asked(&app, ada.id).await;
        let old = sent(&app).await;
        let second = asked(&app, ada.id).await;
        let token = sent(&app).await;
        assert_eq!(confirmed_by(&app, &old).await, None, "a later one took its place");
        assert_eq!(confirmed_by(&app, &Secret::new("x".repeat(43))).await, None);
        let elsewhere = Place::Application(Some(Id::from_u128(7)));
        assert_eq!(confirm(&app, &token, elsewhere, Actor::system()).await.unwrap(), None);
        app.clock.advance(DAY / 2);
        let done = confirmed_by(&app, &token).await.expect("its time is not over");
        assert_eq!((done.id, done.status, done.due_at), (second.id, Status::Confirmed, Some(app.now().plus(30 * DAY))));
        assert_eq!(confirmed_by(&app, &token).await, None, "once");
        app.clock.advance((30 * DAY).saturating_sub(Duration::from_secs(1)));
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        assert_eq!(standing(&app, ada.id).await, Standing::Good, "until then it is one like any other");
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(delete_due(&app).await.unwrap(), 1);
        assert_eq!(standing(&app, ada.id).await, Standing::Deleted);
        audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.unwrap();
        let all = of_account(&app.db, ada.id).await.unwrap();
        let told: Vec<_> = all.iter().map(|one| (one.id, one.status, one.reason.as_str())).collect();
        assert_eq!(told, [(second.id, Status::Completed, ""), (first.id, Status::Cancelled, "")]);
        let last = waiting(&app).await;
        assert!(matches!(&last[..], [one] if one.to == "ada@example.com" && one.text.contains("was deleted")), "{last:?}");
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        person(&app, "ada", |_| {}).await;
    }

    async fn whoever_changes_their_mind_stays_and_a_link_that_is_too_old_confirms_nothing(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |_| {}).await;
        asked(&app, ada.id).await;
        let late = sent(&app).await;
        app.clock.advance(DAY);
        assert_eq!(confirmed_by(&app, &late).await, None);
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        let mut change = app.change(Actor::system()).await.unwrap();
        assert_eq!(cancel(&mut change, &ada).await.unwrap(), 1);
        change.commit().await.unwrap();
        app.clock.advance(60 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        assert_eq!(standing(&app, ada.id).await, Standing::Good);
        let mut change = app.change(Actor::system()).await.unwrap();
        assert_eq!(cancel(&mut change, &ada).await.unwrap(), 0);
    }

    async fn of_many_who_follow_one_link_one_confirms_and_of_many_who_delete_one_does(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |_| {}).await;
        asked(&app, ada.id).await;
        let token = sent(&app).await;
        let tried = join_all((0..64).map(|_| confirmed_by(&app, &token))).await;
        assert_eq!(tried.iter().flatten().count(), 1);
        app.clock.advance(30 * DAY);
        let other = app.another(With { reactions: reactions(), appliers: appliers(), ..With::default() }).await;
        let gone = join_all((0..16).map(|at| {
            let app = if at % 2 == 0 { &app.app } else { &other };
            async move { delete_due(app).await.unwrap() }
        }))
        .await;
        assert_eq!(gone.iter().sum::<u32>(), 1);
        let codes = codes(&app, ada.id).await;
        for code in ["deletion_request_confirmed", "account_deleted", "deletion_request_processed"] {
            assert_eq!(codes.iter().filter(|found| *found == code).count(), 1, "{code}");
        }
    }

    async fn a_wish_waits_while_its_account_may_not_be_used_and_an_order_does_not(store: TestStore) {
        let app = scene(store).await;
        let (ada, bob) = (person(&app, "ada", |_| {}).await, person(&app, "bob", |_| {}).await);
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        schedule(&mut change, &bob).await.unwrap();
        account::lock(&mut change, ada.id, None).await.unwrap();
        account::lock(&mut change, bob.id, None).await.unwrap();
        change.commit().await.unwrap();
        app.clock.advance(30 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 1, "what an operator ordered");
        assert_eq!(standing(&app, bob.id).await, Standing::Deleted);
        assert_eq!(standing(&app, ada.id).await, Standing::Locked { until: None });
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        // Whoever is let back has the whole time again, and is told.
        app.clock.advance(29 * DAY);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::unlock(&mut change, ada.id).await.unwrap();
        change.commit().await.unwrap();
        let open = &of_account(&app.db, ada.id).await.unwrap()[0];
        assert_eq!((open.status, open.due_at), (Status::Confirmed, Some(app.now().plus(30 * DAY))));
        let told = waiting(&app).await;
        assert!(told.last().unwrap().text.contains("was stopped for a time"), "{told:?}");
        app.clock.advance((30 * DAY).saturating_sub(Duration::from_secs(1)));
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(delete_due(&app).await.unwrap(), 1);
        let codes = codes(&app, ada.id).await;
        assert_eq!(codes.iter().filter(|code| *code == "deletion_request_put_off").count(), 2);
    }

    async fn a_lock_that_ends_leaves_the_whole_time_and_wrong_passwords_put_nothing_off(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |_| {}).await;
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        let due = async || of_account(&app.db, ada.id).await.unwrap()[0].due_at.unwrap();
        let first = due().await;
        let mut change = app.change(Actor::system()).await.unwrap();
        let until = Some(app.now().plus(DAY));
        let by_rule = AccountEvent::Locked { account: Some(ada.id), identifier_digest: None, until, how: How::Rule, reason: None };
        change.record(by_rule).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(due().await, first);
        let until = app.now().plus(10 * DAY);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::lock(&mut change, ada.id, Some(until)).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(due().await, until.plus(30 * DAY));
        app.clock.advance(40 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 1);
    }

    async fn the_last_superuser_neither_asks_nor_goes(store: TestStore) {
        let app = scene(store).await;
        let (ada, bob) = (
            person(&app, "ada", |new| new.is_superuser = true).await,
            person(&app, "bob", |new| new.is_superuser = true).await,
        );
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, bob.id, account::Ban::Imposed).await.unwrap();
        change.commit().await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        assert!(matches!(request(&mut change, ada.id, String::new()).await, Err(Refused::LastSuperuser)));
        assert!(matches!(schedule(&mut change, &ada).await, Err(Refused::LastSuperuser)));
        assert!(matches!(erase_now(&mut change, &ada, How::Administrator).await, Err(NotErased::LastSuperuser)));
        drop(change);
        app.clock.advance(30 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        let told = waiting(&app).await;
        assert!(told.last().unwrap().text.contains("nobody else is a superuser"), "{told:?}");
        person(&app, "eve", |new| new.is_superuser = true).await;
        app.clock.advance(DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 1);
    }

    async fn no_organization_is_left_to_others_without_an_owner(store: TestStore) {
        let app = scene(store).await;
        let (ada, bob) = (person(&app, "ada", |_| {}).await, person(&app, "bob", |_| {}).await);
        let (own, shared) = (organization(&app, ada.id, "Own").await, organization(&app, ada.id, "Shared").await);
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        join(&app, shared, bob.id, "member").await;
        let mut change = app.change(Actor::system()).await.unwrap();
        let refused = request(&mut change, ada.id, String::new()).await;
        assert!(matches!(&refused, Err(Refused::SoleOwner(slugs)) if slugs[0].as_str() == "shared"), "{refused:?}");
        drop(change);
        app.clock.advance(30 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 0);
        assert_eq!(standing(&app, ada.id).await, Standing::Good, "all of it or nothing");
        assert_eq!(organization::memberships(&app.db, ada.id).await.unwrap().len(), 2);
        let told = waiting(&app).await;
        assert!(told.last().unwrap().text.contains("nobody else owns: shared"), "{told:?}");
        assert_eq!(delete_due(&app).await.unwrap(), 0, "not looked at again before tomorrow");
        join(&app, shared, person(&app, "eve", |_| {}).await.id, "owner").await;
        app.clock.advance(DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 1);
        let is_active = |found: Option<organization::Organization>| found.is_some_and(|found| found.is_active);
        assert!(!is_active(organization::by_id(&app.db, own).await.unwrap()), "it was nobody else's");
        assert!(is_active(organization::by_id(&app.db, shared).await.unwrap()));
    }

    async fn nothing_is_left_of_a_person_and_the_chain_is_whole(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |new| {
            new.phone = Some(Phone::parse("+33612345678").unwrap());
            new.username = Some(account::Username::parse("lovelace").unwrap());
        })
        .await;
        let (sid, token, key) = furnish(&app, &ada).await;
        let address = "203.0.113.77";
        let before = audit::latest(&app.db, 1000).await.unwrap();
        assert!(format!("{before:?}").contains(address));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let deletion = schedule(&mut change, &ada).await.unwrap();
        change.commit().await.unwrap();
        app.clock.advance(30 * DAY);
        let epoch = app.epochs.of(Subject::Account(ada.id));
        assert_eq!(delete_due(&app).await.unwrap(), 1);
        assert!(app.epochs.of(Subject::Account(ada.id)) > epoch);
        assert!(session::by_id(&app.db, sid).await.unwrap().is_none());
        assert!(apikey::by_id(&app.db, key).await.unwrap().is_none());
        let kept = agent::find(&app.db, agent::Reference::Id(token)).await.unwrap().unwrap();
        assert_eq!((kept.status, kept.agent.as_str()), (agent::Status::Revoked, ""));
        app.clock.advance(due::LOOK_AFTER);
        delete_due(&app).await.unwrap();
        let rows = audit::latest(&app.db, 1000).await.unwrap();
        assert!(rows.iter().filter(|row| row.account == Some(ada.id)).all(|row| row.personal.is_null()));
        assert!(!format!("{rows:?}").contains(address));
        audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.unwrap();
        left(&app, ada.id, deletion.id).await;
    }
}

/// Everything that can be had.
async fn furnish(app: &TestApp, ada: &Account) -> (Id, Id, Id) {
    let actor =
        Actor { address: Some("203.0.113.77".parse().unwrap()), ..Actor::new(audit::Who::Account(ada.id)) };
    let mut change = app.change(actor).await.unwrap();
    let config = app.config();
    let login = session::Login {
        account: ada,
        application: None,
        device: &Device::default(),
        address: Some("203.0.113.77".parse().unwrap()),
        method: Method::Password,
        scope: None,
        claims: serde_json::Map::new(),
    };
    let (session, _) = session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
    factor::set_up(&mut change, ada).await.unwrap();
    let new = apikey::New { account: ada.id, name: "report".to_owned(), scopes: Vec::new(), lifetime: None };
    let (key, _) = apikey::create(&mut change, new).await.unwrap();
    change.commit().await.unwrap();
    (session.id, mint(app, ada, &session).await, key.id)
}

async fn mint(app: &App, ada: &Account, session: &session::Session) -> Id {
    let permission = Code::parse("users.view").unwrap();
    let assignments = Assignments { permissions: vec![permission.clone()], ..Assignments::default() };
    let human = Principal {
        account: ada.facts().into(),
        session: session.facts(),
        rights: app.catalogue().rights(&assignments).into(),
        assignments: assignments.into(),
        memberships: [].into(),
    };
    let limits = Limits {
        per_minute: 60,
        total: 1000,
        failures: 5,
        suspend_after: 3,
        heartbeat_every: None,
        budget: MicroUsd::parse("1").unwrap(),
    };
    let ask = Mint {
        human: &human,
        organization: None,
        application: None,
        agent: "ada's robot".to_owned(),
        permissions: vec![permission],
        limits,
        lifetime: DAY / 2,
    };
    agent::mint(app, Actor::system(), ask).await.unwrap().0.id
}

/// What may tell that there was somebody: ids and moments, until their time is over like everybody's.
const STAY: [&str; 7] =
    ["account_deletion", "agent_kill", "agent_token", "approval", "approval_vote", "audit", "outbox"];
/// And what says whose nothing that was there is any more.
const GO: [&str; 12] = [
    "account_grant",
    "account_word",
    "api_key",
    "audit_personal",
    "backup_code",
    "membership",
    "one_time_code",
    "passkey",
    "password_history",
    "session",
    "social_connection",
    "totp",
];

/// Holds that nothing names the account but what may.
async fn left(app: &App, account: Id, deletion: Id) {
    for table in GO {
        let stmt = match table {
            "account_grant" => sql("SELECT COUNT(*) FROM account_grant WHERE account_id = ?"),
            "account_word" => sql("SELECT COUNT(*) FROM account_word WHERE account_id = ?"),
            "api_key" => sql("SELECT COUNT(*) FROM api_key WHERE account_id = ?"),
            "audit_personal" => sql("SELECT COUNT(*) FROM audit_personal WHERE account_id = ?"),
            "backup_code" => sql("SELECT COUNT(*) FROM backup_code WHERE account_id = ?"),
            "membership" => sql("SELECT COUNT(*) FROM membership WHERE account_id = ?"),
            "one_time_code" => sql("SELECT COUNT(*) FROM one_time_code WHERE account_id = ?"),
            "passkey" => sql("SELECT COUNT(*) FROM passkey WHERE account_id = ?"),
            "password_history" => sql("SELECT COUNT(*) FROM password_history WHERE account_id = ?"),
            "session" => sql("SELECT COUNT(*) FROM session WHERE account_id = ?"),
            "social_connection" => sql("SELECT COUNT(*) FROM social_connection WHERE account_id = ?"),
            _ => sql("SELECT COUNT(*) FROM totp WHERE account_id = ?"),
        };
        let (count,): (i64,) = (&app.db).one(stmt.bind(account)).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
    let row = account::by_id(&app.db, account).await.unwrap().unwrap();
    let text = format!("{row:?}");
    for word in ["ada", "lovelace", "33612345678"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert_eq!(store::by_id(&app.db, deletion).await.unwrap().unwrap().status, Status::Completed);
}

#[test]
fn whoever_makes_a_table_about_accounts_says_what_becomes_of_it_with_them() {
    let mut named = BTreeSet::new();
    for file in crate::store::migrate::FILES {
        for table in file.text.split("CREATE TABLE ").skip(1) {
            let (name, rest) = table.split_once(' ').expect("a name");
            let body = rest.split_once(");").map_or(rest, |(body, _)| body);
            if body.lines().any(|line| line.trim_start().starts_with("account_id ")) {
                named.insert(name);
            }
        }
    }
    let known: BTreeSet<&str> = STAY.into_iter().chain(GO).collect();
    assert_eq!(named, known, "`erase` forgets it, or it may stay: say so here");
}
