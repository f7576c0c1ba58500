//! Two roles on PostgreSQL: one owns the tables, the other is the gateway's, and can neither change nor remove an
//! audit row. Law: it is the database that refuses, whatever the gateway is made to say.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::{self, Actor, Stream, SystemEvent};
use portcullis::base::{Clock as _, Secret, SystemClock, SystemRandom, TestClock};
use portcullis::config::{self, Database};
use portcullis::server;
use portcullis::store::testing::TestStore;
use portcullis::store::{Db, Dialect, Options, Source as _, Stmt, sql};
use serde_json::{Value, json};

use super::{GOOD, Place};
use crate::support::Gateway;
use crate::support::people::{TRUSTING, elsewhere};

const OWNER: &str = "portcullis_owner:owner-of-tables";
const GATEWAY: &str = "portcullis_gateway:serves-requests";

/// Roles are the server's and not a database's, so they stay; who makes them a second time finds them.
const ROLES: [&str; 3] = [
    "DO $$ BEGIN CREATE ROLE portcullis_owner LOGIN PASSWORD 'owner-of-tables'; \
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "DO $$ BEGIN CREATE ROLE portcullis_gateway LOGIN PASSWORD 'serves-requests'; \
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "ALTER SCHEMA public OWNER TO portcullis_owner",
];

/// A role that may remove rows, and one that may become it.
const ROUNDABOUT: [&str; 4] = [
    "DO $$ BEGIN CREATE ROLE portcullis_sweeper; \
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "DO $$ BEGIN CREATE ROLE portcullis_roundabout LOGIN NOINHERIT; \
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "GRANT DELETE ON audit TO portcullis_sweeper",
    "GRANT portcullis_sweeper TO portcullis_roundabout",
];

struct Scene {
    store: TestStore,
    place: Place,
}

impl Scene {
    /// A store that its owner has made, with two entries that are a hundred days old, and a gateway's configuration.
    async fn new() -> Self {
        let store = TestStore::bare(Dialect::Postgres).await;
        let mut tx = store.db().begin().await.unwrap();
        for statement in ROLES {
            tx.execute(sql(statement)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let scene = Self { store, place: Place::empty() };
        let seal = scene.place.path().join("seal.key");
        config::make_seal_key(&seal, &SystemRandom).unwrap();
        scene.place.write("owner.url", &scene.address(OWNER));
        scene.place.close("owner.url");
        scene.place.write("portcullis.yaml", &format!("preset: development\n{}{GOOD}", scene.yaml()));
        scene.grant().good();
        scene.age().await;
        scene
    }

    fn grant(&self) -> super::Outcome {
        self.place.run("migrate --store-file owner.url --grant-to portcullis_gateway")
    }

    /// The address of the store for a role and its password.
    fn address(&self, role: &str) -> String {
        let address = self.store.address();
        format!("postgres://{role}@{}", address.rsplit_once('@').unwrap().1)
    }

    /// What a gateway's configuration says of it.
    fn yaml(&self) -> String {
        let seal = self.place.path().join("seal.key").display().to_string();
        format!("store: '{}'\nkeys: {{ seal_file: '{seal}' }}\n", self.address(GATEWAY))
    }

    async fn age(&self) {
        let config = config::load(&self.place.path().join("portcullis.yaml")).unwrap().config;
        let clock = Arc::new(TestClock::at(SystemClock.now().minus(Duration::from_hours(24 * 100))));
        let app = server::operate(&config, clock, Arc::new(SystemRandom)).await.unwrap();
        for number in 1..=2 {
            let mut change = app.change(Actor::system()).await.unwrap();
            change.record(SystemEvent::ConfigReloaded { sha256: number.to_string() }).await.unwrap();
            change.commit().await.unwrap();
        }
        let passed = SystemEvent::RequestPassed { route: "old".to_owned(), method: "GET".to_owned() };
        app.write_down(Actor::system(), passed).await.unwrap();
        for (stream, seq) in [(Stream::Changes, 2), (Stream::DataPlane, Stream::DataPlane.first())] {
            assert_eq!(audit::head(&app.db, stream).await.unwrap().seq, seq);
        }
    }

    async fn as_gateway(&self) -> Db {
        let url = Secret::new(self.address(GATEWAY));
        Db::open_with(&Database::Postgres { url }, Options::default()).await.unwrap()
    }
}

/// What the database says to a statement; nothing of it stays.
async fn refused(db: &Db, statement: Stmt) -> String {
    let mut tx = db.begin().await.unwrap();
    let said = tx.execute(statement).await;
    tx.rollback().await.unwrap();
    said.expect_err("the database refuses").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_and_can_change_and_remove_no_audit_row() {
    let scene = Scene::new().await;
    scene.grant().good();
    let gateway = Gateway::start(&format!("{TRUSTING}{}{GOOD}", scene.yaml())).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let bob = gateway.account("bob", |_| {}).await;
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    let wrong = json!({"email": "bob@example.com", "password": "Wrong-horse-9-battery"});
    assert_eq!(gateway.call("POST", "/login/email/", &lines, &wrong).await.status, 401);
    let mine = [vec![ada.bearer()], keys.lines().to_vec()].concat();
    assert_eq!(gateway.call("GET", "/me/", &mine, &Value::Null).await.status, 200);

    let db = scene.as_gateway().await;
    let before: Vec<(i64, String)> =
        (&db).all(sql("SELECT seq, hash FROM audit ORDER BY seq")).await.unwrap();
    assert!(before.len() > 5, "{before:?}");
    for statement in [
        sql("UPDATE audit SET code = 'logout'"),
        sql("UPDATE audit SET hash = hash WHERE seq = 1"),
        sql("DELETE FROM audit"),
        sql("DELETE FROM audit WHERE seq = 1"),
        sql("DELETE FROM audit WHERE seq > ?").bind(Stream::DataPlane.floor()),
        sql("UPDATE audit SET seq = 1000000 WHERE seq > ?").bind(Stream::DataPlane.floor()),
        sql("TRUNCATE audit"),
        sql("UPDATE audit_personal SET content = '{}'"),
        sql("UPDATE audit_personal SET account_id = NULL"),
        sql("DELETE FROM audit_personal"),
        sql("DELETE FROM audit_personal WHERE account_id = ?").bind(bob),
        sql("TRUNCATE audit_personal"),
        sql("DROP TRIGGER audit_personal_guard ON audit_personal"),
        sql("ALTER TABLE audit_personal DISABLE TRIGGER audit_personal_guard"),
        sql("DROP TABLE audit"),
        sql("DELETE FROM schema_step"),
    ] {
        let told = format!("{statement:?}");
        let said = refused(&db, statement).await;
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{told}: {said}");
    }
    // A table of the same name in front of ours does not lead the guard astray.
    let mut tx = db.begin().await.unwrap();
    for statement in [
        "CREATE TEMPORARY TABLE account AS SELECT * FROM public.account",
        "UPDATE pg_temp.account SET deleted_at = 1",
    ] {
        tx.execute(sql(statement)).await.unwrap();
    }
    let said = tx.execute(sql("DELETE FROM audit_personal WHERE account_id = ?").bind(bob)).await;
    assert!(said.unwrap_err().to_string().contains("permission denied"));
    tx.rollback().await.unwrap();
    let after: Vec<(i64, String)> = (&db).all(sql("SELECT seq, hash FROM audit ORDER BY seq")).await.unwrap();
    assert_eq!(after[..before.len()], before);
    scene.place.run("audit verify").good();

    // Whose account is erased is forgotten, under the gateway's role.
    scene.place.run("user delete bob@example.com --now").good();
    let floor = Stream::DataPlane.floor();
    let last = before.iter().map(|(seq, _)| *seq).filter(|seq| *seq < floor).max();
    let left = sql("SELECT COUNT(*) FROM audit_personal WHERE account_id = ? AND (seq <= ? OR seq > ?)");
    let left: (i64,) = (&db).one(left.bind(bob).bind(last).bind(floor)).await.unwrap();
    assert_eq!(left.0, 0);
    scene.place.run("audit verify").good();
    let again = gateway.log_in("ada", ada.id, &keys).await;
    assert_ne!(again.access, ada.access);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_prunes_and_the_gateway_does_not() {
    let scene = Scene::new().await;
    scene.place.run("user create ada@example.com --no-password").good();
    let said = scene.place.run("audit prune").bad();
    assert!(said.contains("permission denied") && said.contains("--store-file"), "{said}");
    assert!(!said.contains("serves-requests"), "{said}");
    let whole = scene.place.run("audit verify --json").json();
    let whole = &whole["streams"]["changes"];
    assert_eq!((&whole["first"], &whole["seq"]), (&1.into(), &3.into()), "and nothing says that it was done");
    let told = scene.place.run("audit prune --store-file owner.url --json").json();
    assert_eq!(told["pruned"], true);
    let (changes, decisions) = (&told["streams"]["changes"], &told["streams"]["data_plane"]);
    assert_eq!((&changes["to_seq"], &changes["tombstone"]), (&2.into(), &4.into()));
    let floor = Stream::DataPlane.floor();
    assert_eq!(
        (&decisions["to_seq"], &decisions["tombstone"]),
        (&(floor + 1).into(), &(floor + 2).into()),
        "each stream has a tombstone of its own"
    );
    let whole = scene.place.run("audit verify --json").json();
    let (changes, decisions) = (&whole["streams"]["changes"], &whole["streams"]["data_plane"]);
    assert_eq!((&changes["first"], &changes["tombstone"]["seq"]), (&3.into(), &4.into()));
    assert_eq!(decisions["tombstone"]["seq"], floor + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_granted_what_would_not_hold() {
    let scene = Scene::new().await;
    let grant =
        |role: &str| scene.place.run(&format!("migrate --store-file owner.url --grant-to {role}")).bad();
    assert!(grant("portcullis_owner").contains("owns the tables"));
    let mut tx = scene.store.db().begin().await.unwrap();
    let maker = "DO $$ BEGIN CREATE ROLE portcullis_maker LOGIN CREATEROLE; \
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    tx.execute(sql(maker)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(grant("portcullis_maker").contains("CREATEROLE"));
    assert!(grant("portcullis_nobody").contains("there is no such role"));
    assert!(grant("x\";DROP").contains("a role has a name of"));
    // What a role does not inherit it still reaches, by becoming the other one.
    let mut tx = scene.store.db().begin().await.unwrap();
    for statement in ROUNDABOUT {
        tx.execute(sql(statement)).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(grant("portcullis_roundabout").contains("could change audit rows all the same"));
    let mut tx = scene.store.db().begin().await.unwrap();
    tx.execute(sql("REVOKE DELETE ON audit FROM portcullis_sweeper")).await.unwrap();
    tx.commit().await.unwrap();
    scene.place.run("migrate --store-file owner.url --grant-to portcullis_roundabout").good();
    let place = Place::with(GOOD);
    assert!(place.run("migrate --grant-to anybody").bad().contains("only PostgreSQL"));
    place.write("open.url", "sqlite://elsewhere.db");
    assert!(place.run("migrate --store-file open.url").bad().contains("chmod 600"));
    place.close("open.url");
    place.run("migrate --store-file open.url").good();
    place.write("other.url", "postgres://somebody@127.0.0.1/db");
    place.close("other.url");
    assert!(place.run("migrate --store-file other.url").bad().contains("another kind of database"));
}
