//! Who may give whom what, on every store.

use super::*;
use crate::account::{self, NewAccount};
use crate::audit::How;
use crate::base::Email;

pub(super) async fn person(app: &App, name: &str) -> Id {
    let new = NewAccount {
        email: Some(Email::parse(&format!("{name}@example.com")).unwrap()),
        is_verified: true,
        ..NewAccount::of(DEFAULT_SITE)
    };
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let id = account::create(&mut change, &new, How::Administrator).await.unwrap().id;
    change.commit().await.unwrap();
    id
}

pub(super) const ROLES: &str = "
organizations: { roles: [
  { code: buyer, permissions: [shop.buy] }, { code: inviter, permissions: [org.members.invite, org.members.manage] },
  { code: title, permissions: [] }, { code: named, permissions: [org.members.invite] },
  { code: all, permissions: [org.*] } ] }
upstreams: { up: { servers: ['127.0.0.1:1'] } }
routes: [ { name: n, match: { path: /n }, upstream: up, allow: { org: { role: named } } } ]
";

pub(super) async fn app_with_roles(store: TestStore) -> TestApp {
    TestApp::on(store, With { yaml: ROLES, ..With::default() }).await
}

/// Makes somebody a member, of any role that is defined here.
pub(super) async fn join(app: &App, organization: Id, account: Id, role: &str) {
    let all = app.config().definitions.clone();
    let all = seed::definitions().under(&all);
    let mut change = app.change(Actor::command_line()).await.unwrap();
    add_member(&mut change, &all, organization, account, &code(role)).await.unwrap();
    change.commit().await.unwrap();
}

async fn reaches(app: &App, caller: Id, organization: Id, role: &str) -> bool {
    let mut change = app.change(Actor::command_line()).await.unwrap();
    let standing = Standing::take(&mut change, caller, organization).await.unwrap();
    match standing.reach(&code(role)) {
        Ok(()) => true,
        Err(Refused::Exceeds(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

crate::on_every_store! {
    async fn nobody_gives_a_role_that_exceeds_what_they_hold(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob, cat) = (person(&app, "ada").await, person(&app, "bob").await, person(&app, "cat").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap();
        join(&app, acme.id, bob, "admin").await;
        join(&app, acme.id, cat, "inviter").await;
        let team = make(&app, New { parent: Some(&acme), ..new("Team", someone()) }).await.unwrap();
        let table = [
            ("owner", true, false, false, false),
            ("admin", true, true, false, false),
            ("member", true, true, true, true),
            ("viewer", true, true, true, true),
            // Nobody but an owner holds what it grants, or is it.
            ("buyer", true, false, false, false),
            ("inviter", true, true, true, true),
            // Nothing but a name, and a name that a route asks for.
            ("title", true, false, false, false),
            ("named", true, false, false, false),
            ("all", true, false, false, true),
        ];
        for (role, by_owner, by_admin, by_inviter, by_owner_above) in table {
            assert_eq!(reaches(&app, ada, acme.id, role).await, by_owner, "{role} by an owner");
            assert_eq!(reaches(&app, bob, acme.id, role).await, by_admin, "{role} by an administrator");
            assert_eq!(reaches(&app, cat, acme.id, role).await, by_inviter, "{role} by an inviter");
            // `admin` is no role that this route file names, and `org.*` covers it.
            let above = by_owner_above || role == "admin";
            assert_eq!(reaches(&app, ada, team.id, role).await, above, "{role} by the owner above");
        }
    }

    async fn who_has_nothing_to_do_with_it_or_may_not_act_finds_nothing(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, eve) = (person(&app, "ada").await, person(&app, "eve").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let look = async |caller| {
            let mut change = app.change(Actor::command_line()).await.unwrap();
            Standing::take(&mut change, caller, acme).await.map(drop)
        };
        assert_eq!(look(ada).await, Ok(()));
        assert_eq!((look(eve).await, look(someone()).await), (Err(Refused::Gone), Err(Refused::Gone)));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, ada, account::Ban::Imposed).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(look(ada).await, Err(Refused::Gone), "who is banned changes nothing");
    }

    async fn an_owner_who_may_not_act_is_nobodys_other_one(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        join(&app, acme, bob, "owner").await;
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, bob, account::Ban::Imposed).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(remove(&app, acme, ada).await, Err(Refused::LastOwner));
        assert_eq!(make_role(&app, acme, ada, "member").await, Err(Refused::LastOwner));
        remove(&app, acme, bob).await.unwrap();
    }
}
