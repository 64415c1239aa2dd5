//! How many client connections the process takes, so that descriptors are left to reach the backends with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most connections, however many descriptors there are: each costs memory as well.
const MOST: usize = 50_000;

/// How many client connections there may be in all workers together; clones share the count.
#[derive(Clone, Debug)]
pub struct Capacity {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// One connection's place; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<AtomicUsize>,
}

impl Capacity {
    /// Room for `most` connections.
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// Room for as many connections as half the process's file descriptors allow: the other half is for the backends.
    ///
    /// The soft limit is raised to the hard one first. It is low for the sake of programs that use `select`, which can
    /// take no descriptor above 1023, and that is no concern here.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        let descriptors = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
        Self::new(within(descriptors))
    }

    /// How many connections there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// A place for one more connection, unless all are taken.
    pub(super) fn take(&self) -> Option<Place> {
        // One too many is counted for a moment, and never held.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place { taken: self.taken.clone() };
        (before < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections so many descriptors allow; `None` is without limit.
fn within(descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(MOST, |descriptors| usize::try_from(descriptors / 2).unwrap_or(MOST));
    half.clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_descriptors_are_for_clients_and_no_more_than_fit_in_memory() {
        assert_eq!(within(Some(64)), 32);
        assert_eq!(within(Some(1 << 20)), MOST);
        assert_eq!(within(None), MOST);
        assert_eq!(within(Some(0)), 1);
    }

    #[test]
    fn a_place_can_be_taken_again_once_it_is_free() {
        let capacity = Capacity::new(2);
        let other_worker = capacity.clone();
        let first = capacity.take().unwrap();
        let _second = other_worker.take().unwrap();
        assert!(capacity.take().is_none());
        drop(first);
        assert!(capacity.take().is_some());
    }
}
