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

/// The document and the pages that show it, for the listener that may have them.
#[must_use]
pub fn rows(document: &serde_json::Value) -> Vec<Row> {
    let document = Reply::json(StatusCode::OK, document).cached("no-cache");
    vec![
        file("/openapi.json", document).about("This document"),
        page("/docs/", include_str!("assets/docs.html"), DOCS_POLICY).about("This document in Swagger UI"),
        asset("/docs/docs.js", SCRIPT, include_bytes!("assets/docs.js")),
        asset("/docs/swagger-ui.css", STYLE, include_bytes!("assets/swagger-ui/swagger-ui.css")),
        asset("/docs/swagger-ui-bundle.js", SCRIPT, include_bytes!("assets/swagger-ui/swagger-ui-bundle.js")),
        page("/redoc/", include_str!("assets/redoc.html"), REDOC_POLICY).about("This document in Redoc"),
        asset("/redoc/redoc.standalone.js", SCRIPT, include_bytes!("assets/redoc/redoc.standalone.js")),
    ]
}

fn page(path: &'static str, html: &'static str, policy: &'static str) -> Row {
    let reply = Reply::bytes(StatusCode::OK, HTML, html)
        .cached("no-cache")
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    file(path, reply)
}

fn asset(path: &'static str, kind: &'static str, bytes: &'static [u8]) -> Row {
    let reply = Reply::bytes(StatusCode::OK, kind, Bytes::from_static(bytes)).cached("public, max-age=3600");
    file(path, reply).about("A file of the page above")
}

/// The same answer to everyone. Bodies are static or shared, so a clone copies no bytes.
fn file(path: &'static str, reply: Reply) -> Row {
    let reply = reply.with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    get(path, move |_: Call, _: Nothing| std::future::ready(Ok::<_, ApiError>(reply.clone())))
        .open()
        .at_root()
}
