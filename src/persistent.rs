//! Maps that share with their other versions all that is the same in both.
//!
//! A clone costs a count, a change copies the path to what it changes, and what differs between two versions is found
//! without a look at what they share. So a table of many routes is changed, published and compared at the cost of the
//! change.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::hash::BuildXxh3;

/// How many bits of a hash choose among the children of a branch.
const BITS: u32 = 4;
/// The children of a branch.
const FAN: usize = 1 << BITS;
/// How many entries a leaf has before it becomes a branch.
const LEAF: usize = 8;

/// A map by hash: a tree in which every entry lies where the bits of its key's hash lead. Its order means nothing, and
/// is the same for the same entries.
pub struct Map<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// Exactly [`FAN`] of them.
    Branch(Box<[Arc<Self>]>),
}

/// What became of a key from one version of a map to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'m, K, V> {
    /// The key.
    pub key: &'m K,
    /// What it had before, if anything.
    pub before: Option<&'m V>,
    /// What it has now, if anything.
    pub now: Option<&'m V>,
}

// === impl Map ===

impl<K, V> Map<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.root.iter()
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether this is the same version: then nothing differs.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }
}

impl<K: Hash + Eq, V> Map<K, V> {
    /// What a key has.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.root.get(key, hash(key))
    }

    /// Whether a key has anything.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    /// Gives a key a value, and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash(&key);
        let before = Arc::make_mut(&mut self.root).insert(key, value, hash, 0);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a key out, and returns what it had.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        // Looked for first, so that nothing is copied for a key that is not there.
        let hash = hash(key);
        self.root.get(key, hash)?;
        let before = Arc::make_mut(&mut self.root).remove(key, hash);
        self.len -= usize::from(before.is_some());
        before
    }
}

impl<K: Hash + Eq, T> Map<K, Arc<T>> {
    /// What differs from another version: the keys whose values are not the very same.
    pub fn changes<'m>(&'m self, before: &'m Self) -> Vec<Change<'m, K, Arc<T>>> {
        let mut changes = Vec::new();
        changes_of(&before.root, &self.root, 0, &mut changes);
        changes
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

// Not derived: that would ask for keys and values that can be cloned.
impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<K: Hash + Eq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.len == other.len && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<K: Hash + Eq, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'m, K, V> IntoIterator for &'m Map<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'm>;

    fn into_iter(self) -> Self::IntoIter {
        self.root.iter()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

// === impl Node ===

impl<K, V> Node<K, V> {
    fn iter(&self) -> Box<dyn Iterator<Item = (&K, &V)> + '_> {
        match self {
            Self::Leaf(entries) => Box::new(entries.iter().map(|(key, value)| (key, value))),
            Self::Branch(children) => Box::new(children.iter().flat_map(|child| child.iter())),
        }
    }
}

impl<K: Eq, V> Node<K, V> {
    /// What a key has whose hash, without the bits that have led here, is this.
    fn get<Q: Eq + ?Sized>(&self, key: &Q, mut hash: u64) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => {
                    return entries.iter().find(|(known, _)| known.borrow() == key).map(|(_, value)| value);
                }
                Self::Branch(children) => {
                    node = children.get(child_of(hash))?;
                    hash >>= BITS;
                }
            }
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Node<K, V> {
    fn insert(&mut self, key: K, value: V, rest: u64, depth: u32) -> Option<V> {
        match self {
            Self::Leaf(entries) => {
                if let Some((_, known)) = entries.iter_mut().find(|(known, _)| *known == key) {
                    return Some(std::mem::replace(known, value));
                }
                entries.push((key, value));
                if entries.len() > LEAF && depth * BITS < u64::BITS {
                    *self = Self::split(std::mem::take(entries), depth);
                }
                None
            }
            Self::Branch(children) => {
                let child = children.get_mut(child_of(rest))?;
                Arc::make_mut(child).insert(key, value, rest >> BITS, depth + 1)
            }
        }
    }

    fn split(entries: Vec<(K, V)>, depth: u32) -> Self {
        let mut children: [Vec<(K, V)>; FAN] = Default::default();
        for (key, value) in entries {
            if let Some(child) = children.get_mut(child_of(hash(&key) >> (depth * BITS))) {
                child.push((key, value));
            }
        }
        Self::Branch(children.into_iter().map(|entries| Arc::new(Self::Leaf(entries))).collect())
    }

    fn remove(&mut self, key: &K, rest: u64) -> Option<V> {
        match self {
            Self::Leaf(entries) => {
                let place = entries.iter().position(|(known, _)| known == key)?;
                Some(entries.swap_remove(place).1)
            }
            Self::Branch(children) => {
                let removed = Arc::make_mut(children.get_mut(child_of(rest))?).remove(key, rest >> BITS);
                if let Some(entries) = few(children) {
                    *self = Self::Leaf(entries);
                }
                removed
            }
        }
    }
}

/// The entries of a branch that has no more than fit a leaf twice over, so that one key that comes and goes does not
/// make and unmake a branch each time.
fn few<K: Clone, V: Clone>(children: &[Arc<Node<K, V>>]) -> Option<Vec<(K, V)>> {
    let mut count = 0;
    for child in children {
        match &**child {
            Node::Leaf(entries) => count += entries.len(),
            Node::Branch(_) => return None,
        }
    }
    let entries = || children.iter().flat_map(|child| child.iter());
    (count <= LEAF / 2).then(|| entries().map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn changes_of<'m, K: Hash + Eq, T>(
    before: &'m Arc<Node<K, Arc<T>>>,
    now: &'m Arc<Node<K, Arc<T>>>,
    depth: u32,
    changes: &mut Vec<Change<'m, K, Arc<T>>>,
) {
    if Arc::ptr_eq(before, now) {
        return;
    }
    if let (Node::Branch(before), Node::Branch(now)) = (&**before, &**now) {
        for (before, now) in before.iter().zip(now) {
            changes_of(before, now, depth + 1, changes);
        }
        return;
    }
    let rest = |key: &K| hash(key).checked_shr(depth * BITS).unwrap_or(0);
    for (key, value) in now.iter() {
        let before = before.get(key, rest(key));
        if before.is_none_or(|before| !Arc::ptr_eq(before, value)) {
            changes.push(Change { key, before, now: Some(value) });
        }
    }
    for (key, value) in before.iter() {
        if now.get(key, rest(key)).is_none() {
            changes.push(Change { key, before: Some(value), now: None });
        }
    }
}

fn child_of(hash: u64) -> usize {
    (hash & (FAN as u64 - 1)) as usize
}

/// Without a seed, so that a map has the same order everywhere; how badly it can be filled is up to who declares.
fn hash<K: Hash + ?Sized>(key: &K) -> u64 {
    BuildXxh3.hash_one(key)
}

#[cfg(test)]
mod tests;
