//! What the gateway itself sends once people have approved it.
//!
//! Law: any replica may try, one at a time does, and a try that ends without a claim is another
//! one's a moment later. To try is not to send: what is sent is claimed first, like everything else.

mod store;

use std::time::Duration;

use super::Approval;
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::store::Error;

/// When something is tried again that could not be sent, at first and at most: each pause is as long
/// as all before it.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_mins(2);

/// Whose errands are left where they are, because enough of theirs are under way.
#[derive(Debug, Default, Clone)]
pub struct Crowd {
    /// Names of routes.
    pub routes: Vec<String>,
    pub accounts: Vec<Id>,
}

/// Takes up to so many approvals that the gateway is to send now, and that nobody else tries; only
/// those for which `place` has one.
pub async fn take_errands<P: Send>(
    app: &App,
    limit: u32,
    crowd: &Crowd,
    mut place: impl FnMut(&Approval) -> Option<P> + Send,
) -> Result<Vec<(Approval, P)>, Error> {
    let now = app.now();
    let mut taken = Vec::new();
    for approval in store::errands(&app.db, now, crowd, limit).await? {
        let Some(place) = place(&approval) else { continue };
        let mut tx = app.db.begin().await?;
        // No change of a state: only what comes of it leaves an event.
        let rows = store::take_errand(&mut tx, &approval, now.plus(pause(&approval, now))).await?;
        tx.commit().await?;
        if rows > 0 {
            taken.push((approval, place));
        }
    }
    Ok(taken)
}

fn pause(approval: &Approval, now: Timestamp) -> Duration {
    let since = approval.decided_at.map_or(Duration::ZERO, |decided| now.since(decided));
    since.clamp(AGAIN_AFTER, AGAIN_AT_MOST)
}
