//! The composition root: build, spawn, wait, drain. Nobody may use this but the command line.

mod cgroup;
mod handover;
mod inherit;
mod key_sets;
mod measure;
mod notify;
mod problem;
mod reconcile;
pub(crate) mod shared_limits;
mod signal;
pub mod trust;
mod upkeep;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::address::Trust;
use crate::admin;
use crate::compile::{self, Listed, Report};
use crate::config::{Listen, Process};
use crate::drain::{self, Drain, Phase, Signal};
use crate::limit::{LocalStore, SharedStore};
use crate::proxy::{self, Bound, Capacity, Memory, Tls};
use crate::snapshot::{Publisher, Reader};
use crate::source::kubernetes::Wanted;
use crate::source::{Change, Kind};
use crate::store::Store;
use crate::table::Table;
use crate::telemetry::{AccessLog, Metrics, Tap, Tracer, access_log, trace};

use cgroup::Cgroup;
use handover::Handover;
use inherit::Inherited;
pub use reconcile::Readiness;
use reconcile::Reconcile;
use signal::Signals;

/// Once another process serves, clients are asked for so long to go there by themselves: a connection that is closed while
/// it rests may be closed in the face of a request.
const HANDED: Duration = Duration::from_secs(1);

/// Batches of changes on their way to the store.
const CHANGES: usize = 64;

/// Everything that is there before anything runs: sockets are bound, and nothing listens but the admin port.
pub struct App {
    process: Process,
    http: Bound,
    https: Bound,
    admin: TcpListener,
    addresses: admin::Addresses,
    /// For the process that may take over.
    sockets: Vec<(&'static str, OwnedFd)>,
    metrics: Metrics,
    log: Option<(AccessLog, access_log::Writing)>,
    locate: admin::Locate,
    reconcile: Reconcile,
    shared_limits: Option<Arc<dyn SharedStore>>,
    tables: Reader<Table>,
    reports: watch::Receiver<Arc<Report>>,
    readiness: watch::Receiver<Readiness>,
    changes: mpsc::Sender<Vec<Change>>,
    signal: Arc<Signal>,
    signals: Signals,
    drain: Drain,
}

/// What runs.
pub struct Running {
    /// Where it can be reached.
    pub addresses: admin::Addresses,
    /// Whether workers listen, which they begin to once the first table has been published.
    listening: watch::Receiver<bool>,
    /// The tables as they are published.
    pub tables: Reader<Table>,
    /// What everything counts in.
    pub metrics: Metrics,
    /// The reports as they are published.
    pub reports: watch::Receiver<Arc<Report>>,
    /// Ends it.
    pub signal: Arc<Signal>,
    signals: Option<Signals>,
    /// Whether another process serves in our place.
    handed: watch::Receiver<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
    grace: drain::Grace,
    drain: Drain,
}

impl App {
    /// Binds everything and lays out what will run.
    ///
    /// # Errors
    /// When an address cannot be bound; the message names it.
    pub async fn build(
        mut process: Process,
        mut settings: compile::Settings,
        kinds: impl IntoIterator<Item = Kind>,
        wanted: Option<Wanted>,
    ) -> anyhow::Result<Self> {
        let inherited = Inherited::take().context("the inherited sockets are of no use")?;
        process.workers = process.workers.max(inherited.workers());
        let http =
            bind(process.http, inherited.http, process.workers).with_context(|| format!("--http {}", process.http))?;
        let https = bind(process.https, inherited.https, process.workers)
            .with_context(|| format!("--https {}", process.https))?;
        let admin = match inherited.admin {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)?
            }
            None => {
                let bound = TcpListener::bind(resolve(process.admin)).await;
                bound.with_context(|| format!("--admin {}", process.admin))?
            }
        };
        let sockets = handover::sockets(&http, &https, &admin).context("too few file descriptors")?;
        let addresses = admin::Addresses { http: http.address, https: https.address, admin: admin.local_addr()? };
        let metrics = Metrics::new(process.workers);
        settings.externals.zone = process.zone.as_deref().map(Arc::from);
        let redis = process.redis.as_ref().map(|redis| shared_limits::open(redis, process.workers, &metrics));
        let redis = redis.transpose()?;
        let shared_limits_available = redis.as_ref().map(|redis| redis.available());
        settings.externals.shared_limits = redis.map(|redis| -> Arc<dyn SharedStore> { redis });
        let log = match &process.access_log {
            access_log::Setting::Off => None,
            access_log::Setting::On(plan) => {
                let log = AccessLog::open(plan.clone(), metrics.access_log_dropped());
                Some(log.context("--access-log: its file cannot be opened")?)
            }
        };
        let tables = Publisher::new(Arc::new(Table::default()));
        let (reports, told) = watch::channel(Arc::new(Report::default()));
        let (changes, received) = mpsc::channel(CHANGES);
        let (signal, drain) = drain::channel();
        let (readiness, seen) = watch::channel(Readiness::default());
        let signals = Signals::listen().context("signals cannot be listened to")?;
        Ok(Self {
            tables: tables.reader(),
            reports: told,
            shared_limits: settings.externals.shared_limits.clone(),
            reconcile: Reconcile::new(
                Store::awaiting(kinds),
                settings,
                tables,
                reports,
                metrics.clone(),
                readiness,
                received,
                wanted,
            )
            .watching(shared_limits_available),
            process,
            http,
            https,
            admin,
            addresses,
            sockets,
            metrics,
            log,
            locate: Box::new(Report::list),
            readiness: seen,
            changes,
            signal: Arc::new(signal),
            signals,
            drain,
        })
    }

    /// Where a source sends what it sees.
    pub fn changes(&self) -> mpsc::Sender<Vec<Change>> {
        self.changes.clone()
    }

    /// Has problems listed with where they stand.
    pub fn locate_by(&mut self, locate: impl Fn(&Report) -> Vec<Listed> + Send + Sync + 'static) {
        self.locate = Box::new(locate);
    }

    /// Starts everything. Workers begin to listen once the first table has been published.
    pub fn spawn(self) -> Running {
        let Self {
            process,
            http,
            https,
            admin,
            addresses,
            sockets,
            metrics,
            log,
            locate,
            reconcile,
            shared_limits,
            tables,
            reports,
            readiness,
            changes: _,
            signal,
            signals,
            drain,
        } = self;
        let (listens, listening) = watch::channel(false);
        let tap = Tap::default();
        let limits = Arc::new(LocalStore::new(process.limit_memory));
        metrics.set_local_limits(limits.clone());
        let mut tasks = JoinSet::new();
        let (handover, handed) = Handover::new(sockets, process.replaceable, signal.clone());
        tasks.spawn(handover.run(drain.clone()));
        tasks.spawn(reconcile.run(drain.clone()));
        let epoch = Instant::now();
        tasks.spawn(until_ended(upkeep::settle(tables.clone(), epoch), drain.clone()));
        let memory = Memory::default();
        if let Some(cgroup) = Cgroup::of_process() {
            tasks.spawn(until_ended(cgroup::watch(cgroup, memory.clone()), drain.clone()));
        }
        metrics.ask_for_services({
            let tables = tables.clone();
            move || measure::services(&tables.load())
        });
        let state = admin::State {
            tables: tables.clone(),
            reports: reports.clone(),
            metrics: metrics.clone(),
            readiness: admin_readiness(readiness.clone(), listening.clone(), drain.clone()),
            addresses,
            tap: tap.clone(),
            locate,
        };
        tasks.spawn({
            let drain = drain.clone();
            let mut handed = handed.clone();
            async move {
                tokio::select! {
                    served = admin::serve(admin, state, drain) => served.context("the admin port stopped"),
                    // Whoever asks from now on is to ask the process that serves.
                    Ok(_) = handed.wait_for(|done| *done) => Ok(()),
                }
            }
        });
        let (log, writing) = log.unzip();
        let tracer = process.traces.map(|setting| {
            let (tracer, exporter) = trace::channel(setting, metrics.traces_dropped());
            let mut drain = drain.clone();
            tasks.spawn(async move {
                exporter.run(async move { drain.reached(Phase::Ended).await }).await;
                Ok(())
            });
            tracer
        });
        tasks.spawn(signal::reopen(log.clone(), drain.clone()));
        tasks.spawn(workers(
            WorkerParts {
                log,
                writing,
                tracer,
                tap,
                http,
                https,
                metrics: metrics.clone(),
                tables: tables.clone(),
                shared_limits,
                signal: signal.clone(),
                drain: drain.clone(),
                grace: process.grace,
                epoch,
                trust: process.trust,
                limits,
                memory,
            },
            readiness,
            listens,
        ));
        Running {
            addresses,
            listening,
            tables,
            metrics,
            reports,
            signal,
            signals: Some(signals),
            handed,
            tasks,
            grace: process.grace,
            drain,
        }
    }
}

impl Running {
    /// Sees a stop coming.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Adds a task without which the process makes no sense: its end is the process's end. It is dropped when the drain
    /// has ended.
    pub fn essential(&mut self, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let mut drain = self.drain.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                result = task => result,
                () = drain.reached(Phase::Ended) => Ok(()),
            }
        });
    }

    /// Waits until the first table has been published and workers listen.
    ///
    /// # Errors
    /// When it ends before that.
    pub async fn published(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            first = self.listening.wait_for(|listening| *listening) => {
                first.map(|_| ()).context("nothing was ever published")
            }
            Some(ended) = self.tasks.join_next() => {
                ended.context("a task failed")?.and_then(|()| Err(anyhow!("a task ended before anything was published")))
            }
        }
    }

    /// Waits for a signal to stop, then for the drain; a second signal ends it at once.
    ///
    /// # Errors
    /// What ended the process, if it was not a signal.
    pub async fn until_signalled(mut self) -> anyhow::Result<()> {
        if let Some(signals) = self.signals.take() {
            let signal = self.signal.clone();
            self.essential(async move {
                signals.stop(signal).await;
                std::future::pending().await
            });
        }
        self.finish().await
    }

    /// Waits until the drain has ended; an essential task that ends before that is an error.
    ///
    /// # Errors
    /// What ended the process, if it was not a signal.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let mut phases = self.drain.clone();
        let stopped = tokio::select! {
            // Tasks that end because of the stop are no surprise, so the stop is looked at first.
            biased;
            () = phases.reached(Phase::Leaving) => None,
            Some(ended) = self.tasks.join_next() => Some(ended),
        };
        // A task that a stop or a handover has ended may be seen before that is: it comes to its end on another thread.
        let expected = self.drain.phase() >= Phase::Leaving || *self.handed.borrow();
        if let Some(ended) = stopped.filter(|ended| !expected || !matches!(ended, Ok(Ok(())))) {
            self.signal.enter(Phase::Ended);
            return Err(match ended {
                Ok(Ok(())) => anyhow!("an essential task ended before the process was asked to stop"),
                Ok(Err(error)) => error,
                Err(panic) => anyhow!("an essential task failed: {panic}"),
            });
        }
        phases.reached(Phase::Leaving).await;
        let handed = *self.handed.borrow();
        if !handed {
            notify::stopping();
        }
        let delay = if handed { self.grace.delay.max(HANDED) } else { self.grace.delay };
        tracing::info!(seconds = delay.as_secs_f64(), "leaving: not ready any more, still serving");
        tokio::select! {
            () = tokio::time::sleep(delay) => self.signal.enter(Phase::Draining),
            () = phases.reached(Phase::Draining) => {}
        }
        tracing::info!("draining: finishing what is in flight");
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!(error = format!("{error:#}"), "while draining");
            }
        }
        tracing::info!("stopped");
        Ok(())
    }
}

struct WorkerParts {
    log: Option<AccessLog>,
    writing: Option<access_log::Writing>,
    tracer: Option<Tracer>,
    tap: Tap,
    http: Bound,
    https: Bound,
    metrics: Metrics,
    tables: Reader<Table>,
    shared_limits: Option<Arc<dyn SharedStore>>,
    signal: Arc<Signal>,
    drain: Drain,
    grace: drain::Grace,
    /// When time began, for workers and for those who look at what they did.
    epoch: Instant,
    trust: Trust,
    limits: Arc<LocalStore>,
    memory: Memory,
}

/// Carries on with something that has no end of its own until the drain has ended.
async fn until_ended(endless: impl Future<Output = Infallible>, mut drain: Drain) -> anyhow::Result<()> {
    tokio::select! {
        never = endless => match never {},
        () = drain.reached(Phase::Ended) => Ok(()),
    }
}

/// Starts the workers once there is something to serve, says so, and waits for their threads.
async fn workers(
    parts: WorkerParts,
    mut readiness: watch::Receiver<Readiness>,
    listens: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let mut drain = parts.drain.clone();
    tokio::select! {
        first = readiness.wait_for(|readiness| readiness.published) => {
            first.context("nothing was ever published")?;
        }
        () = drain.reached(Phase::Leaving) => {
            parts.signal.enter(Phase::Ended);
            return Ok(());
        }
    }
    let http = parts.http.listen().context("cannot listen for HTTP")?;
    let https = parts.https.listen().context("cannot listen for HTTPS")?;
    let capacity = Capacity::of_process();
    let tls = Tls::new(parts.tables.clone()).context("TLS cannot be set up")?;
    let threads = http
        .into_iter()
        .zip(https)
        .enumerate()
        .map(|(index, (http, https))| {
            proxy::spawn(proxy::Settings {
                index,
                tables: parts.tables.clone(),
                shared_limits: parts.shared_limits.clone(),
                drain: parts.drain.clone(),
                grace: parts.grace,
                http,
                https,
                capacity: capacity.clone(),
                memory: parts.memory.clone(),
                tls: tls.clone(),
                trust: parts.trust.clone(),
                metrics: parts.metrics.worker(index),
                epoch: parts.epoch,
                log: parts.log.clone(),
                tracer: parts.tracer.clone(),
                tap: parts.tap.clone(),
                limits: parts.limits.clone(),
            })
        })
        .collect::<io::Result<Vec<_>>>()
        .context("cannot start a worker")?;
    listens.send_replace(true);
    notify::ready();
    let mut joins = JoinSet::new();
    for thread in threads {
        joins.spawn_blocking(move || join(thread));
    }
    while let Some(joined) = joins.join_next().await {
        joined.context("a worker cannot be waited for")??;
    }
    // Nothing else has anything left to be there for.
    parts.signal.enter(Phase::Ended);
    drop(parts.log);
    if let Some(writing) = parts.writing {
        tokio::task::spawn_blocking(|| writing.finish()).await?;
    }
    Ok(())
}

fn join(thread: JoinHandle<io::Result<()>>) -> anyhow::Result<()> {
    match thread.join() {
        Ok(result) => result.context("a worker stopped"),
        Err(_) => Err(anyhow!("a worker panicked")),
    }
}

/// What the admin port says of readiness: the drain comes first. Published is not enough: between the first table and
/// the listeners that serve it, a client would be refused.
fn admin_readiness(
    readiness: watch::Receiver<Readiness>,
    listening: watch::Receiver<bool>,
    drain: Drain,
) -> admin::Ready {
    Box::new(move || {
        let readiness = readiness.borrow();
        let ready = if drain.phase() >= Phase::Leaving {
            Err("draining".to_owned())
        } else if *listening.borrow() {
            Ok(())
        } else if readiness.published {
            Err("about to listen".to_owned())
        } else {
            Err(readiness.waiting.clone())
        };
        admin::Readiness { ready, batches: readiness.batches }
    })
}

fn bind(listen: Listen, inherited: Vec<std::net::TcpListener>, workers: usize) -> io::Result<Bound> {
    if !inherited.is_empty() {
        return Bound::inherit(inherited, workers);
    }
    match Bound::new(resolve(listen), workers) {
        // A kernel without IPv6 has no `[::]`.
        Err(_) if listen.ip.is_none() => {
            Bound::new(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), listen.port), workers)
        }
        result => result,
    }
}

fn resolve(listen: Listen) -> SocketAddr {
    SocketAddr::new(listen.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), listen.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_has_a_table_and_listens_and_does_not_leave() {
        let (control, readiness) = watch::channel(Readiness { waiting: "waiting".to_owned(), ..Readiness::default() });
        let (listens, listening) = watch::channel(false);
        let (signal, drain) = drain::channel();
        let ready = admin_readiness(readiness, listening, drain);
        assert_eq!(ready().ready, Err("waiting".to_owned()));
        control.send_modify(|readiness| readiness.published = true);
        assert_eq!(ready().ready, Err("about to listen".to_owned()));
        listens.send_replace(true);
        assert_eq!(ready().ready, Ok(()));
        signal.enter(Phase::Leaving);
        assert_eq!(ready().ready, Err("draining".to_owned()));
    }
}
