//! What the fields of a request say, as the rest of the proxy reads it (RFC 9113 8.2 and 8.3).

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Uri, Version};

use super::hpack::Field;
use crate::field_kinds::FieldKinds;
use crate::proxy::framing::{MAX_HEAD, Received, Refusal, UNKNOWN_TARGET};

/// The most fields that are taken; one more is too much, as in HTTP/1.1.
const MAX_FIELDS: usize = 100;

/// These are the fields of no request, or of none that may follow a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

/// A head while its fields come in.
pub(super) struct Reading<'p> {
    parts: &'p mut Parts,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<HeaderValue>,
    path: Option<PathAndQuery>,
    /// Fields that are no pseudo-fields have begun.
    plain: bool,
    malformed: bool,
    kinds: FieldKinds,
    count: usize,
    size: usize,
}

impl<'p> Reading<'p> {
    /// Begins one in parts that say nothing.
    pub(super) fn begin(parts: &'p mut Parts) -> Self {
        Self {
            parts,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            plain: false,
            malformed: false,
            kinds: FieldKinds::NONE,
            count: 0,
            size: 0,
        }
    }

    /// The next field and what it counts.
    pub(super) fn take(&mut self, field: Field, size: usize) {
        self.count += 1;
        self.size += size;
        // What is too much is read past: the other side's table has to be followed all the same.
        if self.is_too_large() || self.malformed {
            return;
        }
        let sound = match field {
            Field::Plain { name, value, kinds } => {
                self.plain = true;
                self.kinds |= kinds;
                is_of_request(&name, &value) && self.parts.headers.try_append(name, value).is_ok()
            }
            Field::Method(method) => put(&mut self.method, method) && !self.plain,
            Field::Scheme(scheme) => put(&mut self.scheme, scheme) && !self.plain,
            Field::Authority(authority) => put(&mut self.authority, authority) && !self.plain,
            Field::Path(path) => put(&mut self.path, path) && !self.plain,
            Field::Malformed => false,
        };
        self.malformed = !sound;
    }

    fn is_too_large(&self) -> bool {
        self.count > MAX_FIELDS || self.size > MAX_HEAD
    }

    /// Makes the parts of a request of it, and says what else it has shown. Of one that is too large they may not be all.
    pub(super) fn request(self) -> Result<Received, Unfit> {
        let refusal = self.is_too_large().then_some(Refusal::HeadTooLarge);
        // CONNECT has neither scheme nor path, and all others have both (RFC 9113 8.3.1 and 8.5).
        let (method, uri) = match (self.method, self.scheme, self.path) {
            _ if self.malformed => return Err(Unfit),
            (Some(Method::CONNECT), None, None) if self.authority.is_some() => (Method::CONNECT, Uri::default()),
            (Some(method), Some(_), Some(path)) if method != Method::CONNECT => (method, Uri::from(path)),
            (method, _, path) if refusal.is_some() => {
                (method.unwrap_or_default(), path.map_or(Uri::from_static(UNKNOWN_TARGET), Uri::from))
            }
            _ => return Err(Unfit),
        };
        let Parts { headers, .. } = self.parts;
        // As HTTP/1.1 says it. Where a `Host` says something else there are two then, and two are refused.
        if let Some(authority) = self.authority
            && headers.get(header::HOST).is_none_or(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
        {
            headers.append(header::HOST, authority);
        }
        (self.parts.method, self.parts.uri, self.parts.version) = (method, uri, Version::HTTP_2);
        Ok(Received { upgrade: false, kinds: self.kinds, refusal })
    }

    /// Whether what follows a body is fit for that; its fields are in the parts.
    pub(super) fn trailers(self) -> Result<(), Unfit> {
        let Self { method, scheme, authority, path, .. } = &self;
        let plain = method.is_none() && scheme.is_none() && authority.is_none() && path.is_none();
        if plain && !self.malformed && !self.is_too_large() { Ok(()) } else { Err(Unfit) }
    }
}

/// Puts it where there is none yet.
fn put<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_none()
}

/// Concerns a connection of HTTP/1.1 only, and stands in no message of HTTP/2 (RFC 9113 8.2.2).
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

/// Whether a field may stand in a request.
fn is_of_request(name: &HeaderName, value: &HeaderValue) -> bool {
    !is_of_connection(name) && (*name != header::TE || value.as_bytes().eq_ignore_ascii_case(b"trailers"))
}
