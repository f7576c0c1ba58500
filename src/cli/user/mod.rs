//! `portcullis user …`: accounts, by an operator.
//!
//! Law: each command is one change with its audit row, written as done by the command line, and a
//! running gateway obeys it within a second.

mod create;
mod leave;
mod rights;
mod show;
mod standing;

use std::fmt::Display;
use std::path::Path;

use clap::Subcommand;
pub use create::superuser;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Out};
use crate::account::{Account, Reference};

/// Create and manage accounts
#[derive(clap::Args, Debug)]
pub struct User {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Create),
    List(show::List),
    Show(show::Show),
    Password(standing::Password),
    Verify(standing::Verify),
    Lock(standing::Lock),
    Unlock(standing::Unlock),
    Ban(standing::Ban),
    Unban(standing::Unban),
    #[command(name = "reset-2fa")]
    ResetSecondFactor(standing::ResetSecondFactor),
    Delete(leave::Delete),
    Export(leave::Export),
    Grant(rights::Grant),
    Revoke(rights::Revoke),
}

/// Why somebody is not shut out.
const LAST_SUPERUSER: &str = "this is the last superuser who can log in: make another one first";

/// Whose account, and for whom the result is.
#[derive(clap::Args, Debug)]
struct Whose {
    /// E-mail address, phone number, user name, number or id
    #[arg(value_name = "USER")]
    user: Reference,
    #[command(flatten)]
    json: AsJson,
}

impl Whose {
    /// Tells whether an account is otherwise now.
    fn told(
        &self,
        account: &Account,
        is_changed: bool,
        text: impl Display,
        out: &mut Out,
    ) -> Result<(), Failure> {
        out.done(self.json, is_changed, facts(account), text)
    }
}

/// Whose account it is, for scripts.
fn facts(account: &Account) -> Value {
    json!({"id": account.id.to_string(), "email": account.email.as_ref().map(ToString::to_string)})
}

impl User {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::Create(command) => command.run(&office, out).await,
                Command::List(command) => command.run(&office, out).await,
                Command::Show(command) => command.run(&office, out).await,
                Command::Password(command) => command.run(&office, out).await,
                Command::Verify(command) => command.run(&office, out).await,
                Command::Lock(command) => command.run(&office, out).await,
                Command::Unlock(command) => command.run(&office, out).await,
                Command::Ban(command) => command.run(&office, out).await,
                Command::Unban(command) => command.run(&office, out).await,
                Command::ResetSecondFactor(command) => command.run(&office, out).await,
                Command::Delete(command) => command.run(&office, out).await,
                Command::Export(command) => command.run(&office, out).await,
                Command::Grant(command) => command.run(&office, out).await,
                Command::Revoke(command) => command.run(&office, out).await,
            }
        })
    }
}
