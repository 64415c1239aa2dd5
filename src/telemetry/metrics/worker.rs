//! What one worker counts.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};

use super::cells::Counter;
use super::histogram::{DURATION, DurationHistogram, OVERHEAD, OverheadHistogram, nanoseconds};
use super::identity::TokenCells;
use super::route::{RouteCells, RouteSample, WAITS};
use crate::slot::Slot;
use crate::telemetry::Reason;

/// What is known of an exchange once it is over.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Whether it came in over TLS.
    pub secure: bool,
    /// The route that took it, if one did.
    pub route: Option<Slot>,
    /// The number of the backend among the route's that it went to, or was to go to.
    pub backend: Option<u16>,
    /// The method.
    pub method: &'a Method,
    /// The status of the answer.
    pub status: StatusCode,
    /// How it ended.
    pub reason: Reason,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
    /// How much of that was spent waiting for a backend; zero when none was asked.
    pub upstream: Duration,
    /// How long connections to backends took to make; zero when none was made.
    pub connecting: Duration,
    /// How long it waited for connections to backends that others had; zero when it did not.
    pub queued: Duration,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Bytes of the request's body.
    pub received: u64,
}

impl Exchange<'_> {
    /// How long it waited, for each of what it may wait for, in nanoseconds.
    pub(super) fn waits(&self) -> [u64; WAITS] {
        [self.upstream, self.connecting, self.queued].map(nanoseconds)
    }
}

/// The hand that a worker counts with. It may move to the worker's thread and not be shared: each cell has one writer.
#[derive(Debug)]
pub struct WorkerMetrics {
    cells: Arc<WorkerCells>,
    one_writer: PhantomData<Cell<()>>,
}

impl WorkerMetrics {
    pub(super) fn new(cells: Arc<WorkerCells>) -> Self {
        Self { cells, one_writer: PhantomData }
    }

    /// An exchange has begun; [`Self::record`] ends it.
    pub fn began(&self, secure: bool) {
        self.cells.listener(secure).began.add(1);
    }

    /// The exchange will be counted for this route. With many routes its cells are in no cache: asked for now, they come
    /// while the exchange goes on.
    pub fn expect(&self, route: Slot) {
        self.cells.expect(route);
    }

    /// An exchange is over.
    pub fn record(&self, exchange: &Exchange<'_>) {
        self.cells.record(exchange);
    }

    /// A client has connected.
    pub fn connection_opened(&self, secure: bool) {
        self.cells.listener(secure).opened.add(1);
    }

    /// A client's connection has ended.
    pub fn connection_closed(&self, secure: bool) {
        self.cells.listener(secure).closed.add(1);
    }

    /// It has turned out what a client speaks on its connection; [`Self::protocol_closed`] ends it.
    pub fn protocol_opened(&self, secure: bool, protocol: Protocol) {
        self.cells.listener(secure).of(protocol).opened.add(1);
    }

    /// Such a connection ends.
    pub fn protocol_closed(&self, secure: bool, protocol: Protocol) {
        self.cells.listener(secure).of(protocol).closed.add(1);
    }

    /// A client's connection was closed at once, since there are too many.
    pub fn connection_rejected(&self, secure: bool) {
        self.cells.listener(secure).rejected.add(1);
    }

    /// A client connected for TLS and came to terms with us after so long.
    pub fn handshake_done(&self, took: Duration) {
        self.cells.handshakes.observe(&DURATION, nanoseconds(took));
    }

    /// A client connected for TLS and came to no terms with us.
    pub fn handshake_failed(&self, why: HandshakeFailure) {
        let HandshakeCells { no_certificate, client_certificate, timeout, protocol } = &self.cells.handshakes_failed;
        let counter = match why {
            HandshakeFailure::NoCertificate => no_certificate,
            HandshakeFailure::ClientCertificate => client_certificate,
            HandshakeFailure::Timeout => timeout,
            HandshakeFailure::Protocol => protocol,
        };
        counter.add(1);
    }

    /// How much of the last second the worker was not waiting for anything, from 0 to 1.
    pub fn set_busy(&self, ratio: f64) {
        self.cells.busy.set((ratio * BUSY) as u64);
    }

    /// A token of this provider was looked at, with this result.
    pub fn token(&self, provider: &Arc<str>, result: &'static str) {
        self.cells.tokens.count(provider, result);
    }

    /// A copy of a request is over, or was not made.
    pub fn copied(&self, result: Copied) {
        self.cells.copies.of(result).add(1);
    }

    /// What the worker's pool has done since it began (connections made, requests that went out on one that was
    /// there), and how many connections rest in it now.
    pub fn set_pool(&self, connects: u64, reuses: u64, idle: u64) {
        let PoolCells { connects: made, reuses: reused, idle: resting } = &self.cells.pool;
        made.set(connects);
        reused.set(reuses);
        resting.set(idle);
    }
}

/// What a client speaks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whatever both ends have agreed on after an upgrade.
    Tunnel,
}

impl Protocol {
    pub(super) const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Tunnel];

    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// Nothing is declared for the name that was asked for.
    NoCertificate,
    /// The client has no certificate that is let in.
    ClientCertificate,
    /// It took too long.
    Timeout,
    /// The client speaks no TLS, no version or cipher of ours, or does not trust us.
    Protocol,
}

/// What stands for always busy.
pub(super) const BUSY: f64 = 1e6;

/// Routes per chunk of a worker's cells.
const CHUNK: usize = 256;
/// Chunks; together room for 262,144 routes. A route beyond that is counted as if there were none.
const CHUNKS: usize = 1024;

/// Everything a worker counts. Aligned so that no two workers write to one cache line, nor to a pair of lines that is
/// fetched together.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WorkerCells {
    pub(super) http: ListenerCells,
    pub(super) https: ListenerCells,
    pub(super) handshakes: DurationHistogram,
    pub(super) handshakes_failed: HandshakeCells,
    /// In parts of [`BUSY`].
    pub(super) busy: Counter,
    pub(super) copies: CopyCells,
    pub(super) pool: PoolCells,
    pub(super) tokens: TokenCells,
    /// Exchanges that no route took.
    unrouted: RouteCells,
    routes: Box<[OnceLock<Chunk>]>,
}

type Chunk = Box<[OnceLock<Box<RouteCells>>]>;

/// What is counted per listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCells {
    pub(super) began: Counter,
    pub(super) ended: Counter,
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    pub(super) rejected: Counter,
    pub(super) overhead: OverheadHistogram,
    http1: ProtocolCells,
    http2: ProtocolCells,
    tunnel: ProtocolCells,
}

/// Connections on which something is spoken.
#[derive(Debug, Default)]
pub(super) struct ProtocolCells {
    pub(super) opened: Counter,
    pub(super) closed: Counter,
}

impl ListenerCells {
    pub(super) fn of(&self, protocol: Protocol) -> &ProtocolCells {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Tunnel => &self.tunnel,
        }
    }
}

/// Handshakes that failed, by why.
#[derive(Debug, Default)]
pub(super) struct HandshakeCells {
    pub(super) no_certificate: Counter,
    pub(super) client_certificate: Counter,
    pub(super) timeout: Counter,
    pub(super) protocol: Counter,
}

/// What became of a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It was answered.
    Sent,
    /// It was not answered, or not in time.
    Failed,
    /// Too many were under way.
    Dropped,
    /// The request's body is too large to be copied.
    TooLarge,
}

impl Copied {
    pub(super) const ALL: [Self; 4] = [Self::Sent, Self::Failed, Self::Dropped, Self::TooLarge];

    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::TooLarge => "too_large",
        }
    }
}

/// Copies of requests, by what became of them.
#[derive(Debug, Default)]
pub(super) struct CopyCells {
    sent: Counter,
    failed: Counter,
    dropped: Counter,
    too_large: Counter,
}

impl CopyCells {
    pub(super) fn of(&self, result: Copied) -> &Counter {
        match result {
            Copied::Sent => &self.sent,
            Copied::Failed => &self.failed,
            Copied::Dropped => &self.dropped,
            Copied::TooLarge => &self.too_large,
        }
    }
}

/// What the pool says of itself.
#[derive(Debug, Default)]
pub(super) struct PoolCells {
    pub(super) connects: Counter,
    pub(super) reuses: Counter,
    pub(super) idle: Counter,
}

// === impl WorkerCells ===

impl Default for WorkerCells {
    fn default() -> Self {
        Self {
            http: ListenerCells::default(),
            https: ListenerCells::default(),
            handshakes: DurationHistogram::default(),
            handshakes_failed: HandshakeCells::default(),
            busy: Counter::default(),
            copies: CopyCells::default(),
            pool: PoolCells::default(),
            tokens: TokenCells::default(),
            unrouted: RouteCells::default(),
            routes: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl WorkerCells {
    /// The cells of one listener.
    pub(super) fn listener(&self, secure: bool) -> &ListenerCells {
        if secure { &self.https } else { &self.http }
    }

    fn record(&self, exchange: &Exchange<'_>) {
        let listener = self.listener(exchange.secure);
        listener.ended.add(1);
        let waited = exchange.waits().into_iter().fold(0, u64::saturating_add);
        listener.overhead.observe(&OVERHEAD, nanoseconds(exchange.duration).saturating_sub(waited));
        match exchange.route.and_then(|slot| self.adopt(slot)) {
            Some(route) => route.record(exchange),
            // A route without cells has no backends to name either.
            None => self.unrouted.record(&Exchange {
                backend: None,
                upstream: Duration::ZERO,
                connecting: Duration::ZERO,
                queued: Duration::ZERO,
                ..*exchange
            }),
        }
    }

    /// The cells at a route's place, whoever has them, once there are any.
    fn cells(&self, slot: Slot) -> Option<&RouteCells> {
        self.routes.get(slot.index() / CHUNK)?.get()?.get(slot.index() % CHUNK)?.get().map(Box::as_ref)
    }

    fn expect(&self, slot: Slot) {
        if let Some(cells) = self.cells(slot) {
            cells.expect();
        }
    }

    /// The cells of a route, clean if somebody else had them before; none when somebody else has them since.
    fn adopt(&self, slot: Slot) -> Option<&RouteCells> {
        let chunk = self.routes.get(slot.index() / CHUNK)?;
        let chunk = match chunk.get() {
            Some(chunk) => chunk,
            None => chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect()),
        };
        let cells = chunk.get(slot.index() % CHUNK)?;
        let cells = match cells.get() {
            Some(cells) => cells,
            None => cells.get_or_init(Box::default),
        };
        cells.adopt(slot.serial()).then_some(&**cells)
    }

    /// What has been counted for a route; none when nothing has.
    pub(super) fn sample(&self, slot: Slot) -> Option<RouteSample> {
        self.cells(slot)?.sample(slot.serial())
    }

    /// What has been counted for no route.
    pub(super) fn sample_unrouted(&self) -> RouteSample {
        self.unrouted.read()
    }
}
