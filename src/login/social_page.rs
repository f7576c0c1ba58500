//! Logging in at a provider with a browser: going there, coming back, and the code of a second factor.
//!
//! Law: who comes back is who went: the browser holds what was sealed when it left, and what it brings
//! fits to that, once. A browser that went to one provider does not come back from another.

use std::net::IpAddr;

use super::by_password::{Entered, Visit};
use super::by_social::{Arrived, Guest, Refused, Voucher, log_in, note_disbelief};
use super::connections::connected;
use crate::app::App;
use crate::audit::Actor;
use crate::base::Secret;
use crate::config::Config;
use crate::factor::Code;
use crate::http::{ApiError, ErrorCode};
use crate::principal::Principal;
use crate::session::{Device, Method, Session};
use crate::social::{self, Failed, Flow, Identity, Owner, Pending, Use};

/// What a browser is told that came back to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// No such provider.
    NoProvider,
    /// The provider does not answer, or we cannot tell.
    NotNow,
    /// It is not what was begun here, not begun in this browser, or was used or is over.
    Over,
    /// The provider did not say who it is, or what it said was not believed.
    NotBelieved,
    Unverified,
    Exists,
    Closed,
    MayNot,
    TooMany,
    /// Another way in was wished for by somebody who is not logged in here any more.
    NotYou,
    /// What was to be one more way in opens an account already.
    Taken,
}

/// What came of it.
pub enum Outcome {
    /// Somebody is in, and goes on to the page that they wanted.
    In {
        session: Box<Session>,
        next: String,
    },
    /// A second factor is asked for; the browser keeps this meanwhile.
    CodeNeeded {
        kept: Secret<String>,
        is_wrong: bool,
    },
    /// The account of whoever is logged in has one more way in.
    Linked,
    Nothing(Nothing),
}

/// Where a provider sends people back to.
fn way_back(config: &Config, provider: &str) -> String {
    format!("{}/portcullis/social/{provider}/callback/", config.public_url)
}

/// Where a browser goes, and what it keeps meanwhile.
pub async fn begin_social(
    app: &App,
    provider: &str,
    actor: &Actor,
    next: &str,
) -> Result<(String, Secret<String>), Nothing> {
    go(app, Flow::begin(app, provider, actor.site, next)).await
}

/// The same for somebody who is logged in, has just proved who they are, and wants one more way in.
pub async fn begin_link(
    app: &App,
    provider: &str,
    actor: &Actor,
    owner: Owner,
) -> Result<(String, Secret<String>), Nothing> {
    go(app, Flow::begin(app, provider, actor.site, "").of(owner)).await
}

async fn go(app: &App, flow: Flow) -> Result<(String, Secret<String>), Nothing> {
    let provider = flow.provider.as_str();
    let found = social::provider(app, provider).map_err(nothing)?.ok_or(Nothing::NoProvider)?;
    let door = found.door(app.now(), &flow, &way_back(&app.config(), provider)).await.map_err(nothing)?;
    Ok((door, flow.seal(app)))
}

fn nothing(failed: Failed) -> Nothing {
    match failed {
        Failed::Unavailable(why) => {
            tracing::warn!(why, "a provider of identities cannot be asked");
            Nothing::NotNow
        }
        Failed::Code | Failed::Refused(_) | Failed::NotOffered => Nothing::NotBelieved,
    }
}

/// A browser that comes back.
pub struct CameBack<'a> {
    pub provider: &'a str,
    /// What it kept.
    pub kept: Option<&'a str>,
    pub state: &'a str,
    pub code: Option<Secret<String>>,
    /// Whose answer it is, as the answer says.
    pub issuer: Option<&'a str>,
    /// Who is logged in to our pages there.
    pub person: Option<&'a Principal>,
    pub device: Device,
    pub address: IpAddr,
    pub actor: Actor,
}

/// Lets somebody in who comes back from a provider, or gives them one more way in if that is what they left for.
pub async fn return_from_provider(app: &App, back: CameBack<'_>) -> Result<Outcome, ApiError> {
    let flow = back.kept.and_then(|kept| Flow::open(app, kept));
    let flow = flow.filter(|flow| flow.is_of(back.provider, back.state) && flow.site == back.actor.site);
    let Some(flow) = flow else { return Ok(Outcome::Nothing(Nothing::Over)) };
    // Before anybody is asked: of many that come back with one state, one is the first.
    if social::use_now(app, &flow.name(), app.now().plus(social::GOOD_FOR * 2)).await? == Use::Again {
        return Ok(Outcome::Nothing(Nothing::Over));
    }
    let found = match social::provider(app, back.provider) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Outcome::Nothing(Nothing::NoProvider)),
        Err(failed) => return Ok(Outcome::Nothing(nothing(failed))),
    };
    let now = app.now();
    let established = match &back.code {
        None => Err(Failed::Refused("the provider sent no code")),
        Some(code) => match found.is_sender(now, back.issuer).await {
            Ok(true) => found.redeem_own(now, &flow, code, &way_back(&app.config(), back.provider)).await,
            Ok(false) => Err(Failed::Refused("the answer is another provider's")),
            Err(failed) => Err(failed),
        },
    };
    let identity = match established {
        Ok(identity) => identity,
        Err(failed) => {
            if let Failed::Refused(why) = failed {
                tracing::info!(provider = back.provider, why, "a provider's word was not believed");
            }
            if matches!(failed, Failed::Refused(_) | Failed::Code) {
                note_disbelief(app, back.actor).await?;
            }
            return Ok(Outcome::Nothing(nothing(failed)));
        }
    };
    if let Some(owner) = flow.owner {
        return link(app, back, owner, &identity).await;
    }
    let guest =
        Guest { voucher: Voucher::of_provider(&found), identity, code: None, pending: None, next: flow.next };
    let CameBack { device, address, actor, .. } = back;
    Ok(arrive(app, guest, Visit { method: Method::Social, device, address, actor }).await)
}

/// Connects what the provider said with the account of whoever left for it, in the same session and no other.
async fn link(app: &App, back: CameBack<'_>, owner: Owner, identity: &Identity) -> Result<Outcome, ApiError> {
    let is_owner = |person: &&Principal| {
        (person.account.id, person.session.sid, person.session.scope) == (owner.account, owner.session, None)
    };
    let Some(person) = back.person.filter(is_owner) else { return Ok(Outcome::Nothing(Nothing::NotYou)) };
    match connected(app, back.actor, person.account.site, owner, back.provider, identity).await {
        Ok(_) => Ok(Outcome::Linked),
        Err(error) if error.code() == ErrorCode::Unauthorized => Ok(Outcome::Nothing(Nothing::NotYou)),
        Err(error) if error.code() == ErrorCode::SocialAlreadyLinked => Ok(Outcome::Nothing(Nothing::Taken)),
        Err(error) => Err(error),
    }
}

/// Lets somebody in who was asked for a code of the second factor.
pub async fn finish_social(
    app: &App,
    kept: Option<&str>,
    code: Option<Code>,
    device: Device,
    (address, actor): (IpAddr, Actor),
) -> Outcome {
    let pending = kept.and_then(|kept| Pending::open(app, kept));
    let pending = pending.filter(|own| own.site == actor.site && own.application == actor.application);
    let Some(pending) = pending else { return Outcome::Nothing(Nothing::Over) };
    let provider = match social::provider(app, &pending.provider) {
        Ok(Some(provider)) => provider,
        Ok(None) => return Outcome::Nothing(Nothing::NoProvider),
        Err(failed) => return Outcome::Nothing(nothing(failed)),
    };
    let (identity, next, sealed) = (pending.identity(), pending.next.clone(), pending.seal(app));
    let guest =
        Guest { voucher: Voucher::of_provider(&provider), identity, code, pending: Some(pending), next };
    let visit = Visit { method: Method::Social, device, address, actor };
    match arrive(app, guest, visit).await {
        Outcome::CodeNeeded { is_wrong, .. } => Outcome::CodeNeeded { kept: sealed, is_wrong },
        other => other,
    }
}

async fn arrive(app: &App, guest: Guest, visit: Visit) -> Outcome {
    use super::by_password::Refused as Login;
    let next = guest.next.clone();
    match log_in(app, guest, visit).await {
        Ok(Arrived { entered: Entered { session, .. }, .. }) => {
            Outcome::In { session: Box::new(session), next }
        }
        Err(Refused::CodeNeeded(pending)) => Outcome::CodeNeeded { kept: pending.seal(app), is_wrong: false },
        Err(Refused::Login(Login::SecondFactorWrong)) => {
            Outcome::CodeNeeded { kept: Secret::new(String::new()), is_wrong: true }
        }
        Err(Refused::Unverified) => Outcome::Nothing(Nothing::Unverified),
        Err(Refused::Exists) => Outcome::Nothing(Nothing::Exists),
        Err(Refused::Closed) => Outcome::Nothing(Nothing::Closed),
        Err(Refused::Login(refused)) => Outcome::Nothing(match refused {
            Login::Inactive | Login::Banned | Login::Locked { .. } => Nothing::MayNot,
            Login::SessionLimit | Login::DeviceLimit => Nothing::TooMany,
            Login::Wrong | Login::SecondFactorNeeded | Login::SecondFactorWrong => Nothing::Over,
            refused @ (Login::Overloaded | Login::NoKey | Login::Store(_)) => {
                tracing::warn!(?refused, "nobody can log in to pages");
                Nothing::NotNow
            }
        }),
    }
}
