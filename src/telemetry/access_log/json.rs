//! A line as one JSON object. What an exchange does not have is left out.

use super::entry::{Entry, Remaining};
use super::headers::Headers;
use super::query::QueryShown;
use super::stamp::{self, Stamp};
use super::{escape, field};

/// Appends the object, without the end of the line.
pub(super) fn encode(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, headers: &Headers, stamp: &mut Stamp) {
    begin(out, entry, query, stamp);
    if !headers.is_usual() {
        let mut key: &[u8] = b",\"headers\":{\"";
        let mut any = false;
        for (number, (name, shown)) in headers.others().enumerate() {
            let Some(value) = shown.of(entry.headers.of(number)) else { continue };
            out.extend_from_slice(key);
            // A header's name has nothing to escape.
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b"\":\"");
            json(out, entry, value);
            (key, any) = (b"\",\"", true);
        }
        if any {
            out.extend_from_slice(b"\"}");
        }
    }
    out.push(b'}');
}

/// The same without headers that only the access log asks for.
pub(in crate::telemetry) fn plain(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
    begin(out, entry, query, stamp);
    out.push(b'}');
}

/// Everything but the end of the object.
fn begin(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.iso(out, entry.began);
    out.extend_from_slice(b"\",\"method\":\"");
    escape::json(out, entry.method.as_bytes());
    out.extend_from_slice(b"\",\"scheme\":\"");
    out.extend_from_slice(entry.scheme().as_bytes());
    out.extend_from_slice(b"\",\"host\":\"");
    json(out, entry, entry.host);
    out.extend_from_slice(b"\",\"path\":\"");
    json(out, entry, entry.path);
    if let Some(text) = entry.query
        && query != QueryShown::Dropped
    {
        out.extend_from_slice(b"\",\"query\":\"");
        query.pieces(text, |piece| json(out, entry, piece));
    }
    out.extend_from_slice(b"\",\"protocol\":\"");
    out.extend_from_slice(entry.protocol().as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    stamp::number(out, entry.status);
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(entry.reason.as_str().as_bytes());
    out.extend_from_slice(b"\",\"duration_ms\":");
    stamp::milliseconds(out, entry.duration);
    if !entry.tries.is_empty() {
        out.extend_from_slice(b",\"upstream_ms\":");
        stamp::milliseconds(out, entry.upstream);
    }
    out.extend_from_slice(b",\"overhead_us\":");
    stamp::number(out, u64::try_from(entry.overhead().as_micros()).unwrap_or(u64::MAX));
    out.extend_from_slice(b",\"bytes_in\":");
    stamp::number(out, entry.received);
    out.extend_from_slice(b",\"bytes_out\":");
    stamp::number(out, entry.sent);
    out.extend_from_slice(b",\"client_ip\":\"");
    json(out, entry, entry.client_ip);
    out.extend_from_slice(b"\",\"peer_ip\":\"");
    json(out, entry, entry.peer_ip);
    text(out, entry, b"\",\"route\":\"", Some(entry.route));
    text(out, entry, b"\",\"rule\":\"", Some(entry.rule));
    text(out, entry, b"\",\"service\":\"", Some(entry.service));
    text(out, entry, b"\",\"jwt_sub\":\"", entry.subject);
    if let Some(endpoint) = entry.endpoint() {
        out.extend_from_slice(b"\",\"endpoint\":\"");
        field::address(out, endpoint);
        out.extend_from_slice(b"\",\"attempts\":");
        stamp::number(out, entry.tries.len());
        out.extend_from_slice(b",\"request_id\":\"");
    } else {
        out.extend_from_slice(b"\",\"request_id\":\"");
    }
    json(out, entry, entry.request_id);
    if let Some(ids) = entry.trace {
        out.extend_from_slice(b"\",\"trace_id\":\"");
        stamp::hex(out, &ids.trace);
        out.extend_from_slice(b"\",\"span_id\":\"");
        stamp::hex(out, &ids.span);
    }
    text(out, entry, b"\",\"tls_version\":\"", entry.tls_version.map(str::as_bytes));
    if let Some(sni) = entry.sni.filter(|sni| !sni.is_empty()) {
        out.extend_from_slice(b"\",\"sni\":\"");
        escape::json(out, sni);
    }
    text(out, entry, b"\",\"user_agent\":\"", entry.user_agent);
    if let Some(referer) = entry.referer {
        out.extend_from_slice(b"\",\"referer\":\"");
        query.pieces_of_url(referer, |piece| json(out, entry, piece));
    }
    out.push(b'"');
    if let Some(Remaining { policy, limit, remaining }) = entry.limit {
        out.extend_from_slice(b",\"ratelimit\":{\"policy\":\"");
        json(out, entry, policy);
        out.extend_from_slice(b"\",\"limit\":\"");
        json(out, entry, limit);
        out.extend_from_slice(b"\",\"remaining\":");
        stamp::number(out, remaining);
        out.push(b'}');
    }
}

/// Ends the string before it and begins this one, with what stands between the two, unless there is nothing to say.
fn text(out: &mut Vec<u8>, entry: &Entry<'_>, between: &[u8], value: Option<&[u8]>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    out.extend_from_slice(between);
    json(out, entry, value);
}

/// Appends a text of the entry's.
fn json(out: &mut Vec<u8>, entry: &Entry<'_>, text: &[u8]) {
    if entry.plain {
        out.extend_from_slice(text);
    } else {
        escape::json(out, text);
    }
}
