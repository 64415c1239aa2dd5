//! What changes in a message's head on its way through, either way.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use super::framing::class;
use crate::field_kinds::FieldKinds;
use crate::table::Route;
use crate::telemetry::hexadecimal::digits;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Identifies an exchange across systems.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones, and ones with anything but visible ASCII, are replaced.
const MAX_REQUEST_ID: usize = 128;

/// What a request's head needs to know of where it came from.
pub(super) struct Origin<'a> {
    /// The client's address, as text.
    pub(super) ip: &'a HeaderValue,
    /// The same, with the proxies after it.
    pub(super) chain: &'a HeaderValue,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    /// The authority that was asked for.
    pub(super) host: &'a HeaderValue,
    /// The port of the listener, as text.
    pub(super) port: &'a HeaderValue,
}

/// Makes a client's request head fit for a backend: drops what concerns the client's connection only, what could pass
/// for a header of ours, and says where the request came from. Its fields are of these kinds and no others.
///
/// Only fields that the client sent are looked at for `Connection` options, so a client cannot have ours dropped.
pub(super) fn clean_request(headers: &mut HeaderMap, version: Version, kinds: FieldKinds) {
    const DROPPED: FieldKinds = FieldKinds::HOP_BY_HOP.and(FieldKinds::FIRST_PROXY).and(FieldKinds::ORIGIN);
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if kinds.has(FieldKinds::CONNECTION) {
        remove_nominated(headers);
    }
    if !kinds.has(DROPPED | FieldKinds::ALIAS) {
        return;
    }
    // `TE: trailers` means the same on the other side, and gRPC asks for it.
    let keep_te_trailers = version == Version::HTTP_2;
    remove_where(headers, |name| is(name, DROPPED) && !(keep_te_trailers && *name == header::TE) || is_alias(name));
    if keep_te_trailers && headers.get(header::TE).is_some_and(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(header::TE);
    }
}

/// HTTP/2 may send a cookie in pieces, each a field of its own; HTTP/1.1 has one field (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Says where the request came from. Whatever a client said about that is gone already ([`clean_request`]), so these
/// are added, which is cheaper than to replace.
pub(super) fn set_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    const HTTP: HeaderValue = HeaderValue::from_static("http");
    const HTTPS: HeaderValue = HeaderValue::from_static("https");
    let ours = [X_FORWARDED_FOR, X_REAL_IP, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT];
    debug_assert!(!ours.iter().any(|name| headers.contains_key(name)), "`clean_request` has dropped them");
    // One by one and not in a loop, so that the hash of each name is known when this is compiled.
    headers.append(X_FORWARDED_FOR, origin.chain.clone());
    headers.append(X_REAL_IP, origin.ip.clone());
    headers.append(X_FORWARDED_PROTO, if origin.secure { HTTPS } else { HTTP });
    headers.append(X_FORWARDED_HOST, origin.host.clone());
    headers.append(X_FORWARDED_PORT, origin.port.clone());
}

/// Whether there is anything that only we may say on this route.
pub(super) fn has_unforgeable(route: &Route) -> bool {
    route.requirement.is_some() || route.access.unforgeable().next().is_some()
}

/// Drops from a request's trailers what only we may say on this route. Other spellings of these names were dropped for
/// what they are.
pub(super) fn drop_unforgeable(headers: &mut HeaderMap, route: &Route) {
    for name in route.access.unforgeable() {
        headers.remove(name);
    }
}

/// Makes a backend's response head, whose fields are of these kinds, fit for the client. `Trailer` stays: it announces what
/// comes with the body.
pub(super) fn clean_response(headers: &mut HeaderMap, kinds: FieldKinds) {
    if kinds.has(FieldKinds::CONNECTION) {
        remove_nominated(headers);
    }
    if kinds.has(FieldKinds::HOP_BY_HOP) {
        remove_where(headers, |name| is(name, FieldKinds::HOP_BY_HOP) && *name != header::TRAILER);
    }
}

/// Drops from a request's trailers what must not come after a body (RFC 9110 6.5.1), and what could pass for a header
/// of ours.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| !may_trail(name) || is_alias(name) || is(name, FieldKinds::ORIGIN));
}

/// Drops from a response's trailers what must not come after a body (RFC 9110 6.5.1).
pub(super) fn clean_response_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| !may_trail(name));
}

/// Whether a field may come after the body: framing, routing, credentials, conditions and whatever says how to read the
/// body have to come before it.
fn may_trail(name: &HeaderName) -> bool {
    !(is(name, FieldKinds::CONNECTION | FieldKinds::HOP_BY_HOP)
        || name.as_str().starts_with("content-")
        || name.as_str().starts_with("if-")
        || matches!(
            name.as_str(),
            "host"
                | "age"
                | "authorization"
                | "cache-control"
                | "cookie"
                | "expect"
                | "location"
                | "max-forwards"
                | "pragma"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "range"
                | "set-cookie"
                | "vary"
                | "www-authenticate"
                | "x-request-id"
        ))
}

fn is(name: &HeaderName, any: FieldKinds) -> bool {
    FieldKinds::of(name.as_str().as_bytes()).has(any)
}

fn is_alias(name: &HeaderName) -> bool {
    !class::all(name.as_str().as_bytes(), class::NAME)
}

/// Drops `Connection` and what it names: that is for the connection only. What says what the message is stays.
fn remove_nominated(headers: &mut HeaderMap) {
    // The usual ones name no field that would be left.
    let is_usual = |option: &[u8]| option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close");
    let mut said = headers.get_all(header::CONNECTION).iter();
    if said.next().is_some_and(|only| is_usual(only.as_bytes())) && said.next().is_none() {
        headers.remove(header::CONNECTION);
        return;
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !is_usual(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
}

/// Drops the fields that `drop` names; costs one walk over the names when there is none, as is usual, and one more for
/// each that there is: of those a message has few, and of fields never over a hundred.
fn remove_where(headers: &mut HeaderMap, drop: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| drop(name)).cloned() {
        headers.remove(name);
    }
}

/// The request's id, or a new one: the client's own is kept if it is short and plain.
pub(super) fn request_id(
    headers: &mut HeaderMap,
    kinds: FieldKinds,
    make: impl FnOnce() -> HeaderValue,
) -> HeaderValue {
    if kinds.has(FieldKinds::REQUEST_ID)
        && let Some(id) = headers.get(X_REQUEST_ID)
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

/// Characters of a UUID.
const UUID: usize = 36;

/// A UUID of version 7 (RFC 9562 5.7): milliseconds since 1970, then 74 random bits.
pub(super) fn uuid_v7(milliseconds: u64, random: [u64; 2]) -> [u8; UUID] {
    let [a, b] = random;
    let high = milliseconds << 16 | 0x7000 | a & 0x0fff;
    let low = 1 << 63 | b >> 2;
    let [[a, b], [c, d]] = [high, low].map(|half| [digits((half >> 32) as u32), digits(half as u32)]);
    let mut text = [b'-'; UUID];
    for (from, part) in [(0, &a[..]), (9, &b[..4]), (14, &b[4..]), (19, &c[..4]), (24, &c[4..]), (28, &d[..])] {
        if let Some(place) = text.get_mut(from..from + part.len()) {
            place.copy_from_slice(part);
        }
    }
    text
}

/// Makes values of fields. They are cut from one piece of memory after another, so that one costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Values {
    rest: BytesMut,
}

impl Values {
    /// What one piece of memory holds.
    const PIECE: usize = 2 * 1024;

    /// The value that is this text.
    pub(super) fn of(&mut self, text: &[u8]) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.bytes(text)).unwrap_or(HeaderValue::from_static("-"))
    }

    /// The text as it is.
    pub(super) fn bytes(&mut self, text: &[u8]) -> Bytes {
        // From its beginning again when no value of it is left, which is in reach of the processor.
        if !self.rest.try_reclaim(Self::PIECE) && self.rest.capacity() < text.len() {
            self.rest = BytesMut::with_capacity(Self::PIECE.max(text.len()));
        }
        self.rest.extend_from_slice(text);
        self.rest.split().freeze()
    }
}

/// Whether a request can go out a second time without harm (RFC 9110 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Whether this asks for WebSocket, and for nothing else, as the look at its head understands it.
pub(super) fn is_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    version == Version::HTTP_11
        && *method == Method::GET
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn trailers_keep_what_may_come_after_a_body() {
        let sent = [
            ("grpc-status", "0"),
            ("x_checksum", "1"),
            ("x-forwarded-for", "a"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "a"),
            ("set-cookie", "a"),
            ("if-match", "a"),
        ];
        let mut request = headers(&sent);
        clean_trailers(&mut request);
        assert_eq!(request, headers(&[("grpc-status", "0")]));
        let mut response = headers(&sent);
        clean_response_trailers(&mut response);
        assert_eq!(response, headers(&[("grpc-status", "0"), ("x_checksum", "1"), ("x-forwarded-for", "a")]));
    }

    #[test]
    fn ids_are_written_as_uuids() {
        let id = uuid_v7(0x0123_4567_89ab, [0xffff_ffff_ffff_fcde, 0x0fed_cba9_8765_4321 << 2]);
        assert_eq!(&id, b"01234567-89ab-7cde-8fed-cba987654321");
    }

    #[test]
    fn values_are_what_they_are_made_of() {
        let mut values = Values::default();
        let made: Vec<_> = (0..1000).map(|number| values.of(format!("value {number}").as_bytes())).collect();
        for (number, value) in made.iter().enumerate() {
            assert_eq!(value, format!("value {number}").as_str());
        }
        let long = "x".repeat(3 * Values::PIECE);
        assert_eq!(values.of(long.as_bytes()), long.as_str());
    }

    #[test]
    fn only_http2_has_cookies_in_pieces() {
        let pieces = [("cookie", "a=b"), ("cookie", "c=d")];
        let mut joined = headers(&pieces);
        clean_request(&mut joined, Version::HTTP_2, FieldKinds::NONE);
        assert_eq!(joined, headers(&[("cookie", "a=b; c=d")]));
        let mut left = headers(&pieces);
        clean_request(&mut left, Version::HTTP_11, FieldKinds::NONE);
        assert_eq!(left, headers(&pieces));
    }
}
