//! `portcullis user grant` and `revoke`: roles, permissions, groups and flags of one account.
//! What nothing defines cannot be granted, but can be taken away.

use super::{LAST_SUPERUSER, Whose, facts};
use crate::account::{self, Account, Flag, Lowered};
use crate::cli::definition::{Told, refused};
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
    /// Every permission; one superuser is always left
    #[arg(long)]
    superuser: bool,
    /// Being staff, where a route asks for it
    #[arg(long)]
    staff: bool,
}

/// Give an account roles, permissions, groups or flags
#[derive(clap::Args, Debug)]
pub struct Grant {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    what: What,
}

/// Take roles, permissions, groups or flags from an account
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

    fn flags(&self) -> impl Iterator<Item = Flag> {
        let flags = [(self.superuser, Flag::Superuser), (self.staff, Flag::Staff)];
        flags.into_iter().filter(|(is_named, _)| *is_named).map(|(_, flag)| flag)
    }
}

impl Grant {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let definitions = office.definitions().await?;
        let mut change = office.change().await?;
        let mut told = Told::default();
        for granted in self.what.all() {
            let outcome = rbac::grant(&mut change, &definitions, account.id, &granted).await;
            match outcome.map_err(|why| refused(&why, &definitions))? {
                Outcome::Changed => told.changed("granted", &granted),
                Outcome::Unchanged => told.unchanged(format!("{granted} was granted already")),
            }
        }
        for flag in self.what.flags() {
            let name = flag.name();
            if account::raise(&mut change, account.id, flag).await? {
                told.changed("granted", name);
            } else {
                told.unchanged(format!("{name} was granted already"));
            }
        }
        change.settle().await?;
        self.whose.rights(&account, "granted", &told, out)
    }
}

impl Revoke {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        let mut told = Told::default();
        for granted in self.what.all() {
            match rbac::revoke(&mut change, account.id, &granted).await? {
                Outcome::Changed => told.changed("revoked", &granted),
                Outcome::Unchanged => told.unchanged(format!("{granted} was not granted")),
            }
        }
        for flag in self.what.flags() {
            let name = flag.name();
            match account::lower(&mut change, account.id, flag).await? {
                Lowered::Yes => told.changed("revoked", name),
                Lowered::WasNot => told.unchanged(format!("{name} was not granted")),
                Lowered::LastSuperuser => {
                    return Err(Failure::problem(LAST_SUPERUSER));
                }
            }
        }
        change.settle().await?;
        self.whose.rights(&account, "revoked", &told, out)
    }
}

impl Whose {
    /// Tells what somebody has or has not any more: for scripts under what was done to it.
    fn rights(
        &self,
        account: &Account,
        did: &'static str,
        told: &Told,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let mut facts = facts(account);
        facts[did] = told.changes().into();
        out.done(self.json, told.is_changed(), facts, told.text())
    }
}
