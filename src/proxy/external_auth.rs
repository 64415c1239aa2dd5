//! External authorization: another service is asked whether a request may pass.

use std::rc::Rc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::Worker;
use super::body::ResponseBody;
use super::error::Error;
use super::question::{self, Answer};
use super::record::Record;
use crate::filter::{ExternalAuth, Ruling};
use crate::table::{AuthService, AuthTarget, RequestHead, Table, Target};
use crate::telemetry::Reason;
use crate::upstream::Head;

/// The most of an answer's body that a client is given.
const MOST: usize = 64 * 1024;

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

/// What the client of a request that passes is to keep for the service: a session that has been prolonged, for one.
#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<HeaderValue>);

impl Cookies {
    fn of(answer: &HeaderMap) -> Self {
        Self(answer.get_all(header::SET_COOKIE).iter().cloned().collect())
    }

    /// Gives them to the client, beside those of whoever answers.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        for cookie in self.0 {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Asks. `None` lets the request pass, with what the backend is to know in its headers, and what the client is to keep in
/// `cookies`.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    table: &Table,
    service: &AuthService,
    asked: Asked<'_>,
    headers: &mut HeaderMap,
    cookies: &mut Cookies,
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
    let answer = question::ask(worker, cluster, &head, auth.timeout, MOST).await;
    match answer.as_ref().map_or(Ruling::Fault, |answer| Ruling::of(answer.status)) {
        Ruling::Pass => {
            auth.pass_on(answer.as_ref().map(|answer| &answer.headers), headers);
            *cookies = answer.map(|answer| Cookies::of(&answer.headers)).unwrap_or_default();
        }
        Ruling::Fault if auth.fail_open => auth.pass_on(None, headers),
        ruling @ (Ruling::Refuse | Ruling::Fault) => {
            if let Some(answer) = answer.as_ref().filter(|answer| answer.status == StatusCode::UNAUTHORIZED)
                && let Some(address) = sign_in(auth, &asked, &question)
            {
                let mut response = Response::new(ResponseBody::full(Bytes::new()));
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert(header::LOCATION, address);
                Cookies::of(&answer.headers).put(response.headers_mut());
                record.answered(StatusCode::FOUND, Reason::ExtAuthDenied);
                return Ok(Some(response));
            }
            let Some(Answer { status, headers, body, is_whole: _ }) =
                answer.filter(|answer| !answer.status.is_informational())
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
