//! An exchange's place in a trace, while it is under way.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::telemetry::TraceIds;
use crate::telemetry::trace::{Call, Caller, Traced};

/// A place in the caller's trace, or in one of its own.
pub(super) fn place(caller: Caller, random: impl Fn() -> u64) -> TraceIds {
    let trace = match caller.ids {
        Some(ids) => ids.trace,
        None => (u128::from(random()) << 64 | u128::from(random()) | 1).to_be_bytes(),
    };
    TraceIds { trace, span: span(&random) }
}

/// An endpoint is about to be asked, and told this: it goes on from the span of that.
pub(super) fn call(traced: &mut Traced, random: impl Fn() -> u64) -> TraceIds {
    TraceIds { span: open(traced, random, Duration::ZERO).span, ..traced.ids }
}

/// An endpoint was to be asked and there was no connection to be had, after so long.
pub(super) fn unreachable(traced: &mut Traced, random: impl Fn() -> u64, endpoint: SocketAddr, waited: Duration) {
    open(traced, random, waited).endpoint = Some(endpoint);
}

/// A span for an endpoint, begun `waited` ago.
fn open(traced: &mut Traced, random: impl Fn() -> u64, waited: Duration) -> &mut Call {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(waited);
    traced.calls.push_mut(Call {
        span: span(&random),
        began: u64::try_from(now.as_micros()).unwrap_or(0),
        endpoint: None,
        waited,
        status: None,
    })
}

/// An id of a span; zeros stand for none.
fn span(random: &impl Fn() -> u64) -> [u8; 8] {
    random().max(1).to_be_bytes()
}
