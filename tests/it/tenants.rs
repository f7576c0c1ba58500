//! Everything that one site and one organization has, reached for by those of another with every endpoint.
//!
//! Law: whoever is of another site or tenant is told that there is no such thing, reads nothing of it, and changes no
//! row of it; a dump of the store before and after says so. The endpoints are those of the table, whichever they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis::base::Id;
use portcullis::http::input::Accepts;
use portcullis::http::shape::Shapes;
use portcullis::http::{Access, Row, Table};
use portcullis::server;
use portcullis::store::{Source as _, sql};
use serde_json::{Map, Value, json};

use crate::agent::bearer;
use crate::matrix::filled;
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere, permission, request};
use crate::support::raw::{Answer, exchange};
use crate::support::smtp::Smtp;
use crate::support::{Gateway, Upstream};

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
    gateway: Gateway,
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

type Dump = BTreeMap<String, BTreeSet<String>>;

impl Scene {
    /// A store in which one site has one of everything.
    async fn new() -> Self {
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
        let gateway = Gateway::start(&yaml).await;
        let table = server::public(&gateway.load(&yaml).config);
        let keys = gateway.application(MARK, &[]).await;
        settle_in(&gateway, &keys).await;
        let before = dump(&gateway).await;
        let ids = ids_of(&gateway).await;
        assert!(ids.len() > 8, "{ids:?}");
        let numbers = numbers_of(&gateway).await;
        // Others come through another application, so that nothing of theirs names the first one's.
        let keys = gateway.application("console", &[]).await;
        Self { gateway, table, keys, ids, numbers, before, _mail: mail, _upstream: upstream }
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
        let takes_ids = row.path().contains('{') || input(row, "one") != input(row, "another");
        let ids = if takes_ids { &self.ids[..] } else { &self.ids[..1] };
        let is_behind = |piece: &str| row.path().contains(&format!("/{piece}/{{"));
        let numbers = self.numbers.iter().filter(|(piece, _)| is_behind(piece)).map(|(_, number)| number);
        ids.iter().chain(numbers).map(String::as_str).collect()
    }

    /// Calls a row with this id wherever it takes one.
    async fn reach(&self, row: &Row, user: &User, slug: &str, id: &str) -> (String, Answer) {
        let (query, body) = input(row, id);
        let path = filled(&self.table.full_path(row), id) + &query;
        let mut lines = vec![user.bearer(), elsewhere()];
        if row.is_in_organization() {
            lines.push(format!("X-Org-Slug: {slug}"));
        }
        let text = request(row.method().as_str(), &path, &lines, &body);
        let answer =
            exchange(self.gateway.public(), text).await.unwrap_or_else(|| panic!("{path}: an answer"));
        (format!("{} {path} {slug} {body}", row.method()), answer)
    }

    /// What became of the first site's rows: nothing, or what is wrong.
    async fn damage(&self) -> Vec<String> {
        let after = dump(&self.gateway).await;
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

/// Every row of every table, as text. What is `OWN` is left out.
async fn dump(gateway: &Gateway) -> Dump {
    let mut db = &gateway.running.app.db;
    let tables = sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    let tables: Vec<(String,)> = db.all(tables).await.unwrap();
    let mut all = Dump::new();
    for (table,) in tables {
        if OWN.contains(&table.as_str()) || table.starts_with("sqlite_") {
            continue;
        }
        let columns = sql("SELECT name FROM pragma_table_info(?)").bind(table.as_str());
        let columns: Vec<(String,)> = db.all(columns).await.unwrap();
        let kept = columns.iter().filter(|(name,)| !COUNTED.contains(&name.as_str()));
        let columns: Vec<String> = kept.map(|(name,)| format!("quote(\"{name}\")")).collect();
        let text: &'static str = format!("SELECT {} FROM \"{table}\"", columns.join(" || ' ' || ")).leak();
        let rows: Vec<(String,)> = db.all(sql(text)).await.unwrap();
        all.insert(table, rows.into_iter().map(|(row,)| row).collect());
    }
    assert!(all.len() > 30, "{:?}", all.keys());
    all
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

/// A query and a body in which every field that takes an id has this one, and the others something plausible.
fn input(row: &Row, id: &str) -> (String, String) {
    let mut shapes = Shapes::default();
    match row.describe(&mut shapes).0 {
        Accepts::Nothing => (String::new(), String::new()),
        Accepts::Query(offered) => {
            let named = offered
                .asked
                .iter()
                .filter(|name| takes_id(name) || offered.required.iter().any(|own| own == *name));
            let pairs: Vec<String> = named.map(|name| format!("{name}={id}")).collect();
            (if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }, String::new())
        }
        Accepts::Body(offered) => {
            let schema = shapes.input(&offered.schema);
            let field = |name: &&str| ((*name).to_owned(), value(name, &schema["properties"][*name], id));
            let body: Map<String, Value> = offered.asked.iter().map(field).collect();
            (String::new(), Value::Object(body).to_string())
        }
    }
}

fn takes_id(name: &str) -> bool {
    // What an agent is called is no id of anything.
    let is_label = name == "agent_id";
    let is_reference = matches!(name, "id" | "user" | "organization" | "application");
    !is_label && (is_reference || name.ends_with("_id") || name.ends_with("ids"))
}

fn value(name: &str, schema: &Value, id: &str) -> Value {
    let is = |kind: &str| {
        let told = &schema["type"];
        told == kind || told.as_array().is_some_and(|all| all.contains(&json!(kind)))
    };
    if takes_id(name) {
        return if is("array") { json!([id]) } else { json!(id) };
    }
    match name {
        "action" => json!("lock"),
        _ if name.contains("password") => json!(PASSWORD),
        _ if name.contains("email") => json!("someone@example.com"),
        _ if name.contains("role") && !is("array") => json!("member"),
        _ if is("array") => json!(["reports.read"]),
        _ if is("boolean") => json!(true),
        _ if is("integer") || is("number") => json!(1),
        _ if is("object") => json!({}),
        _ => json!("reports.read"),
    }
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

/// Reaches for everything with every row, by the names of all that the first one has.
async fn reaches_nothing(scene: &Scene, from: Home) {
    let mut stranger = scene.fresh(from).await;
    let (mut wrong, mut missing) = (Vec::new(), 0);
    for row in scene.rows() {
        for (id, is_own) in scene.names_for(&row).into_iter().flat_map(|id| [(id, false), (id, true)]) {
            if is_own && !row.is_in_organization() {
                continue;
            }
            let slug = if is_own { stranger.slug.clone() } else { MARK.to_owned() };
            let (what, answer) = scene.reach(&row, &stranger.user, &slug, id).await;
            missing += usize::from(answer.status == 404);
            let found = problem(&row, &answer, &stranger);
            wrong.extend(found.map(|why| format!("{what} {why}: {} {}", answer.status, answer.text())));
            if answer.status < 300 && row.method() != "GET" && !scene.is_signed_in(&stranger.user).await {
                stranger = scene.fresh(from).await;
            }
        }
    }
    wrong.extend(scene.damage().await);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missing > 100, "{missing} times there was no such thing");
}

#[tokio::test]
async fn whoever_is_of_another_site_reaches_nothing_of_the_first() {
    reaches_nothing(&Scene::new().await, Home::AnotherSite).await;
}

#[tokio::test]
async fn whoever_is_of_another_tenant_reaches_nothing_of_the_first() {
    reaches_nothing(&Scene::new().await, Home::AnotherTenant).await;
}

#[tokio::test]
async fn the_sweep_can_fail() {
    let scene = Scene::new().await;
    let mallory = scene.foreigner().await;
    assert_eq!(scene.damage().await, Vec::<String>::new());
    let row = scene.rows().into_iter().find(|row| row.path() == "/admin/users/{id}/").unwrap();
    let answer = |status: u16, text: &str| Answer { status, headers: Vec::new(), body: text.into() };
    assert_eq!(problem(&row, &answer(404, "{}"), &mallory), None);
    for wrong in
        [answer(200, "{}"), answer(401, "{}"), answer(403, "{}"), answer(500, "{}"), answer(404, MARK)]
    {
        assert!(problem(&row, &wrong, &mallory).is_some(), "{wrong:?}");
    }
    // For want of a permission nobody learns anything; where none is needed "you may not" says that it is there.
    let eve = scene.neighbour().await;
    let rows = scene.rows();
    let with = |path: &str, method: &str| {
        rows.iter().find(|row| row.path() == path && row.method() == method).unwrap()
    };
    assert_eq!(problem(&row, &answer(403, "{}"), &eve), None);
    for (method, path) in [
        ("GET", "/ai/tokens/{id}/"),
        ("DELETE", "/api-keys/{id}/"),
        ("DELETE", "/organizations/members/{id}/remove/"),
        ("GET", "/ai/pending-actions/{token}/"),
    ] {
        let row = with(path, method);
        assert_eq!(problem(row, &answer(404, "{}"), &eve), None);
        assert!(problem(row, &answer(403, "{}"), &eve).is_some(), "{method} {path}");
    }
    // What has a number is asked for by it, and by nothing that the number means elsewhere.
    let asked = |path: &str, method: &str, id: &str| scene.names_for(with(path, method)).contains(&id);
    for (piece, number) in &scene.numbers {
        let named = rows.iter().find(|row| row.path().contains(&format!("/{piece}/{{"))).expect("a row");
        assert!(scene.names_for(named).contains(&number.as_str()), "{piece} {number}");
        assert!(!asked("/roles/{id}/", "GET", number), "{piece} {number}");
    }
    // A row that is changed, and one that ties the foreigner to what is the first one's.
    scene.move_to(scene.ids[0].parse().unwrap(), OTHER_SITE).await;
    let organization = scene.gateway.organization_of(MARK).await.unwrap();
    scene.gateway.join(organization, mallory.user.id, "member").await;
    let damage = scene.damage().await.join("\n");
    assert!(damage.contains("account was changed"), "{damage}");
    assert!(damage.contains("membership has a new row"), "{damage}");
}
