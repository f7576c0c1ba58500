//! What is wrong with a configuration, all of it at once.
//!
//! Law: a problem names the place, its line and column, what is wrong, and if possible what to
//! write instead. No problem text ever shows the value of a secret.

use std::fmt;

use super::place::Place;
use super::tree::{Node, Origin};

/// One thing that is wrong or, as a warning, doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Such as `routes[3].allow.permission`; empty for the file as a whole.
    pub path: String,
    /// Counted from 1; 0 when the place is not in the file.
    pub line: u32,
    pub column: u32,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that keeps a file from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name as it was given, for the headline.
    pub file: Option<String>,
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("the configuration");
        let count = self.list.len();
        writeln!(f, "{file} has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems and warnings while a tree is checked.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: Vec<(Place, Problem)>,
    warnings: Vec<(Place, Problem)>,
    /// Top-level sections of which something was left out because of a problem: what refers to
    /// them is not checked, for it would only report the same mistake again.
    partial: Vec<String>,
}

impl Report {
    /// Adds a problem; the returned one takes a hint.
    pub fn problem(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.problems.push((place.clone(), unplaced(place, message.into())));
        last(&mut self.problems)
    }

    pub fn warning(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.warnings.push((place.clone(), unplaced(place, message.into())));
        last(&mut self.warnings)
    }

    /// Notes that something of the section could not be read at all.
    pub fn leave_out(&mut self, section: &str) {
        self.partial.push(section.to_owned());
    }

    /// Whether everything that the file says in this section was understood.
    pub fn is_whole(&self, section: &str) -> bool {
        !self.partial.iter().any(|own| own == section)
    }

    /// Whether something is wrong with this place already.
    pub fn is_told(&self, place: &Place) -> bool {
        self.problems.iter().any(|(own, _)| own == place)
    }

    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Problems and warnings with their lines looked up in the file as it was read, in its order.
    pub fn finish(self, tree: &Node) -> (Vec<Problem>, Vec<Problem>) {
        (locate(self.problems, tree), locate(self.warnings, tree))
    }
}

impl Problem {
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Suggests the known word nearest to what was written, or lists them all when none is near.
    pub(super) fn suggest<'a>(
        &mut self,
        written: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        if let Some(near) = nearest(written, &known) {
            return self.hint(format!("did you mean `{near}`?"));
        }
        match known.as_slice() {
            [] => self,
            [only] => self.hint(format!("possible here: {only}")),
            list if list.len() <= 32 => self.hint(format!("possible here: {}", list.join(", "))),
            list => self.hint(format!("{} are known, none of them similar", list.len())),
        }
    }

    /// Puts the problem where something stands that is not kept, such as an unknown key.
    pub(super) const fn at(&mut self, origin: Origin) -> &mut Self {
        if let Origin::File { line, column } = origin {
            self.line = line;
            self.column = column;
        }
        self
    }
}

fn unplaced(place: &Place, message: String) -> Problem {
    Problem { path: place.to_string(), line: 0, column: 0, message, hint: None }
}

fn last(list: &mut [(Place, Problem)]) -> &mut Problem {
    let last = list.len() - 1;
    &mut list[last].1
}

fn locate(list: Vec<(Place, Problem)>, tree: &Node) -> Vec<Problem> {
    let mut located: Vec<Problem> = list
        .into_iter()
        .map(|(place, mut problem)| {
            if problem.line == 0 {
                let (origin, place) = tree.locate(&place);
                problem.path = place.to_string();
                if let Origin::File { line, column } = origin {
                    (problem.line, problem.column) = (line, column);
                }
            }
            problem
        })
        .collect();
    located.sort_by_key(|problem| (problem.line, problem.column));
    located
}

/// The known word that differs from what was written by the fewest letters, if that are few.
#[must_use]
pub fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = match written.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    known
        .iter()
        .map(|word| (distance(&written.to_lowercase(), &word.to_lowercase()), *word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.chars().count())
        .min()
        .map(|(_, word)| word)
}

/// Letters to insert, remove, replace or swap with their neighbour to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let mut best = (above[j] + 1).min(row[j - 1] + 1);
            best = best.min(above[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word() {
        let known = ["permission", "role", "group", "requests", "per", "allow"];
        for (written, meant) in [
            ("permision", Some("permission")),
            ("rloe", Some("role")),
            ("Group", Some("group")),
            ("requets", Some("requests")),
            ("alow", Some("allow")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
    }

    #[test]
    fn a_problem_reads_like_a_sentence() {
        let mut problem = unplaced(&Place::root().key("routes").item(2), "unknown key `alow`".to_owned());
        problem.at(Origin::File { line: 7, column: 3 }).suggest("alow", ["allow", "name"]);
        assert_eq!(
            problem.to_string(),
            "line 7, column 3: routes[2]: unknown key `alow`\n    hint: did you mean `allow`?"
        );
    }
}
