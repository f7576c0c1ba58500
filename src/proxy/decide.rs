//! The one question that the proxy asks: what becomes of this request?
//!
//! Law: the proxy forwards what comes back as [`Decision::Forward`] and nothing else.

use std::sync::Arc;

use async_trait::async_trait;

use super::forward::Forward;
use crate::gate::Rejection;
use crate::gate::body::BodySource;
use crate::gate::head::{EdgeRules, RequestHead};
use crate::http::Reply;

/// What becomes of a request.
pub enum Decision {
    Forward(Box<Forward>),
    Answer(Reply),
    Reject(Rejection),
}

/// Whoever answers the question.
#[async_trait]
pub trait Decide: Send + Sync {
    /// The rules under which a head is read now.
    fn rules(&self) -> Arc<EdgeRules>;

    async fn decide(&self, head: &RequestHead, body: &mut dyn BodySource) -> Decision;
}
