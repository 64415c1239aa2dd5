//! Heads: how a request is written and how a response is read (RFC 9112 2 to 6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::spare;
use crate::field_kinds::FieldKinds;

/// The most fields that a response may have.
const MAX_FIELDS: usize = 100;
/// So many are added on the way to the client; a map that is too small for them would be made anew.
const ADDED: usize = 4;

/// A request without its body, as an endpoint is to get it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// What to do.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a PathAndQuery,
    /// The fields, `Host` among them. What HTTP/1.1 needs to frame the body is added where it is missing.
    pub headers: &'a HeaderMap,
}

/// How a request's body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none.
    None,
    /// As many bytes as `Content-Length` says.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What is wrong with a message, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(super) &'static str);

/// How a response's body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A response without its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) kinds: FieldKinds,
    pub(super) body: Body,
    /// The connection may be used again.
    pub(super) persistent: bool,
}

/// Writes a head in HTTP/1.1.
pub(super) fn write(out: &mut Vec<u8>, head: &Head<'_>, coding: Coding) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut length = false;
    for (name, value) in head.headers {
        match *name {
            // Of the connection, which is ours.
            header::TE | header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH if coding == Coding::Chunked => continue,
            header::CONTENT_LENGTH => length = true,
            _ => {}
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match coding {
        Coding::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // A method that usually has a body says that it has none (RFC 9110 8.6).
        Coding::None if !length && [Method::POST, Method::PUT, Method::PATCH].contains(head.method) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Coding::None | Coding::Length(_) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields that a head says will come after the body.
pub(crate) fn declared_trailers(headers: &HeaderMap) -> Box<[HeaderName]> {
    let lists = headers.get_all(header::TRAILER).iter();
    lists
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Writes the trailer fields that were declared, and the empty line after them. Who has not been told to expect a field
/// may take it for one of the head's.
pub(crate) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap, declared: &[HeaderName]) {
    for (name, value) in trailers.iter().filter(|(name, _)| declared.contains(name)) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Where the empty line ends that ends a head, if it is there; the search begins at `from`, and a bare LF ends a line
/// too (RFC 9112 2.2).
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', rest).find_map(|at| match rest.get(at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Whether these bytes can begin a response.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] => rest,
        [b'\r'] => &[],
        bytes => bytes,
    };
    bytes.iter().zip(b"HTTP/1.").all(|(is, wanted)| is == wanted)
}

/// Reads a whole head. `to_head` says that it answers a HEAD.
pub(super) fn read(head: &Bytes, to_head: bool) -> Result<Answer, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut fields);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Malformed("not one whole head")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("over 100 fields")),
        Err(_) => return Err(Malformed("not HTTP/1.1")),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed("no status"))?;
    let http10 = response.version == Some(0);
    let mut headers = spare::headers(response.headers.len() + ADDED);
    let mut framing = Framing { length: None, chunked: false };
    let (mut close, mut keep, mut kinds) = (false, false, FieldKinds::NONE);
    for field in response.headers.iter() {
        let (name, value, kind) = field_of(head, field)?;
        kinds |= kind;
        match name {
            header::CONTENT_LENGTH => framing.length(value.as_bytes())?,
            header::TRANSFER_ENCODING => framing.coding(value.as_bytes())?,
            header::CONNECTION => {
                for option in value.as_bytes().split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        headers.append(name, value);
    }
    if framing.chunked && (http10 || framing.length.is_some()) {
        return Err(Malformed("Transfer-Encoding in HTTP/1.0 or beside Content-Length"));
    }
    let bodiless =
        to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match framing {
        _ if bodiless => Body::Length(0),
        Framing { chunked: true, .. } => Body::Chunked,
        Framing { length: Some(length), .. } => Body::Length(length),
        Framing { .. } => Body::UntilClose,
    };
    let persistent = !close && (!http10 || keep) && body != Body::UntilClose;
    Ok(Answer { status, headers, kinds, body, persistent })
}

/// Reads a whole trailer section, its empty line included.
pub(super) fn read_trailers(section: &Bytes) -> Result<HeaderMap, Malformed> {
    const BAD: Malformed = Malformed("malformed trailers");
    // The parser takes a bare LF for the end of a line. Where a head ends like that one old server is borne with; after a
    // body nobody has ever needed it.
    let mut lines = section.split(|byte| *byte == b'\n');
    if lines.next_back() != Some(&[]) || !lines.all(|line| line.ends_with(b"\r")) {
        return Err(BAD);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length == section.len() => {
            let field = |field| field_of(section, field).map(|(name, value, _)| (name, value)).map_err(|_| BAD);
            fields.iter().map(field).collect()
        }
        _ => Err(BAD),
    }
}

/// The value shares the bytes that were read.
fn field_of(bytes: &Bytes, field: &httparse::Header<'_>) -> Result<(HeaderName, HeaderValue, FieldKinds), Malformed> {
    const BAD: Malformed = Malformed("malformed field");
    let name = field.name.as_bytes();
    let (name, kinds) = match usual(name) {
        Some(usual) => usual,
        None => (HeaderName::from_bytes(name).map_err(|_| BAD)?, FieldKinds::of(name)),
    };
    let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(|_| BAD)?;
    Ok((name, value, kinds))
}

/// The names that most responses are made of, as they are usually written, with what they are: comparing is cheaper than
/// parsing.
fn usual(name: &[u8]) -> Option<(HeaderName, FieldKinds)> {
    // The length first, so that a name is compared with one or two others and not with all.
    let name = match (name.len(), name) {
        (3, b"Age" | b"age") => header::AGE,
        (4, b"Date" | b"date") => header::DATE,
        (4, b"ETag" | b"etag") => header::ETAG,
        (4, b"Vary" | b"vary") => header::VARY,
        (6, b"Server" | b"server") => header::SERVER,
        (7, b"Expires" | b"expires") => header::EXPIRES,
        (10, b"Connection" | b"connection") => return Some((header::CONNECTION, FieldKinds::CONNECTION)),
        (10, b"Keep-Alive" | b"keep-alive") => return Some((super::KEEP_ALIVE, FieldKinds::HOP_BY_HOP)),
        (10, b"Set-Cookie" | b"set-cookie") => header::SET_COOKIE,
        (12, b"Content-Type" | b"content-type") => header::CONTENT_TYPE,
        (13, b"Accept-Ranges" | b"accept-ranges") => header::ACCEPT_RANGES,
        (13, b"Cache-Control" | b"cache-control") => header::CACHE_CONTROL,
        (13, b"Last-Modified" | b"last-modified") => header::LAST_MODIFIED,
        (14, b"Content-Length" | b"content-length") => return Some((header::CONTENT_LENGTH, FieldKinds::LENGTH)),
        (16, b"Content-Encoding" | b"content-encoding") => header::CONTENT_ENCODING,
        (17, b"Transfer-Encoding" | b"transfer-encoding") => {
            return Some((header::TRANSFER_ENCODING, FieldKinds::HOP_BY_HOP));
        }
        _ => return None,
    };
    Some((name, FieldKinds::NONE))
}

/// What a head says of its body's length: in one way only, since more could be read in two ways.
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let length = plain_number(value).filter(|_| self.length.is_none());
        self.length = Some(length.ok_or(Malformed("malformed or repeated Content-Length"))?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed("Transfer-Encoding other than one `chunked`"));
        }
        self.chunked = true;
        Ok(())
    }
}

/// What `Content-Length` says, if it is there.
///
/// # Errors
/// When it is there twice, or is no plain number (RFC 9110 8.6).
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut framing = Framing { length: None, chunked: false };
    for value in headers.get_all(header::CONTENT_LENGTH) {
        framing.length(value.as_bytes())?;
    }
    Ok(framing.length)
}

/// Eighteen digits are an exabyte; more could overflow somebody's integer, and zeros in front mean octal to some.
fn plain_number(digits: &[u8]) -> Option<u64> {
    match digits {
        [] | [b'0', _, ..] => None,
        digits if digits.len() <= 18 => digits
            .iter()
            .try_fold(0, |sum: u64, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_what_parsing_makes_of_them() {
        let names = "Age Date ETag Vary Server Expires Connection Keep-Alive Set-Cookie Content-Type Accept-Ranges \
                     Cache-Control Last-Modified Content-Length Content-Encoding Transfer-Encoding";
        for name in names.split(' ') {
            for name in [name, &name.to_ascii_lowercase()] {
                let parsed = (HeaderName::from_bytes(name.as_bytes()).unwrap(), FieldKinds::of(name.as_bytes()));
                assert_eq!(usual(name.as_bytes()), Some(parsed), "{name}");
            }
        }
        assert_eq!(usual(b"DATE"), None);
    }
}
