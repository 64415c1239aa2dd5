//! How large a test under load is: what the suite has time for, or what is claimed.

use std::time::Duration;

/// Whether tests under load run in the size that is claimed, which takes minutes each: with `HEADGATE_TEST_FULL` set.
pub(crate) fn full() -> bool {
    std::env::var_os("HEADGATE_TEST_FULL").is_some()
}

/// The one in the suite, the other in full size.
pub(crate) fn of<T>(suite: T, claimed: T) -> T {
    if full() { claimed } else { suite }
}

/// A bound on how long something takes. In the suite, where other tests have the processor as well, it is three times as
/// long: still far from what it is that would take longer.
pub(crate) fn time(claimed: Duration) -> Duration {
    of(3, 1) * claimed
}
