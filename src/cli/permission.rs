//! `portcullis permission …`: the rights that there are to be given.
//!
//! Law: what came with the gateway or stands in the configuration file is shown here and not changed; what is
//! removed is taken from everyone and everything that had it.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::definition::{self, refused};
use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::policy::Code;
use crate::policy::definition::Permission as Defined;
use crate::rbac::define::{self, Edit, NewDefinition, Place};
use crate::rbac::{Outcome, Refused};

/// Define permissions: the rights that roles, groups and routes name
///
/// What came with the gateway or stands in the configuration file is listed here and changed there.
#[derive(clap::Args, Debug)]
pub struct Permission {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the permissions in force, and who defined them
    List {
        #[command(flatten)]
        json: AsJson,
    },
    Create(Create),
    Set(Set),
    /// Remove a permission with those below it, and take them from everybody and every role that has them
    Remove {
        /// The permission
        #[arg(value_parser = Code::parse)]
        permission: Code,
        #[command(flatten)]
        json: AsJson,
    },
}

/// Define a permission
///
/// Nobody holds it until it is granted, or its parent is.
#[derive(clap::Args, Debug)]
struct Create {
    /// Its code, such as reports.read
    #[arg(value_parser = define::new_code)]
    permission: Code,
    /// Its name for people; the code if absent
    #[arg(long, value_parser = definition::name)]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", value_parser = definition::description)]
    description: Option<String>,
    /// The permission above it: who holds that one holds this one too
    #[arg(long, value_name = "CODE", value_parser = Code::parse)]
    parent: Option<Code>,
    #[command(flatten)]
    json: AsJson,
}

/// Say what a permission is called and where it stands
///
/// What is not named stays. Its code stays what it is.
#[derive(clap::Args, Debug)]
struct Set {
    /// The permission
    #[arg(value_parser = Code::parse)]
    permission: Code,
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
    /// The permission above it: who holds that one holds this one too
    #[arg(long, value_name = "CODE", value_parser = Code::parse, conflicts_with = "root")]
    parent: Option<Code>,
    /// Below none
    #[arg(long)]
    root: bool,
}

impl Permission {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::List { json } => list(&office, json.format(), out).await,
                Command::Create(command) => command.run(&office, out).await,
                Command::Set(command) => command.run(&office, out).await,
                Command::Remove { permission, json } => remove(&office, permission, *json, out).await,
            }
        })
    }
}

impl Create {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (code, definitions) = (&self.permission, office.definitions().await?);
        let new = NewDefinition {
            code: code.clone(),
            name: self.name.clone().unwrap_or_else(|| code.to_string()),
            description: self.description.clone().unwrap_or_default(),
        };
        let parent = self.parent.as_ref();
        let made =
            office.redefine(async |change, by| define::create_permission(change, by, &new, parent).await);
        made.await.map_err(|why: Refused| refused(&why, &definitions))?;
        out.done(self.json, true, shown(office, code).await?, format_args!("made permission {code}"))
    }
}

impl Set {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (code, definitions) = (&self.permission, office.definitions().await?);
        let below = self.to.parent.clone().map(Place::Below);
        let edit = Edit {
            name: self.to.name.clone(),
            description: self.to.description.clone(),
            place: below.or_else(|| self.to.root.then_some(Place::Alone)),
            is_default: None,
        };
        let set = office
            .redefine(async |change, by| define::edit_permission(change, by, code, edit.clone()).await)
            .await;
        let outcome = set.map_err(|why: Refused| refused(&why, &definitions))?;
        let is_changed = outcome == Outcome::Changed;
        let text = if is_changed { "done" } else { "nothing to do: it is so already" };
        out.done(self.json, is_changed, shown(office, code).await?, text)
    }
}

async fn remove(office: &Office, code: &Code, json: AsJson, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let removed = office.redefine(async |change, by| define::remove_permission(change, by, code).await);
    removed.await.map_err(|why: Refused| refused(&why, &definitions))?;
    out.done(json, true, json!({"code": code.as_str()}), format_args!("removed permission {code}"))
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let all = definitions.permissions.iter();
    if format == Format::Json {
        return out.json(&all.map(|(code, own)| facts(code, own)).collect::<Value>());
    }
    let row = |(code, own): (&Code, &Defined)| {
        let parent = own.parent.as_ref().map(ToString::to_string).unwrap_or_default();
        [code.to_string(), own.managed_by.name().to_owned(), parent, own.name.clone()]
    };
    out.table(["permission", "managed by", "parent", "name"], &all.map(row).collect::<Vec<_>>())
}

/// A permission as it is now.
async fn shown(office: &Office, code: &Code) -> Result<Value, Failure> {
    let definitions = office.definitions().await?;
    let own = definitions.permissions.get(code);
    Ok(own.map_or_else(|| json!({"code": code.as_str()}), |own| facts(code, own)))
}

fn facts(code: &Code, own: &Defined) -> Value {
    json!({
        "code": code.as_str(), "name": own.name, "description": own.description,
        "parent": own.parent.as_ref().map(Code::as_str), "managed_by": own.managed_by.name(),
    })
}
