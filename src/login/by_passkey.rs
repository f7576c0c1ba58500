//! Logging in with a passkey (contract section 14).
//!
//! Law: a passkey is possession and knowledge or body in one, so it is asked for no code, and its
//! session has proved a second factor. Nothing can be guessed, so wrong ones lock nothing, and the
//! lock that wrong passwords make does not close this way: that is how its owner still gets in.

use std::net::IpAddr;

use super::by_password::{Entered, Refused, Visit, note_refusal, standing};
use super::second;
use super::{claims_of, rights_of};
use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{Actor, LoginFailure, SessionEvent};
use crate::base::Id;
use crate::crypto::digest::sha256_hex;
use crate::metrics::LoginMethod;
use crate::passkey::{self, Presented, Proof, Regression, Spent, Unproved};
use crate::session::{self, Device, Method, Pair, Session};
use crate::store::Error;

/// Lets somebody in who came by a page, or not.
///
/// # Errors
/// [`Refused`].
pub async fn log_in_with_passkey(
    app: &App,
    presented: Presented,
    device: Device,
    address: IpAddr,
    actor: Actor,
) -> Result<Entered, Refused> {
    let visit = Visit { method: Method::Passkey, device, address, actor };
    log_in(app, presented, visit).await.map(|(entered, _)| entered)
}

/// Lets somebody in, or not; with the id of the credential that opened.
pub(super) async fn log_in(
    app: &App,
    presented: Presented,
    visit: Visit,
) -> Result<(Entered, String), Refused> {
    let outcome = judge(app, presented, &visit).await;
    let (entered, credential) = match outcome {
        Ok((entered, credential)) => (Ok(entered), credential),
        Err(refused) => (Err(refused), String::new()),
    };
    app.metrics.login(LoginMethod::Passkey, Refused::result_of(&entered));
    entered.map(|entered| (entered, credential))
}

async fn judge(app: &App, presented: Presented, visit: &Visit) -> Result<(Entered, String), Refused> {
    let proof = match passkey::check(app, visit.actor.site, presented).await {
        Ok(proof) => proof,
        // Whoever asked here has been told that it is off.
        Err(Unproved::Off) => return Err(Refused::Wrong),
        Err(Unproved::Wrong { account }) => return Err(wrong(app, visit, account).await?),
        Err(Unproved::Regressed(what)) => return Err(alarm(app, visit, what).await?),
        Err(Unproved::Store(cause)) => return Err(cause.into()),
    };
    let Some(account) = account::by_id(&app.db, proof.account).await? else {
        return Err(wrong(app, visit, None).await?);
    };
    let outcome = match standing(app, &account) {
        Ok(()) => enter(app, visit, &account, &proof).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = &outcome {
        note_refusal(app, visit, &door_of(account.id), &account, refused).await?;
    }
    outcome.map(|entered| (entered, proof.credential))
}

/// What the audit trail knows this way in by.
fn door_of(account: Id) -> String {
    sha256_hex(format!("passkey:{account}").as_bytes())
}

async fn wrong(app: &App, visit: &Visit, account: Option<Id>) -> Result<Refused, Error> {
    let mut change = app.change(visit.actor.clone()).await?;
    let identifier_digest = account.map(door_of).unwrap_or_default();
    let (method, reason) = (visit.method.name(), LoginFailure::WrongPasskey);
    change.record(SessionEvent::LoginFailed { account, identifier_digest, method, reason }).await?;
    change.commit().await?;
    Ok(Refused::Wrong)
}

async fn alarm(app: &App, visit: &Visit, what: Regression) -> Result<Refused, Error> {
    passkey::note_regression(app, visit.actor.clone(), what).await?;
    wrong(app, visit, Some(what.account)).await
}

async fn enter(app: &App, visit: &Visit, account: &Account, proof: &Proof) -> Result<Entered, Refused> {
    let rights = rights_of(app, account).await?;
    let claims = claims_of(app, account, &rights).await?;
    let mut change = app.change(visit.actor.clone()).await?;
    // The account's row first, as everywhere where both are written.
    if !account::hold(&mut change, account.id).await? {
        return Err(Refused::Wrong);
    }
    match passkey::spend(&mut change, proof).await? {
        Spent::Yes => {}
        Spent::Gone => return Err(Refused::Wrong),
        Spent::Regressed(what) => {
            drop(change);
            return Err(alarm(app, visit, what).await?);
        }
    }
    let (session, pair) = open(&mut change, account, visit, claims).await?;
    change.commit().await?;
    let mut account = account.clone();
    account.last_login_at = Some(session.started_at);
    Ok(Entered { account, rights, session, pair })
}

async fn open(
    change: &mut Change<'_>,
    account: &Account,
    visit: &Visit,
    claims: serde_json::Map<String, serde_json::Value>,
) -> Result<(Session, Pair), Refused> {
    let config = change.app().config();
    let login = session::Login {
        account,
        application: visit.actor.application,
        device: &visit.device,
        address: Some(visit.address),
        method: visit.method,
        scope: second::scope_of_proved(account),
        claims,
    };
    let (mut session, pair) = session::start(change, &config.sessions, &config.tokens, login).await?;
    session::prove(change, &mut session).await?;
    Ok((session, pair))
}
