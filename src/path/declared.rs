//! Paths as people declare them.

use super::normal::{self, PathError};
use super::params::MAX_PARAMS;

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
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| normal::push_encoded(&mut bytes, byte));
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
            _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| normal::push_encoded(&mut encoded, byte)),
        }
    }
    let refused = |reason| PathMatchError::Refused { path: declared.into(), reason };
    let encoded = String::from_utf8(encoded).map_err(|_| refused(PathError::BadEncoding))?;
    let normal = normal::normalise(&encoded, false).map_err(refused)?;
    // Repair leaves the number of slashes alone, except for the removal of dot segments.
    let has_dot_segment =
        encoded.split('/').any(|segment| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | ".."));
    if has_dot_segment {
        return Err(PathMatchError::DotSegment(declared.into()));
    }
    Ok(normal.into_owned())
}
