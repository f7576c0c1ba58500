//! The name of one request in logs, answers and towards the upstream.
//!
//! Law: a client's own id is kept when it is harmless text; ours are unique without asking for
//! randomness once per request.

use std::sync::atomic::{AtomicU64, Ordering};

use ::http::HeaderValue;

use crate::base::Random;
use crate::crypto::digest::hex;

const CLIENT_ID_MAX: usize = 64;

/// Visible ASCII, at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// Gives ids: 64 random bits of this process, then a counter.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        Self { process: u64::from_le_bytes(bytes), next: AtomicU64::new(0) }
    }

    /// The client's id if it is `[A-Za-z0-9._-]{1,64}`, else a new one.
    pub fn take(&self, sent: Option<&HeaderValue>) -> RequestId {
        match sent {
            Some(value) if is_harmless(value.as_bytes()) => RequestId(value.clone()),
            _ => self.fresh(),
        }
    }

    /// A new one.
    pub fn fresh(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = (u128::from(self.process) << 64) | u128::from(number);
        let text = bytes::Bytes::from(hex(&id.to_be_bytes()));
        RequestId(HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("-")))
    }
}

fn is_harmless(bytes: &[u8]) -> bool {
    (1..=CLIENT_ID_MAX).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn a_harmless_client_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new(&SeededRandom::new(7));
        let sent = HeaderValue::from_static("Trace.1_a-b");
        assert_eq!(ids.take(Some(&sent)).as_str(), "Trace.1_a-b");
        for text in ["", "a b", "a\"b", "é", &"a".repeat(65)] {
            let sent = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(ids.take(Some(&sent)).as_str().len(), 32, "{text}");
        }
        assert_ne!(ids.take(None), ids.take(None));
    }
}
