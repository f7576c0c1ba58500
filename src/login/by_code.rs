//! Logging in with a code that came by text message (contract section 11).
//!
//! Law: known and unknown numbers are answered alike, and wrong codes count at the same door as
//! wrong passwords. A right code neither clears that count nor passes it by.

use super::by_password::{Entered, Identifier, Refused, Visit};
use super::by_proof;
use super::lockout::{Knock, knock, note_failure};
use super::reset::{NotAsked, Promise};
use crate::account::{self, Account};
use crate::app::App;
use crate::audit::{Actor, Contact, LoginFailure};
use crate::base::Phone;
use crate::factor::Code;
use crate::metrics::LoginMethod;
use crate::otp::{self, Digits, Form, Proof, Purpose, Which};

/// Whether this way in is open.
#[must_use]
pub fn is_open(app: &App) -> bool {
    app.config().login.otp.log_in && otp::has_way(app, Contact::Phone)
}

/// Sends a code to whoever has confirmed this number.
pub(super) async fn request(app: &App, phone: &Phone, actor: Actor) -> Result<Promise, NotAsked> {
    by_proof::send(app, &Identifier::Phone(phone.clone()), Form::Code, actor).await
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
    by_proof::admit(app, visit, &digest, &account, &proof, bearer.code.as_ref()).await
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
