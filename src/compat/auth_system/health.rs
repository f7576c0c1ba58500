//! `/health` and `/health/detailed`.
//!
//! Law: everybody learns whether the gateway takes requests, and nothing of why; what it stands on is for those who
//! may know. Only what the gateway itself needs is asked: discs and memory are the host's to watch.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::NAME;
use super::refusal::WORDING;
use crate::config::Shared;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Json, Nothing, Row, get};

pub(super) fn rows() -> Vec<Row> {
    let rows = [
        get("/health", health)
            .open()
            .codes(&[ErrorCode::ServiceUnavailable])
            .about("Whether this gateway takes requests"),
        get("/health/detailed", detailed)
            .allow("system.admin")
            .limit(Bucket::AuthSystemGeneral)
            .about("The same, with what it stands on"),
    ];
    rows.into_iter().map(|row| row.of_profile(NAME, WORDING)).collect()
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemHealth")]
struct Health {
    /// Always `healthy`; a gateway that is not ready answers 503.
    status: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
    /// The gateway's.
    version: &'static str,
}

async fn health(call: Call, _: Nothing) -> Result<Json<Health>, ApiError> {
    if !call.app.health.is_ready() {
        return Err(ApiError::new(ErrorCode::ServiceUnavailable));
    }
    Ok(Json(Health { status: HEALTHY, timestamp: call.app.now().rfc3339(), version: VERSION }))
}

const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The gateway with what it stands on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemHealthDetailed")]
struct Detailed {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
    /// The gateway's.
    version: &'static str,
    checks: Checks,
    /// Why it takes no requests, or what it lacks, by name.
    reasons: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemChecks")]
struct Checks {
    database: Check,
    /// Where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Check>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemCheck")]
struct Check {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    response_time_ms: u64,
}

impl Check {
    fn of<E: std::fmt::Display>(name: &str, asked: Result<(), E>, begun: Instant) -> Self {
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match asked {
            Ok(()) => Self { status: HEALTHY, response_time_ms: took },
            Err(error) => {
                tracing::warn!(%error, name, "what the gateway stands on does not answer");
                Self { status: UNHEALTHY, response_time_ms: took }
            }
        }
    }

    fn is_good(&self) -> bool {
        self.status == HEALTHY
    }
}

async fn detailed(call: Call, _: Nothing) -> Result<Json<Detailed>, ApiError> {
    let app = &call.app;
    let begun = Instant::now();
    let database = Check::of("database", app.db.ping().await, begun);
    let redis = match &app.config().shared {
        Shared::Redis { .. } => {
            let begun = Instant::now();
            Some(Check::of("redis", app.shared.ping().await, begun))
        }
        Shared::Memory => None,
    };
    let is_good = app.health.is_ready() && database.is_good() && redis.as_ref().is_none_or(Check::is_good);
    let reasons = app.health.all().into_iter().chain(app.health.lacking());
    Ok(Json(Detailed {
        status: if is_good { HEALTHY } else { UNHEALTHY },
        timestamp: app.now().rfc3339(),
        version: VERSION,
        checks: Checks { database, redis },
        reasons: reasons.map(|(name, _)| name.to_owned()).collect(),
    }))
}
