//! The one question that the proxy asks: what becomes of this request?
//!
//! Law: the proxy forwards what comes back as [`Decision::Forward`] and nothing else.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue};
use async_trait::async_trait;

use super::forward::Forward;
use crate::approval::Approval;
use crate::gate::body::BodySource;
use crate::gate::head::RequestHead;
use crate::gate::request_id::RequestId;
use crate::gate::rules::EdgeRules;
use crate::gate::{Rejection, Route};
use crate::http::Reply;

/// What becomes of a request.
pub enum Decision {
    Forward(Box<Forward>),
    Answer(Reply),
    Reject(Rejection),
}

/// A decision and its circumstances.
pub struct Decided {
    pub decision: Decision,
    pub found: Found,
    /// Headers of the answer, whoever gives it; `Vary` is added to what is there, and `Cache-Control`
    /// narrows it.
    pub answer: Vec<(HeaderName, HeaderValue)>,
    /// Headers that an upstream has no say in.
    pub answer_without: &'static [HeaderName],
}

/// What a request was for.
#[derive(Default)]
pub enum Found {
    #[default]
    Nothing,
    /// An endpoint of our own.
    BuiltIn,
    Route(Arc<Route>),
}

impl Decided {
    /// A refusal before anything was found.
    pub fn refused(rejection: Rejection) -> Self {
        Self {
            decision: Decision::Reject(rejection),
            found: Found::Nothing,
            answer: Vec::new(),
            answer_without: &[],
        }
    }
}

/// Whoever answers the question.
#[async_trait]
pub trait Decide: Send + Sync {
    /// The rules under which a head is read now.
    fn rules(&self) -> Arc<EdgeRules>;

    async fn decide(&self, head: &RequestHead, body: &mut dyn BodySource) -> Decided;

    /// The same of something that people approved and that is sent without a client; `None` where
    /// there is nothing to send.
    async fn decide_errand(&self, approval: &Approval, id: RequestId) -> Option<(Box<RequestHead>, Decided)>;
}
