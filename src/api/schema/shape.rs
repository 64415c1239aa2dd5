//! A schema as far as objects are held against it. That of a CRD has a kilobyte for each of its fields, nearly all of it
//! for what it does not say.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

/// What a value is to be.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Any type will do where none is named.
    pub(super) kind: Option<Type>,
    /// A whole number or a text.
    pub(super) int_or_string: bool,
    pub(super) nullable: bool,
    /// An object may have fields that are not named.
    pub(super) open: bool,
    /// The only values that are allowed, if there are any.
    pub(super) allowed: Box<[Value]>,
    pub(super) default: Option<Box<Value>>,
    /// In the order of their names.
    properties: Box<[(Box<str>, Self)]>,
    pub(super) required: Box<[Box<str>]>,
    /// Of fields that are not named.
    additional: Option<Box<Self>>,
    pub(super) items: Option<Box<Self>>,
    pub(super) unique: Unique,
    pub(super) bounds: Option<Box<Bounds>>,
}

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What may be in a list once only.
#[derive(Debug)]
pub(super) enum Unique {
    Nothing,
    /// Each item.
    Items,
    /// What these fields of an item say together.
    Fields(Box<[Box<str>]>),
}

/// How large a value may be, and what a text must look like.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) max_items: Option<usize>,
    pub(super) min_items: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) min_length: Option<usize>,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) pattern: Option<(Box<str>, Regex)>,
}

impl Shape {
    /// The shape that a schema describes. A pattern that does not compile is left out; a test says that ours all do.
    pub(crate) fn of(schema: &JSONSchemaProps) -> Self {
        Self::with(schema, &mut BTreeMap::new())
    }

    /// Patterns are compiled once, however often they are asked for.
    fn with<'s>(schema: &'s JSONSchemaProps, patterns: &mut BTreeMap<&'s str, Option<Regex>>) -> Self {
        let mut additional = None;
        let mut open = schema.x_kubernetes_preserve_unknown_fields == Some(true);
        match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(schema)) => additional = Some(Box::new(Self::with(schema, patterns))),
            Some(JSONSchemaPropsOrBool::Bool(any)) => open |= any,
            None => {}
        }
        let items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(Box::new(Self::with(items, patterns))),
            Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
        };
        let properties = schema.properties.iter().flatten();
        let texts = |texts: &Option<Vec<String>>| texts.iter().flatten().map(|text| text.as_str().into()).collect();
        Self {
            kind: schema.type_.as_deref().and_then(Type::named),
            int_or_string: schema.x_kubernetes_int_or_string == Some(true),
            nullable: schema.nullable == Some(true),
            open,
            allowed: schema.enum_.iter().flatten().map(|value| value.0.clone()).collect(),
            default: schema.default.as_ref().map(|value| Box::new(value.0.clone())),
            properties: properties.map(|(name, field)| (name.as_str().into(), Self::with(field, patterns))).collect(),
            required: texts(&schema.required),
            additional,
            items,
            unique: match schema.x_kubernetes_list_type.as_deref() {
                Some("set") => Unique::Items,
                Some("map") => Unique::Fields(texts(&schema.x_kubernetes_list_map_keys)),
                _ => Unique::Nothing,
            },
            bounds: Bounds::of(schema, patterns).map(Box::new),
        }
    }

    /// The field of this name, if the schema names it.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        let at = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.properties.get(at).map(|(_, field)| field)
    }

    /// The field of this name, whether the schema names it or all others.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.property(name).or(self.additional.as_deref())
    }

    /// The names of fields, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.properties.iter().map(|(name, _)| &**name)
    }
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The type in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }
}

impl Bounds {
    fn of<'s>(schema: &'s JSONSchemaProps, patterns: &mut BTreeMap<&'s str, Option<Regex>>) -> Option<Self> {
        let count = |count: Option<i64>| count.and_then(|count| usize::try_from(count).ok());
        let pattern = schema.pattern.as_deref().and_then(|text| {
            let regex = patterns.entry(text).or_insert_with(|| Regex::new(text).ok());
            Some((text.into(), regex.clone()?))
        });
        let bounds = Self {
            max_items: count(schema.max_items),
            min_items: count(schema.min_items),
            max_length: count(schema.max_length),
            min_length: count(schema.min_length),
            minimum: schema.minimum,
            maximum: schema.maximum,
            pattern,
        };
        let Self { max_items, min_items, max_length, min_length, minimum, maximum, pattern } = &bounds;
        let counts = [max_items, min_items, max_length, min_length];
        let any = counts.iter().any(|count| count.is_some()) || minimum.or(*maximum).is_some() || pattern.is_some();
        any.then_some(bounds)
    }
}
