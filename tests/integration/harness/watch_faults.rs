//! A list/watch server that does what it is told, for the faults that a real API server does not show on request.
//!
//! Each resource has a script, and each request for it takes the next reply. Where a script ends, lists are empty and
//! watches stay open in silence, so a test scripts only the resource it is about. [`Faults::finished`] returns when every
//! reply was taken, which proves that every expected request came.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What one request gets.
pub(crate) enum Reply {
    /// A page of a list: its items, its resource version, and the token of the next page.
    List(Vec<Value>, String, Option<&'static str>),
    /// The start of a watch: these events, then this end.
    Watch(Vec<Value>, End),
    /// One object.
    Object(Value),
    /// A failure with this code.
    Status(u16),
    /// Nothing, ever.
    Hang,
    /// The other, but only when the test says so.
    Held(Arc<Notify>, Box<Self>),
}

/// How a watch goes on after its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream ends, as after its timeout.
    Close,
    /// The connection breaks.
    Cut,
    /// Silence, as on a connection whose other side is gone.
    Stall,
}

/// Decides what a request gets: whether it watches, and its query.
pub(crate) type Answer = Box<dyn FnMut(bool, &str) -> Reply + Send>;

/// The running server.
pub(crate) struct Faults {
    address: SocketAddr,
    state: Arc<State>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<BTreeMap<String, VecDeque<Reply>>>,
    /// What answers for a resource instead of a script.
    answers: Mutex<BTreeMap<String, Answer>>,
    /// The requests that came, each as `services?watch=true&…`.
    requests: Mutex<Vec<String>>,
    progress: Notify,
}

impl Faults {
    /// Starts on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let mut task = JoinSet::new();
        task.spawn(accept(listener, state.clone()));
        Self { address, state, _task: task }
    }

    /// A client of this server that gives up an answer that does not come within `patience`.
    pub(crate) fn client(&self, patience: Duration) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.read_timeout = Some(patience);
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Appends to the script of a resource: its plural, or `secrets/name` for one object.
    pub(crate) fn script(&self, resource: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state.scripts.lock().unwrap().entry(resource.to_owned()).or_default().extend(replies);
    }

    /// Has every request for a resource answered by this.
    pub(crate) fn answer(&self, resource: &str, answer: Answer) {
        self.state.answers.lock().unwrap().insert(resource.to_owned(), answer);
    }

    /// Waits until every reply was taken.
    pub(crate) async fn finished(&self) {
        loop {
            let progress = self.state.progress.notified();
            if self.state.scripts.lock().unwrap().values().all(VecDeque::is_empty) {
                return;
            }
            progress.await;
        }
    }

    /// The requests for a resource so far, as what follows its name.
    pub(crate) fn requests(&self, resource: &str) -> Vec<String> {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().filter_map(|it| Some(it.strip_prefix(resource)?.strip_prefix('?')?.to_owned())).collect()
    }
}

/// One event of a watch.
pub(crate) fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// A bookmark at this resource version.
pub(crate) fn bookmark(version: &str) -> Value {
    event("BOOKMARK", json!({"apiVersion": "v1", "kind": "Service", "metadata": {"resourceVersion": version}}))
}

/// The event that ends a watch with a failure.
pub(crate) fn failure(code: u16) -> Value {
    event("ERROR", status(code))
}

fn status(code: u16) -> Value {
    // The one reason that a client goes by.
    let reason = if code == 404 { "NotFound" } else { "Scripted" };
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "scripted"})
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { Ok::<_, Infallible>(answer(request, &state).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        // A connection that the client breaks off is the client's business.
        connections.spawn(async { drop(connection.await) });
    }
}

async fn answer(request: Request<Incoming>, state: &State) -> Response<Body> {
    let segments: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    // /api/v1/… or /apis/GROUP/VERSION/…, then namespaces/NS/ if there is one.
    let rest = segments.get(if segments[0] == "api" { 2 } else { 3 }..).unwrap_or_default();
    let rest = if rest.first() == Some(&"namespaces") { rest.get(2..).unwrap_or_default() } else { rest };
    let resource = rest.join("/");
    let query = request.uri().query().unwrap_or_default();
    let watching = query.contains("watch=true");
    state.requests.lock().unwrap().push(format!("{resource}?{query}"));
    let scripted = state.scripts.lock().unwrap().get_mut(&resource).and_then(VecDeque::pop_front);
    let answered = || state.answers.lock().unwrap().get_mut(&resource).map(|answer| answer(watching, query));
    let reply = scripted.or_else(answered);
    state.progress.notify_waiters();
    let mut reply = reply.unwrap_or(if watching {
        Reply::Watch(Vec::new(), End::Stall)
    } else if rest.len() > 1 {
        Reply::Status(404)
    } else {
        Reply::List(Vec::new(), "1".to_owned(), None)
    });
    while let Reply::Held(gate, held) = reply {
        gate.notified().await;
        reply = *held;
    }
    match reply {
        Reply::List(items, version, next) => {
            assert!(!watching, "{resource} is watched where a list was scripted");
            let metadata = json!({"resourceVersion": version, "continue": next});
            whole(200, &json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items}))
        }
        Reply::Watch(events, end) => {
            assert!(watching, "{resource} is listed where a watch was scripted");
            let lines = events.into_iter().map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
            let rest = match end {
                End::Close => stream::empty().boxed(),
                End::Cut => stream::once(async { Err(std::io::Error::other("scripted")) }).boxed(),
                End::Stall => stream::pending().boxed(),
            };
            let lines = stream::iter(lines.collect::<Vec<_>>());
            Response::new(StreamBody::new(lines.chain(rest)).boxed_unsync())
        }
        Reply::Object(object) => whole(200, &object),
        Reply::Status(code) => whole(code, &status(code)),
        Reply::Hang => std::future::pending().await,
        Reply::Held(..) => unreachable!("it was let go above"),
    }
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}
