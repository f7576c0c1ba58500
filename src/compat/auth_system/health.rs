//! `/health` and `/health/detailed`.
//!
//! Law: everybody learns whether the gateway takes requests, and nothing of why; what it stands on is for those who
//! may know. How full disc and memory are is told as the machine tells it, and makes nobody turn the gateway off: the
//! status of the whole is that of what it cannot be without.

use std::path::PathBuf;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::NAME;
use super::refusal::WORDING;
use crate::config::{Database, Shared};
use crate::http::{ApiError, Bucket, Call, ErrorCode, Json, Nothing, Row, get};
use crate::store::Connections;
use crate::store::machine::{self, Room};

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
/// From here on a disc or a memory is told to be full, in a thousandth.
const FULL: u16 = 950;
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
    database: Store,
    /// Where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Check>,
    /// Of the disc that the store's file is on; with a database server, that of the gateway's working directory.
    /// Left out where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_space: Option<Disc>,
    /// Of the machine. Left out where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemStoreCheck")]
struct Store {
    #[serde(flatten)]
    check: Check,
    connection_pool: Pool,
}

/// Connections that are open at the moment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemPool")]
struct Pool {
    active: u32,
    idle: u32,
    total: u32,
}

impl From<Connections> for Pool {
    fn from(Connections { active, idle }: Connections) -> Self {
        Self { active, idle, total: active.saturating_add(idle) }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemDisc")]
struct Disc {
    /// `unhealthy` where 95 percent or more are taken.
    status: &'static str,
    /// GiB, with one decimal.
    free_gb: f64,
    total_gb: f64,
    usage_percent: f64,
}

impl Disc {
    fn of(room: Room) -> Self {
        let gib = |bytes: u64| {
            let tenths = (u128::from(bytes) * 10 + (1 << 29)) >> 30;
            f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
        };
        let (free_gb, total_gb) = (gib(room.free), gib(room.total));
        Self { status: status_of(room), free_gb, total_gb, usage_percent: percent(room) }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemMemory")]
struct Memory {
    /// `unhealthy` where 95 percent or more are taken.
    status: &'static str,
    /// MiB that programs can still have.
    free_mb: u64,
    total_mb: u64,
    usage_percent: f64,
}

impl Memory {
    fn of(room: Room) -> Self {
        let (free_mb, total_mb) = (room.free >> 20, room.total >> 20);
        Self { status: status_of(room), free_mb, total_mb, usage_percent: percent(room) }
    }
}

fn status_of(room: Room) -> &'static str {
    if room.taken_per_mille() < FULL { HEALTHY } else { UNHEALTHY }
}

fn percent(room: Room) -> f64 {
    f64::from(room.taken_per_mille()) / 10.0
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
    let place = match &app.config().store.database {
        Database::Sqlite { path } => path.clone(),
        Database::Postgres { .. } | Database::Mysql { .. } => PathBuf::from("."),
    };
    let machine = tokio::task::spawn_blocking(move || (machine::disc(&place), machine::memory()));
    let (disc, memory) = machine.await.map_err(ApiError::internal)?;
    let is_good = app.health.is_ready() && database.is_good() && redis.as_ref().is_none_or(Check::is_good);
    let reasons = app.health.all().into_iter().chain(app.health.lacking());
    Ok(Json(Detailed {
        status: if is_good { HEALTHY } else { UNHEALTHY },
        timestamp: app.now().rfc3339(),
        version: VERSION,
        checks: Checks {
            database: Store { check: database, connection_pool: app.db.connections().into() },
            redis,
            disk_space: disc.map(Disc::of),
            memory: memory.map(Memory::of),
        },
        reasons: reasons.map(|(name, _)| name.to_owned()).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_told_as_that_system_tells_them() {
        let gib = 1 << 30;
        let disc = Disc::of(Room { total: 100 * gib, free: 48_533_381_940 });
        assert_eq!((disc.status, disc.free_gb, disc.total_gb), (HEALTHY, 45.2, 100.0));
        assert!((disc.usage_percent - 54.8).abs() < f64::EPSILON);
        let memory = Memory::of(Room { total: 8 * gib, free: 2 * gib });
        assert_eq!((memory.free_mb, memory.total_mb, memory.usage_percent), (2048, 8192, 75.0));
        for (free, status) in [(51, HEALTHY), (50, UNHEALTHY), (0, UNHEALTHY)] {
            assert_eq!(status_of(Room { total: 1000, free }), status, "{free}");
        }
    }
}
