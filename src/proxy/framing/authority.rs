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
        let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError)?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(AuthorityError)?;
                address.parse::<Ipv6Addr>().map_err(|_| AuthorityError)?;
                let host = text.get(..address.len() + 2).ok_or(AuthorityError)?;
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or(AuthorityError)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = !host.is_empty()
            && host.len() <= 255
            && class::all(host.as_bytes(), class::HOST)
            // No empty label: what is left of one after a wildcard's suffix would be no name. One dot may end a name.
            && !host.starts_with('.')
            && !host.contains("..");
        if !is_name && !host.starts_with('[') {
            return Err(AuthorityError);
        }
        let port = match port {
            None => None,
            Some(digits) if !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| AuthorityError)?)
            }
            Some(_) => return Err(AuthorityError),
        };
        Ok(Self { host, port })
    }
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
