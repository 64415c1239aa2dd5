//! What is counted of tokens and of the keys that they are checked with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tokens that one worker has looked at, by provider and result. The worker has the lock to itself but for the moment in
/// which somebody asks.
#[derive(Debug, Default)]
pub(super) struct TokenCells(Mutex<Counts>);

/// By provider, of which a worker meets few.
type Counts = Vec<(Arc<str>, BTreeMap<&'static str, u64>)>;

/// What became of fetching keys, by provider.
#[derive(Debug, Default)]
pub(super) struct KeyFetches {
    pub(super) providers: BTreeMap<Arc<str>, Fetches>,
}

/// What became of fetching the keys of one provider.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fetches {
    pub(super) good: u64,
    pub(super) bad: u64,
    /// Since 1970.
    pub(super) last_good: Option<Duration>,
}

impl TokenCells {
    /// Adds one; for the one writer only.
    pub(super) fn count(&self, provider: &Arc<str>, result: &'static str) {
        let mut providers = self.lock();
        let results = match providers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, provider) || known == provider) {
            Some((_, results)) => results,
            None => {
                providers.push((provider.clone(), BTreeMap::new()));
                let Some((_, results)) = providers.last_mut() else { return };
                results
            }
        };
        *results.entry(result).or_default() += 1;
    }

    /// Adds what was counted to a sum, for providers that are there.
    pub(super) fn add_to(&self, sum: &mut BTreeMap<(Arc<str>, &'static str), u64>, providers: &BTreeSet<Arc<str>>) {
        let mut counted = self.lock();
        counted.retain(|(provider, _)| providers.contains(provider));
        for (provider, results) in counted.iter() {
            for (result, count) in results {
                *sum.entry((provider.clone(), result)).or_default() += count;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyFetches {
    /// Counts a fetch.
    pub(super) fn count(&mut self, provider: &Arc<str>, good: bool, now: Duration) {
        let fetches = self.providers.entry(provider.clone()).or_default();
        if good {
            fetches.good += 1;
            fetches.last_good = Some(now);
        } else {
            fetches.bad += 1;
        }
    }
}
