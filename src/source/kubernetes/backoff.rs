//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// After this long without a failure the next one counts as a first.
const FORGET: Duration = Duration::from_secs(120);

/// A wait that doubles with every failure, up to a limit, less a random part of up to a half: replicas that failed
/// together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
    failed: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: 0, failed: None }
    }

    /// Takes note of a failure at `now` and says how long to wait.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        if self.failed.is_some_and(|failed| now.saturating_duration_since(failed) > FORGET) {
            self.failures = 0;
        }
        self.failed = Some(now);
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.last);
        self.failures += 1;
        let random = RandomState::new().hash_one(self.failures) % 1024;
        whole - whole.mul_f64(random as f64 / 2048.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_forgets() {
        let mut backoff = Backoff::new(Duration::from_millis(800), Duration::from_secs(8));
        let start = Instant::now();
        for whole in [800, 1600, 3200, 6400, 8000, 8000] {
            let wait = backoff.next(start);
            let whole = Duration::from_millis(whole);
            assert!(whole / 2 < wait && wait <= whole, "{wait:?} of {whole:?}");
        }
        let wait = backoff.next(start + FORGET + Duration::from_secs(1));
        assert!(wait <= Duration::from_millis(800), "{wait:?}");
    }
}
