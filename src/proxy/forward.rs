//! What changes in a message's head on its way through, either way.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Identifies an exchange across systems.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones, and ones with anything but visible ASCII, are replaced.
const MAX_REQUEST_ID: usize = 128;

/// What a request's head needs to know of where it came from.
pub(super) struct Origin<'a> {
    /// The client's address, as text.
    pub(super) ip: &'a HeaderValue,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    /// The authority that was asked for.
    pub(super) host: &'a HeaderValue,
    /// The port of the listener, as text.
    pub(super) port: &'a HeaderValue,
}

/// Makes a client's request head fit for a backend: drops what concerns the client's connection only, what could pass
/// for a header of ours, and says where the request came from.
///
/// Only fields that the client sent are looked at for `Connection` options, so a client cannot have ours dropped.
pub(super) fn clean_request(headers: &mut HeaderMap, keep_te_trailers: bool) {
    remove_nominated(headers);
    remove_where(headers, |name| {
        is_hop_by_hop(name) && !(keep_te_trailers && *name == header::TE)
            || is_alias(name)
            || matches!(name.as_str(), "expect" | "proxy-authorization")
            || speaks_of_origin(name)
    });
    if keep_te_trailers && headers.get(header::TE).is_some_and(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(header::TE);
    }
}

/// Says where the request came from. Whatever a client said about that has no weight.
pub(super) fn set_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    const HTTP: HeaderValue = HeaderValue::from_static("http");
    const HTTPS: HeaderValue = HeaderValue::from_static("https");
    headers.insert(X_FORWARDED_FOR, origin.ip.clone());
    headers.insert(X_REAL_IP, origin.ip.clone());
    headers.insert(X_FORWARDED_PROTO, if origin.secure { HTTPS } else { HTTP });
    headers.insert(X_FORWARDED_HOST, origin.host.clone());
    headers.insert(X_FORWARDED_PORT, origin.port.clone());
}

/// Makes a backend's response head fit for the client. `Trailer` stays: it announces what comes with the body.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_nominated(headers);
    remove_where(headers, |name| is_hop_by_hop(name) && *name != header::TRAILER);
}

/// Whether a response's head tells the length of its body in one way only; more could be read in two ways.
pub(super) fn is_sound(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let coding = headers.get(header::TRANSFER_ENCODING);
    lengths.next().is_none()
        && !(length.is_some() && coding.is_some())
        && coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Drops from trailers what must not come after a body: framing, routing, credentials, and anything about where the
/// request came from (RFC 9110 6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_nominated(trailers);
    remove_where(trailers, |name| {
        is_hop_by_hop(name)
            || is_alias(name)
            || speaks_of_origin(name)
            || name.as_str().starts_with("content-")
            || matches!(
                name.as_str(),
                "host"
                    | "authorization"
                    | "proxy-authorization"
                    | "cookie"
                    | "set-cookie"
                    | "expect"
                    | "range"
                    | "x-request-id"
            )
    });
}

/// Concerns one connection only (RFC 9110 7.6.1), or is what old software means by that.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Says where a request came from; only the proxy knows that.
fn speaks_of_origin(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// Some backends would take it for another: CGI and its kin make `_` of every `-`, and some make it of `.` as well, so
/// `X_Forwarded_For` and `X.Forwarded.For` would speak for the header that we set.
fn is_alias(name: &HeaderName) -> bool {
    name.as_str().bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
}

/// Drops what `Connection` names: it is for the connection only. What says what the message is stays.
fn remove_nominated(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// Drops the fields that `drop` names; costs one walk over the names when there is none, as is usual.
fn remove_where(headers: &mut HeaderMap, drop: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&drop) {
        return;
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| drop(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The request's id, or a new one: the client's own is kept if it is short and plain.
pub(super) fn request_id(headers: &mut HeaderMap, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
    if let Some(id) = headers.get(X_REQUEST_ID)
        && id.len() <= MAX_REQUEST_ID
        && !id.is_empty()
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let id = make();
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// Makes ids for requests. They are cut from one piece of memory after another, so that an id costs no allocation.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    rest: BytesMut,
}

/// Characters of a UUID.
const UUID: usize = 36;
/// Ids that one piece of memory holds.
const IDS: usize = 64;

impl RequestIds {
    /// A UUID of version 7 (RFC 9562 5.7): milliseconds since 1970, then 74 random bits.
    pub(super) fn uuid_v7(&mut self, milliseconds: u64, random: [u64; 2]) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let [a, b] = random;
        let high = milliseconds << 16 | 0x7000 | a & 0x0fff;
        let low = 1 << 63 | b >> 2;
        if self.rest.capacity() < UUID {
            self.rest = BytesMut::with_capacity(IDS * UUID);
        }
        for (index, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                self.rest.put_u8(b'-');
            }
            for digit in [byte >> 4, byte & 0xf] {
                self.rest.put_u8(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0'));
            }
        }
        let id = self.rest.split().freeze();
        HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// Whether a request can go out a second time without harm (RFC 9110 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Whether this asks for WebSocket, and for nothing else, as the guard understands it.
pub(super) fn is_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    version == Version::HTTP_11
        && *method == Method::GET
        && upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && upgrades.next().is_none()
        && headers.get_all(header::CONNECTION).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|o| o.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}

/// An address as a header carries it; an IPv4 address inside an IPv6 one is an IPv4 address.
pub(super) fn ip_value(ip: IpAddr) -> HeaderValue {
    HeaderValue::try_from(ip.to_canonical().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
