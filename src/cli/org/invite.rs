//! `portcullis org invite`, `invitations`, `uninvite` and `resend`.
//!
//! Law: an operator's invitation asks for no rights of whoever sent it, and for the same proof of the one
//! who accepts it.

use std::fmt;
use std::str::FromStr;

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
    /// The number of the invitation, or the invited address, as `org invitations` lists them
    invitation: Which,
    #[command(flatten)]
    json: AsJson,
}

/// An invitation as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Number(Number),
    /// The latest one to this address.
    Email(Email),
}

impl FromStr for Which {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().map(|number| Self::Number(Number(number)));
        let named = number.or_else(|| Email::parse(text).ok().map(Self::Email));
        named.ok_or("the number or the address that `portcullis org invitations` lists")
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Email(email) => write!(f, "of {email}"),
        }
    }
}

impl Named {
    pub async fn revoke(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let found = self.find(office).await?;
        let mut change = office.change().await?;
        invitation::revoke(&mut change, &found).await.map_err(Failure::problem)?;
        change.commit().await?;
        self.told(office, &found, "taken back", out).await
    }

    pub async fn resend(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let found = self.find(office).await?;
        let mut change = office.change().await?;
        invitation::resend(&mut change, &found).await.map_err(Failure::problem)?;
        change.commit().await?;
        self.told(office, &found, "sent again", out).await
    }

    async fn told(
        &self,
        office: &Office,
        before: &Invitation,
        what: &str,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let (db, now) = (&office.app.db, office.app.now());
        let found = invitation::by_number(db, before.organization, before.number, now).await?;
        let found = found.as_ref().unwrap_or(before);
        if self.json.format() == Format::Json {
            return out.json(&shown(found));
        }
        out.line(format_args!("the invitation of {} is {what}", found.email))
    }

    async fn find(&self, office: &Office) -> Result<Invitation, Failure> {
        let own = by_slug(office, &self.organization).await?;
        let (db, now) = (&office.app.db, office.app.now());
        let found = match &self.invitation {
            Which::Number(number) => invitation::by_number(db, own.id, *number, now).await?,
            Which::Email(email) => {
                // A new one to the same address ends the one before, so no other can be open.
                let sought = Sought { email: Some(email.clone()), ..Sought::default() };
                invitation::list(db, own.id, &sought, now, 1).await?.into_iter().next()
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_named_by_its_number_or_its_address() {
        assert_eq!("7".parse::<Which>(), Ok(Which::Number(Number(7))));
        let email = Email::parse("new@example.com").unwrap();
        assert_eq!("new@example.com".parse::<Which>(), Ok(Which::Email(email)));
        let told = "nobody".parse::<Which>().unwrap_err();
        assert!(told.contains("org invitations"), "{told}");
    }
}
