//! `portcullis group …`: named sets of roles and permissions, given to many accounts at once.
//! Groups of the configuration file are shown here and changed there.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::definition::{self, refused, texts};
use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account;
use crate::app::Change;
use crate::policy::Code;
use crate::policy::definition::{Definitions, Group as Defined};
use crate::rbac::define::new_code;
use crate::rbac::{self, Granted, Outcome, Refused};

/// Manage groups: named sets of roles and permissions
#[derive(clap::Args, Debug)]
pub struct Group {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the groups in force
    List {
        #[command(flatten)]
        json: AsJson,
    },
    /// List the accounts in a group
    Members {
        /// The group
        #[arg(value_parser = Code::parse)]
        group: Code,
        #[command(flatten)]
        json: AsJson,
    },
    /// Create a group
    Create {
        /// Its code, such as night-shift
        #[arg(value_parser = new_code)]
        group: Code,
        /// Its name for people; the code if absent
        #[arg(long, value_parser = definition::name)]
        name: Option<String>,
        #[command(flatten)]
        json: AsJson,
    },
    /// Remove a group, and take it from everybody in it
    Remove {
        /// The group
        #[arg(value_parser = Code::parse)]
        group: Code,
        #[command(flatten)]
        json: AsJson,
    },
    /// Give everybody in a group a role or a permission
    Grant(Of),
    /// Take a role or a permission from a group
    Revoke(Of),
}

#[derive(clap::Args, Debug)]
struct Of {
    /// The group
    #[arg(value_parser = Code::parse)]
    group: Code,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    json: AsJson,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// A role
    #[arg(long, value_name = "CODE", value_parser = Code::parse)]
    role: Option<Code>,
    /// A permission
    #[arg(long, value_name = "CODE", value_parser = Code::parse)]
    permission: Option<Code>,
}

impl What {
    fn granted(&self) -> Result<Granted, Failure> {
        let role = self.role.clone().map(Granted::Role);
        let granted = role.or_else(|| self.permission.clone().map(Granted::Permission));
        granted.ok_or_else(|| Failure::usage("say --role or --permission"))
    }
}

impl Group {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::List { json } => list(&office, json.format(), out).await,
                Command::Members { group, json } => members(&office, group, json.format(), out).await,
                Command::Create { group, name, json } => {
                    let name = name.as_deref().unwrap_or(group.as_str());
                    let json = *json;
                    changed(&office, group, json, out, async |change, all| {
                        rbac::create_group(change, all, group, name).await
                    })
                    .await
                }
                Command::Remove { group, json } => {
                    let json = *json;
                    changed(&office, group, json, out, async |change, all| {
                        rbac::remove_group(change, all, group).await
                    })
                    .await
                }
                Command::Grant(of) => of.set(&office, true, out).await,
                Command::Revoke(of) => of.set(&office, false, out).await,
            }
        })
    }
}

impl Of {
    async fn set(&self, office: &Office, has: bool, out: &mut Out) -> Result<(), Failure> {
        let (group, granted) = (&self.group, self.what.granted()?);
        changed(office, group, self.json, out, async |change, all| {
            if has {
                rbac::grant_to_group(change, all, group, &granted).await
            } else {
                rbac::revoke_from_group(change, all, group, &granted).await
            }
        })
        .await
    }
}

/// Makes one change of a group, and tells what became of it.
async fn changed(
    office: &Office,
    group: &Code,
    json: AsJson,
    out: &mut Out,
    act: impl AsyncFnOnce(&mut Change<'_>, &Definitions) -> Result<Outcome, Refused>,
) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let mut change = office.change().await?;
    let outcome = act(&mut change, &definitions).await.map_err(|why| refused(&why, &definitions))?;
    change.settle().await?;
    let is_changed = outcome == Outcome::Changed;
    let text = if is_changed { "done" } else { "nothing to do: it is so already" };
    let now = office.definitions().await?;
    let shown =
        now.groups.get(group).map_or_else(|| json!({"code": group.as_str()}), |own| facts(group, own));
    out.done(json, is_changed, shown, text)
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let groups = definitions.groups.iter();
    if format == Format::Json {
        return out.json(&groups.map(|(code, group)| facts(code, group)).collect::<Value>());
    }
    let rows: Vec<_> = groups
        .map(|(code, group)| {
            let managed_by = group.managed_by.name().to_owned();
            [code.to_string(), managed_by, texts(&group.roles).join(","), texts(&group.permissions).join(",")]
        })
        .collect();
    out.table(["group", "managed by", "roles", "permissions"], &rows)
}

fn facts(code: &Code, own: &Defined) -> Value {
    json!({
        "code": code.as_str(), "name": own.name, "description": own.description,
        "roles": texts(&own.roles), "permissions": texts(&own.permissions),
        "managed_by": own.managed_by.name(),
    })
}

async fn members(office: &Office, group: &Code, format: Format, out: &mut Out) -> Result<(), Failure> {
    if !office.definitions().await?.groups.contains_key(group) {
        return Err(Failure::problem(format_args!("there is no group {group}")));
    }
    let mut shown = Vec::new();
    for id in rbac::members(&office.app.db, group).await? {
        let account = account::by_id(&office.app.db, id).await?;
        let email = account.and_then(|own| own.email).map(|email| email.to_string()).unwrap_or_default();
        shown.push([id.to_string(), email]);
    }
    match format {
        Format::Json => {
            out.json(&shown.iter().map(|[id, email]| json!({"id": id, "email": email})).collect::<Value>())
        }
        Format::Text => out.table(["id", "email"], &shown),
    }
}
