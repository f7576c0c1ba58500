//! Minting: from what a human asks to delegate to a token that is shown once.
//!
//! Law: the human holds every code at that moment, globally or, where an organization is named,
//! there (by the tree); codes that nothing defines are held by nobody. A token that was being
//! minted when the kill switch was thrown is not minted.

use std::time::Duration;

use super::{AgentToken, Limits, SERIES, Status, store};
use crate::account;
use crate::app::App;
use crate::audit::{Actor, AgentEvent};
use crate::base::{Id, Random, Secret};
use crate::crypto::token::TokenDigest;
use crate::organization::OrgContext;
use crate::policy::{Catalogue, Code};
use crate::principal::Principal;
use crate::session;
use crate::shared::Allowance;
use crate::store::Error;

/// Characters of a token: letters and digits, some 285 bits.
pub const TEXT_LEN: usize = 48;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What a human asks to delegate.
#[derive(Debug)]
pub struct Mint<'a> {
    pub human: &'a Principal,
    /// What the human is in the organization that the delegation is for.
    pub organization: Option<&'a OrgContext>,
    pub application: Option<Id>,
    pub agent: String,
    pub permissions: Vec<Code>,
    pub limits: Limits,
    pub lifetime: Duration,
}

/// Why nothing was minted.
#[derive(Debug)]
pub enum MintError {
    /// No permission was named.
    Empty,
    /// The human does not hold these, or nothing defines them. Not told apart.
    NotHeld(Vec<Code>),
    /// The human may not act any more.
    Refused,
    /// As many tokens of this human are alive as may be.
    TooMany,
    /// Everything was stopped while this was being minted.
    Killed,
    Store(Error),
}

impl From<Error> for MintError {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Mints a token. Its text is in the answer and nowhere else.
///
/// # Errors
/// [`MintError`]; nothing is then stored.
pub async fn mint(app: &App, actor: Actor, ask: Mint<'_>) -> Result<(AgentToken, Secret<String>), MintError> {
    let kills = store::kills(&app.db, ask.human.account.id).await?;
    mint_since(app, actor, ask, kills).await
}

/// The same, knowing how often the kill switch had been thrown when it was asked for.
pub(super) async fn mint_since(
    app: &App,
    actor: Actor,
    mut ask: Mint<'_>,
    kills: i64,
) -> Result<(AgentToken, Secret<String>), MintError> {
    ask.permissions.sort_unstable();
    ask.permissions.dedup();
    if ask.permissions.is_empty() {
        return Err(MintError::Empty);
    }
    let missing = not_held(&app.catalogue(), ask.human, ask.organization, &ask.permissions);
    if !missing.is_empty() {
        return Err(MintError::NotHeld(missing));
    }
    let account = ask.human.account.id;
    let text = text(app.random.as_ref());
    let mut change = app.change(actor).await?;
    // The account's row first, as everywhere: the kill switch holds it too.
    if !account::hold(&mut change, account).await? {
        return Err(MintError::Refused);
    }
    // A logout that came first ends what the session was about to delegate.
    let session = session::by_id(change.tx(), ask.human.session.sid).await?;
    let Some(session) = session.filter(|session| session.is_alive(change.now())) else {
        return Err(MintError::Refused);
    };
    if store::kills(change.tx(), account).await? != kills {
        return Err(MintError::Killed);
    }
    let (id, now) = (change.new_id(), change.now());
    let most = app.config().agents.max_tokens;
    if most > 0 && store::count_alive(change.tx(), account, now).await? >= i64::from(most) {
        return Err(MintError::TooMany);
    }
    let token = AgentToken {
        id,
        number: change.number(SERIES).await?,
        site: ask.human.account.site,
        agent: ask.agent,
        account,
        application: ask.application,
        organization: ask.organization.map(|organization| organization.id),
        permissions: ask.permissions,
        status: Status::Active,
        suspended_reason: None,
        granted: Allowance::default(),
        heartbeat_at: ask.limits.heartbeat_every.map(|_| now),
        heartbeat_due_at: ask.limits.due_after(now),
        limits: ask.limits,
        method: session.method,
        authenticated_at: session.authenticated_at,
        has_second_factor: session.second_factor_at.is_some(),
        resumes: 0,
        resumed_at: None,
        created_at: now,
        expires_at: now.plus(ask.lifetime),
        suspended_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    store::insert(change.tx(), &token, TokenDigest::of(text.expose()).as_str()).await?;
    let (agent, permissions) = (token.agent.clone(), token.permissions.clone());
    let event =
        AgentEvent::Minted { of: token.delegation(), agent, permissions, expires_at: token.expires_at };
    change.record(event).await?;
    change.commit().await?;
    Ok((token, text))
}

/// The codes among these that the human does not hold now.
fn not_held(
    catalogue: &Catalogue,
    human: &Principal,
    organization: Option<&OrgContext>,
    codes: &[Code],
) -> Vec<Code> {
    let definitions = catalogue.definitions();
    let holds = |code: &Code| match organization {
        Some(there) => definitions.knows_org_permission(code) && there.may(code, &definitions.org_roles),
        None => catalogue.permission(code).is_some() && human.rights.holds_code(code),
    };
    codes.iter().filter(|code| !holds(code)).cloned().collect()
}

/// A token that nobody has seen. Bytes that would make some letters likelier are thrown away.
fn text(random: &dyn Random) -> Secret<String> {
    let mut text = String::with_capacity(TEXT_LEN);
    let mut bytes = [0u8; 64];
    while text.len() < TEXT_LEN {
        random.fill(&mut bytes);
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < 62 * 4);
        let letters = fair.map(|byte| char::from(ALPHABET[byte % 62]));
        text.extend(letters.take(TEXT_LEN - text.len()));
    }
    zeroize::Zeroize::zeroize(&mut bytes);
    Secret::new(text)
}
