//! `Stmt`: SQL text with `?` and the values for it.
//!
//! Law: only `&'static str` becomes SQL, and the number of `?` equals the number of values, checked
//! each time a statement is sent: SQLite's driver would bind NULL for one that is missing.

use std::fmt;

use super::column::{Bind, Value};
use super::{Dialect, Error};

/// One statement, composed of literal pieces.
#[derive(Clone)]
pub struct Stmt {
    parts: Vec<Part>,
    values: Vec<Value>,
}

#[derive(Clone, Copy)]
enum Part {
    Text(&'static str),
    OnConflict(&'static [&'static str]),
    TakeNew(&'static str),
    /// The table, and one of its columns.
    AddNew(&'static str, &'static str),
}

/// Begins a statement.
pub fn sql(text: &'static str) -> Stmt {
    Stmt { parts: vec![Part::Text(text)], values: Vec::new() }
}

impl Stmt {
    /// The value of the next `?`.
    #[must_use]
    pub fn bind(mut self, value: impl Bind) -> Self {
        self.values.push(value.into_value());
        self
    }

    /// Goes on with more SQL.
    #[must_use]
    pub fn push(mut self, text: &'static str) -> Self {
        self.parts.push(Part::Text(text));
        self
    }

    /// `AND text` with the value, if there is one; nothing otherwise.
    #[must_use]
    pub fn and_if(self, value: Option<impl Bind>, text: &'static str) -> Self {
        match value {
            Some(value) => self.push("AND").push(text).bind(value),
            None => self,
        }
    }

    /// `(?, ?, …)`: what follows `IN` or `VALUES`. An empty list is `(NULL)`, which matches nothing.
    #[must_use]
    pub fn list<T: Bind>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        let before = self.values.len();
        for value in values {
            let opening = if self.values.len() == before { "(?" } else { ", ?" };
            self = self.push(opening).bind(value);
        }
        let closing = if self.values.len() == before { "(NULL)" } else { ")" };
        self.push(closing)
    }

    /// After `INSERT … VALUES (…)`: where a row with these key columns exists, `columns` take the
    /// new values instead; with no columns that row stays as it is. The row count of such a
    /// statement means different things on different databases: do not decide by it.
    #[must_use]
    pub fn upsert(mut self, keys: &'static [&'static str], columns: &'static [&'static str]) -> Self {
        self.parts.push(Part::OnConflict(keys));
        // Setting a key to the value it conflicts on changes nothing.
        let columns = if columns.is_empty() { keys.get(..1).unwrap_or(keys) } else { columns };
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                self = self.push(",");
            }
            self.parts.push(Part::TakeNew(column));
        }
        self
    }

    /// Like [`Stmt::upsert`]; the new values are added to those of the row that exists in `table`.
    #[must_use]
    pub fn upsert_adding(
        mut self,
        keys: &'static [&'static str],
        table: &'static str,
        columns: &'static [&'static str],
    ) -> Self {
        self.parts.push(Part::OnConflict(keys));
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                self = self.push(",");
            }
            self.parts.push(Part::AddNew(table, column));
        }
        self
    }

    /// Like [`Stmt::upsert`], with an expression of its own for the row that exists:
    /// `.upsert_with(&["name"], "hits = t.hits + 1")`. Columns are named with their table.
    #[must_use]
    pub fn upsert_with(mut self, keys: &'static [&'static str], set: &'static str) -> Self {
        self.parts.push(Part::OnConflict(keys));
        self.push(set)
    }

    /// The same as a question how the database would answer it.
    #[cfg(test)]
    #[must_use]
    pub fn explained(mut self, dialect: Dialect) -> Self {
        let ask = if dialect == Dialect::Sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
        self.parts.insert(0, Part::Text(ask));
        self
    }

    /// The text for one dialect, and the values.
    pub(super) fn render(self, dialect: Dialect) -> Result<(String, Vec<Value>), Error> {
        let mut out = String::new();
        let mut placeholders = 0;
        for part in &self.parts {
            if !out.is_empty() {
                out.push(' ');
            }
            match *part {
                Part::Text(text) => placeholders = write(&mut out, text, dialect, placeholders),
                Part::OnConflict(keys) => out.push_str(&dialect.on_conflict(keys)),
                Part::TakeNew(column) => out.push_str(&dialect.take_new(column)),
                Part::AddNew(table, column) => out.push_str(&dialect.add_new(table, column)),
            }
        }
        if placeholders == self.values.len() {
            Ok((out, self.values))
        } else {
            let given = self.values.len();
            Err(Error::broken(format!("{placeholders} placeholders, {given} values: {out}")))
        }
    }
}

/// Appends `text`, numbering its placeholders on from `count`; gives the new count.
fn write(out: &mut String, text: &str, dialect: Dialect, mut count: usize) -> usize {
    let mut is_quoted = false;
    for c in text.chars() {
        is_quoted ^= c == '\'';
        if c == '?' && !is_quoted {
            count += 1;
            dialect.placeholder(out, count);
        } else {
            out.push(c);
        }
    }
    count
}

impl fmt::Debug for Stmt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text alone: a value may be a secret's digest.
        let text = self.clone().render(Dialect::Sqlite).map_or_else(|_| "…".to_owned(), |(text, _)| text);
        write!(f, "Stmt({text})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stmt: Stmt, dialect: Dialect) -> String {
        stmt.render(dialect).unwrap().0
    }

    #[test]
    fn placeholders_are_numbered_for_postgres_only() {
        let stmt = sql("SELECT a FROM t WHERE b = ? AND c <> '?'")
            .bind(1_i64)
            .and_if(None::<i64>, "d = ?")
            .and_if(Some("x"), "e < ?")
            .push("LIMIT ?")
            .bind(5_i64);
        assert_eq!(
            text(stmt.clone(), Dialect::Postgres),
            "SELECT a FROM t WHERE b = $1 AND c <> '?' AND e < $2 LIMIT $3"
        );
        assert_eq!(text(stmt, Dialect::MySql), "SELECT a FROM t WHERE b = ? AND c <> '?' AND e < ? LIMIT ?");
    }

    #[test]
    fn a_missing_or_spare_value_is_refused_before_it_is_sent() {
        for stmt in [sql("SELECT ?"), sql("SELECT 1").bind(1_i64), sql("SELECT '?'").bind(1_i64)] {
            assert!(matches!(stmt.render(Dialect::Sqlite), Err(Error::Broken { .. })));
        }
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        let none: [i64; 0] = [];
        assert_eq!(
            text(sql("SELECT 1 WHERE a IN").list(none), Dialect::Sqlite),
            "SELECT 1 WHERE a IN (NULL)"
        );
        let some = sql("SELECT 1 WHERE a IN").list(["x", "y"]).push("AND b = ?").bind(1_i64);
        assert_eq!(text(some, Dialect::Postgres), "SELECT 1 WHERE a IN ($1 , $2 ) AND b = $3");
    }

    #[test]
    fn upsert_speaks_each_dialect() {
        let stmt = sql("INSERT INTO t (a, b) VALUES (?, ?)").bind(1_i64).bind(2_i64).upsert(&["a"], &["b"]);
        assert!(
            text(stmt.clone(), Dialect::Postgres).ends_with("ON CONFLICT (a) DO UPDATE SET b = excluded.b")
        );
        assert!(text(stmt, Dialect::MySql).ends_with("ON DUPLICATE KEY UPDATE b = VALUES(b)"));
        let stmt = sql("INSERT INTO t (a, b) VALUES (?, ?)").bind(1_i64).bind(2_i64);
        let stmt = stmt.upsert_adding(&["a"], "t", &["b"]);
        assert!(text(stmt.clone(), Dialect::Postgres).ends_with("DO UPDATE SET b = t.b + excluded.b"));
        assert!(text(stmt, Dialect::MySql).ends_with("KEY UPDATE b = t.b + VALUES(b)"));
    }

    #[test]
    fn the_debug_form_of_a_statement_hides_its_values() {
        let stmt = sql("SELECT ?").bind("hunter2");
        assert_eq!(format!("{stmt:?}"), "Stmt(SELECT ?)");
    }
}
