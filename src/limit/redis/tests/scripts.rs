//! The scripts against the arithmetic of one process.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;

use super::super::connection::driven;
use super::super::script::{Call, Verdict};
use super::{RealServer, connect, limit, number, runtime, unique};
use crate::limit::pace::Turn;
use crate::limit::sliding_window::{Counters, Log};
use crate::limit::{Algorithm, Ask, Decision, Outcome, Precision, Quota, SyncMode, leaky_bucket, token_bucket};

/// What a process keeps of a count, and its arithmetic.
enum Model {
    Bucket(Turn),
    Log(Log),
    Counters(Counters),
}

impl Model {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::TokenBucket { .. } | Algorithm::LeakyBucket { .. } => Self::Bucket(Turn::default()),
            Algorithm::SlidingWindow(Precision::Exact) => Self::Log(Log::default()),
            Algorithm::SlidingWindow(Precision::Approximate) => Self::Counters(Counters::default()),
            Algorithm::Concurrency => unreachable!("never asked of a shared store"),
        }
    }

    fn decide(&mut self, quota: Quota, nanoseconds: u64, cost: u32) -> Decision {
        match (self, quota.algorithm) {
            (Self::Bucket(turn), Algorithm::TokenBucket { burst }) => {
                let (next, decision) = token_bucket::decide(quota, burst.get(), *turn, nanoseconds, cost);
                *turn = next;
                decision
            }
            (Self::Bucket(turn), Algorithm::LeakyBucket { burst, max_delay }) => {
                let (next, decision) = leaky_bucket::decide(quota, burst.get(), max_delay, *turn, nanoseconds, cost);
                *turn = next;
                decision
            }
            (Self::Log(log), _) => {
                log.forget(quota.period, nanoseconds);
                log.decide(quota, nanoseconds, cost)
            }
            (Self::Counters(counters), _) => {
                let (next, decision) = counters.decide(quota, nanoseconds, cost);
                *counters = next;
                decision
            }
            (Self::Bucket(_), Algorithm::SlidingWindow(_) | Algorithm::Concurrency) => {
                unreachable!("made by its algorithm")
            }
        }
    }
}

/// The script reckons in microseconds and rounds up.
fn close(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= Duration::from_micros(1)
}

fn agree(script: &Decision, model: &Decision) -> bool {
    let outcomes = match (script.outcome, model.outcome) {
        (Outcome::Allowed, Outcome::Allowed) => true,
        (Outcome::Delayed(one), Outcome::Delayed(other)) => close(one, other),
        (Outcome::Refused { retry_after: one }, Outcome::Refused { retry_after: other }) => close(one, other),
        _ => false,
    };
    outcomes && script.remaining == model.remaining && close(script.reset_after, model.reset_after)
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    let burst = || (1..20u32).prop_map(number);
    prop_oneof![
        burst().prop_map(|burst| Algorithm::TokenBucket { burst }),
        (burst(), prop_oneof![Just(0u64), 1..7200u64])
            .prop_map(|(burst, seconds)| Algorithm::LeakyBucket { burst, max_delay: Duration::from_secs(seconds) }),
        Just(Algorithm::SlidingWindow(Precision::Exact)),
        Just(Algorithm::SlidingWindow(Precision::Approximate)),
    ]
}

/// Steps of time in microseconds and costs. Periods are hours, so that no count goes by itself in the short time that a
/// test takes.
fn steps() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let pause = prop_oneof![Just(0u64), 1..1_000u64, 1..60_000_000u64, 1..3_600_000_000u64, 1..20_000_000_000u64];
    prop::collection::vec((pause, 1..4u32), 1..50)
}

#[test]
fn scripts_decide_as_a_process_does() {
    let server = RealServer::start();
    let runtime = runtime();
    let (connection, driver) = runtime.block_on(connect(&server));
    let driver = Cell::new(Some(driver));
    let config = ProptestConfig { cases: 120, ..ProptestConfig::default() };
    proptest!(config, |(algorithm in algorithms(), requests in 1..40u32, hours in 1..4u64, steps in steps())| {
        let limit = limit(&unique("l"), algorithm, requests, Duration::from_secs(hours * 3600), SyncMode::Strict);
        let mut model = Model::of(algorithm);
        let mut now = 1_800_000_000_000_000u64;
        for (pause, cost) in steps {
            now += pause;
            // More than there can ever be room for is refused when it is declared.
            let cost = cost.min(limit.quota.capacity());
            let ask = Ask { limit: &limit, key: b"client", cost: number(cost) };
            let call = Call::decide("test", &[ask], 1, Some(now));
            let command = call.command("EVAL", call.script.text());
            let asked = connection.ask(&command);
            let mut driving = driver.take().unwrap();
            let answer = runtime.block_on(driven(&mut driving, asked)).unwrap();
            driver.set(Some(driving));
            let verdict = Verdict::read(answer, &[ask]).unwrap();
            let expected = model.decide(limit.quota, now * 1000, cost);
            prop_assert!(agree(&verdict.decisions[0], &expected), "{}: {:?} is not {:?}", limit.quota, verdict, expected);
            prop_assert_eq!(verdict.counted, u32::from(expected.passes()));
        }
    });
}
