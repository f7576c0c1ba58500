//! Listeners that only answer: the operator's, and the one that sends browsers to https.
//!
//! Law: they have the same caps and deadlines as the public one and let a head be as long as it does, read no
//! body, and know nothing of routes.

use std::sync::Arc;

use ::http::{Method, Response, header};
use async_trait::async_trait;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::server::HttpSession;

use super::decide::Decide;
use super::respond;
use super::slot::Slot;
use super::tap::Body;
use crate::gate::Rejection;
use crate::http::Reply;

/// What a small listener is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub method: &'a Method,
    /// As it was sent.
    pub target: &'a [u8],
    pub host: Option<&'a ::http::HeaderValue>,
}

/// What answers on a small listener.
#[async_trait]
pub trait Small: Send + Sync {
    async fn answer(&self, ask: &Ask<'_>) -> Reply;
}

/// Such an answerer as the framework's application.
pub(super) struct SmallApp {
    pub(super) small: Arc<dyn Small>,
    /// Who says how long a head may be.
    pub(super) decide: Arc<dyn Decide>,
}

impl SmallApp {
    /// Why a head is not looked at.
    fn refuses(&self, session: &ServerSession) -> Option<Rejection> {
        let (Some(slot), Some(http1)) = (Slot::current(), session.as_http1()) else {
            return Some(Rejection::Internal);
        };
        slot.head_arrived();
        let raw = HttpSession::get_headers_raw_bytes(http1);
        // Chunks that come after it are never read.
        let is_whole = slot.tap.head_was(&raw, Body::Other).is_ok();
        (!is_whole || raw.len() > self.decide.rules().head_max).then_some(Rejection::HeadTooLarge)
    }
}

#[async_trait]
impl ServeHttp for SmallApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let refused = self.refuses(session);
        // Not read, so never taken for the next request.
        let names = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let has_body = names.iter().any(|name| session.req_header().headers.contains_key(name));
        if has_body || refused.is_some() {
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let ask = Ask {
            method: &request.method,
            target: request.raw_path(),
            host: request.headers.get(header::HOST),
        };
        let reply = match refused {
            Some(rejection) => Reply::json(rejection.status(), &respond::without_id(&rejection)),
            None => self.small.answer(&ask).await,
        };
        let body = if request.method == Method::HEAD { Vec::new() } else { reply.body.to_vec() };
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response.headers_mut().insert(header::CONTENT_LENGTH, reply.body.len().into());
        response
    }
}
