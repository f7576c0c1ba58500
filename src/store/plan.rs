//! How a store would answer a statement: for tests of what must be read from an index.
//!
//! Law: what the store says is taken from the store itself, about the statement that the program sends.

use super::{Db, Dialect, Source as _, Stmt};

/// How a store would answer, in its own words.
pub(crate) struct Plan(pub(crate) String);

impl Plan {
    /// # Panics
    /// Where the store does not say.
    pub(crate) async fn of(db: &Db, stmt: Stmt) -> Self {
        let (mut src, asked) = (db, stmt.explained(db.dialect()));
        if db.dialect() == Dialect::Sqlite {
            let rows: Vec<(i64, i64, i64, String)> = src.all(asked).await.unwrap();
            return Self(rows.into_iter().map(|(_, _, _, line)| line + "\n").collect());
        }
        let rows: Vec<(String,)> = src.all(asked).await.unwrap();
        Self(rows.into_iter().map(|(line,)| line + "\n").collect())
    }

    /// Whether it reads an index: nothing is sorted, no table is read whole.
    pub(crate) fn is_from_index(&self) -> bool {
        let Self(plan) = self;
        let is_whole = plan
            .lines()
            .any(|line| line.contains("Seq Scan") || (line.contains("SCAN ") && !line.contains(" USING ")));
        let is_sorted = plan.contains("TEMP B-TREE") || plan.contains("Sort");
        let is_indexed =
            ["USING INDEX", "USING COVERING INDEX", "USING PRIMARY KEY", "Index Scan", "Index Only Scan"]
                .iter()
                .any(|way| plan.contains(way));
        is_indexed && !is_whole && !is_sorted
    }
}
