//! Who could still manage rights, after something was taken.
//!
//! Law: on a site that has an administrator, the last one is not removed by rights; the flag of superusers
//! has the same law in `account`.

use super::authority::{alone, is_super_admin};
use super::{Granted, store};
use crate::account;
use crate::app::Change;
use crate::base::Id;
use crate::policy::Catalogue;
use crate::policy::definition::Definitions;
use crate::store::Error;

/// Whether a superuser, or somebody with the role that holds everything, could log in. Whoever asks has the
/// turn to change rights.
pub(super) async fn are_left(
    change: &mut Change<'_>,
    definitions: Definitions,
    site: Id,
) -> Result<bool, Error> {
    if account::has_superuser(change.tx(), site).await? {
        return Ok(true);
    }
    let catalogue = Catalogue::build(definitions, 0);
    let roles = catalogue.definitions().roles.keys().cloned().map(Granted::Role);
    let groups = catalogue.definitions().groups.keys().cloned().map(Granted::Group);
    for granted in roles.chain(groups) {
        if !is_super_admin(&catalogue, &catalogue.rights(&alone(&granted))) {
            continue;
        }
        for id in store::accounts_with(change.tx(), &granted).await? {
            let Some(account) = account::by_id(change.tx(), id).await? else { continue };
            let may_log_in = account.is_active && !account.is_banned && account.deleted_at.is_none();
            if may_log_in && account.site == site {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
