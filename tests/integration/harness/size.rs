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

/// The middle one.
pub(crate) fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort();
    times[times.len() / 2]
}

/// How long something may take in trouble that takes so long without: in full size and on a machine of its own, where there
/// are enough slices, a tenth longer; in the suite, where other tests take the processor now and then, 50 ms longer.
pub(crate) fn hardly_longer(calm: Duration) -> Duration {
    of(calm + Duration::from_millis(50), calm.mul_f64(1.1))
}

/// A bound on how long something takes. In the suite, where other tests have the processor as well, it is three times as
/// long: still far from what it is that would take longer.
pub(crate) fn time(claimed: Duration) -> Duration {
    of(3, 1) * claimed
}
