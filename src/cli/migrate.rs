//! `portcullis migrate [status]`: brings the tables of the store up to date, or says how far they
//! are. A starting gateway does the same where its role may; this is for those who want it done before, or under
//! another role, and `--grant-to` then says what the gateway's role may do.

use std::path::Path;

use serde_json::{Value, json};

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::base::{Clock, SystemClock};
use crate::store::grant;
use crate::store::migrate::{self, State};

/// Bring the tables of the store up to date
///
/// `run` does this by itself; one gateway migrates while the others wait.
#[derive(clap::Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    owner: open::Owner,
    /// Let this role serve as a gateway, which may add and read audit rows but not change or remove them (PostgreSQL)
    #[arg(long, value_name = "ROLE")]
    grant_to: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Say how far the store is, without changing it
    ///
    /// Exit code 1 when something is missing, or when a newer version was here.
    Status {
        #[command(flatten)]
        json: AsJson,
    },
}

impl Migrate {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let config = self.owner.config(path)?;
        open::block_on(async {
            match &self.command {
                None => {
                    let db = open::store(&config.store).await?;
                    let applied = migrate::run(&db, SystemClock.now()).await.map_err(Failure::problem)?;
                    for file in &applied {
                        out.line(format_args!("applied {file}"))?;
                    }
                    out.line("the store is up to date")?;
                    let Some(role) = &self.grant_to else { return Ok(()) };
                    grant::to_gateway(&db, role).await.map_err(Failure::problem)?;
                    out.line(format_args!("{role} may serve as a gateway, and change no audit row"))
                }
                Some(Command::Status { .. }) if self.grant_to.is_some() => {
                    Err(Failure::usage("`migrate status` changes nothing: leave `--grant-to` out"))
                }
                Some(Command::Status { json }) => {
                    let db = open::existing_store(&config.store).await?;
                    status(migrate::status(&db).await.map_err(Failure::problem)?, json.format(), out)
                }
            }
        })
    }
}

fn status(files: Vec<(String, State)>, format: Format, out: &mut Out) -> Result<(), Failure> {
    let is_current = files.iter().all(|(_, state)| *state == State::Applied);
    match format {
        Format::Json => {
            let files: Value =
                files.iter().map(|(name, state)| json!({"file": name, "state": describe(state)})).collect();
            out.json(&json!({"current": is_current, "files": files}))?;
        }
        Format::Text => {
            let rows: Vec<_> = files.into_iter().map(|(name, state)| [name, describe(&state)]).collect();
            out.table(["migration", "state"], &rows)?;
        }
    }
    if is_current {
        Ok(())
    } else {
        Err(Failure::problem("the store is not up to date: `portcullis migrate`"))
    }
}

fn describe(state: &State) -> String {
    match state {
        State::Applied => "applied".to_owned(),
        State::Pending => "pending".to_owned(),
        State::Begun { done, of } => format!("begun: {done} of {of} steps"),
        State::Unknown => "unknown: of a newer version".to_owned(),
    }
}
