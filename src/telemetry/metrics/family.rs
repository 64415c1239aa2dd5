//! Every metric with its kind, its labels and its help text. Names, labels and buckets are a promise to dashboards and
//! alerts: add, and do not change.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::histogram::{Bounds, HistogramSample};

/// A metric with `N` labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family<const N: usize> {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: [&'static str; N],
    pub(super) help: &'static str,
}

/// One constant per metric, and the list of them all.
macro_rules! families {
    ($($constant:ident: $labels_len:literal = $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(
            pub(super) const $constant: Family<$labels_len> =
                Family { name: $name, kind: MetricType::$kind, labels: $labels, help: $help };
        )*

        /// What the registry is told of every metric.
        pub(super) fn descriptions() -> Vec<Desc> {
            [$($constant.description()),*].into_iter().flatten().collect()
        }
    };
}

families! {
    // The data plane.
    REQUESTS: 7 = COUNTER "headgate_requests_total" ["listener", "route", "rule", "service", "method", "code", "reason"],
        "Exchanges that are over, by how they ended. Empty labels beside a route stand for what had no room of its own.";
    REQUEST_DURATION: 5 = HISTOGRAM "headgate_request_duration_seconds" ["listener", "route", "rule", "service", "code_class"],
        "From the head of a request to the last byte of its response.";
    UPSTREAM_DURATION: 1 = HISTOGRAM "headgate_upstream_duration_seconds" ["service"],
        "How much of an exchange was spent waiting for the head of the backend's response.";
    CONNECT_DURATION: 1 = HISTOGRAM "headgate_upstream_connect_duration_seconds" ["service"],
        "How long exchanges waited for a connection to the backend to be made, TLS included. Those on one that was there are not in it.";
    POOL_WAIT: 1 = HISTOGRAM "headgate_upstream_pool_wait_seconds" ["service"],
        "How long exchanges waited for a connection to the backend that others had, where no more may be made.";
    OVERHEAD: 1 = HISTOGRAM "headgate_overhead_seconds" ["listener"],
        "How much of an exchange was not spent waiting for a backend or a connection to it.";
    REQUEST_BYTES: 2 = COUNTER "headgate_request_bytes_total" ["listener", "route"],
        "Bytes of request bodies.";
    RESPONSE_BYTES: 2 = COUNTER "headgate_response_bytes_total" ["listener", "route"],
        "Bytes of response bodies.";
    IN_FLIGHT: 1 = GAUGE "headgate_requests_in_flight" ["listener"],
        "Exchanges that have begun and are not over.";
    CONNECTIONS: 2 = GAUGE "headgate_connections" ["listener", "protocol"],
        "Connections of clients that are open, by what is spoken on them: http1, http2, tunnel (after an upgrade) or unknown (nothing has come yet).";
    CONNECTIONS_TOTAL: 1 = COUNTER "headgate_connections_total" ["listener"],
        "Connections of clients that were accepted.";
    CONNECTIONS_REJECTED: 2 = COUNTER "headgate_connections_rejected_total" ["listener", "reason"],
        "Connections of clients that were closed unserved because there were too many.";
    HANDSHAKE_ERRORS: 2 = COUNTER "headgate_tls_handshake_errors_total" ["listener", "reason"],
        "TLS handshakes with clients that failed.";
    HANDSHAKE_DURATION: 1 = HISTOGRAM "headgate_tls_handshake_duration_seconds" ["listener"],
        "From a client's connection to the end of its TLS handshake.";
    WORKER_BUSY: 1 = GAUGE "headgate_worker_busy_ratio" ["worker"],
        "How much of the last second a worker was not waiting for anything.";

    ACCESS_LOG_DROPPED: 0 = COUNTER "headgate_access_log_dropped_total" [],
        "Lines of the access log that were lost because what they go to took them too slowly or not at all.";
    TRACES_DROPPED: 0 = COUNTER "headgate_traces_dropped_total" [],
        "Exchanges whose spans were lost because the collector took them too slowly or not at all.";

    // Who is asking.
    JWT_VALIDATIONS: 2 = COUNTER "headgate_jwt_validations_total" ["provider", "result"],
        "Requests to rules that ask for a token, by what was found of it.";
    JWKS_REFRESH: 2 = COUNTER "headgate_jwks_refresh_total" ["provider", "result"],
        "Fetches of an issuer's keys.";
    JWKS_LAST_SUCCESS: 1 = GAUGE "headgate_jwks_last_success_timestamp_seconds" ["provider"],
        "When an issuer's keys were last fetched, in seconds since 1970.";

    // What is served, and what it is served from.
    MIRRORED: 1 = COUNTER "headgate_mirror_requests_total" ["result"],
        "Copies of requests: sent, failed, dropped because too many were under way, or not made of too large a body.";
    CERTIFICATE_NOT_AFTER: 3 = GAUGE "headgate_tls_certificate_not_after_seconds" ["namespace", "secret", "host"],
        "When a certificate ends to be valid, in seconds since 1970.";
    ENDPOINTS: 2 = GAUGE "headgate_upstream_endpoints" ["service", "state"],
        "Endpoints of a service, by whether requests are sent to them.";
    EJECTIONS: 1 = COUNTER "headgate_upstream_ejections_total" ["service"],
        "How often an endpoint was left out because it had failed too often in a row.";
    RETRIES: 2 = COUNTER "headgate_upstream_retries_total" ["service", "reason"],
        "How often a request was sent once more, by why.";
    CIRCUIT_OPEN: 1 = GAUGE "headgate_upstream_circuit_open" ["service"],
        "Whether a service's circuit is open (1), half-open (0.5: one request is being tried) or closed (0).";
    POOL_CONNECTIONS: 1 = GAUGE "headgate_upstream_pool_connections" ["state"],
        "Connections to endpoints that are kept for later requests.";
    UPSTREAM_CONNECTIONS: 0 = COUNTER "headgate_upstream_connections_total" [],
        "Connections to endpoints that were made.";
    UPSTREAM_REUSED: 0 = COUNTER "headgate_upstream_reused_total" [],
        "Requests that went out on a connection that was there already.";

    // Rate limits.
    RATELIMIT_DECISIONS: 4 = COUNTER "headgate_ratelimit_decisions_total" ["decision", "policy", "limit", "scope"],
        "Requests that a limit was asked about: allowed, limited (refused), shadow (would have been refused) or error (the shared store did not answer).";
    RATELIMIT_LOCAL_KEYS: 0 = GAUGE "headgate_ratelimit_local_keys" [],
        "Keys that have a count in this process.";
    RATELIMIT_LOCAL_MEMORY: 0 = GAUGE "headgate_ratelimit_local_memory_bytes" [],
        "Bytes that the counts of this process take.";
    RATELIMIT_LOCAL_FORGOTTEN: 0 = COUNTER "headgate_ratelimit_local_forgotten_total" [],
        "Counts that were dropped before they had run out, for want of room: their limits may have let too much pass.";

    // The control side.
    CONFIG_GENERATION: 0 = GAUGE "headgate_config_applied_generation" [],
        "The number of the table that is served.";
    CONFIG_LAST_SUCCESS: 0 = GAUGE "headgate_config_last_success_timestamp_seconds" [],
        "When a table was last published, in seconds since 1970.";
    CONFIG_APPLIED: 1 = COUNTER "headgate_config_apply_total" ["result"],
        "Compilations of the declared objects.";
    CONFIG_APPLY_DURATION: 0 = HISTOGRAM "headgate_config_apply_duration_seconds" [],
        "How long compiling and publishing a table took.";
    CONFIG_CONVERGENCE: 0 = HISTOGRAM "headgate_config_convergence_seconds" [],
        "From the arrival of a change to its being served.";
    OBJECTS: 3 = GAUGE "headgate_objects" ["kind", "namespace", "state"],
        "Declared objects, by whether they are served as declared.";
    WATCH_CONNECTED: 1 = GAUGE "headgate_watch_connected" ["kind"],
        "Whether objects of a kind are being watched (1) or only remembered (0).";
    WATCH_EVENTS: 1 = COUNTER "headgate_watch_events_total" ["kind"],
        "Changes of objects of a kind that were taken in.";
    LEADER: 0 = GAUGE "headgate_leader" [],
        "Whether this replica writes status (1) or another does (0).";
    BUILD_INFO: 3 = GAUGE "headgate_build_info" ["version", "commit", "rustc"],
        "Which build this is.";

    // The process, by the names and help texts that every Prometheus client uses.
    PROCESS_CPU: 0 = COUNTER "process_cpu_seconds_total" [],
        "Total user and system CPU time spent in seconds.";
    PROCESS_OPEN_FDS: 0 = GAUGE "process_open_fds" [],
        "Number of open file descriptors.";
    PROCESS_MAX_FDS: 0 = GAUGE "process_max_fds" [],
        "Maximum number of open file descriptors.";
    PROCESS_VIRTUAL_MEMORY: 0 = GAUGE "process_virtual_memory_bytes" [],
        "Virtual memory size in bytes.";
    PROCESS_RESIDENT_MEMORY: 0 = GAUGE "process_resident_memory_bytes" [],
        "Resident memory size in bytes.";
    PROCESS_START_TIME: 0 = GAUGE "process_start_time_seconds" [],
        "Start time of the process since unix epoch in seconds.";
}

// === impl Family ===

impl<const N: usize> Family<N> {
    /// What the registry is told; none if the name or a label is not one, which a test rules out.
    fn description(&self) -> Option<Desc> {
        let labels = self.labels.iter().map(ToString::to_string).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new()).ok()
    }

    /// The metric without any series yet.
    pub(super) fn shown(&self) -> Shown<'_, N> {
        Shown { family: self, series: Vec::new() }
    }

    fn metric(&self, values: [&str; N], value: Value) -> Metric {
        let labels = self.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        match value {
            Value::Count(count) => {
                let mut counter = Counter::default();
                counter.set_value(count);
                metric.set_counter(counter);
            }
            Value::Gauge(now) => {
                let mut gauge = Gauge::default();
                gauge.set_value(now);
                metric.set_gauge(gauge);
            }
            Value::Histogram(histogram) => metric.set_histogram(histogram),
        }
        metric
    }
}

/// A metric with its series, as it is to be shown.
pub(super) struct Shown<'f, const N: usize> {
    family: &'f Family<N>,
    series: Vec<Metric>,
}

impl<const N: usize> Shown<'_, N> {
    /// Adds a series, by the values of the labels in their order.
    pub(super) fn push(&mut self, labels: [&str; N], value: Value) {
        self.series.push(self.family.metric(labels, value));
    }

    /// The same with one more series.
    pub(super) fn with(mut self, labels: [&str; N], value: Value) -> Self {
        self.push(labels, value);
        self
    }
}

impl<const N: usize> From<Shown<'_, N>> for MetricFamily {
    fn from(shown: Shown<'_, N>) -> Self {
        let Shown { family, series } = shown;
        let mut shown = Self::default();
        shown.set_name(family.name.to_owned());
        shown.set_help(family.help.to_owned());
        shown.set_field_type(family.kind);
        shown.set_metric(series);
        shown
    }
}

/// The value of one series.
pub(super) enum Value {
    /// Of a counter.
    Count(f64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram(Histogram),
}

impl Value {
    /// Of a counter that counts things.
    pub(super) fn count(count: u64) -> Self {
        Self::Count(count as f64)
    }

    /// Of a gauge of things.
    pub(super) fn gauge(now: u64) -> Self {
        Self::Gauge(now as f64)
    }

    /// Of a histogram of times.
    pub(super) fn histogram<const N: usize>(bounds: &Bounds<N>, sample: &HistogramSample<N>) -> Self {
        let buckets = bounds.iter().zip(sample.cumulative()).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(seconds(bound));
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(sample.count());
        histogram.set_sample_sum(seconds(sample.sum()));
        Self::Histogram(histogram)
    }
}

/// The division rounds to the nearest number, so that a bound prints as it is written in seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
