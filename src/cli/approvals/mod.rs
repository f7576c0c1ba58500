//! `portcullis approvals …`: what agents want to do, and what became of it.
//!
//! Law: an operator looks and decides nothing here: who decides is a person of the rule, logged in to
//! the running gateway. What cannot be seen in a terminal is made visible, and nothing is cut.

mod decide;
mod gateway;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out, draft};
use crate::approval::{self, Approval, Filter, Reference, State};
use crate::base::visible;
use crate::store::DEFAULT_SITE;
use decide::Word;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See what agents want to do, and decide about it
#[derive(clap::Args, Debug)]
pub struct Approvals {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List approvals, the newest first
    List {
        /// Only those in one state, such as `pending`
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        json: AsJson,
    },
    /// Show one approval, with exactly what would be sent
    Show {
        /// Its number, id or confirmation token
        // A confirmation token may begin with any sign of its alphabet.
        #[arg(allow_hyphen_values = true)]
        approval: String,
        #[command(flatten)]
        json: AsJson,
    },
    /// Print each approval that comes to wait, until stopped
    Watch,
    /// Approve what an agent wants to do, as a person who logs in to the running gateway
    Approve(decide::Which),
    /// Deny what an agent wants to do, as a person who logs in to the running gateway
    Deny {
        #[command(flatten)]
        which: decide::Which,
        /// What the agent is told
        #[arg(long)]
        reason: Option<String>,
    },
}

fn state(text: &str) -> Result<State, String> {
    let names = || State::ALL.map(State::name).join(", ");
    State::from_name(text).ok_or_else(|| format!("one of {}", names()))
}

impl Approvals {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            match &self.command {
                Command::List { state, limit, json } => {
                    list(&Office::open(path).await?, *state, *limit, json.format(), out).await
                }
                Command::Show { approval, json } => {
                    show(&Office::open(path).await?, approval, json.format(), out).await
                }
                Command::Watch => watch(&Office::open(path).await?, out).await,
                Command::Approve(which) => decide::decide(path, which, Word::Approve, out).await,
                Command::Deny { which, reason } => {
                    decide::decide(path, which, Word::Deny { reason: reason.as_deref() }, out).await
                }
            }
        })
    }
}

/// A line that somebody types. `instead`: what to do where nobody can be asked.
fn ask(question: &str, instead: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format_args!("nobody can be asked here: {instead}")));
    }
    draft(question);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

async fn list(
    office: &Office,
    state: Option<State>,
    limit: u32,
    format: Format,
    out: &mut Out,
) -> Result<(), Failure> {
    let filter = Filter { state, limit: Some(limit), ..Filter::default() };
    let all = approval::list(&office.app, DEFAULT_SITE, &filter).await?;
    if format == Format::Json {
        let contents = approval::contents(&office.app, &all).await?;
        let both = all.iter().zip(&contents);
        let shown: Vec<_> = both.map(|(one, seen)| approval::shown(&office.app, one, seen)).collect();
        return out.json(&shown);
    }
    let rows: Vec<_> = all.iter().map(|one| row(office, one)).collect();
    out.table(["number", "state", "agent", "what", "path", "until"], &rows)
}

fn row(office: &Office, approval: &Approval) -> [String; 6] {
    [
        approval.number.0.to_string(),
        approval.state_at(office.app.now()).name().to_owned(),
        visible(approval.agent.as_bytes()),
        approval.title.clone(),
        approval.path.clone(),
        approval.expires_at().rfc3339(),
    ]
}

async fn show(office: &Office, named: &str, format: Format, out: &mut Out) -> Result<(), Failure> {
    let missing = || Failure::problem("there is no such approval; `portcullis approvals list` shows them");
    let found = approval::find(&office.app.db, &Reference::of(named)).await?.ok_or_else(missing)?;
    let seen = approval::seen(&office.app, &found).await?;
    if format == Format::Json {
        return out.json(&approval::shown(&office.app, &found, &seen));
    }
    let content = seen.content();
    let mut rows = vec![
        ["state".to_owned(), found.state_at(office.app.now()).name().to_owned()],
        ["agent".to_owned(), visible(found.agent.as_bytes())],
        ["what".to_owned(), found.title.clone()],
        ["until".to_owned(), found.expires_at().rfc3339()],
        ["binding digest".to_owned(), found.binding.clone()],
    ];
    rows.extend(found.reason.as_ref().map(|said| ["reason".to_owned(), visible(said.as_bytes())]));
    if let Some(content) = content {
        rows.push([
            "request".to_owned(),
            format!("{} {}{}", content.method, content.authority, content.target),
        ]);
        let header = |(name, value): &(String, Vec<u8>)| [name.clone(), visible(value)];
        rows.extend(content.headers.iter().map(header));
        let key = content.idempotency_key.as_ref();
        rows.extend(key.map(|key| ["idempotency-key, the agent's own".to_owned(), visible(key.as_bytes())]));
    }
    out.table(["", ""], &rows)?;
    match content {
        Some(content) if !content.body.is_empty() => out.line(visible(&content.body)),
        _ => Ok(()),
    }
}

async fn watch(office: &Office, out: &mut Out) -> Result<(), Failure> {
    // Ids, for numbers come in blocks to replicas; what waits no more is forgotten.
    let mut seen = HashSet::new();
    loop {
        let limit = Some(approval::LISTED_MAX);
        let filter = Filter { state: Some(State::Pending), limit, ..Filter::default() };
        let waiting = approval::list(&office.app, DEFAULT_SITE, &filter).await?;
        for one in waiting.iter().rev().filter(|one| !seen.contains(&one.id)) {
            let [number, _, agent, what, path, until] = row(office, one);
            out.line(format_args!("{number} {agent}: {what} {path}, until {until}"))?;
        }
        seen = waiting.iter().map(|one| one.id).collect();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
