//! The endpoints of connections: which identities open my account, one more, one less.
//!
//! Law: an open session is not enough to give an account another way in, nor to take one away: it takes
//! a fresh proof. The last way in is never taken away, however many are taken away at once.

use schemars::JsonSchema;
use serde::Serialize;

use super::by_social_http::{Given, establish, provider};
use super::step::step_up;
use super::{by_code, links_are_open};
use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{Actor, EndReason};
use crate::base::{Id, Number, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::directory;
use crate::http::{
    ApiError, Bucket, Call, Created, ErrorCode as Code, Fields, FromFields, Json, Nothing, Row, del, get,
    post,
};
use crate::passkey;
use crate::session;
use crate::social::{self, Connection, Identity, NotConnected, Owner, Whose};
use crate::store::{Error, Source};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/social/connections/", list).person().about("The identities that open my account"),
        post("/social/{provider}/link/", link)
            .person()
            .limit(Bucket::Password)
            .codes(&[
                Code::ProviderNotSupported,
                Code::MissingCredentials,
                Code::RedirectUriRequired,
                Code::InvalidRedirectUri,
                Code::CodeExchangeFailed,
                Code::ProviderAuthFailed,
                Code::ProviderUnavailable,
                Code::SocialAlreadyLinked,
                Code::MfaRequired,
                Code::ReauthenticationRequired,
                Code::ReauthRequired,
                Code::InvalidPassword,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["social_connected", "login_failed", "account_locked"])
            .about("Let another identity open my account"),
        del("/social/connections/{id}/", unlink)
            .person()
            .limit(Bucket::Password)
            .codes(&[
                Code::NotFound,
                Code::LastFactor,
                Code::MfaRequired,
                Code::ReauthenticationRequired,
                Code::ReauthRequired,
                Code::InvalidPassword,
                Code::AccountLocked,
                Code::Overloaded,
            ])
            .audited(&["social_disconnected", "session_ended", "login_failed", "account_locked"])
            .about("Let an identity open my account no more"),
    ]
}

/// An identity that opens the account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SocialConnection")]
pub(super) struct Shown {
    id: String,
    provider: String,
    /// What the provider said when it was connected.
    email: Option<String>,
    /// RFC 3339, UTC.
    connected_at: String,
    last_used_at: String,
    /// Whether the configuration still knows the provider.
    is_usable: bool,
}

impl Shown {
    fn of(app: &App, connection: &Connection) -> Self {
        Self {
            id: connection.id.to_string(),
            provider: connection.provider.clone(),
            email: connection.email.as_ref().map(ToString::to_string),
            connected_at: connection.created_at.rfc3339(),
            last_used_at: connection.used_at.rfc3339(),
            is_usable: is_usable(app, connection),
        }
    }
}

/// Whether the provider is still the one that it was.
#[must_use]
pub fn is_usable(app: &App, connection: &Connection) -> bool {
    let config = app.config();
    if directory::is_usable(&config, connection) {
        return true;
    }
    config.login.social.get(&connection.provider).is_some_and(|provider| {
        let own = if provider.kind().has_id_tokens() { &provider.issuer } else { &provider.site };
        // Microsoft's tenants are under one issuer, which is not the one of the configuration.
        own.as_ref() == Some(&connection.issuer) || connection.issuer.contains("{tenantid}")
    })
}

async fn list(call: Call, _: Nothing) -> Result<Json<Vec<Shown>>, ApiError> {
    let account = call.person()?.account.id;
    let all = social::connections(&call.app.db, account).await?;
    Ok(Json(all.iter().map(|connection| Shown::of(&call.app, connection)).collect()))
}

/// What a provider gave, and the password where the login is not fresh.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SocialLink")]
struct Wanted {
    #[schemars(flatten)]
    given: Given,
    /// Asked for where the login is older than 15 minutes and the account has no second factor.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let given = Given::from_fields(fields)?;
        Some(Self { given, password: password(fields) })
    }
}

/// The password where the login is not fresh.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SocialUnlink")]
struct Sure {
    /// Asked for where the login is older than 15 minutes and the account has no second factor.
    #[schemars(skip_serializing_if = "Option::is_none")]
    password: Option<Secret<String>>,
}

impl FromFields for Sure {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { password: password(fields) })
    }
}

fn password(fields: &mut Fields) -> Option<Secret<String>> {
    let given = fields.optional("password").max(MAX_BYTES).or_null().or_blank().secret();
    given.filter(|password| !password.expose().is_empty())
}

async fn link(call: Call, Json(body): Json<Wanted>) -> Result<Created<Shown>, ApiError> {
    let provider = provider(&call)?;
    let account = proved(&call, body.password).await?;
    let identity = establish(&call, &provider, &body.given).await?;
    connect(&call, &account, &provider.name, &identity).await
}

/// Lets an identity open the caller's account.
pub(super) async fn connect(
    call: &Call,
    account: &Account,
    name: &str,
    identity: &Identity,
) -> Result<Created<Shown>, ApiError> {
    let owner = Owner { account: account.id, session: call.person()?.session.sid };
    let made = connected(&call.app, call.actor(), account.site, owner, name, identity).await?;
    Ok(Created(Shown::of(&call.app, &made)))
}

/// Lets an identity open an account of a site, for its owner, who has just proved who they are: in a session
/// that goes on yet, for a provider may have taken its time, and whoever was logged out meanwhile adds no way in.
pub(super) async fn connected(
    app: &App,
    actor: Actor,
    site: Id,
    Owner { account, session }: Owner,
    name: &str,
    identity: &Identity,
) -> Result<Connection, ApiError> {
    let mut change = app.change(actor).await?;
    held(&mut change, account).await?;
    let (own, now) = (session::by_id(change.tx(), session).await?, change.now());
    if !own.is_some_and(|own| own.account == account && own.is_alive(now)) {
        return Err(ApiError::new(Code::Unauthorized).saying("Invalid or expired token"));
    }
    match social::connect(&mut change, (site, account), name, identity, Whose::Account).await {
        Ok(_) => {}
        Err(NotConnected::Taken) => return Err(ApiError::new(Code::SocialAlreadyLinked)),
        Err(NotConnected::Store(cause)) => return Err(cause.into()),
    }
    let made = social::find(change.tx(), site, &identity.issuer, &identity.subject).await?;
    let made = made.ok_or_else(|| ApiError::internal("a connection is gone that was just made"))?;
    change.commit().await?;
    Ok(made)
}

/// Something was done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SocialUnlinked")]
struct Done {
    message: &'static str,
}

async fn unlink(call: Call, Json(body): Json<Sure>) -> Result<Json<Done>, ApiError> {
    own(&call).await?;
    proved(&call, body.password).await?;
    disconnect(&call, call.person()?.session.sid).await?;
    Ok(Json(Done { message: "Disconnected" }))
}

/// The connection of the caller's that the path names as `id`.
async fn own(call: &Call) -> Result<Id, ApiError> {
    let missing = || ApiError::new(Code::NotFound);
    let id: Id = call.param("id")?.parse().map_err(|_| missing())?;
    let all = social::connections(&call.app.db, call.person()?.account.id).await?;
    if all.iter().any(|connection| connection.id == id) { Ok(id) } else { Err(missing()) }
}

/// Takes away the connection of the caller's that the path names as `id`, unless it is the only way in; the
/// caller has proved just now who they are. Of their sessions, `kept` goes on.
///
/// # Errors
/// What the endpoint answers.
pub async fn disconnect(call: &Call, kept: Id) -> Result<(), ApiError> {
    let missing = || ApiError::new(Code::NotFound);
    let (id, account) = (own(call).await?, call.person()?.account.id);
    let mut change = call.app.change(call.actor()).await?;
    // From here on whatever opens this account is added and taken away one after the other.
    held(&mut change, account).await?;
    let account = account::by_id(change.tx(), account).await?.ok_or_else(missing)?;
    let all = social::connections(change.tx(), account.id).await?;
    let own = all.iter().find(|connection| connection.id == id).ok_or_else(missing)?;
    if is_only_way_in(&call.app, change.tx(), &account, &all, id).await? {
        return Err(ApiError::new(Code::LastFactor));
    }
    if !social::disconnect(&mut change, own).await? {
        return Err(missing());
    }
    // Who came in by it must not stay in.
    session::end_others(&mut change, account.id, kept, EndReason::ConnectionRemoved).await?;
    change.commit().await?;
    Ok(())
}

/// Whether nobody could log in to this account any more without this one of all its connections.
///
/// # Errors
/// The store's.
pub async fn is_only_way_in(
    app: &App,
    src: impl Source,
    account: &Account,
    all: &[Connection],
    id: Id,
) -> Result<bool, Error> {
    let others: Vec<_> = all.iter().filter(|connection| connection.id != id).cloned().collect();
    if has_way_in(app, account, &others) {
        return Ok(false);
    }
    Ok(app.config().login.passkeys.is_none() || passkey::count_of(src, account.id).await? == 0)
}

/// Whether somebody could still log in to this account with these connections, passkeys left aside.
fn has_way_in(app: &App, account: &Account, connections: &[Connection]) -> bool {
    let has_code = by_code::is_open(app) && account.phone.is_some() && account.is_phone_verified;
    let has_link = links_are_open(app) && account.email.is_some() && account.is_email_verified;
    account.password_hash.is_some()
        || has_code
        || has_link
        || connections.iter().any(|connection| is_usable(app, connection))
}

/// Removes a passkey, unless it is the only way in to the account.
///
/// # Errors
/// What the client is told.
pub async fn remove_passkey(
    change: &mut Change<'_>,
    account: Id,
    kept: Id,
    number: Number,
) -> Result<(), ApiError> {
    // From here on whatever opens this account is added and taken away one after the other.
    held(change, account).await?;
    let own = account::by_id(change.tx(), account).await?.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let connections = social::connections(change.tx(), account).await?;
    let has_other_way = has_way_in(change.app(), &own, &connections);
    Ok(passkey::remove(change, account, kept, number, has_other_way).await?)
}

async fn held(change: &mut Change<'_>, account: Id) -> Result<(), ApiError> {
    let is_held: Result<bool, Error> = account::hold(change, account).await;
    if is_held? { Ok(()) } else { Err(ApiError::new(Code::Unauthorized).saying("Invalid or expired token")) }
}

/// The caller's account, once they have shown just now that it is them.
pub(super) async fn proved(call: &Call, password: Option<Secret<String>>) -> Result<Account, ApiError> {
    let person = call.person()?;
    let gone = || ApiError::internal("the account of a live session is gone");
    let account = account::by_id(&call.app.db, person.account.id).await?.ok_or_else(gone)?;
    step_up(call, &account, password).await?;
    Ok(account)
}
