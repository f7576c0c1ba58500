//! Ceremonies: one question to an authenticator, and its answer.
//!
//! Law: what was asked travels with the client, sealed: nobody can read, choose or change it, and
//! asking writes nothing, however often strangers ask. It names its purpose, site, account and
//! session and ends after minutes. Answering uses it up, once on all replicas, right or wrong.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{Url, WebauthnError};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::crypto::digest::{base64url, unbase64url};
use crate::session::{self, Ticket};
use crate::store::Error;

/// How long somebody may take to find their device and touch it.
pub(super) const GOOD_FOR: Duration = Duration::from_mins(5);
/// Nobody, and no session: an id that nothing has.
pub(super) const NONE: Id = Id::from_u128(0);

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Register,
    LogIn,
}

impl Purpose {
    const fn context(self) -> &'static str {
        match self {
            Self::Register => "passkey:register",
            Self::LogIn => "passkey:log_in",
        }
    }
}

/// Whom a ceremony is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct With {
    pub(super) site: Id,
    /// [`NONE`] where the passkey is to say who it is.
    pub(super) account: Id,
    /// [`NONE`] where nobody is logged in.
    pub(super) session: Id,
}

/// What was asked. Its text is as long for one account as for another, and for none.
#[derive(Serialize, Deserialize)]
struct Asked<S> {
    ticket: Id,
    with: With,
    ends_at: Timestamp,
    state: S,
}

/// Seals what was asked, for the client to bring back.
pub(super) fn seal(app: &App, purpose: Purpose, with: With, state: &impl Serialize) -> Result<String, Error> {
    let asked = Asked { ticket: app.new_id(), with, ends_at: app.now().plus(GOOD_FOR), state };
    let plain = serde_json::to_vec(&asked).map_err(|cause| Error::Broken { cause: cause.to_string() })?;
    Ok(base64url(&app.seal.seal(app.random.as_ref(), purpose.context(), &plain)))
}

/// What was asked for this purpose, if it was and still counts. It does not any more.
pub(super) async fn take<S: DeserializeOwned>(
    app: &App,
    purpose: Purpose,
    text: &str,
) -> Result<Option<(With, S)>, Error> {
    let Some(asked) = open::<S>(app, purpose, text) else { return Ok(None) };
    if asked.ends_at <= app.now() {
        return Ok(None);
    }
    Ok(match session::use_ticket(&app.db, asked.ticket, asked.ends_at).await? {
        Ticket::Good => Some((asked.with, asked.state)),
        Ticket::UsedBefore => None,
    })
}

fn open<S: DeserializeOwned>(app: &App, purpose: Purpose, text: &str) -> Option<Asked<S>> {
    let plain = app.seal.open(purpose.context(), &unbase64url(text)?).ok()?;
    serde_json::from_slice(plain.expose()).ok()
}

/// What checks answers, for the domain and the pages of the configuration; `None` where it names none.
pub(super) fn judge(app: &App) -> Result<Option<Webauthn>, Error> {
    let config = app.config();
    let Some(settings) = &config.login.passkeys else { return Ok(None) };
    let broken = |cause: String| Error::Broken { cause };
    let mut origins = Vec::with_capacity(settings.origins.len());
    for origin in &settings.origins {
        origins.push(Url::parse(origin).map_err(|cause| broken(format!("{origin}: {cause}")))?);
    }
    let first = origins.first().ok_or_else(|| broken("no origin for passkeys".to_owned()))?;
    let builder = WebauthnBuilder::new(&settings.rp_id, first).map_err(|cause| fault(&cause))?;
    let builder = builder.rp_name(&config.accounts.totp_issuer).timeout(GOOD_FOR);
    let builder = origins.iter().skip(1).fold(builder, WebauthnBuilder::append_allowed_origin);
    builder.build().map(Some).map_err(|cause| fault(&cause))
}

/// What cannot fail by anything that a client says.
pub(super) fn fault(cause: &WebauthnError) -> Error {
    Error::Broken { cause: format!("webauthn: {cause}") }
}
