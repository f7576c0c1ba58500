//! Forgotten passwords: a code or a link, sent to an address or number that is theirs, sets a new one.
//!
//! Law: known and unknown are answered alike, for the same hashes. Code and link are one thing in
//! two forms: either ends both. The new password is judged before it is told whether the code was
//! right, and hashed only where it was. Who resets a password is logged out everywhere.

use super::by_password::Identifier;
use super::lockout;
use super::password::{history_of, is_used, owner_of, policy_of};
use crate::account::{self, Account, MustChange, NewPassword, PasswordHash, Standing, Target};
use crate::app::App;
use crate::audit::{AccountEvent, Actor, Contact, How};
use crate::base::{Email, Id, Secret, Timestamp};
use crate::breach::{self, Safety};
use crate::crypto::password::Overloaded;
use crate::crypto::password::policy::{Owner, Weakness};
use crate::factor;
use crate::otp::{self, Digits, Errand, Form, NotSent, Proof, Purpose, Which};
use crate::passkey;
use crate::social;
use crate::store::Error;

/// What whoever asks is told, whoever they are.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) id: Id,
    pub(super) expires_at: Timestamp,
}

/// Why not even that is told.
#[derive(Debug)]
pub(super) enum NotAsked {
    /// Nothing can be sent this way to anyone.
    NoWay,
    Store(Error),
}

impl From<Error> for NotAsked {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl Identifier {
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Email(email) => Target::Email(email.clone()),
            Self::Phone(phone) => Target::Phone(phone.clone()),
        }
    }
}

/// Sends a code, and a link where the configuration names its page, to whoever has this address or
/// number; to nobody where no account that may act has it.
pub(super) async fn request(app: &App, asked: &Identifier, actor: Actor) -> Result<Promise, NotAsked> {
    let (target, config) = (asked.target(), app.config());
    if !otp::has_way(app, target.contact()) {
        return Err(NotAsked::NoWay);
    }
    let account = account::find(&app.db, actor.site, &asked.reference()).await?;
    let identifier_digest = asked.door(actor.site).digest().to_owned();
    let mut change = app.change(actor).await?;
    let known = account.as_ref().map(|account| account.id);
    change.record(AccountEvent::ResetRequested { account: known, identifier_digest }).await?;
    if let Some(account) = account.filter(|account| may_reset(account, target.contact(), app.now())) {
        let form = config.login.reset.link.as_deref().map_or(Form::Code, Form::CodeAndLink);
        let errand = Errand { account: &account, purpose: Purpose::Reset, to: &target, form };
        match otp::send(&mut change, &errand).await {
            Ok(_) | Err(NotSent::TooSoon { .. } | NotSent::NoWay) => {}
            Err(NotSent::Store(cause)) => return Err(cause.into()),
        }
    }
    let promise = Promise { id: change.new_id(), expires_at: change.now().plus(config.login.otp.valid_for) };
    change.commit().await?;
    Ok(promise)
}

/// Anybody can write down an address or a number at registration. Where one of the two was
/// confirmed, the other one proves nothing until it is confirmed too.
fn may_reset(account: &Account, by: Contact, now: Timestamp) -> bool {
    let (mail, phone) = (account.is_email_verified, account.is_phone_verified);
    let is_theirs = match by {
        Contact::Email => mail || !phone,
        Contact::Phone => phone || !mail,
    };
    is_theirs && account.standing(now) == Standing::Good
}

/// By what somebody proves that they may.
#[derive(Debug)]
pub(super) enum Key {
    Code(Identifier, Digits),
    Link(Secret<String>),
}

/// Why a password was not reset.
#[derive(Debug)]
pub(super) enum Refused {
    /// Not the code or link of an account that may have it: which of these is nobody's business.
    Wrong,
    Weak(Vec<Weakness>),
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

/// Sets a new password for whoever holds the key.
/// [`breach::Safety`] says what is known of it.
pub(super) async fn confirm(
    app: &App,
    key: Key,
    new: Secret<String>,
    actor: Actor,
) -> Result<Safety, Refused> {
    let said = match &key {
        Key::Code(Identifier::Email(email), _) => Some(email.clone()),
        Key::Code(..) | Key::Link(_) => None,
    };
    judge(app, &new, &Owner { email: said.as_ref().map(Email::as_str), username: None })?;
    let proof = prove(app, key, &actor).await?;
    let account = account::by_id(&app.db, proof.account()).await?.ok_or(Refused::Wrong)?;
    let proved = account.has(proof.contact()).filter(|target| target.as_str() == proof.target());
    let Some(target) = proved.filter(|_| may_reset(&account, proof.contact(), app.now())) else {
        return Err(Refused::Wrong);
    };
    judge(app, &new, &owner_of(&account))?;
    // First what says nothing about the account.
    let safety = breach::check(app, &new).await.map_err(Refused::Breached)?;
    let (was, history) = (account.password_hash.as_ref(), history_of(&app.config(), &account));
    if is_used::<Refused>(app, account.id, was, &new, history).await? {
        return Err(Refused::Reused);
    }
    let hash = PasswordHash::new(app.hasher.hash(new).await?);
    write(app, &account, &proof, &target, &hash, actor).await?;
    Ok(safety)
}

async fn write(
    app: &App,
    account: &Account,
    proof: &Proof,
    target: &Target,
    hash: &PasswordHash,
    actor: Actor,
) -> Result<(), Refused> {
    let history = history_of(&app.config(), account);
    let was = account.password_hash.as_ref();
    let mut change = app.change(actor).await?;
    // The account's row first, as everywhere where both are written.
    if !account::hold(&mut change, account.id).await? || !otp::spend(&mut change, proof).await? {
        return Err(Refused::Wrong);
    }
    // What was confirmed or changed in between counts.
    let now = change.now();
    let held = account::by_id(change.tx(), account.id).await?;
    let is_theirs = |held: &Account| {
        let target = held.has(proof.contact());
        target.is_some_and(|target| target.as_str() == proof.target())
    };
    let Some(held) = held.filter(|held| is_theirs(held) && may_reset(held, proof.contact(), now)) else {
        return Err(Refused::Wrong);
    };
    // Whoever registered never showed that this is theirs, and may have left ways in behind.
    if !held.is_email_verified && !held.is_phone_verified {
        passkey::remove_all(&mut change, held.id).await?;
        factor::forget(&mut change, &held).await?;
        for connection in social::connections(change.tx(), held.id).await? {
            social::disconnect(&mut change, &connection).await?;
        }
    }
    let new = NewPassword { was, hash, must_change: MustChange::No, how: How::Owner, history };
    if !account::set_password(&mut change, account.id, new).await? {
        return Err(Refused::Wrong);
    }
    // Who guessed, guessed at a password that is no more; else strangers could keep the owner out.
    lockout::forget_passwords(change.tx(), account).await?;
    change.record(AccountEvent::ResetCompleted { account: account.id }).await?;
    // What the code was sent to is theirs.
    account::verify(&mut change, account.id, target.channel(), How::Owner).await?;
    change.commit().await?;
    Ok(())
}

fn judge(app: &App, new: &Secret<String>, owner: &Owner<'_>) -> Result<(), Refused> {
    let weaknesses = policy_of(&app.config().accounts.password).check(new.expose(), owner);
    if weaknesses.is_empty() { Ok(()) } else { Err(Refused::Weak(weaknesses)) }
}

/// What the key proves. A wrong one leaves the same trace whether or not there is an account.
async fn prove(app: &App, key: Key, actor: &Actor) -> Result<Proof, Refused> {
    let (asked, digits) = match key {
        Key::Link(token) => {
            let found = otp::by_link(&app.db, Purpose::Reset, &token, app.now()).await?;
            return found.ok_or(Refused::Wrong);
        }
        Key::Code(asked, digits) => (asked, digits),
    };
    let (account, contact) =
        (account::find(&app.db, actor.site, &asked.reference()).await?, asked.target().contact());
    if let Some(account) = &account {
        let which = Which { account: account.id, purpose: Purpose::Reset, channel: contact };
        match otp::check(app, which, &digits, actor.clone()).await {
            Ok(proof) => return Ok(proof),
            Err(otp::Refused::Wrong { .. }) => return Err(Refused::Wrong),
            Err(otp::Refused::Store(cause)) => return Err(cause.into()),
            Err(otp::Refused::Unknown | otp::Refused::Over) => {}
        }
    }
    let (account, purpose) = (account.map(|account| account.id), Purpose::Reset.name());
    let mut change = app.change(actor.clone()).await?;
    change.record(AccountEvent::CodeRefused { account, purpose, contact }).await?;
    change.commit().await?;
    Err(Refused::Wrong)
}
