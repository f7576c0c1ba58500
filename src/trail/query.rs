//! What the lists of the trail have in common: times, addresses and whom they are about.
//! Law: a filter that cannot be read is refused with its name; none is left out in silence.

use std::net::IpAddr;

use crate::account::{self, Reference};
use crate::application;
use crate::base::{Id, Timestamp};
use crate::http::{ApiError, Call, Fields};

/// A moment of a filter: RFC 3339, or a day, which is its first moment in UTC.
pub(super) fn moment(fields: &mut Fields, name: &'static str) -> Option<Timestamp> {
    fields.optional(name).moment()
}

pub(super) fn address(fields: &mut Fields) -> Option<IpAddr> {
    fields.optional("ip_address").parsed(|text| text.parse::<IpAddr>().map_err(|_| "An IP address."))
}

/// The id of whom a filter names, by number or id. Somebody who is gone is named by their id.
pub(super) async fn whom(call: &Call, name: &str, text: Option<&str>) -> Result<Option<Id>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || ApiError::invalid(name, &["There is no such user.".to_owned()]);
    match text.parse::<Reference>() {
        Ok(Reference::Id(id)) => Ok(Some(id)),
        Ok(reference @ Reference::Number(_)) => {
            let site = call.person()?.account.site;
            let found = account::find(&call.app.db, site, &reference).await?;
            found.map(|account| Some(account.id)).ok_or_else(unknown)
        }
        Ok(_) | Err(_) => Err(unknown()),
    }
}

/// The id of an application that a filter names.
pub(super) async fn application_named(
    call: &Call,
    site: Id,
    text: Option<&str>,
) -> Result<Option<Id>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let found = application::find(&call.app.db, site, text).await?;
    let unknown = || ApiError::invalid("application_id", &["There is no such application.".to_owned()]);
    found.map(|own| Some(own.id)).ok_or_else(unknown)
}
