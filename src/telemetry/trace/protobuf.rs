//! Spans as OTLP's protobuf (opentelemetry-proto 1.x). The few messages are written by hand: the crates that generate
//! them bring a second HTTP stack along.

use std::net::SocketAddr;

use super::setting::Resource;
use super::span::{Call, Finished};

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

/// Fields of `opentelemetry.proto.trace.v1.Span`.
mod span {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const SERVER: u64 = 2;
    pub(super) const CLIENT: u64 = 3;
}

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// An `ExportTraceServiceRequest` with these exchanges.
pub(super) fn request(resource: &Resource, batch: &[Finished]) -> Vec<u8> {
    let mut described = Message::default();
    for (key, value) in resource.attributes() {
        described.message(1, &string(key, value));
    }
    let mut scope = Message::default();
    scope.bytes(1, b"headgate");
    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut spans = Message::default();
    spans.message(1, &scope);
    for finished in batch {
        spans.message(2, &server(finished));
        for (number, call) in finished.traced.calls.iter().enumerate() {
            spans.message(2, &client(finished, call, number));
        }
    }
    let mut of_resource = Message::default();
    of_resource.message(1, &described);
    of_resource.message(2, &spans);
    let mut request = Message::default();
    request.message(1, &of_resource);
    request.0
}

/// The exchange itself, by OpenTelemetry's conventions for HTTP servers.
fn server(finished: &Finished) -> Message {
    let Finished { traced, method, template, status, reason, .. } = finished;
    let mut message = Message::default();
    message.bytes(span::TRACE_ID, &traced.ids.trace);
    message.bytes(span::SPAN_ID, &traced.ids.span);
    if let Some(parent) = traced.parent {
        message.bytes(span::PARENT_SPAN_ID, &parent);
    }
    let name = if template.is_empty() { method.clone() } else { format!("{method} {template}") };
    message.bytes(span::NAME, name.as_bytes());
    message.number(span::KIND, span::SERVER);
    message.time(span::START, finished.began * 1000);
    message.time(span::END, finished.began * 1000 + u64::try_from(finished.duration.as_nanos()).unwrap_or(0));
    let mut attribute = |pair: &Message| message.message(span::ATTRIBUTES, pair);
    attribute(&string("http.request.method", method));
    attribute(&string("url.scheme", finished.scheme));
    attribute(&string("url.path", &finished.path));
    if let Some(query) = &finished.query {
        attribute(&string("url.query", query));
    }
    let (host, port) = authority(&finished.host);
    attribute(&string("server.address", host));
    if let Some(port) = port {
        attribute(&integer("server.port", port.into()));
    }
    attribute(&string("client.address", &finished.client));
    attribute(&string("network.peer.address", &finished.peer));
    attribute(&string("network.protocol.version", finished.protocol));
    if let Some(agent) = &finished.user_agent {
        attribute(&string("user_agent.original", agent));
    }
    attribute(&integer("http.response.status_code", u64::from(*status)));
    for (key, value) in [
        ("http.route", template),
        ("headgate.route", &finished.route),
        ("headgate.rule", &finished.rule),
        ("headgate.service", &finished.service),
        ("headgate.request_id", &finished.request_id),
    ] {
        if !value.is_empty() {
            attribute(&string(key, value));
        }
    }
    attribute(&string("headgate.reason", reason.as_str()));
    // What the client did wrong is no error of the server (HTTP conventions, "Status").
    if *status >= 500 {
        let kind = match reason {
            crate::telemetry::Reason::Ok => status.to_string(),
            _ => reason.as_str().to_owned(),
        };
        attribute(&string("error.type", &kind));
        message.message(span::STATUS, &error());
    }
    message
}

/// One endpoint that was asked, by the conventions for HTTP clients.
fn client(finished: &Finished, call: &Call, number: usize) -> Message {
    let Call { span: id, began, endpoint, waited, status } = call;
    let mut message = Message::default();
    message.bytes(span::TRACE_ID, &finished.traced.ids.trace);
    message.bytes(span::SPAN_ID, id);
    message.bytes(span::PARENT_SPAN_ID, &finished.traced.ids.span);
    message.bytes(span::NAME, finished.method.as_bytes());
    message.number(span::KIND, span::CLIENT);
    message.time(span::START, began * 1000);
    message.time(span::END, began * 1000 + u64::try_from(waited.as_nanos()).unwrap_or(0));
    let mut attribute = |pair: &Message| message.message(span::ATTRIBUTES, pair);
    attribute(&string("http.request.method", &finished.method));
    if let Some(endpoint) = endpoint {
        attribute(&string("server.address", &SocketAddr::ip(endpoint).to_string()));
        attribute(&integer("server.port", endpoint.port().into()));
    }
    if !finished.service.is_empty() {
        attribute(&string("headgate.service", &finished.service));
    }
    if number > 0 {
        attribute(&integer("http.request.resend_count", number as u64));
    }
    if let Some(status) = status {
        attribute(&integer("http.response.status_code", u64::from(*status)));
    }
    if status.is_none_or(|status| status >= 400) {
        let kind = status.map_or_else(|| "no_response".to_owned(), |status| status.to_string());
        attribute(&string("error.type", &kind));
        message.message(span::STATUS, &error());
    }
    message
}

fn error() -> Message {
    let mut status = Message::default();
    status.number(3, ERROR);
    status
}

/// A host without its port, and the port.
fn authority(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        Some(_) | None => (host, None),
    }
}

/// A `KeyValue` of text.
fn string(key: &str, value: &str) -> Message {
    let mut any = Message::default();
    any.bytes(1, value.as_bytes());
    pair(key, &any)
}

/// A `KeyValue` of a number.
fn integer(key: &str, value: u64) -> Message {
    let mut any = Message::default();
    any.number(3, value);
    pair(key, &any)
}

fn pair(key: &str, value: &Message) -> Message {
    let mut pair = Message::default();
    pair.bytes(1, key.as_bytes());
    pair.message(2, value);
    pair
}

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// A field of wire type 0.
    fn number(&mut self, field: u32, number: u64) {
        self.key(field, 0);
        self.varint(number);
    }

    /// A `fixed64`.
    fn time(&mut self, field: u32, nanoseconds: u64) {
        self.key(field, 1);
        self.0.extend_from_slice(&nanoseconds.to_le_bytes());
    }

    /// A field of wire type 2.
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }
}
