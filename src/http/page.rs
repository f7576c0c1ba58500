//! The pages that show the API document: Swagger UI at `/docs`, Redoc at `/redoc`.
//!
//! Law: everything comes from this binary; no page asks another origin for anything, and the
//! content policy would refuse it. Scripts are files, never inline. Redoc writes style elements,
//! which is the one thing its policy opens.

use ::http::StatusCode;
use ::http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use bytes::Bytes;

use super::call::Call;
use super::error::ApiError;
use super::input::Nothing;
use super::reply::Reply;
use super::row::{Row, get};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Swagger UI shows pictures that its style sheet carries as `data:`.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file of the pages.
#[derive(Debug, Clone)]
pub struct File {
    pub path: &'static str,
    about: &'static str,
    pub reply: Reply,
}

/// The document and the pages that show it, as endpoints of a table.
#[must_use]
pub fn rows(document: &serde_json::Value) -> Vec<Row> {
    let row = |File { path, about, reply }| {
        // Bodies are static or shared, so a clone copies no bytes.
        let answer = move |_: Call, _: Nothing| std::future::ready(Ok::<_, ApiError>(reply.clone()));
        get(path, answer).open().at_root().about(about)
    };
    files(document).into_iter().map(row).collect()
}

/// The same for a listener that has no table. `/docs` and `/docs/` are the same page.
#[must_use]
pub fn files(document: &serde_json::Value) -> Vec<File> {
    let document = Reply::json(StatusCode::OK, document).cached("no-cache");
    let swagger = include_bytes!("assets/swagger-ui/swagger-ui-bundle.js");
    let redoc = include_bytes!("assets/redoc/redoc.standalone.js");
    let files = vec![
        File { path: "/openapi.json", about: "This document", reply: document },
        page("/docs/", "This document in Swagger UI", include_str!("assets/docs.html"), DOCS_POLICY),
        asset("/docs/docs.js", SCRIPT, include_bytes!("assets/docs.js")),
        asset("/docs/swagger-ui.css", STYLE, include_bytes!("assets/swagger-ui/swagger-ui.css")),
        asset("/docs/swagger-ui-bundle.js", SCRIPT, swagger),
        page("/redoc/", "This document in Redoc", include_str!("assets/redoc.html"), REDOC_POLICY),
        asset("/redoc/redoc.standalone.js", SCRIPT, redoc),
    ];
    files.into_iter().map(File::safe).collect()
}

impl File {
    fn safe(self) -> Self {
        Self { reply: self.reply.with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")), ..self }
    }
}

fn page(path: &'static str, about: &'static str, html: &'static str, policy: &'static str) -> File {
    let reply = Reply::bytes(StatusCode::OK, HTML, html)
        .cached("no-cache")
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    File { path, about, reply }
}

fn asset(path: &'static str, kind: &'static str, bytes: &'static [u8]) -> File {
    let reply = Reply::bytes(StatusCode::OK, kind, Bytes::from_static(bytes)).cached("public, max-age=3600");
    File { path, about: "A file of the pages", reply }
}
