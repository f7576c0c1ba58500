//! What somebody's passkey proves at a login.
//!
//! Law: an answer is judged against the one passkey that it names, and against whom the challenge
//! was for. A counter that did not rise is an alarm, and no login.

use serde_json::Value;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, Passkey as Key, PublicKeyCredential, WebauthnError,
};

use super::ceremony::{self, NONE, Purpose, With, fault};
use super::store::{self, Row};
use super::{Begun, Presented, digest_of, key_of, text_of};
use crate::account;
use crate::app::{App, Change};
use crate::audit::{Actor, PasskeyEvent};
use crate::base::{Email, Id};
use crate::crypto::digest::base64url;
use crate::store::Error;

/// Whom a login is for.
#[derive(Debug, Clone, Copy)]
pub enum Identified<'a> {
    /// Whoever's passkey answers.
    ByPasskey,
    /// The account with this address, if there is one.
    ByEmail(&'a Email),
}

/// Asks for a passkey. The question is the same for every account, and for none; `None` where nobody
/// can have one here.
///
/// # Errors
/// The store, or a configuration that was never checked.
pub async fn begin_login(app: &App, site: Id, whom: Identified<'_>) -> Result<Option<Begun>, Error> {
    let Some(judge) = ceremony::judge(app)? else { return Ok(None) };
    let account = match whom {
        Identified::ByPasskey => NONE,
        Identified::ByEmail(email) => {
            let reference = account::Reference::Email(email.clone());
            let found = account::find(&app.db, site, &reference).await?;
            // Where there is none, an id that nothing has: no answer is right.
            found.map_or_else(|| app.new_id(), |account| account.id)
        }
    };
    let (asked, state) = judge.start_discoverable_authentication().map_err(|cause| fault(&cause))?;
    let mut options = serde_json::to_value(asked.public_key).unwrap_or_default();
    options["allowCredentials"] = Value::Array(Vec::new());
    let with = With { site, account, session: NONE };
    Ok(Some(Begun { challenge_id: ceremony::seal(app, Purpose::LogIn, with, &state)?, options }))
}

/// What an answer proves: that somebody holds this passkey now, and is who may use it.
#[derive(Debug)]
pub struct Proof {
    pub account: Id,
    passkey: Id,
    /// The credential id, as clients write it.
    pub credential: String,
    key: Key,
    counter: u32,
}

/// A passkey that did not count on.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    pub account: Id,
    passkey: Id,
    counted: u32,
}

/// Why an answer proves nothing.
#[derive(Debug)]
pub enum Unproved {
    /// Nobody can have a passkey here.
    Off,
    /// Whose passkey it was that did not prove it, where that is known.
    Wrong {
        account: Option<Id>,
    },
    /// The answer was right, and may have come from a copy.
    Regressed(Regression),
    Store(Error),
}

impl From<Error> for Unproved {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Judges an answer, and uses the challenge up whatever comes of it.
///
/// # Errors
/// [`Unproved`].
pub async fn check(app: &App, site: Id, presented: Presented) -> Result<Proof, Unproved> {
    let judge = ceremony::judge(app)?.ok_or(Unproved::Off)?;
    let asked = ceremony::take::<DiscoverableAuthentication>(app, Purpose::LogIn, &presented.challenge_id);
    let nobody = || Unproved::Wrong { account: None };
    let (with, state) = asked.await?.ok_or_else(nobody)?;
    if (with.site, with.session) != (site, NONE) {
        return Err(nobody());
    }
    let Ok(answer) = serde_json::from_value::<PublicKeyCredential>(presented.credential) else {
        return Err(nobody());
    };
    let digest = digest_of(answer.get_credential_id());
    let row = store::by_digest(&app.db, site, &digest).await?.ok_or_else(nobody)?;
    let wrong = || Unproved::Wrong { account: Some(row.account_id) };
    if is_framed(&answer) || !is_theirs(&answer, &row, with) {
        return Err(wrong());
    }
    let mut key = key_of(&row)?;
    match judge.finish_discoverable_authentication_v2(&answer, state, &key) {
        Ok(result) => {
            key.update_credential(&result);
            Ok(proof(&row, key, &result))
        }
        Err(WebauthnError::CredentialPossibleCompromise) => {
            let (account, passkey, counted) = (row.account_id, row.id, counted(&answer));
            Err(Unproved::Regressed(Regression { account, passkey, counted }))
        }
        Err(why) => {
            tracing::info!(account = %row.account_id, %why, "a passkey was refused");
            Err(wrong())
        }
    }
}

/// What the authenticator says how often it has signed: after 32 bytes of digest and one of flags.
fn counted(answer: &PublicKeyCredential) -> u32 {
    let bytes: Option<&[u8; 4]> =
        answer.response.authenticator_data.as_slice().get(33..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Whether another site had framed the page that asked, as the browser says.
fn is_framed(answer: &PublicKeyCredential) -> bool {
    let said: Option<Value> = serde_json::from_slice(&answer.response.client_data_json).ok();
    said.is_none_or(|said| said.get("crossOrigin").is_some_and(|framed| *framed != Value::Bool(false)))
}

/// Whether it is the passkey of whom the challenge was for, and says so itself where nobody else did.
fn is_theirs(answer: &PublicKeyCredential, row: &Row, with: With) -> bool {
    let owner = row.account_id.as_u128().to_be_bytes();
    let says_so = answer.get_user_unique_id().map(|handle| handle == owner);
    if with.account == NONE {
        says_so == Some(true)
    } else {
        with.account == row.account_id && says_so != Some(false)
    }
}

fn proof(row: &Row, key: Key, result: &AuthenticationResult) -> Proof {
    let credential = base64url(key.cred_id().as_slice());
    Proof { account: row.account_id, passkey: row.id, credential, key, counter: result.counter() }
}

/// Whether a proof opened something.
#[derive(Debug)]
pub enum Spent {
    Yes,
    /// The passkey was removed.
    Gone,
    /// Another login counted as far first.
    Regressed(Regression),
}

/// Notes that a passkey was used, which counts it on.
pub async fn spend(change: &mut Change<'_>, proof: &Proof) -> Result<Spent, Error> {
    let (now, credential) = (change.now(), text_of(&proof.key)?);
    if store::note_use(change.tx(), proof.passkey, &credential, proof.counter, now).await? > 0 {
        return Ok(Spent::Yes);
    }
    let Proof { account, passkey, counter: counted, .. } = *proof;
    let is_there = store::is_there(change.tx(), passkey).await?;
    Ok(if is_there { Spent::Regressed(Regression { account, passkey, counted }) } else { Spent::Gone })
}

/// Raises the alarm: writes it down, which tells the owner.
pub async fn note_regression(app: &App, actor: Actor, what: Regression) -> Result<(), Error> {
    let Regression { account, passkey, counted } = what;
    let mut change = app.change(actor).await?;
    change.record(PasskeyEvent::Regressed { account, passkey, counted }).await?;
    change.commit().await
}
