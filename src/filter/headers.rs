//! Changes to headers.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::template::{Part, Parts, TemplateError, render};
use crate::path::{self, Params};

/// Changes to the headers of a request or of a response: first removals, then settings, then additions, so that what a
/// rule sets is there whatever it removes.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// Headers that have this value afterwards and no other.
    pub set: Box<[(HeaderName, HeaderTemplate)]>,
    /// Values that headers have afterwards besides their others.
    pub add: Box<[(HeaderName, HeaderTemplate)]>,
    /// Headers that are gone afterwards.
    pub remove: Box<[HeaderName]>,
}

/// The value of a header, with path parameters written `{name}`; `{{` and `}}` stand for braces.
#[derive(Clone, Debug)]
pub struct HeaderTemplate {
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Static(HeaderValue),
    Parts(Box<[Part]>),
}

/// Headers that frame a message, belong to one connection, or say who is asked; each has a place of its own where it is
/// set, and a second opinion there is how requests get smuggled.
const RESERVED: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl HeaderRules {
    /// The name of a header that a rule may set, add or remove.
    pub fn parse_name(declared: &str) -> Result<HeaderName, TemplateError> {
        let name =
            HeaderName::from_bytes(declared.as_bytes()).map_err(|_| TemplateError::HeaderName(declared.into()))?;
        if RESERVED.contains(&name) {
            return Err(TemplateError::ReservedHeader(name.as_str().into()));
        }
        Ok(name)
    }

    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap, params: &Params<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.render(params));
        }
        for (name, value) in &self.add {
            headers.append(name, value.render(params));
        }
    }
}

impl fmt::Display for HeaderRules {
    /// `remove X-Debug; set X-Env: prod; add X-Seen-By: gate`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, add, remove } = self;
        let removals = remove.iter().map(|name| format!("remove {}", Title(name)));
        let settings = set.iter().map(|(name, value)| format!("set {}: {value}", Title(name)));
        let additions = add.iter().map(|(name, value)| format!("add {}: {value}", Title(name)));
        f.write_str(&removals.chain(settings).chain(additions).collect::<Vec<_>>().join("; "))
    }
}

impl HeaderTemplate {
    /// A value in which every character stands for itself.
    pub fn literal(declared: &str) -> Result<Self, TemplateError> {
        Self::parse(&declared.replace('{', "{{").replace('}', "}}"), &[])
    }

    /// A value; `known` are the parameters that every match of the rule declares.
    pub fn parse(declared: &str, known: &[&str]) -> Result<Self, TemplateError> {
        HeaderValue::from_str(declared).map_err(|_| TemplateError::HeaderValue(declared.into()))?;
        let brace = || TemplateError::Brace(declared.into());
        let mut parts = Parts::default();
        let mut rest = declared;
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, from_brace) = rest.split_at(at);
            parts.literal(literal);
            rest = if let Some(after) = from_brace.strip_prefix("{{") {
                parts.literal("{");
                after
            } else if let Some(after) = from_brace.strip_prefix("}}") {
                parts.literal("}");
                after
            } else {
                let (name, after) =
                    from_brace.strip_prefix('{').and_then(|open| open.split_once('}')).ok_or_else(brace)?;
                if !path::is_param_name(name) {
                    return Err(brace());
                }
                parts.param(name, known)?;
                after
            };
        }
        parts.literal(rest);
        let parts = parts.finish();
        let value = match &*parts {
            [] => Value::Static(HeaderValue::from_static("")),
            [Part::Literal(text)] => {
                Value::Static(HeaderValue::from_str(text).map_err(|_| TemplateError::HeaderValue(declared.into()))?)
            }
            _ => Value::Parts(parts),
        };
        Ok(Self { value })
    }

    /// The value with the parameters in it.
    pub fn render(&self, params: &Params<'_>) -> HeaderValue {
        match &self.value {
            Value::Static(value) => value.clone(),
            Value::Parts(parts) => {
                let mut text = render(parts, params);
                // Values come from a normalised path and hold nothing of the kind; this keeps it so.
                text.retain(|character| character == '\t' || !character.is_control());
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
            }
        }
    }
}

impl fmt::Display for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Static(value) => f.write_str(&String::from_utf8_lossy(value.as_bytes())),
            Value::Parts(parts) => parts.iter().try_for_each(|part| match part {
                Part::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
                Part::Param(name) => write!(f, "{{{name}}}"),
            }),
        }
    }
}

/// A header's name as people write it.
pub(crate) struct Title<'a>(pub(crate) &'a HeaderName);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.as_str().split('-').enumerate() {
            if number > 0 {
                f.write_str("-")?;
            }
            let mut letters = word.chars();
            if let Some(first) = letters.next() {
                write!(f, "{}{}", first.to_ascii_uppercase(), letters.as_str())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
