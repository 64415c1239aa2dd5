//! Many requests over a few connections that are kept, and what came of each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked: a `GET`, or a `POST` when there is a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) requests: u32,
    pub(crate) pace: Pace,
    /// What is asked, in turn.
    pub(crate) asks: &'static [Ask],
}

/// When a request is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, evenly, whether or not earlier ones have been answered.
    Even(u32),
    /// The same on average, but on all connections at once, with a rest after.
    Bursts(u32),
    /// As soon as the connection has its last answer.
    FlatOut,
}

/// A load under way.
pub(crate) struct Running {
    answered: Arc<AtomicU32>,
    thread: JoinHandle<Outcome>,
}

/// An answer of status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) asked: Instant,
    pub(crate) came: Instant,
    pub(crate) body: Bytes,
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    /// What each request failed with that was not answered so.
    pub(crate) failures: Vec<String>,
}

/// A connection, and the task that does its work for as long.
struct Kept {
    sender: Sender,
    _work: JoinSet<hyper::Result<()>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Load {
    /// Starts to ask, over HTTP/1.1.
    pub(crate) fn start(self, gateway: SocketAddr) -> Running {
        self.start_speaking(gateway, |_| false)
    }

    /// The same, with every second pair of connections speaking HTTP/2, so that both are asked everything.
    pub(crate) fn start_mixed(self, gateway: SocketAddr) -> Running {
        self.start_speaking(gateway, |number| number / 2 % 2 == 1)
    }

    fn start_speaking(self, gateway: SocketAddr, http2: fn(u32) -> bool) -> Running {
        let answered = Arc::new(AtomicU32::new(0));
        let counted = answered.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let began = Instant::now();
                let connections: JoinSet<Outcome> = (0..self.connections)
                    .map(|number| self.connection(number, http2(number), gateway, began, counted.clone()))
                    .collect();
                let mut outcome = Outcome::default();
                for part in connections.join_all().await {
                    outcome.answers.extend(part.answers);
                    outcome.failures.extend(part.failures);
                }
                outcome
            })
        });
        Running { answered, thread }
    }

    /// How long after the beginning a request is due, if not at once.
    fn due(&self, turn: u32) -> Option<Duration> {
        let second = Duration::from_secs(1);
        match self.pace {
            Pace::Even(rate) => Some(second * turn / rate),
            Pace::Bursts(rate) => Some(second * (turn - turn % self.connections) / rate),
            Pace::FlatOut => None,
        }
    }

    /// The share of one connection, which is made anew only after a failure or when the gateway asks for it.
    async fn connection(
        self,
        number: u32,
        http2: bool,
        gateway: SocketAddr,
        began: Instant,
        answered: Arc<AtomicU32>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut kept = None;
        for (turn, ask) in (0..self.requests).zip(self.asks.iter().cycle()) {
            if turn % self.connections != number {
                continue;
            }
            if let Some(due) = self.due(turn) {
                tokio::time::sleep_until((began + due).into()).await;
            }
            let asked = Instant::now();
            let exchange = tokio::time::timeout(PATIENCE, exchange(&mut kept, http2, gateway, ask)).await;
            match exchange.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(body) => outcome.answers.push(Answer { asked, came: Instant::now(), body }),
                Err(failure) => {
                    kept = None;
                    outcome.failures.push(format!("request {turn}, {ask:?}, after {:?}: {failure}", asked - began));
                }
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

/// One request and its answer; the connection for it is made when there is none.
async fn exchange(kept: &mut Option<Kept>, http2: bool, gateway: SocketAddr, ask: &Ask) -> Result<Bytes, String> {
    let sender = match kept {
        Some(Kept { sender, .. }) => sender,
        None => &mut kept.insert(connect(http2, gateway).await?).sender,
    };
    let method = if ask.body.is_empty() { "GET" } else { "POST" };
    let body = Full::new(Bytes::from_static(ask.body.as_bytes()));
    let request = Request::builder().method(method);
    let closed = |error| format!("the gateway closed the connection: {error:?}");
    let response = match sender {
        Sender::Http1(sender) => {
            let request = request.uri(ask.path).header("host", ask.host).body(body).unwrap();
            sender.ready().await.map_err(closed)?;
            sender.send_request(request).await
        }
        Sender::Http2(sender) => {
            let request = request.uri(format!("http://{}{}", ask.host, ask.path)).body(body).unwrap();
            sender.ready().await.map_err(closed)?;
            sender.send_request(request).await
        }
    };
    let response = response.map_err(|error| format!("{error:?}"))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("body: {error:?}"))?.to_bytes();
    if head.headers.get("connection").is_some_and(|value| value == "close") {
        *kept = None;
    }
    if head.status == StatusCode::OK { Ok(body) } else { Err(format!("{head:?}: {body:?}")) }
}

async fn connect(http2: bool, gateway: SocketAddr) -> Result<Kept, String> {
    let tcp = TcpStream::connect(gateway).await.map_err(|error| format!("connect: {error}"))?;
    tcp.set_nodelay(true).unwrap();
    let (io, mut work) = (TokioIo::new(tcp), JoinSet::new());
    let failed = |error| format!("{error:?}");
    let sender = if http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        work.spawn(connection);
        Sender::Http2(sender)
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
        work.spawn(connection);
        Sender::Http1(sender)
    };
    Ok(Kept { sender, _work: work })
}

impl Running {
    /// How many requests are over.
    pub(crate) fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether all of them are.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the rest of them.
    pub(crate) fn outcome(self) -> Outcome {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Outcome {
    /// Within which time so many of a thousand were answered.
    pub(crate) fn within(&self, thousandths: usize) -> Duration {
        let mut took: Vec<_> = self.answers.iter().map(|answer| answer.came - answer.asked).collect();
        took.sort();
        took[took.len() * thousandths / 1000]
    }

    /// Says what came, and that nothing failed.
    pub(crate) fn assert_none_failed(&self, load: &Load) {
        let mut latencies: Vec<Duration> = self.answers.iter().map(|answer| answer.came - answer.asked).collect();
        latencies.sort();
        let at = |share: usize| latencies.get(latencies.len() * share / 1000).copied().unwrap_or_default();
        println!(
            "{} of {} requests failed; half were answered within {:?}, 99 % within {:?}, all within {:?}",
            self.failures.len(),
            load.requests,
            at(500),
            at(990),
            latencies.last().copied().unwrap_or_default()
        );
        let first: Vec<_> = self.failures.iter().take(10).collect();
        assert!(first.is_empty(), "{} failed: {first:#?}", self.failures.len());
        assert_eq!(self.answers.len(), load.requests as usize);
    }
}
