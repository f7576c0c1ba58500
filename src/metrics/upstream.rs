//! What is counted about upstreams and their servers.
//!
//! Law: an upstream is a name of the configuration, so the number of series is bounded by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::define::Define;
use super::{DURATION_BUCKETS, lock};

/// What an upstream's breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Requests pass.
    Closed,
    /// One request tries whether the upstream is back.
    HalfOpen,
    /// Requests are refused at once.
    Open,
}

/// Whether a server takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Down,
}

/// What is counted about one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    name: String,
    duration: Histogram,
    breaker: IntGauge,
    connect_failures: IntCounter,
    health: IntGaugeVec,
}

impl UpstreamMetrics {
    /// The time from the choice of a server to the last byte of its answer.
    pub fn answered(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    /// No server took the connection.
    pub fn unreachable(&self) {
        self.connect_failures.inc();
    }

    pub fn breaker(&self, state: Breaker) {
        self.breaker.set(match state {
            Breaker::Closed => 0,
            Breaker::HalfOpen => 1,
            Breaker::Open => 2,
        });
    }

    /// `server` is the text that the configuration has for it.
    pub fn health(&self, server: &str, health: Health) {
        let value = i64::from(health == Health::Up);
        self.health.with_label_values(&[&*self.name, server]).set(value);
    }
}

/// Every upstream's handle, and the series they write to.
#[derive(Debug)]
pub(super) struct Upstreams {
    known: Mutex<HashMap<String, Arc<UpstreamMetrics>>>,
    duration: HistogramVec,
    breaker: IntGaugeVec,
    connect_failures: IntCounterVec,
    health: IntGaugeVec,
}

impl Upstreams {
    pub(super) fn define(define: &Define<'_>) -> Self {
        Self {
            known: Mutex::default(),
            duration: define.histograms(
                "upstream_duration_seconds",
                "Time an upstream took to answer",
                &DURATION_BUCKETS,
                &["upstream"],
            ),
            breaker: define.gauges("breaker_state", "0 closed, 1 trying, 2 open", &["upstream"]),
            connect_failures: define.counters(
                "upstream_connect_failures_total",
                "Requests for which no server of the upstream could be reached",
                &["upstream"],
            ),
            health: define.gauges(
                "upstream_health",
                "1 where the server takes requests, 0 where not",
                &["upstream", "server"],
            ),
        }
    }

    pub(super) fn of(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut known = lock(&self.known);
        if let Some(metrics) = known.get(name) {
            return Arc::clone(metrics);
        }
        let made = Arc::new(UpstreamMetrics {
            name: name.to_owned(),
            duration: self.duration.with_label_values(&[name]),
            breaker: self.breaker.with_label_values(&[name]),
            connect_failures: self.connect_failures.with_label_values(&[name]),
            health: self.health.clone(),
        });
        known.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    pub(super) fn keep_only(&self, is_named: impl Fn(&str) -> bool) {
        lock(&self.known).retain(|name, _| {
            let keep = is_named(name);
            if !keep {
                drop(self.duration.remove_label_values(&[&**name]));
                drop(self.breaker.remove_label_values(&[&**name]));
                drop(self.connect_failures.remove_label_values(&[&**name]));
            }
            keep
        });
        // Servers are not remembered here: the upstreams in force write theirs again.
        self.health.reset();
    }
}
