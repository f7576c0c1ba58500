//! One-time codes: six digits that prove that an address or a number is theirs who typed them.
//!
//! Law: a code counts for one purpose, one channel, one account and the one place it was sent to,
//! for minutes, and once. Five wrong tries end it, and a new code does not bring them back. Only a
//! keyed digest is stored; the digits themselves leave through the outbox and nowhere else.

mod contact;
mod digits;
mod http;
mod store;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::account::{Account, Target};
use crate::app::{App, Change};
use crate::audit::{AccountEvent, Actor, Contact, Event};
use crate::base::{Id, Secret, Timestamp};
use crate::config::{CODE_TEMPLATES, Notice};
use crate::crypto::token::{Token, TokenDigest};
use crate::notify::{self, Letter, Message, Occasion, Words};
use crate::store::{Error, FromRow, Source};

pub use contact::ask;
pub use digits::{Digits, NotDigits};
pub use http::{confirm_contact, rows, send_contact_code};

/// Wrong tries before a code is worth nothing.
const TRIES: i64 = 5;
/// Codes that one account is sent on one channel for one purpose, and one address or number to be proved,
/// before [`FORGOTTEN_AFTER`].
const SENDS: i64 = 5;
/// The shortest time between two of them.
pub const COOL_DOWN: Duration = Duration::from_mins(1);
/// How long tries and sendings are counted, from the first sending on.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An address or number is to count as the account's own.
    Contact,
    /// A forgotten password is to be replaced.
    Reset,
    /// Somebody wants to log in.
    Login,
    /// The same, by following a link.
    Link,
}

impl Purpose {
    /// The word in the store and in the audit trail.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Reset => "reset",
            Self::Login => "login",
            Self::Link => "link",
        }
    }

    /// The template of what it is told by.
    const fn template(self) -> &'static str {
        let [contact, reset, login, link] = CODE_TEMPLATES;
        match self {
            Self::Contact => contact,
            Self::Reset => reset,
            Self::Login => login,
            Self::Link => link,
        }
    }
}

/// Which code of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    pub account: Id,
    pub purpose: Purpose,
    pub channel: Contact,
}

/// Something that a person is to be sent.
#[derive(Debug)]
pub struct Errand<'a> {
    pub account: &'a Account,
    pub purpose: Purpose,
    pub to: &'a Target,
    pub form: Form<'a>,
}

/// In what form it goes out. Pages are the configuration's; links go out by mail alone.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    Code,
    /// A code, and a link to this page that does the same.
    CodeAndLink(&'a str),
    /// A link to this page and no code, for whom this application asked.
    Link {
        page: &'a str,
        application: Option<Id>,
    },
}

impl<'a> Form<'a> {
    const fn page(self) -> Option<&'a str> {
        match self {
            Self::Code => None,
            Self::CodeAndLink(page) | Self::Link { page, .. } => Some(page),
        }
    }

    /// How long what goes out now is good for.
    #[must_use]
    pub fn valid_for(self, app: &App) -> Duration {
        let login = &app.config().login;
        match self {
            Self::Code | Self::CodeAndLink(_) => login.otp.valid_for,
            Self::Link { .. } => login.magic_link.valid_for,
        }
    }
}

/// A code that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub id: Id,
    pub expires_at: Timestamp,
}

/// Why no code is on its way.
#[derive(Debug)]
pub enum NotSent {
    /// One was sent a moment ago, or enough for now.
    TooSoon {
        until: Timestamp,
    },
    /// The configuration sends no mail, or no text messages.
    NoWay,
    Store(Error),
}

impl From<Error> for NotSent {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// A code as stored.
#[derive(FromRow)]
struct Stored {
    id: Id,
    code_digest: String,
    target: String,
    used_at: Option<Timestamp>,
    tries: i64,
    sent_at: Timestamp,
    sends: i64,
    forget_at: Timestamp,
}

/// Whether a code can be sent on this channel at all.
#[must_use]
pub fn has_way(app: &App, channel: Contact) -> bool {
    let config = app.config();
    match channel {
        Contact::Email => config.mail.is_some(),
        Contact::Phone => config.sms.is_some(),
    }
}

/// Puts a new code into the outbox; the one before it counts no more.
///
/// # Errors
/// [`NotSent`]; the change may go on without it.
pub async fn send(change: &mut Change<'_>, errand: &Errand<'_>) -> Result<Sent, NotSent> {
    let (app, now) = (change.app(), change.now());
    let Errand { account, purpose, to, form } = *errand;
    if !has_way(app, to.contact()) {
        return Err(NotSent::NoWay);
    }
    let which = Which { account: account.id, purpose, channel: to.contact() };
    let digits = Digits::generate(app.random.as_ref());
    let sent = Sent { id: change.new_id(), expires_at: now.plus(form.valid_for(app)) };
    let (code_digest, application) = match form {
        Form::Code | Form::CodeAndLink(_) => (digest(app, which, sent.id, &digits), None),
        // No digits have this digest.
        Form::Link { application, .. } => (String::new(), application),
    };
    let token =
        form.page().filter(|_| to.contact() == Contact::Email).map(|_| Token::generate(app.random.as_ref()));
    let link_digest = token.as_ref().map(Token::digest);
    let link_digest = link_digest.as_ref().map(TokenDigest::as_str);
    let (code_digest, target) = (code_digest.as_str(), to.as_str());
    let new = store::New { sent, code_digest, link_digest, application, target, now };
    if !store::may_send(change.tx(), which, &new).await? {
        let stored = store::find(change.tx(), which).await?;
        return Err(too_soon(stored.map(|stored| (stored.sends, stored.sent_at, stored.forget_at)), now));
    }
    // What an account has is nobody else's, and what is sent there tells nothing about anybody's.
    if purpose == Purpose::Contact && account.has(to.contact()).as_ref() != Some(to) {
        note_target(change, account.site, to).await?;
    }
    if store::replace(change.tx(), which, &new).await? == 0 {
        return Err(too_soon(None, now));
    }
    tell(change, errand, sent, &digits, token.as_ref()).await?;
    let (purpose, contact) = (purpose.name(), to.contact());
    change.record(AccountEvent::CodeSent { account: account.id, purpose, contact }).await?;
    Ok(sent)
}

/// Puts the words into the outbox.
async fn tell(
    change: &mut Change<'_>,
    errand: &Errand<'_>,
    sent: Sent,
    digits: &Digits,
    token: Option<&Token>,
) -> Result<(), Error> {
    let Errand { account, purpose, to, form } = *errand;
    let (host, expires_at) = (change.app().config().public_url.host.clone(), sent.expires_at);
    let occasion = Occasion {
        notice: Notice::Code,
        site: account.site,
        key: sent.id.to_string(),
        until: Some(expires_at),
    };
    let link = form.page().zip(token).map(|(page, token)| notify::with_token(page, token));
    let code = if matches!(form, Form::Link { .. }) { "" } else { digits.expose() };
    let until = notify::clock(expires_at);
    let shown = link.as_ref().map_or("", |link| link.expose().as_str());
    let facts = [("code", code), ("link", shown), ("until", until.as_str())];
    let words = Words::with(purpose.template(), Notice::Code, &facts);
    match to {
        Target::Email(email) => {
            let (subject, text) = match (form, &link) {
                (Form::Link { .. }, Some(link)) => words::invitation(&host, link, expires_at),
                (_, link) => {
                    let (link, until) = (link.as_ref(), expires_at);
                    words::Letter { purpose, host: &host, digits, link, until }.write()
                }
            };
            let letter = Letter { account: Some(account.id), to: email.clone(), subject, text };
            notify::write_as(change, &occasion, letter, &words).await
        }
        Target::Phone(phone) => {
            let text = words::message(&host, digits);
            let message = Message { account: account.id, to: phone.clone(), text };
            notify::text_as(change, &occasion, message, &words).await
        }
    }
}

/// Counts a code for an address or number that is only wished for by where it goes: anybody can wish for
/// somebody else's, in as many accounts as they like.
async fn note_target(change: &mut Change<'_>, site: Id, to: &Target) -> Result<(), NotSent> {
    use crate::crypto::digest::{hex, hmac_sha256};
    let now = change.now();
    let key = change.app().seal.derive("targets of codes");
    let text = format!("{site}:{}:{}", to.contact().name(), to.as_str());
    let digest = hex(&hmac_sha256(key.expose(), text.as_bytes()));
    if store::note_target(change.tx(), &digest, now).await? > 0 {
        return Ok(());
    }
    Err(too_soon(store::target(change.tx(), &digest).await?, now))
}

/// When the next may be sent where so many were, the last one then, and all are forgotten then.
fn too_soon(counted: Option<(i64, Timestamp, Timestamp)>, now: Timestamp) -> NotSent {
    let until = match counted {
        Some((sends, _, forget_at)) if sends >= SENDS => forget_at,
        Some((_, sent_at, _)) => sent_at.plus(COOL_DOWN),
        None => now.plus(COOL_DOWN),
    };
    NotSent::TooSoon { until }
}

/// What a link proves that was sent and neither used nor replaced, and whose time is not over.
///
/// # Errors
/// The store's.
pub async fn by_link(
    src: impl Source,
    purpose: Purpose,
    token: &Secret<String>,
    now: Timestamp,
) -> Result<Option<Proof>, Error> {
    store::by_link(src, purpose, &TokenDigest::of(token.expose()), now).await
}

/// Ends the links that were sent, and the codes for another password: this one is newer.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        if let Event::Account(AccountEvent::PasswordChanged { account, .. }) = event {
            let now = change.now();
            for purpose in [Purpose::Reset, Purpose::Link] {
                store::end_all(change.tx(), *account, purpose, now).await?;
            }
        }
        Ok(())
    })
}

/// Removes every code of an account that is gone.
pub async fn erase(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    store::erase(change.tx(), account).await
}

/// A code or link that was right a moment ago; [`spend`] it in the change that it is for.
#[derive(Debug)]
pub struct Proof {
    which: Which,
    id: Id,
    target: String,
    application: Option<Id>,
}

impl Proof {
    /// Whose code it was.
    #[must_use]
    pub const fn account(&self) -> Id {
        self.which.account
    }

    /// By what it went out.
    #[must_use]
    pub const fn contact(&self) -> Contact {
        self.which.channel
    }

    /// The address or number that the code went to.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The application that asked for the link, where one did.
    #[must_use]
    pub const fn application(&self) -> Option<Id> {
        self.application
    }

    /// Tells this proof from every other one.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }
}

/// Why a code proves nothing.
#[derive(Debug)]
pub enum Refused {
    /// None was sent, or it was used.
    Unknown,
    /// Its time or its tries are over.
    Over,
    /// It is another one; so many tries are left.
    Wrong {
        left: i64,
    },
    Store(Error),
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Compares a code with the one that was sent. A wrong one costs a try, whatever comes after.
///
/// # Errors
/// [`Refused`].
pub async fn check(app: &App, which: Which, digits: &Digits, actor: Actor) -> Result<Proof, Refused> {
    let mut change = app.change(actor).await?;
    let now = change.now();
    // The try is taken before anything is read, so that tries at once come one after the other.
    let taken = store::take_try(change.tx(), which, now).await? > 0;
    let Some(stored) = store::find(change.tx(), which).await? else { return Err(Refused::Unknown) };
    if !taken {
        let is_used = stored.used_at.is_some();
        return Err(if is_used { Refused::Unknown } else { Refused::Over });
    }
    if Secret::new(stored.code_digest) == Secret::new(digest(app, which, stored.id, digits)) {
        // Nothing is written: a right code costs no try.
        return Ok(Proof { which, id: stored.id, target: stored.target, application: None });
    }
    let (purpose, contact) = (which.purpose.name(), which.channel);
    let account = Some(which.account);
    change.record(AccountEvent::CodeRefused { account, purpose, contact }).await?;
    change.commit().await?;
    Err(Refused::Wrong { left: TRIES - stored.tries })
}

/// Uses a code up. `false` where somebody else did, or its time is over by now.
pub async fn spend(change: &mut Change<'_>, proof: &Proof) -> Result<bool, Error> {
    let now = change.now();
    Ok(store::spend(change.tx(), proof.which, proof.id, now).await? > 0)
}

/// The digest by which a code is known: of this code, sent to this account, for this purpose.
fn digest(app: &App, which: Which, id: Id, digits: &Digits) -> String {
    use crate::crypto::digest::{hex, hmac_sha256};
    let key = app.seal.derive("one-time codes");
    let (purpose, channel) = (which.purpose.name(), which.channel.name());
    let text = Secret::new(format!("{purpose}:{channel}:{}:{id}:{}", which.account, digits.expose()));
    hex(&hmac_sha256(key.expose(), text.expose().as_bytes()))
}

/// Removes some of the codes that have been over and forgotten for `retention.otp_codes`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let before = app.now().minus(retention.otp_codes);
    let gone = store::sweep(&mut tx, before, retention.batch).await?;
    let targets = store::sweep_targets(&mut tx, before, retention.batch).await?;
    tx.commit().await?;
    Ok(gone + targets)
}
