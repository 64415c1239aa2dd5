//! Objects that something refers to.

use std::sync::Arc;

use crate::persistent::{Change, Map};
use crate::source::ObjectKey;

/// A set of objects that something refers to. What has come and gone between two versions is found at the cost of just
/// that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References(Map<ObjectKey, Arc<()>>);

impl References {
    /// Puts an object in, if it is not there yet.
    pub fn insert(&mut self, key: &ObjectKey) {
        if !self.contains(key) {
            self.0.insert(key.clone(), Arc::new(()));
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// Whether an object is there.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        self.0.keys()
    }

    /// Whether this is the very same version.
    pub fn is(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }

    /// What has come since another version (`true`), and what has gone.
    pub(super) fn changes<'r>(&'r self, before: &'r Self) -> impl Iterator<Item = (&'r ObjectKey, bool)> {
        self.0.changes(&before.0).into_iter().map(|Change { key, now, .. }| (key, now.is_some()))
    }
}

impl FromIterator<ObjectKey> for References {
    fn from_iter<I: IntoIterator<Item = ObjectKey>>(keys: I) -> Self {
        let mut references = Self::default();
        keys.into_iter().for_each(|key| references.insert(&key));
        references
    }
}

impl<const N: usize> From<[ObjectKey; N]> for References {
    fn from(keys: [ObjectKey; N]) -> Self {
        keys.into_iter().collect()
    }
}
