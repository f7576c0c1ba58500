//! Where a password comes from: a prompt without echo, or standard input.
//!
//! Law: never an argument and never the environment: both can be read by others on the machine.

use std::io::{IsTerminal, Read};

use super::out::{Failure, note};
use crate::base::Secret;
use crate::crypto::password::policy::{ALSO, Owner, Policy, Weakness};

/// `--password-stdin`, for every command that takes a password.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct FromStdin {
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

/// `--code-stdin`, for commands that log somebody in.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct CodeFromStdin {
    /// Read the code of the second factor too, from a line of its own after the password
    #[arg(long, requires = "password_stdin")]
    code_stdin: bool,
}

/// What somebody proves who they are with.
#[derive(Debug)]
pub struct Proof {
    pub password: Secret<String>,
    /// Of the second factor, where it was given before anybody asked for it.
    pub code: Option<Secret<String>>,
}

/// Longer input is not a password.
const LONGEST: u64 = 64 * 1024;

impl FromStdin {
    /// A new password that the rules accept. Whoever is asked learns the rules first, and is asked again
    /// until they are kept. One line ending at its end is not part of it.
    pub fn choose(self, policy: &Policy, owner: &Owner<'_>) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            let password = from_stdin()?;
            let weaknesses = policy.check(password.expose(), owner);
            return if weaknesses.is_empty() { Ok(password) } else { Err(too_weak(&weaknesses)) };
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("nobody can be asked here: use --password-stdin"));
        }
        note(format_args!("What a password has to be:\n  {}\n  {ALSO}", policy.requirements().join("\n  ")));
        until_good(policy, owner, ask, note)
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

impl CodeFromStdin {
    /// A password that somebody has, and the code where it comes with it.
    pub fn ask_for(self, password: FromStdin) -> Result<Proof, Failure> {
        let password = password.ask_for()?;
        if !self.code_stdin {
            return Ok(Proof { password, code: None });
        }
        let Some((password, code)) = password.expose().rsplit_once('\n') else {
            return Err(Failure::usage("there is no code after the password on standard input"));
        };
        let password = Secret::new(password.trim_end_matches('\r').to_owned());
        Ok(Proof { password, code: Some(Secret::new(code.trim().to_owned())) })
    }
}

/// The code of a second factor that turned out to be needed.
pub fn ask_for_code() -> Result<Secret<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::problem("the login needs the code of a second factor: use --code-stdin"));
    }
    Ok(Secret::new(rpassword::prompt_password("Code of your second factor: ")?.trim().to_owned()))
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

/// What is said about a password that the rules refuse.
pub fn too_weak(weaknesses: &[Weakness]) -> Failure {
    let list: Vec<_> = weaknesses.iter().map(ToString::to_string).collect();
    Failure::problem(format_args!("this password will not do:\n  {}", list.join("\n  ")))
}

/// Asks until there is a password that will do. `None` is an answer that was no password.
fn until_good(
    policy: &Policy,
    owner: &Owner<'_>,
    mut ask: impl FnMut() -> Result<Option<Secret<String>>, Failure>,
    mut say: impl FnMut(String),
) -> Result<Secret<String>, Failure> {
    loop {
        let Some(password) = ask()? else {
            say("the two are not the same; once more".to_owned());
            continue;
        };
        let weaknesses = policy.check(password.expose(), owner);
        if weaknesses.is_empty() {
            return Ok(password);
        }
        let list: Vec<_> = weaknesses.iter().map(ToString::to_string).collect();
        say(format!("{} Once more.", list.join(" ")));
    }
}

fn ask() -> Result<Option<Secret<String>>, Failure> {
    let first = Secret::new(rpassword::prompt_password("New password: ")?);
    let second = Secret::new(rpassword::prompt_password("The same again: ")?);
    Ok((first == second).then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_is_told_what_is_wrong_and_asked_again() {
        let mut answers = [None, Some("short"), Some("Ample-Margin-42-Kites")].into_iter();
        let mut said = Vec::new();
        let ask = || Ok(answers.next().expect("asked too often").map(|text| Secret::new(text.to_owned())));
        let chosen = until_good(&Policy::default(), &Owner::default(), ask, |text| said.push(text));
        assert_eq!(chosen.expect("a password").expose(), "Ample-Margin-42-Kites");
        assert!(said[0].contains("not the same") && said[1].contains("at least 8 characters"), "{said:?}");
        assert_eq!((said.len(), answers.next()), (2, None));
    }
}
