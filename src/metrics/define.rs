//! Making metrics: under our prefix, registered at once.
//!
//! Law: a metric that exists is in the output. Names and labels are constants, so a clash is a
//! mistake of ours that the first test to build `Metrics` finds.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::label::Label;

const PREFIX: &str = "portcullis";

/// Makes metrics in one registry.
pub(super) struct Define<'a>(pub(super) &'a Registry);

impl Define<'_> {
    #[expect(clippy::expect_used, reason = "names are constants; every test that builds Metrics checks them")]
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("a metric's name and labels are well-formed");
        self.0.register(Box::new(metric.clone())).expect("no two metrics share a name");
        metric
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(histogram_opts(name, help, buckets)))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> HistogramVec {
        self.add(HistogramVec::new(histogram_opts(name, help, buckets), labels))
    }

    /// One counter for each value of `L`, all visible from the start.
    pub(super) fn family<L: Label>(&self, name: &str, help: &str, label: &str) -> Family<IntCounter> {
        let counters = self.counters(name, help, &[label]);
        Family(L::ALL.iter().map(|value| counters.with_label_values(&[value.text()])).collect())
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace(PREFIX).buckets(buckets.to_vec())
}

/// Metric handles by the values of one label.
#[derive(Debug)]
pub(super) struct Family<M>(pub(super) Vec<M>);

impl<M> Family<M> {
    pub(super) fn of(&self, label: impl Label) -> &M {
        &self.0[label.index()]
    }
}
