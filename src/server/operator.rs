//! What the operator's listener answers: metrics, liveness, readiness.
//!
//! Law: alive means that the process answers; ready means that it should be given traffic, with
//! the reasons why not, and what it lacks although it is ready. Nothing here is about a person.

use std::sync::Arc;

use ::http::{Method, StatusCode};
use async_trait::async_trait;
use serde_json::json;

use crate::app::App;
use crate::http::Reply;
use crate::http::page::File;
use crate::proxy::{Ask, Small};

/// The operator's listener.
pub(super) struct Operator {
    pub(super) app: Arc<App>,
    /// The API's document and the pages that show it.
    pub(super) pages: Vec<File>,
}

#[async_trait]
impl Small for Operator {
    async fn answer(&self, ask: &Ask<'_>) -> Reply {
        if !matches!(*ask.method, Method::GET | Method::HEAD) {
            return Reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let path = ask.target.split(|&byte| byte == b'?').next().unwrap_or_default();
        match path {
            b"/livez" => Reply::json(StatusCode::OK, &json!({"status": "alive"})),
            b"/readyz" => self.readiness(),
            b"/metrics" => {
                let text = self.app.metrics.render();
                Reply::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            _ => self.page(path),
        }
    }
}

impl Operator {
    /// `/docs` and `/docs/` are the same page.
    fn page(&self, path: &[u8]) -> Reply {
        let bare = |path: &'_ [u8]| path.strip_suffix(b"/").unwrap_or(path).to_vec();
        let found = self.pages.iter().find(|file| bare(file.path.as_bytes()) == bare(path));
        found.map_or_else(
            || Reply::json(StatusCode::NOT_FOUND, &json!({"error": "Not found.", "code": "NOT_FOUND"})),
            |file| file.reply.clone(),
        )
    }

    fn readiness(&self) -> Reply {
        let texts = |all: Vec<(&str, String)>| -> serde_json::Map<_, _> {
            all.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect()
        };
        let (reasons, lacking) = (texts(self.app.health.all()), texts(self.app.health.lacking()));
        let (status, word) = if reasons.is_empty() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        Reply::json(status, &json!({"status": word, "reasons": reasons, "lacking": lacking}))
    }
}
