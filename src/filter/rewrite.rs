//! Changes to the path and the host that go upstream, and the path of a redirect.

use std::fmt;

use http::HeaderValue;
use regex::Regex;

use super::template::{Template, TemplateError};
use super::{Flow, Matched, Reply, RequestParts};
use crate::path::{self, PathMatchError, parse_expression, parse_path};

/// A change to path, host, or both; the query stays as it is.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// The host that goes upstream.
    pub hostname: Option<HeaderValue>,
    /// What becomes of the path.
    pub path: Option<PathRewrite>,
}

/// What becomes of a path.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// This path instead, whatever was asked for.
    Full(Box<str>),
    /// This in place of what the rule's prefix covers, without a trailing slash; empty takes the prefix away.
    Prefix(Box<str>),
    /// This path, with parameters of the matched one in it.
    Template(Template),
    /// This text, with what an expression has captured of the path in it.
    Captured(Captured),
}

/// What nginx's `rewrite` makes of a path: wherever the expression is found in it, the whole path gives way to the text.
/// One that it is not found in stays.
#[derive(Clone, Debug)]
pub struct Captured {
    expression: Regex,
    text: Box<str>,
}

impl Rewrite {
    pub(super) fn apply(&self, parts: &mut RequestParts<'_>, matched: &Matched<'_>) -> Flow {
        if let Some(rewrite) = &self.path {
            let Some(path) = rewrite.apply(parts.path, matched) else { return Flow::Respond(Reply::bad_path()) };
            parts.rewritten.path = Some(path);
        }
        if let Some(hostname) = &self.hostname {
            parts.rewritten.host = Some(hostname.clone());
        }
        Flow::Continue
    }
}

impl PathRewrite {
    /// `ReplaceFullPath`.
    pub fn parse_full(declared: &str) -> Result<Self, TemplateError> {
        Ok(Self::Full(parse_path(declared)?.into()))
    }

    /// `ReplacePrefixMatch`; an empty text and `/` take the prefix away.
    pub fn parse_prefix(declared: &str) -> Result<Self, TemplateError> {
        if declared.is_empty() {
            return Ok(Self::Prefix("".into()));
        }
        let path = parse_path(declared)?;
        Ok(Self::Prefix(path.strip_suffix('/').unwrap_or(&path).into()))
    }

    /// `ReplaceTemplate`; `known` are the parameters that every match of the rule declares.
    pub fn parse_template(declared: &str, known: &[&str]) -> Result<Self, TemplateError> {
        Ok(Self::Template(Template::parse(declared, known)?))
    }

    /// The path in place of `path`; `None` when the parts make up something that is not a normalised path.
    pub(super) fn apply(&self, path: &str, matched: &Matched<'_>) -> Option<String> {
        let made = match self {
            Self::Full(full) => return Some(full.to_string()),
            Self::Prefix(prefix) => match [prefix, path.get(matched.prefix..)?].concat() {
                empty if empty.is_empty() => "/".into(),
                made => made,
            },
            Self::Template(template) => template.render(&matched.params),
            Self::Captured(captured) => captured.apply(path),
        };
        // An encoded slash is in there only if the route lets it through.
        path::normalise(&made, true).ok().map(std::borrow::Cow::into_owned)
    }
}

impl Captured {
    /// A rewrite to `text`, in which `${1}` stands for the first group of `expression`, and `$$` for a dollar sign.
    ///
    /// # Errors
    /// An expression that does not compile.
    pub fn parse(expression: &str, text: &str) -> Result<Self, PathMatchError> {
        let expression =
            parse_expression(expression).map_err(|error| PathMatchError::RegularExpression(error.into()))?;
        Ok(Self { expression, text: text.into() })
    }

    fn apply(&self, path: &str) -> String {
        let Some(captures) = self.expression.captures(path) else { return path.to_owned() };
        let mut made = String::new();
        captures.expand(&self.text, &mut made);
        made
    }
}

impl fmt::Display for Rewrite {
    /// `host to orders.internal; path to /v2/orders/:id`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hostname =
            self.hostname.as_ref().map(|name| format!("host to {}", String::from_utf8_lossy(name.as_bytes())));
        let path = self.path.as_ref().map(ToString::to_string);
        f.write_str(&hostname.into_iter().chain(path).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for PathRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => write!(f, "path to {full}"),
            Self::Prefix(prefix) if prefix.is_empty() => f.write_str("path without its prefix"),
            Self::Prefix(prefix) => write!(f, "prefix to {prefix}"),
            Self::Template(template) => write!(f, "path to {}", template.as_str()),
            Self::Captured(Captured { expression, text }) => write!(f, "path from /{expression}/ to {text}"),
        }
    }
}

#[cfg(test)]
mod tests;
