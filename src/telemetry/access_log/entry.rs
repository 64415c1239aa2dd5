//! What a line of the access log is made from.

use std::net::SocketAddr;
use std::time::Duration;

use http::Version;

use crate::telemetry::{Reason, hexadecimal};

/// An exchange that is over, in the words of the access log. Text is as it was sent; whoever writes it escapes it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When the request's head was complete, in microseconds since 1970.
    pub began: u64,
    /// Whether it came in over TLS.
    pub secure: bool,
    /// The method.
    pub method: &'a str,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// The host as asked for, with the port if one was named.
    pub host: &'a [u8],
    /// The path as asked for.
    pub path: &'a [u8],
    /// The query, without its question mark.
    pub query: Option<&'a [u8]>,
    /// The status of the answer; 499 for a client that did not wait for one.
    pub status: u16,
    /// How it ended.
    pub reason: Reason,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
    /// How much of that was spent waiting for the backend's head; zero when none was asked.
    pub upstream: Duration,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Bytes of the request's head, as HTTP/1.1 would write it, where lines tell that.
    pub head: u64,
    /// Who asked, as far as is known and trusted.
    pub client_ip: &'a [u8],
    /// Who is at the other end of the connection.
    pub peer_ip: &'a [u8],
    /// `namespace/name` of the object whose rule took it; empty for none.
    pub route: &'a [u8],
    /// The rule's name or number.
    pub rule: &'a [u8],
    /// `namespace/service:port` of the backend it went to, or was to go to.
    pub service: &'a [u8],
    /// What is left at the tightest limit that was asked, if one was.
    pub limit: Option<Remaining<'a>>,
    /// Who the caller's token says it is, where that is to be told.
    pub subject: Option<&'a [u8]>,
    /// The endpoints that were asked, in turn.
    pub tries: &'a [Try],
    /// The client's version of TLS.
    pub tls_version: Option<&'static str>,
    /// The name that the client's TLS asked for.
    pub sni: Option<&'a [u8]>,
    /// The id that client, backend and answer know the exchange by.
    pub request_id: &'a [u8],
    /// The trace it belongs to.
    pub trace: Option<TraceIds>,
    /// What the client says it is.
    pub user_agent: Option<&'a [u8]>,
    /// Where the client says it comes from.
    pub referer: Option<&'a [u8]>,
    /// What was sent of the headers that the access log asks for, in their order.
    pub headers: Values<'a>,
    /// What the rule says of its requests being logged, if it says anything.
    pub wanted: Option<bool>,
    /// Nothing in host, path, query, ids, names and headers has to be escaped, which is cheaper to know of all of them
    /// together.
    pub plain: bool,
}

impl Entry<'_> {
    /// Whether all went as the rule says and no error was answered.
    pub(super) fn succeeded(&self) -> bool {
        let broke_off = matches!(
            self.reason,
            Reason::ClientClosed | Reason::UpstreamReset | Reason::UpstreamTimeout | Reason::RequestTimeout
        );
        self.status < 400 && !broke_off
    }

    /// The endpoint that was asked last.
    pub(super) fn endpoint(&self) -> Option<SocketAddr> {
        self.tries.last().map(|last| last.endpoint)
    }

    /// What we took ourselves.
    pub(super) fn overhead(&self) -> Duration {
        self.duration.saturating_sub(self.upstream)
    }

    /// `http` or `https`.
    pub(in crate::telemetry) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// `HTTP/1.1`, as request lines have it.
    pub(in crate::telemetry) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        }
    }
}

/// Values of headers, one after the other in one text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// All of them.
    pub text: &'a [u8],
    /// Where each begins and ends, if it was sent.
    pub places: &'a [Option<(u32, u32)>],
}

impl<'a> Values<'a> {
    /// The value of the header of this number.
    pub(super) fn of(&self, number: usize) -> Option<&'a [u8]> {
        let (from, to) = (*self.places.get(number)?)?;
        self.text.get(from as usize..to as usize)
    }
}

/// What is left at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining<'a> {
    /// `namespace/name` of the policy.
    pub policy: &'a [u8],
    /// The limit's name in it.
    pub limit: &'a [u8],
    /// How many more requests would pass now.
    pub remaining: u32,
}

/// One endpoint that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// Its address.
    pub endpoint: SocketAddr,
    /// How long its head was waited for.
    pub waited: Duration,
    /// The status of its answer; none when there was no answer.
    pub status: Option<u16>,
}

/// The trace that an exchange belongs to, and its place there (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace.
    pub trace: [u8; 16],
    /// The span of the exchange, or the caller's where we make none of our own.
    pub span: [u8; 8],
}

impl TraceIds {
    /// Reads a `traceparent` header: the ids in it, and its flags. Of a later version than ours the beginning is read,
    /// as the specification asks (3.2.4).
    pub fn parse(value: &[u8]) -> Option<(Self, u8)> {
        let (version, rest) = part::<1>(value)?;
        let (trace, rest) = part::<16>(rest.strip_prefix(b"-")?)?;
        let (span, rest) = part::<8>(rest.strip_prefix(b"-")?)?;
        let (flags, after) = part::<1>(rest.strip_prefix(b"-")?)?;
        let ([version], [flags]) = (version, flags);
        if version == 0xff || version == 0 && !after.is_empty() || !matches!(after, [] | [b'-', ..]) {
            return None;
        }
        // All zeros stand for no id.
        (trace != [0; 16] && span != [0; 8]).then_some((Self { trace, span }, flags))
    }
}

/// So many bytes, written in hexadecimal, and what comes after them.
fn part<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let (digits, rest) = text.split_at_checked(2 * N)?;
    Some((hexadecimal::parse(digits)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_parents_as_the_specification_has_them() {
        let parse = |text: &str| TraceIds::parse(text.as_bytes());
        let (ids, flags) = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!((ids.trace[0], ids.trace[15], ids.span[7], flags), (0x4b, 0x36, 0xb7, 1));
        assert_eq!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-later").unwrap(), (ids, 9));
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01later",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
