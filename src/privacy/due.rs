//! Deletions whose time has come.
//!
//! Law: each is a change of its own, in which the account goes and the deletion is done, or neither; of
//! several replicas one does it. What stands in the way of one does not stand in the way of the next.

use std::time::Duration;

use super::erase::erase;
use super::wait::wait_on;
use super::{Deletion, NotErased, Refused, Status, store, words};
use crate::account;
use crate::app::App;
use crate::audit::{self, Actor, How, PrivacyEvent};
use crate::base::{Id, Slug};
use crate::rbac::{self, Authority, Leaving};
use crate::store::{Error, GivenUp, again};

/// Who carries one out before its time.
pub(super) const PROCESS: &str = "gdpr.process";
/// How many one turn does.
const AT_ONCE: u32 = 50;
/// When what stood in the way is looked at again.
pub(super) const TRY_AGAIN_AFTER: Duration = Duration::from_hours(24);
/// When it is looked at what was written about an account while it went: by then every process has
/// written down what it had noted.
pub(super) const LOOK_AFTER: Duration = Duration::from_mins(1);

/// Deletes the accounts whose time has come; how many.
pub async fn delete_due(app: &App) -> Result<u32, Error> {
    let turn = delete_due_of(app, None, &Actor::system()).await?;
    for deletion in store::due(&app.db, None, Status::Completed, app.now(), AT_ONCE).await? {
        let mut tx = app.db.begin().await?;
        audit::erase(&mut tx, deletion.account).await?;
        store::close(&mut tx, deletion.id).await?;
        tx.commit().await?;
    }
    Ok(turn.gone)
}

/// What became of what was due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) gone: u32,
    /// Something stands in the way, which the trail says.
    pub(super) held_back: u32,
}

/// Deletes accounts whose time has come, of one site or of all; `by` is whoever says that it is time to look.
pub(super) async fn delete_due_of(app: &App, site: Option<Id>, by: &Actor) -> Result<Turn, Error> {
    let mut turn = Turn::default();
    for deletion in store::due(&app.db, site, Status::Confirmed, app.now(), AT_ONCE).await? {
        let by = || Actor { site: deletion.site, ..by.clone() };
        match again(|| delete(app, &deletion, by())).await {
            Ok(Done::Gone) => turn.gone += 1,
            Ok(Done::HeldBack) => turn.held_back += 1,
            Ok(Done::Nothing) => {}
            Err(error) => {
                turn.held_back += 1;
                tracing::warn!(account = %deletion.account, %error, "an account was not deleted");
            }
        }
    }
    Ok(turn)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Gone,
    HeldBack,
    Nothing,
}

pub(super) async fn delete(app: &App, deletion: &Deletion, by: Actor) -> Result<Done, Error> {
    let mut change = app.change(by).await?;
    let Some(person) = account::by_id(change.tx(), deletion.account).await? else { return Ok(Done::Nothing) };
    // The turn to change rights before the account's row, as everywhere.
    let leaving = Leaving::take(&mut change, &person).await?;
    if !deletion.is_ordered && !account::hold(&mut change, deletion.account).await? {
        // Whoever stopped it may have done so because it is not its person who wants it gone.
        if wait_on(&mut change, deletion).await? {
            change.commit().await?;
        }
        return Ok(Done::Nothing);
    }
    match erase(&mut change, &person, How::Rule).await {
        Ok(()) => {}
        Err(NotErased::Gone) => return Ok(Done::Nothing),
        Err(NotErased::Store(cause)) => return Err(cause),
        Err(NotErased::SoleOwner(organizations)) => {
            drop(change);
            return hold_back(app, deletion, Obstacle::SoleOwner(organizations))
                .await
                .map(|()| Done::HeldBack);
        }
        Err(NotErased::LastSuperuser) => {
            drop(change);
            return hold_back(app, deletion, Obstacle::LastSuperuser).await.map(|()| Done::HeldBack);
        }
    }
    if !leaving.leaves_one(&mut change).await? {
        drop(change);
        return hold_back(app, deletion, Obstacle::LastAdministrator).await.map(|()| Done::HeldBack);
    }
    let (now, account) = (change.now(), deletion.account);
    // Called off or put off since the list was read, or done by another replica: then nothing happened here.
    if store::complete(change.tx(), deletion.id, now, now.plus(LOOK_AFTER), Some(now)).await? == 0 {
        return Ok(Done::Nothing);
    }
    change.record(PrivacyEvent::DeletionCompleted { account, deletion: deletion.id }).await?;
    change.commit().await?;
    Ok(Done::Gone)
}

/// What stands in the way.
enum Obstacle {
    /// These organizations would be left to others without an owner.
    SoleOwner(Vec<Slug>),
    /// Nobody else is a superuser.
    LastSuperuser,
    /// Nobody else could manage rights.
    LastAdministrator,
}

/// Says what stands in the way, and tries again tomorrow. Its person is told the first time.
async fn hold_back(app: &App, deletion: &Deletion, obstacle: Obstacle) -> Result<(), Error> {
    let mut change = app.change(Actor { site: deletion.site, ..Actor::system() }).await?;
    let now = change.now();
    if store::hold_back(change.tx(), deletion, now, now.plus(TRY_AGAIN_AFTER)).await? == 0 {
        return Ok(());
    }
    let account = deletion.account;
    let (why, told, organizations) = match obstacle {
        Obstacle::LastSuperuser => ("last_superuser", "nobody else is a superuser".to_owned(), Vec::new()),
        Obstacle::LastAdministrator => {
            ("last_administrator", "nobody else could manage rights".to_owned(), Vec::new())
        }
        Obstacle::SoleOwner(slugs) => {
            let owned: Vec<String> = slugs.iter().map(ToString::to_string).collect();
            ("sole_owner", format!("nobody else owns: {}", owned.join(", ")), owned)
        }
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

/// Why an account is not gone.
pub(super) enum NotProcessed {
    /// Its person has not confirmed it, or it is over.
    NotConfirmed,
    Refused(Refused),
    /// The account may not be used, maybe because the wish is not its person's.
    Stopped,
    /// The caller may not, or nobody could manage rights any more.
    NotAllowed(rbac::Refused),
}

impl From<Error> for NotProcessed {
    fn from(cause: Error) -> Self {
        Self::Refused(Refused::Store(cause))
    }
}

impl GivenUp for NotProcessed {
    fn is_given_up(&self) -> bool {
        match self {
            Self::NotConfirmed | Self::Stopped => false,
            Self::Refused(refused) => matches!(refused, Refused::Store(cause) if cause.is_given_up()),
            Self::NotAllowed(refused) => refused.is_given_up(),
        }
    }
}

/// Erases the account before its time, as somebody orders who may; whether its person could be told.
pub(super) async fn carry_out(
    app: &App,
    actor: Actor,
    found: &Deletion,
    (by, notes): (Id, &str),
) -> Result<bool, NotProcessed> {
    let mut change = app.change(actor).await?;
    let authority = Authority::take(&mut change, by, &[PROCESS]).await.map_err(NotProcessed::NotAllowed)?;
    let (now, account) = (change.now(), found.account);
    let person = account::by_id(change.tx(), account).await?.ok_or(NotProcessed::NotConfirmed)?;
    let is_told = words::reached(app, &person).is_some();
    // Gone meanwhile, by whomever: then it is not confirmed any more.
    if found.status != Status::Confirmed || person.deleted_at.is_some() {
        return Err(NotProcessed::NotConfirmed);
    }
    // Nobody takes from somebody who holds more the time in which they may change their mind.
    let held = authority.reaches(&mut change, &person).await.map_err(NotProcessed::NotAllowed)?;
    if !found.is_ordered && !account::hold(&mut change, account).await? {
        let now = account::by_id(change.tx(), account).await?;
        let is_gone = now.is_none_or(|now| now.deleted_at.is_some());
        return Err(if is_gone { NotProcessed::NotConfirmed } else { NotProcessed::Stopped });
    }
    // What was called off meanwhile takes all of it back.
    erase(&mut change, &person, How::Administrator).await?;
    if store::process(change.tx(), found.id, by, notes).await? == 0
        || store::complete(change.tx(), found.id, now, now.plus(LOOK_AFTER), None).await? == 0
    {
        return Err(NotProcessed::NotConfirmed);
    }
    rbac::keep_one(&mut change, &authority, &held).await.map_err(NotProcessed::NotAllowed)?;
    change.record(PrivacyEvent::DeletionCompleted { account, deletion: found.id }).await?;
    change.commit().await?;
    Ok(is_told)
}

impl From<NotErased> for NotProcessed {
    fn from(why: NotErased) -> Self {
        match why {
            NotErased::Gone => Self::NotConfirmed,
            NotErased::SoleOwner(slugs) => Self::Refused(Refused::SoleOwner(slugs)),
            NotErased::LastSuperuser => Self::Refused(Refused::LastSuperuser),
            NotErased::Store(cause) => cause.into(),
        }
    }
}

/// Removes some of the deletions that have been over for `retention.deletions`; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let retention = &app.config().retention;
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(retention.deletions), retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
