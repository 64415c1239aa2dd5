//! The loop that keeps the table true: take changes, note what is dirty, compile, publish, tell.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::key_sets::KeySets;
use super::measure::Providers;
use super::upkeep::Checks;
use super::{measure, problem};
use crate::compile::{self, Compiled, Move, Report};
use crate::drain::{Drain, Phase};
use crate::snapshot::Publisher;
use crate::source::kubernetes::Wanted;
use crate::source::{Change, Kind, ObjectKey};
use crate::store::{References, Store, Watch};
use crate::table::Table;
use crate::telemetry::Metrics;

/// After a change, this long without another one and it is compiled.
const QUIET: Duration = Duration::from_millis(3);
/// A change is never held off longer than this.
const HOLD_OFF: Duration = Duration::from_millis(25);

/// Objects that are read by their names come within this after the first compile, or are served without.
const NAMED: Duration = Duration::from_secs(5);

/// Objects that wait to be made anew for their keys.
const KEYS_CHANGED: usize = 1024;

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
    reports: watch::Sender<Arc<Report>>,
    metrics: Metrics,
    readiness: watch::Sender<Readiness>,
    changes: mpsc::Receiver<Vec<Change>>,
    /// Whether the store of shared limits can be asked.
    shared_limits: Option<watch::Receiver<bool>>,
    wanted: Option<Wanted>,
    key_sets: KeySets,
    /// Objects whose keys have begun or ceased to be there.
    keys_changed: mpsc::Receiver<ObjectKey>,
    /// Objects read by their names of which the source has told how they stand; until the first table is served.
    answered: BTreeSet<ObjectKey>,
    /// When the first table is served whatever is still to come.
    served_by: Option<Instant>,
    /// What is dirty and not compiled yet.
    dirty: BTreeSet<ObjectKey>,
    batches: u64,
    checks: Checks,
    /// Whose tokens the routes ask for.
    providers: Providers,
    /// Objects that the source was last asked for by their names.
    values: References,
}

impl Reconcile {
    #[expect(clippy::too_many_arguments, reason = "each is one end of a wire that the composition root lays")]
    pub(super) fn new(
        store: Store,
        settings: compile::Settings,
        tables: Publisher<Table>,
        reports: watch::Sender<Arc<Report>>,
        metrics: Metrics,
        readiness: watch::Sender<Readiness>,
        changes: mpsc::Receiver<Vec<Change>>,
        wanted: Option<Wanted>,
    ) -> Self {
        let (keys_told, keys_changed) = mpsc::channel(KEYS_CHANGED);
        let reconcile = Self {
            key_sets: KeySets::new(keys_told, metrics.clone()),
            keys_changed,
            store,
            settings,
            compiled: Compiled::empty(),
            tables,
            reports,
            metrics,
            readiness,
            changes,
            wanted,
            shared_limits: None,
            answered: BTreeSet::new(),
            served_by: None,
            dirty: BTreeSet::new(),
            batches: 0,
            checks: Checks::default(),
            providers: Providers::default(),
            values: References::default(),
        };
        let waiting = reconcile.waiting();
        reconcile.readiness.send_modify(|readiness| readiness.waiting = waiting);
        reconcile
    }

    /// The same, telling of policies that count in the store of shared limits whether it can be asked.
    pub(super) fn watching(self, shared_limits: Option<watch::Receiver<bool>>) -> Self {
        Self { shared_limits, ..self }
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
                available = changed(&mut self.shared_limits) => self.shared_limits_are(available),
                Some(object) = self.keys_changed.recv() => self.take_keys(object),
                () = reached(self.served_by) => self.serve(),
                () = drain.reached(Phase::Ended) => return Ok(()),
            }
        }
    }

    fn shared_limits_are(&mut self, available: bool) {
        self.compiled.store_is_away(&self.store, !available);
        // Before the first table there is nobody to tell yet.
        if self.readiness.borrow().published {
            self.tell();
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
        let published = self.readiness.borrow().published;
        if !published && !self.store.is_synced() {
            let waiting = self.waiting();
            self.readiness.send_modify(|readiness| readiness.waiting = waiting);
            return;
        }
        if mattered || !published {
            self.compile(began);
        }
        self.serve();
    }

    /// Says that what is compiled is served. The first time that waits for the objects that it refers to by their names,
    /// which nobody could ask for before: whoever served without would answer wrongly for their routes.
    fn serve(&mut self) {
        if !self.readiness.borrow().published {
            let missing = self.missing();
            if !missing.is_empty() {
                let deadline = *self.served_by.get_or_insert_with(|| Instant::now() + NAMED);
                let waiting = format!("waiting for: {}", missing.join(", "));
                if Instant::now() < deadline {
                    return self.readiness.send_modify(|readiness| readiness.waiting = waiting);
                }
                tracing::warn!("serving, and still {waiting}");
            }
        }
        self.served_by = None;
        self.answered.clear();
        let batches = self.batches;
        self.readiness.send_modify(|readiness| {
            readiness.published = true;
            readiness.batches = batches;
        });
    }

    /// What was asked for by its name and has not been told of.
    fn missing(&self) -> Vec<String> {
        if self.wanted.is_none() {
            return Vec::new();
        }
        let wanted = self.compiled.referenced_values().iter();
        wanted.filter(|key| !self.answered.contains(*key)).map(ToString::to_string).collect()
    }

    /// An object is made anew for keys that have begun or ceased to be there, and so are others that wait for the same.
    fn take_keys(&mut self, object: ObjectKey) {
        let began = Instant::now();
        self.dirty.insert(object);
        while let Ok(object) = self.keys_changed.try_recv() {
            self.dirty.insert(object);
        }
        self.compile(began);
    }

    /// How much longer a batch that followed would be waited for.
    fn may_wait(&self, began: Instant) -> Option<Duration> {
        let left = HOLD_OFF.checked_sub(began.elapsed())?;
        (!self.dirty.is_empty()).then(|| left.min(QUIET))
    }

    /// Takes a batch in and says whether there is anything to compile or to tell. Endpoints are published at once: they
    /// change no route and must not wait for any.
    fn apply(&mut self, batch: Vec<Change>) -> bool {
        self.batches += 1;
        measure::events(&self.metrics, &batch);
        if !self.readiness.borrow().published {
            self.answered.extend(batch.iter().filter_map(|change| match change {
                Change::Upsert(object, _) => Some(object.key()),
                Change::Invalid(key, ..) | Change::Delete(key) => Some(key.clone()),
                Change::Replace(..) | Change::Synced(_) | Change::Unavailable(..) | Change::Place(..) => None,
            }));
        }
        let mattered = self.store.apply_all(batch);
        let (slices, rest): (BTreeSet<_>, BTreeSet<_>) =
            self.store.take_dirty().into_iter().partition(|key| key.kind == Kind::EndpointSlice);
        self.dirty.extend(rest);
        // Before the first table there is no cluster; the first compile sees all slices.
        if !slices.is_empty() && self.compiled.table.generation > 0 {
            let moves = self.compiled.endpoints_changed(&self.store, &slices);
            self.publish_endpoints(moves);
        }
        mattered
    }

    fn compile(&mut self, began: Instant) {
        let dirty = std::mem::take(&mut self.dirty);
        let previous = std::mem::take(&mut self.compiled);
        let table = previous.table.clone();
        let compiling = Instant::now();
        self.compiled = compile::compile(&self.store, &self.settings, previous, &dirty);
        let took = compiling.elapsed();
        let moves = std::mem::take(&mut self.compiled.moves);
        self.publish_endpoints(moves);
        let new_table = self.compiled.table.clone();
        if !Arc::ptr_eq(&new_table, &table) {
            measure::table(&self.metrics, &mut self.providers, &table, &new_table);
            self.tables.publish(new_table.clone());
            tracing::info!(
                generation = new_table.generation,
                routes = new_table.routes.len(),
                problems = self.compiled.report.problem_count(),
                milliseconds = took.as_secs_f64() * 1e3,
                "published"
            );
        }
        self.tell();
        self.checks.follow(&table, &new_table);
        self.metrics.set_applied(new_table.generation, took, began.elapsed());
        if self.compiled.take_key_sets_changed() {
            self.key_sets.settle(self.compiled.key_sets());
        }
        self.want();
    }

    fn publish_endpoints(&mut self, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        for (cluster, endpoints) in moves {
            cluster.publish(endpoints);
            self.checks.moved(&cluster);
        }
        self.tables.touch();
    }

    /// Publishes the report, if there is anything new in it.
    fn tell(&self) {
        let (new, report) = (self.compiled.report.clone(), self.reports.borrow().clone());
        if !Arc::ptr_eq(&new, &report) {
            problem::tell(&report, &new);
            measure::report(&self.metrics, &report, &new);
            self.reports.send_replace(new);
        }
    }

    /// Asks for Secrets and ConfigMaps that something has begun to refer to, and lets go of those that nothing refers to any more.
    fn want(&mut self) {
        let Some(source) = &self.wanted else { return };
        let values = self.compiled.referenced_values();
        let asked = self.store.retain(self.compiled.referenced(), values);
        // After the store has been told that these are to be kept.
        if !values.is(&self.values) {
            self.values = values.clone();
            source.values.send_replace(values.iter().cloned().collect());
        }
        for key in asked {
            // The queue holds more than can be asked for between two answers; one that is full is told of.
            if source.certificates.try_send(key.clone()).is_err() {
                tracing::warn!(secret = %key, "cannot ask for a Secret: too many are being asked for");
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

/// Waits until it is time, if it ever is.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for news of the store of shared limits: whether it can be asked.
async fn changed(shared_limits: &mut Option<watch::Receiver<bool>>) -> bool {
    if let Some(available) = shared_limits
        && available.changed().await.is_ok()
    {
        return *available.borrow_and_update();
    }
    std::future::pending().await
}
