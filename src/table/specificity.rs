//! The order in which the rules of one host are considered.
//!
//! 1. An exact path.
//! 2. Segment by segment from the left: a literal before a parameter, that before the end of a template, that before
//!    the end of a prefix or a `*rest`. So the longer of two prefixes comes first.
//! 3. A regular expression, then what takes any path.
//! 4. The longer expression beside the path; a rule that asks for a method; more headers; more query parameters.
//! 5. The older object; then the kind, the namespace and the name; then the rule's and the match's place in it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::matcher::Matcher;
use super::path_match::{Kind, PathMatch, Step};

/// Where a match stands among those that ask for the same: the lesser is the older, and comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precedence {
    /// When the object was created, in seconds since 1970.
    pub created: i64,
    /// The place of the object's kind among kinds, for objects of the same second.
    pub kind: u8,
    /// The object's namespace.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
    /// The number of the rule in the object.
    pub rule: u32,
    /// The number of the match in the rule.
    pub index: u32,
}

/// How specific a match is; the greatest of those that accept a request wins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity<'a> {
    path: PathRank<'a>,
    expression: usize,
    method: bool,
    headers: usize,
    queries: usize,
    age: Reverse<&'a Precedence>,
}

/// Specificity of the path alone, from the least to the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank<'a> {
    Fallback,
    RegularExpression,
    Steps(&'a [Step]),
    /// Paths that differ never compete for one request; the alphabet settles their order.
    Exact(Reverse<&'a str>),
}

impl<'a> Specificity<'a> {
    /// How specific a match with these conditions is.
    pub fn new(path: &'a PathMatch, matcher: &Matcher, precedence: &'a Precedence) -> Self {
        let path = match path.kind() {
            Kind::Exact(text) => PathRank::Exact(Reverse(text)),
            Kind::Prefix { steps, .. } | Kind::Template { steps, .. } => PathRank::Steps(steps),
            Kind::RegularExpression(_) => PathRank::RegularExpression,
            Kind::Fallback => PathRank::Fallback,
        };
        Self {
            path,
            expression: matcher.path.as_ref().map_or(0, |expression| expression.as_str().len()),
            method: matcher.method.is_some(),
            headers: matcher.headers.len(),
            queries: matcher.queries.len(),
            age: Reverse(precedence),
        }
    }

    /// The first point in which this one is ahead of a lesser one, in the words of a user.
    pub fn advantage_over(&self, lesser: &Self) -> &'static str {
        if self.path != lesser.path {
            match self.path {
                PathRank::Exact(_) => "an exact path comes first",
                PathRank::Steps(_) if matches!(lesser.path, PathRank::Steps(_)) => {
                    "its path is more specific at the first segment in which they differ"
                }
                PathRank::Steps(_) => "prefixes and templates come before regular expressions and default backends",
                PathRank::RegularExpression | PathRank::Fallback => "a default backend comes last",
            }
        } else if self.expression != lesser.expression {
            "it asks for a longer expression in the path"
        } else if self.method != lesser.method {
            "it asks for a method"
        } else if self.headers != lesser.headers {
            "it asks for more headers"
        } else if self.queries != lesser.queries {
            "it asks for more query parameters"
        } else {
            let (ours, theirs) = (self.age.0, lesser.age.0);
            if ours.created != theirs.created {
                "its object is older"
            } else if ours.kind != theirs.kind {
                "its object is as old, and its kind comes first"
            } else if (&ours.namespace, &ours.name) != (&theirs.namespace, &theirs.name) {
                "its object is as old, and its namespace and name come first"
            } else {
                "it is declared earlier in the same object"
            }
        }
    }
}

#[cfg(test)]
mod tests;
