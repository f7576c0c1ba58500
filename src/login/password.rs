//! Passwords of people who have one: what they must be, and changing them.
//!
//! Law: a new password is judged before the present one is asked for, so the answer tells nothing
//! about either; the present one is asked for at a door of its own. Changing a password ends every
//! session of the account, the one that asked included.

use super::by_proof::spend_own;
use super::initial;
use super::lockout::{Door, Knock, knock, note_failure};
use crate::account::{self, Account, MustChange, NewPassword, PasswordHash};
use crate::app::App;
use crate::audit::{Actor, How, LoginFailure};
use crate::base::{Id, Secret, Timestamp};
use crate::breach;
use crate::config::{CharacterClass, Config, Password, PasswordRules};
use crate::crypto::password::policy::{Class, Owner, Policy, Rules, Strength, Weakness};
use crate::crypto::password::{Match, Overloaded};
use crate::otp::{Digits, Proof};
use crate::session::Method;
use crate::store::Error;

/// The shortest password that NIST SP 800-63B takes where there is no second factor.
const NIST_MIN: usize = 15;

/// The rules that the configuration asks for.
#[must_use]
pub fn policy_of(password: &Password) -> Policy {
    let class = |class: &CharacterClass| match class {
        CharacterClass::Upper => Class::Upper,
        CharacterClass::Lower => Class::Lower,
        CharacterClass::Digit => Class::Digit,
        CharacterClass::Special => Class::Special,
    };
    let (rules, min_length) = match password.rules {
        PasswordRules::Classes => (Rules::Classes, password.min_length),
        PasswordRules::Nist => (Rules::Nist, password.min_length.max(NIST_MIN)),
    };
    let classes = password.require.iter().map(class).collect();
    Policy { rules, min_length, max_length: password.max_length, classes }
}

/// Why a password was not hashed.
#[derive(Debug)]
pub enum Unhashed {
    Weak(Vec<Weakness>),
    Overloaded,
}

/// Judges and hashes a password that somebody else sets, as an operator does.
///
/// # Errors
/// [`Unhashed`].
pub async fn hash_of(
    app: &App,
    password: Secret<String>,
    owner: &Owner<'_>,
) -> Result<PasswordHash, Unhashed> {
    let weaknesses = policy_of(&app.config().accounts.password).check(password.expose(), owner);
    if !weaknesses.is_empty() {
        return Err(Unhashed::Weak(weaknesses));
    }
    app.hasher.hash(password).await.map(PasswordHash::new).map_err(|Overloaded| Unhashed::Overloaded)
}

/// Why a password was not changed.
#[derive(Debug)]
pub(super) enum Refused {
    Weak(Vec<Weakness>),
    /// The present password was not given.
    NotAsked,
    /// The present password is another one.
    Wrong,
    /// The code in its place is none that was sent to log in with.
    NoCode,
    /// There is no present password.
    Passwordless,
    Locked {
        until: Timestamp,
    },
    /// It is the present one, or one of the last.
    Reused,
    Breached(breach::Refused),
    Overloaded,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<Overloaded> for Refused {
    fn from(Overloaded: Overloaded) -> Self {
        Self::Overloaded
    }
}

/// What somebody asks for who is signed in.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) account: Id,
    pub(super) present: Option<Secret<String>>,
    /// Stands for it where it is not given.
    pub(super) code: Option<Digits>,
    pub(super) new: Secret<String>,
    pub(super) actor: Actor,
}

/// Changes a password; how strong the new one is.
pub(super) async fn change(app: &App, wish: Wish) -> Result<Strength, Refused> {
    let config = app.config();
    let gone = || Error::Broken { cause: "the account of a live session is gone".into() };
    let account = account::by_id(&app.db, wish.account).await?.ok_or_else(gone)?;
    let policy = policy_of(&config.accounts.password);
    let owner = owner_of(&account);
    let weaknesses = policy.check(wish.new.expose(), &owner);
    if !weaknesses.is_empty() {
        return Err(Refused::Weak(weaknesses));
    }
    let strength = Strength::of(policy.score(wish.new.expose(), &owner));
    let was = account.password_hash.as_ref().ok_or(Refused::Passwordless)?;
    let proof = match (wish.present, wish.code) {
        (None, Some(digits)) => Some(code_of(app, &account, &digits, &wish.actor).await?),
        (present, _) => {
            reauthenticate(app, &account, present, &wish.actor).await?;
            None
        }
    };
    // First what says nothing about the account: whoever holds no more than a code learns no password by it.
    breach::check(app, &wish.new).await.map_err(Refused::Breached)?;
    let history = history_of(&config, &account);
    if is_used::<Refused>(app, account.id, Some(was), &wish.new, history).await? {
        return Err(Refused::Reused);
    }
    let hash = PasswordHash::new(app.hasher.hash(wish.new).await?);
    let mut change = app.change(wish.actor).await?;
    // The account's row first, as everywhere where both are written.
    if let Some(proof) = &proof
        && !(account::hold(&mut change, account.id).await? && spend_own(&mut change, proof).await?)
    {
        return Err(Refused::NoCode);
    }
    let new =
        NewPassword { was: Some(was), hash: &hash, must_change: MustChange::No, how: How::Owner, history };
    if !account::set_password(&mut change, account.id, new).await? {
        // Somebody else was quicker: what was proved is not the present password any more.
        return Err(Refused::Wrong);
    }
    change.commit().await?;
    Ok(strength)
}

/// The proof by a code to log in with that was sent to the account's number.
async fn code_of(app: &App, account: &Account, digits: &Digits, actor: &Actor) -> Result<Proof, Refused> {
    initial::prove(app, account, Some(digits.clone()), actor).await.map_err(|refused| match refused {
        initial::Refused::Store(cause) => Refused::Store(cause),
        _ => Refused::NoCode,
    })
}

/// How many former passwords may not come back. One that somebody else chose may not stay.
pub(super) fn history_of(config: &Config, account: &Account) -> u32 {
    config.accounts.password.history.max(u32::from(account.must_change_password))
}

pub(super) fn owner_of(account: &Account) -> Owner<'_> {
    Owner {
        email: account.email.as_ref().map(crate::base::Email::as_str),
        username: account.username.as_ref().map(account::Username::as_str),
    }
}

/// Asks somebody who is signed in for the present password; the hash that it was compared with.
pub(super) async fn reauthenticate<'a>(
    app: &App,
    account: &'a Account,
    present: Option<Secret<String>>,
    actor: &Actor,
) -> Result<&'a PasswordHash, Refused> {
    let was = account.password_hash.as_ref().ok_or(Refused::Passwordless)?;
    let present = present.ok_or(Refused::NotAsked)?;
    prove(app, account, was, present, actor).await?;
    Ok(was)
}

async fn prove(
    app: &App,
    account: &Account,
    was: &PasswordHash,
    present: Secret<String>,
    actor: &Actor,
) -> Result<(), Refused> {
    let door = Door::again(account.id, account.site);
    let attempt = match knock(app, &app.config().accounts.lockout, door).await? {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => return Err(Refused::Locked { until }),
    };
    match app.hasher.verify(was.expose(), present).await {
        Ok(Match::Yes | Match::YesButRehash) => {
            let mut tx = app.db.begin().await?;
            attempt.succeeded(&mut tx).await?;
            tx.commit().await?;
            Ok(())
        }
        Ok(Match::No) => {
            let (id, reason) = (Some(account.id), LoginFailure::WrongPassword);
            note_failure(app, actor.clone(), id, Method::Password, reason, &[&attempt]).await?;
            Err(Refused::Wrong)
        }
        Err(Overloaded) => {
            attempt.withdraw(app).await?;
            Err(Refused::Overloaded)
        }
    }
}

/// Whether it is the present password or one of the last `history`. With no history any will do.
pub(super) async fn is_used<E: From<Error> + From<Overloaded>>(
    app: &App,
    account: Id,
    was: Option<&PasswordHash>,
    new: &Secret<String>,
    history: u32,
) -> Result<bool, E> {
    if history == 0 {
        return Ok(false);
    }
    let former = account::former_passwords(&app.db, account, history).await?;
    for hash in was.into_iter().chain(&former) {
        if app.hasher.verify(hash.expose(), new.clone()).await? != Match::No {
            return Ok(true);
        }
    }
    Ok(false)
}
