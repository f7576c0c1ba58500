//! `portcullis agent …`: what humans delegated to agents, and how to stop it.
//!
//! Law: what stops an agent is the same operation as everybody's, so a gateway on the same store
//! obeys within a second. The kill switch asks for no running gateway.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account;
use crate::agent::{self, AgentToken, Reference, Status, reason_name, shown};
use crate::app::Change;
use crate::audit::Suspension;
use crate::base::{Id, Timestamp};
use crate::organization;
use crate::store::DEFAULT_SITE;

/// List agent tokens, and stop agents
#[derive(clap::Args, Debug)]
pub struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List agent tokens, the newest first
    List {
        /// Only those of one account: e-mail address, phone number, user name, number or id
        user: Option<account::Reference>,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        json: AsJson,
    },
    /// Show one agent token: its limits, permissions and state
    Show {
        #[command(flatten)]
        token: Token,
        #[command(flatten)]
        json: AsJson,
    },
    /// Suspend an agent token
    Suspend(Token),
    /// Let a suspended agent token act again
    Resume(Token),
    /// End an agent token for good
    Revoke(Token),
    /// End every agent token of an account at once
    Kill(Whose),
}

// One of both, so that a slip of the keyboard is never taken for everybody.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Whose {
    /// E-mail address, phone number, user name, number or id
    user: Option<account::Reference>,
    /// The agents of every account
    #[arg(long)]
    everyone: bool,
}

#[derive(clap::Args, Debug)]
struct Token {
    /// Its number or id
    token: Reference,
}

impl Agent {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::List { user, limit, json } => {
                    list(&office, user.as_ref(), *limit, json.format(), out).await
                }
                Command::Show { token, json } => show(&office, token, json.format(), out).await,
                Command::Suspend(token) => suspend(&office, token, out).await,
                Command::Resume(token) => resume(&office, token, out).await,
                Command::Revoke(token) => revoke(&office, token, out).await,
                Command::Kill(whose) => kill(&office, whose.user.as_ref(), out).await,
            }
        })
    }
}

async fn list(
    office: &Office,
    user: Option<&account::Reference>,
    limit: u32,
    format: Format,
    out: &mut Out,
) -> Result<(), Failure> {
    let account = match user {
        Some(reference) => Some(office.person(reference).await?.id),
        None => None,
    };
    let tokens = agent::list(&office.app.db, DEFAULT_SITE, account, limit).await?;
    if format == Format::Json {
        let mut all = Vec::with_capacity(tokens.len());
        for token in &tokens {
            all.push(object(office, token).await?);
        }
        return out.json(&all);
    }
    let mut rows = Vec::with_capacity(tokens.len());
    for token in &tokens {
        rows.push([
            token.number.0.to_string(),
            token.agent.clone(),
            human(office, token.account).await?,
            state(token, office.app.now()),
            token.permissions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            token.expires_at.rfc3339(),
        ]);
    }
    out.table(["number", "agent", "human", "state", "permissions", "expires"], &rows)
}

async fn human(office: &Office, id: Id) -> Result<String, Failure> {
    let account = account::by_id(&office.app.db, id).await?;
    let email = account.and_then(|account| account.email);
    Ok(email.map_or_else(|| id.to_string(), |email| email.to_string()))
}

/// The state, and why where it is a suspension. Time may have ended what the store still calls alive.
fn state(token: &AgentToken, now: Timestamp) -> String {
    match (token.status, token.suspended_reason) {
        (Status::Active | Status::Suspended, _) if token.expires_at <= now => {
            Status::Expired.name().to_owned()
        }
        (Status::Suspended, Some(reason)) => {
            format!("{} ({})", Status::Suspended.name(), reason_name(reason))
        }
        (status, _) => status.name().to_owned(),
    }
}

async fn object(office: &Office, token: &AgentToken) -> Result<Value, Failure> {
    let organization = match token.organization {
        Some(id) => organization::by_id(&office.app.db, id).await?.map(|own| own.slug.to_string()),
        None => None,
    };
    let mut object = serde_json::to_value(shown(token, organization)).map_err(Failure::problem)?;
    object["account"] = json!(token.account.to_string());
    object["human"] = json!(human(office, token.account).await?);
    object["uuid"] = json!(token.id.to_string());
    Ok(object)
}

async fn show(office: &Office, named: &Token, format: Format, out: &mut Out) -> Result<(), Failure> {
    let token = office.agent_token(named.token).await?;
    let facts = object(office, &token).await?;
    if format == Format::Json {
        return out.json(&facts);
    }
    let mut rows: Vec<[String; 2]> = Vec::new();
    flatten("", &facts, &mut rows);
    out.table(["", ""], &rows)
}

/// One row per fact, those of an object within named with a dot.
fn flatten(name: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, rows);
            }
        }
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            rows.push([name.to_owned(), texts.join(",")]);
        }
        Value::Null => {}
        Value::String(text) => rows.push([name.to_owned(), text.clone()]),
        other => rows.push([name.to_owned(), other.to_string()]),
    }
}

async fn suspend(office: &Office, named: &Token, out: &mut Out) -> Result<(), Failure> {
    let token = office.agent_token(named.token).await?;
    let mut change = office.change().await?;
    let is_done = agent::suspend(&mut change, token.delegation(), Suspension::Manual).await?;
    end(change, is_done, "suspended", out).await
}

async fn resume(office: &Office, named: &Token, out: &mut Out) -> Result<(), Failure> {
    let token = office.agent_token(named.token).await?;
    let mut change = office.change().await?;
    let is_done = agent::resume(&mut change, &token).await?;
    end(change, is_done, "active again", out).await
}

async fn revoke(office: &Office, named: &Token, out: &mut Out) -> Result<(), Failure> {
    let token = office.agent_token(named.token).await?;
    let mut change = office.change().await?;
    let is_done = agent::revoke(&mut change, token.delegation()).await?;
    end(change, is_done, "revoked", out).await
}

async fn end(change: Change<'_>, is_done: bool, word: &str, out: &mut Out) -> Result<(), Failure> {
    if !is_done {
        return Err(Failure::problem(
            "its state does not allow that, or is that already; `portcullis agent show` tells it",
        ));
    }
    change.commit().await?;
    out.line(word)
}

async fn kill(office: &Office, user: Option<&account::Reference>, out: &mut Out) -> Result<(), Failure> {
    let accounts = match user {
        Some(reference) => vec![office.person(reference).await?.id],
        None => agent::delegators(&office.app.db, DEFAULT_SITE).await?,
    };
    let mut count = 0;
    for account in accounts {
        let mut change = office.change().await?;
        count += agent::revoke_all(&mut change, account).await?;
        change.commit().await?;
    }
    let tokens = if count == 1 { "token" } else { "tokens" };
    out.line(format_args!("{count} agent {tokens} revoked"))
}
