//! Logging in with what was sent: what codes and links have in common.
//!
//! Law: nothing is sent to an address or a number that was never confirmed, because anybody can
//! write one down. What came back stands for the password alone: what else a login asks for is
//! asked for all the same, and before it is used up.

use super::by_password::{Entered, Identifier, Refused, Visit, note_refusal, open, standing};
use super::lockout::{Attempt, note_failure};
use super::reset::{NotAsked, Promise};
use super::second::{self, Trial};
use super::{claims_of, rights_of};
use crate::account::{self, Account, Standing};
use crate::app::{App, Change};
use crate::audit::{AccountEvent, Actor, Contact, LoginFailure};
use crate::factor::Code;
use crate::otp::{self, Errand, Form, NotSent, Proof, Purpose};
use crate::store::Error;

/// Sends something to log in with to whoever has this address or number; to nobody where no account
/// that may act has confirmed it.
pub(super) async fn send(
    app: &App,
    asked: &Identifier,
    form: Form<'_>,
    actor: Actor,
) -> Result<Promise, NotAsked> {
    let account = account::find(&app.db, actor.site, &asked.reference()).await?;
    let identifier_digest = asked.door(actor.site).digest().to_owned();
    let (known, valid_for) = (account.as_ref().map(|account| account.id), form.valid_for(app));
    let mut change = app.change(actor).await?;
    let (purpose, event) = match form {
        Form::Link { .. } => {
            (Purpose::Link, AccountEvent::LoginLinkRequested { account: known, identifier_digest })
        }
        Form::Code | Form::CodeAndLink(_) => {
            (Purpose::Login, AccountEvent::LoginCodeRequested { account: known, identifier_digest })
        }
    };
    change.record(event).await?;
    let to = asked.target();
    if let Some(account) = account.filter(|account| may_be_sent(app, account, to.contact())) {
        match otp::send(&mut change, &Errand { account: &account, purpose, to: &to, form }).await {
            Ok(_) | Err(NotSent::TooSoon { .. } | NotSent::NoWay) => {}
            Err(NotSent::Store(cause)) => return Err(cause.into()),
        }
    }
    let promise = Promise { id: change.new_id(), expires_at: change.now().plus(valid_for) };
    change.commit().await?;
    Ok(promise)
}

fn may_be_sent(app: &App, account: &Account, contact: Contact) -> bool {
    let is_confirmed = match contact {
        Contact::Email => account.is_email_verified,
        Contact::Phone => account.is_phone_verified,
    };
    is_confirmed && account.standing(app.now()) == Standing::Good
}

/// Lets somebody in who proved by something that was sent that they are who they say; `digest` names
/// the door where wrong ones would have counted.
pub(super) async fn admit(
    app: &App,
    visit: &Visit,
    digest: &str,
    account: &Account,
    proof: &Proof,
    code: Option<&Code>,
) -> Result<Entered, Refused> {
    let asked = match standing(app, account) {
        Ok(()) => second::ask(app, account, code).await,
        Err(refused) => Err(refused),
    };
    let outcome = match asked {
        Ok(trial) => enter(app, visit, account, proof, trial).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = &outcome {
        note_refusal(app, visit, digest, account, refused).await?;
    }
    outcome
}

async fn enter(
    app: &App,
    visit: &Visit,
    account: &Account,
    proof: &Proof,
    trial: Option<Trial>,
) -> Result<Entered, Refused> {
    let use_up = async |change: &mut Change<'_>| Ok(spend_own(change, proof).await?);
    let_in(app, visit, account, trial, use_up).await
}

/// Lets somebody in by a proof that `use_up` uses up in the same change, once the account's row is held;
/// `false` where it is none any more.
pub(super) async fn let_in(
    app: &App,
    visit: &Visit,
    account: &Account,
    trial: Option<Trial>,
    use_up: impl AsyncFnOnce(&mut Change<'_>) -> Result<bool, Refused>,
) -> Result<Entered, Refused> {
    let rights = rights_of(app, account).await?;
    let claims = claims_of(app, account, &rights).await?;
    let mut change = app.change(visit.actor.clone()).await?;
    // The account's row first, as everywhere where both are written.
    let is_good = account::hold(&mut change, account.id).await? && use_up(&mut change).await?;
    let opened = if is_good {
        open(&mut change, account, visit, trial.as_ref(), claims).await
    } else {
        Err(Refused::Wrong)
    };
    let second = trial.map(|trial| trial.attempt);
    let (session, pair) = match opened {
        Ok(opened) => opened,
        Err(refused) => {
            drop(change);
            settle(app, visit, account, &refused, second).await?;
            return Err(refused);
        }
    };
    if let Some(second) = &second {
        second.succeeded(change.tx()).await?;
    }
    change.commit().await?;
    let mut account = account.clone();
    account.last_login_at = Some(session.started_at);
    Ok(Entered { account, rights, session, pair })
}

/// Uses up what was sent to somebody whose row is held, if it went where they are reached at this moment.
pub(super) async fn spend_own(change: &mut Change<'_>, proof: &Proof) -> Result<bool, Error> {
    Ok(is_still_theirs(change, proof).await? && otp::spend(change, proof).await?)
}

/// Whether what the proof was sent to is the account's, and confirmed, at this moment: it may have got
/// another address since it was read.
async fn is_still_theirs(change: &mut Change<'_>, proof: &Proof) -> Result<bool, Error> {
    let account = account::by_id(change.tx(), proof.account()).await?;
    Ok(account.is_some_and(|account| {
        let is_confirmed = match proof.contact() {
            Contact::Email => account.is_email_verified,
            Contact::Phone => account.is_phone_verified,
        };
        let target = account.has(proof.contact());
        is_confirmed && target.is_some_and(|target| target.as_str() == proof.target())
    }))
}

/// What becomes of the try for the second factor where nobody was let in.
async fn settle(
    app: &App,
    visit: &Visit,
    account: &Account,
    why: &Refused,
    second: Option<Attempt>,
) -> Result<(), Refused> {
    let Some(second) = second else { return Ok(()) };
    if !matches!(why, Refused::SecondFactorWrong) {
        return Ok(second.withdraw(app).await?);
    }
    let (reason, id) = (LoginFailure::WrongSecondFactor, Some(account.id));
    Ok(note_failure(app, visit.actor.clone(), id, visit.method, reason, &[&second]).await?)
}
