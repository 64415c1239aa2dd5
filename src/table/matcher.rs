//! Conditions on method, headers and query of a request whose path has matched.

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

/// What is looked at to choose a route: the normalised path and the rest of the head as it came.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The normalised path, beginning with `/`.
    pub path: &'a str,
    /// The query as sent, without its question mark.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
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
    /// What its value must be; several values of one name are taken as one, joined by commas (RFC 9110 5.2).
    pub value: ValueMatch,
}

/// A condition on one query parameter.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Which parameter, percent-decoded.
    pub name: Box<str>,
    /// What its first value must be, percent-decoded.
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
