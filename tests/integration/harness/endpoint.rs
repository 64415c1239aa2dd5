//! An endpoint on the test's own runtime that speaks any protocol, counts its connections, and can be scripted byte by
//! byte. It goes away, connections and all, when it is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::traffic::soon;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A body of either side.
pub(crate) type Bodied = UnsyncBoxBody<Bytes, Failure>;

/// An endpoint; how many connections came to it and how many are open.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    leaving: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// What an endpoint speaks.
#[derive(Clone)]
pub(crate) enum Speaks {
    Http1,
    H2c,
    /// HTTP/2 or HTTP/1.1, as agreed on by ALPN.
    Tls(Arc<rustls::ServerConfig>),
}

impl Endpoint {
    /// Every connection, with its number from 0, is in the test's hands; it is closed when that returns.
    pub(crate) async fn scripted<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(watch::channel(false).0, serve).await
    }

    async fn start<F>(leaving: watch::Sender<bool>, serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn({
            let (accepted, open, mut leaves) = (accepted.clone(), open.clone(), leaving.subscribe());
            async move {
                let mut connections = JoinSet::new();
                loop {
                    let tcp = tokio::select! {
                        _ = leaves.wait_for(|leaves| *leaves) => break,
                        tcp = listener.accept() => tcp.unwrap().0,
                    };
                    tcp.set_nodelay(true).unwrap();
                    let number = accepted.fetch_add(1, Ordering::SeqCst);
                    open.fetch_add(1, Ordering::SeqCst);
                    let (serving, open) = (serve(tcp, number), open.clone());
                    connections.spawn(async move {
                        serving.await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                    while connections.try_join_next().is_some() {}
                }
                drop(listener);
                while connections.join_next().await.is_some() {}
            }
        });
        Self { address, accepted, open, leaving, task }
    }

    /// Answers requests.
    pub(crate) async fn answering<F>(
        speaks: Speaks,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Bodied>> + Send + 'static,
    {
        let leaving = watch::Sender::new(false);
        let leaves = leaving.subscribe();
        Self::start(leaving, move |tcp, _| serve(tcp, speaks.clone(), leaves.clone(), answer.clone())).await
    }

    /// Answers every request with this text.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::answering(Speaks::Http1, move |_| async move { Response::new(full(name)) }).await
    }

    /// Leaves as a server does that is asked to stop: accepts nothing more, closes what rests, finishes what it is asked.
    /// Only for one that answers requests.
    pub(crate) async fn leave(mut self) {
        self.leaving.send_replace(true);
        soon(&mut self.task).await.unwrap();
    }

    /// Connections that have come.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open; one that the peer has closed is not.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F>(
    tcp: TcpStream,
    speaks: Speaks,
    leaves: watch::Receiver<bool>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Response<Bodied>> + Send + 'static,
{
    match speaks {
        Speaks::Http1 => serve_io(tcp, false, leaves, answer).await,
        Speaks::H2c => serve_io(tcp, true, leaves, answer).await,
        Speaks::Tls(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(tcp).await {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_io(stream, http2, leaves, answer).await;
            }
        }
    }
}

async fn serve_io<F>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    mut leaves: watch::Receiver<bool>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Response<Bodied>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    // How a connection ends is the peer's business.
    let leaves = async move {
        if leaves.wait_for(|leaves| *leaves).await.is_err() {
            std::future::pending().await
        }
    };
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = leaves => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = leaves => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// No body.
pub(crate) fn empty() -> Bodied {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Bodied {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that the test sends piece by piece; it ends when the sender is dropped.
pub(crate) fn piecewise() -> (Pieces, Bodied) {
    let (sender, receiver) = mpsc::channel(1);
    (Pieces(sender), Channel(receiver).boxed_unsync())
}

/// The end of a body that pieces go into.
pub(crate) struct Pieces(mpsc::Sender<Result<Frame<Bytes>, Failure>>);

impl Pieces {
    /// Sends some bytes; false when nobody wants them any more.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Sends the trailers.
    pub(crate) async fn trailers(&self, trailers: http::HeaderMap) -> bool {
        self.0.send(Ok(Frame::trailers(trailers))).await.is_ok()
    }

    /// Breaks the body off.
    pub(crate) async fn fail(&self, failure: impl Into<Failure>) {
        let _ = self.0.send(Err(failure.into())).await;
    }

    /// Waits until nobody wants more.
    pub(crate) async fn unwanted(&self) {
        self.0.closed().await;
    }
}

struct Channel(mpsc::Receiver<Result<Frame<Bytes>, Failure>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.0.poll_recv(cx)
    }
}

/// Reads one head, byte by byte so that nothing behind it is taken; empty when the peer has closed instead.
pub(crate) async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Reads exactly so many bytes.
pub(crate) async fn read_exactly(tcp: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    tcp.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Waits until the peer closes or resets.
pub(crate) async fn read_to_the_end(tcp: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tcp.read_to_end(&mut bytes).await;
    bytes
}
