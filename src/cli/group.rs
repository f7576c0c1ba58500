//! `portcullis group …`: named sets of roles and permissions, given to many accounts at once.
//! Groups of the configuration file are shown here and changed there.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use super::role::texts;
use crate::account;
use crate::policy::Code;
use crate::rbac::{self, Granted, Outcome};

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
        #[arg(value_parser = Code::parse)]
        group: Code,
        /// Its name for people; the code if absent
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove a group, and take it from everybody in it
    Remove {
        /// The group
        #[arg(value_parser = Code::parse)]
        group: Code,
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
                _ => self.change(&office, out).await,
            }
        })
    }

    async fn change(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let definitions = office.definitions().await?;
        let mut change = office.change().await?;
        let outcome = match &self.command {
            Command::Create { group, name } => {
                let name = name.as_deref().unwrap_or(group.as_str());
                rbac::create_group(&mut change, &definitions, group, name).await
            }
            Command::Remove { group } => rbac::remove_group(&mut change, &definitions, group).await,
            Command::Grant(of) => {
                rbac::grant_to_group(&mut change, &definitions, &of.group, &of.what.granted()?).await
            }
            Command::Revoke(of) => {
                rbac::revoke_from_group(&mut change, &definitions, &of.group, &of.what.granted()?).await
            }
            Command::List { .. } | Command::Members { .. } => Ok(Outcome::Unchanged),
        };
        match outcome.map_err(Failure::problem)? {
            Outcome::Unchanged => out.line("nothing to do: it is so already"),
            Outcome::Changed => {
                change.commit().await?;
                out.line("done")
            }
        }
    }
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let groups = definitions.groups.iter();
    if format == Format::Json {
        let one = |(code, group): (&Code, &crate::policy::definition::Group)| {
            json!({
                "code": code.as_str(), "name": group.name, "description": group.description,
                "roles": texts(&group.roles), "permissions": texts(&group.permissions),
                "managed_by": group.managed_by.name(),
            })
        };
        return out.json(&groups.map(one).collect::<Value>());
    }
    let rows: Vec<_> = groups
        .map(|(code, group)| {
            let managed_by = group.managed_by.name().to_owned();
            [code.to_string(), managed_by, texts(&group.roles).join(","), texts(&group.permissions).join(",")]
        })
        .collect();
    out.table(["group", "managed by", "roles", "permissions"], &rows)
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
