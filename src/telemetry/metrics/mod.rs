//! Metrics: counted by each worker for itself, summed when somebody asks.
//!
//! ```text
//!   worker ── WorkerMetrics::record ──> cells (one writer, by slot) ─┐
//!                                                                    ├─> ledger (sums, by name) ──> text, show
//!   reconcile ── Metrics::change_routes ─> names of slots ───────────┘                                │
//!             ── Metrics::set_… ──────> control ──────────────────────────────────────────────────────┘
//! ```

mod cells;
mod collector;
mod control;
mod family;
mod histogram;
mod identity;
mod ledger;
mod limits;
mod lines;
mod process;
mod route;
mod service;
mod show;
mod store;
mod text;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Registry, TextEncoder};

use crate::limit::LocalStore;
use crate::slot::Slot;
use collector::Everything;
use control::Control;
pub use control::{CertificateExpiry, LimitLabels, ObjectCount, ObjectState};
pub use ledger::RouteLabels;
pub use service::{EndpointState, ServiceSample};
pub use store::StoreMetrics;
pub use text::Text;
pub use worker::{Copied, Exchange, HandshakeFailure, Protocol, WorkerMetrics};

/// The type of what [`Metrics::text`] makes, for a response's `Content-Type`.
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// Everything that is counted. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    everything: Everything,
    registry: Registry,
}

impl Metrics {
    /// Metrics for so many workers.
    pub fn new(workers: usize) -> Self {
        let everything = Everything::new(workers);
        let registry = Registry::new();
        // A registry refuses a collector it has already, and names that are none; a test sees that there is neither.
        if let Err(error) = registry.register(Box::new(everything.clone())) {
            tracing::error!(%error, "metrics cannot be registered");
        }
        Self { everything, registry }
    }

    /// The hand of the worker of this number. Each number has one writer: ask once.
    pub fn worker(&self, index: usize) -> WorkerMetrics {
        WorkerMetrics::new(self.everything.worker(index))
    }

    /// Metrics of a store of shared limits, of which there is at most one.
    ///
    /// # Errors
    /// When there are some already.
    pub fn store(&self) -> prometheus::Result<StoreMetrics> {
        StoreMetrics::register(&self.registry)
    }

    /// The registry that all of this is in, for adding to it.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything as of now, in Prometheus' text format, piece by piece. Series of names that have left since the last
    /// time are in it for the last time.
    pub fn text(&self) -> Text {
        let mut rest = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut rest) {
            tracing::error!(%error, "metrics cannot be written");
        }
        Text::new(self.everything.totals(), rest)
    }

    /// Names the slots of the table that is about to be published, as far as they were not named so before: those whose
    /// routes have `gone`, and those that belong to a new route or to one of other names. Workers must not have seen the
    /// table yet: a slot that it gives to another route still holds the former one's numbers.
    pub fn change_routes(&self, gone: impl IntoIterator<Item = Slot>, named: impl IntoIterator<Item = RouteLabels>) {
        self.everything.ledger().change_routes(gone, named, &self.everything.workers());
    }

    /// A table has been published: its number, how long making it took, and how long ago the change came that it is
    /// the first to reflect.
    pub fn set_applied(&self, generation: u64, applying: Duration, convergence: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.everything.control().set_applied(generation, now, applying, convergence);
    }

    /// There are so many more, or fewer, declared objects.
    pub fn count_objects(&self, counts: impl IntoIterator<Item = ObjectCount>) {
        self.everything.control().count_objects(counts);
    }

    /// These are all the certificates that are served; one that serves several hosts may come several times.
    pub fn set_certificates(&self, certificates: impl IntoIterator<Item = CertificateExpiry>) {
        self.everything.control().set_certificates(certificates);
    }

    /// These are all the issuers of tokens.
    pub fn set_providers(&self, providers: impl IntoIterator<Item = Arc<str>>) {
        let mut control = self.everything.control();
        control.providers = providers.into_iter().collect();
        let Control { providers, key_fetches, .. } = &mut *control;
        key_fetches.providers.retain(|provider, _| providers.contains(provider));
    }

    /// Keys of a provider were fetched, or were not to be had.
    pub fn keys_fetched(&self, provider: &Arc<str>, good: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.everything.control().key_fetches.count(provider, good, now);
    }

    /// Whom to ask for what is known of services; the first who is named stays.
    pub fn ask_for_services(&self, source: impl Fn() -> Vec<ServiceSample> + Send + Sync + 'static) {
        self.everything.set_services(service::Services(Box::new(source)));
    }

    /// These are all the limits. One that leaves is shown once more.
    pub fn set_limits(&self, limits: impl IntoIterator<Item = LimitLabels>) {
        self.everything.control().limits.set(limits);
    }

    /// This is where the counts of this process are kept.
    pub fn set_local_limits(&self, store: Arc<LocalStore>) {
        self.everything.control().local_limits = Some(store);
    }

    /// Whether a kind is being watched.
    pub fn set_watch(&self, kind: &'static str, connected: bool) {
        self.everything.control().watches.insert(kind, connected);
    }

    /// So many changes of objects of a kind were taken in.
    pub fn add_events(&self, kind: &'static str, count: u64) {
        *self.everything.control().events.entry(kind).or_default() += count;
    }

    /// Where lines of the access log that are lost are counted.
    pub fn access_log_dropped(&self) -> Arc<AtomicU64> {
        self.everything.control().access_log_dropped.clone()
    }

    /// Where exchanges whose spans are lost are counted.
    pub fn traces_dropped(&self) -> Arc<AtomicU64> {
        self.everything.control().traces_dropped.clone()
    }

    /// Whether this replica writes status.
    pub fn set_leader(&self, leads: bool) {
        self.everything.control().leader = Some(leads);
    }
}

#[cfg(test)]
mod tests;
