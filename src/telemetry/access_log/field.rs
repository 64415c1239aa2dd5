//! The fields of a line by their names: what a template can ask for.

use std::io::Write as _;
use std::net::SocketAddr;

use super::entry::Entry;
use super::escape;
use super::query::QueryShown;
use super::stamp::{self, Stamp};

macro_rules! fields {
    ($($field:ident $name:literal,)*) => {
        /// A field of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $($field,)*
        }

        impl Field {
            /// All names, for whoever asked for another.
            pub(super) const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The field of this name.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$field),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Time "time",
    TimeLocal "time_local",
    Method "method",
    Scheme "scheme",
    Host "host",
    Path "path",
    Query "query",
    Target "target",
    Protocol "protocol",
    Status "status",
    Reason "reason",
    DurationMs "duration_ms",
    UpstreamMs "upstream_ms",
    OverheadUs "overhead_us",
    BytesIn "bytes_in",
    BytesOut "bytes_out",
    ClientIp "client_ip",
    PeerIp "peer_ip",
    Route "route",
    Rule "rule",
    Service "service",
    RatelimitPolicy "ratelimit_policy",
    RatelimitLimit "ratelimit_limit",
    RatelimitRemaining "ratelimit_remaining",
    JwtSub "jwt_sub",
    Endpoint "endpoint",
    Attempts "attempts",
    TlsVersion "tls_version",
    Sni "sni",
    RequestId "request_id",
    TraceId "trace_id",
    SpanId "span_id",
    UserAgent "user_agent",
    Referer "referer",
}

impl Field {
    /// Appends the field's value as nginx would escape it; a dash for what an exchange does not have.
    pub(super) fn write(self, out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
        match self {
            Self::Time => stamp.iso(out, entry.began),
            Self::TimeLocal => stamp.clf(out, entry.began),
            Self::Method => escape::text(out, entry.method.as_bytes()),
            Self::Scheme => out.extend_from_slice(entry.scheme().as_bytes()),
            Self::Host => text(out, entry.host),
            Self::Path => text(out, entry.path),
            Self::Query => match entry.query.filter(|text| !text.is_empty() && query != QueryShown::Dropped) {
                Some(text) => query.pieces(text, |piece| escape::text(out, piece)),
                None => out.push(b'-'),
            },
            Self::Target => target(out, entry, query),
            Self::Protocol => out.extend_from_slice(entry.protocol().as_bytes()),
            Self::Status => stamp::number(out, entry.status),
            Self::Reason => out.extend_from_slice(entry.reason.as_str().as_bytes()),
            Self::DurationMs => stamp::milliseconds(out, entry.duration),
            Self::UpstreamMs => match entry.tries {
                [] => out.push(b'-'),
                [..] => stamp::milliseconds(out, entry.upstream),
            },
            Self::OverheadUs => stamp::number(out, u64::try_from(entry.overhead().as_micros()).unwrap_or(u64::MAX)),
            Self::BytesIn => stamp::number(out, entry.received),
            Self::BytesOut => stamp::number(out, entry.sent),
            Self::ClientIp => text(out, entry.client_ip),
            Self::PeerIp => text(out, entry.peer_ip),
            Self::Route => text(out, entry.route),
            Self::Rule => text(out, entry.rule),
            Self::Service => text(out, entry.service),
            Self::RatelimitPolicy => text(out, entry.limit.map(|limit| limit.policy).unwrap_or_default()),
            Self::RatelimitLimit => text(out, entry.limit.map(|limit| limit.limit).unwrap_or_default()),
            Self::RatelimitRemaining => match entry.limit {
                Some(limit) => stamp::number(out, limit.remaining),
                None => out.push(b'-'),
            },
            Self::JwtSub => text(out, entry.subject.unwrap_or_default()),
            Self::Endpoint => match entry.endpoint() {
                Some(endpoint) => address(out, endpoint),
                None => out.push(b'-'),
            },
            Self::Attempts => stamp::number(out, entry.tries.len()),
            Self::TlsVersion => text(out, entry.tls_version.unwrap_or_default().as_bytes()),
            Self::Sni => text(out, entry.sni.unwrap_or_default()),
            Self::RequestId => text(out, entry.request_id),
            Self::TraceId => match entry.trace {
                Some(ids) => stamp::hex(out, &ids.trace),
                None => out.push(b'-'),
            },
            Self::SpanId => match entry.trace {
                Some(ids) => stamp::hex(out, &ids.span),
                None => out.push(b'-'),
            },
            Self::UserAgent => text(out, entry.user_agent.unwrap_or_default()),
            Self::Referer => referer(out, entry, query),
        }
    }
}

/// Appends the path with what is shown of the query.
pub(super) fn target(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown) {
    escape::text(out, entry.path);
    if let Some(text) = entry.query
        && query != QueryShown::Dropped
    {
        out.push(b'?');
        query.pieces(text, |piece| escape::text(out, piece));
    }
}

/// Appends where the client says it comes from.
pub(super) fn referer(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown) {
    match entry.referer.filter(|referer| !referer.is_empty()) {
        Some(referer) => query.pieces_of_url(referer, |piece| escape::text(out, piece)),
        None => out.push(b'-'),
    }
}

/// Appends text, or a dash for none.
pub(super) fn text(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        out.push(b'-');
    } else {
        escape::text(out, value);
    }
}

/// Appends an address with its port.
pub(super) fn address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            for (octet, end) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b':')] {
                stamp::number(out, octet);
                out.push(end);
            }
            stamp::number(out, address.port());
        }
        // Writing to memory does not fail.
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
}
