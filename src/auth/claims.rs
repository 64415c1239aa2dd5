//! What a verified token says.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The claims of a token whose signature, issuer, audience and times have been found right.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    all: Map<String, Value>,
    /// Its scopes, which are looked for again whenever the token comes.
    scopes: Box<[Box<str>]>,
}

impl Claims {
    /// Only for what has verified the token they come from.
    pub(super) fn verified(all: Map<String, Value>) -> Self {
        let scopes = ["scope", "scp"].iter().filter_map(|name| find(&all, name)).flat_map(words).collect();
        Self { all, scopes }
    }

    /// The claims of a token that a test takes for verified.
    #[cfg(test)]
    pub(crate) fn sample(claims: Value) -> Self {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        Self::verified(claims)
    }

    /// A claim by its name, in which a dot leads into an object: `tenant.id`. Issuers use names with dots in them as
    /// well (`https://example.com/tenant`), so a claim of the whole name comes first.
    pub fn value(&self, path: &str) -> Option<&Value> {
        find(&self.all, path)
    }

    /// Whether `scope` (RFC 8693 4.2: words in a string) or `scp` (the same, or a list) has this word.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|word| **word == *scope)
    }

    /// The same as text, for keys and headers: lists joined by commas. `None` for a claim that has no plain text, which
    /// is an object, a null, or a list with either in it or with a text that has a comma of its own.
    pub fn get(&self, path: &str) -> Option<Cow<'_, str>> {
        text(self.value(path)?)
    }
}

fn find<'c>(object: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = object.get(path.get(..dot)?)?.as_object()?;
        find(inner, path.get(dot + 1..)?)
    })
}

/// The words of a string, or the strings of a list.
fn words(value: &Value) -> Vec<Box<str>> {
    match value {
        Value::String(words) => words.split(' ').map(Into::into).collect(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).map(Into::into).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(true) => Some("true".into()),
        Value::Bool(false) => Some("false".into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(scalar).collect();
            Some(texts?.join(",").into())
        }
        Value::Object(_) | Value::Null => None,
    }
}

/// The text of what may stand in a list. A list within a list would read like the outer one, and so would a comma:
/// whoever may choose the name of a group must not be able to make two of it.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    if value.is_array() { None } else { text(value).filter(|text| !text.contains(',')) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_name_and_by_way_of_objects() {
        let claims = Claims::sample(json!({
            "sub": "ann",
            "tenant": {"id": 7, "name.full": "Acme", "deep": {"er": true}},
            "https://example.com/tenant": "t1",
            "tenant.region": "eu",
            "groups": ["a", "b"],
            "mixed": ["a", {"b": 1}],
            "nested": [["a"], "b"],
            "forged": ["a,admin"],
            "nothing": null,
            "none": [],
        }));
        for (path, expected) in [
            ("sub", Some("ann")),
            ("tenant.id", Some("7")),
            ("tenant.name.full", Some("Acme")),
            ("tenant.deep.er", Some("true")),
            ("https://example.com/tenant", Some("t1")),
            ("tenant.region", Some("eu")),
            ("groups", Some("a,b")),
            ("none", Some("")),
            ("tenant", None),
            ("mixed", None),
            ("nested", None),
            ("forged", None),
            ("nothing", None),
            ("sub.x", None),
            ("tenant.", None),
            (".id", None),
            ("", None),
        ] {
            assert_eq!(claims.get(path).as_deref(), expected, "{path}");
        }
    }
}
