//! How many there are, counted by the slices whose tables these are.
//! Law: each number is checked against what was made, and on another site nothing is counted.

use super::*;
use crate::account::{self, Census, NewAccount};
use crate::app::Applier;
use crate::keys;
use crate::organization::{self, New};
use crate::policy::Code;
use crate::privacy::{self, Status};
use crate::session::{self, Device, Login, Method};

pub(super) async fn people(app: &App, count: usize) -> Vec<Id> {
    let mut all = Vec::new();
    let mut change = app.change(Actor::system()).await.unwrap();
    for _ in 0..count {
        let new = NewAccount::of(DEFAULT_SITE);
        all.push(account::create(&mut change, &new, How::Owner).await.unwrap().id);
    }
    change.commit().await.unwrap();
    all
}

async fn log_in(app: &App, account: Id) -> session::Session {
    let config = app.config();
    let account = account::by_id(&app.db, account).await.unwrap().unwrap();
    let login = Login {
        account: &account,
        application: None,
        device: &Device::default(),
        address: None,
        method: Method::Password,
        scope: None,
        claims: serde_json::Map::new(),
    };
    let mut change = app.change(Actor::system()).await.unwrap();
    let (session, _) = session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
    change.commit().await.unwrap();
    session
}

on_every_store! {
    async fn accounts_are_counted_as_what_they_are(store: TestStore) {
        let app = scene(store).await;
        let all = people(&app, 8).await;
        let (soon, long_ago) = (NOON.plus(DAY), NOON.minus(DAY));
        for (at, stmt) in [
            (0, sql("UPDATE account SET is_banned = ?, is_active = ? WHERE id = ?").bind(true).bind(false)),
            (1, sql("UPDATE account SET is_active = ? WHERE id = ?").bind(false)),
            (2, sql("UPDATE account SET is_locked = ?, locked_until = ? WHERE id = ?").bind(true).bind(soon)),
            (3, sql("UPDATE account SET is_locked = ?, locked_until = ? WHERE id = ?").bind(true).bind(long_ago)),
            (4, sql("UPDATE account SET is_locked = ?, is_email_verified = ? WHERE id = ?").bind(true).bind(true)),
            (5, sql("UPDATE account SET is_phone_verified = ?, second_factor_at = ? WHERE id = ?").bind(true).bind(NOON)),
            (6, sql("UPDATE account SET is_banned = ? WHERE id = ?").bind(true)),
        ] {
            assert_eq!(write(&app.db, stmt.bind(all[at])).await, 1);
        }
        let mut change = app.change(Actor::system()).await.unwrap();
        assert!(account::erase(&mut change, all[7], How::Owner).await.unwrap());
        change.commit().await.unwrap();
        let census = account::census(&app.db, DEFAULT_SITE, NOON).await.unwrap();
        let wanted = Census {
            total: 7,
            active: 4,
            locked: 2,
            banned: 2,
            deleted: 1,
            verified_email: 1,
            verified_phone: 1,
            with_2fa: 1,
        };
        assert_eq!(census, wanted);
        assert_eq!(account::census(&app.db, ELSEWHERE, NOON).await.unwrap(), Census::default());
        // Of those who are locked, the ones whom nothing else keeps out.
        for (at, stmt) in [
            (6, sql("UPDATE account SET is_locked = ? WHERE id = ?").bind(true)),
            (3, sql("UPDATE account SET last_login_at = ? WHERE id = ?").bind(NOON)),
            (5, sql("UPDATE account SET last_login_at = ? WHERE id = ?").bind(long_ago)),
        ] {
            assert_eq!(write(&app.db, stmt.bind(all[at])).await, 1);
        }
        assert_eq!(account::census(&app.db, DEFAULT_SITE, NOON).await.unwrap().locked, 3);
        let locked_out = async |site, at| account::locked_out(&app.db, site, at).await.unwrap();
        assert_eq!((locked_out(DEFAULT_SITE, NOON).await, locked_out(ELSEWHERE, NOON).await), (2, 0));
        assert_eq!(locked_out(DEFAULT_SITE, soon).await, 1, "one lock is over then");
        let seen = async |site, since| account::seen_since(&app.db, site, since).await.unwrap();
        assert_eq!((seen(DEFAULT_SITE, NOON).await, seen(DEFAULT_SITE, long_ago).await), (1, 2));
        assert_eq!(seen(ELSEWHERE, long_ago).await, 0);
    }

    async fn sessions_are_live_or_ended_and_their_tokens_run_on_for_a_while(store: TestStore) {
        let appliers: Vec<Applier> = vec![keys::reload];
        let app = TestApp::on(store, With { appliers, ..With::default() }).await;
        keys::ensure(&app).await.unwrap();
        let ada = people(&app, 1).await[0];
        let first = log_in(&app, ada).await;
        app.clock.advance(Duration::from_mins(1));
        let second = log_in(&app, ada).await;
        log_in(&app, ada).await;
        let access_for = app.config().tokens.access_for;
        let running = async || {
            let now = app.now();
            session::ended_running(&app.db, DEFAULT_SITE, now, now.minus(access_for)).await.unwrap()
        };
        let live = async |site| session::live(&app.db, site, app.now()).await.unwrap();
        assert_eq!((live(DEFAULT_SITE).await, live(ELSEWHERE).await, running().await), (3, 0, Vec::new()));
        let mut change = app.change(Actor::system()).await.unwrap();
        for own in [&first, &second] {
            assert!(session::end(&mut change, own, EndReason::Administrator).await.unwrap());
        }
        change.commit().await.unwrap();
        assert_eq!((live(DEFAULT_SITE).await, running().await), (1, vec![(Some("administrator".to_owned()), 2)]));
        let ever = Timestamp::from_millis(0);
        let since = async |site, at| session::ended_since(&app.db, site, at).await.unwrap();
        assert_eq!((since(DEFAULT_SITE, app.now()).await, since(ELSEWHERE, app.now()).await), (2, 0));
        assert_eq!((since(DEFAULT_SITE, ever).await, since(ELSEWHERE, ever).await), (2, 0));
        assert_eq!(since(DEFAULT_SITE, app.now().plus(Duration::from_millis(1))).await, 0);
        // The token of the one that began a minute earlier is over a minute earlier.
        app.clock.advance(access_for.saturating_sub(Duration::from_secs(30)));
        assert_eq!(running().await, vec![(Some("administrator".to_owned()), 1)]);
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(running().await, Vec::new());
        app.clock.advance(400 * DAY);
        assert_eq!(live(DEFAULT_SITE).await, 0, "over by itself");
    }

    async fn organizations_are_counted_with_their_members_by_role(store: TestStore) {
        let app = scene(store).await;
        let all = people(&app, 5).await;
        let definitions = app.catalogue().definitions().clone();
        let mut made = Vec::new();
        for (name, parent) in [("Acme", None), ("Below", Some(0)), ("Gone", None), ("Rival", None)] {
            let parent: Option<&organization::Organization> = parent.map(|at: usize| &made[at]);
            let new = New { site: DEFAULT_SITE, name, slug: None, description: "", parent, owner: all[0], max_depth: 5 };
            let mut change = app.change(Actor::command_line()).await.unwrap();
            let own = organization::create(&mut change, new).await.unwrap();
            change.commit().await.unwrap();
            made.push(own);
        }
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let role = Code::parse("owner").unwrap();
        for person in &all[1..4] {
            organization::add_member(&mut change, &definitions, made[3].id, *person, &role).await.unwrap();
        }
        organization::add_member(&mut change, &definitions, made[2].id, all[1], &role).await.unwrap();
        organization::delete(&mut change, made[2].id).await.unwrap();
        change.commit().await.unwrap();
        let census = organization::census::census(&app.db, DEFAULT_SITE, 2).await.unwrap();
        assert_eq!((census.total, census.active, census.with_below), (4, 3, 1));
        assert_eq!(census.by_role, [(role, 6)]);
        let largest: Vec<_> = census.largest.iter().map(|own| (own.slug.as_str(), own.members)).collect();
        assert_eq!(largest, [("rival", 4), ("acme", 1)], "of equals the older one");
        assert_eq!(organization::census::size(&app.db, made[3].id).await.unwrap(), 4);
        // One that is switched off is not counted, whatever stands below.
        let off = sql("UPDATE organization SET is_active = ? WHERE id = ?").bind(false).bind(made[0].id);
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(off).await.unwrap();
        tx.commit().await.unwrap();
        let census = organization::census::census(&app.db, DEFAULT_SITE, 2).await.unwrap();
        assert_eq!((census.active, census.with_below), (2, 0));
        let none = organization::census::census(&app.db, ELSEWHERE, 5).await.unwrap();
        assert_eq!((none.total, none.by_role.len(), none.largest.len()), (0, 0, 0));
    }

    async fn deletions_are_counted_by_how_they_stand(store: TestStore) {
        let app = scene(store).await;
        for (number, (status, due_at)) in [
            ("confirmed", Some(NOON.plus(3 * DAY))),
            ("confirmed", Some(NOON.plus(20 * DAY))),
            ("confirmation_sent", None),
            ("cancelled", Some(NOON)),
            ("completed", Some(NOON)),
            ("completed", Some(NOON)),
        ]
        .into_iter()
        .enumerate()
        {
            let stmt = sql("INSERT INTO account_deletion (id, number, site_id, account_id, status, reason, requested_at, due_at) \
                            VALUES (?, ?, ?, ?, ?, '', ?, ?)");
            let number = i64::try_from(number).unwrap() + 1;
            let stmt = stmt.bind(someone()).bind(number).bind(DEFAULT_SITE).bind(someone());
            write(&app.db, stmt.bind(status).bind(NOON).bind(due_at)).await;
        }
        let census = privacy::census(&app.db, DEFAULT_SITE, NOON.plus(7 * DAY)).await.unwrap();
        let wanted = [(Status::Cancelled, 1), (Status::Completed, 2), (Status::ConfirmationSent, 1), (Status::Confirmed, 2)];
        assert_eq!(census.by_status.len(), wanted.len());
        assert!(wanted.iter().all(|one| census.by_status.contains(one)), "{census:?}");
        assert_eq!(census.due, 1);
        let none = privacy::census(&app.db, ELSEWHERE, NOON).await.unwrap();
        assert_eq!((none.by_status.len(), none.due), (0, 0));
    }
}
