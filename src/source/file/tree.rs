//! A document as a tree, within bounds.
//!
//! YAML's aliases let a small text stand for a huge tree. The parser only bounds how often aliases are followed, not
//! how much they repeat, so the bound is here: every node and byte is paid for while the tree grows, and growing stops
//! when the allowance is spent. Nothing is expanded before it is paid for.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep a document may nest. The deepest field of our own kinds lies at 12.
const MAX_DEPTH: usize = 64;

/// What a document may grow to: a byte of text costs 1 and a node [`NODE`]. A document of the largest size that repeats
/// nothing costs at most 5.2 million (all of it `[1,1,1,…`), so only repetition can go beyond.
const ALLOWANCE: usize = 8 * 1024 * 1024;

/// The price of a node beside its text.
const NODE: usize = 8;

pub(super) const TOO_MUCH_REPETITION: &str =
    "aliases repeat too much of this document; write the repeated parts out, or fewer of them";

/// Builds a [`Value`] from a document: refuses repeated keys, tags, too much depth and too much repetition, and
/// resolves merge keys (`<<`), as kubectl does.
#[derive(Clone)]
pub(super) struct Tree {
    depth: usize,
    left: Rc<Cell<usize>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { depth: 0, left: Rc::new(Cell::new(ALLOWANCE)) }
    }
}

impl Tree {
    fn pay<E: Error>(&self, text: &str) -> Result<(), E> {
        let price = NODE + text.len();
        let left = self.left.get().checked_sub(price).ok_or_else(|| E::custom(TOO_MUCH_REPETITION))?;
        self.left.set(left);
        Ok(())
    }

    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("this nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1, left: self.left.clone() })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, a boolean, null, a list or a mapping")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.pay("").map(|()| value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.pay("").map(|()| value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.pay("").map(|()| value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.pay("")?;
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("infinity and NaN are not supported"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.pay(value).map(|()| value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.pay("").map(|()| Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.pay("")?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.pay("")?;
        let mut map = Map::new();
        let mut merged = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.pay(&key)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is written twice in one mapping")));
            }
            let value = entries.next_value_seed(self.deeper()?)?;
            if key == "<<" {
                merged.push(value);
            } else {
                map.insert(key, value);
            }
        }
        for value in merged {
            merge(&mut map, value)?;
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("tags such as `!name` are not supported"))
    }
}

/// What a merge key brings in: a mapping or a list of them, where what is already there wins.
fn merge<E: Error>(map: &mut Map<String, Value>, value: Value) -> Result<(), E> {
    match value {
        Value::Object(more) => {
            for (key, value) in more {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(list) => list.into_iter().try_for_each(|value| merge(map, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(E::custom("the merge key `<<` takes a mapping or a list of mappings"))
        }
    }
}
