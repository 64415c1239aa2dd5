//! How an exchange ended, in one closed list: the metric label, the access log's field and the `reason` of an error
//! body are all this word.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The backend answered.
    Ok,
    /// No route matches.
    NoRoute,
    /// The route has nothing to send requests to: no endpoint, or a reference that does not resolve.
    NoBackend,
    /// The rule was refused when it was compiled.
    RouteRefused,
    /// The backend is left alone for a while, or has as much to do as it may.
    CircuitOpen,
    /// No connection to the endpoint could be made.
    ConnectFailed,
    /// There was no room for a connection to the endpoint in time.
    PoolTimeout,
    /// No connection to the endpoint could be made in time.
    ConnectTimeout,
    /// The endpoint's TLS handshake took too long.
    TlsTimeout,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// The exchange took longer than the route allows.
    RequestTimeout,
    /// The endpoint closed the connection before or within its answer.
    UpstreamReset,
    /// The endpoint's answer is not valid HTTP.
    UpstreamProtocol,
    /// The client's request is malformed.
    BadRequest,
    /// The client's request head is too large.
    HeaderTooLarge,
    /// The request came over a connection that is too weak for its host.
    Misdirected,
    /// The route is not for the client's address.
    IpDenied,
    /// The service that is asked for leave has refused it.
    ExtAuthDenied,
    /// The service that is asked for leave is out of order.
    ExtAuthError,
    /// The request's body is larger than the route allows.
    BodyTooLarge,
    /// There is no memory left to hold the request's body in.
    NoMemory,
    /// The client went away before the end.
    ClientClosed,
    /// The answer is a redirect of ours.
    Redirect,
    /// The answer is a fixed response of the route.
    DirectResponse,
    /// The answer is one of ours to a browser that asks before it sends a request of another origin.
    Preflight,
    /// The rule takes tokens and passwords over TLS only, and the request came in clear.
    TlsRequired,
    /// The rule asks for a token, and there is none.
    JwtMissing,
    /// The token is not right.
    JwtInvalid,
    /// The token is right, and says too little.
    JwtForbidden,
    /// The issuer's keys have never been fetched.
    JwksUnavailable,
    /// The rule asks for a password, and there is none.
    BasicAuthMissing,
    /// The name or the password is wrong.
    BasicAuthInvalid,
    /// Too many passwords wait for their check.
    BasicAuthBusy,
    /// The request is over a limit, or whether it is cannot be found out.
    RateLimited,
    /// More is asked than the worker can answer.
    Overloaded,
    /// The endpoint did not take the whole request in time.
    RequestWriteTimeout,
    /// A mistake in Headgate itself.
    InternalError,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 37] = [
        Self::Ok,
        Self::NoRoute,
        Self::NoBackend,
        Self::RouteRefused,
        Self::CircuitOpen,
        Self::ConnectFailed,
        Self::PoolTimeout,
        Self::ConnectTimeout,
        Self::TlsTimeout,
        Self::UpstreamTimeout,
        Self::RequestTimeout,
        Self::UpstreamReset,
        Self::UpstreamProtocol,
        Self::BadRequest,
        Self::HeaderTooLarge,
        Self::Misdirected,
        Self::IpDenied,
        Self::ExtAuthDenied,
        Self::ExtAuthError,
        Self::BodyTooLarge,
        Self::NoMemory,
        Self::ClientClosed,
        Self::Redirect,
        Self::DirectResponse,
        Self::Preflight,
        Self::TlsRequired,
        Self::JwtMissing,
        Self::JwtInvalid,
        Self::JwtForbidden,
        Self::JwksUnavailable,
        Self::BasicAuthMissing,
        Self::BasicAuthInvalid,
        Self::BasicAuthBusy,
        Self::RateLimited,
        Self::Overloaded,
        Self::RequestWriteTimeout,
        Self::InternalError,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::RouteRefused => "route_refused",
            Self::CircuitOpen => "circuit_open",
            Self::ConnectFailed => "connect_failed",
            Self::PoolTimeout => "pool_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsTimeout => "tls_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::BadRequest => "bad_request",
            Self::HeaderTooLarge => "header_too_large",
            Self::Misdirected => "misdirected",
            Self::IpDenied => "ip_denied",
            Self::ExtAuthDenied => "ext_auth_denied",
            Self::ExtAuthError => "ext_auth_error",
            Self::BodyTooLarge => "body_too_large",
            Self::NoMemory => "no_memory",
            Self::ClientClosed => "client_closed",
            Self::Redirect => "redirect",
            Self::DirectResponse => "direct_response",
            Self::Preflight => "preflight",
            Self::TlsRequired => "tls_required",
            Self::JwtMissing => "jwt_missing",
            Self::JwtInvalid => "jwt_invalid",
            Self::JwtForbidden => "jwt_forbidden",
            Self::JwksUnavailable => "jwks_unavailable",
            Self::BasicAuthMissing => "basic_auth_missing",
            Self::BasicAuthInvalid => "basic_auth_invalid",
            Self::BasicAuthBusy => "basic_auth_busy",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::RequestWriteTimeout => "request_write_timeout",
            Self::InternalError => "internal_error",
        }
    }
}
