//! The structural part: one descent through schema and value side by side.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Map, Value};

use super::{
    super::{pattern, suggestion},
    Cause, MAX_VIOLATIONS, Violation,
    shape::{Bounds, Shape, Type, Unique},
};

/// One descent: where it is and what it found.
#[derive(Default)]
pub(super) struct Walk {
    path: String,
    pub(super) violations: Vec<Violation>,
    /// Whether something was found without which CEL rules make no sense (`hasBlockingErr` of the API server).
    pub(super) blocks_rules: bool,
}

/// Items looked at in a list without `maxItems`. All of our lists have one.
const MAX_ITEMS: usize = 10_000;

/// Letters of a value quoted in a message.
const MAX_QUOTED: usize = 80;

// === impl Walk ===

impl Walk {
    /// What an object is told that is to have this shape.
    pub(super) fn through(shape: &Shape, value: &Value) -> Self {
        let mut walk = Self::default();
        walk.value(shape, value);
        walk
    }

    fn value(&mut self, shape: &Shape, value: &Value) {
        if shape.int_or_string && (value.is_string() || value.is_i64()) {
            return;
        }
        match (shape.kind, value) {
            (Some(Type::Object), Value::Object(fields)) => self.object(shape, fields),
            (Some(Type::Array), Value::Array(items)) => self.array(shape, items),
            (Some(Type::String), Value::String(text)) => self.string(shape, text),
            (Some(Type::Integer), Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.number(shape, value);
            }
            (Some(Type::Number), Value::Number(_)) => self.number(shape, value),
            (Some(Type::Boolean), Value::Bool(_)) | (None, _) => {}
            (Some(expected), found) => {
                self.blocks_rules = true;
                self.report(wrong_type(expected, shape.bounds.as_deref(), found));
                return;
            }
        }
        if !shape.allowed.is_empty() && !shape.allowed.contains(value) {
            self.report(not_allowed(value, &shape.allowed));
        }
    }

    fn object(&mut self, shape: &Shape, fields: &Map<String, Value>) {
        for (name, value) in fields {
            match shape.field(name) {
                // As for the API server a null is no value, unless the field allows it.
                Some(field) if value.is_null() && !field.nullable => {}
                Some(field) => self.at_field(name, |walk| walk.value(field, value)),
                None if shape.open => {}
                None => {
                    let message = unknown_field(name, shape.names());
                    self.at_field(name, |walk| walk.push(Cause::UnknownField, message));
                }
            }
        }
        for name in &shape.required {
            if fields.get(&**name).is_none_or(Value::is_null) {
                self.blocks_rules = true;
                let message = missing(shape.property(name));
                self.at_field(name, |walk| walk.report(message));
            }
        }
    }

    fn array(&mut self, shape: &Shape, items: &[Value]) {
        let bounds = shape.bounds.as_deref();
        let most = bounds.and_then(|bounds| bounds.max_items).unwrap_or(MAX_ITEMS);
        if items.len() > most {
            self.blocks_rules = true;
            self.report(format!("has {} items, at most {most} are allowed", items.len()));
        }
        let least = bounds.and_then(|bounds| bounds.min_items).unwrap_or(0);
        if items.len() < least {
            self.report(format!("has {} items, at least {least} needed", items.len()));
        }
        let Some(item_shape) = &shape.items else {
            return;
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().take(most).enumerate() {
            let identity = identity(&shape.unique, item_shape, item);
            self.at_index(index, |walk| {
                walk.value(item_shape, item);
                if let Some((identity, words)) = identity
                    && !seen.insert(identity)
                {
                    walk.report(format!("{words} occurs twice in the list"));
                }
            });
        }
    }

    fn string(&mut self, shape: &Shape, text: &str) {
        let Some(bounds) = &shape.bounds else { return };
        // Counting no further than matters keeps a huge text cheap.
        if let Some(most) = bounds.max_length
            && text.chars().nth(most).is_some()
        {
            self.blocks_rules = true;
            self.report(format!("is longer than {most} characters"));
            return;
        }
        if let Some(least) = bounds.min_length
            && least > 0
            && text.chars().nth(least - 1).is_none()
        {
            let message = if text.is_empty() {
                "must not be empty".to_owned()
            } else {
                format!("is shorter than {least} characters")
            };
            self.report(message);
            return;
        }
        if let Some((expected, regex)) = &bounds.pattern
            && !regex.is_match(text)
        {
            let text = quoted(text);
            self.report(match pattern::meaning(expected) {
                Some(meaning) => format!("{text} is not {meaning}"),
                None => format!("{text} does not match {expected}"),
            });
        }
    }

    fn number(&mut self, shape: &Shape, value: &Value) {
        let (Some(bounds), Some(number)) = (&shape.bounds, value.as_f64()) else { return };
        if let Some(least) = bounds.minimum
            && number < least
        {
            self.report(format!("{value} is below the minimum of {least}"));
        }
        if let Some(most) = bounds.maximum
            && number > most
        {
            self.report(format!("{value} is above the maximum of {most}"));
        }
    }

    fn at_field(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push('.');
        }
        self.path.extend(name.chars().take(MAX_QUOTED));
        check(self);
        self.path.truncate(parent);
    }

    fn at_index(&mut self, index: usize, check: impl FnOnce(&mut Self)) {
        let parent = self.path.len();
        // Writing to a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        check(self);
        self.path.truncate(parent);
    }

    fn report(&mut self, message: String) {
        self.push(Cause::Schema, message);
    }

    fn push(&mut self, cause: Cause, message: String) {
        match self.violations.len() {
            0..MAX_VIOLATIONS => self.violations.push(Violation { path: self.path.clone(), message, cause }),
            MAX_VIOLATIONS => self.violations.push(Violation {
                path: String::new(),
                message: format!("has more than {MAX_VIOLATIONS} problems; the others are not listed"),
                cause,
            }),
            _ => {}
        }
    }
}

/// A copy with only what the schema knows, without nulls it does not allow: what the API server would store.
pub(super) fn prune(shape: &Shape, value: &Value) -> Value {
    match value {
        Value::Object(fields) if !shape.open => fields
            .iter()
            .filter_map(|(name, value)| {
                let field = shape.field(name)?;
                let dropped = value.is_null() && !field.nullable;
                (!dropped).then(|| (name.clone(), prune(field, value)))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => match &shape.items {
            Some(item_shape) => items.iter().map(|item| prune(item_shape, item)).collect(),
            None => value.clone(),
        },
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What must be unique about an item of a set or map, for comparing and in words. Items of the wrong shape have none.
fn identity(unique: &Unique, items: &Shape, item: &Value) -> Option<(String, String)> {
    match unique {
        Unique::Nothing => None,
        Unique::Items => Some((item.to_string(), shown(item))),
        Unique::Fields(keys) => {
            let fields = item.as_object()?;
            let mut identity = Vec::new();
            let mut words = Vec::new();
            for key in keys {
                let default = || items.property(key)?.default.as_deref();
                let value = fields.get(&**key).or_else(default)?;
                identity.push(value.to_string());
                words.push(format!("{key} {}", shown(value)));
            }
            Some((identity.join(","), words.join(", ")))
        }
    }
}

fn missing(shape: Option<&Shape>) -> String {
    let allowed = shape.map(|shape| &shape.allowed).filter(|allowed| !allowed.is_empty());
    match (allowed, shape.and_then(|shape| shape.kind)) {
        (Some(allowed), _) => format!("is required; add it, one of {}", texts(allowed).join(", ")),
        (None, Some(expected)) => format!("is required; add it, {}", expected.words()),
        (None, None) => "is required; add it".to_owned(),
    }
}

fn wrong_type(expected: Type, bounds: Option<&Bounds>, found: &Value) -> String {
    let expected_words = expected.words();
    let found_words = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    match (expected, found) {
        (Type::String, Value::Number(_) | Value::Bool(_)) => {
            format!("must be a string, is {found_words}: write it in quotes, \"{found}\"")
        }
        (Type::Array, Value::String(_) | Value::Number(_) | Value::Object(_)) => {
            format!("must be a list, is {found_words}: write it as an item of a list")
        }
        (Type::Integer, Value::Number(_)) => format!("must be a whole number, is {found}"),
        (Type::Boolean | Type::Integer | Type::Number, Value::String(text)) => {
            let meant = serde_json::from_str(text).is_ok_and(|meant: Value| match expected {
                Type::Boolean => meant.is_boolean(),
                Type::Integer => meant.is_u64() || meant.is_i64(),
                _ => meant.is_number(),
            });
            let limits = bounds.map(|bounds| (bounds.minimum, bounds.maximum));
            let remedy = match limits {
                _ if meant => format!(": write it without quotes, {text}"),
                Some((Some(least), Some(most))) => format!(": write one from {least} to {most}"),
                _ => String::new(),
            };
            format!("must be {expected_words}, is the string {}{remedy}", shown(found))
        }
        _ => format!("must be {expected_words}, is {found_words}"),
    }
}

/// Values as people write them.
fn texts(values: &[Value]) -> Vec<String> {
    values.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}

fn not_allowed(value: &Value, allowed: &[Value]) -> String {
    let allowed = texts(allowed);
    let meant = value.as_str().and_then(|it| suggestion::nearest(it, allowed.iter().map(String::as_str)));
    let list = allowed.join(", ");
    match meant {
        Some(meant) => format!("{} is not one of {list}; did you mean {meant}?", shown(value)),
        None => format!("{} is not one of {list}", shown(value)),
    }
}

fn unknown_field<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let name_shown = quoted(name);
    match suggestion::nearest(name, known.clone()) {
        Some(meant) => format!("unknown field {name_shown}; did you mean \"{meant}\"?"),
        None => format!("unknown field {name_shown}; known here: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string().chars().take(MAX_QUOTED).collect(), quoted)
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
