//! What the outbox promises, on every database: written with its change, told once, given up aloud.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;

use super::courier::CLAIMED_FOR;
use super::*;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, SystemEvent};
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, FromRow, Source as _, sql};

const CONSOLE: &str = "mail: { via: console }\n";
/// Nobody listens there: port 1 belongs to a service that is long gone.
const DEAD: &str = "mail: { host: 127.0.0.1, port: 1, tls: none, from: gw@example.com }\n";

#[derive(FromRow, Debug, Clone, PartialEq, Eq)]
struct Row {
    state: String,
    tries: i64,
    due_at: Timestamp,
    content: Vec<u8>,
    problem: Option<String>,
}

async fn rows(app: &App) -> Vec<Row> {
    let rows = sql("SELECT state, tries, due_at, content, problem FROM outbox ORDER BY id");
    (&app.db).all(rows).await.unwrap()
}

fn occasion(key: &str) -> Occasion {
    Occasion { notice: Notice::AgentSuspended, site: DEFAULT_SITE, key: key.to_owned(), until: None }
}

fn letter(to: &str) -> Letter {
    Letter {
        account: Some(Id::from_u128(7)),
        to: Email::parse(to).unwrap(),
        subject: "Stopped\r\nBcc: everyone@example.com".to_owned(),
        text: "It was stopped.\n".to_owned(),
    }
}

/// A change must say what happened; which event it is does not matter here.
async fn post(app: &App, occasions: &[Occasion]) {
    let mut change = app.change(Actor::system()).await.unwrap();
    for occasion in occasions {
        write_to(&mut change, occasion, letter("ada@example.com")).await.unwrap();
    }
    change.record(SystemEvent::ConfigReloaded { sha256: String::new() }).await.unwrap();
    change.commit().await.unwrap();
}

async fn given_up(app: &App) -> usize {
    let rows = audit::tail(&app.db, 0, 1000).await.unwrap();
    rows.iter().filter(|row| row.code == "notice_given_up").count()
}

async fn with(store: TestStore, yaml: &'static str) -> TestApp {
    TestApp::on(store, With { yaml, ..With::default() }).await
}

on_every_store! {
    async fn an_occasion_is_told_once_however_often_it_is_written(store: TestStore) {
        let app = with(store, CONSOLE).await;
        post(&app, &[occasion("a"), occasion("a"), occasion("b")]).await;
        post(&app, &[occasion("a")]).await;
        assert_eq!(rows(&app).await.len(), 2);
        let courier = Courier::new(app.app.clone());
        courier.deliver().await.unwrap();
        post(&app, &[occasion("a")]).await;
        courier.deliver().await.unwrap();
        let rows = rows(&app).await;
        assert!(rows.iter().all(|row| row.state == "DELIVERED" && row.tries == 1), "{rows:?}");
        assert!(rows.len() == 2 && rows.iter().all(|row| row.content.is_empty()), "what it said is gone");
    }

    async fn what_is_not_committed_is_not_told(store: TestStore) {
        let app = with(store, CONSOLE).await;
        let mut change = app.change(Actor::system()).await.unwrap();
        write_to(&mut change, &occasion("a"), letter("ada@example.com")).await.unwrap();
        drop(change);
        assert_eq!(rows(&app).await, []);
    }

    async fn what_waits_cannot_be_read_in_the_store(store: TestStore) {
        let app = with(store, DEAD).await;
        post(&app, &[occasion("a")]).await;
        let content = &rows(&app).await[0].content;
        let holds = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(content.len() > 40 && !holds("ada@example.com") && !holds("stopped"));
    }

    async fn a_failure_is_tried_again_later_and_later_and_given_up_aloud(store: TestStore) {
        let app = with(store, DEAD).await;
        post(&app, &[occasion("a")]).await;
        let courier = Courier::new(app.app.clone());
        let mut pauses = Vec::new();
        for tries in 1.. {
            courier.deliver().await.unwrap();
            let row = rows(&app).await.remove(0);
            if row.state == "GIVEN_UP" {
                break;
            }
            assert_eq!((row.state.as_str(), row.tries), ("WAITING", tries));
            let pause = row.due_at.since(app.now());
            courier.deliver().await.unwrap();
            assert_eq!(rows(&app).await[0].tries, tries, "not before it is due");
            pauses.push(pause);
            app.clock.advance(pause);
        }
        assert!((8..20).contains(&pauses.len()), "{pauses:?}");
        assert!(pauses[0] <= Duration::from_secs(6) && pauses[3] > pauses[0] * 9, "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() <= TRIED_FOR);
        let row = rows(&app).await.remove(0);
        assert!(row.content.is_empty() && row.problem.is_some_and(|text| text.contains("no connection")));
        assert_eq!(given_up(&app).await, 1);
        audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.unwrap();
        courier.deliver().await.unwrap();
        assert_eq!(given_up(&app).await, 1);
    }

    async fn what_is_of_no_use_any_more_is_not_told(store: TestStore) {
        let app = with(store, CONSOLE).await;
        let until = Some(app.now().plus(Duration::from_mins(10)));
        post(&app, &[Occasion { until, ..occasion("a") }]).await;
        app.clock.advance(Duration::from_mins(10));
        Courier::new(app.app.clone()).deliver().await.unwrap();
        let row = rows(&app).await.remove(0);
        assert_eq!((row.state.as_str(), given_up(&app).await), ("GIVEN_UP", 1));
    }

    async fn of_many_who_claim_a_row_one_tries_it(store: TestStore) {
        let app = with(store, CONSOLE).await;
        let other = app.another(With { yaml: CONSOLE, ..With::default() }).await;
        let all: Vec<_> = (0..20).map(|n| occasion(&n.to_string())).collect();
        post(&app, &all).await;
        let couriers = (0..8).map(|n| {
            let courier = Courier::new(if n % 2 == 0 { app.app.clone() } else { other.clone() });
            // A database may give up one of several that race; what is left is due in the next turn.
            async move {
                for _ in 0..4 {
                    drop(courier.deliver().await);
                }
            }
        });
        join_all(couriers).await;
        let rows = rows(&app).await;
        assert!(rows.iter().all(|row| row.tries == 1 && row.state == "DELIVERED"), "{rows:?}");
    }

    async fn a_try_that_died_is_repeated_when_its_claim_is_over(store: TestStore) {
        let app = with(store, CONSOLE).await;
        post(&app, &[occasion("a")]).await;
        let due = store::due(&app.db, (Channel::Mail, ""), app.now(), 9).await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        let until = app.now().plus(CLAIMED_FOR);
        assert_eq!(store::claim(&mut tx, &due[0], app.now(), until).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let courier = Courier::new(app.app.clone());
        courier.deliver().await.unwrap();
        assert_eq!(rows(&app).await[0].state, "WAITING", "somebody else may still be at it");
        app.clock.advance(CLAIMED_FOR);
        courier.deliver().await.unwrap();
        let row = rows(&app).await.remove(0);
        assert_eq!((row.state.as_str(), row.tries), ("DELIVERED", 2));
        // The one who was thought dead has nothing to say any more.
        let mut tx = app.db.begin().await.unwrap();
        let late = store::finish(&mut tx, (due[0].id, 1), "GIVEN_UP", None, app.now()).await.unwrap();
        assert_eq!(late, 0);
    }

    async fn rows_that_are_over_are_removed_in_time(store: TestStore) {
        let app = with(store, CONSOLE).await;
        post(&app, &[occasion("a")]).await;
        Courier::new(app.app.clone()).deliver().await.unwrap();
        post(&app, &[occasion("b")]).await;
        app.clock.advance(app.config().retention.outbox + Duration::from_secs(1));
        assert_eq!(sweep(&app).await.unwrap(), 1);
        assert_eq!(rows(&app).await.len(), 1, "what waits is not over");
    }
}

#[tokio::test]
async fn without_mail_in_the_configuration_nothing_is_written() {
    let app = with(TestStore::sqlite().await, "").await;
    post(&app, &[occasion("a")]).await;
    assert_eq!(rows(&app).await, []);
}

#[tokio::test]
async fn a_way_that_left_the_configuration_is_given_up() {
    let app = with(TestStore::sqlite().await, CONSOLE).await;
    post(&app, &[occasion("a")]).await;
    let bare = app.another(With::default()).await;
    Courier::new(Arc::clone(&bare)).deliver().await.unwrap();
    let row = rows(&app).await.remove(0);
    assert_eq!(row.state, "GIVEN_UP");
    assert!(row.problem.is_some_and(|text| text.contains("no longer names")));
}

#[test]
fn a_subject_has_one_line_and_no_second_header() {
    let subject = one_line(&letter("ada@example.com").subject);
    assert_eq!(subject, "Stopped  Bcc: everyone@example.com");
    assert_eq!(one_line(&"é".repeat(500)).chars().count(), 200);
}

#[test]
fn no_two_occasions_have_one_key() {
    let key = |target: &'static str, occasion: &Occasion| {
        let content = Content::Webhook { data: json!({}) };
        dedup_key(&Entry { occasion, channel: Channel::Webhook, target, account: None, content })
    };
    assert_ne!(key("a", &occasion("b")), key("ab", &occasion("")));
    assert_ne!(key("a", &occasion("b")), key("a", &occasion("c")));
}
