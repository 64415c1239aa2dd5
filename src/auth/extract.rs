//! Where in a request a token is, and how it is taken out again.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Where tokens are looked for, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Headers, and what stands before the token in them.
    pub headers: Box<[(HeaderName, Box<str>)]>,
    /// Names of cookies.
    pub cookies: Box<[Box<str>]>,
    /// Names of query parameters.
    pub params: Box<[Box<str>]>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            headers: [(header::AUTHORIZATION, "Bearer ".into())].into(),
            cookies: Box::default(),
            params: Box::default(),
        }
    }
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'s> {
    /// In this header.
    Header(&'s HeaderName),
    /// In this cookie.
    Cookie(&'s str),
    /// In this query parameter.
    Param(&'s str),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'s, 'r> {
    /// A token, and where.
    Token(&'r [u8], Place<'s>),
    /// More than one where one belongs: which of them would be believed is a guess.
    Unclear,
    /// Nothing.
    Nothing,
}

impl Sources {
    /// Looks for a token: the first place that has one counts.
    pub fn find<'s, 'r>(&'s self, headers: &'r HeaderMap, query: Option<&'r str>) -> Found<'s, 'r> {
        for (name, prefix) in &self.headers {
            let mut values = headers.get_all(name).iter().filter_map(|value| after(value.as_bytes(), prefix));
            if let Some(token) = values.next() {
                if values.next().is_some() {
                    return Found::Unclear;
                }
                return Found::Token(token, Place::Header(name));
            }
        }
        for name in &self.cookies {
            let mut values = cookies(headers).filter_map(|(found, value)| (found == name.as_bytes()).then_some(value));
            if let Some(token) = values.next() {
                if values.next().is_some() {
                    return Found::Unclear;
                }
                return Found::Token(token, Place::Cookie(name));
            }
        }
        for name in &self.params {
            let mut values = params(query).filter_map(|(found, value)| is(found, name).then_some(value));
            if let Some(token) = values.next() {
                if values.next().is_some() {
                    return Found::Unclear;
                }
                return Found::Token(token.as_bytes(), Place::Param(name));
            }
        }
        Found::Nothing
    }
}

impl Place<'_> {
    /// Takes the token out of the headers; or gives the query that is left without it, which may be empty.
    pub fn remove(self, headers: &mut HeaderMap, query: Option<&str>) -> Option<String> {
        match self {
            Self::Header(name) => {
                headers.remove(name);
                None
            }
            Self::Cookie(name) => {
                let left: Vec<Vec<u8>> = headers
                    .get_all(header::COOKIE)
                    .iter()
                    .map(|value| {
                        let pairs = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                        pairs.filter(|pair| name_of(pair) != name.as_bytes()).collect::<Vec<_>>().join(&b"; "[..])
                    })
                    .filter(|value| !value.is_empty())
                    .collect();
                headers.remove(header::COOKIE);
                for value in left {
                    if let Ok(value) = HeaderValue::from_bytes(&value) {
                        headers.append(header::COOKIE, value);
                    }
                }
                None
            }
            Self::Param(name) => {
                let pairs = query.unwrap_or_default().split('&');
                let left = pairs.filter(|pair| !is(pair.split_once('=').map_or(*pair, |(name, _)| name), name));
                Some(left.collect::<Vec<_>>().join("&"))
            }
        }
    }
}

/// What follows the prefix, whose case does not matter (RFC 9110 11.1); spaces around the token do not either.
fn after<'v>(value: &'v [u8], prefix: &str) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then(|| rest.trim_ascii()).filter(|rest| !rest.is_empty())
}

/// The cookies of a request (RFC 6265 4.2.1).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        let name = name_of(pair);
        (name, pair.get(name.len() + 1..).unwrap_or_default())
    })
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn params(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether the name of a parameter, as sent, is this one. A backend would decode it, so an encoded one counts too.
fn is(sent: &str, name: &str) -> bool {
    if !sent.contains(['%', '+']) {
        return sent == name;
    }
    let mut bytes = sent.bytes();
    let decoded = std::iter::from_fn(|| {
        Some(match bytes.next()? {
            b'+' => b' ',
            b'%' => {
                let mut ahead = bytes.clone();
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(ahead.next()), digit(ahead.next())) {
                    (Some(high), Some(low)) => {
                        bytes = ahead;
                        (high << 4 | low) as u8
                    }
                    _ => b'%',
                }
            }
            byte => byte,
        })
    });
    decoded.eq(name.bytes())
}
