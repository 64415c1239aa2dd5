//! Conditions on a request whose path has matched: on method, headers and query, and on what else its path must have.

use std::borrow::Cow;
use std::fmt;

use http::header::{self, HeaderValue};
use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use super::query;
use crate::filter::Title;
use crate::path::parse_expression;

/// What is looked at to choose a route: the normalised path and the rest of the head as it came.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'p, 'h> {
    /// The method.
    pub method: &'h Method,
    /// The normalised path, beginning with `/`.
    pub path: &'p str,
    /// The query as sent, without its question mark.
    pub query: Option<&'h str>,
    /// The headers.
    pub headers: &'h HeaderMap,
    /// Whether it came in by the TLS listener.
    pub secure: bool,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// An expression that is found in the path, where the path below a prefix is not all the same.
    pub path: Option<Box<Regex>>,
    /// The method, if one is asked for.
    pub method: Option<Method>,
    /// Conditions on headers.
    pub headers: Box<[HeaderMatch]>,
    /// Conditions on query parameters.
    pub queries: Box<[QueryMatch]>,
}

/// A condition on one header.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Which header.
    pub name: HeaderName,
    /// What its value must be; several values of one name are taken as one, joined by commas (RFC 9110 5.3), those of
    /// `Cookie` by semicolons (RFC 9113 8.2.3).
    pub value: ValueMatch,
}

/// A condition on one query parameter.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Which parameter, percent-decoded.
    pub name: Box<str>,
    /// What its first value must be, percent-decoded and with `+` as a space.
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// The very same text.
    Exact(Box<str>),
    /// The expression is found in it.
    RegularExpression(Regex),
    /// It is there.
    Present,
}

impl Matcher {
    /// Whether there is any condition at all.
    pub fn is_empty(&self) -> bool {
        self.path.is_none() && self.method.is_none() && self.headers.is_empty() && self.queries.is_empty()
    }

    /// Whether every condition holds.
    pub fn accepts(&self, head: &RequestHead<'_, '_>) -> bool {
        self.path.as_ref().is_none_or(|expression| expression.is_match(head.path))
            && self.method.as_ref().is_none_or(|method| method == head.method)
            && self.headers.iter().all(|wanted| wanted.accepts(head.headers))
            && self.queries.iter().all(|wanted| wanted.accepts(head.query))
    }

    /// The first condition that does not hold, and what the request has instead.
    pub fn reject_reason(&self, head: &RequestHead<'_, '_>) -> Option<String> {
        if let Some(expression) = self.path.as_ref().filter(|expression| !expression.is_match(head.path)) {
            return Some(format!("path: wanted /{expression}/, request has {}", head.path));
        }
        if let Some(method) = self.method.as_ref().filter(|method| *method != head.method) {
            return Some(format!("method: wanted {method}, request has {}", head.method));
        }
        if let Some(wanted) = self.headers.iter().find(|wanted| !wanted.accepts(head.headers)) {
            let found = joined(head.headers, &wanted.name).map(|value| String::from_utf8_lossy(&value).into_owned());
            return Some(format!(
                "header {}: wanted {}, request has {}",
                Title(&wanted.name),
                wanted.value,
                Found(found)
            ));
        }
        let wanted = self.queries.iter().find(|wanted| !wanted.accepts(head.query))?;
        let found = query::first(head.query, &wanted.name).map(|raw| query::decode(raw).into_owned());
        Some(format!("query parameter {}: wanted {}, request has {}", wanted.name, wanted.value, Found(found)))
    }
}

impl HeaderMatch {
    pub(super) fn accepts(&self, headers: &HeaderMap) -> bool {
        let Some(value) = joined(headers, &self.name) else { return false };
        match &self.value {
            ValueMatch::Exact(text) => *value == *text.as_bytes(),
            ValueMatch::RegularExpression(expression) => expression.is_match(&String::from_utf8_lossy(&value)),
            ValueMatch::Present => true,
        }
    }
}

impl QueryMatch {
    fn accepts(&self, query: Option<&str>) -> bool {
        let Some(raw) = query::first(query, &self.name) else { return false };
        match &self.value {
            ValueMatch::Exact(text) => query::decoded_eq(raw, text),
            ValueMatch::RegularExpression(expression) => expression.is_match(&query::decode(raw)),
            ValueMatch::Present => true,
        }
    }
}

impl ValueMatch {
    /// A regular expression that is found somewhere in the value; the error is the expression's own, on one line.
    pub fn parse_regular_expression(declared: &str) -> Result<Self, String> {
        parse_expression(declared).map(Self::RegularExpression)
    }
}

impl fmt::Display for Matcher {
    /// `GET, header X-Api-Version: "2", query parameter expand: any value`; nothing when there is no condition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(expression) = &self.path {
            write!(f, "path /{expression}/")?;
            separator = ", ";
        }
        if let Some(method) = &self.method {
            write!(f, "{separator}{method}")?;
            separator = ", ";
        }
        for HeaderMatch { name, value } in &self.headers {
            write!(f, "{separator}header {}: {value}", Title(name))?;
            separator = ", ";
        }
        for QueryMatch { name, value } in &self.queries {
            write!(f, "{separator}query parameter {name}: {value}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for ValueMatch {
    /// `"2"`, `/^2/` or `any value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::RegularExpression(expression) => write!(f, "/{expression}/"),
            Self::Present => f.write_str("any value"),
        }
    }
}

/// The value of a header; its several values as one.
fn joined<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.into()) };
    let separator: &[u8] = if name == header::COOKIE { b"; " } else { b"," };
    let mut all = [first, separator, second].concat();
    for value in values {
        all.extend([separator, value].concat());
    }
    Some(all.into())
}

struct Found(Option<String>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests;
