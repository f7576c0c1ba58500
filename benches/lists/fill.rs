//! Fills a store that has the product's own tables with what [`made`](crate::made) and [`trail`](crate::trail) make up.
//! Law: the indexes are taken away first and made again as they were, so that the store is what its migrations
//! made of it; filling a list and keeping nine indexes up to date would take an hour.

use std::time::Instant;

use portcullis::audit::Stream;
use portcullis::config::Database;
use portcullis::store::testing::TestStore;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres, Sqlite};

use crate::made::{self, Size};
use crate::trail;

/// How many rows one statement makes.
const PIECE: i64 = 250_000;
const OF_SQLITE: &str = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN \
    ('account', 'account_word', 'account_grant', 'session', 'audit', 'audit_personal')";
/// A primary key is no index that could be taken away.
const OF_POSTGRES: &str = "SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND \
    indexname NOT LIKE '%_pkey' AND tablename IN \
    ('account', 'account_word', 'account_grant', 'session', 'audit', 'audit_personal')";

/// One connection that no time-out cuts off.
enum Hand {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Fills a store with so many of everything. Its own connections are closed: the gateway opens others.
pub async fn fill(store: &TestStore, size: Size) {
    let (began, name) = (Instant::now(), format!("{:?}", store.db().dialect()));
    let say = |what: String| eprintln!("{name}: {what}, {} s", began.elapsed().as_secs());
    store.db().close().await;
    let mut hand = Hand::on(store.database()).await;
    let indexes = hand.indexes().await;
    for (index, _) in &indexes {
        hand.run(format!("DROP INDEX {index}")).await;
    }
    for (first, last) in pieces(size.people) {
        hand.run(made::accounts(size, first, last)).await;
        say(format!("{last} people"));
    }
    hand.run(made::words(hand.order_of_bytes())).await;
    say("the words by which they are found".to_owned());
    for statement in made::beside(size) {
        hand.run(statement).await;
    }
    for stream in Stream::ALL {
        for (first, last) in pieces(size.rows_of(stream)) {
            hand.run(trail::rows(size, stream, first, last)).await;
            hand.run(trail::beside(size, stream, first, last)).await;
            say(format!("{last} audit rows of the {stream}"));
        }
    }
    for statement in trail::counted(size) {
        hand.run(statement).await;
    }
    for (index, definition) in indexes {
        hand.run(definition).await;
        say(index);
    }
    hand.end().await;
    say("full".to_owned());
}

fn pieces(count: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..).map(|piece| piece * PIECE + 1).take_while(move |first| *first <= count).map(move |first| {
        let last = first + PIECE - 1;
        (first, last.min(count))
    })
}

impl Hand {
    async fn on(database: &Database) -> Self {
        match database {
            Database::Sqlite { path } => {
                // Nobody else has it open, and what a crash leaves is thrown away.
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .locking_mode(SqliteLockingMode::Exclusive)
                    .journal_mode(SqliteJournalMode::Off)
                    .synchronous(SqliteSynchronous::Off)
                    .pragma("cache_size", "-262144")
                    .disable_statement_logging();
                Self::Sqlite(options.connect().await.expect("the file opens"))
            }
            Database::Postgres { url } => {
                let options: PgConnectOptions = url.expose().parse().expect("an address of PostgreSQL");
                let connection = options.disable_statement_logging().connect().await;
                let mut hand = Self::Postgres(connection.expect("the server answers"));
                hand.run("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'".to_owned()).await;
                hand
            }
            Database::Mysql { .. } => panic!("nothing is claimed of it"),
        }
    }

    async fn run(&mut self, text: String) {
        let begins: String = text.chars().take(200).collect();
        let text = AssertSqlSafe(text);
        let done = match self {
            Self::Sqlite(connection) => sqlx::raw_sql(text).execute(connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(text).execute(connection).await.map(drop),
        };
        done.unwrap_or_else(|cause| panic!("{cause}: {begins}…"));
    }

    /// The names of the indexes, and the statements that make them.
    async fn indexes(&mut self) -> Vec<(String, String)> {
        let found = match self {
            Self::Sqlite(connection) => {
                sqlx::query_as::<Sqlite, (String, String)>(OF_SQLITE).fetch_all(connection).await
            }
            Self::Postgres(connection) => {
                sqlx::query_as::<Postgres, (String, String)>(OF_POSTGRES).fetch_all(connection).await
            }
        };
        let found = found.expect("the store tells of its indexes");
        assert!(found.len() > 10, "the indexes of the lists were found");
        found
    }

    /// In which order words are written down: an index that is filled from its beginning to its end is filled soon.
    const fn order_of_bytes(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "word",
            Self::Postgres(_) => "word COLLATE \"C\"",
        }
    }

    /// PostgreSQL tidies and counts by itself after a while, which is not waited for. SQLite never does, so that
    /// here too it knows nothing about its tables.
    async fn end(mut self) {
        if matches!(self, Self::Postgres(_)) {
            self.run("VACUUM ANALYZE".to_owned()).await;
        }
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
        closed.expect("the connection ends");
    }
}
