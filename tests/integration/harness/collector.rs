//! A receiver of traces by OTLP over HTTP: reads the protobuf that is sent to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use super::backend::Backend;

/// A span as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 2 is a server's, 3 a client's.
    pub(crate) kind: u64,
    pub(crate) nanoseconds: [u64; 2],
    pub(crate) attributes: BTreeMap<String, String>,
    /// 2 is an error.
    pub(crate) status: u64,
}

/// The receiver; it ends with this.
pub(crate) struct Collector {
    backend: Backend,
    raw: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let raw: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let backend = Backend::answering({
            let raw = raw.clone();
            move |seen| {
                assert_eq!(seen.headers["content-type"], "application/x-protobuf");
                assert_eq!(seen.uri.path(), "/v1/traces");
                raw.lock().unwrap().push(seen.body.clone());
                Response::new(Full::new(Bytes::new()))
            }
        });
        Self { backend, raw }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.backend.address)
    }

    /// Everything received, as bytes.
    pub(crate) fn raw(&self) -> Vec<Bytes> {
        self.raw.lock().unwrap().clone()
    }

    /// Every span received.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let bodies = self.raw();
        bodies
            .iter()
            .flat_map(|body| messages(body, 1))
            .flat_map(|resource| messages(resource, 2))
            .flat_map(|scope| messages(scope, 2))
            .map(span)
            .collect()
    }

    /// The attributes of the process that sent the first of them.
    pub(crate) fn resource(&self) -> BTreeMap<String, String> {
        let bodies = self.raw();
        let resource = messages(messages(&bodies[0], 1)[0], 1)[0];
        messages(resource, 1).into_iter().map(pair).collect()
    }
}

/// A field of a message.
enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// The fields of a message in their order (protobuf's encoding, "Message Structure").
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)),
            1 => {
                let (number, rest) = message.split_at(8);
                message = rest;
                Value::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(bytes)
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn messages(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message)
        .into_iter()
        .filter_map(|(field, value)| match value {
            Value::Bytes(bytes) if field == number => Some(bytes),
            Value::Bytes(_) | Value::Number(_) => None,
        })
        .collect()
}

fn span(message: &[u8]) -> Span {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut span = Span::default();
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Bytes(id)) => span.trace = hex(id),
            (2, Value::Bytes(id)) => span.id = hex(id),
            (4, Value::Bytes(id)) => span.parent = hex(id),
            (5, Value::Bytes(name)) => span.name = String::from_utf8(name.to_vec()).unwrap(),
            (6, Value::Number(kind)) => span.kind = kind,
            (7, Value::Number(start)) => span.nanoseconds[0] = start,
            (8, Value::Number(end)) => span.nanoseconds[1] = end,
            (9, Value::Bytes(attribute)) => span.attributes.extend([pair(attribute)]),
            (15, Value::Bytes(status)) => {
                for (field, value) in fields(status) {
                    if let (3, Value::Number(code)) = (field, value) {
                        span.status = code;
                    }
                }
            }
            (field, _) => panic!("field {field}"),
        }
    }
    span
}

/// A key with its value, numbers in decimal.
fn pair(message: &[u8]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = match &fields(messages(message, 2)[0])[..] {
        [(1, Value::Bytes(value))] => text(value),
        [(3, Value::Number(number))] => number.to_string(),
        _ => panic!("a value of another type"),
    };
    (text(messages(message, 1)[0]), value)
}
