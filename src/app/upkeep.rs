//! What the control side does for endpoints while they serve: it asks those that are to be checked, and closes circuits.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::persistent::{Change, Map};
use crate::slot::Slot;
use crate::snapshot::Reader;
use crate::table::Table;
use crate::upstream::check::{Check, Course};
use crate::upstream::{Cluster, Endpoint, Health, ProxyProtocol, Transport};

/// How often circuits are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The checks that run. They end with this.
#[derive(Debug, Default)]
pub(super) struct Checks {
    tasks: JoinSet<()>,
    running: HashMap<Key, Running>,
    /// What each cluster wants to be checked, for those that want anything.
    wanted: HashMap<Slot, Vec<Key>>,
}

/// A check that runs.
#[derive(Debug)]
struct Running {
    task: AbortHandle,
    /// How many clusters want it.
    clusters: usize,
}

/// Which check: an endpoint, by its slot's serial, and what is asked of it. However many routes and workers want it, it
/// runs once.
type Key = (u64, Check);

/// One check on one endpoint.
struct Task {
    check: Check,
    transport: Transport,
    announces: Option<ProxyProtocol>,
    address: SocketAddr,
    host: String,
    service: Arc<str>,
    vote: Vote,
}

/// What a check has to say of an endpoint; nothing any more once it is dropped.
struct Vote {
    health: Arc<Health>,
    course: Course,
}

impl Checks {
    /// Starts and stops checks so that exactly those run that the clusters of `table` ask for, of which those of the
    /// table before have been followed.
    pub(super) fn follow(&mut self, before: &Table, table: &Table) {
        for Change { key: slot, now, .. } in table.clusters.changes(&before.clusters) {
            self.look(*slot, now);
        }
    }

    /// The same after the endpoints of one cluster have changed.
    pub(super) fn moved(&mut self, cluster: &Arc<Cluster>) {
        self.look(cluster.slot, Some(cluster));
    }

    fn look(&mut self, slot: Slot, cluster: Option<&Arc<Cluster>>) {
        while self.tasks.try_join_next().is_some() {}
        let checked = cluster.and_then(|cluster| Some((cluster, cluster.policy.check.as_ref()?)));
        let mut wanted = Vec::new();
        if let Some((cluster, check)) = checked {
            let set = cluster.endpoints();
            for (endpoint, health) in set.endpoints.iter().zip(&set.health) {
                let key = (endpoint.slot.serial(), check.clone());
                let tasks = &mut self.tasks;
                let start = || {
                    let task = tasks.spawn(Task::new(check, cluster, endpoint, health).run());
                    Running { task, clusters: 0 }
                };
                self.running.entry(key.clone()).or_insert_with(start).clusters += 1;
                wanted.push(key);
            }
        }
        // What is wanted again has been counted twice by now, and does not end in between.
        let former = if wanted.is_empty() { self.wanted.remove(&slot) } else { self.wanted.insert(slot, wanted) };
        for key in former.unwrap_or_default() {
            let Some(running) = self.running.get_mut(&key) else { continue };
            running.clusters -= 1;
            if running.clusters == 0 {
                running.task.abort();
                self.running.remove(&key);
            }
        }
    }
}

impl Task {
    fn new(check: &Check, cluster: &Cluster, endpoint: &Endpoint, health: &Arc<Health>) -> Self {
        let (transport, address) = (cluster.transport.clone(), endpoint.address);
        let host = match &transport {
            Transport::Http1 | Transport::H2c => address.to_string(),
            Transport::Tls(tls) => tls.server_name.to_str().into_owned(),
        };
        let vote = Vote { health: health.clone(), course: Course::default() };
        Self {
            check: check.clone(),
            transport,
            announces: cluster.announces,
            address,
            host,
            service: cluster.name.clone(),
            vote,
        }
    }

    async fn run(mut self) {
        let interval = self.check.interval;
        let text = format!("{} {} {}", self.service, self.address, self.check.question);
        // Spread over the interval, so that a hundred endpoints are not asked at once, nor one by all replicas.
        tokio::time::sleep(share(interval, started(&text))).await;
        for number in 0u64.. {
            let began = Instant::now();
            let answer = self.check.ask(&self.transport, self.announces, self.address, &self.host).await;
            let failing = self.vote.take(&self.check, answer.is_ok());
            let (service, endpoint) = (&self.service, self.address);
            match (failing, answer) {
                (Some(true), Err(error)) => {
                    tracing::warn!(%service, %endpoint, %error, "endpoint is left out: checks on it fail");
                }
                (Some(_), _) => tracing::info!(%service, %endpoint, "endpoint is used again: checks on it pass"),
                (None, Err(error)) => tracing::debug!(%service, %endpoint, %error, "a check failed"),
                (None, Ok(())) => {}
            }
            // A tenth more or less, so that those that fell into step fall out of it.
            let jitter = share(interval / 5, xxh3_64(format!("{text} {number}").as_bytes()));
            let next = interval - interval / 10 + jitter;
            tokio::time::sleep(next.saturating_sub(began.elapsed())).await;
        }
    }
}

impl Vote {
    fn take(&mut self, check: &Check, good: bool) -> Option<bool> {
        let failing = self.course.take(check, good)?;
        if failing {
            self.health.check_fails();
        } else {
            self.health.check_passes();
        }
        Some(failing)
    }
}

impl Drop for Vote {
    fn drop(&mut self) {
        if self.course.is_failing() {
            self.health.check_passes();
        }
    }
}

/// A number that differs from process to process.
fn started(text: &str) -> u64 {
    xxh3_64(format!("{} {text}", std::process::id()).as_bytes())
}

/// As much of a length of time as a random number says.
fn share(of: Duration, random: u64) -> Duration {
    of.mul_f64(f64::from((random >> 32) as u32) / f64::from(u32::MAX))
}

/// Closes circuits that have turned nothing away for a while.
pub(super) async fn settle(tables: Reader<Table>, epoch: Instant) -> Infallible {
    let mut interval = tokio::time::interval(LOOK);
    let mut known = Map::default();
    // Few clusters have one.
    let mut with_breaker = BTreeMap::new();
    loop {
        interval.tick().await;
        let clusters = tables.load().clusters.clone();
        for Change { key: slot, now, .. } in clusters.changes(&known) {
            match now.filter(|cluster| cluster.breaker.is_some()) {
                Some(cluster) => with_breaker.insert(*slot, cluster.clone()),
                None => with_breaker.remove(slot),
            };
        }
        known = clusters;
        let now = u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        for cluster in with_breaker.values() {
            if let Some(breaker) = &cluster.breaker
                && breaker.settle(now)
            {
                tracing::info!(
                    service = %cluster.name,
                    circuit = "closed",
                    refused = breaker.refused(),
                    "everything is let through to the service again"
                );
            }
        }
    }
}
