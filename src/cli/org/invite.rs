//! `portcullis org invite`, `invitations`, `uninvite` and `resend`.
//!
//! Law: an operator's invitation asks for no rights of whoever sent it, and for the same proof of the one
//! who accepts it.

use serde_json::{Value, json};

use super::by_slug;
use crate::base::{Email, Number, Slug};
use crate::cli::office::Office;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::organization::invitation::{self, DAYS, DAYS_USUAL, Invitation, NewInvitation, Sought};
use crate::policy::Code;

/// How many invitations are listed.
const LISTED: u32 = 10_000;

/// Invite somebody by their e-mail address
///
/// They accept with an account whose address this is and is confirmed. The token is shown here once.
#[derive(clap::Args, Debug)]
pub struct Invite {
    /// The slug of the organization
    #[arg(value_parser = Slug::parse)]
    organization: Slug,
    /// Whom
    #[arg(value_parser = Email::parse)]
    email: Email,
    /// What they are to be there
    #[arg(long, value_name = "CODE", default_value = "member", value_parser = Code::parse)]
    role: Code,
    /// For how many days it stands, from 1 to 30
    #[arg(long, value_name = "DAYS", default_value_t = DAYS_USUAL, value_parser = days)]
    days: u32,
    #[command(flatten)]
    json: AsJson,
}

fn days(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| DAYS.contains(days));
    days.ok_or_else(|| format!("a number from {} to {}", DAYS.start(), DAYS.end()))
}

impl Invite {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let own = by_slug(office, &self.organization).await?;
        let definitions = office.definitions().await?;
        let mut change = office.change().await?;
        let new =
            NewInvitation { organization: own.id, email: &self.email, role: &self.role, days: self.days };
        let (made, token) =
            invitation::invite(&mut change, &definitions, new).await.map_err(Failure::problem)?;
        change.commit().await?;
        if self.json.format() == Format::Json {
            let mut shown = shown(&made);
            shown["token"] = json!(token.expose());
            return out.json(&shown);
        }
        out.line(format_args!("invited {} until {}", made.email, made.expires_at.rfc3339()))?;
        out.line(format_args!("token: {}", token.expose()))
    }
}

/// One invitation of an organization.
#[derive(clap::Args, Debug)]
pub struct Named {
    /// The slug of the organization
    #[arg(value_parser = Slug::parse)]
    organization: Slug,
    /// The number of the invitation, as `org invitations` lists it
    invitation: i64,
    #[command(flatten)]
    json: AsJson,
}

impl Named {
    pub async fn revoke(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let found = self.find(office).await?;
        let mut change = office.change().await?;
        invitation::revoke(&mut change, &found).await.map_err(Failure::problem)?;
        change.commit().await?;
        self.told(office, "taken back", out).await
    }

    pub async fn resend(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let found = self.find(office).await?;
        let mut change = office.change().await?;
        invitation::resend(&mut change, &found).await.map_err(Failure::problem)?;
        change.commit().await?;
        self.told(office, "sent again", out).await
    }

    async fn told(&self, office: &Office, what: &str, out: &mut Out) -> Result<(), Failure> {
        let found = self.find(office).await?;
        if self.json.format() == Format::Json {
            return out.json(&shown(&found));
        }
        out.line(format_args!("the invitation of {} is {what}", found.email))
    }

    async fn find(&self, office: &Office) -> Result<Invitation, Failure> {
        let own = by_slug(office, &self.organization).await?;
        let number = Number(self.invitation);
        let found = invitation::by_number(&office.app.db, own.id, number, office.app.now()).await?;
        found.ok_or_else(|| Failure::problem(format_args!("there is no invitation {}", self.invitation)))
    }
}

fn shown(own: &Invitation) -> Value {
    json!({
        "id": own.number.0, "email": own.email.to_string(), "role": own.role.to_string(),
        "status": own.status.name(), "created_at": own.created_at.rfc3339(),
        "expires_at": own.expires_at.rfc3339(),
    })
}

/// Lists the invitations of an organization.
pub async fn list(office: &Office, slug: &Slug, format: Format, out: &mut Out) -> Result<(), Failure> {
    let own = by_slug(office, slug).await?;
    let now = office.app.now();
    let all = invitation::list(&office.app.db, own.id, &Sought::default(), now, LISTED).await?;
    if format == Format::Json {
        return out.json(&all.iter().map(shown).collect::<Value>());
    }
    let row = |own: &Invitation| {
        let until = own.expires_at.rfc3339();
        [
            own.number.to_string(),
            own.email.to_string(),
            own.role.to_string(),
            own.status.name().to_owned(),
            until,
        ]
    };
    out.table(["id", "email", "role", "status", "until"], &all.iter().map(row).collect::<Vec<_>>())
}
