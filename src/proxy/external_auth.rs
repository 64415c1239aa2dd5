//! External authorization: another service is asked whether a request may pass.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;

use super::body::{RequestBody, ResponseBody};
use super::error::Error;
use super::record::Record;
use super::{Worker, attempt};
use crate::filter::{ExternalAuth, Ruling};
use crate::table::{AuthService, AuthTarget, RequestHead, Table, Target};
use crate::telemetry::Reason;
use crate::upstream::balance::Choice;
use crate::upstream::pool::{Answered, Destination, Stage, UpstreamBody};
use crate::upstream::{Cluster, Endpoint, Fit, Head};

/// The most of an answer's body that a client is given.
const MOST: usize = 64 * 1024;
/// How often the question goes out at most: a second time when its connection or its endpoint was of no use.
const TRIES: usize = 2;

/// A request that is asked about.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// The host as the client sent it.
    pub(super) authority: &'a HeaderValue,
    /// The same, lower-case and without its port.
    pub(super) host: &'a str,
    /// Path and query as they go to the backend unless a filter changes them.
    pub(super) target: &'a PathAndQuery,
}

/// What the service has said.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Asks. `None` lets the request pass, with what the backend is to know in its headers.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    table: &Table,
    service: &AuthService,
    asked: Asked<'_>,
    headers: &mut HeaderMap,
    record: &mut Record,
) -> Result<Option<Response<ResponseBody>>, Error> {
    let AuthService { auth, name: _, target } = service;
    let mut question = auth.question(asked.method, asked.authority, asked.target.as_str(), headers);
    let uri = auth.target.as_ref().unwrap_or(asked.target);
    let target = match target {
        AuthTarget::Backend(target) => target,
        AuthTarget::Host(host) => {
            if let Some(name) = host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
                question.insert(header::HOST, name);
            }
            let host = host.as_deref().unwrap_or(asked.host);
            served(worker, table, host, uri, &question).ok_or(Error::ExternalAuthFailed)?
        }
    };
    let cluster = match target {
        Target::Cluster(cluster) => cluster,
        // A mistake in the declaration opens nothing, whatever it says of a service that is away.
        Target::Unresolved(status) => return Err(Error::Unresolved(*status)),
    };
    let head = Head { method: &Method::GET, target: uri, headers: &question };
    let mut deadline = worker.clock.deadline();
    let (now, limit) = (worker.clock.now(), Some(auth.timeout));
    let answer = attempt::within(&mut deadline, now, limit, None, pin!(answer(worker, cluster, &head))).await;
    let answer = answer.ok().flatten();
    match answer.as_ref().map_or(Ruling::Fault, |answer| Ruling::of(answer.status)) {
        Ruling::Pass => auth.pass_on(answer.as_ref().map(|answer| &answer.headers), headers),
        Ruling::Fault if auth.fail_open => auth.pass_on(None, headers),
        ruling @ (Ruling::Refuse | Ruling::Fault) => {
            let status = answer.as_ref().map(|answer| answer.status);
            if status == Some(StatusCode::UNAUTHORIZED)
                && let Some(address) = sign_in(auth, &asked, &question)
            {
                let mut response = Response::new(ResponseBody::full(Bytes::new()));
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert(header::LOCATION, address);
                record.answered(StatusCode::FOUND, Reason::ExtAuthDenied);
                return Ok(Some(response));
            }
            let Some(Answer { status, headers, body }) = answer.filter(|answer| !answer.status.is_informational())
            else {
                return Err(Error::ExternalAuthFailed);
            };
            let mut response = Response::new(ResponseBody::full(body));
            *response.status_mut() = status;
            response.headers_mut().extend(ExternalAuth::told(&headers));
            let reason = if ruling == Ruling::Refuse { Reason::ExtAuthDenied } else { Reason::ExtAuthError };
            record.answered(status, reason);
            return Ok(Some(response));
        }
    }
    Ok(None)
}

/// What stands behind the route that serves a path on a host, if it is there for everybody.
fn served<'t>(
    worker: &Worker,
    table: &'t Table,
    host: &str,
    uri: &PathAndQuery,
    question: &HeaderMap,
) -> Option<&'t Target> {
    let head =
        RequestHead { method: &Method::GET, path: uri.path(), query: uri.query(), headers: question, secure: true };
    let route = table.find(host, &head)?.route;
    if !route.is_open() {
        return None;
    }
    let (_, backend) = route.backends.choose(|below| worker.random_below(below), worker.clock.now())?;
    Some(&backend.target)
}

/// Where a client is sent who is not known.
fn sign_in(auth: &ExternalAuth, asked: &Asked<'_>, question: &HeaderMap) -> Option<HeaderValue> {
    let scheme = question.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok()).unwrap_or("http");
    auth.sign_in.as_ref()?.location(scheme, asked.authority.to_str().ok()?, asked.target.as_str())
}

/// The service's answer, if it gives one.
async fn answer(worker: &Worker, cluster: &Cluster, head: &Head<'_>) -> Option<Answer> {
    let mut failed: Vec<Endpoint> = Vec::new();
    let stage = Cell::new(Stage::Acquire);
    for _ in 0..TRIES {
        let endpoint = select(worker, cluster, &failed)?;
        worker.pool.set_now(worker.clock.now());
        let lease = match worker.pool.lease_existing(endpoint.slot, None).filter(|_| failed.is_empty()) {
            Some(lease) => Ok(lease),
            None => {
                worker.pool.lease_new(&Destination { cluster, endpoint: &endpoint, speaks_for: None }, &stage).await
            }
        };
        let sent = match lease {
            Ok(mut lease) => match lease.send(head, RequestBody::Empty).await {
                Ok(answered) => Ok((answered, lease)),
                Err(error) => Err(error.error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok((Answered { status, headers, incoming, .. }, lease)) => {
                let body = read(lease.into_body(incoming)).await?;
                return Some(Answer { status, headers, body });
            }
            Err(error) => {
                tracing::debug!(service = %cluster.name, endpoint = %endpoint.address, %error, "cannot ask for leave");
                failed.push(endpoint);
            }
        }
    }
    None
}

/// An endpoint, another than one that has failed if there is a choice.
fn select(worker: &Worker, cluster: &Cluster, failed: &[Endpoint]) -> Option<Endpoint> {
    let set = cluster.endpoints();
    let turn = worker.pool.turn(cluster.slot);
    let choice = Choice {
        loads: &worker.pool,
        turn,
        random: worker.random(),
        hash: None,
        exclude: failed,
        fit: Fit::All,
        slow_start: None,
    };
    cluster.balancer.select(&set, &choice).map(|endpoint| **endpoint)
}

/// The beginning of a body. One that goes on after that is not waited for, and costs its connection.
async fn read(mut body: UpstreamBody<RequestBody>) -> Option<Bytes> {
    let mut read = BytesMut::new();
    while read.len() < MOST {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    read.extend_from_slice(data.get(..MOST - read.len()).unwrap_or(data));
                }
            }
            Some(Err(_)) => return None,
            None => break,
        }
    }
    Some(read.freeze())
}
