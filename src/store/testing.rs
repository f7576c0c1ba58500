//! Stores for tests: a temporary SQLite file, or a fresh database on the servers that the
//! environment names. Nothing in the program calls this; it is here, and not behind `cfg(test)`,
//! because the integration tests are a crate of their own.
//!
//! Law: a missing server fails the test with what to do; nothing is skipped.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Db, Dialect, Options, migrate};
use crate::base::{Clock as _, Id, Secret, SystemClock, SystemRandom};
use crate::config::Database;

/// Needs PostgreSQL 15 or later with ICU.
const AS_PEOPLE_SORT: &str = " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";

/// A store of its own for one test; gone when the last clone is dropped.
#[derive(Clone)]
pub struct TestStore {
    db: Db,
    place: Arc<Place>,
}

struct Place {
    database: Database,
    ruins: Ruins,
}

enum Ruins {
    Directory(PathBuf),
    Database { admin: String, name: String },
}

impl TestStore {
    /// A migrated store of this dialect.
    ///
    /// # Panics
    /// Where the server is not there or refuses: a test cannot go on.
    pub async fn of(dialect: Dialect) -> Self {
        let store = Self::bare(dialect).await;
        migrate::run(&store.db, SystemClock.now()).await.expect("the migrations apply");
        store
    }

    /// A migrated temporary SQLite file.
    pub async fn sqlite() -> Self {
        Self::of(Dialect::Sqlite).await
    }

    /// A store without any table.
    ///
    /// # Panics
    /// Where the server is not there or refuses.
    pub async fn bare(dialect: Dialect) -> Self {
        let name =
            format!("portcullis_{}", Id::new(SystemClock.now(), &SystemRandom).to_string().replace('-', ""));
        let place = match dialect {
            Dialect::Sqlite => {
                let directory = std::env::temp_dir().join(&name);
                std::fs::create_dir(&directory).expect("a directory for the store");
                let path = directory.join("store.db");
                Place { database: Database::Sqlite { path }, ruins: Ruins::Directory(directory) }
            }
            Dialect::Postgres => server("PORTCULLIS_TEST_POSTGRES", name).await,
            Dialect::MySql => server("PORTCULLIS_TEST_MYSQL", name).await,
        };
        let db = open(&place.database).await;
        Self { db, place: Arc::new(place) }
    }

    /// A second handle with pools of its own on the same database: another replica.
    pub async fn another(&self) -> Db {
        open(&self.place.database).await
    }

    pub const fn db(&self) -> &Db {
        &self.db
    }

    pub fn database(&self) -> &Database {
        &self.place.database
    }

    /// The value of `store:` in a configuration file that names this store.
    pub fn address(&self) -> String {
        match &self.place.database {
            Database::Sqlite { path } => format!("sqlite://{}", path.display()),
            Database::Postgres { url } | Database::Mysql { url } => url.expose().clone(),
        }
    }
}

impl Deref for TestStore {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

/// A server that is busy with all the other tests is none that is gone.
fn patient(connections: u32) -> Options {
    Options::patient(connections, Duration::from_secs(6))
}

async fn open(database: &Database) -> Db {
    Db::open_with(database, patient(10)).await.expect("the test database opens")
}

#[expect(clippy::disallowed_methods, reason = "tests find their servers in the environment")]
async fn server(variable: &str, name: String) -> Place {
    let admin = std::env::var(variable).unwrap_or_else(|_| String::new());
    assert!(
        !admin.is_empty(),
        "{variable} is not set: run the tests with `make test`, which starts the servers"
    );
    // Sorted as people sort, which is what most servers are set up for: where an order matters that the
    // program's own comparison makes too, a test notices.
    let order = if admin.starts_with("postgres") { AS_PEOPLE_SORT } else { "" };
    administer(&admin, format!("CREATE DATABASE {name}{order}")).await;
    let (server, query) =
        admin.split_once('?').map_or((admin.as_str(), ""), |(server, query)| (server, query));
    let (scheme, rest) = server.split_once("://").expect("a server address has a scheme");
    let host = rest.split('/').next().unwrap_or(rest);
    let mut address = format!("{scheme}://{host}/{name}");
    if !query.is_empty() {
        address = format!("{address}?{query}");
    }
    Place { database: named(address), ruins: Ruins::Database { admin, name } }
}

fn named(address: String) -> Database {
    let is_postgres = address.starts_with("postgres");
    let url = Secret::new(address);
    if is_postgres { Database::Postgres { url } } else { Database::Mysql { url } }
}

async fn administer(admin: &str, statement: String) {
    let db = Db::open_with(&named(admin.to_owned()), patient(1)).await.expect("the test server answers");
    db.administer(statement).await.expect("the test server obeys");
    db.close().await;
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.ruins {
            Ruins::Directory(directory) => drop(std::fs::remove_dir_all(directory)),
            Ruins::Database { admin, name } => {
                let force = if admin.starts_with("postgres") { " WITH (FORCE)" } else { "" };
                let statement = format!("DROP DATABASE IF EXISTS {name}{force}");
                let admin = admin.clone();
                // A thread with a runtime of its own: the test's runtime may be ending.
                let worker = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    runtime.block_on(administer(&admin, statement));
                    std::io::Result::Ok(())
                });
                drop(worker.join());
            }
        }
    }
}

/// One test per database from one body:
/// `on_every_store! { async fn a_name(store: TestStore) { … } }`.
#[macro_export]
macro_rules! on_every_store {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: $type:ty) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn body($store: $type) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                body($crate::store::testing::TestStore::of($crate::store::Dialect::Sqlite).await).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                body($crate::store::testing::TestStore::of($crate::store::Dialect::Postgres).await).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn on_mysql() {
                body($crate::store::testing::TestStore::of($crate::store::Dialect::MySql).await).await;
            }
        }
    )+};
}
