//! Every condition that `allow` knows, over real sockets: whom it lets through, and whom not.
//!
//! Law: unknown never allows, and the opposite of unknown is unknown. Who is superuser passes what asks for
//! permissions and nothing else.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock as _, Phone, SystemClock, TestClock};
use portcullis::organization::{Terms, set_terms};
use portcullis::policy::Code;
use portcullis::rbac::Granted;

use crate::support::people::{Keys, TRUSTING, User, permission, request};
use crate::support::{Gateway, Upstream, exchange};

const RIGHTS: &str = "permissions: [ { code: reports }, { code: reports.read, parent: reports } ]
roles: [ { code: chief, permissions: [reports.read] } ]
groups: [ { code: finance, roles: [chief] } ]
organizations: { roles: [ { code: buyer, permissions: [shop.buy] } ] }
";

/// Those who ask; `Nobody` brings no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    /// Confirmed her e-mail address, and is nothing else.
    Ann,
    /// Has confirmed nothing, and came through the other application.
    Bob,
    /// In the group, and with a confirmed phone number.
    Cat,
    Staff,
    Root,
    /// Of the organization: its owner, its administrator, a buyer and a member.
    Owner,
    Admin,
    Buyer,
    Member,
}

use Who::{Admin, Ann, Bob, Buyer, Cat, Member, Nobody, Owner, Root, Staff};

/// What comes with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Nothing,
    Slug,
    Keys,
    OtherKeys,
}

use With::{Keys as Web, Nothing, OtherKeys, Slug};

type Row = (&'static str, &'static [(Who, With, &'static str)]);

/// Conditions, and what becomes of whom. Each is let through to somebody and closed to somebody, but for
/// what nothing makes true yet.
const TABLE: &[Row] = &[
    ("signed_in", &[(Ann, Nothing, "200"), (Bob, Nothing, "200"), (Nobody, Nothing, "401 AUTH_REQUIRED")]),
    (
        "{ permission: reports.read }",
        &[
            (Cat, Nothing, "200"),
            (Root, Nothing, "200"),
            (Ann, Nothing, "403 PERMISSION_REQUIRED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ role: chief }",
        &[(Cat, Nothing, "200"), (Ann, Nothing, "403 ROLE_REQUIRED"), (Root, Nothing, "403 ROLE_REQUIRED")],
    ),
    (
        "{ group: finance }",
        &[(Cat, Nothing, "200"), (Ann, Nothing, "403 GROUP_REQUIRED"), (Root, Nothing, "403 GROUP_REQUIRED")],
    ),
    (
        "{ verified: email }",
        &[
            (Ann, Nothing, "200"),
            (Bob, Nothing, "403 EMAIL_NOT_VERIFIED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ verified: phone }",
        &[
            (Cat, Nothing, "200"),
            (Ann, Nothing, "403 PHONE_NOT_VERIFIED"),
            (Root, Nothing, "403 PHONE_NOT_VERIFIED"),
        ],
    ),
    (
        "{ staff: true }",
        &[
            (Staff, Nothing, "200"),
            (Ann, Nothing, "403 STAFF_REQUIRED"),
            (Root, Nothing, "403 STAFF_REQUIRED"),
        ],
    ),
    (
        "{ superuser: true }",
        &[
            (Root, Nothing, "200"),
            (Staff, Nothing, "403 SUPERUSER_REQUIRED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    // Every path ends in Ann's id.
    (
        "{ owner: id }",
        &[(Ann, Nothing, "200"), (Bob, Nothing, "403 OWNER_REQUIRED"), (Root, Nothing, "403 OWNER_REQUIRED")],
    ),
    (
        "{ application: any }",
        &[
            (Ann, Web, "200"),
            (Bob, OtherKeys, "200"),
            (Ann, Nothing, "401 APP_AUTH_REQUIRED"),
            (Root, Nothing, "401 APP_AUTH_REQUIRED"),
        ],
    ),
    (
        "{ application: web }",
        &[
            (Ann, Web, "200"),
            (Bob, OtherKeys, "403 APPLICATION_REQUIRED"),
            (Ann, Nothing, "401 APP_AUTH_REQUIRED"),
        ],
    ),
    (
        "{ org: member }",
        &[
            (Member, Slug, "200"),
            (Owner, Slug, "200"),
            (Member, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Ann, Slug, "404 ORG_NOT_FOUND"),
            (Root, Slug, "404 ORG_NOT_FOUND"),
            (Nobody, Slug, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ org: owner }",
        &[
            (Owner, Slug, "200"),
            (Admin, Slug, "403 ORG_ROLE_REQUIRED"),
            (Owner, Nothing, "400 ORG_CONTEXT_REQUIRED"),
        ],
    ),
    (
        "{ org: admin }",
        &[(Owner, Slug, "200"), (Admin, Slug, "200"), (Member, Slug, "403 ORG_ROLE_REQUIRED")],
    ),
    (
        "{ org: { role: buyer } }",
        &[
            (Buyer, Slug, "200"),
            (Owner, Slug, "403 ORG_ROLE_REQUIRED"),
            (Buyer, Nothing, "400 ORG_CONTEXT_REQUIRED"),
        ],
    ),
    (
        "{ org: { permission: shop.buy } }",
        &[(Buyer, Slug, "200"), (Member, Slug, "403 ORG_PERMISSION_REQUIRED")],
    ),
    // Nothing makes this true yet.
    (
        "{ scope: reports }",
        &[
            (Ann, Nothing, "403 INSUFFICIENT_SCOPE"),
            (Root, Nothing, "403 INSUFFICIENT_SCOPE"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    // Of the organization itself: `acme` has the plan `gold`, and is `active` as all are at first.
    ("{ org: { plan: gold } }", &[(Owner, Slug, "200"), (Owner, Nothing, "400 ORG_CONTEXT_REQUIRED")]),
    (
        "{ org: { plan: free } }",
        &[(Owner, Slug, "403 ORG_PLAN_REQUIRED"), (Nobody, Slug, "401 AUTH_REQUIRED")],
    ),
    ("{ org: { status: active } }", &[(Member, Slug, "200"), (Nobody, Slug, "401 AUTH_REQUIRED")]),
    (
        "{ org: { status: closed } }",
        &[(Member, Slug, "403 ORG_STATUS_REQUIRED"), (Ann, Slug, "404 ORG_NOT_FOUND")],
    ),
    // Of what is put together.
    (
        "{ all: [ { permission: reports.read }, { verified: phone } ] }",
        &[
            (Cat, Nothing, "200"),
            (Root, Nothing, "403 PHONE_NOT_VERIFIED"),
            (Ann, Nothing, "403 PERMISSION_REQUIRED"),
        ],
    ),
    (
        "{ permission: reports.read, org: member }",
        &[
            (Cat, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Member, Slug, "403 PERMISSION_REQUIRED"),
            (Owner, Slug, "200"),
        ],
    ),
    (
        "{ any: [ { role: chief }, { staff: true } ] }",
        &[
            (Cat, Nothing, "200"),
            (Staff, Nothing, "200"),
            (Ann, Nothing, "403 PERMISSION_DENIED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    // The opposite of unknown is unknown.
    (
        "{ not: { staff: true } }",
        &[
            (Ann, Nothing, "200"),
            (Staff, Nothing, "403 PERMISSION_DENIED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ not: { verified: email } }",
        &[
            (Bob, Nothing, "200"),
            (Ann, Nothing, "403 PERMISSION_DENIED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ not: { org: owner } }",
        &[
            (Member, Slug, "200"),
            (Owner, Slug, "403 PERMISSION_DENIED"),
            (Owner, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Ann, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Nobody, Slug, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ not: { not: { org: member } } }",
        &[
            (Member, Slug, "200"),
            (Member, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Nobody, Slug, "401 AUTH_REQUIRED"),
        ],
    ),
    (
        "{ all: [ signed_in, { not: { org: owner } } ] }",
        &[(Member, Slug, "200"), (Ann, Nothing, "400 ORG_CONTEXT_REQUIRED")],
    ),
    (
        "{ any: [ { not: { org: owner } }, { role: chief } ] }",
        &[
            (Cat, Nothing, "200"),
            (Ann, Nothing, "400 ORG_CONTEXT_REQUIRED"),
            (Member, Slug, "200"),
            (Owner, Slug, "403 PERMISSION_DENIED"),
        ],
    ),
    (
        "{ not: { max_age: 1m } }",
        &[(Ann, Nothing, "403 PERMISSION_DENIED"), (Nobody, Nothing, "401 AUTH_REQUIRED")],
    ),
    (
        "{ max_age: 1m }",
        &[(Ann, Nothing, "200"), (Root, Nothing, "200"), (Nobody, Nothing, "401 AUTH_REQUIRED")],
    ),
    (
        "{ mfa: true }",
        &[
            (Ann, Nothing, "403 MFA_REQUIRED"),
            (Root, Nothing, "403 MFA_REQUIRED"),
            (Nobody, Nothing, "401 AUTH_REQUIRED"),
        ],
    ),
];

/// The same two minutes later.
const LATER: &[Row] = &[
    (
        "{ max_age: 1m }",
        &[(Ann, Nothing, "403 REAUTHENTICATION_REQUIRED"), (Root, Nothing, "403 REAUTHENTICATION_REQUIRED")],
    ),
    ("{ not: { max_age: 1m } }", &[(Ann, Nothing, "200"), (Nobody, Nothing, "401 AUTH_REQUIRED")]),
];

struct Scene {
    upstream: Upstream,
    gateway: Gateway,
    clock: Arc<TestClock>,
    keys: [Keys; 2],
    people: Vec<(Who, User)>,
}

fn yaml(upstream: &Upstream) -> String {
    let route = |(at, (allow, _)): (usize, &Row)| {
        format!(
            "  - {{ name: leaf-{at}, match: {{ path: '/leaf-{at}/{{id}}' }}, upstream: up, allow: {allow} }}\n"
        )
    };
    let routes: String = TABLE.iter().enumerate().map(route).collect();
    format!(
        "{TRUSTING}{RIGHTS}upstreams: {{ up: {{ servers: ['{}'] }} }}\nroutes:\n{routes}",
        upstream.address
    )
}

impl Scene {
    async fn new() -> Self {
        let (upstream, clock) = (Upstream::echo().await, Arc::new(TestClock::at(SystemClock.now())));
        let folder = tempfile::tempdir().unwrap();
        let started = Gateway::start_by(clock.clone(), folder, &yaml(&upstream)).await;
        let gateway = started.unwrap_or_else(|error| panic!("{error}"));
        let keys = [gateway.application("web", &[]).await, gateway.application("other", &[]).await];
        let mut scene = Self { upstream, gateway, clock, keys, people: Vec::new() };
        for who in [Ann, Bob, Cat, Staff, Root, Owner, Admin, Buyer, Member] {
            scene.comes(who).await;
        }
        let gateway = &scene.gateway;
        gateway.grant(scene.of(Cat).id, Granted::Group(Code::parse("finance").unwrap())).await;
        gateway.grant(scene.of(Owner).id, permission("reports")).await;
        let acme = gateway.organization("acme", scene.of(Owner).id, None).await;
        for (who, name) in [(Admin, "admin"), (Buyer, "buyer"), (Member, "member")] {
            gateway.join(acme, scene.of(who).id, name).await;
        }
        let terms = Terms { plan: Some("gold".to_owned()), status: None };
        gateway.change(async |change| set_terms(change, acme, &terms).await.unwrap()).await;
        scene
    }

    async fn comes(&mut self, who: Who) {
        let name = format!("{who:?}").to_lowercase();
        let with = self.gateway.account(&name, |new| {
            new.is_verified = who != Bob;
            new.is_staff = who == Staff;
            new.is_superuser = who == Root;
            new.phone = (who == Cat).then(|| Phone::parse("+33612345678").unwrap());
        });
        let id = with.await;
        let keys = &self.keys[usize::from(who == Bob)];
        let user = self.gateway.log_in(&name, id, keys).await;
        self.people.push((who, user));
    }

    fn of(&self, who: Who) -> &User {
        self.people.iter().find(|(other, _)| *other == who).map(|(_, user)| user).expect("somebody")
    }

    async fn outcome(&self, at: usize, who: Who, with: With) -> String {
        let mut lines = Vec::new();
        if who != Nobody {
            lines.push(self.of(who).bearer());
        }
        match with {
            Nothing => {}
            Slug => lines.push("X-Org-Slug: acme".to_owned()),
            Web => lines.extend(self.keys[0].lines()),
            OtherKeys => lines.extend(self.keys[1].lines()),
        }
        let text = request("GET", &format!("/leaf-{at}/{}", self.of(Ann).id), &lines, "");
        let answer = exchange(self.gateway.public(), text).await.expect("an answer");
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    }

    async fn holds(&self, rows: &[Row]) {
        let mut wrong = Vec::new();
        for (allow, cases) in rows {
            let at = TABLE.iter().position(|(other, _)| other == allow).expect("a route");
            for (who, with, expected) in *cases {
                let before = self.upstream.count();
                let told = self.outcome(at, *who, *with).await;
                let sent = self.upstream.count() - before;
                if told != *expected || sent != usize::from(*expected == "200") {
                    wrong.push(format!(
                        "{allow} of {who:?} with {with:?}: {told}, not {expected}; sent {sent}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_lets_through_whom_it_means_and_nobody_else() {
    let scene = Scene::new().await;
    scene.holds(TABLE).await;
    scene.clock.advance(Duration::from_mins(2));
    scene.holds(LATER).await;
}
