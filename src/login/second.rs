//! The second factor at the door: who is asked for one, and where its codes are counted.
//!
//! Law: a code is looked at only after a try was taken for it, at a door of the account's own; so
//! it does not matter by which identifier, or how many times at once, somebody comes.

use super::by_password::Refused;
use super::lockout::{Attempt, Door, Knock, knock, note_failure};
use crate::account::Account;
use crate::app::App;
use crate::audit::{Actor, LoginFailure};
use crate::base::Timestamp;
use crate::config::Config;
use crate::factor::{self, Code};
use crate::passkey;
use crate::principal::Scope;
use crate::session::Method;
use crate::store::Error;

/// A code that may be tried.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) attempt: Attempt,
    pub(super) code: Code,
}

/// Takes a try for the code of somebody whose password was right; `None` where none is asked for.
pub(super) async fn ask(app: &App, account: &Account, code: Option<&Code>) -> Result<Option<Trial>, Refused> {
    if account.second_factor_at.is_none() {
        if must_come_with_passkey(app, account).await? {
            return Err(Refused::SecondFactorNeeded);
        }
        return Ok(None);
    }
    let code = code.ok_or(Refused::SecondFactorNeeded)?.clone();
    match knock(app, &app.config().accounts.lockout, Door::second(account.id, account.site)).await? {
        Knock::Admitted(attempt) => Ok(Some(Trial { attempt, code })),
        Knock::Locked { until } => Err(Refused::Locked { until: Some(until) }),
    }
}

/// Whoever must have a second factor, and has passkeys alone, comes with one: a stolen password must not be
/// enough to set up another factor.
pub(super) async fn must_come_with_passkey(app: &App, account: &Account) -> Result<bool, Error> {
    let rule = app.config().accounts.staff_second_factor;
    Ok(factor::is_missing(rule, &account.facts(), None) && passkey::count_of(&app.db, account.id).await? > 0)
}

/// What a login of this account is for, where it is not for everything.
pub(super) fn scope_of(config: &Config, account: &Account) -> Option<Scope> {
    if factor::is_missing(config.accounts.staff_second_factor, &account.facts(), None) {
        return Some(Scope::SecondFactorSetupOnly);
    }
    scope_of_proved(account)
}

/// The same where the login itself proved a second factor.
pub(super) fn scope_of_proved(account: &Account) -> Option<Scope> {
    // A password that somebody else chose opens nothing but choosing another one.
    account.must_change_password.then_some(Scope::PasswordChangeOnly)
}

/// Why a signed-in person's code is not looked at.
#[derive(Debug)]
pub(super) enum Closed {
    Until(Timestamp),
    Store(Error),
}

/// Takes a try for a code that somebody gives who is signed in, at another door than logins: whoever stole a session must not be able to lock its owner out of logging in.
pub(super) async fn again(app: &App, account: &Account) -> Result<Attempt, Closed> {
    let door = Door::second_again(account.id, account.site);
    match knock(app, &app.config().accounts.lockout, door).await.map_err(Closed::Store)? {
        Knock::Admitted(attempt) => Ok(attempt),
        Knock::Locked { until } => Err(Closed::Until(until)),
    }
}

/// The code was wrong.
pub(super) async fn failed(
    app: &App,
    actor: Actor,
    account: &Account,
    attempt: &Attempt,
) -> Result<(), Error> {
    let (id, reason) = (Some(account.id), LoginFailure::WrongSecondFactor);
    note_failure(app, actor, id, Method::Password, reason, &[attempt]).await
}
