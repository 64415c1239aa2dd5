//! From a request to its answer: the paths that exist, and what all answers have in common.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{State, api, explain, page};
use crate::telemetry;

/// Answers one request. Its body, if it has one, is not looked at.
pub(super) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, _) = request.into_parts();
    // Thousands of routes take many milliseconds to write down, which would hold up the publishing of tables.
    let made = tokio::task::spawn_blocking(move || {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Answer::not_allowed();
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
        "/metrics" => Answer::new(StatusCode::OK, telemetry::TEXT_FORMAT, state.metrics.encode()),
        "/api/v1/generation" => Answer::json(&api::generation(state)),
        "/api/v1/routes" => Answer::json(&api::routes(state)),
        "/api/v1/backends" => Answer::json(&api::backends(state)),
        "/api/v1/problems" => Answer::json(&api::problems(state)),
        "/api/v1/explain" => match explain::explain(&state.tables.load(), query) {
            Ok(explanation) => Answer::json(&api::Versioned::new(explanation)),
            Err(wrong) => Answer::problem(StatusCode::BAD_REQUEST, &wrong.to_string()),
        },
        "/" => Answer::new(StatusCode::OK, "text/html; charset=utf-8", page::PAGE),
        _ => Answer::problem(StatusCode::NOT_FOUND, "nothing is here; / lists what there is"),
    }
}

/// An answer before it is one of HTTP.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into() }
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

    fn not_allowed() -> Self {
        Self::problem(StatusCode::METHOD_NOT_ALLOWED, "this port only answers questions")
    }

    fn response(self) -> Response<Full<Bytes>> {
        let Self { status, content_type, body } = self;
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}
