//! `portcullis audit tail`: what happened, newest last, and with `--follow` what happens.
//! Rows are read as they are: what was erased stays erased. Beside the id of an account stands what it is called now.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account;
use crate::audit::{self, Row, Sought};
use crate::base::Id;
use crate::store::{Db, Error};

/// Read the audit trail
#[derive(clap::Args, Debug)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Tail(Tail),
}

/// Print the latest entries, newest last
#[derive(clap::Args, Debug)]
struct Tail {
    /// How many
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lines: u32,
    /// Go on printing as entries are written, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only this event, say agent_action
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only what is about this account, by its id
    #[arg(long, value_name = "ID")]
    account: Option<Id>,
    /// Only what this request caused, by its X-Request-ID
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only what this prompt caused, by its X-Prompt-Trace-ID
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    #[command(flatten)]
    json: AsJson,
}

impl Tail {
    fn sought(&self) -> Sought {
        let Self { code, account, request, trace, .. } = self;
        let (code, request_id, trace) = (code.clone(), request.clone(), trace.clone());
        Sought { code, account: *account, request_id, trace }
    }
}

/// How often `--follow` looks, and how many entries it takes at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const AT_ONCE: u32 = 500;

impl Audit {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let Command::Tail(tail) = &self.command;
        let sought = tail.sought();
        let loaded = open::config(path)?;
        open::block_on(async {
            let db = open::existing_store(&loaded.config.store).await?;
            let mut rows = audit::latest_of(&db, &sought, tail.lines).await.map_err(Failure::problem)?;
            let (mut seen, mut names) = (0, Names::default());
            loop {
                for row in &rows {
                    seen = row.seq;
                    if tail.json.format() == Format::Json {
                        out.json_line(row)?;
                    } else {
                        names.learn(&db, row).await?;
                        show(row, &names, out)?;
                    }
                }
                if !tail.follow {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
                rows = audit::tail_of(&db, &sought, seen, AT_ONCE).await.map_err(Failure::problem)?;
            }
        })
    }
}

/// What accounts are called that entries name by their ids, while they are there.
#[derive(Default)]
struct Names(HashMap<Id, Option<String>>);

impl Names {
    async fn learn(&mut self, db: &Db, row: &Row) -> Result<(), Error> {
        for id in [row.actor, row.account].into_iter().flatten() {
            if self.0.contains_key(&id) {
                continue;
            }
            let found = account::by_id(db, id).await?;
            let name = found.and_then(|found| {
                let email = found.email.map(|email| email.to_string());
                email.or_else(|| Some(found.username?.to_string()))
            });
            self.0.insert(id, name);
        }
        Ok(())
    }

    /// As JSON, so that no control character of a name reaches the terminal.
    fn beside(&self, id: Id) -> String {
        let name = self.0.get(&id).and_then(Option::as_deref);
        name.map_or_else(|| id.to_string(), |name| format!("{id}({})", Value::from(name)))
    }
}

fn show(row: &Row, names: &Names, out: &mut Out) -> Result<(), Failure> {
    let text = |id: Option<Id>| id.map(|id| id.to_string());
    let named = |id: Option<Id>| id.map(|id| names.beside(id));
    let mut facts = vec![
        ("by", Some(named(row.actor).unwrap_or_else(|| row.actor_kind.clone()))),
        ("account", named(row.account)),
        ("organization", text(row.organization)),
        ("application", text(row.application)),
        ("request", row.request_id.clone()),
    ];
    if let Value::Object(personal) = &row.personal {
        // As JSON, so that no control character of a client reaches the terminal.
        let told = personal.iter().filter(|(_, value)| !value.is_null());
        facts.extend(told.map(|(name, value)| (name.as_str(), Some(value.to_string()))));
    }
    let facts = facts.into_iter().filter_map(|(name, value)| value.map(|value| format!(" {name}={value}")));
    out.line(format_args!(
        "{} #{} {}{}",
        row.happened_at.rfc3339(),
        row.seq,
        row.code,
        facts.collect::<String>()
    ))
}
