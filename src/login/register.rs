//! Registration: a new account, or the appearance of one.
//!
//! Law: the answer is the same whether or not the identifiers were free, and so is the work: one
//! hash, one look, one change with one audit row. Only a configuration that logs people in at once
//! tells the difference, and says so in its own description.

use std::net::IpAddr;

use serde_json::Map;

use super::by_password::Entered;
use super::newcomer::give_workspace;
use super::{Rights, claims_of};
use crate::account::{self, Account, NewAccount, PasswordHash, Reference, Target, WriteError};
use crate::app::{App, Change};
use crate::audit::{AccountEvent, Actor, Contact, How};
use crate::base::{Email, Id, Phone, Secret};
use crate::breach;
use crate::config::Notice;
use crate::crypto::password::Overloaded;
use crate::metrics::{LoginMethod, LoginResult};
use crate::notify::{self, Letter, Occasion};
use crate::otp;
use crate::session::{self, Device, Method, StartError};
use crate::store::Error;

/// Whether somebody who registers also wants to be logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    LogIn,
}

/// Somebody new. At least one of e-mail address and phone number is there.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) email: Option<Email>,
    pub(super) phone: Option<Phone>,
    pub(super) password: Secret<String>,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) device: Device,
    pub(super) then: Then,
    pub(super) address: IpAddr,
    pub(super) actor: Actor,
}

/// What there is to show.
#[derive(Debug)]
pub(super) enum Registered {
    /// An account, made or imagined.
    Shown(Box<Account>),
    /// An account that was made and logged in.
    LoggedIn(Box<Entered>),
}

/// Why there is nothing to show.
#[derive(Debug)]
pub(super) enum Refused {
    Breached(breach::Refused),
    Overloaded,
    NoKey,
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

/// Registers somebody whose password was found good.
pub(super) async fn register(app: &App, newcomer: Newcomer) -> Result<Registered, Refused> {
    // Before anybody looks whose address it is: the answer is the same.
    breach::check(app, &newcomer.password).await.map_err(Refused::Breached)?;
    let hash = app.hasher.hash(newcomer.password.clone()).await?;
    let new = NewAccount {
        email: newcomer.email.clone(),
        phone: newcomer.phone.clone(),
        password_hash: Some(PasswordHash::new(hash)),
        first_name: newcomer.first_name.clone(),
        last_name: newcomer.last_name.clone(),
        ..NewAccount::of(newcomer.actor.site)
    };
    if let Some(owner) = owner(app, &new).await? {
        return repeated(app, &newcomer, &new, owner).await;
    }
    match create(app, &newcomer, &new).await {
        // Somebody was quicker: as if they had been there before.
        Err(Failed::Taken) => match owner(app, &new).await? {
            Some(owner) => repeated(app, &newcomer, &new, owner).await,
            None => Err(Refused::Store(Error::Busy)),
        },
        Err(Failed::NoKey) => Err(Refused::NoKey),
        Err(Failed::Store(cause)) => Err(Refused::Store(cause)),
        Ok(registered) => Ok(registered),
    }
}

/// Whose e-mail address or phone number it is already.
async fn owner(app: &App, new: &NewAccount) -> Result<Option<(Id, Contact)>, Error> {
    let email = new.email.clone().map(|email| (Reference::Email(email), Contact::Email));
    let phone = new.phone.clone().map(|phone| (Reference::Phone(phone), Contact::Phone));
    for (reference, contact) in [email, phone].into_iter().flatten() {
        if let Some(account) = account::find(&app.db, new.site, &reference).await? {
            return Ok(Some((account.id, contact)));
        }
    }
    Ok(None)
}

async fn repeated(
    app: &App,
    newcomer: &Newcomer,
    new: &NewAccount,
    (account, contact): (Id, Contact),
) -> Result<Registered, Refused> {
    let mut change = app.change(newcomer.actor.clone()).await?;
    let (id, now) = (change.new_id(), change.now());
    change.record(AccountEvent::RegistrationRepeated { account, contact }).await?;
    tell_owner(&mut change, account).await?;
    change.commit().await?;
    Ok(Registered::Shown(Box::new(Account::imagined(new, id, now))))
}

/// Tells whose address it is, once a day; one that was never proved gets another code to prove it.
async fn tell_owner(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let Some(owner) = account::by_id(change.tx(), account).await? else { return Ok(()) };
    let Some(to) = owner.email.clone() else { return Ok(()) };
    if !owner.is_email_verified {
        return otp::ask(change, &owner, &Target::Email(to)).await;
    }
    let config = change.app().config();
    let host = &config.public_url.host;
    let key = format!("{account}:{}", change.now().days());
    let occasion = Occasion { notice: Notice::RegistrationRepeated, site: owner.site, key, until: None };
    let subject = format!("You have an account at {host} already");
    let text = format!(
        "Somebody tried to register at {host} with what belongs to your account. If it was you: log in, there is nothing \
         to register. If it was not, you need not do anything.\n"
    );
    notify::write_to(change, &occasion, Letter { account: Some(account), to, subject, text }).await
}

enum Failed {
    Taken,
    NoKey,
    Store(Error),
}

impl From<Error> for Failed {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

async fn create(app: &App, newcomer: &Newcomer, new: &NewAccount) -> Result<Registered, Failed> {
    let config = app.config();
    let logs_in = newcomer.then == Then::LogIn && config.accounts.registration.log_in_at_once;
    let mut claims = if logs_in {
        // Before the change: what somebody new holds is known without looking.
        let nobody = Account::imagined(new, app.new_id(), app.now());
        claims_of(app, &nobody, &Rights::default()).await?
    } else {
        Map::new()
    };
    let mut change = app.change(newcomer.actor.clone()).await?;
    let mut account = match account::create(&mut change, new, How::Owner).await {
        Ok(account) => account,
        Err(WriteError::Taken(_)) => return Err(Failed::Taken),
        Err(WriteError::Store(cause)) => return Err(cause.into()),
    };
    give_workspace(&mut change, &account, &mut claims).await?;
    for contact in [Contact::Email, Contact::Phone] {
        if let Some(target) = account.has(contact) {
            otp::ask(&mut change, &account, &target).await?;
        }
    }
    if !logs_in {
        change.commit().await?;
        return Ok(Registered::Shown(Box::new(account)));
    }
    let login = session::Login {
        account: &account,
        application: newcomer.actor.application,
        device: &newcomer.device,
        address: Some(newcomer.address),
        method: Method::Password,
        scope: None,
        claims,
    };
    let started = session::start(&mut change, &config.sessions, &config.tokens, login).await;
    let (session, pair) = started.map_err(|error| match error {
        StartError::NoKey => Failed::NoKey,
        StartError::Store(cause) => Failed::Store(cause),
        // Nobody else knows the account yet.
        StartError::Refused | StartError::SessionLimit | StartError::DeviceLimit => {
            Failed::Store(Error::Busy)
        }
    })?;
    change.commit().await?;
    app.metrics.login(LoginMethod::Register, LoginResult::Success);
    account.last_login_at = Some(session.started_at);
    let rights = Rights::default();
    Ok(Registered::LoggedIn(Box::new(Entered { account, rights, session, pair })))
}
