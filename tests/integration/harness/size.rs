//! How large a test under load is: what the suite has time for, or what is claimed.

/// Whether tests under load run in the size that is claimed, which takes minutes each: with `HEADGATE_TEST_FULL` set.
pub(crate) fn full() -> bool {
    std::env::var_os("HEADGATE_TEST_FULL").is_some()
}

/// The one in the suite, the other in full size.
pub(crate) fn of<T>(suite: T, claimed: T) -> T {
    if full() { claimed } else { suite }
}
