//! Logging in by what somebody else says of somebody: a provider, or a directory.
//!
//! Law: an identity stands for the password alone: what else a login asks for is asked for all the
//! same, and a door that wrong passwords have locked is locked for it too. It opens the account that it
//! is connected with. An account is found by e-mail address only where both sides have it confirmed.

use super::by_password::{self, Entered, Visit, note_refusal, open, standing};
use super::by_proof::let_in;
use super::lockout::{Door, closed_until, note_failure};
use super::newcomer::give_workspace;
use super::second::{self, Trial};
use super::{Rights, claims_of};
use crate::account::{self, Account, Field, NewAccount, Reference, Target, WriteError};
use crate::app::{App, Change};
use crate::audit::{Actor, How, LoginFailure};
use crate::base::{Id, Timestamp};
use crate::config::{Link, Newcomers};
use crate::factor::Code;
use crate::metrics::{LoginMethod, LoginResult};
use crate::otp;
use crate::policy::{Assignments, Code as Name};
use crate::rbac::{self, Granted};
use crate::session::Method;
use crate::social::{self, Address, Identity, NotConnected, Of, Pending, Provider, Use, Whose};
use crate::store::Error;

/// What people get who come by a provider (contract section 13).
const ROLE: &str = "viewer";

/// Who vouches for somebody, and what that is worth here.
pub(super) struct Voucher {
    /// What connections call it.
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) newcomers: Newcomers,
    pub(super) way: LoginMethod,
}

impl Voucher {
    pub(super) fn of_provider(provider: &Provider) -> Self {
        let (link, newcomers) = (provider.settings.link, Newcomers::Registration);
        Self { name: provider.name.clone(), link, newcomers, way: LoginMethod::Social }
    }
}

/// Somebody whose identity was established.
pub(super) struct Guest {
    pub(super) voucher: Voucher,
    pub(super) identity: Identity,
    /// Of the second factor; not looked at where the account has none.
    pub(super) code: Option<Code>,
    /// Where this goes on from being asked for a second factor.
    pub(super) pending: Option<Pending>,
    /// The page that people wanted.
    pub(super) next: String,
}

/// Somebody who is in.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) entered: Entered,
    pub(super) is_new: bool,
}

/// Why somebody is not.
pub enum Refused {
    /// As every login may be refused.
    Login(by_password::Refused),
    /// A second factor is asked for; with this the login goes on.
    CodeNeeded(Box<Pending>),
    /// The provider knows that the e-mail address was not confirmed.
    Unverified,
    /// An account has this e-mail address, and the two are not known to be one.
    Exists,
    /// Nobody may register.
    Closed,
}

impl From<by_password::Refused> for Refused {
    fn from(refused: by_password::Refused) -> Self {
        Self::Login(refused)
    }
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Login(cause.into())
    }
}

impl Refused {
    fn result_of(outcome: &Result<Arrived, Self>) -> LoginResult {
        match outcome {
            Ok(_) => LoginResult::Success,
            Err(Self::Login(refused)) => refused.result(),
            Err(Self::CodeNeeded(_)) => LoginResult::SecondFactor,
            Err(Self::Unverified | Self::Exists | Self::Closed) => LoginResult::Refused,
        }
    }
}

/// Lets somebody in, or not.
pub(super) async fn log_in(app: &App, guest: Guest, visit: Visit) -> Result<Arrived, Refused> {
    let outcome = judge(app, &guest, &visit).await;
    if let Err(Refused::Unverified | Refused::Exists | Refused::Closed) = &outcome {
        let reason = LoginFailure::IdentityRefused;
        note_failure(app, visit.actor.clone(), None, visit.method, reason, &[]).await?;
    }
    app.metrics.login(guest.voucher.way, Refused::result_of(&outcome));
    outcome
}

/// Records that what was given was not believed.
pub(super) async fn note_disbelief(app: &App, actor: Actor) -> Result<(), Error> {
    app.metrics.login(LoginMethod::Social, LoginResult::BadCredentials);
    note_failure(app, actor, None, Method::Social, LoginFailure::IdentityRefused, &[]).await
}

/// Whom an identity leads to.
enum Led {
    To(Account),
    /// Its e-mail address leads to an account that it is not connected with yet.
    ToBeConnected(Account),
    Nowhere,
}

async fn judge(app: &App, guest: &Guest, visit: &Visit) -> Result<Arrived, Refused> {
    // Again: two at once with one new identity make one account, and the second finds it.
    for _ in 0..3 {
        let (account, whose) = match lead(app, guest, visit.actor.site).await? {
            Led::To(account) => (account, None),
            Led::ToBeConnected(account) => (account, Some(Whose::Account)),
            Led::Nowhere if guest.pending.is_some() => return Err(by_password::Refused::Wrong.into()),
            Led::Nowhere => match sign_up(app, guest, visit).await? {
                Some(arrived) => return Ok(arrived),
                None => continue,
            },
        };
        if guest.pending.as_ref().is_some_and(|pending| pending.account != account.id) {
            return Err(by_password::Refused::Wrong.into());
        }
        match enter(app, guest, visit, &account, whose).await {
            Ok(entered) => return Ok(Arrived { entered, is_new: false }),
            // Somebody was quicker to connect it, perhaps with this account.
            Err(Refused::Login(by_password::Refused::Wrong)) if whose.is_some() => {}
            Err(refused) => return Err(refused),
        }
    }
    Err(by_password::Refused::Store(Error::Busy).into())
}

async fn lead(app: &App, guest: &Guest, site: Id) -> Result<Led, Refused> {
    let Identity { issuer, subject, address, .. } = &guest.identity;
    if let Some(connection) = social::find(&app.db, site, issuer, subject).await? {
        let account = account::by_id(&app.db, connection.account).await?;
        return account.map(Led::To).ok_or_else(|| by_password::Refused::Wrong.into());
    }
    let email = match address {
        Address::Unverified => return Err(Refused::Unverified),
        Address::None | Address::Claimed(_) => return Ok(Led::Nowhere),
        Address::Verified(email) => email,
    };
    match account::find(&app.db, site, &Reference::Email(email.clone())).await? {
        None => Ok(Led::Nowhere),
        Some(account) if account.is_email_verified && guest.voucher.link == Link::Verified => {
            Ok(Led::ToBeConnected(account))
        }
        Some(_) => Err(Refused::Exists),
    }
}

/// The doors at which wrong passwords and codes of an account are counted.
fn doors(account: &Account) -> Vec<Door> {
    let email = account.email.as_ref().map(|email| Door::email(account.site, email));
    let phone = account.phone.as_ref().map(|phone| Door::phone(account.site, phone));
    [email, phone].into_iter().flatten().collect()
}

/// Until when one of the doors is locked. Nothing is held against anybody.
async fn locked_until(app: &App, account: &Account) -> Result<Option<Timestamp>, Error> {
    for door in doors(account) {
        if let Some(until) = closed_until(app, &door).await? {
            return Ok(Some(until));
        }
    }
    Ok(None)
}

async fn enter(
    app: &App,
    guest: &Guest,
    visit: &Visit,
    account: &Account,
    whose: Option<Whose>,
) -> Result<Entered, Refused> {
    let digest = doors(account).first().map(|door| door.digest().to_owned()).unwrap_or_default();
    let asked = match (standing(app, account), locked_until(app, account).await?) {
        (Err(refused), _) => Err(refused),
        (Ok(()), Some(until)) => Err(by_password::Refused::Locked { until: Some(until) }),
        (Ok(()), None) => second::ask(app, account, guest.code.as_ref()).await,
    };
    let outcome = match asked {
        Ok(trial) => open_for(app, guest, visit, account, (whose, trial)).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = &outcome {
        note_refusal(app, visit, &digest, account, refused).await?;
    }
    match outcome {
        Ok(entered) => Ok(entered),
        Err(by_password::Refused::SecondFactorNeeded) => {
            Err(Refused::CodeNeeded(Box::new(pending(app, guest, visit, account.id))))
        }
        Err(refused) => Err(refused.into()),
    }
}

fn pending(app: &App, guest: &Guest, visit: &Visit, account: Id) -> Pending {
    let (provider, identity, next) = (guest.voucher.name.as_str(), &guest.identity, guest.next.as_str());
    let Actor { site, application, .. } = visit.actor;
    Pending::begin(app, &Of { provider, site, application, account, identity, next })
}

async fn open_for(
    app: &App,
    guest: &Guest,
    visit: &Visit,
    account: &Account,
    (whose, trial): (Option<Whose>, Option<Trial>),
) -> Result<Entered, by_password::Refused> {
    let use_up = async |change: &mut Change<'_>| {
        Ok(use_pending(change, guest).await? && connect(change, guest, account, whose).await?)
    };
    let_in(app, visit, account, trial, use_up).await
}

/// Of all logins that go on from one that was asked for a second factor, one does.
async fn use_pending(change: &mut Change<'_>, guest: &Guest) -> Result<bool, Error> {
    let Some(pending) = &guest.pending else { return Ok(true) };
    let forget_at = change.now().plus(social::PENDING_FOR * 2);
    Ok(social::use_up(change, &pending.name(), forget_at).await? == Use::First)
}

/// Whether the identity is this account's, which it becomes where it was led to it by e-mail address.
async fn connect(
    change: &mut Change<'_>,
    guest: &Guest,
    account: &Account,
    whose: Option<Whose>,
) -> Result<bool, Error> {
    let Identity { issuer, subject, .. } = &guest.identity;
    let ids = (account.site, account.id);
    let Some(whose) = whose else { return social::note_use(change, ids, (issuer, subject)).await };
    // As it is now, and not as it was read: somebody may have another address by now.
    let now = account::by_id(change.tx(), account.id).await?;
    if !now.is_some_and(|now| now.is_email_verified && now.email == account.email) {
        return Ok(false);
    }
    match social::connect(change, ids, &guest.voucher.name, &guest.identity, whose).await {
        Ok(_) => Ok(true),
        Err(NotConnected::Taken) => Ok(false),
        Err(NotConnected::Store(cause)) => Err(cause),
    }
}

/// Makes an account for somebody new; `None` where somebody was quicker.
async fn sign_up(app: &App, guest: &Guest, visit: &Visit) -> Result<Option<Arrived>, Refused> {
    let config = app.config();
    let is_welcome = match guest.voucher.newcomers {
        Newcomers::Welcome => true,
        Newcomers::Registration => config.accounts.registration.open,
        Newcomers::Refused => false,
    };
    if !is_welcome {
        return Err(Refused::Closed);
    }
    let identity = &guest.identity;
    let (email, wish) = match &identity.address {
        Address::Verified(email) => (Some(email.clone()), None),
        Address::Claimed(email) => (None, Some(email.clone())),
        Address::None | Address::Unverified => (None, None),
    };
    let new = NewAccount {
        email,
        first_name: identity.first_name.clone(),
        last_name: identity.last_name.clone(),
        is_verified: true,
        ..NewAccount::of(visit.actor.site)
    };
    let (role, rights) = role(app);
    // Before the change: what somebody new holds is known without looking.
    let nobody = Account::imagined(&new, app.new_id(), app.now());
    let mut claims = claims_of(app, &nobody, &rights).await?;
    let mut change = app.change(visit.actor.clone()).await?;
    let mut account = match account::create(&mut change, &new, How::Owner).await {
        Ok(account) => account,
        Err(WriteError::Taken(_)) => return Ok(None),
        Err(WriteError::Store(cause)) => return Err(cause.into()),
    };
    let ids = (account.site, account.id);
    match social::connect(&mut change, ids, &guest.voucher.name, identity, Whose::NewAccount).await {
        Ok(_) => {}
        Err(NotConnected::Taken) => return Ok(None),
        Err(NotConnected::Store(cause)) => return Err(cause.into()),
    }
    give_workspace(&mut change, &account, &mut claims).await?;
    if let Some(role) = role {
        let definitions = app.catalogue().definitions().clone();
        let granted = rbac::grant(&mut change, &definitions, account.id, &Granted::Role(role)).await;
        if let Err(rbac::Refused::Store(cause)) = granted {
            return Err(cause.into());
        }
    }
    if let Some(email) = wish {
        let fields = [Field::PendingEmail(Some(email.clone()))];
        if let Ok(Some(wishing)) = account::edit(&mut change, account.id, &fields).await {
            account = wishing;
            otp::ask(&mut change, &account, &Target::Email(email)).await?;
        }
    }
    let (session, pair) = open(&mut change, &account, visit, None, claims).await?;
    change.commit().await?;
    account.last_login_at = Some(session.started_at);
    Ok(Some(Arrived { entered: Entered { account, rights, session, pair }, is_new: true }))
}

/// The role of newcomers, where it is defined, and what it gives.
fn role(app: &App) -> (Option<Name>, Rights) {
    let catalogue = app.catalogue();
    let role = Name::parse(ROLE).ok().map(Granted::Role);
    let role = role.filter(|role| role.is_defined_in(catalogue.definitions()));
    let Some(Granted::Role(role)) = role else { return (None, Rights::default()) };
    let granted = Assignments { roles: vec![role.clone()], ..Assignments::default() };
    let rights = catalogue.rights(&granted);
    (Some(role), Rights { roles: rights.roles(), permissions: rights.codes(), granted })
}
