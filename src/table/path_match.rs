//! The condition on the path, parsed: what a rule asks of a request's path before anything else.

use std::fmt;

use regex::Regex;

use super::matcher::parse_expression;
use super::params::MAX_PARAMS;
use super::path::{self, PathError};

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

/// What is wrong with a declared path; [`Self::remedy`] says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathMatchError {
    /// It does not begin with a slash.
    #[error("`{0}` does not begin with `/`")]
    NotAbsolute(Box<str>),
    /// It has two slashes in a row.
    #[error("`{0}` has an empty segment (`//`)")]
    EmptySegment(Box<str>),
    /// It has `.` or `..` as a segment.
    #[error("`{0}` has a dot segment")]
    DotSegment(Box<str>),
    /// It has a query or a fragment.
    #[error("`{path}` has a `{mark}`")]
    NotOnlyPath {
        /// The declared path.
        path: Box<str>,
        /// `?` or `#`.
        mark: char,
    },
    /// It has a space or a control character.
    #[error("`{}` has the character {character:?}", path.escape_debug())]
    Character {
        /// The declared path.
        path: Box<str>,
        /// What must not stand bare in a path.
        character: char,
    },
    /// No request with such a path is let in.
    #[error("`{path}` cannot match: {reason}, and a request with such a path is refused")]
    Refused {
        /// The declared path.
        path: Box<str>,
        /// Why such requests are refused.
        reason: PathError,
    },
    /// A parameter has no name.
    #[error("the segment `{0}` is a parameter without a name")]
    NamelessParam(Box<str>),
    /// A parameter's name is not one.
    #[error("`{0}` is not a name for a parameter")]
    ParamName(Box<str>),
    /// Two parameters share a name.
    #[error("the parameter `{0}` is declared twice")]
    DuplicateParam(Box<str>),
    /// Segments follow a `*rest`.
    #[error("`*{0}` takes the rest of the path, but something follows it")]
    RestNotLast(Box<str>),
    /// There are more parameters than a match can hold.
    #[error("the template has {0} parameters")]
    TooManyParams(usize),
    /// The regular expression does not compile.
    #[error("the regular expression does not compile: {0}")]
    RegularExpression(Box<str>),
}

impl PathMatchError {
    /// What would be right.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotAbsolute(path) => format!("write `/{path}`"),
            Self::EmptySegment(_) => "write a single slash; requests have theirs merged before matching".into(),
            Self::DotSegment(_) => {
                "write the path without `.` and `..`; requests have theirs resolved before matching".into()
            }
            Self::NotOnlyPath { mark: '?', .. } => "write the path alone and put the query into queryParams".into(),
            Self::NotOnlyPath { mark, .. } => format!("write `%{:02X}` if the character is meant", u32::from(*mark)),
            Self::Character { character, .. } => {
                let mut bytes = Vec::new();
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| path::push_encoded(&mut bytes, byte));
                format!("write `{}`", String::from_utf8_lossy(&bytes))
            }
            Self::Refused { reason: PathError::BadEncoding, .. } => "write `%25` for a percent sign".into(),
            Self::Refused { reason: PathError::EncodedSlash, .. } => "write `/`, or leave the path out".into(),
            Self::Refused { .. } => "leave that part out of the path".into(),
            Self::NamelessParam(segment) if segment.starts_with('*') => "name it, for example `*rest`".into(),
            Self::NamelessParam(_) => "name it, for example `:id`".into(),
            Self::ParamName(_) => {
                "begin with a letter or `_` and go on with letters, digits and `_`; a parameter is a whole segment"
                    .into()
            }
            Self::DuplicateParam(_) => "give every parameter a name of its own".into(),
            Self::RestNotLast(name) => format!("end the path with `*{name}`, or take single segments with `:{name}`"),
            Self::TooManyParams(_) => format!("use at most {MAX_PARAMS}, or end with `*rest`"),
            Self::RegularExpression(_) => {
                "use the syntax of https://docs.rs/regex (no look-around, no back-references)".into()
            }
        }
    }
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

/// A segment that stands for a parameter.
#[derive(Clone, Copy)]
pub(crate) enum Param<'a> {
    /// `:name`.
    One(&'a str),
    /// `*name`.
    Rest(&'a str),
}

/// The parameter that a segment of a template stands for, if it is one.
pub(crate) fn param_name(segment: &str) -> Result<Option<Param<'_>>, PathMatchError> {
    let param = if let Some(name) = segment.strip_prefix(':') {
        Param::One(name)
    } else if let Some(name) = segment.strip_prefix('*') {
        Param::Rest(name)
    } else {
        return Ok(None);
    };
    let (Param::One(name) | Param::Rest(name)) = param;
    if name.is_empty() {
        return Err(PathMatchError::NamelessParam(segment.into()));
    }
    if !is_param_name(name) {
        return Err(PathMatchError::ParamName(name.into()));
    }
    Ok(Some(param))
}

/// `[A-Za-z_][A-Za-z0-9_]*`
pub(crate) fn is_param_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A declared path in the spelling that requests are brought into.
///
/// Unlike a request's, it must not need repair beyond percent-encoding: whoever declares `//` or `..` expects something
/// that will not happen.
pub(crate) fn parse_path(declared: &str) -> Result<String, PathMatchError> {
    if !declared.starts_with('/') {
        return Err(PathMatchError::NotAbsolute(declared.into()));
    }
    if declared.contains("//") {
        return Err(PathMatchError::EmptySegment(declared.into()));
    }
    let mut encoded = Vec::with_capacity(declared.len());
    for character in declared.chars() {
        match character {
            '?' | '#' => return Err(PathMatchError::NotOnlyPath { path: declared.into(), mark: character }),
            ' ' => return Err(PathMatchError::Character { path: declared.into(), character }),
            _ if character.is_control() => return Err(PathMatchError::Character { path: declared.into(), character }),
            _ if character.is_ascii() => encoded.push(character as u8),
            _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| path::push_encoded(&mut encoded, byte)),
        }
    }
    let refused = |reason| PathMatchError::Refused { path: declared.into(), reason };
    let encoded = String::from_utf8(encoded).map_err(|_| refused(PathError::BadEncoding))?;
    let normal = path::normalise(&encoded, false).map_err(refused)?;
    // Repair leaves the number of slashes alone, except for the removal of dot segments.
    let has_dot_segment =
        encoded.split('/').any(|segment| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | ".."));
    if has_dot_segment {
        return Err(PathMatchError::DotSegment(declared.into()));
    }
    Ok(normal.into_owned())
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
