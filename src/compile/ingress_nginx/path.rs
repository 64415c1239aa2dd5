//! What paths mean, and what becomes of them.
//!
//! ingress-nginx makes regular expressions of all paths of a host as soon as one of its Ingresses has `use-regex` or
//! `rewrite-target`; they are bound to the beginning of the path, not to its end, and do not tell upper case from lower.
//! Here a path is an expression where its own Ingress says so and where it has a character that means something in one.
//! The shapes in which nearly all of them come (`/api(/|$)(.*)`, `/api.*`) are prefixes, and are served as such: found as
//! fast, and by whole segments. Of any other the whole segments that it begins with are a prefix, below which the expression
//! is a condition. So each has its place among the prefixes of the host.

use regex::Regex;

use super::annotations::Annotations;
use crate::filter::{Captured, PathRewrite};
use crate::path::{PathMatchError, parse_expression};
use crate::table::PathMatch;

/// How the paths of an Ingress are read, and what becomes of them.
#[derive(Debug, Default)]
pub(in super::super) struct Paths {
    use_regex: bool,
    target: Option<Target>,
}

/// A path of an Ingress, read.
#[derive(Debug)]
pub(in super::super) struct Located {
    pub(in super::super) path: PathMatch,
    /// What the path must have beside that.
    pub(in super::super) expression: Option<Box<Regex>>,
    pub(in super::super) rewrite: Option<PathRewrite>,
}

/// Where requests are rewritten to.
#[derive(Debug)]
enum Target {
    /// The same path, whatever was asked for.
    Path(Box<str>),
    /// What has been captured of the path, put into a text: `${1}` for the first group.
    Text(Box<str>),
}

/// An expression that accepts whatever is below a prefix.
struct Below<'p> {
    prefix: &'p str,
    /// What of its groups makes up the rest of the path, in a target that puts nothing before it.
    rest: Option<&'static str>,
}

/// How such expressions end, and what captures the rest. Of several that fit, the first does.
const ENDS: [(&str, Option<&str>); 9] = [
    ("(/|$)(.*)", Some("/${2}")),
    ("(/|$)", None),
    // What the root is written as beside them, so that its rest is the second group too.
    ("/()(.*)", Some("/${2}")),
    ("/?(.*)", Some("/${1}")),
    ("(/.*)?", Some("${1}")),
    ("/(.*)", Some("/${1}")),
    ("/.*", None),
    ("(.*)", Some("${1}")),
    (".*", None),
];

/// Characters that mean something in an expression and nothing in a path. A dot is meant as itself by whoever writes
/// `/robots.txt`.
const SPECIAL: [char; 13] = ['\\', '(', ')', '[', ']', '{', '}', '*', '+', '?', '^', '$', '|'];

impl Paths {
    /// Reads how paths are meant.
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Self {
        let use_regex = annotations.flag("use-regex") == Some(true);
        Self { use_regex, target: target(annotations) }
    }

    /// What a path of this type matches, and what becomes of it; `None` when it is as if there were no annotations.
    pub(in super::super) fn locate(&self, text: &str, path_type: &str) -> Option<Result<Located, PathMatchError>> {
        if !self.use_regex && self.target.is_none() {
            return None;
        }
        let is_expression = text.contains(SPECIAL);
        let located = || {
            let (path, expression, below) = match (is_expression, path_type) {
                (false, "Exact") => (PathMatch::parse_exact(text)?, None, None),
                (false, _) => (PathMatch::parse_prefix(text)?, None, None),
                (true, _) => match below(text) {
                    Some(below) => (PathMatch::parse_prefix(below.prefix)?, None, Some(below)),
                    None => (PathMatch::parse_prefix(begin(text))?, Some(Box::new(expression(text)?)), None),
                },
            };
            Ok(Located { path, expression, rewrite: self.rewrite(text, below)? })
        };
        Some(located())
    }

    fn rewrite(&self, text: &str, below: Option<Below<'_>>) -> Result<Option<PathRewrite>, PathMatchError> {
        let target = match &self.target {
            None => return Ok(None),
            // Many who mean nothing by it have the root go to the root, and there nothing becomes of that either.
            Some(Target::Path(path)) if **path == *"/" && text == "/" => return Ok(None),
            Some(Target::Path(path)) => return Ok(Some(PathRewrite::Full(path.clone()))),
            Some(Target::Text(target)) => target,
        };
        if let Some(Below { prefix, rest: Some(rest) }) = below
            && **target == *rest
        {
            // The prefix is taken away, and of the root nothing is.
            return Ok((prefix != "/").then(|| PathRewrite::Prefix("".into())));
        }
        // Where nginx rewrites, the expression may begin anywhere.
        Ok(Some(PathRewrite::Captured(Captured::parse(&format!("(?i){text}"), target)?)))
    }
}

/// An expression as a location of nginx.
fn expression(text: &str) -> Result<Regex, PathMatchError> {
    parse_expression(&format!("(?i)^{text}")).map_err(|error| PathMatchError::RegularExpression(error.into()))
}

/// The whole segments that every path begins with in which the expression is found.
fn begin(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut marks = text.chars();
    while let Some(mark) = marks.next() {
        match mark {
            // The next one stands for itself.
            '\\' => drop(marks.next()),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            // What stands on the other side begins anew.
            '|' if depth == 0 => return "/",
            _ => {}
        }
    }
    let end = text.find(SPECIAL).unwrap_or(text.len());
    let (literal, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if rest.starts_with("(/|$)") {
        return literal;
    }
    // Such a mark says how often the character before it comes.
    let literal = if rest.starts_with(['?', '*', '{']) { literal.get(..end.saturating_sub(1)) } else { Some(literal) };
    let segments = literal.and_then(|literal| literal.rsplit_once('/')).map_or("", |(segments, _)| segments);
    if segments.is_empty() { "/" } else { segments }
}

/// The prefix that an expression stands for, if it accepts everything below one.
fn below(text: &str) -> Option<Below<'_>> {
    let text = text.strip_suffix('$').unwrap_or(text);
    let ends = ENDS.iter().filter_map(|(end, rest)| Some((text.strip_suffix(end)?, *rest)));
    let (prefix, rest) = ends.into_iter().find(|(prefix, _)| !prefix.contains(SPECIAL))?;
    match prefix {
        "" => Some(Below { prefix: "/", rest }),
        _ => prefix.starts_with('/').then_some(Below { prefix, rest }),
    }
}

fn target(annotations: &mut Annotations<'_>) -> Option<Target> {
    const NAME: &str = "rewrite-target";
    let declared = annotations.take(NAME)?;
    if declared.contains('$') {
        let text = captured(declared);
        if text.is_none() {
            let what = format!("\"{}\" is no path with groups of an expression in it", declared.escape_debug());
            annotations.unusable(NAME, what, "write it as in /new/$1, without a query");
        }
        return text.map(|text| Target::Text(text.into()));
    }
    match PathRewrite::parse_full(declared) {
        Ok(PathRewrite::Full(path)) => Some(Target::Path(path)),
        Ok(_) => None,
        Err(error) => {
            annotations.unusable(NAME, error.to_string(), error.remedy());
            None
        }
    }
}

/// A target with its groups in the way in which they are written here.
fn captured(declared: &str) -> Option<String> {
    let is_path = declared.starts_with(['/', '$']) && !declared.contains(['?', '#', ' ']);
    let mut texts = declared.split('$');
    let mut made = texts.next().filter(|_| is_path)?.to_owned();
    for text in texts {
        let (group, rest) = text.split_at_checked(1).filter(|(group, _)| matches!(group.as_bytes(), [b'1'..=b'9']))?;
        made.extend(["${", group, "}", rest]);
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_begin_with_whole_segments() {
        for (text, expected) in [
            ("/v[0-9]+/(.*)", "/"),
            ("/api/v[0-9]+/(.*)", "/api"),
            ("/api/v1/x(a|b)", "/api/v1"),
            ("/a(/|$)(.*)/edit", "/a"),
            ("/a/b/?c(.*)", "/a"),
            ("/a/b*/c", "/a"),
            ("/a/b{2}", "/a"),
            ("/x/a|/b", "/"),
            ("/x/(a|b)/c", "/x"),
            ("/x/y\\(a|/b", "/"),
            ("/file\\.txt$", "/"),
            ("/exact$", "/"),
        ] {
            assert_eq!(begin(text), expected, "{text}");
        }
    }

    #[test]
    fn usual_shapes_are_prefixes() {
        for (text, expected) in [
            ("/api(/|$)(.*)", Some("/api")),
            ("/api/?(.*)", Some("/api")),
            ("/api/(.*)$", Some("/api")),
            ("/api(/.*)?", Some("/api")),
            ("/api.*", Some("/api")),
            ("/robots.txt(.*)", Some("/robots.txt")),
            ("/()(.*)", Some("/")),
            ("/(.*)", Some("/")),
            ("/.*", Some("/")),
            ("/v[0-9]+(.*)", None),
            ("/(a|b)/(.*)", None),
            ("/api$", None),
        ] {
            assert_eq!(below(text).map(|below| below.prefix), expected, "{text}");
        }
    }
}
