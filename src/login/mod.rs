//! Login: every way in and out, and the passwords that open the door.
//!
//! Law: a known and an unknown identifier are answered alike in status, body, headers and work
//! done. What is wrong with an account is told only to whoever gave the right password. Passwords
//! are hashed between changes, never inside one.

mod again;
mod breached;
mod by_code;
mod by_code_http;
mod by_directory;
mod by_directory_http;
mod by_link;
mod by_link_http;
mod by_passkey;
mod by_password;
mod by_proof;
mod by_social;
mod by_social_http;
mod connections;
mod enrol;
mod factor;
mod granted;
mod http;
mod initial;
mod input;
mod lockout;
mod newcomer;
mod passkey_http;
mod password;
mod register;
mod register_http;
mod reset;
mod reset_http;
mod second;
mod sessions;
mod show;
mod social_page;
mod step;
mod store;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::app::App;
use crate::base::Id;
use crate::config::Claim;
use crate::http::Row;
use crate::organization;
use crate::policy::{Assignments, Code};
use crate::rbac;
use crate::store::Error;

pub use again::{First, Given, Lately, Missing, PROOF_CODES, PROOF_EVENTS, asked_for, prove_whole};
pub use by_code::is_open as codes_are_open;
pub use by_code_http::{Typed as TypedCode, log_in_with_code, send_login_code};
pub use by_directory::{Member, Refused as NotFromDirectory, log_in_with_directory};
pub use by_link::{Follower, Place, follow, links_are_open};
pub use by_link_http::{answer_link, own_link, send_own_link};
pub use by_passkey::log_in_with_passkey;
pub use by_password::{Entered, Identifier, Refused, Visitor, log_in, log_in_kept};
pub use connections::{disconnect, is_only_way_in, is_usable, remove_passkey};
pub use enrol::{
    begin_second_factor, new_backup_codes, prove_again, turn_second_factor_off, turn_second_factor_on,
};
pub use granted::granted;
pub use http::{
    LOGIN_CODES, LOGIN_EVENTS, change_own_password, log_out_by, reauthenticate, refresh_by, refused_login,
};
pub use initial::{Wanted as FirstPassword, set_first_password};
pub use input::{PasswordChange, Register};
pub use lockout::{erase, sweep, unlock};
pub use newcomer::EVENTS as NEWCOMER_EVENTS;
pub use password::{Unhashed, hash_of, policy_of};
pub use register_http::register_newcomer;
pub use reset_http::{Confirmation as ResetConfirmation, Forgotten, ask_for_reset, reset_password};
pub use social_page::{
    CameBack, Nothing as SocialNothing, Outcome as SocialOutcome, begin_link, begin_social, finish_social,
    return_from_provider,
};
pub use step::{Step, step_of, step_up};

/// The endpoints of this slice.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = register_http::rows();
    rows.extend(http::rows());
    rows.extend(reset_http::rows());
    rows.extend(by_code_http::rows());
    rows.extend(by_link_http::rows());
    rows.extend(by_social_http::rows());
    rows.extend(by_directory_http::rows());
    rows.extend(connections::rows());
    rows.extend(factor::rows());
    rows.extend(passkey_http::rows());
    rows.extend(sessions::rows());
    rows.extend(initial::rows());
    rows
}

/// What access tokens tell of their person beside what the configuration says, in the words of another system: of
/// the account, by the roles that it was granted and the permissions that it holds. Nothing is decided by it, and
/// a session that is for one step says nothing of the kind.
pub type Spelling = fn(&Account, &[Code], &[Code]) -> Map<String, Value>;

/// What an account may do now, as clients see it.
#[derive(Debug, Clone, Default)]
struct Rights {
    roles: Vec<Code>,
    permissions: Vec<Code>,
    /// What brings them.
    granted: Assignments,
}

async fn rights_of(app: &App, account: &Account) -> Result<Rights, Error> {
    let mut assignments: Assignments = rbac::assignments(&app.db, account.id).await?;
    assignments.is_superuser = account.is_superuser;
    let rights = app.catalogue().rights(&assignments);
    Ok(Rights { roles: rights.roles(), permissions: rights.codes(), granted: assignments })
}

/// The claims that the configuration adds to access tokens, for clients to read.
async fn claims_of(app: &App, account: &Account, rights: &Rights) -> Result<Map<String, Value>, Error> {
    let config = app.config();
    let wanted = &config.tokens.claims;
    let mut claims: Map<String, Value> =
        wanted.fixed.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
    let texts = |codes: &[Code]| codes.iter().map(ToString::to_string).collect::<Vec<_>>();
    for claim in &wanted.include {
        let (name, value) = match claim {
            Claim::Email => ("email", json!(account.email.as_ref().map(ToString::to_string))),
            Claim::Role => ("role", json!(rights.roles.first().map(ToString::to_string))),
            Claim::Permissions => ("permissions", json!(texts(&rights.permissions))),
            Claim::AccountId => ("account_id", json!(only_organization(app, account.id).await?)),
        };
        claims.insert(name.to_owned(), value);
    }
    Ok(claims)
}

/// The organization of somebody who belongs to exactly one: of several, a token cannot say which.
async fn only_organization(app: &App, account: Id) -> Result<Option<Id>, Error> {
    let memberships = organization::memberships(&app.db, account).await?;
    Ok(if let [one] = memberships.as_slice() { Some(one.organization) } else { None })
}
