use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::calendar::day_of;
use super::counters::{Counters, END, LOGIN, LOGIN_FAILED, percent, tenths, top};
use super::fold::{Counted, Folder, behind, fold};
use super::*;
use crate::app::App;
use crate::app::testing::{NOON, TestApp, With};
use crate::audit::{
    self, AccountEvent, Actor, AgentEvent, Delegation, EndReason, Event, How, LoginFailure, Noted,
    OrganizationEvent, SessionEvent, Stream, Suspension, SystemEvent, Who,
};
use crate::base::{Id, SystemRandom, Timestamp};
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Db, Source as _, Stmt, again, sql};

mod census;
mod forget;
mod kept;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const ELSEWHERE: Id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);

async fn scene(store: TestStore) -> TestApp {
    TestApp::on(store, With::default()).await
}

async fn write(db: &Db, stmt: Stmt) -> u64 {
    let mut tx = db.begin().await.unwrap();
    let rows = tx.execute(stmt).await.unwrap();
    tx.commit().await.unwrap();
    rows
}

fn someone() -> Id {
    Id::new(Timestamp::from_millis(1), &SystemRandom)
}

/// Something that happened on a site at a moment, from an address.
fn noted(site: Id, at: Timestamp, address: &str, event: impl Into<Event>) -> Noted {
    let mut actor = Actor::new(Who::Anonymous);
    actor.site = site;
    actor.address = Some(address.parse().unwrap());
    Noted { actor, at, event: event.into() }
}

fn login(account: Id, method: &'static str) -> SessionEvent {
    SessionEvent::Started { account, session: someone(), method }
}

fn failed(account: Option<Id>, reason: LoginFailure) -> SessionEvent {
    SessionEvent::LoginFailed { account, identifier_digest: "x".to_owned(), method: "password", reason }
}

fn reused(account: Id) -> SessionEvent {
    SessionEvent::RefreshReused { account, session: someone() }
}

async fn happen(app: &App, all: Vec<Noted>) {
    let written = again(|| async {
        let mut change = app.change(Actor::system()).await?;
        change.note(all.clone());
        change.commit().await
    });
    written.await.unwrap();
}

/// One of everything that is counted in a way of its own, on two sites and on three days.
fn story(round: u32) -> Vec<Noted> {
    let at = NOON.minus(DAY * (round % 3)).minus(HOUR * (round % 5));
    let (ada, organization) = (someone(), Id::from_u128(77));
    let of =
        Delegation { token: someone(), account: ada, application: None, organization: Some(organization) };
    let locked = |how| AccountEvent::Locked {
        account: Some(ada),
        identifier_digest: None,
        until: None,
        how,
        reason: None,
    };
    let ended = |reason| SessionEvent::Ended { account: ada, session: someone(), reason };
    let mut all = vec![
        noted(DEFAULT_SITE, at, "192.0.2.1", AccountEvent::Created { account: ada, how: How::Owner }),
        noted(DEFAULT_SITE, at, "192.0.2.1", login(ada, "password")),
        noted(DEFAULT_SITE, at, "192.0.2.1", login(ada, "otp")),
        noted(DEFAULT_SITE, at, "192.0.2.2", failed(Some(ada), LoginFailure::WrongPassword)),
        noted(DEFAULT_SITE, at, "192.0.2.2", failed(None, LoginFailure::UnknownIdentifier)),
        noted(DEFAULT_SITE, at, "192.0.2.2", locked(How::Rule)),
        noted(DEFAULT_SITE, at, "192.0.2.3", locked(How::Administrator)),
        noted(DEFAULT_SITE, at, "192.0.2.4", reused(ada)),
        noted(DEFAULT_SITE, at, "192.0.2.1", ended(EndReason::PasswordChanged)),
        noted(DEFAULT_SITE, at, "192.0.2.1", ended(EndReason::Revoked)),
        noted(DEFAULT_SITE, at, "192.0.2.1", SessionEvent::LoggedOut { account: ada, session: someone() }),
        noted(DEFAULT_SITE, at, "192.0.2.5", AgentEvent::Suspended { of, reason: Suspension::Anomaly }),
        noted(DEFAULT_SITE, at, "192.0.2.1", OrganizationEvent::MemberRemoved { organization, account: ada }),
    ];
    if round.is_multiple_of(2) {
        all.push(noted(ELSEWHERE, at, "192.0.2.9", login(someone(), "passkey")));
        all.push(noted(ELSEWHERE, at, "192.0.2.9", reused(someone())));
    }
    all
}

type Sums = BTreeMap<(String, String, i64, String), i64>;

fn summed(rows: Vec<(String, String, i64, String, i64)>) -> Sums {
    let mut all = Sums::new();
    for (site, organization, starts_at, kind, amount) in rows {
        *all.entry((site, organization, starts_at, kind)).or_default() += amount;
    }
    all
}

async fn counted(mut db: &Db, span: &'static str) -> Sums {
    let stmt = sql("SELECT site_id, organization_id, starts_at, kind, amount FROM statistic WHERE span = ?");
    summed(db.all(stmt.bind(span)).await.unwrap())
}

/// What the trail says itself, asked without the fold.
async fn told(mut db: &Db, span: &'static str) -> Sums {
    let stmt = match span {
        "day" => sql("SELECT site_id, '', happened_at - happened_at % 86400000, code, COUNT(*) FROM audit \
                      GROUP BY site_id, happened_at - happened_at % 86400000, code"),
        "hour" => sql("SELECT site_id, '', happened_at - happened_at % 3600000, code, COUNT(*) FROM audit \
                       GROUP BY site_id, happened_at - happened_at % 3600000, code"),
        _ => sql(
            "SELECT site_id, organization_id, happened_at - happened_at % 86400000, code, COUNT(*) FROM audit \
                  WHERE organization_id IS NOT NULL \
                  GROUP BY site_id, organization_id, happened_at - happened_at % 86400000, code",
        ),
    };
    summed(db.all(stmt).await.unwrap())
}

async fn agree(db: &Db) {
    for span in ["day", "hour", "org"] {
        let (counted, told) = (counted(db, span).await, told(db, span).await);
        assert!(!told.is_empty());
        assert_eq!(counted, told, "{span}");
    }
}

async fn everything(mut db: &Db) -> Vec<(String, String, String, i64, String, String, i64)> {
    let stmt = sql("SELECT site_id, organization_id, span, starts_at, kind, detail, amount FROM statistic \
                    ORDER BY site_id, organization_id, span, starts_at, kind, detail");
    db.all(stmt).await.unwrap()
}

/// Takes the oldest entries out of the trail, up to a number.
async fn prune(db: &Db, to: i64) {
    write(db, sql("DELETE FROM audit_personal WHERE seq <= ?").bind(to)).await;
    assert!(write(db, sql("DELETE FROM audit WHERE seq <= ?").bind(to)).await > 0);
}

/// Whether metrics say that so many entries are not counted yet.
fn shows(app: &App, rows: i64) -> bool {
    app.metrics.render().contains(&format!("portcullis_statistics_behind {rows}\n"))
}

/// Folds until nothing is left; how many entries this one counted.
async fn fold_all(db: &Db, most: u32) -> u64 {
    let mut all = 0;
    while behind(db).await.unwrap() > 0 {
        all += again(|| fold(db, most)).await.unwrap();
    }
    all
}

on_every_store! {
    async fn each_entry_is_counted_once_by_eight_at_once(store: TestStore) {
        let app = scene(store).await;
        let other = app.another(With::default()).await;
        for round in 0..6 {
            happen(&app, story(round)).await;
        }
        let folders = (0..8).map(|at| {
            let db = if at % 2 == 0 { &app.db } else { &other.db };
            async move { fold_all(db, 3 + at).await }
        });
        // What goes on happening meanwhile is counted too.
        let happening = async {
            for round in 6..12 {
                happen(&app, story(round)).await;
            }
        };
        let (by_each, ()) = tokio::join!(join_all(folders), happening);
        let late = fold_all(&app.db, 500).await;
        let head = audit::head(&app.db, Stream::Changes).await.unwrap().seq;
        assert_eq!(by_each.iter().sum::<u64>() + late, u64::try_from(head).unwrap());
        assert_eq!(store::cursor(&app.db, Stream::Changes).await.unwrap(), head);
        agree(&app.db).await;
        assert_eq!(fold(&app.db, 500).await.unwrap(), 0, "nothing is left");
    }

    async fn what_dies_in_between_has_counted_nothing_and_another_goes_on(store: TestStore) {
        let app = scene(store).await;
        happen(&app, story(0)).await;
        happen(&app, story(1)).await;
        assert_eq!(fold(&app.db, 10).await.unwrap(), 10);
        let before = everything(&app.db).await;
        let from = store::cursor(&app.db, Stream::Changes).await.unwrap();
        let rows = audit::tail(&app.db, from, 7).await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        assert_eq!(store::advance(&mut tx, from, from + 7).await.unwrap(), 1);
        Counted::of(&rows).write(&mut tx).await.unwrap();
        drop(tx);
        assert_eq!(store::cursor(&app.db, Stream::Changes).await.unwrap(), from);
        assert_eq!(everything(&app.db).await, before);
        fold_all(&app.db, 4).await;
        agree(&app.db).await;
        // Who read before that and comes late moves nothing.
        let mut tx = app.db.begin().await.unwrap();
        assert_eq!(store::advance(&mut tx, from, from + 7).await.unwrap(), 0);
        tx.rollback().await.unwrap();
        agree(&app.db).await;
    }

    async fn erased_people_and_pruned_entries_leave_the_counters_as_they_were(store: TestStore) {
        let app = scene(store).await;
        let ada = someone();
        happen(&app, story(0)).await;
        happen(&app, vec![noted(DEFAULT_SITE, NOON, "192.0.2.7", failed(Some(ada), LoginFailure::Locked))]).await;
        fold_all(&app.db, 100).await;
        let before = everything(&app.db).await;
        let reasons = |counters: Counters| counters.by_detail(day_of(NOON)..END, LOGIN_FAILED);
        let known = reasons(Counters::days(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap());
        assert_eq!(known["locked"], 1);
        let mut tx = app.db.begin().await.unwrap();
        assert_eq!(audit::erase(&mut tx, ada).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(everything(&app.db).await, before);
        // Erased before it is counted: it happened, and nobody knows why any more.
        happen(&app, vec![noted(DEFAULT_SITE, NOON, "192.0.2.7", failed(Some(ada), LoginFailure::Locked))]).await;
        let mut tx = app.db.begin().await.unwrap();
        audit::erase(&mut tx, ada).await.unwrap();
        tx.commit().await.unwrap();
        fold_all(&app.db, 100).await;
        agree(&app.db).await;
        let known = reasons(Counters::days(&app.db, DEFAULT_SITE, day_of(NOON)).await.unwrap());
        assert_eq!((known["locked"], known["unknown"]), (1, 1));
        let before = everything(&app.db).await;
        prune(&app.db, audit::head(&app.db, Stream::Changes).await.unwrap().seq).await;
        let late = app.now().plus(40 * DAY);
        happen(&app, vec![noted(DEFAULT_SITE, late, "192.0.2.7", login(ada, "password"))]).await;
        assert_eq!(fold_all(&app.db, 100).await, 1);
        let after = everything(&app.db).await;
        assert!(before.iter().all(|counter| after.contains(counter)));
        assert_eq!(after.len(), before.len() + 2, "a day and an hour more");
    }

    async fn days_are_told_one_by_one_and_today_apart(store: TestStore) {
        let app = scene(store).await;
        let here = |at, event: Event| noted(DEFAULT_SITE, at, "192.0.2.1", event);
        let made = || Event::from(AccountEvent::Created { account: someone(), how: How::Owner });
        let locked = AccountEvent::Locked {
            account: Some(someone()), identifier_digest: None, until: None, how: How::Rule, reason: None,
        };
        let (yesterday, in_october) = (NOON.minus(DAY), NOON.minus(25 * DAY));
        happen(&app, vec![
            here(NOON, made()),
            here(yesterday, made()),
            here(in_october, made()),
            here(NOON, login(someone(), "password").into()),
            here(NOON, login(someone(), "otp").into()),
            here(yesterday, login(someone(), "passkey").into()),
            here(NOON, failed(None, LoginFailure::UnknownIdentifier).into()),
            here(NOON, locked.into()),
            here(NOON, AccountEvent::ResetCompleted { account: someone() }.into()),
            here(NOON.plus(DAY), login(someone(), "password").into()),
            noted(ELSEWHERE, NOON, "192.0.2.9", login(someone(), "password")),
        ])
        .await;
        fold_all(&app.db, 4).await;
        let told = today(&app.db, DEFAULT_SITE, NOON).await.unwrap();
        let wanted = Today { logins: 2, failed_logins: 1, locks: 1, resets: 1, registrations_this_month: 2 };
        assert_eq!(told, wanted);
        assert_eq!(today(&app.db, ELSEWHERE, NOON).await.unwrap(), Today { logins: 1, ..Today::default() });
        let told = async |first, last| {
            let all = points(&app.db, DEFAULT_SITE, first, last).await.unwrap();
            all.into_iter().map(|one| (one.date, one.registrations, one.logins)).collect::<Vec<_>>()
        };
        let day = |date: &str, registrations: i64, logins: i64| (date.to_owned(), registrations, logins);
        assert_eq!(
            told(NOON.minus(2 * DAY), NOON).await,
            [day("2026-11-18", 0, 0), day("2026-11-19", 1, 1), day("2026-11-20", 1, 2)]
        );
        assert_eq!(told(in_october, in_october).await, [day("2026-10-26", 1, 0)]);
        assert!(told(NOON, yesterday).await.is_empty());
    }

    async fn decisions_are_counted_beside_changes_each_once(store: TestStore) {
        let app = scene(store).await;
        happen(&app, story(0)).await;
        for number in 0..9 {
            let event = SystemEvent::RequestPassed { route: number.to_string(), method: "GET".to_owned() };
            app.note(Actor::system(), app.now(), event);
        }
        app.write_notes().await.unwrap();
        let head = audit::head(&app.db, Stream::Changes).await.unwrap().seq;
        assert_eq!(behind(&app.db).await.unwrap(), head + 9);
        let counted: u64 = join_all((0..4).map(|_| fold_all(&app.db, 4))).await.into_iter().sum();
        assert_eq!(counted, u64::try_from(head + 9).unwrap());
        let ends = (head, audit::head(&app.db, Stream::DataPlane).await.unwrap().seq);
        let cursors = (
            store::cursor(&app.db, Stream::Changes).await.unwrap(),
            store::cursor(&app.db, Stream::DataPlane).await.unwrap(),
        );
        assert_eq!(cursors, ends);
        agree(&app.db).await;
        // A prune of one stream moves neither cursor.
        let mut tx = app.db.begin().await.unwrap();
        audit::remove_some(&mut tx, ends.1).await.unwrap();
        tx.commit().await.unwrap();
        happen(&app, story(1)).await;
        assert_eq!(fold_all(&app.db, 100).await, 13);
    }

    async fn what_was_pruned_before_anybody_counted_is_not_waited_for(store: TestStore) {
        let app = scene(store).await;
        happen(&app, story(1)).await;
        prune(&app.db, 5).await;
        assert_eq!(fold_all(&app.db, 3).await, 8);
        agree(&app.db).await;
    }

    async fn one_gateway_folds_at_a_time_and_another_goes_on_when_it_is_dead(store: TestStore) {
        let app = scene(store).await;
        let other = app.another(With::default()).await;
        let (here, there) = (Folder::new(Arc::clone(&app)), Folder::new(Arc::clone(&other)));
        assert_eq!(here.turn().await.unwrap(), 0, "nothing has happened");
        happen(&app, story(1)).await;
        assert_eq!(here.turn().await.unwrap(), 13);
        happen(&app, story(1)).await;
        assert_eq!(there.turn().await.unwrap(), 0, "the other one does it");
        assert!(shows(&app, 0) && shows(&other, 13));
        app.clock.advance(Duration::from_mins(2));
        assert_eq!(there.turn().await.unwrap(), 13);
        assert_eq!(here.turn().await.unwrap(), 0);
        happen(&app, story(1)).await;
        let turns: Vec<u64> = join_all([here.turn(), there.turn()]).await.into_iter().map(|turn| turn.unwrap_or(0)).collect();
        assert_eq!(turns.iter().sum::<u64>(), 13);
        agree(&app.db).await;
    }

    async fn what_is_read_is_of_the_own_site_and_of_the_days_that_are_asked_for(store: TestStore) {
        let app = scene(store).await;
        for round in 0..6 {
            happen(&app, story(round)).await;
        }
        fold_all(&app.db, 100).await;
        let today = day_of(NOON);
        let own = Counters::days(&app.db, DEFAULT_SITE, today.minus(2 * DAY)).await.unwrap();
        assert_eq!((own.since(today, &[LOGIN]), own.since(today.minus(2 * DAY), &[LOGIN])), (4, 12));
        assert_eq!(own.sum(today.minus(DAY)..today, &[LOGIN, LOGIN_FAILED]), 8);
        let methods = own.by_detail(today..END, LOGIN);
        assert_eq!(methods, BTreeMap::from([("otp".to_owned(), 2), ("password".to_owned(), 2)]));
        assert_eq!(own.suspicious(today..END), 6, "a lock by a person is none of it");
        let other = Counters::days(&app.db, ELSEWHERE, today.minus(2 * DAY)).await.unwrap();
        let kinds = other.by_kind(today.minus(2 * DAY)..END);
        assert_eq!(kinds, BTreeMap::from([("login".to_owned(), 3), ("refresh_reuse".to_owned(), 3)]));
        let hours = Counters::hours(&app.db, DEFAULT_SITE, NOON).await.unwrap();
        // Rounds 0 and 3 were today; one and four yesterday, at nine and at six: before the first of these hours.
        assert_eq!(hours.since(Timestamp::from_millis(0), &[LOGIN]), 4);
        let organization = Id::from_u128(77);
        let of = Counters::of_organization(&app.db, DEFAULT_SITE, organization, today).await.unwrap();
        let kinds = of.by_kind(today..END);
        assert_eq!(kinds, BTreeMap::from([("agent_token_suspended".to_owned(), 2), ("member_removed".to_owned(), 2)]));
        let none = Counters::of_organization(&app.db, ELSEWHERE, organization, today).await.unwrap();
        assert_eq!(none.by_kind(today..END), BTreeMap::new());
        let addresses = top(store::addresses(&app.db, DEFAULT_SITE, today.minus(2 * DAY)).await.unwrap(), 2);
        assert_eq!(addresses, [("192.0.2.2".to_owned(), 6), ("192.0.2.4".to_owned(), 6)]);
        let report = report(&app.db, DEFAULT_SITE, NOON, 3).await.unwrap();
        assert_eq!((report.counted_to, report.behind), (84, 0));
        let days: Vec<_> = report.days.iter().map(|day| (day.date.as_str(), day.logins, day.failed_logins)).collect();
        assert_eq!(days, [("2026-11-18", 4, 4), ("2026-11-19", 4, 4), ("2026-11-20", 4, 4)]);
        happen(&app, story(0)).await;
        assert_eq!(super::report(&app.db, DEFAULT_SITE, NOON, 1).await.unwrap().behind, 15);
    }
}

#[test]
fn quotients_have_one_decimal_and_nothing_is_divided_by_nothing() {
    for (part, whole, percents) in
        [(1, 12, 8.3), (0, 7, 0.0), (7, 7, 100.0), (1, 0, 0.0), (2, 3, 66.7), (3, 2, 150.0)]
    {
        assert!((percent(part, whole) - percents).abs() < 1e-9, "{part} of {whole}");
    }
    assert!((tenths(10, 8) - 1.3).abs() < 1e-9);
    assert!((percent(i64::MAX, 1) - 214_748_364.7).abs() < 1e-9);
}

#[test]
fn the_largest_come_first_and_equals_by_name() {
    let all = [("b", 2), ("a", 2), ("c", 1), ("c", 3)].map(|(name, amount)| (name.to_owned(), amount));
    assert_eq!(top(all, 2), [("c".to_owned(), 4), ("a".to_owned(), 2)]);
}
