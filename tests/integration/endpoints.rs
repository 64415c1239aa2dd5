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
    const LOAD: Load = Load {
        connections: 16,
        requests: 10_000,
        pace: Pace::FlatOut,
        asks: &[Ask { host: "app.test", path: "/", body: "" }],
    };
    // Connections rest between two bursts about as long as the backend lets them.
    const IN_BURSTS: Load = Load { pace: Pace::Bursts(2_000), ..LOAD };

    let backend = Fickle::start();
    let yaml = ROUTE.to_owned() + &service("app", &[backend.address]);
    let gateway = Gateway::start_with(&yaml, &["--workers", "2"]);

    let outcomes = [LOAD, IN_BURSTS].map(|load| load.start(gateway.http).outcome());

    let after_response = backend.counts().after_response.load(Ordering::Relaxed);
    let at_rest = backend.counts().at_rest.load(Ordering::Relaxed);
    println!("connections closed: {after_response} right after a response, {at_rest} at rest");
    for outcome in outcomes {
        outcome.assert_none_failed(&LOAD);
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

/// A rolling update, over and over: all endpoints are replaced by new ones, and stop soon after they are no longer
/// listed, closing what rests and finishing what they were asked.
async fn no_request_fails_while_endpoints_leave(protocol: &str, speaks: Speaks) {
    const LOAD: Load = Load {
        connections: 8,
        requests: 3_000,
        pace: Pace::Even(500),
        asks: &[
            Ask { host: "app.test", path: "/", body: "" },
            Ask { host: "app.test", path: "/form", body: "name=value&more=of+it" },
        ],
    };
    let slices = |endpoints: &[Endpoint]| service_speaking("app", protocol, &addresses(endpoints));
    let mut endpoints = four(&speaks).await;
    let gateway = Gateway::start_with(ROUTE, &["--workers", "2"]);
    gateway.write("app.yaml", &slices(&endpoints));
    let load = LOAD.start(gateway.http);
    let mut left = 0;
    while !load.is_over() {
        let next = four(&speaks).await;
        gateway.write("app.yaml", &slices(&next));
        // The time that a pod has to hear of its end: what is on its way to it arrives.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for old in std::mem::replace(&mut endpoints, next) {
            old.leave().await;
            left += 1;
        }
    }
    load.outcome().assert_none_failed(&LOAD);
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
