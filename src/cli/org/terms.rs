//! `portcullis org show`, `set`, `move` and `delete`: what an organization is and where it stands.
//!
//! Law: plan and status are the operator's words; nobody within an organization changes them.

use serde_json::{Value, json};

use super::by_slug;
use crate::base::Slug;
use crate::cli::office::Office;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::organization::{self, Edit, Organization, TERM_MAX, Terms};
use crate::rbac::Outcome;
use crate::store::DEFAULT_SITE;

/// Say what an organization is called, pays for and is, and how many may belong to it
///
/// What is not named stays. Routes ask for plan and status with `org: { plan: …, status: … }`.
#[derive(clap::Args, Debug)]
pub struct Set {
    /// Its slug, which stays what it is
    #[arg(value_parser = Slug::parse)]
    organization: Slug,
    /// Its name for people
    #[arg(long)]
    name: Option<String>,
    /// For people too
    #[arg(long)]
    description: Option<String>,
    /// How many may belong to it; 0 for any number
    #[arg(long, value_name = "COUNT", value_parser = count)]
    max_members: Option<u32>,
    /// What it pays for, in your own word; empty for nothing
    #[arg(long, value_name = "WORD", value_parser = word)]
    plan: Option<String>,
    /// What it is, such as active or suspended
    #[arg(long, value_name = "WORD", value_parser = word)]
    status: Option<String>,
    #[command(flatten)]
    json: AsJson,
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a number from 0, which is any number, to {}", u32::MAX))
}

/// A plan or a status: short, and to be seen.
fn word(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.len() <= TERM_MAX && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("at most {TERM_MAX} letters, digits, dots, hyphens and underscores"))
    }
}

impl Set {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let own = by_slug(office, &self.organization).await?;
        let edit = Edit {
            name: self.name.clone(),
            description: self.description.clone(),
            metadata: None,
            max_members: self.max_members,
        };
        let terms = Terms { plan: self.plan.clone(), status: self.status.clone() };
        let mut change = office.change().await?;
        let edited = organization::edit(&mut change, own.id, &edit).await.map_err(Failure::problem)?;
        let termed = organization::set_terms(&mut change, own.id, &terms).await.map_err(Failure::problem)?;
        if edited.or(termed) == Outcome::Changed {
            change.commit().await?;
        } else {
            drop(change);
        }
        show(office, &self.organization, self.json.format(), out).await
    }
}

/// Put an organization, with all below it, below another one or below none
#[derive(clap::Args, Debug)]
pub struct Move {
    /// Its slug
    #[arg(value_parser = Slug::parse)]
    organization: Slug,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    json: AsJson,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct To {
    /// The slug of the organization it belongs under from now on
    #[arg(long, value_name = "SLUG", value_parser = Slug::parse)]
    parent: Option<Slug>,
    /// Below none
    #[arg(long)]
    root: bool,
}

impl Move {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let own = by_slug(office, &self.organization).await?;
        let parent = match &self.to.parent {
            Some(slug) => Some(by_slug(office, slug).await?.id),
            None => None,
        };
        let max_depth = office.config().organizations.max_depth;
        let mut change = office.change().await?;
        let moved = organization::move_to(&mut change, own.id, parent, max_depth).await;
        if moved.map_err(Failure::problem)? == Outcome::Changed {
            change.commit().await?;
        } else {
            drop(change);
        }
        show(office, &self.organization, self.json.format(), out).await
    }
}

/// Switches an organization off.
pub async fn delete(office: &Office, slug: &Slug, format: Format, out: &mut Out) -> Result<(), Failure> {
    let own = by_slug(office, slug).await?;
    let mut change = office.change().await?;
    organization::delete(&mut change, own.id).await.map_err(Failure::problem)?;
    change.commit().await?;
    if format == Format::Json {
        return out
            .json(&json!({"id": own.id.to_string(), "slug": own.slug.to_string(), "is_active": false}));
    }
    out.line(format_args!("{} is switched off", own.slug))
}

/// Shows an organization and those directly below it.
pub async fn show(office: &Office, slug: &Slug, format: Format, out: &mut Out) -> Result<(), Failure> {
    let own = by_slug(office, slug).await?;
    let all = organization::list(&office.app.db, DEFAULT_SITE).await?;
    let slug_of = |id| all.iter().find(|one| one.id == id).map(|one: &Organization| one.slug.to_string());
    let below: Vec<String> =
        all.iter().filter(|one| one.parent == Some(own.id)).map(|one| one.slug.to_string()).collect();
    let members = organization::members(&office.app.db, own.id).await?.len();
    if format == Format::Json {
        let shown: Value = json!({
            "id": own.id.to_string(), "number": own.number.0, "slug": own.slug.to_string(),
            "name": own.name, "description": own.description, "parent": own.parent.and_then(slug_of),
            "depth": own.depth, "plan": &*own.plan, "status": &*own.status,
            "max_members": own.max_members, "members": members, "below": below,
            "created_at": own.created_at.rfc3339(),
        });
        return out.json(&shown);
    }
    let limit = if own.max_members == 0 { String::new() } else { format!(" of {}", own.max_members) };
    let rows = [
        ["slug".to_owned(), own.slug.to_string()],
        ["name".to_owned(), own.name.clone()],
        ["description".to_owned(), own.description.clone()],
        ["parent".to_owned(), own.parent.and_then(slug_of).unwrap_or_default()],
        ["children".to_owned(), below.join(",")],
        ["plan".to_owned(), own.plan.to_string()],
        ["status".to_owned(), own.status.to_string()],
        ["members".to_owned(), format!("{members}{limit}")],
        ["id".to_owned(), own.id.to_string()],
    ];
    out.table(["", ""], &rows)
}
