//! The structural part: one descent through schema and value side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use super::{
    super::{pattern, suggestion},
    Cause, MAX_VIOLATIONS, Violation,
};

/// The compiled patterns of one schema, by their text.
pub(super) struct Patterns(BTreeMap<String, Regex>);

/// One descent: where it is and what it found.
pub(super) struct Walk<'a> {
    patterns: &'a Patterns,
    path: String,
    pub(super) violations: Vec<Violation>,
    /// Whether something was found without which CEL rules make no sense (`hasBlockingErr` of the API server).
    pub(super) blocks_rules: bool,
}

/// Items looked at in a list without `maxItems`. All of our lists have one.
const MAX_ITEMS: usize = 10_000;

/// Letters of a value quoted in a message.
const MAX_QUOTED: usize = 80;

// === impl Patterns ===

impl Patterns {
    /// A pattern that does not compile is left out; a test says that ours all do.
    pub(super) fn of(schema: &JSONSchemaProps) -> Self {
        let mut patterns = BTreeMap::new();
        let mut rest = vec![schema];
        while let Some(schema) = rest.pop() {
            if let Some(pattern) = &schema.pattern
                && !patterns.contains_key(pattern)
                && let Ok(regex) = Regex::new(pattern)
            {
                patterns.insert(pattern.clone(), regex);
            }
            rest.extend(schema.properties.iter().flat_map(|it| it.values()));
            rest.extend(items_of(schema));
            rest.extend(additional_of(schema));
        }
        Self(patterns)
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(super) fn new(patterns: &'a Patterns) -> Self {
        Self { patterns, path: String::new(), violations: Vec::new(), blocks_rules: false }
    }

    pub(super) fn run(mut self, schema: &JSONSchemaProps, value: &Value) -> Self {
        self.value(schema, value);
        self
    }

    fn value(&mut self, schema: &JSONSchemaProps, value: &Value) {
        if schema.x_kubernetes_int_or_string == Some(true) && (value.is_string() || value.is_i64()) {
            return;
        }
        match (schema.type_.as_deref(), value) {
            (Some("object"), Value::Object(fields)) => self.object(schema, fields),
            (Some("array"), Value::Array(items)) => self.array(schema, items),
            (Some("string"), Value::String(text)) => self.string(schema, text),
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.number(schema, value);
            }
            (Some("number"), Value::Number(_)) => self.number(schema, value),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(expected), found) => {
                self.blocks_rules = true;
                self.report(wrong_type(expected, found));
                return;
            }
        }
        if let Some(allowed) = &schema.enum_
            && !allowed.iter().any(|it| it.0 == *value)
        {
            self.report(not_allowed(value, allowed.iter().map(|it| &it.0)));
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, fields: &Map<String, Value>) {
        for (name, value) in fields {
            match schema.properties.as_ref().and_then(|it| it.get(name)).or_else(|| additional_of(schema)) {
                // As for the API server a null is no value, unless the field allows it.
                Some(field) if value.is_null() && field.nullable != Some(true) => {}
                Some(field) => self.at_field(name, |walk| walk.value(field, value)),
                None if is_open(schema) => {}
                None => {
                    let known = schema.properties.iter().flat_map(|it| it.keys()).map(String::as_str);
                    let message = unknown_field(name, known);
                    self.at_field(name, |walk| walk.push(Cause::UnknownField, message));
                }
            }
        }
        for name in schema.required.iter().flatten() {
            if fields.get(name).is_none_or(Value::is_null) {
                self.blocks_rules = true;
                let message = missing(schema.properties.as_ref().and_then(|it| it.get(name)));
                self.at_field(name, |walk| walk.report(message));
            }
        }
    }

    fn array(&mut self, schema: &JSONSchemaProps, items: &[Value]) {
        let most = schema.max_items.and_then(|it| usize::try_from(it).ok()).unwrap_or(MAX_ITEMS);
        if items.len() > most {
            self.blocks_rules = true;
            self.report(format!("has {} items, at most {most} are allowed", items.len()));
        }
        let least = schema.min_items.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        if items.len() < least {
            self.report(format!("has {} items, at least {least} needed", items.len()));
        }
        let Some(item_schema) = items_of(schema) else {
            return;
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().take(most).enumerate() {
            let identity = identity(schema, item_schema, item);
            self.at_index(index, |walk| {
                walk.value(item_schema, item);
                if let Some((identity, words)) = identity
                    && !seen.insert(identity)
                {
                    walk.report(format!("{words} occurs twice in the list"));
                }
            });
        }
    }

    fn string(&mut self, schema: &JSONSchemaProps, text: &str) {
        // Counting no further than matters keeps a huge text cheap.
        if let Some(most) = schema.max_length.and_then(|it| usize::try_from(it).ok())
            && text.chars().nth(most).is_some()
        {
            self.blocks_rules = true;
            self.report(format!("is longer than {most} characters"));
            return;
        }
        if let Some(least) = schema.min_length.and_then(|it| usize::try_from(it).ok())
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
        if let Some(expected) = &schema.pattern
            && self.patterns.0.get(expected).is_some_and(|it| !it.is_match(text))
        {
            let text = quoted(text);
            self.report(match pattern::meaning(expected) {
                Some(meaning) => format!("{text} is not {meaning}"),
                None => format!("{text} does not match {expected}"),
            });
        }
    }

    fn number(&mut self, schema: &JSONSchemaProps, value: &Value) {
        let Some(number) = value.as_f64() else { return };
        if let Some(least) = schema.minimum
            && number < least
        {
            self.report(format!("{value} is below the minimum of {least}"));
        }
        if let Some(most) = schema.maximum
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
pub(super) fn prune(schema: &JSONSchemaProps, value: &Value) -> Value {
    match value {
        Value::Object(fields) if !is_open(schema) => fields
            .iter()
            .filter_map(|(name, value)| {
                let field = schema.properties.as_ref().and_then(|it| it.get(name)).or_else(|| additional_of(schema))?;
                let dropped = value.is_null() && field.nullable != Some(true);
                (!dropped).then(|| (name.clone(), prune(field, value)))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => match items_of(schema) {
            Some(item_schema) => items.iter().map(|item| prune(item_schema, item)).collect(),
            None => value.clone(),
        },
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn items_of(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn additional_of(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(schema) => Some(schema),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

/// Whether an object may have fields that the schema does not name.
fn is_open(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
        || matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(true)))
}

/// What must be unique about an item of a set or map, for comparing and in words. Items of the wrong shape have none.
fn identity(list: &JSONSchemaProps, items: &JSONSchemaProps, item: &Value) -> Option<(String, String)> {
    match list.x_kubernetes_list_type.as_deref()? {
        "set" => Some((item.to_string(), shown(item))),
        "map" => {
            let fields = item.as_object()?;
            let mut identity = Vec::new();
            let mut words = Vec::new();
            for key in list.x_kubernetes_list_map_keys.iter().flatten() {
                let default = || items.properties.as_ref()?.get(key)?.default.as_ref().map(|it| &it.0);
                let value = fields.get(key).or_else(default)?;
                identity.push(value.to_string());
                words.push(format!("{key} {}", shown(value)));
            }
            Some((identity.join(","), words.join(", ")))
        }
        _ => None,
    }
}

/// A type of the schema in words.
fn words(expected: &str) -> &str {
    match expected {
        "object" => "an object",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

fn missing(schema: Option<&JSONSchemaProps>) -> String {
    let allowed = schema.and_then(|schema| schema.enum_.as_ref());
    match (allowed, schema.and_then(|schema| schema.type_.as_deref())) {
        (Some(allowed), _) => {
            format!("is required; add it, one of {}", texts(allowed.iter().map(|it| &it.0)).join(", "))
        }
        (None, Some(expected)) => format!("is required; add it, {}", words(expected)),
        (None, None) => "is required; add it".to_owned(),
    }
}

fn wrong_type(expected: &str, found: &Value) -> String {
    let expected_words = words(expected);
    let found_words = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    match (expected, found) {
        ("string", Value::Number(_) | Value::Bool(_)) => {
            format!("must be a string, is {found_words}: write it in quotes, \"{found}\"")
        }
        ("array", Value::String(_) | Value::Number(_) | Value::Object(_)) => {
            format!("must be a list, is {found_words}: write it as an item of a list")
        }
        ("integer", Value::Number(_)) => format!("must be a whole number, is {found}"),
        _ => format!("must be {expected_words}, is {found_words}"),
    }
}

/// Values as people write them.
fn texts<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<String> {
    values.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}

fn not_allowed<'a>(value: &Value, allowed: impl Iterator<Item = &'a Value>) -> String {
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
