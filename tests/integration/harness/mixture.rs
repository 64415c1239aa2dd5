//! Clients of every kind at once, for as long as a test wants: requests on connections that are kept, of HTTP/1.1 and
//! HTTP/2, requests that take long, streams as gRPC has them, and WebSockets. And the backends that they talk to.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Response, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::backend::{service, service_speaking};
use super::endpoint::{Bodied, Endpoint, Failure, Speaks, empty, full, piecewise, read_head};
use super::traffic::{PATIENCE, ask, ask2, request, request2, was_not_begun};

/// Messages of a stream or a WebSocket.
const MESSAGES: u32 = 20;
const UPGRADE: &str = "GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A masked text frame that says `Hello`, and the one that a server answers with (RFC 6455 5.7).
const MASKED_HELLO: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const HELLO: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Short requests a second.
    pub(crate) rate: u32,
    /// How long a long request, a stream and a WebSocket last.
    pub(crate) lasting: Duration,
}

/// Says where a new connection goes.
pub(crate) type Balancer = Arc<dyn Fn() -> SocketAddr + Send + Sync>;

/// What all of them talk to.
pub(crate) struct Backends {
    plain: Endpoint,
    stream: Endpoint,
    tunnel: Endpoint,
}

/// The clients under way.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU32>,
    clients: JoinSet<Outcome>,
}

/// What came of them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Exchanges that ended well, by kind.
    pub(crate) finished: BTreeMap<&'static str, u32>,
    /// What each other one failed with.
    pub(crate) failures: Vec<String>,
    /// How long short requests took.
    pub(crate) latencies: Vec<Duration>,
}

// === impl Backends ===

impl Backends {
    pub(crate) async fn start(lasting: Duration) -> Self {
        let plain = Endpoint::answering(Speaks::Http1, move |request| async move {
            if request.uri().path() == "/slow" {
                tokio::time::sleep(lasting).await;
            }
            Response::new(full("done"))
        })
        .await;
        let stream = Endpoint::answering(Speaks::H2c, |request| async move {
            let (pieces, body) = piecewise();
            tokio::spawn(async move {
                let mut messages = request.into_body();
                while let Some(Ok(frame)) = messages.frame().await {
                    if let Ok(bytes) = frame.into_data()
                        && !pieces.send(bytes).await
                    {
                        return;
                    }
                }
                pieces.trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])).await;
            });
            Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body).unwrap()
        })
        .await;
        let tunnel = Endpoint::scripted(|mut tcp, _| async move {
            if read_head(&mut tcp).await.is_empty() {
                return;
            }
            let _ = tcp.write_all(SWITCHED.as_bytes()).await;
            let mut frame = [0; MASKED_HELLO.len()];
            while tcp.read_exact(&mut frame).await.is_ok() && tcp.write_all(HELLO).await.is_ok() {}
        })
        .await;
        Self { plain, stream, tunnel }
    }

    /// The declarations that lead to them.
    pub(crate) fn objects(&self) -> String {
        let rule = |name: &str, path: &str| {
            format!(
                "{{name: {name}, matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {name}, port: 80}}]}}"
            )
        };
        let rules = [rule("plain", "/"), rule("stream", "/stream"), rule("tunnel", "/tunnel")].join(", ");
        service("plain", &[self.plain.address])
            + &service_speaking("stream", "h2c", &[self.stream.address])
            + &service("tunnel", &[self.tunnel.address])
            + &format!(
                "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: all}}\nspec: {{rules: \
                 [{rules}]}}\n"
            )
    }
}

// === impl Running ===

/// Starts the clients.
pub(crate) fn start(scale: Scale, balancer: &Balancer) -> Running {
    let client = Client {
        balancer: balancer.clone(),
        lasting: scale.lasting,
        pause: Duration::from_secs(6) / scale.rate,
        stop: Arc::default(),
        finished: Arc::default(),
        outcome: Outcome::default(),
    };
    let mut clients = JoinSet::new();
    for number in 0..4 {
        let short = client.another();
        if number % 2 == 0 {
            clients.spawn(short.keep_http2());
        } else {
            clients.spawn(short.keep_http1());
            clients.spawn(client.another().keep_http1());
        }
        clients.spawn(client.another().repeat("slow"));
        clients.spawn(client.another().repeat("stream"));
        clients.spawn(client.another().repeat("tunnel"));
    }
    Running { stop: client.stop, finished: client.finished, clients }
}

impl Running {
    /// How many exchanges have ended well.
    pub(crate) fn finished(&self) -> u32 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Lets everybody finish what is under way.
    pub(crate) async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for Outcome { finished, failures, latencies } in self.clients.join_all().await {
            for (kind, count) in finished {
                *all.finished.entry(kind).or_default() += count;
            }
            all.failures.extend(failures);
            all.latencies.extend(latencies);
        }
        all.latencies.sort();
        all
    }
}

impl Outcome {
    /// Says what came, and that nothing failed of any kind.
    pub(crate) fn assert_none_failed(&self) {
        println!("{:?}; 99 % of the short ones within {:?}", self.finished, self.within(990));
        let first: Vec<_> = self.failures.iter().take(10).collect();
        assert!(first.is_empty(), "{} failed: {first:#?}", self.failures.len());
        assert_eq!(self.finished.keys().copied().collect::<Vec<_>>(), ["http1", "http2", "slow", "stream", "tunnel"]);
    }

    /// The time within which so many in a thousand short requests were answered.
    pub(crate) fn within(&self, share: usize) -> Duration {
        self.latencies.get(self.latencies.len() * share / 1000).copied().unwrap_or_default()
    }
}

/// One of the clients.
struct Client {
    balancer: Balancer,
    lasting: Duration,
    pause: Duration,
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU32>,
    outcome: Outcome,
}

impl Client {
    fn another(&self) -> Self {
        let Self { balancer, lasting, pause, stop, finished, outcome: _ } = self;
        Self {
            balancer: balancer.clone(),
            lasting: *lasting,
            pause: *pause,
            stop: stop.clone(),
            finished: finished.clone(),
            outcome: Outcome::default(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn note(&mut self, kind: &'static str, began: Instant, result: Result<(), Failure>) {
        match result {
            Ok(()) => {
                *self.outcome.finished.entry(kind).or_default() += 1;
                self.finished.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.outcome.failures.push(format!("{kind}, after {:?}: {error:?}", began.elapsed())),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect((self.balancer)()).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// Requests on a connection that is kept until it is asked to close.
    async fn keep_http1(mut self) -> Outcome {
        let mut turns = interval(self.pause);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        while self.goes_on() {
            turns.tick().await;
            let began = Instant::now();
            let result = timeout(PATIENCE, self.ask_http1(&mut kept)).await.unwrap_or_else(|late| Err(late.into()));
            self.outcome.latencies.push(began.elapsed());
            self.note("http1", began, result);
        }
        self.outcome
    }

    async fn ask_http1(&self, kept: &mut Option<http1::SendRequest<Bodied>>) -> Result<(), Failure> {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await?)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let answer = ask(&mut sender, request(Method::GET, "/", empty())).await?;
        if answer.headers.get(header::CONNECTION).is_none_or(|value| value != "close") {
            *kept = Some(sender);
        }
        expect("done", (answer.status.as_u16(), answer.text()))
    }

    /// Requests on a connection of HTTP/2 until that is asked to go: what it has not begun then goes to another.
    async fn keep_http2(mut self) -> Outcome {
        let mut turns = interval(self.pause);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        while self.goes_on() {
            turns.tick().await;
            let began = Instant::now();
            let result = timeout(PATIENCE, self.ask_http2(&mut kept)).await.unwrap_or_else(|late| Err(late.into()));
            self.outcome.latencies.push(began.elapsed());
            self.note("http2", began, result);
        }
        self.outcome
    }

    async fn ask_http2(&self, kept: &mut Option<http2::SendRequest<Bodied>>) -> Result<(), Failure> {
        loop {
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => {
                    let tcp = self.connect().await?;
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
                    tokio::spawn(connection);
                    sender
                }
            };
            match ask2(&mut sender, request2(Method::GET, "/", empty())).await {
                Ok(answer) => {
                    *kept = Some(sender);
                    return expect("done", (answer.status.as_u16(), answer.text()));
                }
                Err(error) if error.downcast_ref().is_some_and(was_not_begun) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Something that lasts, over and over, each time on a connection of its own.
    async fn repeat(mut self, kind: &'static str) -> Outcome {
        while self.goes_on() {
            let began = Instant::now();
            let one = async {
                match kind {
                    "slow" => self.slow().await,
                    // As with requests: what was not begun is asked again, on another connection.
                    "stream" => loop {
                        match self.stream().await {
                            Err(error) if error.downcast_ref().is_some_and(was_not_begun) => {}
                            ended => break ended,
                        }
                    },
                    _ => self.tunnel().await,
                }
            };
            let result = timeout(PATIENCE, one).await.unwrap_or_else(|late| Err(late.into()));
            self.note(kind, began, result);
        }
        self.outcome
    }

    async fn slow(&self) -> Result<(), Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection);
        let answer = ask(&mut sender, request(Method::GET, "/slow", empty())).await?;
        expect("done", (answer.status.as_u16(), answer.text()))
    }

    /// A message, its echo, the next message; and at the end the status in the trailers.
    async fn stream(&self) -> Result<(), Failure> {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection);
        let (pieces, body) = piecewise();
        let mut request = request2(Method::POST, "/stream", body);
        request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse()?);
        let mut answer = sender.send_request(request).await?;
        if answer.status() != 200 {
            return Err(format!("{answer:?}").into());
        }
        for number in 0..MESSAGES {
            if !pieces.send(number.to_be_bytes().to_vec()).await {
                return Err("nobody wants the rest of the request".into());
            }
            let echo = answer.frame().await.ok_or("the stream has ended")??;
            if echo.data_ref().is_none_or(|echo| **echo != number.to_be_bytes()) {
                return Err(format!("{echo:?} for {number}").into());
            }
            tokio::time::sleep(self.lasting / MESSAGES).await;
        }
        drop(pieces);
        let trailers = answer.frame().await.ok_or("no trailers")??;
        match trailers.trailers_ref().and_then(|trailers| trailers.get("grpc-status")) {
            Some(status) if status == "0" => Ok(()),
            _ => Err(format!("{trailers:?}").into()),
        }
    }

    async fn tunnel(&self) -> Result<(), Failure> {
        let mut tcp = self.connect().await?;
        tcp.write_all(UPGRADE.as_bytes()).await?;
        let head = read_head(&mut tcp).await;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(format!("no tunnel: {head:?}").into());
        }
        let mut frame = [0; HELLO.len()];
        for _ in 0..MESSAGES {
            tcp.write_all(MASKED_HELLO).await?;
            tcp.read_exact(&mut frame).await?;
            tokio::time::sleep(self.lasting / MESSAGES).await;
        }
        Ok(())
    }
}

fn expect(text: &str, got: (u16, &str)) -> Result<(), Failure> {
    if got == (200, text) { Ok(()) } else { Err(format!("{got:?}").into()) }
}
