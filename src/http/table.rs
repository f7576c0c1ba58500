//! `Table`: every built-in endpoint of one listener, found by path and method.
//!
//! Law: `/x` and `/x/` are the same endpoint. A path that exists answers 405 with `Allow` to
//! other methods, never 404. `GET` answers `HEAD` too. A lookup of a path that is not ours costs
//! one hash, because every proxied request asks.

use std::collections::HashMap;

use ::http::Method;

use super::row::{Mount, Row};
use super::wording::Wording;

/// The endpoints of one listener.
#[derive(Debug)]
pub struct Table {
    prefix: String,
    /// Where profiles are mounted, by name.
    mounts: Vec<(&'static str, String)>,
    /// The subtrees of profiles, with their words and where their paths begin.
    spoken: Vec<(String, Wording, usize)>,
    rows: Vec<Row>,
    /// Whole paths without their last slash; the rows there, by position.
    plain: HashMap<String, Vec<usize>>,
    /// Paths with `{name}` segments: what they begin with, so that other paths cost one comparison.
    patterns: Vec<(String, Vec<Segment>, Vec<usize>)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Is(String),
    Any(&'static str),
}

/// What the table knows about a method and path.
#[derive(Debug)]
pub enum Found<'t> {
    /// This row, with what its pattern captured.
    Row(&'t Row, Vec<(&'static str, String)>),
    /// The path is ours; these are its methods, as `Allow` lists them.
    OtherMethods(String),
    /// Not ours.
    Nothing,
}

impl Table {
    /// The table of rows whose paths begin at `prefix` (such as `/api/v1/auth`) or at the root.
    #[must_use]
    pub fn new(prefix: &str, rows: Vec<Row>) -> Self {
        Self::mounted(prefix, Vec::new(), rows)
    }

    /// The same with profiles, each by its name and where it begins. Rows of others are left out.
    #[must_use]
    pub fn mounted(prefix: &str, mounts: Vec<(&'static str, String)>, rows: Vec<Row>) -> Self {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let (plain, patterns, spoken) = (HashMap::new(), Vec::new(), Vec::new());
        let mut table = Self { prefix, mounts, spoken, rows: Vec::new(), plain, patterns };
        for row in rows {
            let is_somewhere = match row.mount() {
                Mount::Profile(name) => table.mount(name).is_some(),
                Mount::Api | Mount::Root => true,
            };
            if is_somewhere {
                table.add(row);
            }
        }
        table
    }

    fn mount(&self, name: &str) -> Option<&str> {
        self.mounts.iter().find(|(own, _)| *own == name).map(|(_, prefix)| prefix.as_str())
    }

    /// In whose words a refusal is told that no row is asked for, and the path behind the mount.
    #[must_use]
    pub fn spoken_at<'p>(&self, path: &'p str) -> Option<(Wording, &'p str)> {
        let is_below = |subtree: &str| {
            path.strip_prefix(subtree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.spoken.iter().find(|(subtree, _, _)| is_below(subtree));
        found.map(|(_, wording, begins)| (*wording, path.get(*begins..).unwrap_or_default()))
    }

    fn add(&mut self, row: Row) {
        let path = self.full_path(&row);
        let position = self.rows.len();
        if let (Mount::Profile(name), Some(wording)) = (row.mount(), row.wording()) {
            let begins = self.mount(name).unwrap_or_default();
            let first = row.path().split('/').nth(1).unwrap_or_default();
            let subtree = format!("{begins}/{first}");
            if !self.spoken.iter().any(|(known, _, _)| *known == subtree) {
                let begins = begins.len();
                self.spoken.push((subtree, wording, begins));
            }
        }
        if row.path().contains('{') {
            let segments = segments_of(&path, &row);
            let head = path.split('{').next().unwrap_or_default().to_owned();
            match self.patterns.iter_mut().find(|(_, known, _)| *known == segments) {
                Some((_, _, rows)) => rows.push(position),
                None => self.patterns.push((head, segments, vec![position])),
            }
        } else {
            self.plain.entry(bare(&path).to_owned()).or_default().push(position);
        }
        self.rows.push(row);
    }

    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The path of a row as clients ask for it.
    #[must_use]
    pub fn full_path(&self, row: &Row) -> String {
        match row.mount() {
            Mount::Api => format!("{}{}", self.prefix, row.path()),
            Mount::Root => row.path().to_owned(),
            Mount::Profile(name) => format!("{}{}", self.mount(name).unwrap_or_default(), row.path()),
        }
    }

    /// Looks up a canonical, decoded path.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let path = bare(path);
        if let Some(rows) = self.plain.get(path) {
            return self.choose(method, rows, Vec::new());
        }
        for (head, pattern, rows) in &self.patterns {
            if path.starts_with(head.as_str())
                && let Some(params) = captured(pattern, path)
            {
                return self.choose(method, rows, params);
            }
        }
        Found::Nothing
    }

    fn choose(&self, method: &Method, rows: &[usize], params: Vec<(&'static str, String)>) -> Found<'_> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        match rows.iter().map(|at| &self.rows[*at]).find(|row| row.method() == wanted) {
            Some(row) => Found::Row(row, params),
            None => Found::OtherMethods(self.methods(rows)),
        }
    }

    fn methods(&self, rows: &[usize]) -> String {
        let mut names: Vec<&str> = rows.iter().map(|at| self.rows[*at].method().as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

/// A path without its last slash.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn segments_of(path: &str, row: &Row) -> Vec<Segment> {
    let mut names = row.path().split(['{', '}']).skip(1).step_by(2);
    let pieces = bare(path).split('/');
    pieces
        .map(|piece| match piece.strip_prefix('{').and_then(|_| names.next()) {
            Some(name) => Segment::Any(name),
            None => Segment::Is(piece.to_owned()),
        })
        .collect()
}

fn captured(pattern: &[Segment], path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut params = Vec::new();
    let mut pieces = path.split('/');
    for segment in pattern {
        let piece = pieces.next()?;
        match segment {
            Segment::Is(text) if text == piece => {}
            Segment::Any(name) if !piece.is_empty() => params.push((*name, piece.to_owned())),
            _ => return None,
        }
    }
    if pieces.next().is_none() { Some(params) } else { None }
}
