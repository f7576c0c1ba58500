//! What is between two requests of one browser: a login that was begun at a provider, and one that a
//! second factor is asked for yet.
//!
//! Law: it is sealed, so nothing of it can be read or chosen, on every replica alike; it is over after
//! minutes, and used once, which the store says. It opens something only for the browser that holds it.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq as _;

use super::{Address, Identity};
use crate::app::App;
use crate::base::{Email, Id, Secret, Timestamp};
use crate::crypto::digest::{base64url, sha256, unbase64url};
use crate::crypto::token::Token;

/// How long somebody may take at the provider.
pub const GOOD_FOR: Duration = Duration::from_mins(10);
/// How long somebody may look for the device with the codes.
pub const PENDING_FOR: Duration = Duration::from_mins(5);

const FLOW: &str = "social flow";
/// Another one, so that a gateway that knows nothing of these takes none for a login.
const LINK: &str = "social link";
const PENDING: &str = "social pending";

/// A login that was begun here and goes on at a provider.
#[derive(Serialize, Deserialize)]
pub struct Flow {
    pub provider: String,
    pub site: Id,
    /// What comes back with the browser.
    state: String,
    /// What comes back inside the ID token.
    pub(super) nonce: String,
    /// What only we can redeem the code with (RFC 7636).
    pub(super) verifier: String,
    /// The page that people wanted.
    pub next: String,
    /// Who wants one more way in to their account; nobody where somebody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    ends_at: i64,
}

/// Somebody who is logged in, and in which session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub account: Id,
    pub session: Id,
}

impl Flow {
    #[must_use]
    pub fn begin(app: &App, provider: &str, site: Id, next: &str) -> Self {
        let token = || Token::generate(app.random.as_ref()).expose().to_owned();
        let ends_at = app.now().plus(GOOD_FOR).as_millis();
        let (provider, next) = (provider.to_owned(), next.to_owned());
        let (state, nonce, verifier) = (token(), token(), token());
        Self { provider, site, state, nonce, verifier, next, owner: None, ends_at }
    }

    /// The same for somebody who wants one more way in.
    #[must_use]
    pub fn of(self, owner: Owner) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// The cookie in which the browser keeps it.
    #[must_use]
    pub fn seal(&self, app: &App) -> Secret<String> {
        seal(app, if self.owner.is_some() { LINK } else { FLOW }, self)
    }

    /// What a browser kept, if it is not over.
    #[must_use]
    pub fn open(app: &App, cookie: &str) -> Option<Self> {
        let login = open::<Self>(app, FLOW, cookie).filter(|flow| flow.owner.is_none());
        let flow = login.or_else(|| open::<Self>(app, LINK, cookie).filter(|flow| flow.owner.is_some()));
        flow.filter(|flow| Timestamp::from_millis(flow.ends_at) > app.now())
    }

    /// Whether this is what it was begun with.
    #[must_use]
    pub fn is_of(&self, provider: &str, state: &str) -> bool {
        let is_state: bool = self.state.as_bytes().ct_eq(state.as_bytes()).into();
        is_state && self.provider == provider
    }

    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// `code_challenge` with the method `S256`.
    pub(super) fn challenge(&self) -> String {
        base64url(&sha256(self.verifier.as_bytes()))
    }

    /// What it is remembered by once it was used.
    #[must_use]
    pub fn name(&self) -> String {
        format!("state:{}", self.state)
    }
}

/// Somebody whose identity was found good, and who has a second factor.
#[derive(Serialize, Deserialize)]
pub struct Pending {
    id: String,
    pub provider: String,
    pub site: Id,
    pub application: Option<Id>,
    pub account: Id,
    /// Of the identity.
    pub issuer: String,
    pub subject: String,
    /// What the provider has seen to be theirs.
    pub email: Option<String>,
    /// The page that people wanted.
    pub next: String,
    ends_at: i64,
}

/// Whose identity it is, and for what.
pub struct Of<'a> {
    pub provider: &'a str,
    pub site: Id,
    pub application: Option<Id>,
    pub account: Id,
    pub identity: &'a Identity,
    pub next: &'a str,
}

impl Pending {
    #[must_use]
    pub fn begin(app: &App, of: &Of<'_>) -> Self {
        Self {
            id: Token::generate(app.random.as_ref()).expose().to_owned(),
            provider: of.provider.to_owned(),
            site: of.site,
            application: of.application,
            account: of.account,
            issuer: of.identity.issuer.clone(),
            subject: of.identity.subject.clone(),
            email: match &of.identity.address {
                Address::Verified(email) => Some(email.to_string()),
                Address::Claimed(_) | Address::None | Address::Unverified => None,
            },
            next: of.next.to_owned(),
            ends_at: app.now().plus(PENDING_FOR).as_millis(),
        }
    }

    #[must_use]
    pub fn seal(&self, app: &App) -> Secret<String> {
        seal(app, PENDING, self)
    }

    /// What somebody kept, if it is not over.
    #[must_use]
    pub fn open(app: &App, text: &str) -> Option<Self> {
        open::<Self>(app, PENDING, text).filter(|own| Timestamp::from_millis(own.ends_at) > app.now())
    }

    /// The identity, as far as it matters to an account that is there.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let email = self.email.as_deref().and_then(|text| Email::parse(text).ok());
        Identity {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            address: email.map_or(Address::None, Address::Verified),
            first_name: String::new(),
            last_name: String::new(),
        }
    }

    /// What it is remembered by once it was used.
    #[must_use]
    pub fn name(&self) -> String {
        format!("pending:{}", self.id)
    }
}

fn seal<T: Serialize>(app: &App, context: &str, value: &T) -> Secret<String> {
    let plain = Secret::new(serde_json::to_vec(value).unwrap_or_default());
    Secret::new(base64url(&app.seal.seal(app.random.as_ref(), context, plain.expose())))
}

fn open<T: DeserializeOwned>(app: &App, context: &str, text: &str) -> Option<T> {
    let plain = app.seal.open(context, &unbase64url(text)?).ok()?;
    serde_json::from_slice(plain.expose()).ok()
}
