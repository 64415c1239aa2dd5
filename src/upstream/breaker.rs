//! Bounds on what is under way to a cluster, counted by all workers together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The most of each; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Limits {
    /// Connections to all endpoints together.
    pub connections: Option<u32>,
    /// Requests that wait for a connection.
    pub pending: Option<u32>,
    /// Requests under way.
    pub requests: Option<u32>,
    /// Repetitions under way.
    pub retries: Option<u32>,
}

/// What a bound is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bound {
    /// Connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests under way.
    Requests,
    /// Repetitions under way.
    Retries,
}

impl Bound {
    const ALL: [Self; 4] = [Self::Connections, Self::Pending, Self::Requests, Self::Retries];

    /// The field that declares it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "maxConnections",
            Self::Pending => "maxPendingRequests",
            Self::Requests => "maxParallelRequests",
            Self::Retries => "maxParallelRetries",
        }
    }
}

/// After this many milliseconds in which nothing was refused the circuit is closed again.
const QUIET: u64 = 1_000;

/// What is under way to a cluster.
///
/// It has two states. It opens with the first request that a bound turns away, and closes when none was for a second.
/// Open does not mean that nothing passes: what has room still does.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    taken: [AtomicU32; Bound::ALL.len()],
    open: AtomicBool,
    refused: AtomicU64,
    /// When something was refused last.
    refused_at: AtomicU64,
    /// Told when a connection is closed, or comes to rest while somebody waits.
    pub(super) freed: tokio::sync::Notify,
}

/// A place under a bound, given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    bound: Bound,
}

impl Breaker {
    /// A breaker with nothing under way.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            taken: Default::default(),
            open: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            refused_at: AtomicU64::new(0),
            freed: tokio::sync::Notify::new(),
        }
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>, bound: Bound) -> Option<Permit> {
        let limit = self.limits.of(bound).unwrap_or(u32::MAX);
        let taken = self.taken.get(bound as usize)?;
        let took =
            taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| (taken < limit).then_some(taken + 1));
        took.is_ok().then(|| Permit { breaker: self.clone(), bound })
    }

    /// How many places are taken.
    pub fn taken(&self, bound: Bound) -> u32 {
        self.taken.get(bound as usize).map_or(0, |taken| taken.load(Ordering::Relaxed))
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A request was turned away; whether the circuit has opened by it.
    pub fn refuse(&self, now: u64) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.refused_at.fetch_max(now, Ordering::Relaxed);
        !self.open.swap(true, Ordering::Relaxed)
    }

    /// Closes the circuit if nothing has been turned away for a while; whether it has been closed by that.
    pub fn settle(&self, now: u64) -> bool {
        self.is_open()
            && now.saturating_sub(self.refused_at.load(Ordering::Relaxed)) >= QUIET
            && self.open.swap(false, Ordering::Relaxed)
    }

    /// Whether requests are being turned away.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// How many requests were turned away.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Whether it is a place of this breaker.
    pub(super) fn is_of(&self, breaker: &Arc<Breaker>) -> bool {
        Arc::ptr_eq(&self.breaker, breaker)
    }

    /// Whether somebody waits for such a place.
    pub(super) fn is_wanted(&self) -> bool {
        self.breaker.taken(Bound::Pending) > 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(taken) = self.breaker.taken.get(self.bound as usize) {
            taken.fetch_sub(1, Ordering::AcqRel);
        }
        if self.bound == Bound::Connections {
            self.breaker.freed.notify_one();
        }
    }
}

impl Limits {
    /// The bound of this kind.
    pub fn of(&self, bound: Bound) -> Option<u32> {
        match bound {
            Bound::Connections => self.connections,
            Bound::Pending => self.pending,
            Bound::Requests => self.requests,
            Bound::Retries => self.retries,
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Bound::ALL.into_iter().filter_map(|bound| Some((bound, self.of(bound)?)));
        for (number, (bound, limit)) in set.enumerate() {
            write!(f, "{}{} {limit}", if number == 0 { "" } else { ", " }, bound.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_so_many_have_room() {
        let breaker = Arc::new(Breaker::new(Limits { requests: Some(3), ..Limits::default() }));
        let permits: Vec<_> = (0..5).filter_map(|_| breaker.take(Bound::Requests)).collect();
        assert_eq!((permits.len(), breaker.taken(Bound::Requests)), (3, 3));
        drop(permits);
        assert!(breaker.take(Bound::Requests).is_some());
        assert_eq!(breaker.taken(Bound::Requests), 0);
        // What has no bound is counted and never refused.
        let many: Vec<_> = (0..100).filter_map(|_| breaker.take(Bound::Retries)).collect();
        assert_eq!(many.len(), 100);
    }

    #[test]
    fn it_opens_once_and_closes_once_nothing_is_refused() {
        let breaker = Breaker::new(Limits::default());
        assert!(!breaker.settle(0));
        assert_eq!([breaker.refuse(10), breaker.refuse(900)], [true, false]);
        assert!(breaker.is_open());
        assert_eq!([1_800, 1_900, 2_000].map(|now| breaker.settle(now)), [false, true, false]);
        assert!(!breaker.is_open());
        assert!(breaker.refuse(3_000));
        assert_eq!(breaker.refused(), 3);
    }

    /// Many threads at once take no more than there is.
    #[test]
    fn workers_share_a_bound() {
        let breaker = Arc::new(Breaker::new(Limits { requests: Some(5), ..Limits::default() }));
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let permit = breaker.take(Bound::Requests);
                        if permit.is_some() {
                            most.fetch_max(breaker.taken(Bound::Requests), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!((1..=5).contains(&most.into_inner()));
        assert_eq!(breaker.taken(Bound::Requests), 0);
    }
}
