//! What a token may spend, where the store, the purse and what agents report come together.
//!
//! Law: what was counted once is counted, and what lies in a purse is nobody's but its token's.

use super::*;
use crate::agent::ledger::{count, has_nothing_left};
use crate::shared::{Bought, Filling, Kept, Price, Purchase, Short};

on_every_store! {
    async fn l6_money_in_the_purse_is_left_although_the_store_has_none(store: TestStore) {
        let scene = Scene::on(store).await;
        let dollar = MicroUsd::parse("1").unwrap();
        let mut ask = scene.ask(&["reports.read"]);
        ask.limits = Limits { budget: dollar, ..limits() };
        let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        assert!(!has_nothing_left(&scene.app, &token).await.unwrap());
        // Somebody is handed all of it after a report has emptied the purse.
        let all = Allowance { requests: 0, money: dollar };
        take(&scene.app, token.id, all, all).await.unwrap();
        let key = purse_key(token.id);
        let limits = Allowance { requests: token.limits.total, money: dollar };
        let (wanted, ends_at) = (all, token.expires_at);
        let ask = Purchase { wanted, price: Price::Final, limits, ends_at };
        let Ok(Bought::Short(Short { era, .. })) = scene.app.shared.buy(&key, &ask).await else {
            panic!("a purse with nothing in it")
        };
        let filling = Filling { granted: all, in_store: MicroUsd::ZERO, era, ends_at };
        assert_eq!(scene.app.shared.fill(&key, &filling).await, Ok(Kept::InPurse));
        assert!(!has_nothing_left(&scene.app, &token).await.unwrap());
        scene.app.shared.empty(&key).await.unwrap();
        assert!(has_nothing_left(&scene.app, &token).await.unwrap());
    }

    async fn a_report_that_was_counted_and_not_finished_is_finished_by_the_next_try(store: TestStore) {
        let scene = Scene::on(store).await;
        let dollar = MicroUsd::parse("1").unwrap();
        let mut ask = scene.ask(&["reports.read"]);
        ask.limits = Limits { budget: dollar, ..limits() };
        let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        // Then the process ended, or the shared state did not answer.
        count(&scene.app, &token, dollar, Some("run-1")).await.unwrap();
        let found = async || find(&scene.app.db, Reference::Id(token.id)).await.unwrap().unwrap();
        assert_eq!(found().await.status, Status::Active);
        let again = report(&scene.app, &token, dollar, Some("run-1")).await;
        assert!(matches!(again, Ok(Reported::Exhausted)), "{again:?}");
        let found = found().await;
        assert_eq!((found.status, found.granted.money), (Status::Suspended, dollar));
    }
}
