//! Which application a request comes through, where one is asked for or named anyway.
//!
//! Law: keys that are sent must be right, also where none are asked for. A token opens only what
//! it was issued for: the application of its session is the one that presents it.

use std::sync::Arc;

use super::head::RequestHead;
use super::person::{Kind, Snapshot};
use super::record::ApplicationKeys;
use super::rejection::Rejection;
use super::route::{ApplicationUse, Route};
use super::world::World;
use super::{Gate, browser, credential};
use crate::config::Required;
use crate::http::row::Mount;
use crate::http::{Access, KeysAsked, Row};
use crate::principal::ApplicationFacts;

/// The application of a request to a built-in endpoint. Health, keys and pages stand at the root
/// and ask for none.
pub(super) async fn of_row(
    gate: &Gate,
    world: &World,
    head: &RequestHead,
    row: &Row,
) -> Result<Option<Arc<ApplicationFacts>>, Rejection> {
    let is_agents = credential::is_agents(head.presented.authorization.as_ref());
    match (row.mount(), world.config.applications.required) {
        (Mount::Root, _) => Ok(None),
        // An agent's token stands for the application that it was minted under.
        _ if row.access() == Access::Agent || (row.access() == Access::PersonOrAgent && is_agents) => {
            of(gate, head, ApplicationUse::Optional).await
        }
        (Mount::Profile(_), _) => of(gate, head, ApplicationUse::Optional).await,
        _ if row.keys_asked() == KeysAsked::No => of(gate, head, ApplicationUse::Optional).await,
        (Mount::Api, Required::Nowhere) => of(gate, head, ApplicationUse::Optional).await,
        (Mount::Api, Required::Api | Required::Everywhere) => of(gate, head, ApplicationUse::Required).await,
    }
}

/// The application of a request to a route.
pub(super) async fn of_route(
    gate: &Gate,
    head: &RequestHead,
    route: &Route,
) -> Result<Option<Arc<ApplicationFacts>>, Rejection> {
    // A browser that comes by itself sends no keys; whether somebody comes with it is known later.
    let wanted = if browser::comes(route, head) { ApplicationUse::Optional } else { route.application };
    of(gate, head, wanted).await
}

/// The application whose keys came with an agent's request.
pub(super) async fn of_agent(
    gate: &Gate,
    head: &RequestHead,
) -> Result<Option<Arc<ApplicationFacts>>, Rejection> {
    of(gate, head, ApplicationUse::Optional).await
}

async fn of(
    gate: &Gate,
    head: &RequestHead,
    wanted: ApplicationUse,
) -> Result<Option<Arc<ApplicationFacts>>, Rejection> {
    let presented = &head.presented;
    let Some(key) = &presented.access_key else {
        return match wanted {
            ApplicationUse::Optional => Ok(None),
            ApplicationUse::Required => Err(Rejection::ApplicationMissing),
        };
    };
    let (secret, origin) = (presented.access_secret.as_ref(), presented.origin.as_ref());
    gate.records.application(ApplicationKeys { key, secret, origin }).await.map(Some)
}

/// Whether the route gets the application that it asks for.
pub(super) fn check_required(route: &Route, application: Option<&ApplicationFacts>) -> Result<(), Rejection> {
    match (route.application, application) {
        (ApplicationUse::Required, None) => Err(Rejection::ApplicationMissing),
        _ => Ok(()),
    }
}

/// Whether a caller's session was started through the application that now presents its token.
pub(super) fn check_match(
    caller: &Snapshot,
    application: Option<&ApplicationFacts>,
) -> Result<(), Rejection> {
    match application {
        // A key is its human's own, and was issued through none.
        Some(_) if caller.key.kind == Kind::ApiKey => Ok(()),
        Some(application) if caller.principal.session.application != Some(application.id) => {
            Err(Rejection::ApplicationMismatch)
        }
        _ => Ok(()),
    }
}
