//! Logging in with a link that came by mail (contract section 12).
//!
//! Law: a link leads to a page that the configuration lists, and counts once, for one account, for the
//! address it went to and the application that asked for it, or on our own page. Nobody can guess one, so
//! wrong ones are not counted; a door that wrong passwords locked stays closed to links too.

use std::net::IpAddr;

use super::by_password::{Entered, Identifier, Refused, Visit};
use super::by_proof;
use super::lockout::closed_until;
use super::reset::NotAsked;
use crate::account::{self, Account};
use crate::app::App;
use crate::audit::{Actor, Contact};
use crate::base::{Email, Id, Secret};
use crate::factor::Code;
use crate::metrics::LoginMethod;
use crate::otp::{self, Form, Proof, Purpose};
use crate::session::{Device, Method};

/// Whether this way in is open.
#[must_use]
pub fn links_are_open(app: &App) -> bool {
    !app.config().login.magic_link.targets.is_empty() && otp::has_way(app, Contact::Email)
}

/// Whether links may lead to this page: one of those that are listed, to the letter.
pub(super) fn may_lead_to(app: &App, page: &str) -> bool {
    app.config().login.magic_link.targets.iter().any(|target| target == page)
}

/// Sends a link to `page` to whoever has confirmed this address.
pub(super) async fn request(app: &App, email: &Email, page: &str, actor: Actor) -> Result<(), NotAsked> {
    let form = Form::Link { page, application: actor.application };
    by_proof::send(app, &Identifier::Email(email.clone()), form, actor).await.map(drop)
}

/// Where a link was followed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the program of an application, or to one that none needs to be named for.
    Application(Option<Id>),
    /// To our own page, which stands for no application.
    Page,
}

impl Place {
    /// Whether what this application asked for may be used here.
    #[must_use]
    pub fn admits(self, asked_by: Option<Id>) -> bool {
        match self {
            Self::Application(application) => application == asked_by,
            Self::Page => true,
        }
    }
}

/// Somebody with a link.
#[derive(Debug)]
pub struct Follower {
    /// What the link hands over.
    pub token: Secret<String>,
    /// Of the second factor; not looked at where the account has none.
    pub code: Option<Code>,
    pub place: Place,
    pub device: Device,
    pub address: IpAddr,
    pub actor: Actor,
}

/// Lets somebody in, or not. A link that did not let them in, because a second factor is asked for or for
/// any other reason, is as good as before.
///
/// # Errors
/// [`Refused`]; of a link that is none, is over, was used or was meant for elsewhere, always the same.
pub async fn follow(app: &App, follower: Follower) -> Result<Entered, Refused> {
    let outcome = judge(app, follower).await;
    app.metrics.login(LoginMethod::Link, Refused::result_of(&outcome));
    outcome
}

async fn judge(app: &App, follower: Follower) -> Result<Entered, Refused> {
    let Follower { token, code, place, device, address, actor } = follower;
    let visit = Visit { method: Method::Link, device, address, actor };
    let found = otp::by_link(&app.db, Purpose::Link, &token, app.now()).await?;
    let proof = found.filter(|proof| place.admits(proof.application())).ok_or(Refused::Wrong)?;
    let (account, email) = owner(app, &proof, visit.actor.site).await?.ok_or(Refused::Wrong)?;
    let door = Identifier::Email(email).door(visit.actor.site);
    if let Some(until) = closed_until(app, &door).await? {
        return Err(Refused::Locked { until: Some(until) });
    }
    by_proof::admit(app, &visit, door.digest(), &account, &proof, code.as_ref()).await
}

/// Whose link it is, if the address that it went to is still theirs.
async fn owner(app: &App, proof: &Proof, site: Id) -> Result<Option<(Account, Email)>, Refused> {
    let account = account::by_id(&app.db, proof.account()).await?.filter(|account| account.site == site);
    let Some(account) = account.filter(|account| account.is_email_verified) else { return Ok(None) };
    let email = account.email.clone().filter(|email| email.as_str() == proof.target());
    Ok(email.map(|email| (account, email)))
}
