//! An even pace: each request has a turn, and the turns are evenly spaced. Up to `burst` requests may be ahead of their
//! turns; they wait for them, or pass at once when nothing is to wait.

use std::time::Duration;

use super::pace::{Pace, Turn};
use super::{Decision, Outcome, Quota};

/// Decides about a request of this cost at `now`, in nanoseconds; the state that follows.
pub(super) fn decide(
    quota: Quota,
    burst: u32,
    max_delay: Duration,
    state: Turn,
    now: u64,
    cost: u32,
) -> (Turn, Decision) {
    let pace = Pace::of(quota);
    let now = pace.moment(now);
    // One has its turn, and `burst` more are ahead of theirs.
    let full = now.0 + pace.span(burst.saturating_add(1));
    let turn = state.max(now).0;
    let after = turn + pace.span(cost);
    let wait = turn - now.0;
    let patience = if max_delay.is_zero() { u128::MAX } else { pace.parts(max_delay) };
    let (state, outcome) = if after <= full && wait <= patience {
        let waits = wait > 0 && !max_delay.is_zero();
        (after, if waits { Outcome::Delayed(pace.time(wait)) } else { Outcome::Allowed })
    } else {
        let too_early = after.saturating_sub(full).max(wait.saturating_sub(patience));
        (turn, Outcome::Refused { retry_after: pace.time(too_early) })
    };
    let places = pace.requests_in(full.saturating_sub(state));
    let turns = match patience.checked_sub(state - now.0) {
        Some(left) => pace.requests_in(left).saturating_add(1),
        None => 0,
    };
    let decision = Decision { outcome, remaining: places.min(turns), reset_after: pace.time(state - now.0) };
    (Turn(state), decision)
}
