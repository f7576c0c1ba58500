//! What everyone may know: whether the gateway is ready, and its public keys.
//!
//! Law: no I/O, no credential, nothing about why.

use ::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::call::Call;
use super::code::ErrorCode;
use super::error::ApiError;
use super::input::Nothing;
use super::reply::{Json, Reply};
use super::row::{Row, get};

/// How long others may keep the key set: less than a new key waits before it signs
/// (`keys::SETTLE`), so whoever keeps to it knows a key before its first signature.
const KEY_SET_AGE: &str = "public, max-age=10";

/// The rows of this file.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        get("/api/v1/health/", health)
            .open()
            .at_root()
            .codes(&[ErrorCode::ServiceUnavailable])
            .about("Whether this gateway takes requests"),
        get("/.well-known/jwks.json", key_set)
            .open()
            .at_root()
            .about("The public keys of access tokens and assertions (RFC 7517)"),
    ]
}

#[derive(Serialize, JsonSchema)]
struct Health {
    /// Always `ok`; a gateway that is not ready answers 503.
    status: &'static str,
}

async fn health(call: Call, _: Nothing) -> Result<Json<Health>, ApiError> {
    if call.app.health.is_ready() {
        Ok(Json(Health { status: "ok" }))
    } else {
        Err(ApiError::new(ErrorCode::ServiceUnavailable))
    }
}

async fn key_set(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let keys = call.app.keyring().jwks(call.app.now());
    Ok(Reply::json(StatusCode::OK, &keys).cached(KEY_SET_AGE))
}
