//! A worker's connections to endpoints.
//!
//! Nothing here is shared between workers, so nothing is locked. An HTTP/1.1 connection is not a task of its own: it
//! is driven by the exchange that has it on [`Lease`], and rests undriven while it is idle. An HTTP/2 connection is a
//! task, since many exchanges share it.

mod connect;
mod lease;
mod place;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http_body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use connect::Versions;
pub use connect::{ConnectError, Stage, Stream};
pub use lease::{Answered, ExchangeError, Lease, SendError, UpstreamBody};
use place::{Existing, Place};

use super::balance::Loads;
use super::http1::{Http1, MAX_RESPONSE_HEAD};
use super::{Announced, Cluster, Endpoint, Permit, ProxyProtocol, Transport};
use crate::slot::{Slot, SlotVec};

/// An idle HTTP/1.1 connection is not used again after this long, unless the endpoint has said how long it keeps it:
/// Node closes its own after 5 s.
const IDLE_HTTP1: Duration = Duration::from_secs(4);
/// How much earlier than the endpoint we let go of a connection, so that the last request on it is not too late.
const IDLE_MARGIN: Duration = Duration::from_secs(1);
/// However long an endpoint keeps an idle connection, we do not keep it longer.
const IDLE_MOST: Duration = Duration::from_secs(60);
/// An HTTP/2 connection without streams is closed after this long.
const IDLE_HTTP2: Duration = Duration::from_secs(60);
/// Streams that we open on one HTTP/2 connection before we open another.
const MAX_STREAMS: u32 = 100;
/// Idle HTTP/1.1 connections that a worker keeps per endpoint. As many as have just been in use: to make them anew costs
/// more than the exchanges do, just when there are most of them, and what is not used again is closed by its time.
const MAX_IDLE: usize = 16_384;
/// An HTTP/1.1 connection is not used again after so long or so many exchanges, so that what a backend, or a balancer in
/// front of it, keeps per connection is renewed now and then. Rare enough that it costs nothing.
const MAX_AGE: Duration = Duration::from_secs(600);
const MAX_EXCHANGES: u32 = 100_000;
/// The average latency of an endpoint that is not asked falls to 37 % within this time.
const LATENCY_DECAY: Duration = Duration::from_secs(10);
/// Weight of the newest latency in the average.
const EWMA_WEIGHT: f64 = 0.2;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that no pool keeps, and whether HTTP/2 is spoken on it.
///
/// # Errors
/// When none can be made.
pub(super) async fn connect(
    transport: &Transport,
    announces: Option<ProxyProtocol>,
    address: SocketAddr,
) -> Result<(Stream, bool), ConnectError> {
    let announcement = announces.map(|protocol| protocol.header(None));
    connect::connect(transport, address, Versions::Any, announcement, None, |_| {}).await
}

/// A worker's connections to endpoints, and what it knows of their load.
#[derive(Debug)]
pub struct Pool<B: Body + 'static> {
    inner: Rc<Inner<B>>,
}

impl<B: Body + 'static> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
struct Inner<B: Body + 'static> {
    endpoints: RefCell<SlotVec<State<B>>>,
    turns: RefCell<SlotVec<u64>>,
    /// Milliseconds of the worker's clock, written at every sweep and checkout.
    now: Cell<u64>,
    connects: Cell<u64>,
    reuses: Cell<u64>,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'d> {
    /// The cluster, which says how its endpoints are spoken to.
    pub cluster: &'d Cluster,
    /// One of its endpoints.
    pub endpoint: &'d Endpoint,
    /// Whom it speaks for, where the cluster's connections say so; without it for us alone.
    pub speaks_for: Option<&'d Rc<Announced>>,
}

/// What is known of one endpoint.
#[derive(Debug)]
struct State<B: Body + 'static> {
    idle: Vec<Idle<B>>,
    shared: Vec<Rc<Shared<B>>>,
    /// Woken when the HTTP/2 connection that is being made is there, or is not going to be.
    dialing: Option<Rc<Notify>>,
    /// How many wait for a connection that comes to rest, and what wakes them.
    waiting: u32,
    freed: Rc<Notify>,
    /// It has chosen HTTP/2 where it had the choice.
    chose_http2: bool,
    in_flight: u32,
    latency: f64,
    /// When that was last looked at, by the worker's clock.
    observed: u64,
    /// Nobody has it any more.
    gone: bool,
}

impl<B: Body + 'static> Default for State<B> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            dialing: None,
            waiting: 0,
            freed: Rc::default(),
            chose_http2: false,
            in_flight: 0,
            latency: 0.0,
            observed: 0,
            gone: false,
        }
    }
}

struct Idle<B: Body + 'static> {
    connection: Box<Http1<Stream, B>>,
    /// From when on it is not used any more, in milliseconds of the worker's clock.
    until: u64,
    born: u64,
    served: u32,
    /// Whom it speaks for, if it has said so.
    speaks_for: Option<Rc<Announced>>,
}

impl<B: Body + 'static> Idle<B> {
    /// Its place under a bound on connections, where there is one.
    fn permit(&self) -> Option<&Permit> {
        self.connection.io().permit()
    }
}

impl<B: Body + 'static> std::fmt::Debug for Idle<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("until", &self.until).finish_non_exhaustive()
    }
}

/// An HTTP/2 connection that several exchanges share.
#[derive(Debug)]
struct Shared<B> {
    sender: http2::SendRequest<B>,
    /// It goes over TLS.
    secure: bool,
    streams: Cell<u32>,
    /// Streams that the endpoint allows.
    allowed: Rc<Cell<usize>>,
    idle_since: Cell<u64>,
}

impl<B> Shared<B> {
    /// How many streams there may be on it: a request beyond what the endpoint allows would wait in hyper's queue, behind
    /// streams that may be open for hours.
    fn most_streams(&self) -> u32 {
        let allowed = u32::try_from(self.allowed.get()).unwrap_or(MAX_STREAMS);
        // One that allows none is asked all the same: it will say why, or allow some.
        allowed.clamp(1, MAX_STREAMS)
    }
}

impl<B: Body + 'static> Default for Pool<B> {
    fn default() -> Self {
        Self {
            inner: Rc::new(Inner {
                endpoints: RefCell::default(),
                turns: RefCell::default(),
                now: Cell::new(0),
                connects: Cell::new(0),
                reuses: Cell::new(0),
            }),
        }
    }
}

/// How many connections were made and how often one was used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections made.
    pub connects: u64,
    /// Requests that went out on a connection that was there already.
    pub reuses: u64,
    /// Connections that wait for a request now.
    pub idle: u64,
}

impl<B> Pool<B>
where
    B: Body<Data = bytes::Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// A connection to the endpoint that is there and has room for one more exchange. Where connections say whom they
    /// speak for, it is one that speaks for this client.
    pub fn lease_existing(&self, endpoint: Slot, speaks_for: Option<&Rc<Announced>>) -> Option<Lease<B>> {
        let existing = self.existing(endpoint, speaks_for)?;
        Some(self.reuse(self.empty_lease(endpoint, speaks_for), existing))
    }

    fn reuse(&self, mut lease: Lease<B>, existing: Existing<B>) -> Lease<B> {
        let Existing { connection, born, served } = existing;
        lease.connection = connection;
        lease.reused = true;
        (lease.born, lease.served) = (born, served);
        self.inner.reuses.set(self.inner.reuses.get() + 1);
        lease
    }

    /// A connection to the endpoint for one exchange: one that is there, one that is being made, or a new one.
    ///
    /// # Errors
    /// When none is there and none can be made.
    pub async fn lease(&self, to: &Destination<'_>, stage: &Cell<Stage>) -> Result<Lease<B>, ConnectError> {
        let Destination { cluster, endpoint, speaks_for } = to;
        let waiting = self.empty_lease(endpoint.slot, *speaks_for);
        // Another exchange may be dialing an HTTP/2 connection that has room for this one as well.
        while self.shares(endpoint.slot, &cluster.transport)
            && let Some(Some(dialing)) =
                self.with(endpoint.slot, |state| state.dialing.clone().filter(|_| state.free_shared().is_none()))
        {
            dialing.notified().await;
        }
        if let Some(lease) = self.lease_existing(endpoint.slot, *speaks_for) {
            return Ok(lease);
        }
        let mut lease = waiting;
        let permit = match self.place(to, true).await? {
            Place::New(permit) => permit,
            Place::Existing(existing) => return Ok(self.reuse(lease, existing)),
        };
        lease.connection = self.dial(to, Versions::Any, permit, stage).await?;
        Ok(lease)
    }

    /// A connection that nobody has used.
    ///
    /// # Errors
    /// When none can be made.
    pub async fn lease_new(&self, to: &Destination<'_>, stage: &Cell<Stage>) -> Result<Lease<B>, ConnectError> {
        self.lease_new_of(to, Versions::Any, stage).await
    }

    /// A connection that nobody has used, of HTTP/1.1 wherever the endpoint has the choice: only there can a request
    /// change the protocol of the connection.
    ///
    /// # Errors
    /// When none can be made.
    pub async fn lease_new_http1(&self, to: &Destination<'_>, stage: &Cell<Stage>) -> Result<Lease<B>, ConnectError> {
        self.lease_new_of(to, Versions::OnlyHttp1, stage).await
    }

    async fn lease_new_of(
        &self,
        to: &Destination<'_>,
        versions: Versions,
        stage: &Cell<Stage>,
    ) -> Result<Lease<B>, ConnectError> {
        let mut lease = self.empty_lease(to.endpoint.slot, to.speaks_for);
        let Place::New(permit) = self.place(to, false).await? else { return Err(ConnectError::Full) };
        lease.connection = self.dial(to, versions, permit, stage).await?;
        Ok(lease)
    }

    /// A lease still without its connection. The endpoint counts as busy from here on, dialing included, so that others
    /// are preferred.
    fn empty_lease(&self, endpoint: Slot, speaks_for: Option<&Rc<Announced>>) -> Lease<B> {
        self.inner.endpoints.borrow_mut().get_or_insert_with(endpoint, State::default).in_flight += 1;
        Lease::empty(self.clone(), endpoint, speaks_for.cloned())
    }

    fn existing(&self, endpoint: Slot, speaks_for: Option<&Rc<Announced>>) -> Option<Existing<B>> {
        if let Some(Some(shared)) = self.with(endpoint, State::free_shared) {
            shared.streams.set(shared.streams.get() + 1);
            return Some(Existing { connection: lease::Connection::Http2(shared), born: 0, served: 0 });
        }
        while let Some(Some(mut idle)) = self.with(endpoint, |state| state.take_idle(speaks_for)) {
            if idle.connection.is_usable() && idle.until > self.now() {
                let Idle { connection, until: _, born, served, speaks_for: _ } = idle;
                return Some(Existing { connection: lease::Connection::Http1(connection), born, served });
            }
        }
        None
    }

    /// Whether a connection to the endpoint will be one that exchanges share, as far as is known.
    fn shares(&self, endpoint: Slot, transport: &Transport) -> bool {
        match transport {
            Transport::Http1 => false,
            Transport::H2c => true,
            Transport::Tls(_) => self.with(endpoint, |state| state.chose_http2).unwrap_or(false),
        }
    }

    async fn dial(
        &self,
        to: &Destination<'_>,
        versions: Versions,
        permit: Option<Permit>,
        stage: &Cell<Stage>,
    ) -> Result<lease::Connection<B>, ConnectError> {
        let Destination { cluster: Cluster { transport, announces, .. }, endpoint, speaks_for } = to;
        self.inner.connects.set(self.inner.connects.get() + 1);
        // A connection of HTTP/2 would carry the requests of others as well.
        let versions = if announces.is_some() { Versions::OnlyHttp1 } else { versions };
        let announcement = announces.map(|protocol| protocol.header(speaks_for.map(|announced| &**announced)));
        let shares = versions == Versions::Any && self.shares(endpoint.slot, transport);
        let _dialing = shares.then(|| Dialing::begin(self.clone(), endpoint.slot));
        let (stream, http2) =
            connect::connect(transport, endpoint.address, versions, announcement, permit, |reached| stage.set(reached))
                .await?;
        if !http2 {
            return Ok(lease::Connection::Http1(Box::new(Http1::new(stream))));
        }
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(hyper_util::rt::TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .max_header_list_size(MAX_RESPONSE_HEAD as u32)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Http)?;
        let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let told = allowed.clone();
        let mut connection = Box::pin(connection);
        // The task ends with the connection; the connection ends when its last sender has gone.
        tokio::task::spawn_local(async move {
            let ended = std::future::poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                told.set(connection.current_max_send_streams());
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "HTTP/2 connection to a backend ended");
            }
        });
        let shared = Rc::new(Shared {
            sender,
            secure: matches!(transport, Transport::Tls(_)),
            streams: Cell::new(1),
            allowed,
            idle_since: Cell::new(self.now()),
        });
        self.with(endpoint.slot, |state| {
            state.chose_http2 = true;
            state.shared.push(shared.clone());
        });
        Ok(lease::Connection::Http2(shared))
    }
}

impl<B> Pool<B>
where
    B: Body + 'static,
{
    /// Keeps time, in milliseconds of the worker's clock: everything here is as old as the last call says.
    pub fn set_now(&self, now: u64) {
        self.inner.now.set(now);
    }

    /// The endpoints that anything is known of, by the serials of their slots.
    pub fn known(&self) -> HashSet<u64> {
        self.inner.endpoints.borrow().iter().filter(|(_, state)| !state.gone).map(|(serial, _)| serial).collect()
    }

    /// Says of these endpoints that nobody has them any more: the next sweep closes what is idle of theirs.
    pub fn forget(&self, gone: &HashSet<u64>) {
        if gone.is_empty() {
            return;
        }
        self.inner.endpoints.borrow_mut().retain(|serial, state| {
            state.gone |= gone.contains(&serial);
            true
        });
    }

    /// Closes what has been idle for too long, and everything idle of endpoints that have gone.
    pub fn sweep(&self, now: u64) {
        self.set_now(now);
        self.inner.endpoints.borrow_mut().retain(|_, state| {
            let gone = state.gone;
            let wanted = |idle: &Idle<B>| idle.permit().is_some_and(Permit::is_wanted);
            state.idle.retain(|idle| !gone && idle.until > now && !wanted(idle));
            state.shared.retain(|shared| {
                let idle_until = shared.idle_since.get().saturating_add(milliseconds(IDLE_HTTP2));
                let resting = shared.streams.get() == 0 && (gone || idle_until <= now);
                !resting && !shared.sender.is_closed()
            });
            !gone || state.in_flight > 0
        });
    }

    /// What has been made and used again so far.
    pub fn usage(&self) -> Usage {
        let endpoints = self.inner.endpoints.borrow();
        let idle = endpoints.iter().map(|(_, state)| state.idle.len() as u64).sum();
        Usage { connects: self.inner.connects.get(), reuses: self.inner.reuses.get(), idle }
    }

    /// A number that grows by one with every call for this cluster.
    pub fn turn(&self, cluster: Slot) -> u64 {
        let mut turns = self.inner.turns.borrow_mut();
        let turn = turns.get_or_insert_with(cluster, || 0);
        *turn = turn.wrapping_add(1);
        *turn
    }

    /// Takes the time to a response's first byte into the endpoint's average.
    pub fn observe(&self, endpoint: Slot, latency: Duration) {
        let (now, latency) = (self.now(), latency.as_secs_f64());
        self.with(endpoint, |state| {
            state.observed = now;
            state.latency = if state.latency == 0.0 {
                latency
            } else {
                // A rise counts at once, a fall slowly: that is the peak in peak EWMA.
                latency.max(state.latency + EWMA_WEIGHT * (latency - state.latency))
            };
        });
    }

    fn now(&self) -> u64 {
        self.inner.now.get()
    }

    /// What is known of an endpoint, if it is still there: an exchange can outlive the endpoint that serves it, and the
    /// place may have another owner since.
    fn with<T>(&self, endpoint: Slot, act: impl FnOnce(&mut State<B>) -> T) -> Option<T> {
        self.inner.endpoints.borrow_mut().get_mut(endpoint).map(act)
    }

    fn keep(&self, lease: &mut Lease<B>, connection: Box<Http1<Stream, B>>) {
        let Lease { endpoint, keep_for, born, .. } = *lease;
        let served = lease.served + 1;
        let limit = keep_for.map_or(IDLE_HTTP1, |said| (said - IDLE_MARGIN.min(said / 2)).min(IDLE_MOST));
        let now = self.now();
        if served >= MAX_EXCHANGES || now.saturating_sub(born) >= milliseconds(MAX_AGE) {
            return;
        }
        let until = now.saturating_add(milliseconds(limit));
        let idle = Idle { connection, until, born, served, speaks_for: lease.speaks_for.take() };
        self.with(endpoint, |state| {
            // Somebody else may have a better use for its place.
            if state.waiting == 0 && idle.permit().is_some_and(Permit::is_wanted) {
                return;
            }
            if state.idle.len() < MAX_IDLE {
                state.idle.push(idle);
                if state.waiting > 0 {
                    state.freed.notify_one();
                }
            }
        });
    }

    fn finished(&self, endpoint: Slot) {
        self.with(endpoint, |state| state.in_flight = state.in_flight.saturating_sub(1));
    }
}

impl<B: Body + 'static> State<B> {
    /// A connection of HTTP/1.1 that rests, the one that has rested for the shortest time.
    fn take_idle(&mut self, speaks_for: Option<&Rc<Announced>>) -> Option<Idle<B>> {
        let Some(speaks_for) = speaks_for else { return self.idle.pop() };
        let number = self.idle.iter().rposition(|idle| idle.speaks_for.as_ref() == Some(speaks_for))?;
        Some(self.idle.remove(number))
    }

    /// An HTTP/2 connection with room for another stream.
    fn free_shared(&mut self) -> Option<Rc<Shared<B>>> {
        self.shared.retain(|shared| !shared.sender.is_closed());
        self.shared.iter().find(|shared| shared.streams.get() < shared.most_streams()).cloned()
    }
}

impl<B> Loads for Pool<B>
where
    B: Body + 'static,
{
    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.inner.endpoints.borrow().get(endpoint.slot).map_or(0, |state| state.in_flight)
    }

    fn latency(&self, endpoint: &Endpoint) -> f64 {
        // An endpoint that nobody asks is forgiven little by little, or a slow moment would bar it for ever.
        self.inner.endpoints.borrow().get(endpoint.slot).map_or(0.0, |state| {
            let silence = Duration::from_millis(self.now().saturating_sub(state.observed));
            state.latency * (-silence.as_secs_f64() / LATENCY_DECAY.as_secs_f64()).exp()
        })
    }
}

/// Says that an HTTP/2 connection is being made, until it is dropped. Two can be under way at once; each wakes those who
/// wait for it.
struct Dialing<B: Body + 'static> {
    pool: Pool<B>,
    endpoint: Slot,
    done: Rc<Notify>,
}

impl<B: Body + 'static> Dialing<B> {
    fn begin(pool: Pool<B>, endpoint: Slot) -> Self {
        let done = Rc::new(Notify::new());
        pool.with(endpoint, |state| state.dialing = Some(done.clone()));
        Self { pool, endpoint, done }
    }
}

impl<B: Body + 'static> Drop for Dialing<B> {
    fn drop(&mut self) {
        self.pool.with(self.endpoint, |state| {
            state.dialing.take_if(|dialing| Rc::ptr_eq(dialing, &self.done));
        });
        self.done.notify_waiters();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Runs HTTP/2's own tasks on the worker that owns the connection.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
