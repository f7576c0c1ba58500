//! Everything that one site and one organization has, reached for by those of another with every endpoint.
//!
//! Law: whoever is of another site or tenant is told that there is no such thing, reads nothing of it, and changes no
//! row of it; a dump of the store before and after says so. The endpoints are those of the table, whichever they are.

mod proof;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis::base::Id;
use portcullis::http::{Access, Row, Table};
use portcullis::server;
use portcullis::store::{Dialect, Source as _, sql};
use serde_json::{Value, json};

use crate::agent::bearer;
use crate::filling::{asks_for_ids, inputs};
use crate::matrix::{filled, says_otherwise};
use crate::on_one_and_on_two;
use crate::support::dump::{Dump, dump};
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission, request};
use crate::support::raw::{Answer, exchange};
use crate::support::smtp::Smtp;
use crate::support::{Gateway, Replicas, Upstream};

const OTHER_SITE: Id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0002);
/// What everything of the first site is called by.
const MARK: &str = "zanzibar";
/// What the gateway keeps for itself, and moves on by itself.
const OWN: [&str; 13] = [
    "change_counter",
    "number_series",
    "lease",
    "setting",
    "rights_turn",
    "organization_turn",
    "outbox",
    "statistic",
    "statistic_cursor",
    "statistic_address",
    "statistic_census",
    "signing_key",
    "agent_usage",
];
/// The same of columns: what was counted before the sweep began is written down at some time after.
const COUNTED: [&str; 3] = ["last_used_at", "requests_granted", "budget_granted"];
/// Rows that belong to whoever they name: a new one that names somebody of the first site is a way in.
const TIES: [&str; 9] = [
    "organization",
    "membership",
    "account_grant",
    "session",
    "agent_token",
    "api_key",
    "invitation",
    "passkey",
    "approval_vote",
];

struct Scene {
    gateway: Arc<Gateway>,
    table: Table,
    keys: Keys,
    /// Every id that the first site has, of whatever.
    ids: Vec<String>,
    /// What it has that has a number too, by the pieces of paths behind which such a number stands: elsewhere the
    /// same number may name something that is everybody's.
    numbers: Vec<(&'static str, String)>,
    before: Dump,
    _mail: Smtp,
    _upstream: Upstream,
    /// Last: the store is theirs.
    _replicas: Replicas,
}

/// Who reaches for what is not theirs.
#[derive(Debug)]
struct Stranger {
    user: User,
    /// An organization, of their own where they have one.
    slug: String,
    /// Whether they have no permission: a refusal for want of one tells them nothing.
    is_denied: bool,
}

#[derive(Clone, Copy, Debug)]
enum Home {
    AnotherSite,
    AnotherTenant,
}

fn new_name(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{name}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Scene {
    /// A store in which one site has one of everything.
    async fn new(dialect: Dialect) -> Self {
        let (mail, upstream) = (Smtp::plain().await, Upstream::echo().await);
        let yaml = format!(
            "{TRUSTING}applications: {{ required: nowhere }}
api: {{ profiles: [ {{ use: auth-system, prefix: /compat }} ] }}
mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}
permissions: [ {{ code: reports.read }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: pay, match: {{ path: /pay }}, upstream: up, allow: signed_in,
      agents: {{ permission: reports.read, hold: always }} }}
",
            mail.address.port(),
            upstream.address
        );
        let replicas = Replicas::on(dialect, &yaml).await;
        let gateway = Arc::clone(&replicas.here);
        let table = server::public(&gateway.load(&yaml).config);
        let keys = gateway.application(MARK, &[]).await;
        settle_in(&gateway, &keys).await;
        let before = dump(&gateway.running.app.db, &OWN, &COUNTED).await;
        let ids = ids_of(&gateway).await;
        assert!(ids.len() > 8, "{ids:?}");
        let numbers = numbers_of(&gateway).await;
        // Others come through another application, so that nothing of theirs names the first one's.
        let keys = gateway.application("console", &[]).await;
        Self {
            gateway,
            table,
            keys,
            ids,
            numbers,
            before,
            _mail: mail,
            _upstream: upstream,
            _replicas: replicas,
        }
    }

    async fn fresh(&self, from: Home) -> Stranger {
        match from {
            Home::AnotherSite => self.foreigner().await,
            Home::AnotherTenant => self.neighbour().await,
        }
    }

    /// Somebody of another site who may do everything there. Logins are for the default site, so they are of it for
    /// that moment.
    async fn foreigner(&self) -> Stranger {
        let name = new_name("mallory");
        let id = self.gateway.account(&name, |new| new.is_superuser = true).await;
        let user = self.gateway.log_in(&name, id, &self.keys).await;
        self.move_to(id, OTHER_SITE).await;
        Stranger { user, slug: MARK.to_owned(), is_denied: false }
    }

    /// Somebody of the same site who owns another organization, and has no right beyond it.
    async fn neighbour(&self) -> Stranger {
        let name = new_name("eve");
        let user = self.gateway.user(&name, &self.keys).await;
        self.gateway.organization(&name, user.id, None).await;
        Stranger { user, slug: name, is_denied: true }
    }

    async fn move_to(&self, id: Id, site: Id) {
        let mut tx = self.gateway.running.app.db.begin().await.unwrap();
        let moved = sql("UPDATE account SET site_id = ? WHERE id = ?").bind(site).bind(id);
        assert_eq!(tx.execute(moved).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }

    async fn is_signed_in(&self, user: &User) -> bool {
        let lines = [user.bearer(), elsewhere()];
        self.gateway.call("GET", "/me/", &lines, &Value::Null).await.status == 200
    }

    /// The rows that somebody signed in may call, those that name something first: the others may end what is needed.
    fn rows(&self) -> Vec<Row> {
        let is_for_people = |row: &&Row| {
            matches!(row.access(), Access::Person | Access::Permission(_) | Access::PersonOrAgent)
        };
        let mut rows: Vec<Row> = self.table.rows().iter().filter(is_for_people).cloned().collect();
        rows.sort_by_key(|row| (!row.path().contains('{'), row.method() == "DELETE"));
        assert!(rows.len() > 100, "{} rows", rows.len());
        rows
    }

    /// Everything of the first site's that a row may be asked for.
    fn names_for(&self, row: &Row) -> Vec<&str> {
        let takes_ids = row.path().contains('{') || asks_for_ids(row);
        let ids = if takes_ids { &self.ids[..] } else { &self.ids[..1] };
        let is_behind = |piece: &str| row.path().contains(&format!("/{piece}/{{"));
        let numbers = self.numbers.iter().filter(|(piece, _)| is_behind(piece)).map(|(_, number)| number);
        ids.iter().chain(numbers).map(String::as_str).collect()
    }

    /// Calls a row with this id wherever it takes one: with everything that it takes, and where that is no good with
    /// less. What was asked, and what came of it.
    async fn reach(&self, row: &Row, who: &str, slug: &str, id: &str) -> Vec<(String, Answer)> {
        let mut all = Vec::new();
        for (query, body) in inputs(row, id) {
            let path = filled(&self.table.full_path(row), id) + &query;
            let mut lines = vec![who.to_owned(), elsewhere()];
            if row.is_in_organization() {
                lines.push(format!("X-Org-Slug: {slug}"));
            }
            let text = request(row.method().as_str(), &path, &lines, &body);
            let answer = exchange(self.gateway.public(), text).await;
            let answer = answer.unwrap_or_else(|| panic!("{path}: an answer"));
            let is_no_good = matches!(answer.status, 400 | 422);
            all.push((format!("{} {path} {slug} {body}", row.method()), answer));
            if !is_no_good {
                break;
            }
        }
        all
    }

    /// What became of the first site's rows: nothing, or what is wrong.
    async fn damage(&self) -> Vec<String> {
        let after = dump(&self.gateway.running.app.db, &OWN, &COUNTED).await;
        let mut wrong = Vec::new();
        for (table, rows) in &self.before {
            let kept = after.get(table);
            let lost = rows.iter().filter(|row| kept.is_none_or(|kept| !kept.contains(*row)));
            wrong.extend(lost.map(|row| format!("{table} was changed: {row}")));
        }
        for table in TIES {
            let old = &self.before[table];
            let names = |row: &&String| self.ids.iter().any(|id| row.contains(id.as_str()));
            let new = after[table].iter().filter(|row| !old.contains(*row)).filter(names);
            wrong.extend(new.map(|row| format!("{table} has a new row: {row}")));
        }
        wrong
    }
}

/// One of everything that can be named, all of it of somebody whose name is told nowhere else.
async fn settle_in(gateway: &Gateway, keys: &Keys) {
    let ada = gateway.user(&format!("ada-{MARK}"), keys).await;
    gateway.grant(ada.id, permission("reports.read")).await;
    gateway.organization(MARK, ada.id, None).await;
    let ask = async |path: &str, more: &[String], body: Value| {
        let lines = [&[ada.bearer(), elsewhere()][..], more].concat();
        let answer = gateway.call("POST", path, &lines, &body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer.json()
    };
    ask("/api-keys/", &[], json!({"name": MARK, "password": PASSWORD})).await;
    let made = ask("/ai/tokens/", &[], json!({"agent_id": MARK, "permissions": ["reports.read"]})).await;
    let invited = json!({"email": format!("new-{MARK}@example.com"), "role_code": "member"});
    ask("/organizations/invitations/", &[format!("X-Org-Slug: {MARK}")], invited).await;
    let lines = [bearer(made["token"].as_str().unwrap()), elsewhere()];
    let held = exchange(gateway.public(), request("POST", "/pay", &lines, "{\"amount\": 1}")).await.unwrap();
    assert_eq!(held.status, 202, "{}", held.text());
    ask("/request-account-deletion/", &[], json!({"password": PASSWORD, "reason": MARK})).await;
}

/// The ids of everything that somebody has.
async fn ids_of(gateway: &Gateway) -> Vec<String> {
    let mut db = &gateway.running.app.db;
    let mut ids = Vec::new();
    for (table, text) in [
        ("account", "SELECT id FROM account"),
        ("application", "SELECT id FROM application"),
        ("session", "SELECT id FROM session"),
        ("organization", "SELECT id FROM organization"),
        ("invitation", "SELECT id FROM invitation"),
        ("agent_token", "SELECT id FROM agent_token"),
        ("api_key", "SELECT id FROM api_key"),
        ("approval", "SELECT id FROM approval"),
        ("account_deletion", "SELECT id FROM account_deletion"),
    ] {
        let found: Vec<(String,)> = db.all(sql(text)).await.unwrap();
        assert!(!found.is_empty(), "there is one in {table}");
        ids.extend(found.into_iter().map(|(id,)| id));
    }
    ids
}

/// The numbers of what somebody has: small, and guessed by anybody.
async fn numbers_of(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let mut db = &gateway.running.app.db;
    let mut numbers = Vec::new();
    for (piece, text) in [
        ("users", "SELECT number FROM account"),
        ("members", "SELECT number FROM account"),
        ("applications", "SELECT number FROM application"),
        ("tokens", "SELECT number FROM agent_token"),
        ("pending-actions", "SELECT number FROM approval"),
        ("invitations", "SELECT number FROM invitation"),
        ("deletion-requests", "SELECT number FROM account_deletion"),
    ] {
        let found: Vec<(i64,)> = db.all(sql(text)).await.unwrap();
        assert!(!found.is_empty(), "{text}");
        numbers.extend(found.into_iter().map(|(number,)| (piece, number.to_string())));
    }
    numbers
}

/// The answer without what only repeats the request.
fn own_words(answer: &Answer) -> String {
    answer.text().replace(&format!("\"slug\":\"{MARK}\""), "")
}

/// What is wrong with an answer to somebody who reached for what is not theirs.
fn problem(row: &Row, answer: &Answer, stranger: &Stranger) -> Option<&'static str> {
    let names_something = row.path().contains('{');
    let found = match answer.status {
        500.. => Some("fails"),
        // What has another name than ours may be refused for its form before it is looked for.
        400 | 404 | 422 => None,
        // Said before anything is looked for. Where a row needs no permission there is no such excuse.
        403 if stranger.is_denied && matches!(row.access(), Access::Permission(_)) => None,
        401 if names_something => Some("takes them for nobody"),
        403 if names_something => Some("says that there is such a thing"),
        _ if names_something => Some("acts on what it must not find"),
        _ => None,
    };
    found.or_else(|| own_words(answer).contains(MARK).then_some("tells of it"))
}

/// Whether somebody was told that there is no such thing, or before anything was looked for that they may not ask.
fn says_so(row: &Row, answer: &Answer, stranger: &Stranger) -> bool {
    let may_not = stranger.is_denied && matches!(row.access(), Access::Permission(_));
    answer.status == 404 || (answer.status == 403 && may_not)
}

/// What is wrong with a row that names something, and said of nothing that there is no such thing: whatever it was asked
/// with was no good, so that nothing was looked for, and that it hides what is others' was not shown.
fn silence(row: &Row, is_said: bool) -> Option<String> {
    if !row.path().contains('{') {
        return None;
    }
    let told = match (says_otherwise(row), is_said) {
        (None, false) => "never said that there is no such thing".to_owned(),
        (Some(reason), true) => format!("said so, although {reason}"),
        (None, true) | (Some(_), false) => return None,
    };
    Some(format!("{} {} {told}", row.method(), row.path()))
}

/// Reaches for everything with every row, by the names of all that the first one has.
async fn reaches_nothing(scene: &Scene, from: Home) {
    let mut stranger = scene.fresh(from).await;
    let mut wrong = Vec::new();
    for row in scene.rows() {
        let mut is_said = false;
        for (id, is_own) in scene.names_for(&row).into_iter().flat_map(|id| [(id, false), (id, true)]) {
            if is_own && !row.is_in_organization() {
                continue;
            }
            let slug = if is_own { stranger.slug.clone() } else { MARK.to_owned() };
            // In an organization that is not theirs nothing else is looked for.
            let is_looked_for = !row.is_in_organization() || slug == stranger.slug;
            let mut is_done = false;
            for (what, answer) in scene.reach(&row, &stranger.user.bearer(), &slug, id).await {
                is_said |= is_looked_for && says_so(&row, &answer, &stranger);
                is_done |= answer.status < 300 && row.method() != "GET";
                let found = problem(&row, &answer, &stranger);
                wrong.extend(found.map(|why| format!("{what} {why}: {} {}", answer.status, answer.text())));
            }
            if is_done && !scene.is_signed_in(&stranger.user).await {
                stranger = scene.fresh(from).await;
            }
        }
        wrong.extend(silence(&row, is_said));
    }
    wrong.extend(scene.damage().await);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

on_one_and_on_two! {
    async fn whoever_is_of_another_site_reaches_nothing_of_the_first(dialect: Dialect) {
        reaches_nothing(&Scene::new(dialect).await, Home::AnotherSite).await;
    }

    async fn whoever_is_of_another_tenant_reaches_nothing_of_the_first(dialect: Dialect) {
        reaches_nothing(&Scene::new(dialect).await, Home::AnotherTenant).await;
    }
}

/// What somebody of another tenant delegated sees and touches no more than they do.
#[tokio::test]
async fn an_agent_of_another_tenant_reaches_nothing_of_the_first() {
    let scene = Scene::new(Dialect::Sqlite).await;
    let eve = scene.neighbour().await;
    scene.gateway.grant(eve.user.id, permission("reports.read")).await;
    let lines = [eve.user.bearer(), elsewhere()];
    let body = json!({"agent_id": "eves", "permissions": ["reports.read"]});
    let made = scene.gateway.call("POST", "/ai/tokens/", &lines, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let agent = bearer(made.json()["token"].as_str().unwrap());
    let is_for_agents = |row: &&Row| matches!(row.access(), Access::Agent | Access::PersonOrAgent);
    let rows: Vec<&Row> = scene.table.rows().iter().filter(is_for_agents).collect();
    let named = rows.iter().filter(|row| row.path().contains('{')).count();
    assert!(named >= 3, "heartbeat, reports and approvals at least, not {named}");
    let mut wrong = Vec::new();
    for row in rows {
        let names_something = row.path().contains('{');
        let mut is_said = !names_something;
        for id in scene.names_for(row) {
            for (what, answer) in scene.reach(row, &agent, &eve.slug, id).await {
                // "That is not you", or "there is no such approval".
                is_said |= matches!(answer.status, 403 | 404 | 409);
                let is_refused = matches!(answer.status, 400 | 403 | 404 | 409);
                if (names_something && !is_refused) || answer.status >= 500 || answer.text().contains(MARK) {
                    wrong.push(format!("{what}: {} {}", answer.status, answer.text()));
                }
            }
        }
        if !is_said {
            wrong.push(format!("{} {} refused nothing", row.method(), row.path()));
        }
    }
    wrong.extend(scene.damage().await);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
