//! What is counted about routes: handles resolved once per route, then only atomics.
//!
//! Law: a handle makes a series when it first counts something, never before, so ten thousand
//! routes that nobody calls cost ten thousand small structs and no line of output.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::define::Define;
use super::label::{Class, Label, Method};
use super::{DURATION_BUCKETS, lock};

const CLASSES: usize = Class::ALL.len();

/// The series that all routes write to.
#[derive(Debug, Clone)]
struct Series {
    requests: IntCounterVec,
    duration: HistogramVec,
    decisions: IntCounterVec,
}

/// What is counted about one route.
#[derive(Debug)]
pub struct RouteMetrics {
    name: String,
    series: Series,
    requests: [OnceLock<IntCounter>; Method::ALL.len() * CLASSES],
    duration: OnceLock<Histogram>,
    allowed: OnceLock<IntCounter>,
    held: OnceLock<IntCounter>,
    refused: Reasons,
    shadowed: Reasons,
}

/// Counters by the reason of a decision.
type Reasons = RwLock<Vec<(&'static str, IntCounter)>>;

impl RouteMetrics {
    fn new(name: &str, series: Series) -> Self {
        Self {
            name: name.to_owned(),
            series,
            requests: std::array::from_fn(|_| OnceLock::new()),
            duration: OnceLock::new(),
            allowed: OnceLock::new(),
            held: OnceLock::new(),
            refused: RwLock::default(),
            shadowed: RwLock::default(),
        }
    }

    /// One request has ended; `took` is the time from its first byte to the last of the answer.
    pub fn finished(&self, method: Method, class: Class, took: Duration) {
        self.requests[method.index() * CLASSES + class.index()]
            .get_or_init(|| {
                self.series.requests.with_label_values(&[&*self.name, method.text(), class.text()])
            })
            .inc();
        self.duration
            .get_or_init(|| self.series.duration.with_label_values(&[&*self.name]))
            .observe(took.as_secs_f64());
    }

    /// The gate let a request through.
    pub fn allowed(&self) {
        self.allowed
            .get_or_init(|| self.series.decisions.with_label_values(&[&*self.name, "allow", "none"]))
            .inc();
    }

    /// The gate made a request of an agent wait for people.
    pub fn held(&self) {
        self.held
            .get_or_init(|| self.series.decisions.with_label_values(&[&*self.name, "hold", "approval"]))
            .inc();
    }

    /// The gate said no; `reason` is the refusal's fixed label.
    pub fn refused(&self, reason: &'static str) {
        self.decided(&self.refused, "deny", reason);
    }

    /// The gate would have said no, and let the request through because the route is in shadow mode.
    pub fn shadowed(&self, reason: &'static str) {
        self.decided(&self.shadowed, "shadow", reason);
    }

    fn decided(&self, reasons: &Reasons, decision: &'static str, reason: &'static str) {
        if count(&reasons.read().unwrap_or_else(PoisonError::into_inner), reason) {
            return;
        }
        let mut list = reasons.write().unwrap_or_else(PoisonError::into_inner);
        if !count(&list, reason) {
            let counter = self.series.decisions.with_label_values(&[&*self.name, decision, reason]);
            counter.inc();
            list.push((reason, counter));
        }
    }

    fn remove(&self) {
        for method in Method::ALL {
            for class in Class::ALL {
                let labels = [&*self.name, method.text(), class.text()];
                drop(self.series.requests.remove_label_values(&labels));
            }
        }
        drop(self.series.duration.remove_label_values(&[&*self.name]));
        drop(self.series.decisions.remove_label_values(&[&*self.name, "allow", "none"]));
        drop(self.series.decisions.remove_label_values(&[&*self.name, "hold", "approval"]));
        for (decision, reasons) in [("deny", &self.refused), ("shadow", &self.shadowed)] {
            for (reason, _) in reasons.read().unwrap_or_else(PoisonError::into_inner).iter() {
                drop(self.series.decisions.remove_label_values(&[&*self.name, decision, reason]));
            }
        }
    }
}

/// Counts under `reason` if it has a counter already, and says whether it had.
fn count(list: &[(&'static str, IntCounter)], reason: &str) -> bool {
    list.iter().find(|(text, _)| *text == reason).map(|(_, counter)| counter.inc()).is_some()
}

/// Every route's handle, and the series they write to.
#[derive(Debug)]
pub(super) struct Routes {
    known: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    series: Series,
}

impl Routes {
    pub(super) fn define(define: &Define<'_>) -> Self {
        let series = Series {
            requests: define.counters(
                "requests_total",
                "Ended requests by route, method and class of the answer",
                &["route", "method", "status"],
            ),
            duration: define.histograms(
                "request_duration_seconds",
                "Time from a request's first byte to the last of its answer",
                &DURATION_BUCKETS,
                &["route"],
            ),
            decisions: define.counters(
                "decisions_total",
                "What the gate decided, and why not",
                &["route", "decision", "reason"],
            ),
        };
        Self { known: Mutex::default(), series }
    }

    pub(super) fn of(&self, name: &str) -> Arc<RouteMetrics> {
        let mut known = lock(&self.known);
        if let Some(metrics) = known.get(name) {
            return Arc::clone(metrics);
        }
        let made = Arc::new(RouteMetrics::new(name, self.series.clone()));
        known.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    pub(super) fn keep_only(&self, is_named: impl Fn(&str) -> bool) {
        lock(&self.known).retain(|name, metrics| {
            let keep = is_named(name);
            if !keep {
                metrics.remove();
            }
            keep
        });
    }
}
