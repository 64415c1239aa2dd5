//! What can go wrong with a request, and the only place where it becomes HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::ResponseBody;
use super::framing::Refusal;
use crate::telemetry::{Reason, TraceIds};

/// Why a request got no answer from a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The bytes were refused before they were parsed.
    Framing(Refusal),
    /// More is asked than the worker can answer.
    Overloaded,
    /// The request parses and makes no sense; what is wrong.
    BadRequest(&'static str),
    /// Host asks for more than the connection's TLS gives (RFC 9110 15.5.20).
    Misdirected,
    /// No route matches.
    NoRoute,
    /// The route is not for the client's address.
    IpDenied,
    /// It is over a limit, whose policy has this status for it.
    RateLimited(StatusCode),
    /// Whether it is over a limit cannot be found out, and its policy lets nothing pass then.
    LimitUnchecked,
    /// The service that is asked for leave cannot be reached.
    ExternalAuthFailed,
    /// The request's body is larger than the route allows.
    BodyTooLarge,
    /// There is no memory left to hold the request's body in.
    NoMemory,
    /// The rule was refused when it was compiled.
    RouteRefused(StatusCode),
    /// The backend's reference does not resolve.
    Unresolved(StatusCode),
    /// The backend has no endpoint.
    NoEndpoint,
    /// Every endpoint of the backend is left out for so many more milliseconds, or as much is under way to it as may be.
    CircuitOpen(u64),
    /// No connection could be made.
    ConnectFailed,
    /// There was no room for a connection in time.
    PoolTimeout,
    /// No connection could be made in time.
    ConnectTimeout,
    /// The TLS handshake did not come to its end in time.
    TlsTimeout,
    /// The endpoint did not take the whole request in time.
    RequestWriteTimeout,
    /// No response head in time.
    UpstreamTimeout,
    /// The whole exchange took too long.
    RequestTimeout,
    /// The connection broke before the response.
    UpstreamReset,
    /// The response is not valid HTTP.
    UpstreamProtocol,
    /// The client stopped sending its body.
    ClientClosed,
    /// The rule takes tokens, passwords or certificates over TLS only, and the request came in clear.
    InClear,
    /// The rule asks for a token, and there is none.
    TokenMissing,
    /// The token is not right; why.
    TokenInvalid(&'static str),
    /// The token is right, and says too little.
    TokenForbidden,
    /// The issuer's keys have never been fetched.
    KeysUnavailable,
    /// The rule asks for a password, and there is none.
    PasswordMissing,
    /// The name or the password is wrong.
    PasswordWrong,
    /// Too many passwords wait for their check.
    PasswordsBusy,
    /// A mistake of ours: something panicked.
    Internal,
}

impl Error {
    /// A body that is said to be base64 and is not.
    pub(super) const MALFORMED_BASE64: Self = Self::BadRequest("malformed base64");

    /// The status that tells the client.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Framing(refusal) => refusal.status(),
            Self::BadRequest(_) | Self::ClientClosed => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::IpDenied => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited(status) | Self::RouteRefused(status) | Self::Unresolved(status) => status,
            Self::NoEndpoint
            | Self::CircuitOpen(_)
            | Self::ConnectFailed
            | Self::PoolTimeout
            | Self::ConnectTimeout
            | Self::TlsTimeout
            | Self::LimitUnchecked
            | Self::ExternalAuthFailed
            | Self::NoMemory
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestWriteTimeout | Self::UpstreamTimeout | Self::RequestTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::UpstreamReset | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InClear | Self::TokenForbidden => StatusCode::FORBIDDEN,
            Self::TokenMissing | Self::TokenInvalid(_) | Self::PasswordMissing | Self::PasswordWrong => {
                StatusCode::UNAUTHORIZED
            }
            Self::KeysUnavailable | Self::PasswordsBusy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for metrics, logs and the client.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Framing(Refusal::HeadTooLarge | Refusal::TargetTooLong) => Reason::HeaderTooLarge,
            Self::Framing(_) | Self::BadRequest(_) => Reason::BadRequest,
            Self::Misdirected => Reason::Misdirected,
            Self::NoRoute => Reason::NoRoute,
            Self::IpDenied => Reason::IpDenied,
            Self::RateLimited(_) | Self::LimitUnchecked => Reason::RateLimited,
            Self::ExternalAuthFailed => Reason::ExtAuthError,
            Self::BodyTooLarge => Reason::BodyTooLarge,
            Self::NoMemory => Reason::NoMemory,
            Self::Overloaded => Reason::Overloaded,
            Self::RouteRefused(_) => Reason::RouteRefused,
            Self::Unresolved(_) | Self::NoEndpoint => Reason::NoBackend,
            Self::CircuitOpen(_) => Reason::CircuitOpen,
            Self::ConnectFailed => Reason::ConnectFailed,
            Self::PoolTimeout => Reason::PoolTimeout,
            Self::ConnectTimeout => Reason::ConnectTimeout,
            Self::TlsTimeout => Reason::TlsTimeout,
            Self::RequestWriteTimeout => Reason::RequestWriteTimeout,
            Self::UpstreamTimeout => Reason::UpstreamTimeout,
            Self::RequestTimeout => Reason::RequestTimeout,
            Self::UpstreamReset => Reason::UpstreamReset,
            Self::UpstreamProtocol => Reason::UpstreamProtocol,
            Self::ClientClosed => Reason::ClientClosed,
            Self::InClear => Reason::TlsRequired,
            Self::TokenMissing => Reason::JwtMissing,
            Self::TokenInvalid(_) => Reason::JwtInvalid,
            Self::TokenForbidden => Reason::JwtForbidden,
            Self::KeysUnavailable => Reason::JwksUnavailable,
            Self::PasswordMissing => Reason::BasicAuthMissing,
            Self::PasswordWrong => Reason::BasicAuthInvalid,
            Self::PasswordsBusy => Reason::BasicAuthBusy,
            Self::Internal => Reason::InternalError,
        }
    }

    /// One phrase for the client; nothing of the inside.
    fn detail(self) -> &'static str {
        match self {
            Self::Framing(refusal) => refusal.detail(),
            Self::BadRequest(detail) => detail,
            Self::Misdirected => "this host needs a newer TLS version than the connection has",
            Self::NoRoute => "no route matches this host and path",
            Self::ExternalAuthFailed => "it cannot be found out whether the request may pass",
            Self::BodyTooLarge => "the request's body is larger than the route allows",
            Self::NoMemory => "too many request bodies are being held",
            Self::Overloaded => "more is asked of the gateway than it can answer",
            Self::IpDenied => "this address may not use the route",
            Self::RateLimited(_) => "too many requests; Retry-After says when to come again",
            Self::LimitUnchecked => "whether there are too many requests cannot be checked now",
            Self::RouteRefused(_) => "the rule for this path is not served because its declaration was refused",
            Self::Unresolved(_) => "the backend of this path does not resolve",
            Self::NoEndpoint => "the backend has no endpoint ready",
            Self::CircuitOpen(_) => "the backend takes no more requests at the moment",
            Self::ConnectFailed => "the backend cannot be reached",
            Self::PoolTimeout => "there was no connection to the backend to be had in time",
            Self::ConnectTimeout | Self::TlsTimeout => "the backend could not be reached in time",
            Self::RequestWriteTimeout => "the backend did not take the request in time",
            Self::UpstreamTimeout => "the backend did not answer in time",
            Self::RequestTimeout => "the request took too long",
            Self::UpstreamReset => "the backend closed the connection",
            Self::UpstreamProtocol => "the backend's answer is not valid HTTP",
            Self::ClientClosed => "the request's body ended early",
            Self::InClear => "this path asks who you are, and takes the answer over TLS only",
            Self::TokenMissing => "this path asks for a token, and the request has none",
            Self::TokenInvalid(detail) => detail,
            Self::TokenForbidden => "the token does not allow this",
            Self::KeysUnavailable => "tokens cannot be checked, since the issuer's keys are not available yet",
            Self::PasswordMissing => "this path asks for a name and a password",
            Self::PasswordWrong => "the name or the password is wrong",
            Self::PasswordsBusy => "too many passwords are waiting to be checked",
            Self::Internal => "the gateway has made a mistake; its log says which",
        }
    }

    /// Whether an endpoint could not be reached, so that nothing of the request was sent.
    pub(super) fn is_unreachable(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::ConnectTimeout | Self::TlsTimeout)
    }

    /// Whether the client's connection can take no further request: what follows on it cannot be told apart.
    pub(super) fn closes(self) -> bool {
        matches!(self, Self::Framing(_) | Self::ClientClosed | Self::BodyTooLarge | Self::NoMemory | Self::Internal)
    }

    /// The response: problem details (RFC 9457), short.
    pub(super) fn response(self, request_id: Option<&HeaderValue>, trace: Option<TraceIds>) -> Response<ResponseBody> {
        let status = self.status();
        let id = request_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let mut body = serde_json::json!({
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail(),
            "reason": self.reason().as_str(),
            "request_id": id,
        });
        if let (Some(fields), Some(TraceIds { trace, .. })) = (body.as_object_mut(), trace) {
            fields.insert("trace_id".to_owned(), format!("{:032x}", u128::from_be_bytes(trace)).into());
        }
        let mut response = Response::new(ResponseBody::full(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if let Self::CircuitOpen(milliseconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000).max(1)));
        }
        if matches!(self, Self::NoMemory | Self::Overloaded) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
