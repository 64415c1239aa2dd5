//! Traces: a server span per exchange and a client span per endpoint that was asked, exported by OTLP.
//!
//! ```text
//!   worker ── Tracer::tell ──> bounded queue ──> export (control runtime) ── OTLP ──> collector
//! ```
//!
//! A worker decides by the trace's id whether it is sampled, and hands an exchange that is over on as plain values, if
//! there is room. What a collector does or does not do is no matter of the workers.

mod export;
mod failure;
mod propagation;
mod protobuf;
mod sampler;
mod setting;
mod span;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

pub use export::Exporter;
pub use propagation::{Caller, Propagators};
pub use sampler::Sampler;
pub use setting::{Setting, SettingError};
pub use span::{Call, Finished, Traced};

/// The side that workers hold; clones tell the same exporter.
#[derive(Clone)]
pub struct Tracer {
    sampler: Sampler,
    propagators: Propagators,
    queue: mpsc::Sender<Finished>,
    dropped: Arc<AtomicU64>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// A tracer and what exports; exchanges that are lost are added to `dropped`.
pub fn channel(setting: Setting, dropped: Arc<AtomicU64>) -> (Tracer, Exporter) {
    let (queue, finished) = mpsc::channel(setting.queue);
    let tracer = Tracer { sampler: setting.sampler, propagators: setting.propagators, queue, dropped: dropped.clone() };
    (tracer, Exporter::new(setting, finished, dropped))
}

impl Tracer {
    /// Who decides which traces are recorded.
    pub fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// The headers by which callers tell us of their trace, and we tell backends.
    pub fn propagators(&self) -> Propagators {
        self.propagators
    }

    /// Hands on an exchange that is over, unless the queue is full.
    pub fn tell(&self, finished: Finished) {
        if self.queue.try_send(finished).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
