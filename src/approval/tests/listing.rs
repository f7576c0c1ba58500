//! What lists promise: the store's filters say the same as the approvals themselves, and pages miss nothing.

use super::*;
use crate::base::Slug;
use crate::principal::Membership;
use crate::store::sql;

on_every_store! {
    async fn a_list_filters_by_what_an_approval_is_now(store: TestStore) {
        let scene = Scene::on(store).await;
        let [pending, denied, approved, lapsing] = ["1", "2", "3", "4"].map(|body| scene.ask(body));
        let all = [pending.await, denied.await, approved.await, lapsing.await];
        scene.deny(&all[1]).await.unwrap();
        scene.approve(&scene.ada, &all[3]).await.unwrap();
        scene.app.clock.advance(2 * MINUTE);
        scene.approve(&scene.ada, &all[2]).await.unwrap();
        for step in 0..4 {
            let now = scene.app.now();
            let known = list_for(&scene.app, &scene.ada, &Filter::default()).await.unwrap();
            assert_eq!(known.len(), 4);
            for state in State::ALL {
                let filter = Filter { state: Some(state), ..Filter::default() };
                let wanted: Vec<_> = known.iter().filter(|one| one.state_at(now) == state).cloned().collect();
                assert_eq!(list_for(&scene.app, &scene.ada, &filter).await.unwrap(), wanted, "{step}: {state:?}");
                assert_eq!(list(&scene.app, DEFAULT_SITE, &filter).await.unwrap(), wanted, "{step}: {state:?}");
            }
            scene.app.clock.advance(4 * MINUTE);
        }
    }

    async fn a_list_filters_by_agent_route_and_trace(store: TestStore) {
        let scene = Scene::on(store).await;
        let asked = scene.ask("{}").await;
        let fits = async |filter: Filter| !list_for(&scene.app, &scene.ada, &filter).await.unwrap().is_empty();
        let text = |text: &str| Some(text.to_owned());
        assert!(fits(Filter { agent: text("robot"), route: text("pay"), ..Filter::default() }).await);
        assert!(fits(Filter { agent_token: Some(asked.agent_token), ..Filter::default() }).await);
        assert!(!fits(Filter { agent_token: Some(asked.id), ..Filter::default() }).await);
        assert!(!fits(Filter { agent: text("Robot"), ..Filter::default() }).await);
        assert!(!fits(Filter { route: text("pays"), ..Filter::default() }).await);
        assert!(fits(Filter { trace: asked.trace.clone(), ..Filter::default() }).await);
        assert!(!fits(Filter { trace: text("another"), ..Filter::default() }).await);
    }

    async fn pages_follow_one_another_and_miss_nothing(store: TestStore) {
        let scene = Scene::on(store).await;
        let stranger = person(&scene.app, &[]).await;
        for number in 0..7 {
            scene.ask(&number.to_string()).await;
        }
        let whole = list_for(&scene.app, &scene.ada, &Filter::default()).await.unwrap();
        assert_eq!(whole.len(), 7);
        let mut paged = Vec::new();
        loop {
            let before = paged.last().map(|last: &Approval| last.number);
            let filter = Filter { before, limit: Some(3), ..Filter::default() };
            let page = list_for(&scene.app, &scene.ada, &filter).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 3);
            paged.extend(page);
        }
        assert_eq!(paged, whole);
        assert!(list_for(&scene.app, &stranger, &Filter::default()).await.unwrap().is_empty());
    }

    async fn many_large_requests_are_not_read_for_one_list(store: TestStore) {
        let scene = Scene::on(store).await;
        let large = |number: usize| format!("{{\"number\": {number}, \"text\": \"{}\"}}", "x".repeat(400 << 10));
        for number in 0..6 {
            scene.ask(&large(number)).await;
        }
        scene.ask("{}").await;
        let over = scene.ask("{\"small\": true}").await;
        scene.deny(&over).await.unwrap();
        let all = list_for(&scene.app, &scene.ada, &Filter::default()).await.unwrap();
        let contents = contents(&scene.app, &all).await.unwrap();
        let kinds: Vec<_> = contents.iter().map(|seen| match seen {
            Seen::Whole(_) => 'w',
            Seen::Abridged => 'a',
            Seen::Gone => 'g',
        }).collect();
        assert_eq!(kinds.iter().collect::<String>(), "gwwwaaaa", "the newest come first");
        let total: usize = contents.iter().filter_map(Seen::content).map(|content| content.body.len()).sum();
        assert!(total <= 1 << 20, "{total}");
        let abridged = serde_json::to_value(shown(&scene.app, &all[5], &contents[5])).unwrap();
        assert_eq!((&abridged["abridged"], &abridged["body"]), (&true.into(), &serde_json::Value::Null));
        let whole = seen(&scene.app, &all[5]).await.unwrap();
        assert_eq!(whole.content().map(|content| content.body.len()), Some(large(2).len()), "by itself it is whole");
    }

    async fn a_list_has_a_hundred_where_nobody_says(store: TestStore) {
        let scene = Scene::on(store).await;
        for round in 0..6 {
            for number in 0..20 {
                let one = scene.ask(&format!("{round}-{number}")).await;
                if round < 5 {
                    scene.deny(&one).await.unwrap();
                }
            }
        }
        let count = async |limit| {
            let filter = Filter { limit, ..Filter::default() };
            list_for(&scene.app, &scene.ada, &filter).await.unwrap().len()
        };
        assert_eq!((count(None).await, count(Some(110)).await, count(Some(5000)).await), (100, 110, 120));
        let open = open_for(&scene.app, &scene.ada, 7).await.unwrap();
        assert!(open.len() == 7 && open.iter().all(|one| one.state == State::Pending));
    }

    async fn what_others_decide_stands_before_nobody(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let own = scene.ask("mine").await;
        scene.approvers = Approvers(vec![role("finance", 1)]);
        for number in 0..10 {
            scene.ask(&number.to_string()).await;
        }
        let open = open_for(&scene.app, &scene.ada, 3).await.unwrap();
        assert_eq!(open.iter().map(|one| one.id).collect::<Vec<_>>(), [own.id], "of her own she decides about one");
    }

    async fn what_others_decide_about_fills_nobodys_pages(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let [finance, legal] = ["finance", "legal"].map(|name| [Granted::Role(code(name))]);
        let (finance, legal) = (person(&scene.app, &finance).await, person(&scene.app, &legal).await);
        let theirs = Approvers(vec![role("legal", 1)]);
        scene.approvers = theirs.clone();
        let first = scene.ask("first").await;
        scene.approvers = Approvers(vec![role("finance", 1)]);
        for number in 0..12 {
            scene.ask(&format!("of finance {number}")).await;
        }
        // Of another organization, where the one of legal belongs to nobody.
        scene.approvers = theirs;
        let place = Id::new(scene.app.now(), scene.app.random.as_ref());
        for number in 0..5 {
            let there = scene.ask(&format!("there {number}")).await;
            let mut tx = scene.app.db.begin().await.unwrap();
            let stmt = sql("UPDATE approval SET organization_id = ? WHERE id = ?").bind(place).bind(there.id);
            tx.execute(stmt).await.unwrap();
            tx.commit().await.unwrap();
        }
        let page = async |person: &Principal| {
            let reader = list::reader(&scene.app, person).await.unwrap();
            let filter = Filter::default();
            list::store::listed(&scene.app.db, DEFAULT_SITE, Some(&reader), &filter, 3, scene.app.now()).await.unwrap()
        };
        let found = page(&legal).await;
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [first.id], "of three that were asked for");
        assert_eq!(list_for(&scene.app, &legal, &Filter::default()).await.unwrap(), found);
        assert_eq!(list_for(&scene.app, &finance, &Filter::default()).await.unwrap().len(), 12);
        let slug = Slug::parse("there").unwrap();
        let member = Membership { organization: place, number: Number(1), slug, role: code("admin") };
        let member = Principal { memberships: [member].into(), ..legal };
        assert_eq!(page(&member).await.len(), 3, "where somebody belongs it is looked at");
        assert!(page(&person(&scene.app, &[]).await).await.is_empty());
    }
}
