//! Who is asked for: the host and the port of a request.

use std::net::Ipv6Addr;

use super::class;

/// A host and perhaps a port, as `Host`, `:authority` and absolute targets carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as sent; an IPv6 address keeps its brackets.
    pub host: &'a str,
    /// The port, when one is given.
    pub port: Option<u16>,
}

/// It is no host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host and port")]
pub struct AuthorityError;

impl<'a> Authority<'a> {
    /// Reads `host [":" port]`. Only names of letters, digits, `-`, `.` and `_`, and IPv6 addresses in brackets, are
    /// taken: user information, percent-encoding and everything else that RFC 3986 would allow has no place in an
    /// ingress, and two parsers in a row may read it differently.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        let Parts { host, port } = Parts::of(bytes)?;
        let host = bytes.get(..host).and_then(|host| std::str::from_utf8(host).ok()).ok_or(AuthorityError)?;
        Ok(Self { host, port })
    }

    /// Whether [`Self::parse`] would take it.
    pub(super) fn is_valid(bytes: &[u8]) -> bool {
        Parts::of(bytes).is_ok()
    }
}

/// The same in numbers, found in one walk over the bytes: every request is looked at twice.
struct Parts {
    /// Bytes of the host, which stands in front.
    host: usize,
    port: Option<u16>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let host = if bytes.starts_with(b"[") { address(bytes) } else { name(bytes) }?;
        let port = match bytes.get(host..).unwrap_or_default() {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return Err(AuthorityError),
        };
        Ok(Self { host, port })
    }
}

/// How long the name is that stands in front of `:` or the end.
fn name(bytes: &[u8]) -> Result<usize, AuthorityError> {
    let mut length = 0;
    // No empty label: what is left of one after a wildcard's suffix would be no name. One dot may end a name.
    let mut label_ended = true;
    for byte in bytes {
        match byte {
            b':' => break,
            b'.' if label_ended => return Err(AuthorityError),
            b'.' => label_ended = true,
            _ if class::is(*byte, class::HOST) => label_ended = false,
            _ => return Err(AuthorityError),
        }
        length += 1;
    }
    if (1..=255).contains(&length) { Ok(length) } else { Err(AuthorityError) }
}

/// How long the IPv6 address in brackets is that stands in front.
fn address(bytes: &[u8]) -> Result<usize, AuthorityError> {
    let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError)?;
    let (address, _) = text.split_once(']').ok_or(AuthorityError)?;
    address.strip_prefix('[').and_then(|address| address.parse::<Ipv6Addr>().ok()).ok_or(AuthorityError)?;
    Ok(address.len() + 1)
}

fn port(digits: &[u8]) -> Result<u16, AuthorityError> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AuthorityError);
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).map_err(|_| AuthorityError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("app.example.com", "app.example.com", None),
            ("app.example.com:8080", "app.example.com", Some(8080)),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
            ("my_host", "my_host", None),
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Ok(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "user@host",
            "host/path",
            "host?q",
            "host#f",
            "a,b",
            "host:",
            "host:+80",
            "host:80:80",
            "host:99999",
            "[::1",
            "::1",
            "[::1]x",
            "[nope]",
            "a\\b",
            "a%41",
            "h\u{e4}",
            "a\"b",
            "a|b",
            "a^b",
            "a{b",
            ".",
            ".a",
            "a..b",
            "a..",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Err(AuthorityError), "{text:?}");
        }
    }
}
