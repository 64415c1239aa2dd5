//! Answers that need no backend: redirects and fixed responses.

use std::fmt;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{StatusCode, uri::Scheme};

use super::rewrite::PathRewrite;
use super::{Matched, Reply, ReplyReason, RequestParts};

/// A redirect, by the rules of HTTPRoute's `RequestRedirect`: what is not given is as the client asked.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The host to go to.
    pub hostname: Option<Box<str>>,
    /// The path to go to; the query goes along.
    pub path: Option<PathRewrite>,
    /// The port to go to. Without one it is that of the scheme, and without a scheme the one the client came to.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// A fixed response.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Its status.
    pub status: StatusCode,
    /// The type of its body.
    pub content_type: Option<HeaderValue>,
    /// Its body, shared and never copied.
    pub body: Bytes,
}

impl Redirect {
    /// A redirect's status, if it is one of those that clients follow to another address.
    pub fn status(code: u16) -> Option<StatusCode> {
        matches!(code, 301 | 302 | 303 | 307 | 308).then(|| StatusCode::from_u16(code).ok()).flatten()
    }

    pub(super) fn reply(&self, parts: &RequestParts<'_>, matched: &Matched<'_>) -> Reply {
        let rewritten = match &self.path {
            Some(rewrite) => match rewrite.apply(parts.path, matched) {
                Some(path) => Some(path),
                None => return Reply::bad_path(),
            },
            None => None,
        };
        let path = rewritten.as_deref().unwrap_or(parts.path);
        let Ok(location) = HeaderValue::try_from(self.location(parts, path)) else { return Reply::bad_path() };
        Reply {
            status: self.status,
            headers: vec![(header::LOCATION, location)],
            body: Bytes::new(),
            reason: ReplyReason::Redirect,
        }
    }

    fn location(&self, parts: &RequestParts<'_>, path: &str) -> String {
        let secure = self.scheme.as_ref().map_or(parts.secure, |scheme| *scheme == Scheme::HTTPS);
        let (scheme, usual) = if secure { ("https", 443) } else { ("http", 80) };
        let host = self.hostname.as_deref().unwrap_or(parts.host);
        let port = match (self.port, &self.scheme) {
            (Some(port), _) => Some(port),
            (None, Some(_)) => None,
            (None, None) => parts.port,
        };
        let query = parts.query.map(|query| format!("?{query}")).unwrap_or_default();
        // Without a host there is only a relative reference to give (RFC 9110 10.2.2).
        if host.is_empty() {
            return format!("{path}{query}");
        }
        let port = port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

impl DirectResponse {
    pub(super) fn reply(&self) -> Reply {
        Reply {
            status: self.status,
            headers: self.content_type.iter().map(|kind| (header::CONTENT_TYPE, kind.clone())).collect(),
            body: self.body.clone(),
            reason: ReplyReason::DirectResponse,
        }
    }
}

impl fmt::Display for Redirect {
    /// `301 with scheme to https; host to www.example.com; path to /new`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, hostname, path, port, status } = self;
        let changes: Vec<String> = [
            scheme.as_ref().map(|scheme| format!("scheme to {scheme}")),
            hostname.as_ref().map(|hostname| format!("host to {hostname}")),
            port.map(|port| format!("port to {port}")),
            path.as_ref().map(ToString::to_string),
        ]
        .into_iter()
        .flatten()
        .collect();
        write!(f, "{}", status.as_u16())?;
        if changes.is_empty() { Ok(()) } else { write!(f, " with {}", changes.join("; ")) }
    }
}

impl fmt::Display for DirectResponse {
    /// `503 text/plain, 9 bytes`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(kind) = &self.content_type {
            write!(f, " {}", String::from_utf8_lossy(kind.as_bytes()))?;
        }
        write!(f, ", {} bytes", self.body.len())
    }
}

#[cfg(test)]
mod tests;
