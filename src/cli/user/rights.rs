//! `portcullis user grant` and `revoke`: roles, permissions and groups of one account.
//! What nothing defines cannot be granted, but can be taken away.

use super::Whose;
use crate::cli::office::Office;
use crate::cli::out::{Failure, Out};
use crate::policy::Code;
use crate::rbac::{self, Granted, Outcome};

/// What is granted or taken away.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
pub struct What {
    /// A role
    #[arg(long = "role", value_name = "CODE", value_parser = Code::parse)]
    roles: Vec<Code>,
    /// A permission
    #[arg(long = "permission", value_name = "CODE", value_parser = Code::parse)]
    permissions: Vec<Code>,
    /// A group
    #[arg(long = "group", value_name = "NAME", value_parser = Code::parse)]
    groups: Vec<Code>,
}

/// Give an account roles, permissions or groups
#[derive(clap::Args, Debug)]
pub struct Grant {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    what: What,
}

/// Take roles, permissions or groups from an account
#[derive(clap::Args, Debug)]
pub struct Revoke {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    what: What,
}

impl What {
    fn all(&self) -> Vec<Granted> {
        let roles = self.roles.iter().cloned().map(Granted::Role);
        let permissions = self.permissions.iter().cloned().map(Granted::Permission);
        let groups = self.groups.iter().cloned().map(Granted::Group);
        roles.chain(permissions).chain(groups).collect()
    }
}

impl Grant {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let definitions = office.definitions().await?;
        let mut change = office.change().await?;
        let mut told = Vec::new();
        for granted in self.what.all() {
            let outcome = rbac::grant(&mut change, &definitions, account.id, &granted).await;
            told.push(match outcome.map_err(Failure::problem)? {
                Outcome::Changed => format!("granted {granted}"),
                Outcome::Unchanged => format!("{granted} was granted already"),
            });
        }
        change.commit().await?;
        out.line(told.join("\n"))
    }
}

impl Revoke {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        let mut told = Vec::new();
        for granted in self.what.all() {
            told.push(match rbac::revoke(&mut change, account.id, &granted).await? {
                Outcome::Changed => format!("revoked {granted}"),
                Outcome::Unchanged => format!("{granted} was not granted"),
            });
        }
        change.commit().await?;
        out.line(told.join("\n"))
    }
}
