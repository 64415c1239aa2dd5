//! What the names of a head's fields tell: what none of them is, nobody has to look for among them, which is a hash and a
//! search each time.

use std::ops::{BitOr, BitOrAssign};

use http::HeaderMap;

/// Kinds of fields; of a head, those of all its fields together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldKinds(u8);

impl FieldKinds {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// `Connection`, which may name any others.
    pub(crate) const CONNECTION: Self = Self(1);
    /// Concerns one connection only without being named (RFC 9110 7.6.1), or is what old software means by that.
    pub(crate) const HOP_BY_HOP: Self = Self(1 << 1);
    /// Is meant for the first proxy on the way.
    pub(crate) const FIRST_PROXY: Self = Self(1 << 2);
    /// Says where a request came from; only the proxy knows that.
    pub(crate) const ORIGIN: Self = Self(1 << 3);
    /// Some backends would take it for another: CGI and its kin make `_` of every `-`, and some make it of `.` as well, so
    /// `X_Forwarded_For` and `X.Forwarded.For` would speak for the header that we set. [`Self::of`] does not look for it.
    pub(crate) const ALIAS: Self = Self(1 << 4);
    /// `X-Request-Id`.
    pub(crate) const REQUEST_ID: Self = Self(1 << 5);
    /// May say which trace a request belongs to.
    pub(crate) const TRACE: Self = Self(1 << 6);
    /// `Content-Length`.
    pub(crate) const LENGTH: Self = Self(1 << 7);

    /// What a name is, in letters of either case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // The length first, so that a name is compared with one or two others and not with all.
        match name.len() {
            2 if is(b"te") => Self::HOP_BY_HOP,
            2 if is(b"b3") => Self::TRACE,
            6 if is(b"expect") => Self::FIRST_PROXY,
            7 if is(b"upgrade") || is(b"trailer") => Self::HOP_BY_HOP,
            9 if is(b"forwarded") || is(b"x-real-ip") => Self::ORIGIN,
            10 if is(b"connection") => Self::CONNECTION,
            10 if is(b"keep-alive") => Self::HOP_BY_HOP,
            11 if is(b"traceparent") => Self::TRACE,
            11 if is(b"x-forwarded") => Self::ORIGIN,
            12 if is(b"x-request-id") => Self::REQUEST_ID,
            14 if is(b"content-length") => Self::LENGTH,
            14 if is(b"http2-settings") => Self::HOP_BY_HOP,
            16 if is(b"proxy-connection") => Self::HOP_BY_HOP,
            17 if is(b"transfer-encoding") => Self::HOP_BY_HOP,
            19 if is(b"proxy-authorization") => Self::FIRST_PROXY,
            10.. if begins(name, b"x-b3-") => Self::TRACE,
            12.. if begins(name, b"x-forwarded-") => Self::ORIGIN,
            _ => Self::NONE,
        }
    }

    /// What the fields of a head are.
    pub(crate) fn of_all(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::NONE, |all, name| all | Self::of(name.as_str().as_bytes()))
    }

    /// These and those.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether any of these is among them.
    pub(crate) fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

impl BitOr for FieldKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

impl BitOrAssign for FieldKinds {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_in_either_case() {
        let hop_by_hop = "te trailer upgrade keep-alive proxy-connection transfer-encoding http2-settings";
        let origin = "forwarded x-forwarded x-forwarded-for x-forwarded-port x-forwarded-by-anybody x-real-ip";
        let trace = "traceparent b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags";
        let none = "host accept x-forward x-real x-request x-b3 date content-type tracestate b4 connectio x-forwardee";
        for (kind, names) in [
            (FieldKinds::CONNECTION, "connection"),
            (FieldKinds::HOP_BY_HOP, hop_by_hop),
            (FieldKinds::FIRST_PROXY, "expect proxy-authorization"),
            (FieldKinds::ORIGIN, origin),
            (FieldKinds::REQUEST_ID, "x-request-id"),
            (FieldKinds::LENGTH, "content-length"),
            (FieldKinds::TRACE, trace),
            (FieldKinds::NONE, none),
        ] {
            for name in names.split(' ') {
                assert_eq!(FieldKinds::of(name.as_bytes()), kind, "{name}");
                assert_eq!(FieldKinds::of(name.to_ascii_uppercase().as_bytes()), kind, "{name}");
            }
        }
    }

    #[test]
    fn a_head_has_the_kinds_of_all_its_fields() {
        let mut headers = HeaderMap::new();
        assert_eq!(FieldKinds::of_all(&headers), FieldKinds::NONE);
        headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        headers.insert("x-request-id", http::HeaderValue::from_static("1"));
        let kinds = FieldKinds::of_all(&headers);
        assert_eq!(kinds, FieldKinds::CONNECTION | FieldKinds::REQUEST_ID);
        assert!(kinds.has(FieldKinds::REQUEST_ID | FieldKinds::TRACE) && !kinds.has(FieldKinds::TRACE));
    }
}
