//! What a command says and how it ends.
//!
//! Law: results go to standard output, everything else to standard error; a reader who closes the
//! pipe (`| head`) ends a command quietly. Exit codes: 0 done, 1 a problem was found, 2 wrong usage.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use serde::Serialize;
use serde_json::Value;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// What is wrong stands on standard output already: exit code 1.
    Told,
    /// Something is wrong with the configuration, the store or the world: exit code 1.
    Problem(String),
    /// What was typed cannot be done: exit code 2.
    Usage(String),
    /// Nobody reads the output any more: exit code 0.
    Closed,
}

impl Failure {
    /// A problem, described by anything that can be shown.
    pub fn problem(text: impl Display) -> Self {
        Self::Problem(text.to_string())
    }

    /// Wrong usage, with what to type.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Told | Self::Problem(_) => 1,
            Self::Usage(_) => 2,
            Self::Closed => 0,
        }
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        Self::problem(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::Closed } else { Self::problem(error) }
    }
}

/// How a command's result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts: one JSON value, or one per line where the result goes on.
    Json,
}

/// `--json`, for every command whose result a script may want.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct AsJson {
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl AsJson {
    pub fn format(self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }

    /// Where the result is JSON in any case: what works for other commands may be said here, and changes nothing.
    pub fn anyway(self) {
        let Self { json: _ } = self;
    }
}

/// Standard output.
pub struct Out(Box<dyn Write + Send>);

impl Out {
    pub fn standard() -> Self {
        Self(Box::new(std::io::stdout()))
    }

    /// One line.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{text}")?;
        Ok(self.0.flush()?)
    }

    /// A piece of a file.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes)?;
        Ok(self.0.flush()?)
    }

    /// One JSON value, indented.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(Failure::problem)?;
        self.line(text)
    }

    /// One JSON value on one line, for results that go on.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string(value).map_err(Failure::problem)?)
    }

    /// What became of a command that changes something: words for people, and for scripts what it is about, with
    /// `changed`, which is false where it was so already.
    pub fn done(
        &mut self,
        asked: AsJson,
        is_changed: bool,
        mut facts: Value,
        text: impl Display,
    ) -> Result<(), Failure> {
        match asked.format() {
            Format::Text => self.line(text),
            Format::Json => {
                facts["changed"] = is_changed.into();
                self.json(&facts)
            }
        }
    }

    /// Rows under a heading, in columns as wide as their widest cell. A heading of nothing is left out.
    pub fn table<const N: usize>(&mut self, heading: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
        let mut widths = heading.map(|cell| cell.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: [&str; N]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        if heading.iter().any(|cell| !cell.is_empty()) {
            self.line(line(heading))?;
        }
        rows.iter().try_for_each(|row| self.line(line(row.each_ref().map(String::as_str))))
    }
}

/// The beginning of a line on standard error that somebody goes on with.
pub fn draft(text: impl Display) {
    let mut error = std::io::stderr();
    drop(write!(error, "{text}").and_then(|()| error.flush()));
}

/// A remark for people, on standard error; nothing depends on it.
pub fn note(text: impl Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
