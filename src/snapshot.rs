//! The one crossing from the control side to the workers: a pointer to what is current.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

#[derive(Debug)]
struct Shared<T> {
    current: ArcSwap<T>,
    stamp: AtomicU64,
}

/// The side that may change what is current.
#[derive(Debug)]
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Publisher<T> {
    /// A publisher whose first value is current at once.
    pub fn new(first: Arc<T>) -> Self {
        Self { shared: Arc::new(Shared { current: ArcSwap::new(first), stamp: AtomicU64::new(0) }) }
    }

    /// Makes `value` current: every exchange that begins after this returns sees it.
    pub fn publish(&self, value: Arc<T>) {
        self.shared.current.store(value);
        self.touch();
    }

    /// Says that something within the current value has moved on its own, as the endpoints of a cluster do.
    pub fn touch(&self) {
        self.shared.stamp.fetch_add(1, Ordering::Release);
    }

    /// A read side, for a worker or the admin port.
    pub fn reader(&self) -> Reader<T> {
        Reader { shared: self.shared.clone() }
    }
}

/// The side that can only look.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Reader<T> {
    /// What is current now.
    pub fn load(&self) -> Arc<T> {
        self.shared.current.load_full()
    }
}

/// What was current when a worker took it. Counting its holders costs nothing to other cores.
#[derive(Debug)]
pub struct Held<T>(Arc<T>);

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A worker's own hold on what is current. Taking it costs one relaxed look at a stamp and a count that no other core
/// touches; the shared count moves once per worker and generation.
#[derive(Debug)]
pub struct LocalReader<T> {
    reader: Reader<T>,
    held: RefCell<(u64, Rc<Held<T>>)>,
}

impl<T> LocalReader<T> {
    /// A hold on what `reader` reads.
    pub fn new(reader: Reader<T>) -> Self {
        let stamp = reader.shared.stamp.load(Ordering::Acquire);
        let held = RefCell::new((stamp, Rc::new(Held(reader.load()))));
        Self { reader, held }
    }

    /// What is current now, for as long as the caller wants it.
    pub fn load(&self) -> Rc<Held<T>> {
        let stamp = self.stamp();
        let mut held = self.held.borrow_mut();
        if held.0 != stamp {
            *held = (stamp, Rc::new(Held(self.reader.load())));
        }
        held.1.clone()
    }

    /// Another number after whatever was published or touched.
    pub fn stamp(&self) -> u64 {
        self.reader.shared.stamp.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_reader_sees_what_was_published_and_keeps_what_it_took() {
        let publisher = Publisher::new(Arc::new(1));
        let local = LocalReader::new(publisher.reader());
        let before = local.load();
        publisher.publish(Arc::new(2));
        assert_eq!((**before, **local.load()), (1, 2));
    }

    #[test]
    fn a_stamp_tells_what_was_published_and_what_was_touched() {
        let publisher = Publisher::new(Arc::new(1));
        let local = LocalReader::new(publisher.reader());
        let mut known = local.stamp();
        assert_eq!(local.stamp(), known);
        for change in [|it: &Publisher<i32>| it.touch(), |it: &Publisher<i32>| it.publish(Arc::new(2))] {
            change(&publisher);
            assert_ne!(std::mem::replace(&mut known, local.stamp()), known);
        }
        assert_eq!(**local.load(), 2);
    }
}
