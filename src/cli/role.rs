//! `portcullis role …`: named sets of permissions that are given to accounts.
//!
//! Law: what came with the gateway or stands in the configuration file is shown here and not changed; a role that
//! is removed is taken from everyone who has it.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::definition::{self, Told, distinct, refused, texts};
use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::policy::Code;
use crate::policy::definition::Role as Defined;
use crate::rbac::define::{self, Edit, NewDefinition};
use crate::rbac::{Granted, Outcome, Refused};

/// Define roles: named sets of permissions
///
/// What came with the gateway or stands in the configuration file is listed here and changed there. `user grant`
/// and `group grant` give a role to somebody.
#[derive(clap::Args, Debug)]
pub struct Role {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the roles in force with their permissions, and who defined them
    List {
        #[command(flatten)]
        json: AsJson,
    },
    Create(Create),
    Set(Set),
    /// Remove a role, and take it from everybody who has it
    Remove {
        /// The role
        #[arg(value_parser = Code::parse)]
        role: Code,
        #[command(flatten)]
        json: AsJson,
    },
    /// Let a role bring permissions, for everybody who has it
    Grant(Which),
    /// Let a role bring permissions no longer, for everybody who has it
    Revoke(Which),
}

/// Define a role
///
/// Nobody has it until it is granted. One that brings no permission is a name, which routes and upstreams may
/// ask for.
#[derive(clap::Args, Debug)]
struct Create {
    /// Its code, such as press
    #[arg(value_parser = define::new_code)]
    role: Code,
    /// Its name for people; the code if absent
    #[arg(long, value_parser = definition::name)]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", value_parser = definition::description)]
    description: Option<String>,
    /// A permission that it brings; may be repeated
    #[arg(long = "permission", value_name = "CODE", value_parser = Code::parse)]
    permissions: Vec<Code>,
    /// Mark it as one that new accounts are meant to have
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    json: AsJson,
}

/// Say what a role is called and what it is for
///
/// What is not named stays. Its code stays what it is; `role grant` and `role revoke` change what it brings.
#[derive(clap::Args, Debug)]
struct Set {
    /// The role
    #[arg(value_parser = Code::parse)]
    role: Code,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    json: AsJson,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct To {
    /// Its name for people
    #[arg(long, value_parser = definition::name)]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", value_parser = definition::description)]
    description: Option<String>,
    /// Mark it as one that new accounts are meant to have
    #[arg(long, conflicts_with = "not_default")]
    default: bool,
    /// Take that mark away
    #[arg(long)]
    not_default: bool,
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The role
    #[arg(value_parser = Code::parse)]
    role: Code,
    /// A permission; may be repeated
    #[arg(long = "permission", value_name = "CODE", required = true, value_parser = Code::parse)]
    permissions: Vec<Code>,
    #[command(flatten)]
    json: AsJson,
}

impl Role {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::List { json } => list(&office, json.format(), out).await,
                Command::Create(command) => command.run(&office, out).await,
                Command::Set(command) => command.run(&office, out).await,
                Command::Remove { role, json } => remove(&office, role, *json, out).await,
                Command::Grant(which) => which.set(&office, true, out).await,
                Command::Revoke(which) => which.set(&office, false, out).await,
            }
        })
    }
}

impl Create {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (code, definitions) = (&self.role, office.definitions().await?);
        let new = NewDefinition {
            code: code.clone(),
            name: self.name.clone().unwrap_or_else(|| code.to_string()),
            description: self.description.clone().unwrap_or_default(),
        };
        let (is_default, permissions) = (self.default, distinct(&self.permissions));
        let made = office.redefine(async |change, by| {
            define::create_role(change, by, &new, is_default, &permissions).await
        });
        made.await.map_err(|why: Refused| refused(&why, &definitions))?;
        out.done(self.json, true, shown(office, code).await?, format_args!("made role {code}"))
    }
}

impl To {
    fn is_default(&self) -> Option<bool> {
        if self.default { Some(true) } else { self.not_default.then_some(false) }
    }
}

impl Set {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (code, definitions) = (&self.role, office.definitions().await?);
        let edit = Edit {
            name: self.to.name.clone(),
            description: self.to.description.clone(),
            place: None,
            is_default: self.to.is_default(),
        };
        let set = office.redefine(async |change, by| define::edit_role(change, by, code, edit.clone()).await);
        let outcome = set.await.map_err(|why: Refused| refused(&why, &definitions))?;
        let is_changed = outcome == Outcome::Changed;
        let text = if is_changed { "done" } else { "nothing to do: it is so already" };
        out.done(self.json, is_changed, shown(office, code).await?, text)
    }
}

impl Which {
    /// Gives the role these permissions, or takes them from it: all of them or, where one is refused, none.
    async fn set(&self, office: &Office, has: bool, out: &mut Out) -> Result<(), Failure> {
        let (code, definitions) = (&self.role, office.definitions().await?);
        let permissions = distinct(&self.permissions);
        let set = office.redefine(async |change, by| {
            let mut told = Told::default();
            for permission in &permissions {
                let granted = Granted::Permission(permission.clone());
                match (define::set_role_permission(change, by, code, permission, has).await?, has) {
                    (Outcome::Changed, true) => told.changed("granted", &granted),
                    (Outcome::Changed, false) => told.changed("revoked", &granted),
                    (Outcome::Unchanged, true) => told.unchanged(format!("{granted} was granted already")),
                    (Outcome::Unchanged, false) => told.unchanged(format!("{granted} was not granted")),
                }
            }
            Ok::<_, Refused>(told)
        });
        let told = set.await.map_err(|why: Refused| refused(&why, &definitions))?;
        out.done(self.json, told.is_changed(), shown(office, code).await?, told.text())
    }
}

async fn remove(office: &Office, code: &Code, json: AsJson, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let removed = office.redefine(async |change, by| define::remove_role(change, by, code).await);
    removed.await.map_err(|why: Refused| refused(&why, &definitions))?;
    out.done(json, true, json!({"code": code.as_str()}), format_args!("removed role {code}"))
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let all = definitions.roles.iter();
    if format == Format::Json {
        return out.json(&all.map(|(code, own)| facts(code, own)).collect::<Value>());
    }
    let row = |(code, own): (&Code, &Defined)| {
        let mut grants = texts(&own.permissions);
        grants.extend(own.inherits.iter().map(|code| format!("+{code}")));
        [code.to_string(), own.managed_by.name().to_owned(), grants.join(",")]
    };
    out.table(["role", "managed by", "permissions (+inherited role)"], &all.map(row).collect::<Vec<_>>())
}

/// A role as it is now.
async fn shown(office: &Office, code: &Code) -> Result<Value, Failure> {
    let definitions = office.definitions().await?;
    let own = definitions.roles.get(code);
    Ok(own.map_or_else(|| json!({"code": code.as_str()}), |own| facts(code, own)))
}

fn facts(code: &Code, own: &Defined) -> Value {
    json!({
        "code": code.as_str(), "name": own.name, "description": own.description,
        "permissions": texts(&own.permissions), "inherits": texts(&own.inherits),
        "default": own.is_default, "managed_by": own.managed_by.name(),
    })
}
