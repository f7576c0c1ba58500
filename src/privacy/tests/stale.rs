//! Lists of what is due that are older than what happened since, and exports about what others did.

use super::*;
use crate::privacy::due::{self, Done};

on_every_store! {
    async fn what_was_put_off_since_the_list_was_read_is_not_carried_out(store: TestStore) {
        let app = scene(store).await;
        let ada = person(&app, "ada", |_| {}).await;
        asked(&app, ada.id).await;
        confirmed_by(&app, &sent(&app).await).await.unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, ada.id, account::Ban::Imposed).await.unwrap();
        change.commit().await.unwrap();
        app.clock.advance(30 * DAY);
        let list = store::due(&app.db, None, Status::Confirmed, app.now(), 50).await.unwrap();
        assert_eq!(list.len(), 1);
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, ada.id, account::Ban::Lifted).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(due::delete(&app, &list[0], Actor::system()).await.unwrap(), Done::Nothing);
        assert_eq!(standing(&app, ada.id).await, Standing::Good);
        assert_eq!(of_account(&app.db, ada.id).await.unwrap()[0].status, Status::Confirmed);
        app.clock.advance(30 * DAY);
        assert_eq!(delete_due(&app).await.unwrap(), 1);
    }

    async fn an_export_does_not_tell_where_an_administrator_was(store: TestStore) {
        let app = scene(store).await;
        let (ada, bob) = (person(&app, "ada", |_| {}).await, person(&app, "bob", |_| {}).await);
        for (who, address) in [(bob.id, "203.0.113.77"), (ada.id, "198.51.100.5")] {
            let mut actor = Actor::new(audit::Who::Account(who));
            (actor.address, actor.user_agent) = (Some(address.parse().unwrap()), Some(format!("agent of {who}")));
            let mut change = app.change(actor).await.unwrap();
            let fields = [account::Field::Bio(address.to_owned())];
            account::edit(&mut change, ada.id, &fields).await.unwrap().unwrap();
            change.commit().await.unwrap();
        }
        let mut change = app.change(Actor::new(audit::Who::Account(ada.id))).await.unwrap();
        let person = account::by_id(change.tx(), ada.id).await.unwrap().unwrap();
        let all = export(&mut change, &person, SHOWN_ROWS).await.unwrap()["audit_logs"].to_string();
        assert!(all.contains("198.51.100.5") && all.contains(&format!("agent of {}", ada.id)), "{all}");
        assert!(!all.contains("203.0.113.77") && !all.contains(&format!("agent of {}", bob.id)), "{all}");
    }
}
