//! What somebody gets who has just made an account for themselves.
//!
//! Law: it belongs to the change in which the account comes to be: whoever has the one has the other. Its
//! slug is nobody's to guess, and its name is one that its owner gave or says nothing about them.

use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::app::Change;
use crate::base::Slug;
use crate::organization::{self, New, Refused};
use crate::store::Error;

/// What making one leaves in the trail.
pub const EVENTS: &[&str] = &["organization_created", "member_added"];
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
    // No number: numbers come one after the other, and somebody else could call theirs so before.
    let slug = Slug::parse(&format!("workspace-{}", account.id)).map_err(|_| broken("an id is a slug"))?;
    let new = New {
        site: account.site,
        name: &name,
        slug: Some(slug),
        description: "",
        parent: None,
        owner: account.id,
        max_depth: config.organizations.max_depth,
    };
    match organization::create(change, new).await {
        Ok(made) => {
            if claims.contains_key("account_id") {
                claims.insert("account_id".to_owned(), json!(made.id));
            }
            Ok(())
        }
        Err(Refused::Store(cause)) => Err(cause),
        Err(refused) => Err(broken(&refused.to_string())),
    }
}

fn broken(why: &str) -> Error {
    Error::Broken { cause: format!("a new account got no organization: {why}") }
}

fn name_of(account: &Account) -> String {
    let first: String = account.first_name.trim().chars().take(NAME_MAX).collect();
    if first.is_empty() { "My Workspace".to_owned() } else { format!("{first}'s Workspace") }
}
