//! `headgate echo`: a backend that answers with what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::serving::control_runtime;
use super::{CLEAN, Outcome};

/// Where it listens unless told otherwise, and where the example sends requests.
pub(super) const LISTEN: &str = "127.0.0.1:8082";
/// The largest body that is counted; a larger one is refused.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Answer every request with what was seen of it, as JSON.
#[derive(Args)]
#[command(after_help = "Examples:\n  headgate echo --listen 127.0.0.1:3000 & headgate run --to http://127.0.0.1:3000")]
pub(super) struct Echo {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", env = "HEADGATE_ECHO_LISTEN", default_value = LISTEN)]
    listen: SocketAddr,
}

impl Echo {
    pub(super) fn run(&self) -> Outcome {
        control_runtime()?.block_on(async {
            let listener = listen(self.listen).await?;
            println!("echo listens on http://{}", listener.local_addr()?);
            // The first process of a container is not ended by a signal that it does not listen to.
            let mut terminate = signal(SignalKind::terminate())?;
            let mut connections = JoinSet::new();
            let (stop, stopped) = watch::channel(());
            tokio::select! {
                result = accept(listener, &mut connections, &stopped) => result?,
                result = tokio::signal::ctrl_c() => result?,
                _ = terminate.recv() => {}
            }
            drop(stop);
            while connections.join_next().await.is_some() {}
            Ok(CLEAN)
        })
    }
}

/// Binds; the error names the address.
pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("the echo backend cannot listen on {address}: {error}; is another one running there?")
    })
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let (_stop, stopped) = watch::channel(());
    accept(listener, &mut JoinSet::new(), &stopped).await
}

/// Serves what comes. A connection finishes the request that it is in and closes when the other end of `stopped` goes.
async fn accept(
    listener: TcpListener,
    connections: &mut JoinSet<()>,
    stopped: &watch::Receiver<()>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, client)) = accepted else { continue };
                let mut stopped = stopped.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(client, request));
                    let mut connection = pin!(
                        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(tcp), service)
                    );
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = stopped.changed() => {}
                    }
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(client: SocketAddr, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes().len());
    let mut headers = serde_json::Map::new();
    for name in parts.headers.keys() {
        let values: Vec<_> =
            parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    let seen = serde_json::json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "body_bytes": body.as_ref().ok(),
        "peer": client.to_string(),
        // In a pod its name: which of several backends this was.
        "server": std::env::var("HOSTNAME").ok(),
    });
    let mut text = serde_json::to_string_pretty(&seen).unwrap_or_default();
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    if body.is_err() {
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
