//! Every metric of the gateway, defined once and rendered as Prometheus text.
//!
//! Law: labels are bounded. They are enums, or names from the configuration; never a path, an
//! address or a person. What a request touches is an atomic behind a handle resolved beforehand.
//! `docs/metrics.md` lists what stands here, and a test compares the two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

mod define;
mod label;
mod route;
#[cfg(test)]
mod tests;
mod upstream;

pub use label::{
    AgentTrip, ApprovalState, Cached, Class, Dependency, Label, Limiter, LoginMethod, LoginResult, Method,
    NoticeChannel, NoticeOutcome, RefreshResult, Stage, Swept,
};
pub use route::RouteMetrics;
pub use upstream::{Breaker, Health, UpstreamMetrics};

use define::{Define, Family};
use route::Routes;
use upstream::Upstreams;

/// Seconds. From what a warm decision takes to what a slow backend takes.
const DURATION_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Seconds. A step takes microseconds when warm and one round trip when cold.
const STAGE_BUCKETS: [f64; 10] = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 1e-4, 5e-4, 2.5e-3, 2.5e-2, 0.25];
/// Seconds. The promise is one; the gate closes at ten.
const LAG_BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// Seconds. People take their time; after ten minutes nobody waits.
const WAIT_BUCKETS: [f64; 8] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: Routes,
    upstreams: Upstreams,
    stages: Family<Histogram>,
    inflight: IntGauge,
    connections: IntGauge,
    token_cache: Family<IntCounter>,
    logins: IntCounterVec,
    refresh: Family<IntCounter>,
    refresh_reuse: IntCounter,
    rate_limited: Family<IntCounter>,
    unavailable: Family<IntCounter>,
    revocation_lag: Histogram,
    reload_success: IntGauge,
    config_info: IntGaugeVec,
    insecure: IntGaugeVec,
    task_panics: IntCounterVec,
    log_lines_dropped: IntCounter,
    audit_backlog: IntGauge,
    statistics_behind: IntGauge,
    audit_rows_lost: IntCounter,
    swept: Family<IntCounter>,
    swept_at: IntGauge,
    agent_suspensions: Family<IntCounter>,
    notices: IntCounterVec,
    notices_waiting: IntGauge,
    notices_oldest: IntGauge,
    approvals: Family<IntCounter>,
    approval_wait: Histogram,
}

impl Metrics {
    /// An empty set of metrics; `version` is what `build_info` shows.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let registry = Registry::new();
        add_process(&registry);
        let d = Define(&registry);
        d.gauges("build_info", "1, with the version", &["version"]).with_label_values(&[version]).set(1);
        let stages = d.histograms(
            "auth_duration_seconds",
            "Time of one step of a decision, for one request in 16",
            &STAGE_BUCKETS,
            &["stage"],
        );
        Self {
            routes: Routes::define(&d),
            upstreams: Upstreams::define(&d),
            stages: Family(Stage::ALL.iter().map(|s| stages.with_label_values(&[s.text()])).collect()),
            inflight: d.gauge("inflight", "Requests being worked on"),
            connections: d.gauge("connections", "Open client connections"),
            token_cache: d.family::<Cached>(
                "token_cache_total",
                "Bearer tokens looked up among those already verified",
                "hit",
            ),
            logins: d.counters("logins_total", "Ended logins", &["method", "result"]),
            refresh: d.family::<RefreshResult>("refresh_total", "Refresh tokens presented", "result"),
            refresh_reuse: d.counter(
                "refresh_reuse_detected_total",
                "Refresh families ended because a used token came back",
            ),
            rate_limited: d.family::<Limiter>(
                "ratelimited_total",
                "Requests that were told to slow down",
                "limiter",
            ),
            unavailable: d.family::<Dependency>(
                "unavailable_total",
                "Requests refused because a dependency did not answer",
                "dependency",
            ),
            revocation_lag: d.histogram(
                "revocation_lag_seconds",
                "Age of a change made elsewhere when this process obeyed it",
                &LAG_BUCKETS,
            ),
            reload_success: d.gauge(
                "config_last_reload_success",
                "1 if the last attempt to load the configuration succeeded",
            ),
            config_info: d.gauges("config_info", "1, with the configuration's digest", &["sha256"]),
            insecure: d.gauges("insecure_setting", "1 for each insecure setting in force", &["name"]),
            task_panics: d.counters("task_panics_total", "Background tasks that panicked", &["task"]),
            log_lines_dropped: d
                .counter("log_lines_dropped_total", "Log lines lost because the output did not keep up"),
            audit_backlog: d.gauge("audit_backlog", "Rows that wait to be written into the audit trail"),
            statistics_behind: d.gauge("statistics_behind", "Audit rows that statistics have not counted yet"),
            audit_rows_lost: d
                .counter("audit_rows_lost_total", "Rows about requests that the store did not keep up with"),
            swept: d.family::<Swept>("swept_rows_total", "Rows removed because their time was over", "kind"),
            swept_at: d.gauge(
                "sweep_last_success_seconds",
                "When this gateway last removed everything that was over, in seconds since 1970; 0: another one does",
            ),
            agent_suspensions: d.family::<AgentTrip>(
                "agent_suspensions_total",
                "Agent tokens that the gateway suspended",
                "reason",
            ),
            notices: d.counters(
                "notices_total",
                "Tries to tell people and programs what happened",
                &["channel", "outcome"],
            ),
            notices_waiting: d.gauge("notices_waiting", "Notices in the outbox that are still to be told"),
            notices_oldest: d.gauge(
                "notices_oldest_seconds",
                "How long the oldest notice in the outbox has waited; 0 where none does",
            ),
            approvals: d.family::<ApprovalState>(
                "approvals_total",
                "Approvals that came into a state",
                "state",
            ),
            approval_wait: d.histogram(
                "approval_wait_seconds",
                "How long agents waited until people had approved",
                &WAIT_BUCKETS,
            ),
            registry,
        }
    }

    /// The handle of a route, made on the first call for its name.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.routes.of(name)
    }

    /// The handle of an upstream, made on the first call for its name.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.of(name)
    }

    /// Takes the series of every route and upstream out that a new configuration no longer names.
    /// Handles that requests still hold keep working; what they count is no longer shown.
    pub fn keep_only(&self, is_route: impl Fn(&str) -> bool, is_upstream: impl Fn(&str) -> bool) {
        self.routes.keep_only(is_route);
        self.upstreams.keep_only(is_upstream);
    }

    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages.of(stage).observe(took.as_secs_f64());
    }

    /// Counts one request as being worked on until the guard is dropped.
    pub fn request(&self) -> Counted {
        Counted::new(&self.inflight)
    }

    /// Counts one client connection as open until the guard is dropped.
    pub fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    pub fn token_cache(&self, cached: Cached) {
        self.token_cache.of(cached).inc();
    }

    pub fn login(&self, method: LoginMethod, result: LoginResult) {
        self.logins.with_label_values(&[method.text(), result.text()]).inc();
    }

    /// A reused token is also counted as a family that ended.
    pub fn refresh(&self, result: RefreshResult) {
        self.refresh.of(result).inc();
        if result == RefreshResult::Reused {
            self.refresh_reuse.inc();
        }
    }

    pub fn rate_limited(&self, limiter: Limiter) {
        self.rate_limited.of(limiter).inc();
    }

    pub fn unavailable(&self, dependency: Dependency) {
        self.unavailable.of(dependency).inc();
    }

    pub fn revocation_lag(&self, lag: Duration) {
        self.revocation_lag.observe(lag.as_secs_f64());
    }

    /// A configuration with this digest is in force.
    pub fn config_loaded(&self, sha256: &str) {
        self.config_info.reset();
        self.config_info.with_label_values(&[sha256]).set(1);
        self.reload_success.set(1);
    }

    /// A configuration was refused; the one before it stays in force.
    pub fn config_refused(&self) {
        self.reload_success.set(0);
    }

    /// Replaces the list of insecure settings in force.
    pub fn insecure_settings<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        self.insecure.reset();
        for name in names {
            self.insecure.with_label_values(&[name]).set(1);
        }
    }

    pub fn task_panicked(&self, task: &'static str) {
        self.task_panics.with_label_values(&[task]).inc();
    }

    pub fn log_line_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    pub fn audit_backlog(&self, rows: usize) {
        self.audit_backlog.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    /// How many audit rows statistics have not counted yet.
    pub fn statistics_behind(&self, rows: i64) {
        self.statistics_behind.set(rows);
    }

    pub fn audit_row_lost(&self) {
        self.audit_rows_lost.inc();
    }

    /// So many rows were removed.
    pub fn swept(&self, kind: Swept, rows: u64) {
        self.swept.of(kind).inc_by(rows);
    }

    /// Everything that was over is gone.
    pub fn swept_all(&self, at_seconds: i64) {
        self.swept_at.set(at_seconds);
    }

    pub fn agent_suspended(&self, trip: AgentTrip) {
        self.agent_suspensions.of(trip).inc();
    }

    pub fn notice(&self, channel: NoticeChannel, outcome: NoticeOutcome) {
        self.notices.with_label_values(&[channel.text(), outcome.text()]).inc();
    }

    /// So many notices wait, the oldest for so long.
    pub fn notices_waiting(&self, count: i64, oldest: Duration) {
        self.notices_waiting.set(count);
        self.notices_oldest.set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
    }

    /// An approval came into this state.
    pub fn approval(&self, state: ApprovalState) {
        self.approvals.of(state).inc();
    }

    /// People have approved what an agent asked for so long ago.
    pub fn approved_after(&self, wait: Duration) {
        self.approval(ApprovalState::Approved);
        self.approval_wait.observe(wait.as_secs_f64());
    }

    /// The text of the exposition format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be rendered");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// While this lives, a gauge is one higher.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Memory, processor time and open files, where the system tells them.
fn add_process(registry: &Registry) {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
    {
        tracing::warn!(%error, "the metrics will not show memory and processor time");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
