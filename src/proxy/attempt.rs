//! Getting a request to an endpoint and the head of an answer back: choose, connect, send, and once more where that
//! is safe.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};

use super::body::{RequestBody, ResponseBody, Upload};
use super::clock::Deadline;
use super::connection::Client;
use super::error::Error;
use super::record::Record;
use super::{Worker, forward};
use crate::table::Route;
use crate::upstream::balance::Choice;
use crate::upstream::pool::{ConnectError, Lease, SendError};
use crate::upstream::{Cluster, Endpoint, Transport};

/// A request that is ready to go out, and where to.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) client: &'a Rc<Client>,
    pub(super) route: &'a Arc<Route>,
    pub(super) cluster: &'a Arc<Cluster>,
    /// The hash of the key, when the route balances by one.
    pub(super) key: Option<u64>,
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    /// Whether the client sent its body in chunks.
    pub(super) chunked: bool,
    pub(super) record: &'a mut Record,
}

/// Which connection a request wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// One that rests, or a new one.
    Pooled,
    /// A new one to this endpoint, since the one that rested was closed.
    New(Endpoint),
    /// A new one of HTTP/1.1, to change its protocol.
    Upgrade,
}

/// Something took too long.
pub(super) enum Elapsed {
    /// The step itself.
    Step,
    /// The exchange as a whole.
    Exchange,
}

/// Lists that a worker keeps to lend again.
const MAX_SPARE: usize = 256;

/// How often a request goes out again, at most: once because its connection was stale, and once because the new one was
/// closed by an endpoint that did not care to wait for it.
const RETRIES: u8 = 2;

/// A head that can go out again: kept while a connection that has served before may turn out to be closed.
struct Replay<'a> {
    worker: &'a Worker,
    method: Method,
    target: PathAndQuery,
    /// A list that the worker lends, so that keeping a head allocates nothing.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        self.headers.clear();
        let mut spare = self.worker.spare_fields.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.headers));
        }
    }
}

/// Sends the request with its body and gives the answer, its body still to come.
pub(super) async fn forward(mut attempt: Attempt<'_>, body: Incoming) -> Result<Response<ResponseBody>, Error> {
    let worker = attempt.worker;
    let timeouts = attempt.route.timeouts;
    let due = timeouts.request.map(|limit| after(worker.clock.now(), limit));
    let mut deadline = worker.clock.deadline();
    let (mut body, upload) = attempt.body(body);
    let mut how = How::Pooled;
    let mut again = RETRIES;
    loop {
        let (endpoint, lease) = attempt.connect(how, &mut deadline, due).await?;
        let doubtful = lease.reused() || matches!(how, How::New(_));
        let replay = (again > 0 && doubtful && body.is_empty() && forward::is_idempotent(&attempt.method))
            .then(|| attempt.replay());
        let request = attempt.request(body, &lease)?;
        let began = Instant::now();
        let sent = within(&mut deadline, worker.clock.now(), timeouts.backend_request, due, lease.send(request)).await;
        let seconds = began.elapsed().as_secs_f64();
        attempt.record.upstream(seconds);
        let error = match sent {
            Ok(Ok(response)) => {
                worker.pool.observe(endpoint.slot, seconds);
                let (parts, body) = response.into_parts();
                if parts.status == StatusCode::SWITCHING_PROTOCOLS || !forward::is_sound(&parts.headers) {
                    // Whatever else is on that connection, nobody else may get it.
                    drop(body.into_lease());
                    return Err(Error::UpstreamProtocol);
                }
                attempt.record.streaming(parts.status);
                deadline.clear();
                let body = ResponseBody::upstream(body, timeouts.idle, due, deadline);
                return Ok(Response::from_parts(parts, body));
            }
            Ok(Err(error)) => error,
            Err(Elapsed::Step) => return Err(Error::UpstreamTimeout),
            Err(Elapsed::Exchange) => return Err(Error::RequestTimeout),
        };
        match (error, replay) {
            // Nothing was sent, so any method may go out again.
            (SendError { request: Some(request), .. }, _) if again > 0 => body = attempt.restore(request),
            // It may have been sent, on a connection that the endpoint was closing; only what does no harm twice may
            // go out again. An endpoint that answers nonsense is not closing.
            (SendError { error, .. }, Some(replay)) if !error.is_parse() => {
                attempt.restore_head(replay);
                body = RequestBody::Empty;
            }
            (SendError { error, .. }, _) => return Err(attempt.failure(&error, upload.as_deref())),
        }
        how = How::New(endpoint);
        again -= 1;
    }
}

impl<'a> Attempt<'a> {
    /// The client's body, and what it will be known by once it has gone.
    fn body(&mut self, incoming: Incoming) -> (RequestBody, Option<Rc<Upload>>) {
        if incoming.is_end_stream() {
            return (RequestBody::Empty, None);
        }
        let upload = Rc::new(Upload::default());
        self.record.uploads(upload.clone());
        let deadline = self.worker.clock.deadline();
        (RequestBody::new(incoming, upload.clone(), self.route.timeouts.idle, deadline), Some(upload))
    }

    /// A connection to an endpoint, or to another one if there is none to be had: nothing has been sent yet, so any
    /// method may.
    pub(super) async fn connect(
        &self,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<(Endpoint, Lease<RequestBody>), Error> {
        let endpoint = match how {
            // The connection was stale; the endpoint itself has not failed, unless that is how it went away.
            How::New(endpoint) if self.stands(&endpoint) => endpoint,
            How::New(_) | How::Pooled | How::Upgrade => self.select(None)?,
        };
        let error = match self.lease(&endpoint, how, deadline, due).await {
            Ok(lease) => return Ok((endpoint, lease)),
            Err(error @ (Error::ConnectFailed | Error::ConnectTimeout)) => error,
            Err(error) => return Err(error),
        };
        let other = self.select(Some(&endpoint))?;
        if other == endpoint {
            return Err(error);
        }
        let lease = self.lease(&other, how, deadline, due).await?;
        Ok((other, lease))
    }

    /// Whether the endpoint is still one of the cluster's.
    fn stands(&self, endpoint: &Endpoint) -> bool {
        self.cluster.endpoints().endpoints.iter().any(|known| **known == *endpoint)
    }

    /// The endpoint to try, any but `failed` if there is a choice.
    fn select(&self, failed: Option<&Endpoint>) -> Result<Endpoint, Error> {
        let pool = &self.worker.pool;
        let set = self.cluster.endpoints();
        let choice = Choice {
            loads: pool,
            turn: pool.turn(self.cluster.slot),
            random: self.worker.random(),
            hash: self.key,
            exclude: failed,
        };
        self.cluster.balancer.select(&set, &choice).map(|endpoint| **endpoint).ok_or(Error::NoEndpoint)
    }

    /// A connection to the endpoint, within the time for that.
    async fn lease(
        &self,
        endpoint: &Endpoint,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<Lease<RequestBody>, Error> {
        let pool = &self.worker.pool;
        let now = self.worker.clock.now();
        pool.set_now(now);
        let connect = async {
            match how {
                How::Pooled => pool.lease(self.cluster, endpoint).await,
                How::New(_) => pool.lease_new(self.cluster, endpoint).await,
                How::Upgrade => pool.lease_new_http1(self.cluster, endpoint).await,
            }
        };
        match within(deadline, now, Some(self.route.timeouts.connect), due, connect).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) => {
                self.worker.tell_connect_failure(self.cluster, endpoint, &error);
                Err(match error {
                    ConnectError::Tcp(_) | ConnectError::Tls(_) => Error::ConnectFailed,
                    ConnectError::Http(_) => Error::UpstreamProtocol,
                })
            }
            Err(Elapsed::Step) => Err(Error::ConnectTimeout),
            Err(Elapsed::Exchange) => Err(Error::RequestTimeout),
        }
    }

    /// The request in the form that the connection's protocol wants.
    fn request(&mut self, body: RequestBody, lease: &Lease<RequestBody>) -> Result<Request<RequestBody>, Error> {
        let mut headers = std::mem::take(&mut self.headers);
        // What a backend is told to wait for must come.
        if body.is_empty() && headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
            return Err(Error::BadRequest("a Content-Length without a body"));
        }
        let target = self.target.clone();
        let uri = if lease.is_http2() {
            let host = headers.remove(header::HOST);
            headers.remove(header::TRANSFER_ENCODING);
            let mut parts = uri::Parts::default();
            let secure = matches!(self.cluster.transport, Transport::Tls(_));
            parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = host.and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
            parts.path_and_query = Some(target);
            Uri::from_parts(parts).map_err(|_| Error::BadRequest("malformed target"))?
        } else {
            headers.remove(header::TE);
            // Said explicitly, since the client side would frame a GET without a body otherwise.
            if !body.is_empty() && (self.chunked || !headers.contains_key(header::CONTENT_LENGTH)) {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Uri::from(target)
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn replay(&self) -> Replay<'a> {
        let mut headers = self.worker.spare_fields.borrow_mut().pop().unwrap_or_default();
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Replay { worker: self.worker, method: self.method.clone(), target: self.target.clone(), headers }
    }

    /// Takes back a request that was not sent.
    fn restore(&mut self, request: Request<RequestBody>) -> RequestBody {
        let (parts, body) = request.into_parts();
        self.headers = parts.headers;
        if let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            self.headers.insert(header::HOST, host);
        }
        body
    }

    fn restore_head(&mut self, mut replay: Replay<'_>) {
        self.method = replay.method.clone();
        self.target = replay.target.clone();
        self.headers = replay.headers.drain(..).collect();
    }

    /// What the exchange makes of a failure to send or to be answered.
    pub(super) fn failure(&self, error: &hyper::Error, upload: Option<&Upload>) -> Error {
        if upload.is_some_and(|upload| upload.broken.get()) {
            return self.client.peer.refusal().map_or(Error::ClientClosed, Error::Framing);
        }
        if error.is_parse() || error.is_parse_too_large() { Error::UpstreamProtocol } else { Error::UpstreamReset }
    }
}

/// The moment `limit` after `now`, by the worker's clock.
pub(super) fn after(now: u64, limit: Duration) -> u64 {
    now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

/// What the future gives, unless its own limit or the whole exchange's moment comes first.
pub(super) async fn within<T>(
    deadline: &mut Deadline,
    now: u64,
    limit: Option<Duration>,
    due: Option<u64>,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let step = limit.map(|limit| after(now, limit));
    let moment = step.into_iter().chain(due).min();
    match moment {
        Some(moment) => deadline.set_at(moment),
        None => deadline.clear(),
    }
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(if moment == due { Elapsed::Exchange } else { Elapsed::Step }))
    })
    .await
}
