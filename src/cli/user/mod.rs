//! `portcullis user …`: accounts, by an operator.
//!
//! Law: each command is one change with its audit row, written as done by the command line, and a
//! running gateway obeys it within a second.

mod create;
mod leave;
mod rights;
mod show;
mod standing;

use std::path::Path;

use clap::Subcommand;
pub use create::superuser;

use super::office::Office;
use super::open;
use super::out::{Failure, Out};
use crate::account::Reference;

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

/// Whose account.
#[derive(clap::Args, Debug)]
struct Whose {
    /// E-mail address, phone number, user name, number or id
    #[arg(value_name = "USER")]
    user: Reference,
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
