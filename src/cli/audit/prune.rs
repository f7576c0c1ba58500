//! `portcullis audit prune`: what is older than `audit.keep_for` leaves the trail, and a signed entry takes its place.
//!
//! Law: a gateway does not do this. Where the database has roles it is done under the one that owns the tables,
//! which no gateway knows.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::app::{self, Pruned};
use crate::audit::{Actor, Broken};
use crate::cli::office::Office;
use crate::cli::open;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::store::Error;

/// Remove entries that are older than `audit.keep_for`, and sign what stands for them
///
/// To be run each day, under the role that owns the tables. A trail that is not what was written is not pruned.
#[derive(clap::Args, Debug)]
pub struct Prune {
    #[command(flatten)]
    owner: open::Owner,
    #[command(flatten)]
    json: AsJson,
}

impl Prune {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let config = self.owner.config(path)?;
        if let Some(missing) = open::missing_store(&config.store) {
            return Err(Failure::problem(format_args!("there is no store at {} yet", missing.display())));
        }
        let format = self.json.format();
        open::block_on(async {
            let office = Office::of(config).await?;
            let kept_for = office.config().audit.keep_for;
            let pruned = app::prune_audit(&office.app, Actor::command_line(), kept_for).await;
            let pruned: Vec<Pruned> = pruned.map_err(|broken| match broken {
                Broken::Store(cause @ Error::Broken { .. }) => Failure::problem(format_args!(
                    "{cause}: pruning is for the role that owns the tables; name a file with its address by --store-file"
                )),
                Broken::Store(cause) => cause.into(),
                broken @ Broken::At { .. } => {
                    Failure::problem(format_args!("{broken}: nothing was pruned, for that would hide it"))
                }
            })?;
            if format == Format::Json {
                let of = |pruned: &Pruned| {
                    let Pruned { stream, seq, tombstone } = pruned;
                    let told = json!({
                        "from_seq": tombstone.from, "to_seq": tombstone.to.seq,
                        "before": tombstone.before.rfc3339(), "tombstone": seq,
                    });
                    (stream.name().to_owned(), told)
                };
                let streams: Map<String, Value> = pruned.iter().map(of).collect();
                return out.json(&json!({"pruned": !pruned.is_empty(), "streams": streams}));
            }
            if pruned.is_empty() {
                return out.line("nothing in the audit trail is older than `audit.keep_for`");
            }
            for Pruned { stream, seq, tombstone } in &pruned {
                let (from, to) = (tombstone.from, tombstone.to.seq);
                out.line(format_args!(
                    "pruned entries {from} to {to} of the {stream}; entry {seq} stands for them"
                ))?;
            }
            Ok(())
        })
    }
}
