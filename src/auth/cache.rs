//! What one worker remembers of whom it has let in, so that a signature or a password is not checked for every request.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::key_set::Fingerprint;
use super::provider::{Provider, Verified};
use crate::hash::AsIs;

/// Entries of one generation.
const ENTRIES: usize = 2048;
/// Bytes of the tokens of one generation.
const BYTES: usize = 2 << 20;
/// So much of a token's end is hashed: signatures stand there, and no two of them that have been found right are the same.
const TAIL: usize = 32;

/// Verified tokens.
///
/// Entries live in two generations: when the young one is full it becomes the old one, and what is asked for moves back.
/// So it is bounded, what is in use stays, and nothing is ever searched for the oldest.
#[derive(Debug)]
pub struct TokenCache {
    seed: u64,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    /// By a hash that nobody outside can foresee.
    entries: HashMap<u64, Entry, BuildHasherDefault<AsIs>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// The token itself: a hash finds it, and the bytes decide.
    token: Box<[u8]>,
    /// What verified it. Other keys or other rules are another identity, so nothing outlives a change of either.
    identity: (Fingerprint, Fingerprint),
    verified: Rc<Verified>,
}

impl TokenCache {
    /// An empty one; the seed is to be random.
    pub fn new(seed: u64) -> Self {
        Self { seed, young: Generation::default(), old: Generation::default() }
    }

    /// What was made of this token by the same provider with the same keys, if it still holds.
    pub fn get(&mut self, provider: &Provider, token: &[u8], now: u64) -> Option<Rc<Verified>> {
        let identity = provider.identity()?;
        let hash = self.hash(&identity, token);
        if let Some(entry) = self.young.entries.get(&hash) {
            return entry.verified_as(&identity, token, now);
        }
        let entry = self.old.take(hash)?;
        let verified = entry.verified_as(&identity, token, now)?;
        self.put(hash, entry);
        Some(verified)
    }

    /// Remembers what a provider has made of a token.
    pub fn insert(&mut self, provider: &Provider, token: &[u8], verified: Rc<Verified>) {
        let Some(identity) = provider.identity() else { return };
        let hash = self.hash(&identity, token);
        self.put(hash, Entry { token: token.into(), identity, verified });
    }

    fn put(&mut self, hash: u64, entry: Entry) {
        if self.young.entries.len() >= ENTRIES || self.young.bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.take(hash);
        self.young.bytes += entry.token.len();
        self.young.entries.insert(hash, entry);
    }

    fn hash(&self, identity: &(Fingerprint, Fingerprint), token: &[u8]) -> u64 {
        let (provider, _) = identity;
        let provider = provider.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        xxh3_64_with_seed(token.last_chunk::<TAIL>().map_or(token, |tail| tail), self.seed ^ provider)
    }
}

impl Generation {
    fn take(&mut self, hash: u64) -> Option<Entry> {
        let entry = self.entries.remove(&hash)?;
        self.bytes -= entry.token.len();
        Some(entry)
    }
}

impl Entry {
    fn verified_as(&self, identity: &(Fingerprint, Fingerprint), token: &[u8], now: u64) -> Option<Rc<Verified>> {
        (*self.token == *token && self.identity == *identity && self.verified.holds(now)).then(|| self.verified.clone())
    }
}
