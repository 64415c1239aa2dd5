//! The algorithms against models that are slow and plainly right.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota as GovernorQuota, RateLimiter};
use proptest::prelude::*;

use super::pace::{Pace, Turn};
use super::sliding_window::{Counters, Log};
use super::*;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Any state of any algorithm, so that laws of all of them are written once.
#[derive(Clone, Debug)]
enum State {
    Turn(Turn),
    Counters(Counters),
    Log(Log),
}

impl State {
    fn new(quota: Quota) -> Self {
        match quota.algorithm {
            Algorithm::TokenBucket { .. } | Algorithm::LeakyBucket { .. } => Self::Turn(Turn::default()),
            Algorithm::SlidingWindow(Precision::Exact) => Self::Log(Log::default()),
            Algorithm::SlidingWindow(Precision::Approximate) => Self::Counters(Counters::default()),
            Algorithm::Concurrency => unreachable!("it knows no time"),
        }
    }

    fn decide(&mut self, quota: Quota, now: u64, cost: u32) -> Decision {
        match (self, quota.algorithm) {
            (Self::Turn(turn), Algorithm::TokenBucket { burst }) => {
                let (next, decision) = token_bucket::decide(quota, burst.get(), *turn, now, cost);
                *turn = next;
                decision
            }
            (Self::Turn(turn), Algorithm::LeakyBucket { burst, max_delay }) => {
                let (next, decision) = leaky_bucket::decide(quota, burst.get(), max_delay, *turn, now, cost);
                *turn = next;
                decision
            }
            (Self::Counters(counters), _) => {
                let (next, decision) = counters.decide(quota, now, cost);
                *counters = next;
                decision
            }
            (Self::Log(log), _) => {
                log.forget(quota.period, now);
                log.decide(quota, now, cost)
            }
            (Self::Turn(_), Algorithm::SlidingWindow(_) | Algorithm::Concurrency) => unreachable!(),
        }
    }

    fn give_back(&mut self, quota: Quota, then: u64, cost: u32) {
        match self {
            Self::Turn(turn) => *turn = Pace::of(quota).give_back(*turn, cost),
            Self::Counters(counters) => *counters = counters.give_back(quota.period, then, cost),
            Self::Log(log) => log.give_back(then, cost),
        }
    }
}

/// Requests that have passed, and the plain meaning of each algorithm on them. Times are in parts of a nanosecond of
/// which one is `1 / requests`, so that nothing is rounded.
struct Model {
    quota: Quota,
    /// Of each request that has passed: when it came, when its turn was, and its cost.
    passed: Vec<(u64, u128, u32)>,
}

impl Model {
    fn decide(&mut self, now: u64, cost: u32) -> (bool, u128) {
        let Quota { algorithm, requests, period } = self.quota;
        let (requests, period) = (u128::from(requests.get()), period.as_nanos());
        let moment = |time: u64| u128::from(time) * requests;
        let (passes, turn) = match algorithm {
            Algorithm::TokenBucket { burst } => {
                // A level that fills evenly up to the brim and from which each request takes its cost.
                let brim = u128::from(burst.get()) * period;
                let mut level = brim;
                let mut last = 0;
                for (at, _, cost) in &self.passed {
                    level = brim.min(level + moment(at - last)) - u128::from(*cost) * period;
                    last = *at;
                }
                level = brim.min(level + moment(now - last));
                (level >= u128::from(cost) * period, moment(now))
            }
            Algorithm::LeakyBucket { burst, max_delay } => {
                // A request's turn comes when the one before it has been at its turn for as long as it costs.
                let free = self.passed.last().map_or(0, |(_, turn, cost)| turn + u128::from(*cost) * period);
                let turn = free.max(moment(now));
                let wait = turn - moment(now);
                let room = u128::from(burst.get() + 1) * period;
                let patient = max_delay.is_zero() || wait <= max_delay.as_nanos() * requests;
                (wait + u128::from(cost) * period <= room && patient, turn)
            }
            Algorithm::SlidingWindow(Precision::Exact) => {
                let within = self.passed.iter().filter(|(at, ..)| u128::from(now - at) < period);
                let used: u128 = within.map(|(.., cost)| u128::from(*cost)).sum();
                (used + u128::from(cost) <= requests, moment(now))
            }
            Algorithm::SlidingWindow(Precision::Approximate) => {
                let window = u128::from(now) / period;
                let of = |window: u128| -> u128 {
                    let within = self.passed.iter().filter(|(at, ..)| u128::from(*at) / period == window);
                    within.map(|(.., cost)| u128::from(*cost)).sum()
                };
                let before = if window == 0 { 0 } else { of(window - 1) };
                let left = period - u128::from(now) % period;
                (before * left + (of(window) + u128::from(cost)) * period <= requests * period, moment(now))
            }
            Algorithm::Concurrency => unreachable!("it knows no time"),
        };
        if passes {
            self.passed.push((now, turn, cost));
        }
        (passes, turn)
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let algorithm = prop_oneof![
        (1..12u32).prop_map(|burst| Algorithm::TokenBucket { burst: count(burst) }),
        (1..12u32, 0..3_000u64).prop_map(|(burst, delay)| Algorithm::LeakyBucket {
            burst: count(burst),
            max_delay: Duration::from_nanos(delay),
        }),
        Just(Algorithm::SlidingWindow(Precision::Exact)),
        Just(Algorithm::SlidingWindow(Precision::Approximate)),
    ];
    (algorithm, 1..12u32, 1..2_000u64).prop_map(|(algorithm, requests, period)| Quota {
        algorithm,
        requests: count(requests),
        period: Duration::from_nanos(period),
    })
}

/// Pauses and costs; pauses of nothing are common.
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let pause = prop_oneof![3 => Just(0u64), 3 => 0..200u64, 1 => 0..5_000u64];
    proptest::collection::vec((pause, 1..4u32), 1..80)
}

proptest! {
    #[test]
    fn every_algorithm_decides_as_its_model(quota in quotas(), requests in requests()) {
        let mut state = State::new(quota);
        let mut model = Model { quota, passed: Vec::new() };
        let mut now = 0;
        for (pause, cost) in requests {
            now += pause;
            let cost = cost.min(quota.capacity());
            let (passes, turn) = model.decide(now, cost);
            let decision = state.decide(quota, now, cost);
            prop_assert_eq!(decision.passes(), passes, "{} at {}", quota, now);
            if let Outcome::Delayed(delay) = decision.outcome {
                let wait = turn - u128::from(now) * u128::from(quota.requests.get());
                prop_assert_eq!(delay.as_nanos(), wait.div_ceil(u128::from(quota.requests.get())));
            }
        }
    }

    #[test]
    fn who_is_refused_passes_after_the_time_that_is_told_and_not_before(quota in quotas(), requests in requests()) {
        let mut state = State::new(quota);
        let mut now = 0;
        for (pause, cost) in requests {
            now += pause;
            let cost = cost.min(quota.capacity());
            if let Outcome::Refused { retry_after } = state.decide(quota, now, cost).outcome {
                let told = now + u64::try_from(retry_after.as_nanos()).unwrap();
                prop_assert!(told > now);
                prop_assert!(!state.clone().decide(quota, told - 1, cost).passes(), "{} at {} told {}", quota, now, told);
                prop_assert!(state.clone().decide(quota, told, cost).passes(), "{} at {} told {}", quota, now, told);
            }
        }
    }

    #[test]
    fn as_much_passes_as_is_told_to_remain_and_all_is_forgotten_when_it_is_told(quota in quotas(), requests in requests()) {
        let mut state = State::new(quota);
        let mut now = 0;
        for (pause, cost) in requests {
            now += pause;
            let decision = state.decide(quota, now, cost.min(quota.capacity()));
            let mut probe = state.clone();
            for _ in 0..decision.remaining {
                prop_assert!(probe.decide(quota, now, 1).passes());
            }
            prop_assert!(!probe.decide(quota, now, 1).passes());

            let reset = now + u64::try_from(decision.reset_after.as_nanos()).unwrap();
            let mut fresh = State::new(quota);
            prop_assert_eq!(state.clone().decide(quota, reset, 1), fresh.decide(quota, reset, 1), "{} at {}", quota, now);
        }
    }

    #[test]
    fn what_is_given_back_was_never_counted(quota in quotas(), requests in requests()) {
        let mut state = State::new(quota);
        let mut now = 0;
        for (pause, cost) in requests {
            now += pause;
            let cost = cost.min(quota.capacity());
            let mut other = state.clone();
            if other.decide(quota, now, cost).passes() {
                other.give_back(quota, now, cost);
            }
            prop_assert_eq!(state.clone().decide(quota, now, 1), other.decide(quota, now, 1));
            state.decide(quota, now, cost);
        }
    }

    /// The crate counts whole nanoseconds per request, so the periods are chosen to have them.
    #[test]
    fn a_token_bucket_decides_as_governor(
        burst in 1..20u32,
        requests in 1..20u32,
        interval in 1..1_000u64,
        traffic in requests(),
    ) {
        let quota = Quota {
            algorithm: Algorithm::TokenBucket { burst: count(burst) },
            requests: count(requests),
            period: Duration::from_nanos(interval * u64::from(requests)),
        };
        let clock = FakeRelativeClock::default();
        let theirs = GovernorQuota::with_period(Duration::from_nanos(interval)).unwrap().allow_burst(count(burst));
        let governor = RateLimiter::direct_with_clock(theirs, clock.clone());
        let mut state = State::new(quota);
        let mut now = 0;
        for (pause, cost) in traffic {
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let cost = cost.min(burst);
            let passes = governor.check_n(count(cost)).unwrap().is_ok();
            prop_assert_eq!(state.decide(quota, now, cost).passes(), passes, "{} at {}", quota, now);
        }
    }
}

/// Whatever comes, requests that a leaky bucket delays leave it at an even pace.
#[test]
fn a_leaky_bucket_lets_out_at_an_even_pace() {
    let quota = Quota {
        algorithm: Algorithm::LeakyBucket { burst: count(10), max_delay: Duration::from_millis(250) },
        requests: count(20),
        period: Duration::from_secs(1),
    };
    let mut state = State::new(quota);
    let mut left = Vec::new();
    let mut refused = 0;
    for millisecond in 0..1_000u64 {
        let now = millisecond * 1_000_000;
        match state.decide(quota, now, 1).outcome {
            Outcome::Allowed => left.push(now),
            Outcome::Delayed(delay) => {
                assert!(delay <= Duration::from_millis(250));
                left.push(now + u64::try_from(delay.as_nanos()).unwrap());
            }
            Outcome::Refused { .. } => refused += 1,
        }
    }
    assert!(left.windows(2).all(|pair| pair[1] - pair[0] == 50_000_000), "{left:?}");
    // One at once, five whose turn comes within 250 ms, and one for each 50 ms that follow.
    assert_eq!((left.len(), refused), (1 + 5 + 19, 975));
}

#[test]
fn rates_are_exact_however_large_or_odd_they_are() {
    for (requests, period) in [(1_000_000_000, 1), (700_000_001, 1), (7, 86_400), (1, 86_400), (3, 1)] {
        let quota = Quota {
            algorithm: Algorithm::TokenBucket { burst: count(1) },
            requests: count(requests),
            period: Duration::from_secs(period),
        };
        // After a thousand days of one request whenever it may, the next comes at the exact moment.
        let mut now = 1_000 * 86_400 * 1_000_000_000;
        let mut state = State::new(quota);
        for _ in 0..1_000 {
            assert!(state.decide(quota, now, 1).passes());
            let Outcome::Refused { retry_after } = state.decide(quota, now, 1).outcome else {
                // More than one request in a nanosecond: only then does a second one pass at once.
                assert!(u128::from(requests) > quota.period.as_nanos());
                break;
            };
            now += u64::try_from(retry_after.as_nanos()).unwrap();
        }
        let elapsed = now - 1_000 * 86_400 * 1_000_000_000;
        let exact = 1_000 * quota.period.as_nanos() / u128::from(requests);
        assert!(u128::from(elapsed) <= exact + 1_000, "{quota}: {elapsed} instead of {exact}");
    }
}

#[test]
fn a_limit_is_known_by_everything_that_its_counts_depend_on() {
    let quota = Quota {
        algorithm: Algorithm::TokenBucket { burst: count(5) },
        requests: count(5),
        period: Duration::from_secs(1),
    };
    let limit = |policy: &str, name: &str, quota, parts| {
        Limit::new(policy.into(), name.into(), quota, SyncMode::Strict, parts).fingerprint()
    };
    let one = limit("shop/limits", "per-user", quota, "ClientIP");
    assert_eq!(one, limit("shop/limits", "per-user", quota, "ClientIP"));
    let others = [
        limit("shop/other", "per-user", quota, "ClientIP"),
        limit("shop/limits", "other", quota, "ClientIP"),
        limit("shop/limits", "per-user", Quota { requests: count(6), ..quota }, "ClientIP"),
        limit("shop/limits", "per-user", Quota { period: Duration::from_secs(2), ..quota }, "ClientIP"),
        limit("shop/limits", "per-user", quota, "Host"),
    ];
    assert!(others.iter().all(|other| *other != one));
}

#[test]
fn the_parts_of_replicas_add_up_to_the_whole() {
    let quota = Quota {
        algorithm: Algorithm::TokenBucket { burst: count(20) },
        requests: count(100),
        period: Duration::from_secs(60),
    };
    let part = quota.shared_among(count(3));
    assert_eq!(part.requests, count(34));
    assert_eq!(part.algorithm, Algorithm::TokenBucket { burst: count(7) });
    assert_eq!(quota.shared_among(count(1)), quota);
    assert_eq!(quota.shared_among(count(1_000)).requests, count(1), "never nothing");
}
