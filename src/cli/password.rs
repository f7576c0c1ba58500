//! Where a password comes from: a prompt without echo, or standard input.
//!
//! Law: never an argument and never the environment: both can be read by others on the machine.

use std::io::{IsTerminal, Read};

use super::out::Failure;
use crate::base::Secret;

/// `--password-stdin`, for every command that takes a password.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct FromStdin {
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

/// Longer input is not a password.
const LONGEST: u64 = 64 * 1024;

impl FromStdin {
    /// The new password. One line ending at its end is not part of it.
    pub fn read(self) -> Result<Secret<String>, Failure> {
        if self.password_stdin { from_stdin() } else { ask() }
    }

    /// A password that somebody has. One line ending at its end is not part of it.
    pub fn ask_for(self) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            return from_stdin();
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("nobody can be asked here: use --password-stdin"));
        }
        Ok(Secret::new(rpassword::prompt_password("Password: ")?))
    }
}

fn from_stdin() -> Result<Secret<String>, Failure> {
    let mut text = String::new();
    std::io::stdin().take(LONGEST).read_to_string(&mut text)?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    if text.is_empty() {
        return Err(Failure::usage("there is no password on standard input"));
    }
    Ok(Secret::new(text))
}

fn ask() -> Result<Secret<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked here: use --password-stdin"));
    }
    let first = Secret::new(rpassword::prompt_password("New password: ")?);
    let second = Secret::new(rpassword::prompt_password("The same again: ")?);
    if first == second { Ok(first) } else { Err(Failure::problem("the two are not the same")) }
}
