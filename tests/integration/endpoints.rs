//! Endpoints that come, go and close connections, under load.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt;

use crate::harness::backend::{Backend, service, service_speaking};
use crate::harness::endpoint::{Endpoint, Speaks, full};
use crate::harness::fickle::Fickle;
use crate::harness::gateway::Gateway;
use crate::harness::http::get_host;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::size;

const ROUTE: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: app}\nspec: {rules: [{http: \
                     {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {name: http}}}}]}}]}\n";

/// A group of endpoints that stands alone from one moment to another.
struct Term {
    group: &'static [&'static str; 2],
    /// When the change that put it in was served.
    from: Instant,
    /// When the change that took it out was written.
    to: Instant,
}

#[test]
fn no_request_fails_while_the_endpoints_are_swapped() {
    const SWAPS: u32 = 20;
    const LOAD: Load = Load {
        connections: 8,
        requests: 10_000,
        pace: Pace::Even(500),
        asks: &[
            Ask { host: "app.test", path: "/", body: "" },
            Ask { host: "app.test", path: "/form", body: "name=value&more=of+it" },
        ],
    };
    const GROUPS: [&[&str; 2]; 2] = [&["a1", "a2"], &["b1", "b2"]];

    let groups = GROUPS.map(|names| names.map(Backend::named));
    let slices = groups.each_ref().map(|group| service("app", &group.each_ref().map(|backend| backend.address)));
    let gateway = Gateway::start_with(ROUTE, &["--workers", "2"]);
    gateway.write("app.yaml", &slices[1]);

    let load = LOAD.start(gateway.http);
    let mut terms: Vec<Term> = Vec::new();
    for swap in 1..=SWAPS {
        // The last change may come at any moment of the load's last stretch.
        gateway.wait_until("enough has been asked", || load.answered() >= swap * (LOAD.requests / (SWAPS + 1)));
        let (group, to) = ((swap as usize + 1) % 2, Instant::now());
        if let Some(last) = terms.last_mut() {
            last.to = to;
        }
        gateway.write("app.yaml", &slices[group]);
        terms.push(Term { group: GROUPS[group], from: Instant::now(), to: Instant::now() });
        for _ in 0..10 {
            let answer = get_host(gateway.http, "app.test", "/").unwrap().text();
            assert!(GROUPS[group].contains(&answer.as_str()), "swap {swap}: {answer} answered");
        }
    }
    assert!(!load.is_over(), "the load ended before the swaps did");
    let outcome = load.outcome();
    terms.last_mut().unwrap().to = Instant::now();

    outcome.assert_none_failed(&LOAD);
    let mut between = 0;
    for answer in &outcome.answers {
        if let Some(term) = terms.iter().find(|term| term.from <= answer.asked && answer.came <= term.to) {
            between += 1;
            let name = std::str::from_utf8(&answer.body).unwrap();
            assert!(term.group.contains(&name), "{name} answered {:?} after it had gone", answer.asked - term.from);
        }
    }
    println!("{between} of them between two swaps, each answered by the new group");
    assert!(between > LOAD.requests / 2);
}

#[test]
fn no_request_fails_on_a_backend_that_closes_connections_as_it_likes() {
    let load = Load {
        connections: 16,
        requests: size::of(10_000, 25_000),
        pace: Pace::FlatOut,
        asks: &[Ask { host: "app.test", path: "/", body: "" }],
    };
    // Connections rest between two bursts about as long as the backend lets them.
    let in_bursts = Load { pace: Pace::Bursts(2_000), ..load };

    let backend = Fickle::start();
    let yaml = ROUTE.to_owned() + &service("app", &[backend.address]);
    let gateway = Gateway::start_with(&yaml, &["--workers", "2"]);

    let outcomes = [load, in_bursts].map(|load| load.start(gateway.http).outcome());

    let after_response = backend.counts().after_response.load(Ordering::Relaxed);
    let at_rest = backend.counts().at_rest.load(Ordering::Relaxed);
    println!("connections closed: {after_response} right after a response, {at_rest} at rest");
    for outcome in outcomes {
        outcome.assert_none_failed(&load);
    }
    assert!(after_response > 1_000 && at_rest > 200);
}

/// Four endpoints that answer what they are sent.
async fn four(speaks: &Speaks) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for _ in 0..4 {
        let answering = Endpoint::answering(speaks.clone(), |request| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(body))
        });
        endpoints.push(answering.await);
    }
    endpoints
}

fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

const UPDATES: Load = Load {
    connections: 8,
    requests: 3_000,
    pace: Pace::Even(500),
    asks: &[
        Ask { host: "app.test", path: "/", body: "" },
        Ask { host: "app.test", path: "/form", body: "name=value&more=of+it" },
    ],
};

/// A rolling update, over and over: all endpoints are replaced by new ones, and stop soon after they are no longer
/// listed, closing what rests and finishing what they were asked.
async fn no_request_fails_while_endpoints_leave(protocol: &str, speaks: Speaks) {
    let load = Load { requests: size::of(3_000, 30_000), ..UPDATES };
    // Spread over the load.
    let rest = Duration::from_millis(size::of(100, 2_900));
    let slices = |endpoints: &[Endpoint]| service_speaking("app", protocol, &addresses(endpoints));
    let mut endpoints = four(&speaks).await;
    let gateway = Gateway::start_with(ROUTE, &["--workers", "2"]);
    gateway.write("app.yaml", &slices(&endpoints));
    let running = load.start_mixed(gateway.http);
    let mut left = 0;
    while !running.is_over() {
        let next = four(&speaks).await;
        gateway.write("app.yaml", &slices(&next));
        // The time that a pod has to hear of its end: what is on its way to it arrives.
        tokio::time::sleep(rest).await;
        for old in std::mem::replace(&mut endpoints, next) {
            old.leave().await;
            left += 1;
        }
    }
    running.outcome().assert_none_failed(&load);
    println!("{left} endpoints left");
    assert!(left >= 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_http1_endpoints_leave() {
    no_request_fails_while_endpoints_leave("http", Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_http2_endpoints_leave() {
    no_request_fails_while_endpoints_leave("kubernetes.io/h2c", Speaks::H2c).await;
}

/// The same with endpoints that are killed, one after the other, and are listed until it is noticed: nothing fails but
/// what must not be sent twice and was under way to the one that was killed.
async fn only_what_is_under_way_fails_while_endpoints_are_killed(protocol: &str, speaks: Speaks) {
    let load = Load { requests: size::of(3_000, 30_000), ..UPDATES };
    let rest = Duration::from_millis(size::of(200, 2_900));
    let mut endpoints = four(&speaks).await;
    let gateway = Gateway::start_with(ROUTE, &["--workers", "2"]);
    let slices = |endpoints: &[Endpoint]| service_speaking("app", protocol, &addresses(endpoints));
    gateway.write("app.yaml", &slices(&endpoints));
    let running = load.start_mixed(gateway.http);
    let mut killed = 0;
    while !running.is_over() {
        tokio::time::sleep(rest).await;
        drop(endpoints.remove(0));
        killed += 1;
        let mut next = four(&speaks).await;
        endpoints.push(next.remove(0));
        gateway.write("app.yaml", &slices(&endpoints));
    }
    let failures = running.outcome().failures;
    println!("{killed} endpoints were killed, and {} of {} requests failed", failures.len(), load.requests);
    assert!(killed >= 10);
    // Each connection has one request under way at most, and every second is one that must not be sent twice.
    assert!(failures.len() <= killed * load.connections as usize / 2, "{failures:#?}");
    let wrong: Vec<_> = failures.iter().filter(|it| !it.contains("/form") || !it.contains("upstream_reset")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_http1_endpoint_costs_only_what_is_under_way() {
    only_what_is_under_way_fails_while_endpoints_are_killed("http", Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_http2_endpoint_costs_only_what_is_under_way() {
    only_what_is_under_way_fails_while_endpoints_are_killed("kubernetes.io/h2c", Speaks::H2c).await;
}

/// What rests to an endpoint that has gone is closed at once and not when it has rested for long enough.
#[tokio::test(flavor = "multi_thread")]
async fn connections_to_an_endpoint_that_has_gone_are_closed() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("kubernetes.io/h2c", Speaks::H2c)] {
        let mut endpoints = four(&speaks).await;
        let gateway = Gateway::start_with(ROUTE, &["--workers", "1"]);
        gateway.write("app.yaml", &service_speaking("app", protocol, &addresses(&endpoints)));
        gateway.wait_until("all have a connection", || {
            let answer = get_host(gateway.http, "app.test", "/").unwrap();
            assert_eq!(answer.status, 200);
            endpoints.iter().all(|endpoint| endpoint.open() > 0)
        });
        let gone = endpoints.remove(0);
        gateway.write("app.yaml", &service_speaking("app", protocol, &addresses(&endpoints)));
        let began = Instant::now();
        gateway.wait_until("it is let go", || gone.open() == 0);
        assert!(began.elapsed() < size::time(Duration::from_millis(600)), "{protocol}: {:?}", began.elapsed());
        assert!(endpoints.iter().all(|endpoint| endpoint.open() > 0), "{protocol}");
    }
}

/// One endpoint of four is killed without notice and stays listed: what it was asked goes to another one, as long as
/// that does no harm twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_endpoint_costs_no_get() {
    const LOAD: Load = Load {
        connections: 8,
        requests: 4_000,
        pace: Pace::FlatOut,
        asks: &[Ask { host: "app.test", path: "/", body: "" }],
    };
    let mut endpoints = four(&Speaks::Http1).await;
    let gateway = Gateway::start(&(ROUTE.to_owned() + &service("app", &addresses(&endpoints))));
    let load = LOAD.start(gateway.http);
    gateway.wait_until("all is in full swing", || load.answered() > 1_000);
    drop(endpoints.pop());
    gateway.wait_until("the load is over", || load.is_over());
    load.outcome().assert_none_failed(&LOAD);
}
