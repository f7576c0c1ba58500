//! Listeners that only answer: the operator's, and the one that sends browsers to https.
//!
//! Law: they have the same caps and deadlines as the public one, read no body, and know nothing
//! of routes.

use std::sync::Arc;

use ::http::{Method, Response, header};
use async_trait::async_trait;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

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
pub(super) struct SmallApp(pub(super) Arc<dyn Small>);

#[async_trait]
impl ServeHttp for SmallApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Some(slot) = super::slot::Slot::current() {
            slot.head_arrived();
        }
        // Not read, so never taken for the next request.
        let names = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if names.iter().any(|name| session.req_header().headers.contains_key(name)) {
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let ask = Ask {
            method: &request.method,
            target: request.raw_path(),
            host: request.headers.get(header::HOST),
        };
        let reply = self.0.answer(&ask).await;
        let body = if request.method == Method::HEAD { Vec::new() } else { reply.body.to_vec() };
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response.headers_mut().insert(header::CONTENT_LENGTH, reply.body.len().into());
        response
    }
}
