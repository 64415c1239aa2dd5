//! Cross-origin requests, as the Fetch standard (section 3.2) has browsers ask and Gateway API has gateways answer.

mod origin;

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

pub use origin::{Origin, OriginError, Origins};

use super::{Reply, ReplyReason};

/// Which pages of other origins may use a route, and how.
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins that may.
    pub origins: Origins,
    /// The methods that they may use.
    pub methods: Listed,
    /// The headers that they may send.
    pub headers: Listed,
    /// The headers that they may read.
    pub exposed: Listed,
    /// Whether they may send cookies and the like. Never so with every origin.
    pub credentials: bool,
    /// How many seconds a browser may remember the answer to a preflight request.
    pub max_age: HeaderValue,
}

/// Names that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// These, as a header carries them.
    These(HeaderValue),
}

/// What a backend may have said of the same, in place of which we speak.
const SPOKEN_FOR: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];
/// Everything that the answer to a preflight request depends on.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The method that a preflight request asks about; `None` when it is any other request.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    /// What a response to a request with these headers says of its origin; `None` when it is not told anything.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let Origins::These(origins) = &self.origins else {
            // Also without an origin: a cache may keep the answer and give it to somebody who has one.
            return Some(ANY);
        };
        let mut sent = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (sent.next(), sent.next()) else { return None };
        let text = origin.to_str().ok()?;
        origins.iter().any(|allowed| allowed.matches(text)).then(|| origin.clone())
    }

    /// The answer to a preflight request. A page of another origin than those allowed gets one as well, and no leave.
    pub fn answer(&self, headers: &HeaderMap) -> Reply {
        let mut said = vec![(header::VARY, PREFLIGHT_VARY)];
        if let Some(origin) = self.allowed(headers) {
            let asked = |name: HeaderName| headers.get(name).cloned();
            said.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin));
            if self.credentials {
                said.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE));
            }
            // Of all names, those that are asked for are said: a star would not cover `Authorization`, nor anything
            // once credentials are allowed.
            let methods = self.methods.said(|| asked(header::ACCESS_CONTROL_REQUEST_METHOD));
            said.extend(methods.map(|methods| (header::ACCESS_CONTROL_ALLOW_METHODS, methods)));
            let names = self.headers.said(|| asked(header::ACCESS_CONTROL_REQUEST_HEADERS));
            said.extend(names.map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names)));
            said.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        }
        let (status, reason) = (StatusCode::NO_CONTENT, ReplyReason::Preflight);
        Reply { status, headers: said, body: bytes::Bytes::new(), reason }
    }

    /// Says it in a response, in place of what a backend has said; `allowed` is what [`Self::allowed`] has given for
    /// the request.
    pub fn apply(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        for name in &SPOKEN_FOR {
            headers.remove(name);
        }
        if matches!(self.origins, Origins::These(_)) && !varies_by_origin(headers) {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = allowed else { return };
        let exposed = self.exposed.said(|| if self.credentials { Some(names(headers)) } else { Some(ANY) });
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(exposed) = exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

impl Listed {
    /// Some names.
    pub fn these<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let joined = names.into_iter().collect::<Vec<_>>().join(", ");
        match HeaderValue::try_from(joined) {
            Ok(names) if !names.is_empty() => Self::These(names),
            _ => Self::Nothing,
        }
    }

    fn said(&self, everything: impl FnOnce() -> Option<HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Everything => everything(),
            Self::These(names) => Some(names.clone()),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Everything => f.write_str("*"),
            Self::These(names) => f.write_str(names.to_str().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Cors {
    /// `origins https://app.example.com; methods GET, POST; headers Content-Type; credentials`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origins, methods, headers, exposed, credentials, max_age: _ } = self;
        write!(f, "origins {origins}; methods {methods}")?;
        for (what, listed) in [("headers", headers), ("exposes", exposed)] {
            if *listed != Listed::Nothing {
                write!(f, "; {what} {listed}")?;
            }
        }
        f.write_str(if *credentials { "; credentials" } else { "" })
    }
}

/// The names of all headers that are there: with credentials, a star is the name of a header.
fn names(headers: &HeaderMap) -> HeaderValue {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"origin")
    })
}

#[cfg(test)]
mod tests;
