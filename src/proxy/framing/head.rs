//! The look at a request's head: whether it is sound, and where its parts are.

use std::ops::Range;

use memchr::memchr;

use super::{Authority, Refusal, class, is_control, kinds_of, trim};
use crate::field_kinds::FieldKinds;
use crate::scan;

/// The longest head that is taken, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;
/// The longest target that is taken, in bytes.
const MAX_TARGET: usize = 8 * 1024;
/// The most fields that are taken.
const MAX_FIELDS: usize = 100;

/// The most empty lines that may come before a request line.
const MAX_BLANK: u32 = 4;

/// How the rest of the message is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Body {
    /// So many bytes; none is 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// None, and another protocol may follow if the backend agrees.
    Upgrade,
}

/// A part of a head, from its first byte on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Span {
    start: u16,
    end: u16,
}

// All of a head can be told in this.
const _: () = assert!(MAX_HEAD <= u16::MAX as usize);

/// Where a head keeps what it has found.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Memory(Vec<(Span, Span)>);

/// A head while its lines come in.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Head {
    /// How many bytes have been looked at: whole lines only.
    at: usize,
    method: Span,
    target: Span,
    /// Names and values.
    fields: Vec<(Span, Span)>,
    blank: u32,
    line_seen: bool,
    http10: bool,
    get: bool,
    hosts: u32,
    close: bool,
    keep_alive: bool,
    waits: bool,
    takes_trailers: bool,
    length: Option<u64>,
    chunked: bool,
    connection_upgrade: bool,
    websocket: bool,
    upgrades: u32,
    kinds: FieldKinds,
}

impl Span {
    /// Where `part` is in `bytes`, of which it is a part.
    fn of(part: &[u8], bytes: &[u8]) -> Self {
        let start = part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        let short = |at| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: short(start), end: short(start + part.len()) }
    }

    /// The bytes.
    pub(in crate::proxy) fn range(self) -> Range<usize> {
        self.start.into()..self.end.into()
    }
}

impl Head {
    /// Takes memory to begin with.
    pub(in crate::proxy) fn lend(&mut self, mut memory: Memory) {
        if self.fields.capacity() == 0 {
            memory.0.clear();
            self.fields = memory.0;
        }
    }

    /// Gives its memory to the next head, wherever that comes.
    pub(in crate::proxy) fn into_memory(self) -> Memory {
        Memory(self.fields)
    }

    /// The method.
    pub(in crate::proxy) fn method(&self) -> Span {
        self.method
    }

    /// The target, in a form that is served.
    pub(in crate::proxy) fn target(&self) -> Span {
        self.target
    }

    /// The fields, names and values.
    pub(in crate::proxy) fn fields(&self) -> &[(Span, Span)] {
        &self.fields
    }

    /// Whether the version is 1.0.
    pub(in crate::proxy) fn is_http10(&self) -> bool {
        self.http10
    }

    /// Whether the connection may be used for another request (RFC 9112 9.3).
    pub(in crate::proxy) fn is_persistent(&self) -> bool {
        !self.close && (!self.http10 || self.keep_alive)
    }

    /// Whether the client waits to be told to go on before it sends the body (RFC 9110 10.1.1).
    pub(in crate::proxy) fn waits(&self) -> bool {
        self.waits && !self.http10
    }

    /// What the fields are.
    pub(in crate::proxy) fn kinds(&self) -> FieldKinds {
        self.kinds
    }

    /// Whether the client can read trailers (RFC 9110 6.5.1).
    pub(in crate::proxy) fn takes_trailers(&self) -> bool {
        self.takes_trailers
    }

    /// Looks at the lines that have become whole; `bytes` is the head from its first byte, as far as it is there.
    /// Says where the head ends, once it does, and what follows it.
    pub(in crate::proxy) fn look(&mut self, bytes: &[u8]) -> Result<Option<(usize, Body)>, Refusal> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            // The first control character has to be the end of the line, so that nothing is looked at twice.
            let end = scan::position(rest, is_control);
            let (line, ending) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
            match ending {
                [b'\r', b'\n', ..] => {}
                [] | [b'\r'] => return self.unfinished(bytes.len(), rest).map(|()| None),
                _ => return Err(if self.line_seen { Refusal::Field } else { Refusal::RequestLine }),
            }
            self.at += line.len() + 2;
            if self.at > MAX_HEAD {
                return Err(Refusal::HeadTooLarge);
            }
            if !self.line_seen && line.is_empty() {
                // A stray line end after a body, as old clients send (RFC 9112 2.2); the parser skips it as well.
                self.blank += 1;
                if self.blank > MAX_BLANK {
                    return Err(Refusal::RequestLine);
                }
            } else if !self.line_seen {
                self.request_line(line, bytes)?;
                self.line_seen = true;
            } else if line.is_empty() {
                return self.body().map(|body| Some((self.at, body)));
            } else {
                self.field(line, bytes)?;
            }
        }
    }

    /// Refuses early what cannot become a head any more.
    fn unfinished(&self, total: usize, line: &[u8]) -> Result<(), Refusal> {
        if !self.line_seen {
            if line.len() > MAX_TARGET + 64 {
                return Err(Refusal::TargetTooLong);
            }
            // A method of over 32 letters, or no method at all: not HTTP, and no line end may ever come.
            let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            if method.len() > 32 || !class::all(method.strip_suffix(b"\r").unwrap_or(method), class::TOKEN) {
                return Err(Refusal::RequestLine);
            }
        }
        if total > MAX_HEAD { Err(Refusal::HeadTooLarge) } else { Ok(()) }
    }

    /// `method SP target SP version` (RFC 9112 3).
    fn request_line(&mut self, line: &[u8], bytes: &[u8]) -> Result<(), Refusal> {
        let (method, rest) = split_where(line, |byte| !class::is(byte, class::TOKEN));
        let [b' ', rest @ ..] = rest else { return Err(Refusal::RequestLine) };
        if method.is_empty() || method.len() > 32 {
            return Err(Refusal::RequestLine);
        }
        let (target, version) = split_where(rest, |byte| !class::is(byte, class::TARGET));
        match version {
            b" HTTP/1.1" => {}
            b" HTTP/1.0" => self.http10 = true,
            [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Refusal::Version);
            }
            [] | [b' ', ..] => return Err(Refusal::RequestLine),
            _ => return Err(Refusal::Target),
        }
        match method {
            b"GET" => self.get = true,
            b"CONNECT" => return Err(Refusal::Connect),
            b"TRACE" => return Err(Refusal::Trace),
            _ => {}
        }
        if target.len() > MAX_TARGET {
            return Err(Refusal::TargetTooLong);
        }
        (self.method, self.target) = (Span::of(method, bytes), Span::of(target, bytes));
        match target {
            [b'/', ..] => Ok(()),
            b"*" if method == b"OPTIONS" => Ok(()),
            _ => absolute(target).ok_or(Refusal::Target),
        }
    }

    /// A line without control characters.
    fn field(&mut self, line: &[u8], bytes: &[u8]) -> Result<(), Refusal> {
        if self.fields.len() >= MAX_FIELDS {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_where(line, |byte| !class::is(byte, class::TOKEN));
        let [b':', value @ ..] = value else { return Err(Refusal::Field) };
        if name.is_empty() {
            return Err(Refusal::Field);
        }
        self.kinds |= kinds_of(name);
        let value = trim(value);
        self.fields.push((Span::of(name, bytes), Span::of(value, bytes)));
        // The length tells most names apart from those that matter here.
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => {
                self.takes_trailers |= options(value).any(|option| option.eq_ignore_ascii_case(b"trailers"));
                Ok(())
            }
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrades += 1;
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in options(value) {
                    self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.waits = true;
        if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Refusal::Expectation) }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Refusal::Host);
        }
        if Authority::is_valid(value) { Ok(()) } else { Err(Refusal::Host) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // Eighteen digits are an exabyte; more could overflow somebody's integer. Zeros in front mean octal to some.
        if self.length.is_some()
            || value.is_empty()
            || matches!(value, [b'0', _, ..])
            || value.len() > 18
            || !value.iter().all(u8::is_ascii_digit)
        {
            return Err(Refusal::Length);
        }
        self.length = Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Coding);
        }
        self.chunked = true;
        Ok(())
    }

    fn body(&self) -> Result<Body, Refusal> {
        // HTTP/1.0 had no Host, but without one there is nothing to route by that two of us would agree on.
        if self.hosts != 1 {
            return Err(Refusal::Host);
        }
        if self.chunked && (self.http10 || self.length.is_some()) {
            return Err(Refusal::Coding);
        }
        if self.chunked {
            return Ok(Body::Chunked);
        }
        let length = self.length.unwrap_or(0);
        let upgrade =
            self.get && !self.http10 && length == 0 && self.connection_upgrade && self.websocket && self.upgrades == 1;
        Ok(if upgrade { Body::Upgrade } else { Body::Length(length) })
    }
}

/// What comes before the first byte that ends it, and the rest. What that is for is too short for a search by blocks.
fn split_where(bytes: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| ends(*byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or_default()
}

/// The elements of a list (RFC 9110 5.6.1).
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// `http://authority[/path][?query]` (RFC 9112 3.2.2).
fn absolute(target: &[u8]) -> Option<()> {
    let scheme_end = memchr(b':', target)?;
    let (scheme, rest) = target.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Authority::is_valid(rest.get(..end)?).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(head: &str) -> Result<Option<(usize, Body)>, Refusal> {
        Head::default().look(head.as_bytes())
    }

    #[test]
    fn heads_say_what_follows() {
        for (fields, body) in [
            ("", Body::Length(0)),
            ("Content-Length: 5\r\n", Body::Length(5)),
            ("content-length:\t7 \r\n", Body::Length(7)),
            ("Transfer-Encoding: Chunked\r\n", Body::Chunked),
            ("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", Body::Upgrade),
            ("Connection: Upgrade\r\nUpgrade: h2c\r\n", Body::Length(0)),
            ("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", Body::Length(0)),
            ("Upgrade: websocket\r\n", Body::Length(0)),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", Body::Length(1)),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            assert_eq!(look(&head), Ok(Some((head.len(), body))), "{fields:?}");
        }
    }

    #[test]
    fn heads_say_what_is_to_become_of_the_connection() {
        let read = |text: &str| {
            let mut head = Head::default();
            head.look(text.as_bytes()).unwrap().unwrap();
            (head.is_persistent(), head.waits(), head.takes_trailers())
        };
        for (version, fields, expected) in [
            ("1.1", "", (true, false, false)),
            ("1.1", "Connection: a, Close\r\n", (false, false, false)),
            ("1.1", "Expect: 100-Continue\r\nTE: gzip, Trailers\r\n", (true, true, true)),
            ("1.0", "Expect: 100-continue\r\n", (false, false, false)),
            ("1.0", "Connection: Keep-Alive\r\n", (true, false, false)),
            ("1.0", "Connection: keep-alive, close\r\n", (false, false, false)),
        ] {
            assert_eq!(read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_head_tells_what_its_fields_are() {
        for (name, expected) in [
            ("x9", FieldKinds::NONE),
            ("Connection", FieldKinds::CONNECTION),
            ("X-Forwarded-For", FieldKinds::ORIGIN),
            ("X_Forwarded_For", FieldKinds::ALIAS),
            ("X.Y", FieldKinds::ALIAS),
        ] {
            let mut head = Head::default();
            head.look(format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: b\r\nAccept: c\r\n\r\n").as_bytes())
                .unwrap()
                .unwrap();
            assert_eq!(head.kinds(), expected, "{name}");
        }
    }

    #[test]
    fn a_head_says_where_its_parts_are() {
        let text = "\r\nPUT /a?b HTTP/1.1\r\nHost:a\r\nX-Y: \t z \r\nEmpty:\r\n\r\nrest";
        let mut head = Head::default();
        let cut = text.len() - 20;
        assert_eq!(head.look(&text.as_bytes()[..cut]), Ok(None));
        // The bytes have moved meanwhile.
        let moved = text.to_owned();
        assert!(head.look(moved.as_bytes()).unwrap().is_some());
        let part = |span: Span| &moved[span.range()];
        assert_eq!((part(head.method()), part(head.target())), ("PUT", "/a?b"));
        let fields: Vec<_> = head.fields().iter().map(|(name, value)| (part(*name), part(*value))).collect();
        assert_eq!(fields, [("Host", "a"), ("X-Y", "z"), ("Empty", "")]);
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let text = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let mut head = Head::default();
        for end in 1..text.len() - 3 {
            assert_eq!(head.look(&text[..end]), Ok(None), "{end}");
        }
        assert_eq!(head.look(text), Ok(Some((text.len() - 3, Body::Length(3)))));
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n - 1));
        assert!(look(&target(MAX_TARGET)).is_ok());
        assert_eq!(look(&target(MAX_TARGET + 1)), Err(Refusal::TargetTooLong));
        let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n - 1));
        assert!(look(&fields(100)).is_ok());
        assert_eq!(look(&fields(101)), Err(Refusal::HeadTooLarge));
        let bytes = |n: usize| {
            let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(n - frame))
        };
        assert!(look(&bytes(MAX_HEAD)).is_ok());
        assert_eq!(look(&bytes(MAX_HEAD + 1)), Err(Refusal::HeadTooLarge));
        assert_eq!(look(&"x".repeat(33)), Err(Refusal::RequestLine));
        assert_eq!(look("\u{16}\u{3}\u{1}"), Err(Refusal::RequestLine));
    }
}
