//! `portcullis keys …`: the signing keys, which rotate with overlap.
//! Private keys are never shown; one that is brought along is read from a file.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::audit::Actor;
use crate::base::{Secret, Timestamp};
use crate::crypto::keyring::Purpose;
use crate::keys::{self, Listed, SETTLE, State};

/// Manage signing keys
#[derive(clap::Args, Debug)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys: which sign, and which only verify what they signed
    List {
        #[command(flatten)]
        json: AsJson,
    },
    /// Add an RSA key from a PEM file, in the place of the present one
    Add {
        /// The PEM file with the private key
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// What it signs
        #[arg(long = "for", value_enum, default_value_t = For::Access)]
        purpose: For,
    },
    /// Make a new key; the old one verifies until the last token that it signed has ended
    Rotate {
        /// What it signs
        #[arg(long = "for", value_enum, default_value_t = For::Access)]
        purpose: For,
    },
}

/// What a key signs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    /// Tokens that clients carry
    Access,
    /// What upstreams are told about a caller
    Assertion,
}

impl From<For> for Purpose {
    fn from(purpose: For) -> Self {
        match purpose {
            For::Access => Self::Access,
            For::Assertion => Self::Assertion,
        }
    }
}

impl Keys {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            let actor = Actor::command_line();
            let made = match &self.command {
                Command::List { json } => return list(&office, json.format(), out).await,
                Command::Add { file, purpose } => {
                    let pem = std::fs::read(file).map(Secret::new);
                    let pem =
                        pem.map_err(|error| Failure::problem(format_args!("{}: {error}", file.display())))?;
                    keys::add(&office.app, actor, Purpose::from(*purpose), &pem).await
                }
                Command::Rotate { purpose } => {
                    keys::rotate(&office.app, actor, Purpose::from(*purpose)).await
                }
            };
            let kid = made.map_err(Failure::problem)?;
            out.line(format_args!("{kid} signs from {} seconds on", SETTLE.as_secs()))
        })
    }
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let all = keys::list(&office.app).await.map_err(Failure::problem)?;
    if format == Format::Json {
        return out.json(&all);
    }
    let row = |key: &Listed| {
        let state = match key.state {
            State::Coming => "coming",
            State::Active => "signs",
            State::Retired => "verifies",
        };
        let [purpose, algorithm, state] = [key.purpose, key.algorithm, state].map(str::to_owned);
        let until = key.published_until.map(Timestamp::rfc3339).unwrap_or_default();
        [key.kid.clone(), purpose, algorithm, state, key.active_from.rfc3339(), until]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    out.table(["kid", "for", "algorithm", "state", "from", "published until"], &rows)
}
