//! Organizations that people make for themselves.
//!
//! Law: how many somebody owns and makes is counted within the change that makes one more, while their account
//! is held, so that many at once are counted one after the other. Below an organization only those put another
//! one who may change that one.

use std::time::Duration;

use super::{Edit, New, Organization, Refused, Standing, create, edit, owner, shape, store};
use crate::account;
use crate::app::Change;
use crate::base::Timestamp;

/// Who may change an organization, and put others below it.
pub(super) const WRITES: &str = "org.settings.write";
/// How many organizations one person owns at most.
const MOST_OWNED: u32 = 100;
/// How many one person makes in a day, and ever.
const MOST_IN_A_DAY: u32 = 50;
const MOST_EVER: u32 = 1_000;
const DAY: Duration = Duration::from_hours(24);

/// Makes an organization for somebody who asks for one themselves, with what else they say of it.
///
/// # Errors
/// [`Refused`]; the change is then not to be committed.
pub async fn create_for(change: &mut Change<'_>, new: New<'_>, more: &Edit) -> Result<Organization, Refused> {
    let by = new.owner;
    if !account::hold(change, by).await? {
        return Err(Refused::Gone);
    }
    let owned = store::count_owned(change.tx(), by, &owner()).await?;
    if owned >= i64::from(MOST_OWNED) {
        return Err(Refused::TooMany { max: MOST_OWNED });
    }
    // What was switched off keeps its slug and its row: making and deleting is bounded too.
    let day = change.now().minus(DAY);
    let lately = store::count_made(change.tx(), by, day).await?;
    let ever = store::count_made(change.tx(), by, Timestamp::from_millis(0)).await?;
    if lately >= i64::from(MOST_IN_A_DAY) || ever >= i64::from(MOST_EVER) {
        return Err(Refused::MadeTooMany { in_a_day: MOST_IN_A_DAY, ever: MOST_EVER });
    }
    if let Some(above) = new.parent {
        shape::hold_parent(change, above.id).await?;
        Standing::look(change, by, above.id).await?.may(WRITES)?;
    }
    let made = create(change, new).await?;
    edit(change, made.id, more).await?;
    Ok(made)
}
