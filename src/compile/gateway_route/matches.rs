//! Matches of a rule.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::super::code::Code;
use super::super::report::Problem;
use crate::api::gateway_route::RouteMatch;
use crate::api::{self, PathMatchType, ValueMatchType};
use crate::path::PathMatchError;
use crate::table::{HeaderMatch, Matcher, PathMatch, QueryMatch, ValueMatch};

/// A match that is valid.
pub(super) struct RuleMatch {
    pub(super) index: u32,
    pub(super) path: PathMatch,
    pub(super) matcher: Matcher,
    /// Whether it is there because the rule has none.
    pub(super) implied: bool,
    /// `spec.rules[0].matches[1]`, or the rule's own path when it has no matches.
    pub(super) field: Arc<str>,
}

/// The valid matches of a rule; the problems of the others.
pub(super) fn lower(rule: &str, declared: &[RouteMatch], problems: &mut Vec<Problem>) -> Vec<RuleMatch> {
    let every = [RouteMatch::default()];
    let (declared, implied) = if declared.is_empty() { (every.as_slice(), true) } else { (declared, false) };
    let mut matches = Vec::new();
    for (index, one) in declared.iter().enumerate() {
        let field = if implied { rule.to_owned() } else { format!("{rule}.matches[{index}]") };
        let RouteMatch { path, method, headers, query_params } = one;
        let before = problems.len();
        let path = self::path(&field, path.as_ref(), problems);
        let headers = headers
            .iter()
            .enumerate()
            .filter_map(|(index, header)| self::header(&format!("{field}.headers[{index}]"), header, problems))
            .collect();
        let queries = query_params
            .iter()
            .enumerate()
            .filter_map(|(index, query)| self::query(&format!("{field}.queryParams[{index}]"), query, problems))
            .collect();
        // A condition that is invalid must not widen the match: what is left claims nothing.
        if let Some(path) = path
            && problems.len() == before
        {
            let matcher = Matcher { path: None, method: method.map(self::method), headers, queries };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            matches.push(RuleMatch { index, path, matcher, implied, field: field.into() });
        }
    }
    matches
}

/// A condition on the path; every path when there is none.
pub(in super::super) fn path(
    field: &str,
    declared: Option<&api::PathMatch>,
    problems: &mut Vec<Problem>,
) -> Option<PathMatch> {
    let Some(api::PathMatch { match_type, value }) = declared else {
        return PathMatch::parse_prefix("/").ok();
    };
    let parsed: Result<PathMatch, PathMatchError> = match match_type {
        PathMatchType::Exact => PathMatch::parse_exact(value),
        PathMatchType::PathPrefix => PathMatch::parse_prefix(value),
        PathMatchType::Template => PathMatch::parse_template(value),
        PathMatchType::RegularExpression => PathMatch::parse_regular_expression(value),
    };
    match (match_type, parsed) {
        // As a CEL rule of the CRD says: read literally, such a path would match nothing that was meant.
        (PathMatchType::Exact | PathMatchType::PathPrefix, Ok(_)) if value.contains("/:") || value.contains("/*") => {
            let what = format!("\"{}\" has a parameter, which type {match_type:?} does not have", value.escape_debug());
            problems.push(Problem::new(Code::InvalidPath, format!("{field}.path"), what, "set type: Template"));
            None
        }
        (_, Ok(path)) => Some(path),
        (_, Err(error)) => {
            let field = format!("{field}.path.value");
            problems.push(Problem::new(Code::InvalidPath, field, error.to_string(), error.remedy()));
            None
        }
    }
}

/// A condition on a header.
pub(in super::super) fn header(
    field: &str,
    declared: &api::HeaderMatch,
    problems: &mut Vec<Problem>,
) -> Option<HeaderMatch> {
    let api::HeaderMatch { match_type, name, value } = declared;
    let value = self::value(field, *match_type, value.as_deref(), problems)?;
    match name.parse::<HeaderName>() {
        Ok(name) => Some(HeaderMatch { name, value }),
        Err(_) => {
            let what = format!("\"{}\" is no header name", name.escape_debug());
            problems.push(Problem::new(Code::InvalidMatch, format!("{field}.name"), what, "use letters, digits and -"));
            None
        }
    }
}

fn query(field: &str, declared: &api::QueryParamMatch, problems: &mut Vec<Problem>) -> Option<QueryMatch> {
    let api::QueryParamMatch { match_type, name, value } = declared;
    let value = self::value(field, *match_type, value.as_deref(), problems)?;
    Some(QueryMatch { name: name.as_str().into(), value })
}

fn value(
    field: &str,
    match_type: ValueMatchType,
    declared: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<ValueMatch> {
    let mut invalid = |what: String, remedy: &str| {
        problems.push(Problem::new(Code::InvalidMatch, format!("{field}.value"), what, remedy));
        None
    };
    match (match_type, declared) {
        (ValueMatchType::Exact, Some(value)) => Some(ValueMatch::Exact(value.into())),
        (ValueMatchType::RegularExpression, Some(value)) => match ValueMatch::parse_regular_expression(value) {
            Ok(value) => Some(value),
            Err(error) => invalid(
                format!("the regular expression does not compile: {error}"),
                "use the syntax of https://docs.rs/regex (no look-around, no back-references)",
            ),
        },
        (ValueMatchType::Present, None) => Some(ValueMatch::Present),
        (ValueMatchType::Present, Some(_)) => invalid("type Present takes no value".to_owned(), "remove it"),
        (_, None) => invalid(format!("type {match_type:?} needs a value"), "add it, or set type: Present"),
    }
}

/// A method.
pub(in super::super) fn method(declared: api::Method) -> Method {
    match declared {
        api::Method::Get => Method::GET,
        api::Method::Head => Method::HEAD,
        api::Method::Post => Method::POST,
        api::Method::Put => Method::PUT,
        api::Method::Delete => Method::DELETE,
        api::Method::Connect => Method::CONNECT,
        api::Method::Options => Method::OPTIONS,
        api::Method::Trace => Method::TRACE,
        api::Method::Patch => Method::PATCH,
    }
}
