//! The condition on the path, parsed: what a rule asks of a request's path before anything else.

use std::fmt;

use regex::Regex;

use crate::path::{MAX_PARAMS, Param, PathMatchError, param_name, parse_expression, parse_path};

/// A condition on the normalised path.
#[derive(Clone, Debug)]
pub struct PathMatch {
    kind: Kind,
}

/// What is asked; texts are normalised.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The very same path.
    Exact(Box<str>),
    /// The path begins with these segments. The text has no trailing slash, so that of the root is empty.
    Prefix { text: Box<str>, steps: Box<[Step]> },
    /// The path consists of these segments, some of them parameters.
    Template { text: Box<str>, steps: Box<[Step]>, names: Box<[Box<str>]>, has_rest: bool },
    /// The expression is found in the path.
    RegularExpression(Regex),
    /// Any path that nothing else of the host takes.
    Fallback,
}

/// One step from the root of the trie; the greater of two is the more specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The end of a prefix, or a `*rest`.
    Span,
    /// The end of a template without `*rest`.
    End,
    /// One segment of any text but none.
    Param,
    /// One segment of this text. Texts that differ never compete for one path; the alphabet settles their order.
    Literal(std::cmp::Reverse<Box<str>>),
}

impl PathMatch {
    /// The very same path; a trailing slash makes a difference.
    pub fn parse_exact(declared: &str) -> Result<Self, PathMatchError> {
        Ok(Self { kind: Kind::Exact(parse_path(declared)?.into()) })
    }

    /// A prefix by whole segments; a trailing slash makes no difference.
    pub fn parse_prefix(declared: &str) -> Result<Self, PathMatchError> {
        let path = parse_path(declared)?;
        let text = path.strip_suffix('/').unwrap_or(&path);
        let steps = text.split('/').skip(1).map(Step::literal).chain([Step::Span]).collect();
        Ok(Self { kind: Kind::Prefix { text: text.into(), steps } })
    }

    /// A path some of whose segments are parameters: `:name` takes one segment that is not empty, `*name` the
    /// remainder after its slash, even an empty one. A template without parameters is an exact path.
    pub fn parse_template(declared: &str) -> Result<Self, PathMatchError> {
        let path = parse_path(declared)?;
        let mut names: Vec<Box<str>> = Vec::new();
        let mut steps = Vec::new();
        let mut rest = None;
        for segment in path.split('/').skip(1) {
            if let Some(rest) = rest {
                return Err(PathMatchError::RestNotLast(rest));
            }
            let Some(param) = param_name(segment)? else {
                steps.push(Step::literal(segment));
                continue;
            };
            let (Param::One(name) | Param::Rest(name)) = param;
            if names.iter().any(|known| &**known == name) {
                return Err(PathMatchError::DuplicateParam(name.into()));
            }
            names.push(name.into());
            match param {
                Param::One(_) => steps.push(Step::Param),
                Param::Rest(name) => rest = Some(name.into()),
            }
        }
        if names.is_empty() {
            return Ok(Self { kind: Kind::Exact(path.into()) });
        }
        if names.len() > MAX_PARAMS {
            return Err(PathMatchError::TooManyParams(names.len()));
        }
        let has_rest = rest.is_some();
        steps.push(if has_rest { Step::Span } else { Step::End });
        Ok(Self { kind: Kind::Template { text: path.into(), steps: steps.into(), names: names.into(), has_rest } })
    }

    /// A regular expression that is found somewhere in the path; write `^` and `$` to bind it to the ends.
    pub fn parse_regular_expression(declared: &str) -> Result<Self, PathMatchError> {
        let expression = parse_expression(declared).map_err(|error| PathMatchError::RegularExpression(error.into()))?;
        Ok(Self { kind: Kind::RegularExpression(expression) })
    }

    /// Any path, after everything else of the host, regular expressions included: where a default backend belongs.
    pub fn fallback() -> Self {
        Self { kind: Kind::Fallback }
    }

    /// The names of its parameters, in the order of the path.
    pub fn params(&self) -> &[Box<str>] {
        match &self.kind {
            Kind::Template { names, .. } => names,
            Kind::Exact(_) | Kind::Prefix { .. } | Kind::RegularExpression(_) | Kind::Fallback => &[],
        }
    }

    /// Whether it is a prefix, the only kind whose match covers a part of the path that a rewrite can replace.
    pub fn is_prefix(&self) -> bool {
        matches!(self.kind, Kind::Prefix { .. })
    }

    /// Whether it holds for a normalised path, looked at alone.
    pub fn accepts(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact(text) => path == &**text,
            Kind::Prefix { text, .. } => {
                path.strip_prefix(&**text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Kind::Template { steps, .. } => steps_accept(steps, path),
            Kind::RegularExpression(expression) => expression.is_match(path),
            Kind::Fallback => true,
        }
    }

    /// The path as a template, `/orders/:id` or `/api/*`, appended to `out`: a name for all requests that meet it.
    pub fn write_template(&self, out: &mut Vec<u8>) {
        let (text, rest) = match &self.kind {
            Kind::Exact(text) | Kind::Template { text, .. } => (&**text, ""),
            Kind::Prefix { text, .. } => (&**text, "/*"),
            Kind::RegularExpression(expression) => (expression.as_str(), ""),
            Kind::Fallback => ("", "/*"),
        };
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(rest.as_bytes());
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }
}

impl fmt::Display for PathMatch {
    /// `Template /orders/:id`, in the words of a declaration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Exact(text) => write!(f, "Exact {text}"),
            Kind::Prefix { text, .. } if text.is_empty() => f.write_str("PathPrefix /"),
            Kind::Prefix { text, .. } => write!(f, "PathPrefix {text}"),
            Kind::Template { text, .. } => write!(f, "Template {text}"),
            Kind::RegularExpression(expression) => write!(f, "RegularExpression {expression}"),
            Kind::Fallback => f.write_str("any other path"),
        }
    }
}

impl Step {
    fn literal(text: &str) -> Self {
        Self::Literal(std::cmp::Reverse(text.into()))
    }
}

/// Whether the segments of a path are those of a template.
fn steps_accept(steps: &[Step], path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    for step in steps {
        match (step, segments.next()) {
            (Step::Span, Some(_)) | (Step::End, None) => return true,
            (Step::Param, Some(segment)) if !segment.is_empty() => {}
            (Step::Literal(text), Some(segment)) if &*text.0 == segment => {}
            (Step::Span | Step::End | Step::Param | Step::Literal(_), _) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
