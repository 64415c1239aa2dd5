//! The bridge to the `prometheus` crate: everything that is counted, as metric families; but for what is counted by
//! route, which is written as text.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::control::Control;
use super::ledger::{Ledger, Totals};
use super::process::Process;
use super::service::Services;
use super::worker::WorkerCells;
use super::{family, service, show};

/// What the registry asks. Clones ask the same.
#[derive(Clone, Debug)]
pub(super) struct Everything {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    descriptions: Vec<Desc>,
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    ledger: Mutex<Ledger>,
    control: Mutex<Control>,
    services: OnceLock<Services>,
}

impl Everything {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                descriptions: family::descriptions(),
                workers: Mutex::new((0..workers).map(|_| Arc::default()).collect()),
                ledger: Mutex::default(),
                control: Mutex::default(),
                services: OnceLock::new(),
            }),
        }
    }

    /// The cells of a worker, made if there are none yet.
    pub(super) fn worker(&self, index: usize) -> Arc<WorkerCells> {
        let mut workers = lock(&self.inner.workers);
        if workers.len() <= index {
            workers.resize_with(index + 1, Arc::default);
        }
        workers.get(index).cloned().unwrap_or_default()
    }

    /// What is counted by route.
    pub(super) fn totals(&self) -> Totals {
        let workers = self.workers();
        // The lock is for summing only: a table that is to be published waits for it.
        self.ledger().look(&workers)
    }

    pub(super) fn workers(&self) -> Vec<Arc<WorkerCells>> {
        lock(&self.inner.workers).clone()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.inner.ledger)
    }

    /// Whom to ask for what is known of services.
    pub(super) fn set_services(&self, services: Services) {
        let _ = self.inner.services.set(services);
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        lock(&self.inner.control)
    }
}

impl Collector for Everything {
    fn desc(&self) -> Vec<&Desc> {
        self.inner.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        families.extend(show::workers(&self.workers()));
        families.extend(show::control(&mut self.control()));
        if let Some(Services(ask)) = self.inner.services.get() {
            families.extend(service::families(&ask()));
        }
        families.extend(show::identity(&self.workers(), &self.control()));
        families.extend(show::process(&Process::read()));
        families
    }
}

/// A panic elsewhere leaves numbers behind, and none of them is worth not answering for.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
