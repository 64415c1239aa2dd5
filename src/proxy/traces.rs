//! An exchange's place in a trace, while it is under way.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::telemetry::TraceIds;
use crate::telemetry::trace::{Call, Sampler, Traced};

/// `00-`, 32 digits, `-`, 16 digits, `-01` (W3C Trace Context 3.2).
const LENGTH: usize = 55;

/// A place below the caller's, or in a trace of its own.
pub(super) fn begin(parent: Option<(TraceIds, bool)>, random: impl Fn() -> u64) -> Traced {
    let trace = match parent {
        Some((ids, _)) => ids.trace,
        None => (u128::from(random()) << 64 | u128::from(random()) | 1).to_be_bytes(),
    };
    Traced {
        ids: TraceIds { trace, span: span(&random) },
        parent: parent.map(|(ids, recorded)| (ids.span, recorded)),
        sampled: None,
        calls: Vec::new(),
    }
}

/// Whether it is recorded. The first answer holds.
pub(super) fn decide(traced: &mut Traced, sampler: Sampler, percent: Option<u8>) -> bool {
    let caller = traced.parent.map(|(_, recorded)| recorded);
    *traced.sampled.get_or_insert_with(|| sampler.decide(traced.ids.trace, caller, percent))
}

/// An endpoint is about to be asked, and told this: it goes on from the span of that, or from ours where nothing is
/// recorded.
pub(super) fn call(traced: &mut Traced, sampler: Sampler, random: impl Fn() -> u64) -> [u8; LENGTH] {
    let sampled = decide(traced, sampler, None);
    let below = if sampled { open(traced, random, Duration::ZERO).span } else { traced.ids.span };
    text(&traced.ids.trace, &below, sampled)
}

/// An endpoint was to be asked and there was no connection to be had, after so long.
pub(super) fn unreachable(
    traced: &mut Traced,
    sampler: Sampler,
    random: impl Fn() -> u64,
    endpoint: SocketAddr,
    waited: Duration,
) {
    if decide(traced, sampler, None) {
        open(traced, random, waited).endpoint = Some(endpoint);
    }
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

fn text(trace: &[u8; 16], span: &[u8; 8], sampled: bool) -> [u8; LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; LENGTH];
    let digits = |bytes: &mut dyn Iterator<Item = u8>, places: &mut [u8]| {
        for (byte, place) in bytes.zip(places.chunks_exact_mut(2)) {
            for (nibble, place) in [byte >> 4, byte & 0xf].into_iter().zip(place) {
                *place = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
    };
    let flags = u8::from(sampled);
    for (from, bytes) in [(0, &[0][..]), (3, &trace[..]), (36, &span[..]), (53, &[flags][..])] {
        digits(&mut bytes.iter().copied(), text.get_mut(from..from + 2 * bytes.len()).unwrap_or_default());
    }
    text
}
