//! Places in lists, as `next` names them, in the hands of those whose list it is not.
//!
//! Law: a place says where to go on, never in whose list: who goes on from one of another site sees what is
//! their own, or is told that it is no place.

use std::collections::BTreeSet;

use portcullis::account::NewAccount;
use portcullis::base::Id;
use portcullis::store::{DEFAULT_SITE, sql};
use serde_json::Value;

use crate::support::Gateway;
use crate::support::people::{Keys, TRUSTING, User};
use crate::support::raw::Answer;

const OTHER_SITE: Id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0003);
const LISTS: [&str; 7] = [
    "/admin/users/?page_size=2",
    "/admin/users/?page_size=2&ordering=email",
    "/admin/users/?page_size=2&ordering=-first_name",
    "/admin/users/?page_size=2&search=example",
    "/admin/audit-logs/?page_size=2",
    "/admin/login-attempts/?page_size=2",
    "/admin/refresh-tokens/?page_size=2",
];

struct Scene {
    gateway: Gateway,
    keys: Keys,
}

impl Scene {
    async fn call(&self, user: &User, path: &str) -> Answer {
        self.gateway.call("GET", path, &[user.bearer()], &Value::Null).await
    }

    /// A superuser who is of this site from here on. Logins are for the default site.
    async fn root_of(&self, site: Id, name: &str) -> User {
        let id = self.gateway.account(name, |new| new.is_superuser = true).await;
        let user = self.gateway.log_in(name, id, &self.keys).await;
        let mut tx = self.gateway.running.app.db.begin().await.unwrap();
        let moved = sql("UPDATE account SET site_id = ? WHERE id = ?").bind(site).bind(id);
        tx.execute(moved).await.unwrap();
        tx.commit().await.unwrap();
        user
    }

    /// Everything in a list, by its ids, and where each of its pages leads to.
    async fn walk(&self, user: &User, list: &str) -> (BTreeSet<String>, Vec<String>) {
        let (mut all, mut ways, mut path) = (BTreeSet::new(), Vec::new(), list.to_owned());
        loop {
            let answer = self.call(user, &path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            all.extend(ids(&answer));
            let Some(next) = answer.json()["next"].as_str().map(str::to_owned) else { break };
            next.split_once("/api/v1/auth").unwrap().1.clone_into(&mut path);
            ways.push(path.clone());
        }
        (all, ways)
    }
}

fn ids(page: &Answer) -> Vec<String> {
    let page = page.json();
    page["results"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect()
}

#[tokio::test]
async fn a_place_in_the_list_of_another_site_leads_to_nothing_of_it() {
    let gateway = Gateway::start(&format!("{TRUSTING}applications: {{ required: nowhere }}\n")).await;
    let keys = gateway.application("console", &[]).await;
    let scene = Scene { gateway, keys };
    let mallory = scene.root_of(OTHER_SITE, "mallory").await;
    let root = scene.root_of(DEFAULT_SITE, "root").await;
    for (number, site) in [DEFAULT_SITE, OTHER_SITE].repeat(5).into_iter().enumerate() {
        let named = |new: &mut NewAccount| {
            new.site = site;
            new.first_name = format!("P{number}");
        };
        scene.gateway.account(&format!("p{number}"), named).await;
    }
    for list in LISTS {
        let (ours, our_ways) = scene.walk(&root, list).await;
        let (theirs, their_ways) = scene.walk(&mallory, list).await;
        assert!(ours.is_disjoint(&theirs), "{list}: {ours:?} {theirs:?}");
        let is_of_people = list.starts_with("/admin/users/");
        assert!(!is_of_people || (ours.len() > 4 && theirs.len() > 4), "{list}: {ours:?} {theirs:?}");
        for (user, own, ways) in [(&root, &ours, &their_ways), (&mallory, &theirs, &our_ways)] {
            for way in ways {
                let answer = scene.call(user, way).await;
                assert!(matches!(answer.status, 200 | 400), "{way}: {}", answer.text());
                let seen = if answer.status == 200 { ids(&answer) } else { Vec::new() };
                assert!(seen.iter().all(|id| own.contains(id)), "{way}: {seen:?}");
            }
        }
    }
}
