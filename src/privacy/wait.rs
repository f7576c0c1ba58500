//! Deletions of accounts that may not be used.
//!
//! Law: what somebody wants who is locked out, banned or switched off waits until they are let back, and then
//! for the whole time in which they may change their mind: it may be somebody else's wish, who was stopped in
//! time. What stops an account neither carries its deletion out nor calls it off; what an operator ordered
//! does not wait.

use futures::future::BoxFuture;

use super::{Deletion, Status, due::TRY_AGAIN_AFTER, store, words};
use crate::account;
use crate::app::Change;
use crate::audit::{AccountEvent, Event, How, PrivacyEvent};
use crate::base::{Id, Timestamp};
use crate::store::Error;

/// Gives people who are let back, or will be at a known moment, the time anew.
pub fn react<'c>(change: &'c mut Change<'_>, event: &'c Event) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let Event::Account(event) = event else { return Ok(()) };
        let now = change.now();
        let (account, from) = match event {
            AccountEvent::Activated { account }
            | AccountEvent::Unbanned { account }
            | AccountEvent::Unlocked { account, .. } => (*account, now),
            AccountEvent::Locked { account: Some(account), until: Some(until), how, .. }
                if *how == How::Administrator =>
            {
                (*account, *until)
            }
            _ => return Ok(()),
        };
        give_time(change, account, from).await
    })
}

async fn give_time(change: &mut Change<'_>, account: Id, from: Timestamp) -> Result<(), Error> {
    let due_at = from.plus(change.app().config().accounts.deletion.grace);
    for open in store::open_of(change.tx(), account).await? {
        if put_off(change, &open, due_at).await?
            && let Some(person) = account::by_id(change.tx(), account).await?
        {
            words::put_off(change, &person, due_at).await?;
        }
    }
    Ok(())
}

/// Waits on for somebody who is not let back yet. `false` where that is not for this one.
pub(super) async fn wait_on(change: &mut Change<'_>, deletion: &Deletion) -> Result<bool, Error> {
    let grace = change.app().config().accounts.deletion.grace;
    let due_at = change.now().plus(grace.max(TRY_AGAIN_AFTER));
    put_off(change, deletion, due_at).await
}

async fn put_off(change: &mut Change<'_>, open: &Deletion, due_at: Timestamp) -> Result<bool, Error> {
    if open.status != Status::Confirmed || store::put_off(change.tx(), open.id, due_at).await? == 0 {
        return Ok(false);
    }
    let (account, deletion) = (open.account, open.id);
    change.record(PrivacyEvent::DeletionPutOff { account, deletion, due_at }).await?;
    Ok(true)
}
