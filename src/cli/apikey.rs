//! `portcullis apikey …`: the keys that people gave to programs of theirs, and how to end one.
//!
//! Law: a key is ended by the same operation as everybody's, so a gateway on the same store obeys within a
//! second. No command shows the text of a key: nobody has it any more.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use clap::Subcommand;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account::{self, Known};
use crate::apikey::{self, ApiKey};
use crate::base::{Id, Number, Timestamp};
use crate::store::DEFAULT_SITE;

/// List API keys, and end them
#[derive(clap::Args, Debug)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List API keys, the newest first
    List {
        /// Only those of one account: e-mail address, phone number, user name, number or id
        user: Option<account::Reference>,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        json: AsJson,
    },
    /// End an API key for good
    Revoke {
        /// Its number or id
        key: Named,
    },
}

/// A key as an operator names it.
#[derive(Clone, Copy, Debug)]
enum Named {
    Number(Number),
    Id(Id),
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().map(|number| Self::Number(Number(number)));
        let named = number.or_else(|| text.parse().ok().map(Self::Id));
        named.ok_or("a number or an id, as `portcullis apikey list` shows them")
    }
}

impl Keys {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::List { user, limit, json } => {
                    list(&office, user.as_ref(), *limit, json.format(), out).await
                }
                Command::Revoke { key } => revoke(&office, *key, out).await,
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
    let db = &office.app.db;
    let mut keys = match user {
        Some(reference) => apikey::of_account(db, office.person(reference).await?.id).await?,
        None => apikey::list(db, limit).await?,
    };
    keys.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let humans: Vec<Id> = keys.iter().map(|key| key.account).collect();
    let known = account::known(db, DEFAULT_SITE, &humans).await?;
    let known: HashMap<Id, Known> = known.into_iter().map(|known| (known.id, known)).collect();
    let human = |key: &ApiKey| {
        let email = known.get(&key.account).and_then(|known| known.email.as_ref());
        email.map_or_else(|| key.account.to_string(), ToString::to_string)
    };
    let now = office.app.now();
    if format == Format::Json {
        return out.json(&keys.iter().map(|key| object(key, &human(key), now)).collect::<Vec<_>>());
    }
    let row = |key: &ApiKey| {
        [
            key.number.to_string(),
            key.name.clone(),
            key.hint.clone(),
            human(key),
            state(key, now).to_owned(),
            scopes(key).join(","),
            key.expires_at.rfc3339(),
            key.last_used_at.map(Timestamp::rfc3339).unwrap_or_default(),
        ]
    };
    let titles = ["number", "name", "key", "human", "state", "scopes", "expires", "last used"];
    out.table(titles, &keys.iter().map(row).collect::<Vec<_>>())
}

fn scopes(key: &ApiKey) -> Vec<String> {
    key.scopes.iter().map(ToString::to_string).collect()
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match key.revoked_at {
        Some(_) => "revoked",
        None if key.is_alive(now) => "active",
        None => "expired",
    }
}

fn object(key: &ApiKey, human: &str, now: Timestamp) -> Value {
    json!({
        "number": key.number.0,
        "id": key.id.to_string(),
        "name": key.name,
        "hint": key.hint,
        "account": key.account.to_string(),
        "human": human,
        "state": state(key, now),
        "scopes": scopes(key),
        "created_at": key.created_at.rfc3339(),
        "expires_at": key.expires_at.rfc3339(),
        "revoked_at": key.revoked_at.map(Timestamp::rfc3339),
        "last_used": key.last_used_at.map(Timestamp::rfc3339),
    })
}

async fn revoke(office: &Office, named: Named, out: &mut Out) -> Result<(), Failure> {
    let found = match named {
        Named::Number(number) => apikey::by_number(&office.app.db, number).await?,
        Named::Id(id) => apikey::by_id(&office.app.db, id).await?,
    };
    let missing = || Failure::problem("there is no such key; `portcullis apikey list` shows them");
    let key = found.ok_or_else(missing)?;
    let mut change = office.change().await?;
    if !apikey::revoke(&mut change, &key).await? {
        let since = key.revoked_at.map(|at| format!(", since {}", at.rfc3339())).unwrap_or_default();
        return Err(Failure::problem(format_args!("it is over already{since}")));
    }
    change.commit().await?;
    out.line("revoked")
}
