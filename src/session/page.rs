//! The cookie of pages: which session a browser belongs to.
//!
//! Law: it is sealed, so nothing of it can be read or chosen, and it names a session: it opens
//! nothing once that session is over, nor when its own time is.

use std::time::Duration;

use super::Session;
use crate::base::{Id, Random, Secret, Timestamp};
use crate::crypto::digest::{base64url, unbase64url};
use crate::crypto::seal::SealKey;

/// The longest that a browser stays logged in to pages.
const MOST: Duration = Duration::from_hours(12);
const CONTEXT: &str = "page";
/// No application: an id that nothing has.
const NONE: Id = Id::from_u128(0);

/// What a cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSession {
    pub sid: Id,
    pub account: Id,
    pub application: Option<Id>,
    /// The cookie's own end; its session may go on.
    pub ends_at: Timestamp,
}

/// The value of the cookie for a session, and how long it is good for.
#[must_use]
pub fn page_cookie(
    seal: &SealKey,
    random: &dyn Random,
    session: &Session,
    now: Timestamp,
) -> (Secret<String>, Duration) {
    let good_for = session.ends_at.since(now).min(MOST);
    let mut plain = Vec::with_capacity(56);
    for id in [session.id, session.account, session.application.unwrap_or(NONE)] {
        plain.extend_from_slice(&id.as_u128().to_be_bytes());
    }
    plain.extend_from_slice(&now.plus(good_for).as_millis().to_be_bytes());
    (Secret::new(base64url(&seal.seal(random, CONTEXT, &plain))), good_for)
}

/// What a cookie of ours says, until its time is over.
#[must_use]
pub fn read_page_cookie(seal: &SealKey, text: &str, now: Timestamp) -> Option<PageSession> {
    let plain = seal.open(CONTEXT, &unbase64url(text)?).ok()?;
    let (sid, rest) = plain.expose().split_first_chunk::<16>()?;
    let (account, rest) = rest.split_first_chunk::<16>()?;
    let (application, rest) = rest.split_first_chunk::<16>()?;
    let ends_at = Timestamp::from_millis(i64::from_be_bytes(rest.try_into().ok()?));
    let id = |bytes: &[u8; 16]| Id::from_u128(u128::from_be_bytes(*bytes));
    let application = Some(id(application)).filter(|id| *id != NONE);
    (ends_at > now).then(|| PageSession { sid: id(sid), account: id(account), application, ends_at })
}
