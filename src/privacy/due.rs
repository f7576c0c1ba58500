//! Deletions whose time has come.
//!
//! Law: each is a change of its own, in which the account goes and the deletion is done, or neither; of
//! several replicas one does it. What stands in the way of one does not stand in the way of the next.

use std::time::Duration;

use super::erase::erase;
use super::wait::wait_on;
use super::{Deletion, NotErased, Status, store, words};
use crate::account;
use crate::app::App;
use crate::audit::{self, Actor, How, PrivacyEvent};
use crate::base::Slug;
use crate::store::{Error, again};

/// How many one turn does.
const AT_ONCE: u32 = 50;
/// When what stood in the way is looked at again.
pub(super) const TRY_AGAIN_AFTER: Duration = Duration::from_hours(24);
/// When it is looked at what was written about an account while it went: by then every process has
/// written down what it had noted.
pub(super) const LOOK_AFTER: Duration = Duration::from_mins(1);

/// Deletes the accounts whose time has come; how many.
pub async fn delete_due(app: &App) -> Result<u32, Error> {
    let mut gone = 0;
    for deletion in store::due(&app.db, Status::Confirmed, app.now(), AT_ONCE).await? {
        match again(|| delete(app, &deletion)).await {
            Ok(true) => gone += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(account = %deletion.account, %error, "an account was not deleted");
            }
        }
    }
    for deletion in store::due(&app.db, Status::Completed, app.now(), AT_ONCE).await? {
        let mut tx = app.db.begin().await?;
        audit::erase(&mut tx, deletion.account).await?;
        store::close(&mut tx, deletion.id).await?;
        tx.commit().await?;
    }
    Ok(gone)
}

async fn delete(app: &App, deletion: &Deletion) -> Result<bool, Error> {
    let mut change = app.change(Actor { site: deletion.site, ..Actor::system() }).await?;
    if !deletion.is_ordered && !account::hold(&mut change, deletion.account).await? {
        // Whoever stopped it may have done so because it is not its person who wants it gone.
        if wait_on(&mut change, deletion).await? {
            change.commit().await?;
        }
        return Ok(false);
    }
    let Some(person) = account::by_id(change.tx(), deletion.account).await? else { return Ok(false) };
    match erase(&mut change, &person, How::Rule).await {
        Ok(()) => {}
        Err(NotErased::Gone) => return Ok(false),
        Err(NotErased::Store(cause)) => return Err(cause),
        Err(NotErased::SoleOwner(organizations)) => {
            drop(change);
            return hold_back(app, deletion, &organizations).await.map(|()| false);
        }
        Err(NotErased::LastSuperuser) => {
            drop(change);
            return hold_back(app, deletion, &[]).await.map(|()| false);
        }
    }
    let (now, account) = (change.now(), deletion.account);
    // Called off a moment ago, or done by another replica: then nothing happened here.
    if store::complete(change.tx(), deletion.id, now, now.plus(LOOK_AFTER)).await? == 0 {
        return Ok(false);
    }
    change.record(PrivacyEvent::DeletionCompleted { account, deletion: deletion.id }).await?;
    change.commit().await?;
    Ok(true)
}

/// Says what stands in the way, these organizations or that nobody else is a superuser, and tries again
/// tomorrow. Its person is told the first time.
async fn hold_back(app: &App, deletion: &Deletion, organizations: &[Slug]) -> Result<(), Error> {
    let mut change = app.change(Actor { site: deletion.site, ..Actor::system() }).await?;
    let now = change.now();
    if store::hold_back(change.tx(), deletion, now, now.plus(TRY_AGAIN_AFTER)).await? == 0 {
        return Ok(());
    }
    let (account, organizations) =
        (deletion.account, organizations.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (why, told) = match organizations.as_slice() {
        [] => ("last_superuser", "nobody else is a superuser".to_owned()),
        owned => ("sole_owner", format!("nobody else owns: {}", owned.join(", "))),
    };
    tracing::warn!(%account, ?organizations, why, "an account is not deleted: nobody could take its place");
    if deletion.held_back_at.is_none()
        && let Some(person) = account::by_id(change.tx(), account).await?
    {
        words::held_back(&mut change, &person, &told).await?;
    }
    let deletion = deletion.id;
    change.record(PrivacyEvent::DeletionHeldBack { account, deletion, why, organizations }).await?;
    change.commit().await
}

/// Removes some of the deletions that have been over for `retention.deletions`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.deletions), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
