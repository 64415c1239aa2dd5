//! Tokens that come back evenly: after a quiet time `burst` requests pass at once, and in the long run the quota.

use super::pace::{Pace, Turn};
use super::{Decision, Outcome, Quota};

/// Decides about a request of this cost at `now`, in nanoseconds; the state that follows.
pub(super) fn decide(quota: Quota, burst: u32, state: Turn, now: u64, cost: u32) -> (Turn, Decision) {
    let pace = Pace::of(quota);
    let now = pace.moment(now);
    let full = now.0 + pace.span(burst);
    let before = state.max(now).0;
    let after = before + pace.span(cost);
    let (state, outcome) = if after <= full {
        (after, Outcome::Allowed)
    } else {
        (before, Outcome::Refused { retry_after: pace.time(after - full) })
    };
    let remaining = pace.requests_in(full.saturating_sub(state));
    (Turn(state), Decision { outcome, remaining, reset_after: pace.time(state - now.0) })
}
