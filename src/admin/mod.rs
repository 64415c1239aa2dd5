//! The admin port: is it alive, is it ready, what does it count, what does it serve and why. It only reads, and shows
//! no secret.

mod answer;
mod api;
mod explain;
mod page;
mod profile;
mod tap;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::compile::{Listed, Report};
use crate::drain::{Drain, Phase};
use crate::snapshot::Reader;
use crate::table::Table;
use crate::telemetry::{Metrics, Tap};

/// Connections at a time. Beyond that the oldest is closed for the newest, so that nobody who holds connections open
/// keeps the kubelet from asking whether we live.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and how long a connection may rest.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, whatever happens on it: the metrics of many thousand routes over a slow link.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest request head, in bytes: an `explain` with many headers.
const MAX_HEAD: usize = 32 * 1024;
/// After an accept that failed, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the process listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// In clear.
    pub http: SocketAddr,
    /// For TLS.
    pub https: SocketAddr,
    /// This port.
    pub admin: SocketAddr,
}

/// How far the process has come, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether new connections are welcome; if not, why.
    pub ready: Result<(), String>,
    /// How many batches of changes the current table reflects.
    pub batches: u64,
}

/// Says how far the process has come; asked anew each time.
pub type Ready = Box<dyn Fn() -> Readiness + Send + Sync>;

/// What the admin port looks at.
pub struct State {
    /// What is served.
    pub tables: Reader<Table>,
    /// What is wrong with what is declared.
    pub reports: watch::Receiver<Arc<Report>>,
    /// What is counted.
    pub metrics: Metrics,
    /// How far the process has come.
    pub readiness: Ready,
    /// Where it listens.
    pub addresses: Addresses,
    /// Where live requests pass.
    pub tap: Tap,
    /// Lists problems, with where they stand if that is known.
    pub locate: Locate,
}

/// Lists the problems of a report, with where they stand if that is known.
pub type Locate = Box<dyn Fn(&Report) -> Vec<Listed> + Send + Sync>;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Answers until the drain has ended: it is asked for readiness while everything else is leaving.
///
/// # Errors
/// None yet; a listener that cannot accept is tried again.
pub async fn serve(listener: TcpListener, state: State, mut drain: Drain) -> io::Result<()> {
    let state = Arc::new(state);
    let mut connections = Connections::default();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => connections.take(stream, state.clone()),
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = drain.reached(Phase::Ended) => {}
    }
    // Dropping the connections ends them.
    Ok(())
}

/// The connections that are open, from the oldest to the newest.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn take(&mut self, stream: TcpStream, state: Arc<State>) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|connection| !connection.is_finished());
        if self.order.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(converse(stream, state, HEADER_TIMEOUT)));
    }
}

/// One connection, from its first request to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
    header_timeout: Duration,
) {
    let lasting = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let lasting = lasting.clone();
        move |request| {
            let (state, lasting) = (state.clone(), lasting.clone());
            async move { Ok::<_, Infallible>(answer::answer(state, request, &lasting).await) }
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    // Whoever goes away in the middle, or takes too long, is no event worth a line. Who watches requests may stay.
    while tokio::time::timeout(CONNECTION_TIMEOUT, connection.as_mut()).await.is_err() {
        if !lasting.load(Ordering::Relaxed) {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
