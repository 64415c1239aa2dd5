//! The look at a request's head.

use memchr::memchr;

use super::{Authority, Refusal, class, is_field_value, trim};

/// The longest head that is taken, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;
/// The longest target that is taken, in bytes.
const MAX_TARGET: usize = 8 * 1024;
/// The most fields that are taken.
const MAX_FIELDS: u32 = 100;

/// The most empty lines that may come before a request line.
const MAX_BLANK: u32 = 4;

/// How the rest of the message is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes; none is 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// None, and another protocol may follow if the backend agrees.
    Upgrade,
}

/// A head while its lines come in.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// How many bytes have been looked at: whole lines only.
    at: usize,
    /// Fields seen.
    fields: u32,
    blank: u32,
    line_seen: bool,
    http10: bool,
    get: bool,
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
    connection_upgrade: bool,
    websocket: bool,
    upgrades: u32,
}

impl Head {
    /// Looks at the lines that have become whole; `bytes` is the head from its first byte, as far as it is there.
    /// Says where the head ends, once it does, and what follows it.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Option<(usize, Body)>, Refusal> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                return self.unfinished(bytes.len(), rest).map(|()| None);
            };
            let [line @ .., b'\r'] = rest.get(..end).unwrap_or_default() else {
                return Err(if self.line_seen { Refusal::Field } else { Refusal::RequestLine });
            };
            self.at += end + 1;
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
                self.request_line(line)?;
                self.line_seen = true;
            } else if line.is_empty() {
                return self.body().map(|body| Some((self.at, body)));
            } else {
                self.field(line)?;
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
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let space = memchr(b' ', line).ok_or(Refusal::RequestLine)?;
        let (method, rest) = line.split_at(space);
        let rest = rest.get(1..).unwrap_or_default();
        let space = memchr(b' ', rest).ok_or(Refusal::RequestLine)?;
        let (target, version) = rest.split_at(space);
        if method.is_empty() || method.len() > 32 || !class::all(method, class::TOKEN) {
            return Err(Refusal::RequestLine);
        }
        match version {
            b" HTTP/1.1" => {}
            b" HTTP/1.0" => self.http10 = true,
            [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Refusal::Version);
            }
            _ => return Err(Refusal::RequestLine),
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
        if !class::all(target, class::TARGET) {
            return Err(Refusal::Target);
        }
        match target {
            [b'/', ..] => Ok(()),
            b"*" if method == b"OPTIONS" => Ok(()),
            _ => absolute(target).ok_or(Refusal::Target),
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Refusal::HeadTooLarge);
        }
        let colon = memchr(b':', line).ok_or(Refusal::Field)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || !class::all(name, class::TOKEN) || !is_field_value(value) {
            return Err(Refusal::Field);
        }
        // The length tells most names apart from those that matter here.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(field_value(value)),
            6 if name.eq_ignore_ascii_case(b"expect") => expect(field_value(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrades += 1;
                self.websocket = field_value(value).eq_ignore_ascii_case(b"websocket");
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= value
                    .split(|b| matches!(b, b',' | b':'))
                    .any(|option| trim(option).eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(field_value(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(field_value(value)),
            _ => Ok(()),
        }
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

/// What stands after the colon, without the white space around it.
fn field_value(value: &[u8]) -> &[u8] {
    trim(value.get(1..).unwrap_or_default())
}

fn expect(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Refusal::Expectation) }
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
