//! The data plane, one copy per core: a worker is a thread with a runtime, listeners, connections and counters of its
//! own. What it shares with anybody is the table it reads.
//!
//! A request's way: `listener` → `connection` → `http1` or `http2` → `seat` → `exchange` → `attempt` and back.

mod again;
mod answer;
mod attempt;
mod body;
mod capacity;
mod caught;
mod client_certificate;
pub mod clock;
mod compressed;
mod connection;
mod connections;
mod date;
mod encoder;
mod error;
mod error_page;
mod exchange;
mod external_auth;
mod forward;
pub mod framing;
mod grpc_web;
mod hash;
mod hold;
mod http1;
mod http2;
mod identity;
mod limits;
mod linger;
mod listener;
mod marks;
mod mirror;
mod noted;
mod pressure;
mod proxy_protocol;
mod question;
mod record;
mod replay;
mod seat;
mod session;
mod spare;
mod tls;
mod told;
mod traces;
mod upgrade;
mod waker;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use http::HeaderValue;
use tokio::runtime::LocalOptions;

pub use capacity::Capacity;
pub use hold::Memory;
pub use listener::Bound;
pub use tls::Tls;

use crate::address::Trust;
use crate::drain::{Drain, Grace, Phase};
use crate::limit::{LocalStore, SharedStore};
use crate::snapshot::{Held, LocalReader, Reader};
use crate::table::Table;
use crate::telemetry::{AccessLog, Protocol, Tap, Tracer, WorkerLog, WorkerMetrics};
use crate::upstream::pool::{ConnectError, Pool};
use crate::upstream::{Cluster, Endpoint};
use body::RequestBody;
use capacity::Place;
use clock::Clock;
use connections::Connections;
use date::Date;
use forward::Values;
use identity::Doorkeeper;
use noted::Notes;
use pressure::{Change, Pressure};
use seat::Seats;
use spare::Spare;

/// How often idle connections to endpoints are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it is looked whether endpoints have gone, whose connections are not to rest until then.
const LOOK: Duration = Duration::from_millis(100);
/// How long after a change connections may still be made to endpoints that it has taken away, by exchanges that began before.
const SETTLING: Duration = Duration::from_secs(10);
/// How often a draining worker looks whether its last connection has ended.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How long connections that are still open have to say that they end.
const PARTING: Duration = Duration::from_millis(200);

/// How old a line of the access log may become before it is handed on.
const FLUSH: Duration = Duration::from_millis(100);

/// What is told of a lack of room is told once in so many milliseconds.
const COMPLAINT: u64 = 1_000;

/// What a worker is made of.
#[derive(Debug)]
pub struct Settings {
    /// Its number.
    pub index: usize,
    /// The tables it serves.
    pub tables: Reader<Table>,
    /// Where limits are counted that replicas share.
    pub shared_limits: Option<Arc<dyn SharedStore>>,
    /// When to stop.
    pub drain: Drain,
    /// How long stopping may take.
    pub grace: Grace,
    /// Where it listens in clear.
    pub http: TcpListener,
    /// Where it listens for TLS.
    pub https: TcpListener,
    /// How many connections all workers together may have.
    pub capacity: Capacity,
    /// What request bodies are held in.
    pub memory: Memory,
    /// How clients are met over TLS. All workers take each other's tickets: a client that comes back may meet any of them.
    pub tls: Tls,
    /// Whose word about a client's address is taken.
    pub trust: Trust,
    /// Where it counts.
    pub metrics: WorkerMetrics,
    /// When time began, for all workers alike.
    pub epoch: Instant,
    /// Where it logs, if exchanges are logged.
    pub log: Option<AccessLog>,
    /// Where spans go, if traces are exported.
    pub tracer: Option<Tracer>,
    /// Where live requests pass.
    pub tap: Tap,
    /// What all workers together have counted for limits.
    pub limits: Arc<LocalStore>,
}

/// One core's copy of the data plane.
pub(crate) struct Worker {
    tables: LocalReader<Table>,
    pool: Pool<RequestBody>,
    clock: Clock,
    tls: Tls,
    metrics: WorkerMetrics,
    log: Option<WorkerLog>,
    tracer: Option<Tracer>,
    tap: Tap,
    notes: Notes,
    desk: limits::Desk,
    capacity: Capacity,
    memory: Memory,
    trust: Trust,
    /// Copies of requests that are under way.
    copies: Cell<usize>,
    /// Bodies that are being compressed.
    encoders: Cell<usize>,
    connections: Connections,
    phase: Cell<Phase>,
    open: Cell<usize>,
    /// When the next complaint may be made, by the worker's clock.
    complaint: Cell<u64>,
    random: Cell<u64>,
    values: RefCell<Values>,
    https_port: u16,
    doorkeeper: Doorkeeper,
    pressure: Pressure,
    /// Where exchanges take place.
    seats: Seats,
    /// What its connections of HTTP/2 share.
    http2: http2::Shared,
    /// Memory for what comes next.
    spare: Rc<Spare>,
    date: Date,
}

/// Starts a worker on a thread of its own; the thread ends when the drain has.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn(settings: Settings) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name(format!("worker-{}", settings.index)).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(run(settings))
    })
}

async fn run(settings: Settings) -> io::Result<()> {
    let Settings {
        index,
        tables,
        shared_limits,
        mut drain,
        grace,
        http,
        https,
        capacity,
        memory,
        tls,
        trust,
        metrics,
        epoch,
        log,
        tracer,
        tap,
        limits,
    } = settings;
    let worker = Rc::new(Worker {
        tls,
        tables: LocalReader::new(tables),
        pool: Pool::default(),
        clock: Clock::since(epoch),
        metrics,
        log: log.map(|log| log.worker()),
        tracer,
        tap,
        notes: Notes::default(),
        desk: limits::Desk::new(index, limits),
        capacity,
        memory,
        trust,
        copies: Cell::new(0),
        encoders: Cell::new(0),
        connections: Connections::default(),
        phase: Cell::new(Phase::Serving),
        open: Cell::new(0),
        complaint: Cell::new(0),
        random: Cell::new(seed()?),
        values: RefCell::default(),
        https_port: https.local_addr()?.port(),
        doorkeeper: Doorkeeper::new(seed()?, seed()?),
        pressure: Pressure::default(),
        seats: Seats::default(),
        http2: http2::Shared::default(),
        spare: Rc::default(),
        date: Date::default(),
    });
    let ticking = tokio::task::spawn_local(tick(worker.clone()));
    let sweeping = tokio::task::spawn_local(sweep(worker.clone()));
    let attending = shared_limits.map(|store| tokio::task::spawn_local(async move { store.attend().await }));
    let flushing = tokio::task::spawn_local(flush(worker.clone()));
    let accepting = [
        tokio::task::spawn_local(listener::accept(worker.clone(), http, false)),
        tokio::task::spawn_local(listener::accept(worker.clone(), https, true)),
    ];

    drain.reached(Phase::Leaving).await;
    worker.enter(Phase::Leaving);
    drain.reached(Phase::Draining).await;
    worker.enter(Phase::Draining);
    for task in accepting {
        // It takes what has connected until now, and ends.
        let _ = task.await;
    }
    let finished = async || {
        while worker.open.get() > 0 {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    };
    tokio::select! {
        () = finished() => {}
        () = drain.reached(Phase::Ended) => {}
        () = tokio::time::sleep(grace.timeout) => {
            tracing::warn!(connections = worker.open.get(), "connections were still open at the end of the drain");
        }
    }
    worker.enter(Phase::Ended);
    let _ = tokio::time::timeout(PARTING, finished()).await;
    ticking.abort();
    sweeping.abort();
    if let Some(attending) = attending {
        attending.abort();
    }
    flushing.abort();
    Ok(())
}

/// Keeps the worker's time, and finds out from it whether there is too much to do.
async fn tick(worker: Rc<Worker>) {
    let told = worker.clone();
    let clock = worker.clock.clone();
    clock
        .run(move |late| match told.pressure.tick(late, told.memory.is_short()) {
            None => {}
            Some(Change::Overloaded) => {
                let (milliseconds, memory_is_short) = (late.as_millis(), told.memory.is_short());
                tracing::warn!(milliseconds, memory_is_short, "overloaded: a part of new requests is turned away");
            }
            Some(Change::Recovered) => tracing::info!("no longer overloaded: no request is turned away"),
        })
        .await;
}

/// Hands the lines of the access log on before they are old.
async fn flush(worker: Rc<Worker>) {
    let Some(log) = &worker.log else { return };
    let mut interval = tokio::time::interval(FLUSH);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        log.flush();
    }
}

/// Closes what has been idle for too long, now and then, and what rests of endpoints that have gone, soon.
async fn sweep(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(LOOK);
    let mut known = worker.tables.stamp();
    let (mut swept, mut changed) = (Instant::now(), Instant::now());
    let runtime = tokio::runtime::Handle::current();
    let (mut looked, mut busy) = (Instant::now(), Duration::ZERO);
    loop {
        interval.tick().await;
        let current = worker.tables.stamp();
        let is_new = std::mem::replace(&mut known, current) != current;
        if is_new {
            changed = Instant::now();
        } else if swept.elapsed() < SWEEP {
            continue;
        }
        if changed.elapsed() < SETTLING {
            worker.pool.forget(&gone(&worker.table(), worker.pool.known()));
        }
        worker.pool.sweep(worker.clock.now());
        if swept.elapsed() < SWEEP {
            continue;
        }
        swept = Instant::now();
        let total = runtime.metrics().worker_total_busy_duration(0);
        let ratio = (total - busy).as_secs_f64() / looked.elapsed().as_secs_f64().max(f64::EPSILON);
        worker.metrics.set_busy(ratio.min(1.0));
        (looked, busy) = (Instant::now(), total);
        let usage = worker.pool.usage();
        worker.metrics.set_pool(usage.connects, usage.reuses, usage.idle);
    }
}

/// Which of these endpoints no cluster has any more.
fn gone(table: &Table, mut known: HashSet<u64>) -> HashSet<u64> {
    for cluster in table.clusters.values() {
        if known.is_empty() {
            break;
        }
        for endpoint in &cluster.endpoints().endpoints {
            known.remove(&endpoint.slot.serial());
        }
    }
    known
}

impl Worker {
    /// The table that is current, for as long as the caller wants it.
    fn table(&self) -> Rc<Held<Table>> {
        self.tables.load()
    }

    /// How far a stop has come.
    fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether clients should look elsewhere.
    fn is_leaving(&self) -> bool {
        self.phase.get() >= Phase::Leaving
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.connections.wake();
    }

    /// The port of the TLS listener.
    fn https_port(&self) -> u16 {
        self.https_port
    }

    /// A random number: splitmix64, good for spreading and not for secrets.
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number below `limit`; 0 when that is 0.
    fn random_below(&self, limit: u32) -> u32 {
        // The high half of the product is as even as the number itself.
        let product = u128::from(self.random()) * u128::from(limit);
        u32::try_from(product >> 64).unwrap_or(0)
    }

    /// An id that no other request has.
    fn new_request_id(&self) -> HeaderValue {
        self.value(&forward::uuid_v7(self.clock.wall(), [self.random(), self.random()]))
    }

    /// The value of a field that is this text.
    fn value(&self, text: &[u8]) -> HeaderValue {
        self.values.borrow_mut().of(text)
    }

    /// Counts a connection for as long as what is returned lives; `None` when there are too many already.
    fn hold_connection(self: &Rc<Self>, secure: bool) -> Option<Open> {
        let Some(place) = self.capacity.take() else {
            self.metrics.connection_rejected(secure);
            return None;
        };
        self.open.set(self.open.get() + 1);
        self.metrics.connection_opened(secure);
        Some(Open { worker: self.clone(), secure, _place: place })
    }

    /// Counts a connection on which this is spoken for as long as what is returned lives.
    fn hold_protocol(self: &Rc<Self>, secure: bool, protocol: Protocol) -> Spoken {
        self.metrics.protocol_opened(secure, protocol);
        Spoken { worker: self.clone(), secure, protocol }
    }

    /// Complains, unless that was done a moment ago: what there is no room for comes by the thousand.
    fn complain(&self, complaint: impl FnOnce()) {
        let now = self.clock.now();
        if now >= self.complaint.get() {
            self.complaint.set(now + COMPLAINT);
            complaint();
        }
    }

    /// Says why an endpoint could not be reached; the client only learns that it could not.
    fn tell_connect_failure(&self, cluster: &Cluster, endpoint: &Endpoint, error: &ConnectError) {
        tracing::debug!(service = %cluster.name, endpoint = %endpoint.address, %error, "cannot connect to endpoint");
    }
}

/// A connection that is counted as open.
struct Open {
    worker: Rc<Worker>,
    secure: bool,
    _place: Place,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.open.set(self.worker.open.get().saturating_sub(1));
        self.worker.metrics.connection_closed(self.secure);
    }
}

/// A connection that is counted by what is spoken on it.
struct Spoken {
    worker: Rc<Worker>,
    secure: bool,
    protocol: Protocol,
}

impl Drop for Spoken {
    fn drop(&mut self) {
        self.worker.metrics.protocol_closed(self.secure, self.protocol);
    }
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(u64::from_le_bytes(bytes))
}
