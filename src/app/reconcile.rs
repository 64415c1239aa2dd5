//! The loop that keeps the table true: take changes, note what is dirty, compile, publish, tell.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::compile::{self, Compiled, Report};
use crate::drain::{Drain, Phase};
use crate::snapshot::Publisher;
use crate::source::{Change, Kind, ObjectKey};
use crate::store::{Store, Watch};
use crate::table::Table;
use crate::telemetry::{Metrics, RouteLabels};

/// After a change, this long without another one and it is compiled.
const QUIET: Duration = Duration::from_millis(3);
/// A change is never held off longer than this.
const HOLD_OFF: Duration = Duration::from_millis(25);

/// How far the control side has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A first table has been published; it stays so.
    pub published: bool,
    /// How many batches of changes the current table reflects.
    pub batches: u64,
    /// What is being waited for, while nothing has been published.
    pub waiting: String,
}

pub(super) struct Reconcile {
    store: Store,
    settings: compile::Settings,
    compiled: Compiled,
    tables: Publisher<Table>,
    reports: Publisher<Report>,
    metrics: Metrics,
    readiness: watch::Sender<Readiness>,
    changes: mpsc::Receiver<Vec<Change>>,
    secrets_wanted: Option<mpsc::Sender<ObjectKey>>,
    /// What is dirty and not compiled yet.
    dirty: BTreeSet<ObjectKey>,
    batches: u64,
}

impl Reconcile {
    #[expect(clippy::too_many_arguments, reason = "each is one end of a wire that the composition root lays")]
    pub(super) fn new(
        store: Store,
        settings: compile::Settings,
        tables: Publisher<Table>,
        reports: Publisher<Report>,
        metrics: Metrics,
        readiness: watch::Sender<Readiness>,
        changes: mpsc::Receiver<Vec<Change>>,
        secrets_wanted: Option<mpsc::Sender<ObjectKey>>,
    ) -> Self {
        Self {
            store,
            settings,
            compiled: Compiled::empty(),
            tables,
            reports,
            metrics,
            readiness,
            changes,
            secrets_wanted,
            dirty: BTreeSet::new(),
            batches: 0,
        }
    }

    /// Runs until the drain has ended or every source has gone.
    pub(super) async fn run(mut self, mut drain: Drain) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                batch = self.changes.recv() => match batch {
                    Some(batch) => self.take(batch).await,
                    // The last table keeps serving without a source; only the drain ends this.
                    None => {
                        drain.reached(Phase::Ended).await;
                        return Ok(());
                    }
                },
                () = drain.reached(Phase::Ended) => return Ok(()),
            }
        }
    }

    /// One round: this batch, and those that follow it closely.
    async fn take(&mut self, batch: Vec<Change>) {
        let began = Instant::now();
        let mut mattered = self.apply(batch);
        while let Some(quiet) = self.may_wait(began) {
            match tokio::time::timeout(quiet, self.changes.recv()).await {
                Ok(Some(batch)) => mattered |= self.apply(batch),
                Ok(None) | Err(_) => break,
            }
        }
        if !self.readiness.borrow().published && !self.store.is_synced() {
            let waiting = self.waiting();
            self.readiness.send_modify(|readiness| readiness.waiting = waiting);
            return;
        }
        if mattered || !self.readiness.borrow().published {
            self.publish(began).await;
        }
        let batches = self.batches;
        self.readiness.send_modify(|readiness| {
            readiness.published = true;
            readiness.batches = batches;
        });
    }

    /// How much longer a batch that followed would be waited for.
    fn may_wait(&self, began: Instant) -> Option<Duration> {
        let left = HOLD_OFF.checked_sub(began.elapsed())?;
        (!self.dirty.is_empty()).then(|| left.min(QUIET))
    }

    /// Takes a batch in. Endpoints are published at once: they change no route and must not wait for any.
    fn apply(&mut self, batch: Vec<Change>) -> bool {
        self.batches += 1;
        let mut mattered = false;
        for change in batch {
            if let Change::Unavailable(kind, reason) = &change
                && !kind.is_optional()
            {
                tracing::warn!(%kind, reason, "a kind cannot be watched; what is known of it stays in force");
            }
            mattered |= self.store.apply(change);
        }
        let dirty = self.store.take_dirty();
        let (slices, rest): (BTreeSet<_>, BTreeSet<_>) =
            dirty.into_iter().partition(|key| key.kind == Kind::EndpointSlice);
        if !slices.is_empty() {
            self.compiled.publish_endpoints(&self.store, &slices);
        }
        self.dirty.extend(rest);
        mattered
    }

    async fn publish(&mut self, began: Instant) {
        let dirty = std::mem::take(&mut self.dirty);
        let compiling = Instant::now();
        let compiled = compile::compile(&self.store, &self.settings, &self.compiled, &dirty);
        let changed = !Arc::ptr_eq(&compiled.table, &self.compiled.table) || !self.readiness.borrow().published;
        self.want_secrets(&compiled).await;
        if changed {
            self.metrics.set_routes(route_labels(&compiled.table));
            self.tables.publish(compiled.table.clone());
            tracing::info!(
                generation = compiled.table.generation,
                routes = compiled.table.routes.len(),
                problems = compiled.report.problems().count(),
                milliseconds = compiling.elapsed().as_secs_f64() * 1e3,
                "published"
            );
        }
        tell_problems(&self.compiled.report, &compiled.report);
        self.reports.publish(compiled.report.clone());
        self.metrics.set_applied(compiled.table.generation, compiling.elapsed(), began.elapsed());
        self.metrics.set_objects(compiled.report.counts());
        self.metrics.set_certificates(compiled.table.certificates.iter());
        self.compiled = compiled;
    }

    /// Asks for Secrets that something has begun to refer to, and lets go of those that nothing refers to any more.
    async fn want_secrets(&mut self, compiled: &Compiled) {
        let Some(wanted) = &self.secrets_wanted else { return };
        let referenced = compiled.referenced_secrets();
        self.store.retain_secrets(referenced);
        for key in referenced {
            if self.store.get(key).is_none() && self.compiled.referenced_secrets().get(key).is_none() {
                // A full queue means that the source is busy; it will be asked again with the next change.
                let _ = wanted.try_send(key.clone());
            }
        }
    }

    fn waiting(&self) -> String {
        let pending: Vec<&str> = self
            .store
            .watches()
            .iter()
            .filter(|(_, watch)| **watch == Watch::Pending)
            .map(|(kind, _)| kind.as_str())
            .collect();
        format!("waiting for the first list of: {}", pending.join(", "))
    }
}

/// One line for every problem that was not there before, and one for those that have gone.
fn tell_problems(before: &Report, after: &Report) {
    let known: BTreeSet<String> = before.problems().map(ToString::to_string).collect();
    let mut solved = known.len();
    for problem in after.problems() {
        let text = problem.to_string();
        if known.contains(&text) {
            solved = solved.saturating_sub(1);
        } else {
            tracing::warn!("{text}");
        }
    }
    if solved > 0 {
        tracing::info!(solved, "problems solved");
    }
}

fn route_labels(table: &Table) -> Arc<[RouteLabels]> {
    table
        .routes
        .iter()
        .map(|route| RouteLabels {
            slot: route.slot,
            route: format!("{}/{}", route.id.namespace, route.id.name),
            rule: route.id.rule.to_string(),
            services: route.backends.iter().map(|backend| backend.name.to_string()).collect(),
        })
        .collect()
}
