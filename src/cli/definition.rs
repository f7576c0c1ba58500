//! What the commands about permissions, roles and groups have in common: what may be typed, and how it is told
//! what became of it.
//! The limits are those of the endpoints.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::out::Failure;
use crate::config::nearest;
use crate::policy::Code;
use crate::policy::definition::Definitions;
use crate::rbac::define::{DESCRIPTION_MAX, NAME_MAX};
use crate::rbac::{Granted, Refused};

/// A name for people.
pub fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return Err(format!("1 to {NAME_MAX} characters"));
    }
    Ok(name.to_owned())
}

/// What something is for, in the words of whoever makes it.
pub fn description(text: &str) -> Result<String, String> {
    let description = text.trim();
    if description.chars().count() > DESCRIPTION_MAX {
        return Err(format!("at most {DESCRIPTION_MAX} characters"));
    }
    Ok(description.to_owned())
}

/// Codes as text.
pub fn texts(codes: &[Code]) -> Vec<String> {
    codes.iter().map(ToString::to_string).collect()
}

/// Each of them once.
pub fn distinct<T: Clone + Ord>(all: &[T]) -> Vec<T> {
    let mut all = all.to_vec();
    all.sort();
    all.dedup();
    all
}

/// Why rights are not changed, and what was probably meant.
pub fn refused(refused: &Refused, definitions: &Definitions) -> Failure {
    let Refused::Undefined(granted) = refused else { return Failure::problem(refused) };
    let (code, known) = match granted {
        Granted::Role(code) => (code, names(&definitions.roles)),
        Granted::Permission(code) => (code, names(&definitions.permissions)),
        Granted::Group(code) => (code, names(&definitions.groups)),
    };
    match nearest(code.as_str(), &known) {
        Some(near) => Failure::problem(format_args!("{refused}; did you mean `{near}`?")),
        None => Failure::problem(refused),
    }
}

fn names<T>(defined: &BTreeMap<Code, T>) -> Vec<&str> {
    defined.keys().map(Code::as_str).collect()
}

/// What became of several things at once: a line for each, and which of them are otherwise now.
#[derive(Debug, Default)]
pub struct Told {
    lines: Vec<String>,
    changed: Vec<String>,
}

impl Told {
    /// Something was done to it.
    pub fn changed(&mut self, did: &str, what: impl Display) {
        self.lines.push(format!("{did} {what}"));
        self.changed.push(what.to_string());
    }

    /// It was so already.
    pub fn unchanged(&mut self, line: String) {
        self.lines.push(line);
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// What is otherwise now.
    pub fn changes(&self) -> &[String] {
        &self.changed
    }

    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_nothing_is_no_name() {
        assert_eq!(name(" Press "), Ok("Press".to_owned()));
        assert!(name(" ").is_err() && name(&"é".repeat(NAME_MAX + 1)).is_err());
        assert!(name(&"é".repeat(NAME_MAX)).is_ok(), "characters are counted, not bytes");
        assert_eq!(description(" "), Ok(String::new()));
        assert!(description(&"a".repeat(DESCRIPTION_MAX + 1)).is_err());
    }

    #[test]
    fn each_is_told_once_and_only_what_changed_counts() {
        let mut told = Told::default();
        told.unchanged("staff was granted already".to_owned());
        assert!(!told.is_changed());
        told.changed("granted", "role press");
        assert_eq!(told.text(), "staff was granted already\ngranted role press");
        assert_eq!((told.is_changed(), told.changes()), (true, &["role press".to_owned()][..]));
        assert_eq!(distinct(&[2, 1, 2]), [1, 2]);
    }
}
