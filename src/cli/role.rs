//! `portcullis role list`: the roles in force, and who defined them.
//! Roles are written in the configuration file; this shows what became of it.

use std::path::Path;

use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::policy::Code;

/// Look at roles; they are declared in the configuration
#[derive(clap::Args, Debug)]
pub struct Role {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List the roles in force with their permissions
    List {
        #[command(flatten)]
        json: AsJson,
    },
}

impl Role {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let Command::List { json } = &self.command;
        let definitions = open::block_on(async { Office::open(path).await?.definitions().await })?;
        let roles = definitions.roles.iter();
        if json.format() == Format::Json {
            let one = |(code, role): (&Code, &crate::policy::definition::Role)| {
                json!({
                    "code": code.as_str(), "name": role.name, "description": role.description,
                    "permissions": texts(&role.permissions), "inherits": texts(&role.inherits),
                    "default": role.is_default, "managed_by": role.managed_by.name(),
                })
            };
            return out.json(&roles.map(one).collect::<Value>());
        }
        let rows: Vec<_> = roles
            .map(|(code, role)| {
                let mut grants = texts(&role.permissions);
                grants.extend(role.inherits.iter().map(|code| format!("+{code}")));
                [code.to_string(), role.managed_by.name().to_owned(), grants.join(",")]
            })
            .collect();
        out.table(["role", "managed by", "permissions (+inherited role)"], &rows)
    }
}

/// Codes as text.
pub fn texts(codes: &[Code]) -> Vec<String> {
    codes.iter().map(ToString::to_string).collect()
}
