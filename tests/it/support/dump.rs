//! Everything that stands in a store, as text, to be compared with what stood there before.
//!
//! Law: tables and columns are those that the database has, so one that is added is looked at without a word.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::store::{Db, Dialect, Source as _, sql};

/// The rows of each table.
pub type Dump = BTreeMap<String, BTreeSet<String>>;

/// Every row of every table on SQLite and PostgreSQL, without these tables and columns.
pub async fn dump(db: &Db, tables: &[&str], columns: &[&str]) -> Dump {
    let mut store = db;
    let asked = asked_of(db.dialect());
    let found: Vec<(String,)> = store.all(sql(asked.tables)).await.unwrap();
    let mut all = Dump::new();
    for (table,) in found {
        if tables.contains(&table.as_str()) || table.starts_with("sqlite_") {
            continue;
        }
        let found: Vec<(String,)> = store.all(sql(asked.columns).bind(table.as_str())).await.unwrap();
        let kept = found.iter().filter(|(name,)| !columns.contains(&name.as_str()));
        let kept: Vec<String> = kept.map(|(name,)| (asked.quoted)(name)).collect();
        let text: &'static str = format!("SELECT {} FROM \"{table}\"", kept.join(" || ' ' || ")).leak();
        let rows: Vec<(String,)> = store.all(sql(text)).await.unwrap();
        all.insert(table, rows.into_iter().map(|(row,)| row).collect());
    }
    assert!(all.len() > 30, "{:?}", all.keys());
    all
}

/// How a database is asked for what it has.
struct Asked {
    tables: &'static str,
    /// Of the table that is bound.
    columns: &'static str,
    /// A column as text, whatever it is, and where it is null.
    quoted: fn(&str) -> String,
}

fn asked_of(dialect: Dialect) -> Asked {
    match dialect {
        Dialect::Sqlite => Asked {
            tables: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
            columns: "SELECT name FROM pragma_table_info(?)",
            quoted: |name| format!("quote(\"{name}\")"),
        },
        Dialect::Postgres => Asked {
            tables: "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
                     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1",
            columns: "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
                      WHERE table_schema = current_schema() AND CAST(table_name AS TEXT) = ? \
                      ORDER BY ordinal_position",
            quoted: |name| format!("quote_nullable(CAST(\"{name}\" AS TEXT))"),
        },
        Dialect::MySql => panic!("nothing is dumped from MariaDB"),
    }
}
