//! How a step of the gate gets at the body of the request it decides about.
//!
//! Law: a body is read once, up to a cap that the reader names, within the deadline of the edge.

use ::http::{HeaderName, HeaderValue};
use async_trait::async_trait;
use bytes::Bytes;

use super::rejection::Rejection;

/// Why a body could not be read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyTrouble {
    TooLarge,
    /// It did not arrive within its deadline, or slower than its minimum rate.
    TooSlow,
    /// The client went away, or broke its own framing.
    Broken,
}

/// Where the body of a request comes from.
#[async_trait]
pub trait BodySource: Send {
    /// The whole body, at most `max` bytes of it.
    async fn read_all(&mut self, max: usize) -> Result<Bytes, BodyTrouble>;

    /// What came under the name of a header that nobody reads before the request waits for people.
    fn sent(&self, name: &HeaderName) -> Vec<HeaderValue>;

    /// This is sent instead of what was read.
    fn replace(&mut self, whole: Bytes);
}

impl From<BodyTrouble> for Rejection {
    fn from(trouble: BodyTrouble) -> Self {
        match trouble {
            BodyTrouble::TooLarge => Self::BodyTooLarge,
            BodyTrouble::TooSlow => Self::RequestTimeout,
            BodyTrouble::Broken => Self::Malformed(super::rejection::Flaw::Framing),
        }
    }
}

/// A body that is already here.
#[async_trait]
impl BodySource for Bytes {
    async fn read_all(&mut self, max: usize) -> Result<Bytes, BodyTrouble> {
        if self.len() > max { Err(BodyTrouble::TooLarge) } else { Ok(std::mem::take(self)) }
    }

    fn sent(&self, _: &HeaderName) -> Vec<HeaderValue> {
        Vec::new()
    }

    fn replace(&mut self, whole: Bytes) {
        *self = whole;
    }
}
