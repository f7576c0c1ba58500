//! What follows from a change, in one list: who reacts in the same transaction, and what a process
//! does once it is committed.
//!
//! Law: the command line changes state with the same list, so that a change means the same
//! wherever it is made.

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::app::{App, Applier, Reaction};
use crate::audit::Subject;
use crate::store::Error;
use crate::{agent, apikey, approval, keys, notice, otp, privacy, rbac, session};

/// What happens in the transaction of a change.
pub fn reactions() -> Vec<Reaction> {
    vec![
        session::react,
        otp::react,
        agent::react,
        apikey::react,
        approval::react,
        notice::react,
        privacy::react,
    ]
}

/// What a process does after a change, its own or another's.
pub fn appliers() -> Vec<Applier> {
    vec![keys::reload, rbac::apply, stop]
}

/// Tells what runs for a session that it must end, or be decided again.
fn stop<'a>(app: &'a App, subjects: &'a [Subject]) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        for subject in subjects {
            app.stops.stop(*subject);
        }
        Ok(())
    }
    .boxed()
}
