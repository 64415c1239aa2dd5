//! What clients are told of their quotas: `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-11
//! has them. The older `X-RateLimit-…` are plain numbers.

use std::fmt::Write;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use crate::limit::Limit;

/// The quotas of a policy.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of them.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// How many requests may pass.
pub const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// How many are left.
pub const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// When all are there again, in seconds since 1970.
pub const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// `"per-user";q=100;w=60, "per-ip";q=10;w=1` of these limits; none when there is none.
pub fn policy(limits: &[&Limit]) -> Option<HeaderValue> {
    let mut text = String::new();
    for Limit { name, quota, .. } in limits {
        // Windows are whole seconds; a quota of another period is told as that of the next.
        let window = seconds(quota.period);
        let scaled =
            u128::from(quota.requests.get()) * u128::from(window) * 1_000_000_000 / quota.period.as_nanos().max(1);
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}\"{name}\";q={scaled};w={window}");
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// Appends `"per-user";r=99;t=60`, the item of one limit in `RateLimit`.
pub fn append_remaining(text: &mut BytesMut, name: &str, remaining: u32, reset_after: Duration) {
    // Piece by piece: formatting costs several times what the digits do, and this is done for every request.
    let (mut left, mut after) = (itoa::Buffer::new(), itoa::Buffer::new());
    let separator = if text.is_empty() { "\"" } else { ", \"" };
    for piece in [separator, name, "\";r=", left.format(remaining), ";t=", after.format(seconds(reset_after))] {
        text.extend_from_slice(piece.as_bytes());
    }
}

/// Whole seconds, rounded up: whoever waits so long does not come too early.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::{Algorithm, Quota, SyncMode};

    fn limit(name: &str, requests: u32, period: Duration) -> Limit {
        let requests = NonZeroU32::new(requests).unwrap();
        let quota = Quota { algorithm: Algorithm::TokenBucket { burst: requests }, requests, period };
        Limit::new("shop/limits".into(), name.into(), quota, SyncMode::Strict, "")
    }

    #[test]
    fn quotas_are_told_in_whole_seconds() {
        let told = |limits: &[Limit]| {
            let value = policy(&limits.iter().collect::<Vec<_>>());
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let (minute, half, odd) = (Duration::from_secs(60), Duration::from_millis(500), Duration::from_millis(1500));
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&[limit("per-user", 100, minute), limit("per-ip", 5, half), limit("odd", 3, odd)]).unwrap(),
            r#""per-user";q=100;w=60, "per-ip";q=10;w=1, "odd";q=4;w=2"#
        );
        let mut text = BytesMut::new();
        append_remaining(&mut text, "per-user", 99, Duration::from_millis(59_001));
        append_remaining(&mut text, "per-ip", 0, Duration::ZERO);
        assert_eq!(&text[..], br#""per-user";r=99;t=60, "per-ip";r=0;t=0"#);
    }
}
