//! From a request to its answer: the paths that exist, and what all answers have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::Incoming;
use serde::Serialize;

use super::tap::{self, Events};
use super::{State, api, explain, page, profile};
use crate::telemetry::{self, log};

/// The body of an answer: whole, or as it comes.
pub(super) type Body = Either<Full<Bytes>, StreamBody<Events>>;

/// The longest text that asks for a log level.
const MAX_LEVEL: usize = 1024;

/// Answers one request. `lasting` is told when the answer has no end of its own.
pub(super) async fn answer(state: Arc<State>, request: Request<Incoming>, lasting: &AtomicBool) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let get = parts.method == Method::GET;
    match parts.uri.path() {
        "/api/v1/tap" if get => {
            return match tap::Filter::read(parts.uri.query()) {
                Ok(filter) => {
                    lasting.store(true, Ordering::Relaxed);
                    events(&state, filter)
                }
                Err(wrong) => Answer::problem(StatusCode::BAD_REQUEST, &wrong.to_string()).response(),
            };
        }
        "/api/v1/log-level" if parts.method == Method::PUT => return set_log_level(&parts, body).await.response(),
        "/debug/pprof/profile" if get => return profile(parts.uri.query()).await.response(),
        "/metrics" if get || parts.method == Method::HEAD => return metrics(state).await,
        _ => {}
    }
    // Thousands of routes take many milliseconds to write down, which would hold up the publishing of tables.
    let made = tokio::task::spawn_blocking(move || {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Answer::not_allowed(parts.uri.path());
        }
        find(&state, parts.uri.path(), parts.uri.query())
    });
    let answer = made.await.unwrap_or_else(|_| Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed"));
    answer.response()
}

fn find(state: &State, path: &str, query: Option<&str>) -> Answer {
    match path {
        "/livez" => Answer::text(StatusCode::OK, "ok"),
        "/readyz" | "/healthz" => match (state.readiness)().ready {
            Ok(()) => Answer::text(StatusCode::OK, "ok"),
            Err(why) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, &why),
        },
        "/api/v1/generation" => Answer::json(&api::generation(state)),
        "/api/v1/routes" => Answer::json(&api::routes(state)),
        "/api/v1/problems" => Answer::json(&api::problems(state)),
        "/api/v1/backends" => Answer::json(&api::backends(state)),
        "/api/v1/certificates" => Answer::json(&api::certificates(state)),
        "/api/v1/objects" => Answer::json(&api::objects(state)),
        "/api/v1/policies" => Answer::json(&api::policies(state)),
        "/api/v1/limits" => Answer::json(&api::limits(state)),
        "/api/v1/log-level" => Answer::json(&api::log_level()),
        "/debug/pprof/heap" => Answer::problem(
            StatusCode::NOT_IMPLEMENTED,
            "the allocator (mimalloc) keeps no record of who allocated what; /debug/pprof/profile shows where time goes, \
             and process_resident_memory_bytes in /metrics how much memory there is",
        ),
        "/api/v1/explain" => match explain::explain(&state.tables.load(), query) {
            Ok(explanation) => Answer::json(&api::Versioned::new(explanation)),
            Err(wrong) => Answer::problem(StatusCode::BAD_REQUEST, &wrong.to_string()),
        },
        "/" => Answer::new(StatusCode::OK, "text/html; charset=utf-8", page::PAGE),
        _ => Answer::problem(StatusCode::NOT_FOUND, "nothing is here; / lists what there is"),
    }
}

/// Requests as they end.
fn events(state: &State, filter: tap::Filter) -> Response<Body> {
    flowing("text/event-stream", tap::events(&state.tap, filter))
}

/// What is counted: summed aside, and written as the client takes it, for it may be tens of megabytes.
async fn metrics(state: Arc<State>) -> Response<Body> {
    let Ok(text) = tokio::task::spawn_blocking(move || state.metrics.text()).await else {
        return Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed").response();
    };
    // Between two pieces others get their turn: a client that takes all at once would have the thread to itself.
    let pieces = stream::unfold(text, async |mut text| {
        tokio::task::yield_now().await;
        text.next().map(|piece| (Ok(Frame::data(piece)), text))
    });
    flowing(telemetry::TEXT_FORMAT, Box::pin(pieces))
}

fn flowing(content_type: &'static str, frames: Events) -> Response<Body> {
    let mut response = Response::new(Either::Right(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Changes what is logged. A page in a browser has no business here: it would come with an `Origin`.
async fn set_log_level(parts: &request::Parts, body: Incoming) -> Answer {
    if parts.headers.contains_key(header::ORIGIN) {
        return Answer::problem(StatusCode::FORBIDDEN, "pages in browsers may not change anything here");
    }
    let Ok(body) = Limited::new(body, MAX_LEVEL).collect().await else {
        return Answer::problem(StatusCode::BAD_REQUEST, "the body must be a level such as `info`");
    };
    let body = body.to_bytes();
    match log::set_level(String::from_utf8_lossy(&body).trim()) {
        Ok(()) => Answer::json(&api::log_level()),
        Err(wrong) => Answer::problem(StatusCode::BAD_REQUEST, &wrong),
    }
}

async fn profile(query: Option<&str>) -> Answer {
    let taken = match profile::seconds(query) {
        Ok(time) => profile::take(time).await,
        Err(wrong) => Err(wrong),
    };
    match taken {
        Ok(bytes) => Answer::new(StatusCode::OK, "application/octet-stream", bytes),
        Err(error @ profile::ProfileError::Query(_)) => Answer::problem(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ profile::ProfileError::Busy) => Answer::problem(StatusCode::CONFLICT, &error.to_string()),
        Err(error @ profile::ProfileError::Failed(_)) => {
            Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

/// An answer before it is one of HTTP.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    /// What may be asked of the path, when what was asked may not.
    allow: &'static str,
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), allow: "" }
    }

    fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(StatusCode::OK, "application/json", body),
            Err(error) => Self::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    /// Problem details (RFC 9457).
    fn problem(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
        Self::new(status, "application/problem+json", body.to_string())
    }

    fn not_allowed(path: &str) -> Self {
        let allow = if path == "/api/v1/log-level" { "GET, HEAD, PUT" } else { "GET, HEAD" };
        Self { allow, ..Self::problem(StatusCode::METHOD_NOT_ALLOWED, "this port only answers questions") }
    }

    fn response(self) -> Response<Body> {
        let Self { status, content_type, body, allow } = self;
        let mut response = Response::new(Either::Left(Full::new(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
