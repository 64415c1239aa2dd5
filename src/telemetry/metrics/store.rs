//! What the store of shared limits does. Several workers count here at once, each time after a round trip to another
//! machine, beside which an atomic addition is nothing.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use crate::limit::redis::Lack;

/// Seconds of a decision: a server nearby takes a tenth of a millisecond, and the deadline ends all.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1];

/// Counts what the store of shared limits does.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    duration: Histogram,
    errors: IntCounterVec,
    up: IntGauge,
    replicas: IntGauge,
}

impl StoreMetrics {
    /// Metrics in this registry.
    ///
    /// # Errors
    /// When they are in it already.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(
            "headgate_ratelimit_store_duration_seconds",
            "How long the store of shared limits took to decide.",
        );
        let errors = Opts::new(
            "headgate_ratelimit_store_errors_total",
            "Decisions that the store of shared limits did not make: its answer was late (timeout), the connection broke \
             (connection), it answered with an error (refused), it is known to be away and was not asked (away), too many \
             questions were waiting (busy).",
        );
        let metrics = Self {
            duration: Histogram::with_opts(duration.buckets(BUCKETS.to_vec()))?,
            errors: IntCounterVec::new(errors, &["reason"])?,
            up: IntGauge::new(
                "headgate_ratelimit_store_up",
                "Whether all of the store of shared limits can be asked.",
            )?,
            replicas: IntGauge::new(
                "headgate_ratelimit_store_replicas",
                "Replicas that share the store of limits, as last heard from it.",
            )?,
        };
        // From the beginning, since a rate cannot see a series begin.
        for lack in Lack::ALL {
            metrics.errors.with_label_values(&[lack.as_str()]);
        }
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.replicas.clone()))?;
        Ok(metrics)
    }

    /// A decision took so long.
    pub fn decided(&self, after: Duration) {
        self.duration.observe(after.as_secs_f64());
    }

    /// A decision was not had, for this reason.
    pub fn lacked(&self, reason: &str) {
        self.errors.with_label_values(&[reason]).inc();
    }

    /// Whether all of it can be asked.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// How many replicas share it.
    pub fn set_replicas(&self, replicas: u32) {
        self.replicas.set(i64::from(replicas));
    }
}
