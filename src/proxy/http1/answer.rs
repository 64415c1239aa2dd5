//! How an answer is written (RFC 9112 4, 6 and 7).

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use http_body::Body;

use crate::proxy::date::Date;

/// How an answer's body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none.
    None,
    /// As it is; its head says how long it is.
    Plain,
    /// In chunks.
    Chunked,
    /// As it is; it ends with the connection.
    UntilClose,
}

/// What an answer's head depends on beside the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) version: Version,
    /// The connection may be used again.
    pub(super) persistent: bool,
    /// Trailers may come after the answer.
    pub(super) takes_trailers: bool,
}

/// Writes a head, and says how the body follows and whether the connection may be used again after that.
pub(super) fn write<B: Body>(
    out: &mut Vec<u8>,
    answer: &Response<B>,
    asked: Asked<'_>,
    date: (&Date, u64),
) -> (Coding, bool) {
    let http10 = asked.version == Version::HTTP_10;
    let (status, body) = (answer.status(), answer.body().size_hint());
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let (mut length, mut dated, mut said, mut closes, mut trailers) = (false, false, false, false, false);
    for (name, value) in answer.headers() {
        match *name {
            header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH if says_no_length(status) => continue,
            header::CONTENT_LENGTH => length = true,
            // Only after chunks is there a place for them.
            header::TRAILER => {
                trailers = true;
                continue;
            }
            header::DATE => dated = true,
            header::CONNECTION => {
                said = true;
                closes |= value.as_bytes().eq_ignore_ascii_case(b"close");
            }
            _ => {}
        }
        field(out, name, value);
    }
    let to_head = asked.method == Method::HEAD;
    // Of what a HEAD would be told, nobody knows whether it is nothing.
    let exact = body.exact().filter(|exact| !length && !has_no_body(status) && (*exact > 0 || !to_head));
    if let Some(exact) = exact {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(exact).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let coding = if to_head || has_no_body(status) || body.exact() == Some(0) {
        Coding::None
    } else if length || exact.is_some() {
        Coding::Plain
    } else if http10 {
        Coding::UntilClose
    } else {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        for value in answer.headers().get_all(header::TRAILER).iter().filter(|_| trailers) {
            field(out, &header::TRAILER, value);
        }
        Coding::Chunked
    };
    // What follows an answer of 101 is not for us to end.
    let tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
    let persistent = tunnel || asked.persistent && !closes && coding != Coding::UntilClose;
    match (said, persistent, http10) {
        (false, false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (false, true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    if !dated {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date.0.at(date.1).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (coding, persistent)
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether no body can follow (RFC 9112 6.3).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether not even a length may be said (RFC 9110 8.6).
fn says_no_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}
