//! `portcullis audit tail`: what happened, newest last, and with `--follow` what happens; `audit verify`:
//! whether all of it is still there. Rows are read as they are: what was erased stays erased. Beside the id of an
//! account stands what it is called now.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account;
use crate::audit::{self, Broken, Head, Kept, Row, SignedHead, Sought};
use crate::base::{Clock as _, Id, SystemClock, Timestamp};
use crate::config::{self, Config};
use crate::crypto::seal::SealKey;
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
    Verify(Verify),
}

/// Check that no entry was changed, removed or put elsewhere, and name the first that was
#[derive(clap::Args, Debug)]
struct Verify {
    /// What the log said of the trail's end: also check that it still contains that entry. May be repeated
    #[arg(long = "head", value_name = "SIGNED")]
    heads: Vec<String>,
    #[command(flatten)]
    json: AsJson,
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
        match &self.command {
            Command::Tail(tail) => tail.run(path, out),
            Command::Verify(verify) => verify.run(path, out),
        }
    }
}

impl Verify {
    fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let config = open::config(path)?.config;
        let heads = self.heads(&config)?;
        let format = self.json.format();
        open::block_on(async {
            let db = open::existing_store(&config.store).await?;
            let pruned_before = SystemClock.now().minus(config.audit.keep_for);
            match check(&db, &heads, pruned_before).await {
                Ok((end, pruned)) if format == Format::Json => out
                    .json(&json!({"whole": true, "seq": end.seq, "hash": end.hash, "pruned_heads": pruned})),
                Ok((end, pruned)) => {
                    out.line(format_args!(
                        "the audit trail is whole up to entry {} ({})",
                        end.seq, end.hash
                    ))?;
                    let told = |seq: &i64| {
                        out.line(format_args!(
                            "entry {seq}, which the log vouches for, was pruned by its age"
                        ))
                    };
                    pruned.iter().try_for_each(told)
                }
                Err(Broken::At { seq, finding }) => {
                    if format == Format::Json {
                        out.json(&json!({"whole": false, "seq": seq, "finding": finding}))?;
                    } else {
                        out.line(Broken::At { seq, finding })?;
                    }
                    Err(Failure::Told)
                }
                Err(Broken::Store(cause)) => Err(cause.into()),
            }
        })
    }

    /// The heads that were named, if this seal key signed them.
    fn heads(&self, config: &Config) -> Result<Vec<SignedHead>, Failure> {
        if self.heads.is_empty() {
            return Ok(Vec::new());
        }
        let key = config::seal_key(&config.keys.seal_file).map_err(Failure::problem)?;
        let seal = SealKey::from_bytes(*key.expose());
        let read = |text: &String| SignedHead::read(&seal, text);
        self.heads.iter().map(read).collect::<Result<_, _>>().map_err(Failure::problem)
    }
}

/// Where the trail ends, and which of the heads are of entries that were pruned.
async fn check(db: &Db, heads: &[SignedHead], pruned_before: Timestamp) -> Result<(Head, Vec<i64>), Broken> {
    let mut end = audit::verify(db).await?;
    let mut pruned = Vec::new();
    for head in heads {
        let (now, kept) = audit::verify_against(db, head, pruned_before).await?;
        end = now;
        if kept == Kept::Pruned {
            pruned.push(head.head.seq);
        }
    }
    Ok((end, pruned))
}

impl Tail {
    fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let tail = self;
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
