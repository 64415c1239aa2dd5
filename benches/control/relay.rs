//! What stands between gateway and API server: it knows when the lists are through, and ends watches as an API server does
//! that has forgotten the version from which they are to go on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::sync::watch;

type Answer = UnsyncBoxBody<Bytes, anyhow::Error>;

/// Passes on what a gateway asks an API server, with the rights of the client that it was given.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    client: kube::Client,
    /// When the last list had been passed on.
    listed: Mutex<Option<Instant>>,
    /// How often all watches have been ended.
    ended: watch::Sender<u64>,
}

/// What an API server says of a version that it has forgotten.
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version: 1 (2)","reason":"Expired","code":410}}"#,
    "\n"
);

impl Relay {
    pub(crate) async fn start(client: kube::Client) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { client, listed: Mutex::default(), ended: watch::Sender::new(0) });
        let accepting = state.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let state = accepting.clone();
                let service = service_fn(move |request| pass(state.clone(), request));
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
                });
            }
        });
        Ok(Self { address, state })
    }

    /// When the last list had been passed on, whole.
    pub(crate) fn listed(&self) -> anyhow::Result<Instant> {
        self.state.listed.lock().unwrap_or_else(PoisonError::into_inner).context("nothing was listed")
    }

    /// Waits until there have been lists since that moment, and then none for a second.
    pub(crate) async fn listed_again(&self, since: Instant) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let listed = self.listed()?;
            if listed > since && listed.elapsed() > Duration::from_secs(1) {
                return Ok(());
            }
            ensure!(start.elapsed() < Duration::from_secs(120), "nothing is listed again");
        }
    }

    /// Ends all watches: each has to begin with a list again.
    pub(crate) fn end_watches(&self) {
        self.state.ended.send_modify(|ended| *ended += 1);
    }
}

async fn pass(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    Ok(state.pass(request).await.unwrap_or_else(|error| {
        let body = Full::new(Bytes::from(error.to_string())).map_err(anyhow::Error::from);
        let mut answer = Response::new(body.boxed_unsync());
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    }))
}

impl State {
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> anyhow::Result<Response<Answer>> {
        let (mut head, body) = request.into_parts();
        let watches = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        let lists = !watches && head.uri.query().is_some_and(|query| query.contains("limit="));
        // The client has a server and rights of its own.
        head.uri = head.uri.path_and_query().context("no path")?.as_str().parse()?;
        head.headers.remove(http::header::HOST);
        head.headers.remove(http::header::AUTHORIZATION);
        let mut ended = self.ended.subscribe();
        let request = Request::from_parts(head, Body::from(body.collect().await?.to_bytes().to_vec()));
        let (head, mut body) = self.client.send(request).await?.into_parts();
        let (sender, answer) = tokio::sync::mpsc::channel::<anyhow::Result<http_body::Frame<Bytes>>>(4);
        tokio::spawn(async move {
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    _ = ended.changed(), if watches => {
                        let _ = sender.send(Ok(http_body::Frame::data(Bytes::from_static(EXPIRED.as_bytes())))).await;
                        return;
                    }
                };
                let Some(frame) = frame else { break };
                if sender.send(frame.map_err(anyhow::Error::from)).await.is_err() {
                    return;
                }
            }
            if lists {
                *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
        let frames = futures_util::stream::unfold(answer, |mut answer| async { Some((answer.recv().await?, answer)) });
        Ok(Response::from_parts(head, http_body_util::StreamBody::new(frames).boxed_unsync()))
    }
}
