//! What a command says and how it ends.
//!
//! Law: results go to standard output, everything else to standard error; a reader who closes the
//! pipe (`| head`) ends a command quietly. Exit codes: 0 done, 1 a problem was found, 2 wrong usage.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Something is wrong with the configuration, the store or the world: exit code 1.
    Problem(String),
    /// Nobody reads the output any more: exit code 0.
    Closed,
}

impl Failure {
    /// A problem, described by anything that can be shown.
    pub fn problem(text: impl Display) -> Self {
        Self::Problem(text.to_string())
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Problem(_) => 1,
            Self::Closed => 0,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::Closed } else { Self::problem(error) }
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
}

/// A remark for people, on standard error; nothing depends on it.
pub fn note(text: impl Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
