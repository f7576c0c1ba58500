//! What somebody gets who has just made an account for themselves.
//!
//! Law: it belongs to the change in which the account comes to be: whoever has the one has the other. What it
//! is called on the wire tells nothing about its owner but a number.

use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::app::Change;
use crate::base::Slug;
use crate::organization::{self, New, Refused};
use crate::store::Error;

/// What making one leaves in the trail.
pub(super) const EVENTS: &[&str] = &["organization_created", "member_added"];
/// Longest name that goes into the name of an organization.
const NAME_MAX: usize = 100;

/// Makes an organization of its own for a new account, where the configuration says so, and tells those
/// claims of it that name the organization of somebody who has only one.
pub(super) async fn give_workspace(
    change: &mut Change<'_>,
    account: &Account,
    claims: &mut Map<String, Value>,
) -> Result<(), Error> {
    let config = change.app().config();
    if !config.accounts.registration.workspace {
        return Ok(());
    }
    let name = name_of(account);
    let number = account.number;
    // Somebody may have called theirs so; nobody has this id.
    for slug in [format!("workspace-{number}"), format!("workspace-{}", account.id)] {
        let slug = Slug::parse(&slug).map_err(|_| broken("a number and an id are slugs"))?;
        let (site, owner) = (account.site, account.id);
        let max_depth = config.organizations.max_depth;
        let slug = Some(slug);
        let new = New { site, name: &name, slug, description: "", parent: None, owner, max_depth };
        match organization::create(change, new).await {
            Ok(made) => {
                if claims.contains_key("account_id") {
                    claims.insert("account_id".to_owned(), json!(made.id));
                }
                return Ok(());
            }
            Err(Refused::SlugTaken(_)) => {}
            Err(Refused::Store(cause)) => return Err(cause),
            Err(refused) => return Err(broken(&refused.to_string())),
        }
    }
    Err(Error::Busy)
}

fn broken(why: &str) -> Error {
    Error::Broken { cause: format!("a new account got no organization: {why}") }
}

fn name_of(account: &Account) -> String {
    let first = account.first_name.trim();
    let local = account.email.as_ref().and_then(|email| email.as_str().split('@').next()).unwrap_or_default();
    let name = [first, local].into_iter().find(|name| !name.is_empty()).unwrap_or("My");
    let name: String = name.chars().take(NAME_MAX).collect();
    if name == "My" { "My Workspace".to_owned() } else { format!("{name}'s Workspace") }
}
