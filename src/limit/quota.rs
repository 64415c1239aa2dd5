//! How many requests may pass.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many requests in each period, by some way of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// How they are counted.
    pub algorithm: Algorithm,
    /// How many.
    pub requests: NonZeroU32,
    /// In which time; at least a nanosecond.
    pub period: Duration,
}

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Tokens that come back evenly, of which some can be saved.
    TokenBucket {
        /// How many can be saved: so many requests pass at once after a quiet time.
        burst: NonZeroU32,
    },
    /// An even pace.
    LeakyBucket {
        /// How many requests may be ahead of their pace.
        burst: NonZeroU32,
        /// How long a request that is ahead may wait for its turn; zero lets it pass at once.
        max_delay: Duration,
    },
    /// A bound on every span of `period`.
    SlidingWindow(Precision),
    /// A bound on how many are under way at once, whatever the period is. Only a process knows what it has under way, so this
    /// is never asked of a [`SharedStore`](super::SharedStore).
    Concurrency,
}

/// How exactly a sliding window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// By a log of requests.
    Exact,
    /// By a counter of this period and one of the period before, taken as even.
    Approximate,
}

impl Quota {
    /// This replica's part of the quota when so many replicas have an equal part of the traffic; never nothing.
    pub fn shared_among(self, replicas: NonZeroU32) -> Self {
        let part = |whole: NonZeroU32| NonZeroU32::new(whole.get().div_ceil(replicas.get())).unwrap_or(NonZeroU32::MIN);
        let algorithm = match self.algorithm {
            Algorithm::TokenBucket { burst } => Algorithm::TokenBucket { burst: part(burst) },
            Algorithm::LeakyBucket { burst, max_delay } => Algorithm::LeakyBucket { burst: part(burst), max_delay },
            Algorithm::SlidingWindow(precision) => Algorithm::SlidingWindow(precision),
            Algorithm::Concurrency => Algorithm::Concurrency,
        };
        Self { algorithm, requests: part(self.requests), period: self.period }
    }

    /// What one request may cost at most: one that costs more would never pass.
    pub fn capacity(self) -> u32 {
        match self.algorithm {
            Algorithm::TokenBucket { burst } => burst.get(),
            Algorithm::LeakyBucket { burst, max_delay: _ } => burst.get().saturating_add(1),
            Algorithm::SlidingWindow(_) | Algorithm::Concurrency => self.requests.get(),
        }
    }
}

impl fmt::Display for Quota {
    /// `100 in 60s by TokenBucket, burst 20`, `5 at once`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, requests, period } = self;
        let rate = format!("{requests} in {period:?} by");
        match algorithm {
            Algorithm::TokenBucket { burst } => write!(f, "{rate} TokenBucket, burst {burst}"),
            Algorithm::LeakyBucket { burst, max_delay } if max_delay.is_zero() => {
                write!(f, "{rate} LeakyBucket, burst {burst}")
            }
            Algorithm::LeakyBucket { burst, max_delay } => {
                write!(f, "{rate} LeakyBucket, burst {burst}, waiting at most {max_delay:?}")
            }
            Algorithm::SlidingWindow(Precision::Exact) => write!(f, "{rate} SlidingWindow"),
            Algorithm::SlidingWindow(Precision::Approximate) => write!(f, "{rate} SlidingWindow, approximate"),
            Algorithm::Concurrency => write!(f, "{requests} at once"),
        }
    }
}
