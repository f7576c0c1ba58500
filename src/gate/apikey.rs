//! API keys at the gate: from the text of a header to whose it is.
//!
//! Law: what has no form of ours, is unknown, over, or belongs to somebody who may not act is refused
//! alike. Which key a text is never changes, so that is remembered; whether it may act is asked of the
//! epochs each time. When keys were used is noted in memory and written together.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use quick_cache::sync::Cache;

use super::Gate;
use super::authenticate::slow_down;
use super::head::RequestHead;
use super::person::{Key, Kind};
use super::rejection::{Rejection, Silent};
use crate::apikey::{self, PREFIX, TEXT_LEN};
use crate::base::{Id, Timestamp};
use crate::crypto::digest::{hex, sha256};
use crate::store::Error;

const REMEMBERED_MAX: usize = 50_000;
/// How often a key's use is noted.
const NOTED_EVERY: Duration = Duration::from_secs(30);

/// A key that somebody has shown.
struct Known {
    key: Key,
    /// When its use was noted last, in milliseconds.
    noted_at: AtomicI64,
}

/// The keys shown lately, and their uses until these are written down.
pub(super) struct ApiKeys {
    known: Cache<[u8; 32], Arc<Known>>,
    uses: Mutex<Vec<(Id, Timestamp)>>,
}

impl ApiKeys {
    pub fn new() -> Self {
        Self { known: Cache::new(REMEMBERED_MAX), uses: Mutex::default() }
    }

    fn note(&self, known: &Known, now: Timestamp) {
        let before = known.noted_at.load(Ordering::Relaxed);
        let is_due = now.since(Timestamp::from_millis(before)) >= NOTED_EVERY;
        let take = |at| known.noted_at.compare_exchange(before, at, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && take(now.as_millis()).is_ok() {
            self.uses.lock().unwrap_or_else(PoisonError::into_inner).push((known.key.sid, now));
        }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

/// Whose key a request shows. Whether it may act is not asked here.
pub(super) async fn find(gate: &Gate, head: &RequestHead, value: &HeaderValue) -> Result<Key, Rejection> {
    let failures = gate.tokens.failures();
    failures.check(head.client, head.at).map_err(|wait| slow_down(head, wait))?;
    let refused = || {
        failures.count(head.client, head.at);
        Rejection::ApiKeyInvalid
    };
    if !has_form(value.as_bytes()) {
        return Err(refused());
    }
    let digest = sha256(value.as_bytes());
    if let Some(known) = gate.api_keys.known.get(&digest) {
        gate.api_keys.note(&known, head.at);
        return Ok(known.key);
    }
    let found = gate.records.api_key(&hex(&digest)).await.map_err(|error| {
        tracing::warn!(%error, "an API key cannot be read");
        Rejection::Unavailable(Silent::Store)
    })?;
    let (sid, account) = found.ok_or_else(refused)?;
    let key = Key { kind: Kind::ApiKey, sid, account, application: None };
    let known = Arc::new(Known { key, noted_at: AtomicI64::new(0) });
    gate.api_keys.note(&known, head.at);
    gate.api_keys.known.insert(digest, known);
    Ok(key)
}

/// A text that we could have made.
fn has_form(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.len() == TEXT_LEN && text.starts_with(PREFIX.as_bytes()) && text.iter().all(is_plain)
}

impl Gate {
    /// Writes down which API keys were used lately.
    ///
    /// # Errors
    /// The store's; these uses are then not noted.
    pub async fn write_key_uses(&self) -> Result<(), Error> {
        let uses = std::mem::take(&mut *self.api_keys.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() { Ok(()) } else { apikey::note_uses(&self.app, &uses).await }
    }
}
