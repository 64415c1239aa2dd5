//! What a route does to a request and to its response.
//!
//! The order, and the only place that says it; `proxy::exchange` runs it:
//!
//! 1. the redirect to TLS, when the route asks for it; then a request in clear is refused where clients' certificates are
//!    required;
//! 2. IP access;
//! 3. CORS: a preflight request is answered here, and what every other answer says of it is prepared;
//! 4. rate limits that need no identity;
//! 5. authentication: headers that speak of who is asking are dropped from what the client sent, and say of its certificate
//!    what is so; then the token, or name and password, then external authorization;
//! 6. rate limits that need an identity;
//! 7. bounds on the request's body are armed, and a body that is to be held is read;
//! 8. the rule's filters on the request, in their declared order: headers, rewrite; a redirect or a fixed response ends
//!    the chain; then, of what they have left, copies for mirrors;
//! 9. the choice of a backend, its filters on the request in their declared order, and the exchange with an endpoint;
//! 10. the backend's filters on the response, then the rule's, both in their declared order, then compression;
//! 11. a page in place of an answer that says that something is wrong, whoever says it.
//!
//! Before all of them a connection over TLS must give what the host and the route ask of it, the client's certificate
//! included: it may have been made for another host.
//!
//! IP access, CORS and external authorization are declared among a rule's filters and run at their own step wherever
//! they stand there. No step is skipped because the answer is a redirect, a fixed response or an error of ours, because
//! the request is tried again, or because it changes protocols.

mod compression;
mod cors;
mod external_auth;
mod headers;
mod ip_access;
mod places;
pub mod rate_limit;
mod redirect;
mod rewrite;
#[cfg(test)]
mod sample;
mod sign_in;
mod template;

use std::fmt;

use http::{HeaderMap, HeaderValue, StatusCode};

pub use compression::{Coding, Compression, MediaRange, MediaRangeError, Wish};
pub use cors::{Cors, Listed, Origin, OriginError, Origins, preflight};
pub use external_auth::{ExternalAuth, Ruling, Shown};
pub(crate) use headers::Title;
pub use headers::{HeaderRules, HeaderTemplate};
pub use ip_access::IpAccess;
pub use places::{Places, Swap};
pub use redirect::{DirectResponse, Redirect};
pub use rewrite::{Captured, PathRewrite, Rewrite};
pub use sign_in::SignIn;
pub use template::{Template, TemplateError};

use bytes::Bytes;

use crate::path::Params;

/// One step.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Changes the request's headers.
    RequestHeaders(HeaderRules),
    /// Changes the response's headers.
    ResponseHeaders(HeaderRules),
    /// Changes where the response says that things are.
    ResponsePlaces(Box<Places>),
    /// Changes the request's path or host.
    Rewrite(Rewrite),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Answers with a fixed response.
    Respond(DirectResponse),
    /// Answers for a rule that was refused: its declaration is not served as if it said something else.
    Refuse(StatusCode),
}

/// What a filter sees of a request, and may change of it.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// The headers, changed in place.
    pub headers: &'a mut HeaderMap,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// The host that was asked for, lower-case and without its port.
    pub host: &'a str,
    /// The port of the listener as the client knows it, taken from the authority; `None` is the scheme's default.
    pub port: Option<u16>,
    /// The normalised path that was matched.
    pub path: &'a str,
    /// The query as sent, without its question mark.
    pub query: Option<&'a str>,
    /// What filters made of path and host so far.
    pub rewritten: &'a mut Rewritten,
}

/// What goes upstream in place of the request's own path and host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The path, normalised.
    pub path: Option<String>,
    /// The authority.
    pub host: Option<HeaderValue>,
}

/// Whether the chain goes on.
#[derive(Debug)]
pub enum Flow {
    /// On to the next step.
    Continue,
    /// This is the response.
    Respond(Reply),
}

/// A response that a filter makes.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, `Content-Length` and the like aside.
    pub headers: Vec<(http::HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
    /// What the access log and the metrics call it.
    pub reason: ReplyReason,
}

/// Why a filter answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyReason {
    /// It is a redirect.
    Redirect,
    /// It is a fixed response.
    DirectResponse,
    /// It answers a preflight request.
    Preflight,
    /// The rule is refused.
    Refused,
    /// What a rewrite makes of the path is not one.
    BadPath,
}

impl Reply {
    /// 400, for a path that cannot be rewritten.
    fn bad_path() -> Self {
        Self { status: StatusCode::BAD_REQUEST, headers: Vec::new(), body: Bytes::new(), reason: ReplyReason::BadPath }
    }
}

impl Filter {
    /// The step on the request.
    pub fn on_request(&self, parts: &mut RequestParts<'_>, matched: &Matched<'_>) -> Flow {
        match self {
            Self::RequestHeaders(rules) => rules.apply(parts.headers, &matched.params),
            Self::ResponseHeaders(_) | Self::ResponsePlaces(_) => {}
            Self::Rewrite(rewrite) => return rewrite.apply(parts, matched),
            Self::Redirect(redirect) => return Flow::Respond(redirect.reply(parts, matched)),
            Self::Respond(response) => return Flow::Respond(response.reply()),
            Self::Refuse(status) => {
                let (status, reason) = (*status, ReplyReason::Refused);
                return Flow::Respond(Reply { status, headers: Vec::new(), body: Bytes::new(), reason });
            }
        }
        Flow::Continue
    }

    /// The step on the response's headers.
    pub fn on_response(&self, headers: &mut HeaderMap, matched: &Matched<'_>) {
        match self {
            Self::ResponseHeaders(rules) => rules.apply(headers, &matched.params),
            Self::ResponsePlaces(places) => places.apply(headers),
            Self::RequestHeaders(_) | Self::Rewrite(_) | Self::Redirect(_) | Self::Respond(_) | Self::Refuse(_) => {}
        }
    }
}

impl fmt::Display for Filter {
    /// The step in the words of a declaration: `RequestHeaderModifier: set X-Env: prod`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestHeaders(rules) => write!(f, "RequestHeaderModifier: {rules}"),
            Self::ResponseHeaders(rules) => write!(f, "ResponseHeaderModifier: {rules}"),
            Self::ResponsePlaces(places) => write!(f, "{places}"),
            Self::Rewrite(rewrite) => write!(f, "URLRewrite: {rewrite}"),
            Self::Redirect(redirect) => write!(f, "RequestRedirect: {redirect}"),
            Self::Respond(response) => write!(f, "DirectResponse: {response}"),
            Self::Refuse(status) => write!(f, "refused: {}", status.as_u16()),
        }
    }
}

/// What was matched, for steps that insert parts of it.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// Parameters of the path template.
    pub params: Params<'a>,
    /// How many bytes of the path the rule's prefix covers; 0 when it has none.
    pub prefix: usize,
}
