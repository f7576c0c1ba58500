//! `portcullis org role …` and `org roles`: what members of organizations may be, in all of them.
//!
//! Law: what came with the gateway or stands in the configuration file is shown here and not changed, and what
//! somebody is in an organization is not removed.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::definition::{self, distinct};
use crate::cli::office::Office;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::config::nearest;
use crate::organization::role::{self, Kept};
use crate::policy::definition::{Definitions, OrgRole};
use crate::policy::{Code, Grant};
use crate::rbac::Outcome;
use crate::rbac::define::{NAME_MAX, new_code};
use crate::rbac::org_role::{self, GRANTS_MAX, Stays, Wanted};

/// Define what members of organizations may be
///
/// An org role is one for all organizations; `org add` and `org invite` give it to somebody in one. What came with
/// the gateway or stands in the configuration file is listed by `org roles` and changed there.
#[derive(clap::Args, Debug)]
pub struct Role {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Set(Set),
    /// Remove an org role that nobody is, and end open invitations to be it
    Remove {
        /// The org role
        #[arg(value_parser = Code::parse)]
        role: Code,
        #[command(flatten)]
        json: AsJson,
    },
}

/// Define an org role, for all organizations
#[derive(clap::Args, Debug)]
struct Create {
    /// Its code, such as buyer
    #[arg(value_parser = new_code)]
    role: Code,
    /// Its name for people; the code if absent
    #[arg(long, value_parser = definition::name)]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", value_parser = definition::description)]
    description: Option<String>,
    /// A permission that it grants there, or x.* for x and everything below it; may be repeated
    #[arg(long = "permission", value_name = "CODE", value_parser = grant)]
    permissions: Vec<Grant>,
    #[command(flatten)]
    json: AsJson,
}

/// Say what an org role is called and what it grants, for everybody who is it
///
/// What is not named stays. Its code stays what it is.
#[derive(clap::Args, Debug)]
struct Set {
    /// The org role
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
    /// A permission that it grants from now on, in place of those that it has; may be repeated
    #[arg(long = "permission", value_name = "CODE", value_parser = grant)]
    permissions: Vec<Grant>,
    /// It grants nothing from now on
    #[arg(long, conflicts_with = "permissions")]
    no_permissions: bool,
}

/// As long as the store keeps.
fn grant(text: &str) -> Result<Grant, String> {
    if text.len() > NAME_MAX {
        return Err(format!("at most {NAME_MAX} characters"));
    }
    Grant::parse(text).map_err(|refused| refused.to_string())
}

/// Each once, and not too many.
fn grants(all: &[Grant]) -> Result<Vec<Grant>, Failure> {
    let all = distinct(all);
    if all.len() > GRANTS_MAX {
        return Err(Failure::usage(format_args!("an org role grants at most {GRANTS_MAX} permissions")));
    }
    Ok(all)
}

impl Role {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        match &self.command {
            Command::Create(command) => command.run(office, out).await,
            Command::Set(command) => command.run(office, out).await,
            Command::Remove { role, json } => remove(office, role, *json, out).await,
        }
    }
}

impl Create {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let code = &self.role;
        let wanted = Wanted {
            name: self.name.clone(),
            description: self.description.clone(),
            permissions: Some(grants(&self.permissions)?),
        };
        let definitions = office.definitions().await?;
        let made = office.redefine(async |change, by| role::create(change, by, code, &wanted).await);
        made.await.map_err(|why: Kept| kept(code, &why, &definitions))?;
        out.done(self.json, true, shown(office, code).await?, format_args!("made org role {code}"))
    }
}

impl Set {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (code, to) = (&self.role, &self.to);
        let permissions = if to.permissions.is_empty() {
            to.no_permissions.then(Vec::new)
        } else {
            Some(grants(&to.permissions)?)
        };
        let wanted = Wanted { name: to.name.clone(), description: to.description.clone(), permissions };
        let definitions = office.definitions().await?;
        let set = office.redefine(async |change, by| org_role::edit(change, by, code, &wanted).await);
        let outcome = set.await.map_err(|why: Stays| kept(code, &why.into(), &definitions))?;
        let is_changed = outcome == Outcome::Changed;
        let text = if is_changed { "done" } else { "nothing to do: it is so already" };
        out.done(self.json, is_changed, shown(office, code).await?, text)
    }
}

async fn remove(office: &Office, code: &Code, json: AsJson, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let removed = office.redefine(async |change, by| role::remove(change, by, code).await);
    removed.await.map_err(|why: Kept| kept(code, &why, &definitions))?;
    out.done(json, true, json!({"code": code.as_str()}), format_args!("removed org role {code}"))
}

/// Why an org role is not made, changed or removed, and what was probably meant.
fn kept(code: &Code, why: &Kept, definitions: &Definitions) -> Failure {
    if *why == Kept::Stays(Stays::Undefined) {
        let known: Vec<&str> = definitions.org_roles.keys().map(Code::as_str).collect();
        return match nearest(code.as_str(), &known) {
            Some(near) => {
                Failure::problem(format_args!("there is no org role {code}; did you mean `{near}`?"))
            }
            None => Failure::problem(format_args!("there is no org role {code}")),
        };
    }
    Failure::problem(format_args!("org role {code}: {why}"))
}

/// Lists what members may be.
pub async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let definitions = office.definitions().await?;
    let all = definitions.org_roles.iter();
    if format == Format::Json {
        return out.json(&all.map(|(code, own)| facts(code, own)).collect::<Value>());
    }
    let row = |(code, own): (&Code, &OrgRole)| {
        [code.to_string(), own.managed_by.name().to_owned(), granted(own).join(",")]
    };
    out.table(["role", "managed by", "permissions"], &all.map(row).collect::<Vec<_>>())
}

/// An org role as it is now.
async fn shown(office: &Office, code: &Code) -> Result<Value, Failure> {
    let definitions = office.definitions().await?;
    let own = definitions.org_roles.get(code);
    Ok(own.map_or_else(|| json!({"code": code.as_str()}), |own| facts(code, own)))
}

fn facts(code: &Code, own: &OrgRole) -> Value {
    json!({
        "code": code.as_str(), "name": own.name, "description": own.description,
        "permissions": granted(own), "managed_by": own.managed_by.name(),
    })
}

fn granted(own: &OrgRole) -> Vec<String> {
    own.permissions.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_cannot_keep_is_no_grant() {
        assert_eq!(grant("reports.*"), Ok(Grant::Below(Code::parse("reports").unwrap())));
        assert!(grant("*").is_err() && grant(&format!("{}.*", "a".repeat(NAME_MAX))).is_err());
        let many: Vec<Grant> = (0..=GRANTS_MAX).map(|nth| grant(&format!("a{nth}")).unwrap()).collect();
        assert!(matches!(grants(&many), Err(Failure::Usage(_))));
        assert_eq!(grants(&[many[1].clone(), many[1].clone()]).unwrap(), [many[1].clone()]);
    }
}
