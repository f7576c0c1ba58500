//! `portcullis org …`: organizations and who belongs to them.
//! An organization always keeps an owner; the operations see to it, not this file.

mod invite;
mod role;
mod terms;

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account::{self, Reference};
use crate::base::Slug;
use crate::organization::{self, New, Organization, Refused};
use crate::policy::Code;
use crate::store::DEFAULT_SITE;

/// Create and change organizations, and manage who belongs to them
#[derive(clap::Args, Debug)]
pub struct Org {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    /// List organizations, or the members of one
    List {
        /// The slug of an organization whose members to list
        #[arg(value_parser = Slug::parse)]
        organization: Option<Slug>,
        #[command(flatten)]
        json: AsJson,
    },
    /// Make an account a member, or give a member another role
    Add {
        #[command(flatten)]
        member: Member,
        /// What the member is there
        #[arg(long, value_name = "CODE", default_value = "member", value_parser = Code::parse)]
        role: Code,
        #[command(flatten)]
        json: AsJson,
    },
    /// End a membership
    Remove {
        #[command(flatten)]
        member: Member,
        #[command(flatten)]
        json: AsJson,
    },
    /// Show an organization and those directly below it
    Show {
        /// Its slug
        #[arg(value_parser = Slug::parse)]
        organization: Slug,
        #[command(flatten)]
        json: AsJson,
    },
    Set(terms::Set),
    Move(terms::Move),
    /// Switch an organization off, with its invitations and what was delegated to agents for it
    Delete {
        /// Its slug, which stays taken
        #[arg(value_parser = Slug::parse)]
        organization: Slug,
        #[command(flatten)]
        json: AsJson,
    },
    Invite(invite::Invite),
    /// List the invitations of an organization, the latest first
    Invitations {
        /// Its slug
        #[arg(value_parser = Slug::parse)]
        organization: Slug,
        #[command(flatten)]
        json: AsJson,
    },
    /// Take an open invitation back
    Uninvite(invite::Named),
    /// Send an open invitation again, under another token
    Resend(invite::Named),
    /// List what members may be, in every organization
    Roles {
        #[command(flatten)]
        json: AsJson,
    },
    Role(role::Role),
}

/// Create an organization with its owner
///
/// Prints {"id", "slug"} as JSON.
#[derive(clap::Args, Debug)]
struct Create {
    /// Its name for people
    name: String,
    /// Its name in URLs and headers; made from the name if absent
    #[arg(long, value_parser = Slug::parse)]
    slug: Option<Slug>,
    /// Who owns it: e-mail address, phone number, user name, number or id
    #[arg(long, value_name = "USER")]
    owner: Reference,
    /// The slug of the organization it belongs under
    #[arg(long, value_name = "SLUG", value_parser = Slug::parse)]
    parent: Option<Slug>,
    #[command(flatten)]
    json: AsJson,
}

#[derive(clap::Args, Debug)]
struct Member {
    /// The slug of the organization
    #[arg(value_parser = Slug::parse)]
    organization: Slug,
    /// E-mail address, phone number, user name, number or id
    user: Reference,
}

impl Org {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::Create(command) => command.run(&office, out).await,
                Command::List { organization: None, json } => list(&office, json.format(), out).await,
                Command::List { organization: Some(slug), json } => {
                    members(&office, slug, json.format(), out).await
                }
                Command::Add { member, role, json } => add(&office, member, role, json.format(), out).await,
                Command::Remove { member, json } => remove(&office, member, json.format(), out).await,
                Command::Show { organization, json } => {
                    terms::show(&office, organization, json.format(), out).await
                }
                Command::Set(command) => command.run(&office, out).await,
                Command::Move(command) => command.run(&office, out).await,
                Command::Delete { organization, json } => {
                    terms::delete(&office, organization, json.format(), out).await
                }
                Command::Invite(command) => command.run(&office, out).await,
                Command::Invitations { organization, json } => {
                    invite::list(&office, organization, json.format(), out).await
                }
                Command::Uninvite(named) => named.revoke(&office, out).await,
                Command::Resend(named) => named.resend(&office, out).await,
                Command::Roles { json } => role::list(&office, json.format(), out).await,
                Command::Role(command) => command.run(&office, out).await,
            }
        })
    }
}

impl Create {
    async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let owner = office.person(&self.owner).await?;
        let parent = match &self.parent {
            Some(slug) => Some(by_slug(office, slug).await?),
            None => None,
        };
        let new = New {
            site: DEFAULT_SITE,
            name: &self.name,
            slug: self.slug.clone(),
            description: "",
            parent: parent.as_ref(),
            owner: owner.id,
            max_depth: office.config().organizations.max_depth,
        };
        let mut change = office.change().await?;
        let made = organization::create(&mut change, new).await.map_err(Failure::problem)?;
        change.commit().await?;
        self.json.anyway();
        out.json(&json!({"id": made.id.to_string(), "slug": made.slug.to_string()}))
    }
}

async fn by_slug(office: &Office, slug: &Slug) -> Result<Organization, Failure> {
    let found = organization::by_slug(&office.app.db, DEFAULT_SITE, slug).await?;
    found.ok_or_else(|| Failure::problem(format_args!("there is no organization {slug}")))
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let all = organization::list(&office.app.db, DEFAULT_SITE).await?;
    let slug_of = |id| all.iter().find(|own| own.id == id).map(|own| own.slug.to_string());
    if format == Format::Json {
        let one = |own: &Organization| {
            json!({
                "id": own.id.to_string(), "number": own.number.0, "slug": own.slug.to_string(),
                "name": own.name, "parent": own.parent.and_then(slug_of),
                "plan": &*own.plan, "status": &*own.status,
            })
        };
        return out.json(&all.iter().map(one).collect::<Value>());
    }
    let row = |own: &Organization| {
        let parent = own.parent.and_then(slug_of).unwrap_or_default();
        [own.slug.to_string(), own.name.clone(), parent, own.id.to_string()]
    };
    out.table(["slug", "name", "parent", "id"], &all.iter().map(row).collect::<Vec<_>>())
}

async fn members(office: &Office, slug: &Slug, format: Format, out: &mut Out) -> Result<(), Failure> {
    let organization = by_slug(office, slug).await?;
    let mut rows = Vec::new();
    for member in organization::members(&office.app.db, organization.id).await? {
        let account = account::by_id(&office.app.db, member.account).await?;
        let email = account.and_then(|own| own.email).map(|email| email.to_string()).unwrap_or_default();
        rows.push([email, member.role.to_string(), member.since.rfc3339(), member.account.to_string()]);
    }
    if format == Format::Json {
        let one = |[email, role, since, id]: &[String; 4]| json!({"id": id, "email": email, "role": role, "since": since});
        return out.json(&rows.iter().map(one).collect::<Value>());
    }
    out.table(["email", "role", "since", "id"], &rows)
}

async fn add(
    office: &Office,
    member: &Member,
    role: &Code,
    format: Format,
    out: &mut Out,
) -> Result<(), Failure> {
    let organization = by_slug(office, &member.organization).await?;
    let account = office.person(&member.user).await?;
    let definitions = office.definitions().await?;
    let mut change = office.change().await?;
    // Who may not act comes in nowhere; what they are where they are changes all the same.
    let may_act = account::hold(&mut change, account.id).await?;
    let added = if may_act {
        organization::add_member(&mut change, &definitions, organization.id, account.id, role).await
    } else {
        Err(Refused::AlreadyMember)
    };
    match added {
        // What the refused attempt left open must not be part of the second one.
        Err(Refused::AlreadyMember) => {
            drop(change);
            change = office.change().await?;
            organization::set_role(&mut change, &definitions, organization.id, account.id, role).await
        }
        other => other,
    }
    .map_err(|refused| match refused {
        Refused::NotAMember if !may_act => Failure::problem("the account may not act now, or is gone"),
        refused => Failure::problem(refused),
    })?;
    change.commit().await?;
    let slug = organization.slug.to_string();
    if format == Format::Json {
        return out
            .json(&json!({"organization": slug, "id": account.id.to_string(), "role": role.to_string()}));
    }
    out.line(format_args!("{role} of {slug}"))
}

async fn remove(office: &Office, member: &Member, format: Format, out: &mut Out) -> Result<(), Failure> {
    let organization = by_slug(office, &member.organization).await?;
    let account = office.person(&member.user).await?;
    let mut change = office.change().await?;
    organization::remove_member(&mut change, organization.id, account.id).await.map_err(Failure::problem)?;
    change.commit().await?;
    let slug = organization.slug.to_string();
    if format == Format::Json {
        return out.json(&json!({"organization": slug, "id": account.id.to_string(), "role": null}));
    }
    out.line(format_args!("no longer a member of {slug}"))
}
