//! What an agent's request costs, taken at the moment it is known.
//!
//! Law: of a language model's call that is its body, which is read here at the latest; what people approved
//! is paid for as it stands, and nothing is written into it.

use std::sync::Arc;

use bytes::Bytes;

use super::admit::Asking;
use super::agent::{self, AgentRefusal, Grant, Paid};
use super::body::BodySource;
use super::laps::Laps;
use super::passing::Sending;
use super::permit::Permit;
use super::rejection::Rejection;

/// The body of a request that is being judged, and the time that reading it takes.
pub(super) struct Carried<'a, 'l> {
    pub body: &'a mut dyn BodySource,
    pub sending: &'a mut Sending,
    pub laps: &'a mut Laps<'l>,
}

impl Asking<'_> {
    /// Takes what the request costs; of a call of a language model, what its body says that it may cost.
    pub(super) async fn pay(
        &self,
        permit: &Permit,
        grant: &Arc<Grant>,
        approved: Option<&Bytes>,
        carried: &mut Carried<'_, '_>,
    ) -> Result<Paid, Rejection> {
        let Self { gate, route, .. } = *self;
        let Some(tariff) = &route.tariff else {
            return agent::spend(gate, grant, &agent::purchase(grant, route.charge)?, None).await;
        };
        let whole = match (approved, std::mem::replace(carried.sending, Sending::Unread)) {
            (Some(approved), _) => approved.clone(),
            (None, Sending::Read(whole)) => whole,
            (None, _) => self.whole(permit, carried.body, route.body_max(), carried.laps).await?,
        };
        let (paid, priced) = agent::spend_on_call(gate, grant, tariff, &whole).await?;
        if approved.is_none() {
            carried.body.replace(priced.clone());
            *carried.sending = Sending::Read(priced);
        } else if priced != whole {
            // What people approved is sent to the byte, and nothing is written into it.
            return Err(Rejection::Agent(AgentRefusal::Unpriced("body".to_owned())));
        }
        Ok(paid)
    }
}
