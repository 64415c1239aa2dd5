//! What a request and a change are made of, each part on its own: `cargo bench --bench parts`.
//!
//! A part's time says where to look; what counts is what whole requests cost, which the bench `proxy` measures.

#![allow(clippy::unwrap_used, reason = "what a bench declares is sound")]

mod objects;

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate::limit::{Algorithm, Ask, Limit, LocalStore, Precision, Quota, SyncMode};
use headgate::slot::Slots;
use headgate::telemetry::{Exchange, Metrics, Reason};
use headgate::upstream::{Endpoint, Ring};
use http::{HeaderMap, Method, StatusCode};

use objects::Declared;

/// One route among many hosts: the number of hosts is not to matter.
fn finding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a route among hosts of 10 paths");
    for hosts in [1, 1_000, 10_000] {
        let declared = Declared::hosts(hosts, 10);
        let (method, headers) = (Method::GET, HeaderMap::new());
        let host = format!("h{}.example.com", hosts / 2);
        group.bench_function(BenchmarkId::from_parameter(hosts), |bencher| {
            bencher.iter(|| {
                let head = headgate::table::RequestHead {
                    method: &method,
                    path: black_box("/p7/some/thing"),
                    query: None,
                    headers: &headers,
                    secure: false,
                };
                declared.table().find(black_box(&host), &head).is_some()
            });
        });
    }
}

/// One changed route among many: the number of routes is not to matter.
fn compiling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for routes in [200, 20_000] {
        let mut declared = Declared::hosts(routes, 1);
        group.bench_function(BenchmarkId::new("one changed route among", routes), |bencher| {
            bencher.iter_batched(|| (), |()| declared.change_one(), BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("everything", routes), |bencher| {
            bencher.iter_with_large_drop(|| declared.compile_all());
        });
    }
}

/// Choosing an endpoint by a key, and what a change of endpoints costs.
fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consistent-hash ring");
    for count in [10u16, 1_000] {
        let mut slots = Slots::default();
        let endpoints: Vec<_> = (0..count)
            .map(|number| {
                let address = ([10, 0, (number >> 8) as u8, number as u8], 8080).into();
                Arc::new(Endpoint { slot: slots.allocate(), address, weight: 1 })
            })
            .collect();
        let ring = Ring::new(&endpoints);
        let mut hash = 0u64;
        group.bench_function(BenchmarkId::new("look-up among", count), |bencher| {
            bencher.iter(|| {
                hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
                ring.owner(black_box(hash))
            });
        });
        group.bench_function(BenchmarkId::new("build of", count), |bencher| {
            bencher.iter_with_large_drop(|| Ring::new(black_box(&endpoints)));
        });
    }
}

/// A decision about one of many keys.
fn limiting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("local limit, 100,000 keys");
    let many = NonZeroU32::new(1_000_000).unwrap();
    let algorithms = [
        ("token bucket", Algorithm::TokenBucket { burst: many }),
        ("leaky bucket", Algorithm::LeakyBucket { burst: many, max_delay: Duration::ZERO }),
        ("sliding window", Algorithm::SlidingWindow(Precision::Approximate)),
    ];
    for (name, algorithm) in algorithms {
        let quota = Quota { algorithm, requests: many, period: Duration::from_secs(1) };
        let limit = Limit::new("d/p".into(), "l".into(), quota, SyncMode::Strict, "");
        let store = LocalStore::new(64 << 20);
        let keys: Vec<String> =
            (0..100_000).map(|key| format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255)).collect();
        let mut next = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = next.next().map(String::as_bytes).unwrap_or_default();
                store.check(&Ask { limit: &limit, key, cost: NonZeroU32::MIN }, quota, Instant::now())
            });
        });
    }
}

/// What counting an exchange costs its worker.
fn counting(criterion: &mut Criterion) {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let mut slots = Slots::default();
    let routes: Vec<_> = (0..1_000).map(|_| slots.allocate()).collect();
    let mut next = routes.iter().cycle();
    criterion.bench_function("count an exchange, 1,000 routes", |bencher| {
        bencher.iter(|| {
            worker.began(false);
            worker.record(&Exchange {
                secure: false,
                route: next.next().copied(),
                backend: Some(0),
                method: &Method::GET,
                status: StatusCode::OK,
                reason: Reason::Ok,
                duration: black_box(Duration::from_millis(3)),
                upstream: Duration::from_millis(2),
                connecting: Duration::ZERO,
                queued: Duration::ZERO,
                sent: 128,
                received: 0,
            });
        });
    });
}

/// A rule's filters on a request's head.
fn filtering(criterion: &mut Criterion) {
    let declared = Declared::with_header_rules();
    let route = declared.route();
    let headers: HeaderMap = [("user-agent", "bench"), ("accept", "*/*"), ("x-drop-me", "1")]
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect();
    criterion.bench_function("set, add and remove three headers of a request", |bencher| {
        bencher.iter_batched_ref(|| headers.clone(), |headers| objects::filter(&route, headers), BatchSize::SmallInput);
    });
}

criterion_group!(parts, finding, compiling, ring, limiting, counting, filtering);
criterion_main!(parts);
