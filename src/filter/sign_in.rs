//! Where clients are sent who are not known.

use std::fmt;

use http::HeaderValue;

use crate::path::push_component;

/// An address with parts of the request in it, by the variables that nginx has for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    declared: Box<str>,
    pieces: Box<[Piece]>,
}

/// A piece of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Scheme,
    Host,
    /// Path and query as the client sent them.
    Uri,
    /// The same, so that it can be a value in a query.
    EscapedUri,
}

/// The variables that are known. Of two of which one begins like the other, the longer stands first.
const VARIABLES: [(&str, Piece); 7] = [
    ("$escaped_request_uri", Piece::EscapedUri),
    ("$request_uri", Piece::Uri),
    ("$pass_access_scheme", Piece::Scheme),
    ("$scheme", Piece::Scheme),
    ("$best_http_host", Piece::Host),
    ("$http_host", Piece::Host),
    ("$host", Piece::Host),
];

impl SignIn {
    /// An address in which only known variables stand.
    pub fn parse(declared: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = declared;
        while let Some(at) = rest.find('$') {
            let (text, variable) = rest.split_at_checked(at)?;
            let (piece, after) =
                VARIABLES.iter().find_map(|(name, piece)| Some((piece.clone(), variable.strip_prefix(name)?)))?;
            // `$host_name` is another variable than `$host`.
            if after.starts_with(|next: char| next == '_' || next.is_ascii_alphanumeric()) {
                return None;
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Some(Self { declared: declared.into(), pieces: pieces.into() })
    }

    /// The address for a request for `target`, path and query.
    pub fn location(&self, scheme: &str, host: &str, target: &str) -> Option<HeaderValue> {
        let mut address = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => address.extend_from_slice(text.as_bytes()),
                Piece::Scheme => address.extend_from_slice(scheme.as_bytes()),
                Piece::Host => address.extend_from_slice(host.as_bytes()),
                Piece::Uri => address.extend_from_slice(target.as_bytes()),
                Piece::EscapedUri => push_component(&mut address, target),
            }
        }
        HeaderValue::try_from(address).ok()
    }
}

impl fmt::Display for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_parts_of_the_request() {
        for (declared, expected) in [
            ("https://login.test/?rd=1", Some("https://login.test/?rd=1")),
            ("https://$host/start?rd=$escaped_request_uri", Some("https://shop.test/start?rd=%2Fa%3Fb%3D1%26c")),
            (
                "https://l.test/?rd=$scheme://$http_host$request_uri",
                Some("https://l.test/?rd=https://shop.test/a?b=1&c"),
            ),
            ("https://l.test/?rd=$arg_x", None),
            ("https://l.test/?rd=$host_name", None),
            ("https://l.test/$", None),
        ] {
            let made = SignIn::parse(declared).and_then(|it| it.location("https", "shop.test", "/a?b=1&c"));
            assert_eq!(made.as_ref().and_then(|made| made.to_str().ok()), expected, "{declared}");
        }
    }
}
