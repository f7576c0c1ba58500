//! Logging in with a code that came by text message (contract section 11).
//!
//! Law: known and unknown numbers are answered alike, and wrong codes count at the same door as
//! wrong passwords. A right code neither clears that count nor passes it by, and stands for the
//! password alone: what else a login asks for is asked for all the same.

use super::by_password::{Entered, Identifier, Refused, Visit, note_refusal, open, standing};
use super::lockout::{Attempt, Knock, knock, note_failure};
use super::reset::{NotAsked, Promise};
use super::second::{self, Trial};
use super::{claims_of, rights_of};
use crate::account::{self, Account, Standing};
use crate::app::App;
use crate::audit::{AccountEvent, Actor, Contact, LoginFailure};
use crate::base::Phone;
use crate::factor::Code;
use crate::metrics::LoginMethod;
use crate::otp::{self, Digits, Errand, NotSent, Proof, Purpose, Which};

/// Whether this way in is open.
pub(super) fn is_open(app: &App) -> bool {
    app.config().login.otp.log_in && otp::has_way(app, Contact::Phone)
}

/// Sends a code to whoever has this number; to nobody where no account that may act has it, or
/// where it was never confirmed.
pub(super) async fn request(app: &App, phone: &Phone, actor: Actor) -> Result<Promise, NotAsked> {
    let asked = Identifier::Phone(phone.clone());
    let account = account::find(&app.db, actor.site, &asked.reference()).await?;
    let identifier_digest = asked.door(actor.site).digest().to_owned();
    let mut change = app.change(actor).await?;
    let known = account.as_ref().map(|account| account.id);
    change.record(AccountEvent::LoginCodeRequested { account: known, identifier_digest }).await?;
    if let Some(account) = account.filter(|account| may_be_sent(app, account)) {
        let to = asked.target();
        let errand = Errand { account: &account, purpose: Purpose::Login, to: &to, link: None };
        match otp::send(&mut change, &errand).await {
            Ok(_) | Err(NotSent::TooSoon { .. } | NotSent::NoWay) => {}
            Err(NotSent::Store(cause)) => return Err(cause.into()),
        }
    }
    let valid_for = app.config().login.otp.valid_for;
    let promise = Promise { id: change.new_id(), expires_at: change.now().plus(valid_for) };
    change.commit().await?;
    Ok(promise)
}

/// Anybody can write down a number, so one that was never confirmed opens nothing.
fn may_be_sent(app: &App, account: &Account) -> bool {
    account.is_phone_verified && account.standing(app.now()) == Standing::Good
}

/// Somebody with a code.
#[derive(Debug)]
pub(super) struct Bearer {
    pub(super) phone: Phone,
    pub(super) digits: Digits,
    /// Of the second factor; not looked at where the account has none.
    pub(super) code: Option<Code>,
}

/// Lets somebody in, or not.
pub(super) async fn log_in(app: &App, bearer: Bearer, visit: Visit) -> Result<Entered, Refused> {
    let outcome = judge(app, bearer, &visit).await;
    app.metrics.login(LoginMethod::Code, Refused::result_of(&outcome));
    outcome
}

async fn judge(app: &App, bearer: Bearer, visit: &Visit) -> Result<Entered, Refused> {
    let config = app.config();
    let asked = Identifier::Phone(bearer.phone);
    let door = asked.door(visit.actor.site);
    let digest = door.digest().to_owned();
    let attempt = match knock(app, &config.accounts.lockout, door).await? {
        Knock::Admitted(attempt) => attempt,
        Knock::Locked { until } => return Err(Refused::Locked { until: Some(until) }),
    };
    let account = account::find(&app.db, visit.actor.site, &asked.reference()).await?;
    let (account, proof) = match prove(app, account, &bearer.digits, visit).await? {
        Ok(proved) => proved,
        Err(account) => {
            let id = account.map(|account| account.id);
            let reason = LoginFailure::WrongCode;
            note_failure(app, visit.actor.clone(), id, visit.method, reason, &[&attempt]).await?;
            return Err(Refused::Wrong);
        }
    };
    // The code was right: no wrong guess, whatever comes of it.
    attempt.withdraw(app).await?;
    let asked = match standing(app, &account) {
        Ok(()) => second::ask(app, &account, bearer.code.as_ref()).await,
        Err(refused) => Err(refused),
    };
    let outcome = match asked {
        Ok(trial) => enter(app, visit, &account, &proof, trial).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = &outcome {
        note_refusal(app, visit, &digest, &account, refused).await?;
    }
    outcome
}

/// The account and what the code proves, or else the account alone, where there is one.
async fn prove(
    app: &App,
    account: Option<Account>,
    digits: &Digits,
    visit: &Visit,
) -> Result<Result<(Account, Proof), Option<Account>>, Refused> {
    let Some(account) = account else { return Ok(Err(None)) };
    let which = Which { account: account.id, purpose: Purpose::Login, channel: Contact::Phone };
    let proof = match otp::check(app, which, digits, visit.actor.clone()).await {
        Ok(proof) => proof,
        Err(otp::Refused::Store(cause)) => return Err(cause.into()),
        Err(otp::Refused::Unknown | otp::Refused::Over | otp::Refused::Wrong { .. }) => {
            return Ok(Err(Some(account)));
        }
    };
    // The number that the code went to, and no other, which is the account's by now.
    let has_it = account.phone.as_ref().is_some_and(|phone| phone.as_str() == proof.target());
    Ok(if has_it { Ok((account, proof)) } else { Err(Some(account)) })
}

async fn enter(
    app: &App,
    visit: &Visit,
    account: &Account,
    proof: &Proof,
    trial: Option<Trial>,
) -> Result<Entered, Refused> {
    let rights = rights_of(app, account).await?;
    let claims = claims_of(app, account, &rights).await?;
    let mut change = app.change(visit.actor.clone()).await?;
    // The account's row first, as everywhere where both are written.
    let is_spent = account::hold(&mut change, account.id).await? && otp::spend(&mut change, proof).await?;
    let opened = if is_spent {
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
