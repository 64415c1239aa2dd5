//! Where in a document a field stands.
//!
//! The parser keeps the position of every node to itself and gives it away in one case: when reading fails, the error
//! carries the position of the node it failed at. So this reads the document with a visitor that follows the path and
//! fails on arrival.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The line and column of a field, both from 1: of its value when that is a scalar, else of its key. When the path does
/// not exist, of the deepest part of it that does.
pub(super) fn position(text: &str, field: &str) -> Option<(usize, usize)> {
    let find = |aim| {
        let seed = Locate { rest: field, aim };
        let error = seed.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        Some((error.location()?, error.to_string().contains(NO_SCALAR)))
    };
    let (value, no_scalar) = find(Aim::Value)?;
    let location = if no_scalar { find(Aim::Key).map_or(value, |(key, _)| key) } else { value };
    Some((location.line(), location.column()))
}

/// What an arrival at a list or mapping is told apart by. Nobody ever sees it.
const NO_SCALAR: &str = "\u{1}no scalar";

#[derive(Clone, Copy, PartialEq)]
enum Aim {
    Key,
    Value,
}

/// Follows `rest` down from where it stands.
#[derive(Clone, Copy)]
struct Locate<'a> {
    rest: &'a str,
    aim: Aim,
}

impl<'a> Locate<'a> {
    /// What is left of the path below `key`, if the path goes there. Keys may themselves hold dots.
    fn below(self, key: &str) -> Option<Self> {
        let bare = self.rest.strip_prefix('.').unwrap_or(self.rest);
        let rest = match bare.strip_prefix(key) {
            Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => rest,
            _ => bare.strip_prefix('[')?.strip_prefix(key)?.strip_prefix(']')?,
        };
        Some(Self { rest, ..self })
    }

    /// The index that the path goes on with, and what is left below it.
    fn index(self) -> Option<(usize, Self)> {
        let (index, rest) = self.rest.strip_prefix('[')?.split_once(']')?;
        Some((index.parse().ok()?, Self { rest, ..self }))
    }
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    // Scalars are met only where the path ends, or where it leads into nothing: the default of every other method, an
    // error, is an arrival too.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the field looked for")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((index, below)) = self.index() else {
            return Err(A::Error::custom(NO_SCALAR));
        };
        for _ in 0..index {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Err(A::Error::custom("the list ends before it"));
            }
        }
        // An element has no key, so it is met by its own beginning.
        let below = if below.rest.is_empty() { Self { aim: Aim::Value, ..below } } else { below };
        items.next_element_seed(below)?;
        Err(A::Error::custom("the list ends before it"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if self.rest.is_empty() {
            return Err(A::Error::custom(NO_SCALAR));
        }
        while let Some(below) = entries.next_key_seed(Key(self))? {
            match below {
                Some(below) => entries.next_value_seed(below)?,
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Err(A::Error::custom("the mapping has no such key"))
    }
}

/// Reads a key and says where the path goes on from it.
struct Key<'a>(Locate<'a>);

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<Locate<'a>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<Locate<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        match self.0.below(key) {
            Some(below) if below.rest.is_empty() && below.aim == Aim::Key => Err(E::custom("found")),
            below => Ok(below),
        }
    }
}
