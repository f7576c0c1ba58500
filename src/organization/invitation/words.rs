//! The mail that invites.
//!
//! Law: what an organization calls itself is its own invention, read by somebody who does not know it: no
//! link can be made of it, and it stands in no subject.

use super::Invitation;
use crate::account;
use crate::app::Change;
use crate::config::Notice;
use crate::crypto::token::Token;
use crate::notify::{self, Letter, Occasion, clock};
use crate::organization::Organization;
use crate::store::Error;

/// How much of a name is repeated.
const NAME_SHOWN: usize = 80;

/// Puts the mail into the outbox, unless mail is not configured.
pub(super) async fn send(
    change: &mut Change<'_>,
    organization: &Organization,
    invitation: &Invitation,
    token: &Token,
    sends: i64,
) -> Result<(), Error> {
    let config = change.app().config();
    let host = &config.public_url.host;
    let by = match invitation.invited_by {
        Some(id) => account::by_id(change.tx(), id).await?.and_then(|own| own.email),
        None => None,
    };
    let who = by.map_or_else(|| "Somebody".to_owned(), |email| email.to_string());
    let name = plain(&organization.name);
    let until = clock(invitation.expires_at);
    let way = match &config.organizations.invitation_link {
        Some(page) => {
            let link = notify::with_token(page, token);
            format!("Log in or register with this address, and open\n\n    {}", link.expose())
        }
        None => {
            format!(
                "Log in or register with this address, and accept with this token:\n\n    {}",
                token.expose()
            )
        }
    };
    let text = format!(
        "{who} invites you at {host} to the organization\n\n    {name}\n\n{way}\n\nIt counts once, until {until} UTC, and for \
         this address alone.\n\nIf you do not know them, you need not do anything.\n"
    );
    let occasion = Occasion {
        notice: Notice::Invitation,
        site: invitation.site,
        key: format!("{}:{sends}", invitation.id),
        until: Some(invitation.expires_at),
    };
    let subject = format!("An invitation at {host}");
    // Whoever the address belongs to: it may be nobody's account yet.
    let letter = Letter { account: None, to: invitation.email.clone(), subject, text };
    notify::write_to(change, &occasion, letter).await
}

/// A name of which no program makes a link.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || " -&,'()".contains(c) { c } else { ' ' };
    name.chars().map(kept).take(NAME_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_made_of_a_name() {
        assert_eq!(plain("Acme & Sons (Paris)"), "Acme & Sons (Paris)");
        let shown = plain("https://evil.example.com/\r\nnow\u{202e}");
        assert!(!shown.contains(['.', '/', ':', '\n', '\r', '\u{202e}']), "{shown}");
        assert_eq!(plain(&"x".repeat(200)).len(), NAME_SHOWN);
    }
}
