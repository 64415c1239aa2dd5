//! When a request that got no good answer is sent once more.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

/// When a request is sent once more, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts after the first.
    pub attempts: u32,
    /// Statuses that make an answer a failed attempt.
    pub statuses: Vec<StatusCode>,
    /// gRPC statuses that do, by their numbers.
    pub grpc: Vec<GrpcStatus>,
    /// No connection to the endpoint.
    pub on_connect_failure: bool,
    /// HTTP/2: the endpoint says that it did not process the request.
    pub on_refused_stream: bool,
    /// The connection was lost before an answer.
    pub on_reset: bool,
    /// The methods whose requests are repeated after they may have reached an endpoint.
    pub methods: Vec<Method>,
    /// The pause before the first repetition; it doubles each time.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

/// A status of gRPC that can mean "try again".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum GrpcStatus {
    /// 1
    Cancelled = 1,
    /// 4
    DeadlineExceeded = 4,
    /// 8
    ResourceExhausted = 8,
    /// 13
    Internal = 13,
    /// 14
    Unavailable = 14,
}

impl Retry {
    /// Whether an answer is a failed attempt by its status.
    pub fn is_failed(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }

    /// Whether an answer is a failed attempt by the gRPC status that its head gives: a call that failed at once has no
    /// body, and its status comes in the head.
    pub fn is_failed_call(&self, headers: &HeaderMap) -> bool {
        if self.grpc.is_empty() {
            return false;
        }
        let number = headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u8>().ok());
        number.is_some_and(|number| self.grpc.iter().any(|status| *status as u8 == number))
    }

    /// Whether a request may go out again after it may have reached an endpoint. Calls of gRPC are all POST, so naming a
    /// status of gRPC allows them.
    pub fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.methods.contains(method) || (!self.grpc.is_empty() && is_grpc(headers))
    }

    /// The pause before a repetition, the first of which is number 0: half of it fixed, half by chance, so that requests
    /// that failed together do not come back together.
    pub fn pause(&self, number: u32, random: u64) -> Duration {
        let full = self.backoff.saturating_mul(2u32.saturating_pow(number)).min(self.max_backoff);
        let half = full / 2;
        let nanoseconds = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product is as even as the number itself.
        let chance = (u128::from(random) * u128::from(nanoseconds)) >> 64;
        half + Duration::from_nanos(u64::try_from(chance).unwrap_or(0))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl GrpcStatus {
    /// The word for it in a declaration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Retry {
    /// `repeat up to 2 times on connect-failure, 503; after 25ms to 250ms; GET, HEAD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attempts,
            statuses,
            grpc,
            on_connect_failure,
            on_refused_stream,
            on_reset,
            methods,
            backoff,
            max_backoff,
        } = self;
        let below =
            [(*on_connect_failure, "connect-failure"), (*on_refused_stream, "refused-stream"), (*on_reset, "reset")];
        let on: Vec<String> = below
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| word.to_owned())
            .chain(grpc.iter().map(|status| status.as_str().to_owned()))
            .chain(statuses.iter().map(|status| status.as_str().to_owned()))
            .collect();
        let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
        let times = if *attempts == 1 { "once".to_owned() } else { format!("up to {attempts} times") };
        write!(f, "repeat {times} on {}; after {backoff:?} to {max_backoff:?}; {}", on.join(", "), methods.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn retry() -> Retry {
        Retry {
            attempts: 2,
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            grpc: vec![GrpcStatus::Unavailable],
            on_connect_failure: true,
            on_refused_stream: true,
            on_reset: false,
            methods: vec![Method::GET],
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_half_chance() {
        let retry = retry();
        for (number, full) in [(0, 25), (1, 50), (2, 100), (3, 200), (4, 250), (40, 250), (u32::MAX, 250)] {
            let full = Duration::from_millis(full);
            assert_eq!(retry.pause(number, 0), full / 2);
            let most = retry.pause(number, u64::MAX);
            assert!(most <= full && most > full * 99 / 100, "{most:?} of {full:?}");
        }
    }

    #[test]
    fn calls_of_grpc_are_known_by_their_type_and_fail_by_their_status() {
        let retry = retry();
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
        };
        assert!(retry.may_repeat(&Method::GET, &HeaderMap::new()));
        assert!(!retry.may_repeat(&Method::POST, &with("content-type", "text/plain")));
        assert!(retry.may_repeat(&Method::POST, &with("content-type", "application/grpc+proto")));
        let failed = ["14", "13", "0", "x", ""].map(|status| retry.is_failed_call(&with("grpc-status", status)));
        assert_eq!(failed, [true, false, false, false, false]);
        assert_eq!(
            retry.to_string(),
            "repeat up to 2 times on connect-failure, refused-stream, unavailable, 503; after 25ms to 250ms; GET"
        );
    }
}
