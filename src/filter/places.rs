//! Where a backend's answers say that things are, as clients have to hear it.

use std::fmt;
use std::ops::Range;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What becomes of the addresses in a backend's answers. It takes itself to be somewhere else than where its clients find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// What `Location` and `Refresh` begin with.
    pub location: Option<Swap>,
    /// The `Domain` of cookies, whole and in either case; a dot before it is of no meaning.
    pub cookie_domain: Option<Swap>,
    /// What the `Path` of cookies begins with.
    pub cookie_path: Option<Swap>,
}

/// One text in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// What is looked for.
    pub from: Box<str>,
    /// What comes in its place.
    pub to: Box<str>,
}

impl Places {
    /// Puts the right ones into an answer.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let Self { location, cookie_domain, cookie_path } = self;
        if let Some(swap) = location {
            change(headers, &header::LOCATION, |value| swap.beginning(value, 0));
            change(headers, &header::REFRESH, |value| swap.beginning(value, url_of_refresh(value)?));
        }
        if cookie_domain.is_some() || cookie_path.is_some() {
            change(headers, &header::SET_COOKIE, |value| self.cookie(value));
        }
    }

    /// A cookie with its domain and path in the right place; nothing if both are.
    fn cookie(&self, cookie: &[u8]) -> Option<Vec<u8>> {
        let Self { location: _, cookie_domain, cookie_path } = self;
        let mut changed = Vec::with_capacity(cookie.len());
        let mut copied = 0;
        for (name, place) in attributes(cookie) {
            let value = cookie.get(place.clone())?;
            let new = if name.eq_ignore_ascii_case(b"path") {
                cookie_path.as_ref().and_then(|swap| swap.beginning(value, 0))
            } else if name.eq_ignore_ascii_case(b"domain") {
                cookie_domain.as_ref().and_then(|swap| swap.domain(value))
            } else {
                None
            };
            if let Some(new) = new {
                changed.extend_from_slice(cookie.get(copied..place.start)?);
                changed.extend_from_slice(&new);
                copied = place.end;
            }
        }
        if copied == 0 {
            return None;
        }
        changed.extend_from_slice(cookie.get(copied..)?);
        Some(changed)
    }
}

impl Swap {
    /// The value with the other text, where it has the one at this place.
    fn beginning(&self, value: &[u8], at: usize) -> Option<Vec<u8>> {
        let (before, rest) = value.split_at_checked(at)?;
        let rest = rest.strip_prefix(self.from.as_bytes())?;
        Some([before, self.to.as_bytes(), rest].concat())
    }

    fn domain(&self, value: &[u8]) -> Option<Vec<u8>> {
        let bare = |name| <[u8]>::strip_prefix(name, b".").unwrap_or(name);
        let dot = value.get(..value.len() - bare(value).len()).unwrap_or_default();
        let is_it = bare(value).eq_ignore_ascii_case(bare(self.from.as_bytes()));
        is_it.then(|| [dot, bare(self.to.as_bytes())].concat())
    }
}

/// Changes the values of a header; those of which nothing is made stay.
fn change(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let header::Entry::Occupied(mut values) = headers.entry(name) {
        for value in values.iter_mut() {
            if let Some(new) = change(value.as_bytes()).and_then(|new| HeaderValue::from_bytes(&new).ok()) {
                *value = new;
            }
        }
    }
}

/// Where the address begins in `5; url=http://a/`.
fn url_of_refresh(value: &[u8]) -> Option<usize> {
    const URL: &[u8] = b"url=";
    let found = value.windows(URL.len()).position(|window| window.eq_ignore_ascii_case(URL))?;
    Some(found + URL.len())
}

/// The attributes of a cookie, by name and place of their value (RFC 6265 5.2).
fn attributes(cookie: &[u8]) -> impl Iterator<Item = (&[u8], Range<usize>)> {
    let mut next = 0;
    let pieces = cookie.split(|byte| *byte == b';').map(move |piece| {
        let start = next;
        next += piece.len() + 1;
        (start, piece)
    });
    pieces.skip(1).filter_map(|(start, piece)| {
        let equals = piece.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (piece.get(..equals)?, piece.get(equals + 1..)?);
        let blank = value.len() - value.trim_ascii_start().len();
        let begin = start + equals + 1 + blank;
        Some((name.trim_ascii(), begin..begin + value.trim_ascii().len()))
    })
}

impl fmt::Display for Places {
    /// `http://app/ becomes https://shop.test/ in Location; /app/ becomes / in the Path of cookies`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, cookie_domain, cookie_path } = self;
        let mut separator = "";
        for (swap, place) in
            [(location, "Location"), (cookie_domain, "the Domain of cookies"), (cookie_path, "the Path of cookies")]
        {
            if let Some(Swap { from, to }) = swap {
                write!(f, "{separator}{from} becomes {to} in {place}")?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swap(from: &str, to: &str) -> Option<Swap> {
        Some(Swap { from: from.into(), to: to.into() })
    }

    /// As nginx 1.22 has it with `proxy_redirect`, `proxy_cookie_domain` and `proxy_cookie_path`, but for blanks.
    #[test]
    fn places_are_what_nginx_makes_of_them() {
        let places = Places {
            location: swap("http://app:8080/", "https://shop.test/"),
            cookie_domain: swap(".app.test", "shop.test"),
            cookie_path: swap("/app/", "/"),
        };
        for (name, sent, expected) in CASES {
            let mut headers = HeaderMap::new();
            headers.append(*name, HeaderValue::from_static(sent));
            headers.append(*name, HeaderValue::from_static("untouched"));
            places.apply(&mut headers);
            let values: Vec<_> = headers.get_all(*name).iter().collect();
            assert_eq!(values, [expected, "untouched"], "{name}: {sent}");
        }
    }

    const CASES: &[(&str, &str, &str)] = &[
        ("location", "http://app:8080/a?b=c", "https://shop.test/a?b=c"),
        ("location", "http://app:8080", "http://app:8080"),
        ("location", "HTTP://app:8080/a", "HTTP://app:8080/a"),
        ("location", "/a", "/a"),
        ("refresh", "5; url=http://app:8080/a", "5; url=https://shop.test/a"),
        ("refresh", "5;URL=http://app:8080/a", "5;URL=https://shop.test/a"),
        ("refresh", "5", "5"),
        ("set-cookie", "a=1; Path=/app/x; HttpOnly", "a=1; Path=/x; HttpOnly"),
        ("set-cookie", "a=1; path = /app/", "a=1; path = /"),
        ("set-cookie", "a=1; Path=/app", "a=1; Path=/app"),
        ("set-cookie", "path=/app/; Path=/app/", "path=/app/; Path=/"),
        ("set-cookie", "a=1; Domain=APP.test; Path=/app/; Secure", "a=1; Domain=shop.test; Path=/; Secure"),
        ("set-cookie", "a=1; domain=.app.test", "a=1; domain=.shop.test"),
        ("set-cookie", "a=1; Domain=x.app.test", "a=1; Domain=x.app.test"),
        ("set-cookie", "a=/app/", "a=/app/"),
    ];
}
