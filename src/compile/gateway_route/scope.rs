//! What lowering a route reads and notes, and the values that the route refers to.

use k8s_openapi::ByteString;

use super::super::Settings;
use super::super::keyring::Keyring;
use super::super::lookup::Lookup;
use super::super::lowered::Lowered;
use super::super::reference::{self, Reference};
use super::super::report::Problem;
use crate::api::LocalObjectKind;
use crate::source::{Kind, Object, ObjectKey};

/// What lowering reads and notes.
pub(in super::super) struct Scope<'a, 's> {
    pub(in super::super) settings: &'a Settings,
    pub(in super::super) keyring: &'a mut Keyring,
    pub(in super::super) lookup: &'a mut Lookup<'s>,
    pub(in super::super) lowered: &'a mut Lowered,
}

/// A reference to an object that holds values.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ValuesRef<'r> {
    pub(in super::super) kind: LocalObjectKind,
    pub(in super::super) namespace: Option<&'r str>,
    pub(in super::super) name: &'r str,
}

/// A value that an object refers to.
pub(super) enum Value<'s> {
    Found(&'s [u8]),
    /// It is not there, and that is what is wrong.
    Missing(String),
}

impl<'s> Scope<'_, 's> {
    /// The object that a reference means, noted as one of which a value is wanted.
    pub(in super::super) fn values(
        &mut self,
        field: &str,
        reference: ValuesRef<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<ObjectKey> {
        let ValuesRef { kind, namespace, name } = reference;
        let kind = match kind {
            LocalObjectKind::ConfigMap => Kind::ConfigMap,
            LocalObjectKind::Secret => Kind::Secret,
        };
        let namespace_field = format!("{field}.namespace");
        let from = self.lowered.object.clone();
        match reference::resolve(self.lookup, Reference { from: &from, field: &namespace_field, kind, namespace, name })
        {
            Ok(object) => {
                self.lowered.values.insert(object.clone());
                Some(object)
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// One value of a Secret or ConfigMap.
    pub(super) fn value(&mut self, object: &ObjectKey, name: &str) -> Value<'s> {
        let entry = self.lookup.entry(object.clone());
        let found = match entry.and_then(|entry| entry.object.as_ref()) {
            Some(Object::Secret(secret)) => {
                let data = || secret.data.iter().flatten();
                pick(data().map(|(name, ByteString(bytes))| (name.as_str(), bytes.as_slice())), name)
            }
            Some(Object::ConfigMap(map)) => {
                let text = map.data.iter().flatten().map(|(name, text)| (name.as_str(), text.as_bytes()));
                let bytes = map.binary_data.iter().flatten();
                let bytes = bytes.map(|(name, ByteString(bytes))| (name.as_str(), bytes.as_slice()));
                pick(text.chain(bytes), name)
            }
            _ => {
                let what = if entry.is_some() { "cannot be read" } else { "does not exist" };
                return Value::Missing(format!("{object} {what}"));
            }
        };
        match found {
            Ok(bytes) => Value::Found(bytes),
            Err(names) if names.is_empty() => Value::Missing(format!("{object} is empty")),
            Err(names) => Value::Missing(format!("{object} has no {name}; it has {}", names.join(", "))),
        }
    }
}

/// The value of this name, or the names that there are.
fn pick<'s>(values: impl Iterator<Item = (&'s str, &'s [u8])>, name: &str) -> Result<&'s [u8], Vec<&'s str>> {
    let mut names = Vec::new();
    for (known, bytes) in values {
        if known == name {
            return Ok(bytes);
        }
        names.push(known);
    }
    Err(names)
}
