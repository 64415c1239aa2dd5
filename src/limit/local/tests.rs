use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::thread;

use super::super::{Limit, SyncMode};
use super::*;

fn quota(algorithm: Algorithm, requests: u32) -> Quota {
    Quota { algorithm, requests: NonZeroU32::new(requests).unwrap(), period: Duration::from_secs(60) }
}

fn every_algorithm(requests: u32) -> [Quota; 4] {
    let burst = NonZeroU32::new(requests).unwrap();
    let less = NonZeroU32::new(requests - 1).unwrap();
    [
        quota(Algorithm::TokenBucket { burst }, requests),
        quota(Algorithm::LeakyBucket { burst: less, max_delay: Duration::ZERO }, requests),
        quota(Algorithm::SlidingWindow(Precision::Exact), requests),
        quota(Algorithm::SlidingWindow(Precision::Approximate), requests),
    ]
}

fn limit(name: &str, quota: Quota) -> Limit {
    Limit::new("shop/limits".into(), name.into(), quota, SyncMode::Strict, "")
}

fn ask<'a>(limit: &'a Limit, key: &'a [u8]) -> Ask<'a> {
    Ask { limit, key, cost: NonZeroU32::MIN }
}

#[test]
fn all_workers_share_one_count() {
    for quota in every_algorithm(1_000) {
        let store = LocalStore::new(DEFAULT_MEMORY);
        let limit = limit("l", quota);
        let now = Instant::now();
        let passed = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if store.check(&ask(&limit, b"k"), quota, now).passes() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1_000, "{quota}");
        assert_eq!(store.usage().forgotten, 0);
    }
}

#[test]
fn keys_limits_and_quotas_have_counts_of_their_own() {
    for quota in every_algorithm(2) {
        let store = LocalStore::new(DEFAULT_MEMORY);
        let (one, two) = (limit("one", quota), limit("two", quota));
        let now = Instant::now();
        let passes = |limit, key, quota| store.check(&ask(limit, key), quota, now).passes();
        assert!(passes(&one, b"a", quota) && passes(&one, b"a", quota) && !passes(&one, b"a", quota));
        assert!(passes(&one, b"b", quota));
        assert!(passes(&two, b"a", quota));
        let part = quota.shared_among(NonZeroU32::new(2).unwrap());
        assert!(passes(&one, b"a", part), "a part of a quota is counted on its own");
        store.give_back(&ask(&one, b"a"), quota, now);
        assert!(passes(&one, b"a", quota) && !passes(&one, b"a", quota), "{quota}");
    }
}

/// Ten million keys, each with one request: memory stays below its bound, and the busy client is still limited.
#[test]
fn ten_million_keys_stay_within_their_memory_and_do_not_free_who_is_limited() {
    const MEMORY: usize = 8 << 20;
    let store = LocalStore::new(MEMORY);
    let quota = quota(Algorithm::TokenBucket { burst: NonZeroU32::new(100).unwrap() }, 100);
    let limit = limit("l", quota);
    let now = Instant::now();
    let busy = ask(&limit, b"busy");
    let passed = (0..150).filter(|_| store.check(&busy, quota, now).passes()).count();
    assert_eq!(passed, 100);
    thread::scope(|scope| {
        for part in 0..2u64 {
            let (store, limit) = (&store, &limit);
            scope.spawn(move || {
                for number in 0..5_000_000u64 {
                    let key = (number * 2 + part).to_le_bytes();
                    assert!(store.check(&ask(limit, &key), quota, now).passes(), "nobody is refused wrongly");
                }
            });
        }
    });
    let usage = store.usage();
    assert!(usage.memory <= MEMORY as u64, "{usage:?}");
    assert!(usage.keys <= MEMORY as u64 / 32 && usage.keys > MEMORY as u64 / 128, "{usage:?}");
    assert!(usage.forgotten > 9_000_000, "what was forgotten is told: {usage:?}");
    // Who has used up the quota is the last to be forgotten.
    assert!(!store.check(&busy, quota, now).passes());
}

#[test]
fn logs_stay_within_their_memory() {
    const MEMORY: usize = 1 << 20;
    let store = LocalStore::new(MEMORY);
    let quota = quota(Algorithm::SlidingWindow(Precision::Exact), 1_000);
    let limit = limit("l", quota);
    let now = Instant::now();
    for round in 0..50 {
        for number in 0..10_000u64 {
            store.check(&ask(&limit, &number.to_le_bytes()), quota, now + Duration::from_millis(round));
        }
    }
    let usage = store.usage();
    assert!(usage.memory <= MEMORY as u64, "{usage:?}");
    assert!(usage.forgotten > 0);

    // One that wants more than there is forgets its oldest, and others still find a place.
    let store = LocalStore::new(64 << 10);
    let large = self::quota(Algorithm::SlidingWindow(Precision::Exact), 100_000);
    let limit = self::limit("large", large);
    for number in 0..50_000u64 {
        assert!(store.check(&ask(&limit, b"one"), large, now + Duration::from_micros(number)).passes());
    }
    assert!(store.usage().memory <= 64 << 10, "{:?}", store.usage());
    assert!(store.check(&ask(&limit, b"two"), large, now).passes());
}

/// A place whose count has run out is taken without loss.
#[test]
fn counts_that_have_run_out_make_room_for_others() {
    for quota in every_algorithm(10) {
        let store = LocalStore::new(512 << 10);
        let limit = limit("l", quota);
        let mut now = Instant::now();
        for round in 0..200u64 {
            for number in 0..200 {
                assert!(store.check(&ask(&limit, &(round * 200 + number).to_le_bytes()), quota, now).passes());
            }
            // The window that counts by halves forgets after two periods.
            now += 2 * quota.period;
        }
        let usage = store.usage();
        assert_eq!(usage.forgotten, 0, "{quota}");
        assert!(usage.keys < 16_384, "40,000 keys have been there, {usage:?}");
    }
}

#[test]
fn only_so_many_are_under_way_at_once_and_leave_their_place_to_others() {
    let store = Arc::new(LocalStore::new(DEFAULT_MEMORY));
    let quota = quota(Algorithm::Concurrency, 2);
    let (one, other) = (limit("l", quota), limit("m", quota));
    let now = Instant::now();
    let enter = |limit, key: &[u8]| store.enter(&ask(limit, key), quota, now);
    let (decision, first) = enter(&one, b"a");
    assert_eq!((decision.outcome, decision.remaining), (Outcome::Allowed, 1));
    let (decision, second) = enter(&one, b"a");
    assert_eq!((decision.outcome, decision.remaining), (Outcome::Allowed, 0));
    let (decision, third) = enter(&one, b"a");
    assert_eq!((decision.passes(), decision.remaining, third.is_some()), (false, 0, false));
    // Neither another client nor another limit is concerned.
    let others = [enter(&one, b"b"), enter(&other, b"a")];
    assert!(others.iter().all(|(decision, _)| decision.passes()));
    drop(first);
    let (decision, fourth) = enter(&one, b"a");
    assert!(decision.passes());
    drop((second, fourth, others));
    // Nobody is left, so the places of these keys are free for others.
    let later = now + Duration::from_secs(1);
    let shards = store.shards.iter().map(|shard| shard.lock().counts.live(store.nanoseconds(later)));
    assert_eq!(shards.sum::<usize>(), 0);
}
