//! Backends in trouble: repeated attempts, endpoints that are left out, bounds on what is under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::backend::{Backend, service, service_speaking};
use crate::harness::endpoint::{Bodied, Endpoint, Speaks, empty, full, piecewise, read_head, read_to_the_end};
use crate::harness::gateway::Gateway;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::objects::{route, route_of};
use crate::harness::size;
use crate::harness::traffic::{self, Answer, ask, request, soon, until, until_asked};

fn in_front_of(addresses: &[SocketAddr], more: &str) -> Gateway {
    Gateway::start_with(&declared(addresses, more), &["--workers", "2"])
}

fn declared(addresses: &[SocketAddr], more: &str) -> String {
    service("s", addresses) + &route("s", more)
}

/// An endpoint that counts its requests and answers with a status that can change, and the body that it was sent.
struct Moody {
    endpoint: Endpoint,
    status: Arc<watch::Sender<u16>>,
    asked: Arc<AtomicUsize>,
}

impl Moody {
    async fn with(status: u16) -> Self {
        let status = Arc::new(watch::Sender::new(status));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (status.clone(), asked.clone());
        let endpoint = Endpoint::answering(Speaks::Http1, move |request| {
            let (told, count) = (told.clone(), count.clone());
            async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                count.fetch_add(1, Ordering::SeqCst);
                let status = *told.borrow();
                Response::builder().status(status).body(full(body)).unwrap()
            }
        })
        .await;
        Self { endpoint, status, asked }
    }

    fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    fn becomes(&self, status: u16) {
        self.status.send_replace(status);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The statuses of so many requests, one after the other on one connection.
async fn statuses(gateway: &Gateway, count: usize, ask_for: impl Fn() -> Request<Bodied>) -> Vec<u16> {
    let mut client = traffic::http1(gateway.http).await;
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer: Answer = soon(ask(&mut client, ask_for())).await.unwrap();
        statuses.push(answer.status.as_u16());
    }
    statuses
}

fn get() -> Request<Bodied> {
    request(Method::GET, "/", empty())
}

fn repeated(gateway: &Gateway, reason: &str) -> f64 {
    gateway.series(&format!("headgate_upstream_retries_total{{service=\"default/s:80\",reason=\"{reason}\"}}"))
}

fn circuit(gateway: &Gateway) -> f64 {
    gateway.series("headgate_upstream_circuit_open{service=\"default/s:80\"}")
}

fn logged(gateway: &Gateway, circuit: &str) -> usize {
    let field = format!("\"circuit\":\"{circuit}\"");
    gateway.log().iter().filter(|line| line.contains(&field)).count()
}

/// Waits until the circuit has been logged as open, half-open and closed so many times: lines are written behind the answers.
async fn until_logged(gateway: &Gateway, times: [usize; 3]) {
    let so = || ["open", "half-open", "closed"].map(|circuit| logged(gateway, circuit)) == times;
    until(&format!("open, half-open and closed {times:?} times in the log"), so).await;
}

// === Repeated attempts ===

#[tokio::test(flavor = "multi_thread")]
async fn a_status_leads_to_another_endpoint_if_the_method_allows() {
    let (bad, good) = (Moody::with(503).await, Moody::with(200).await);
    let more = "loadBalancer: {type: RoundRobin}, retry: {attempts: 1, codes: [503], methods: [GET, PUT], backoff: 1ms, \
                budget: {percent: 100}}";
    let gateway = in_front_of(&[bad.address(), good.address()], more);
    assert_eq!(statuses(&gateway, 20, get).await, [200; 20]);
    assert!(bad.asked() >= 9, "{}", bad.asked());
    // The body goes out again, whole.
    let mut client = traffic::http1(gateway.http).await;
    let body = "0123456789".repeat(5_000);
    for _ in 0..6 {
        let answer = soon(ask(&mut client, request(Method::PUT, "/", full(body.clone())))).await.unwrap();
        assert_eq!((answer.status, answer.text() == body), (StatusCode::OK, true));
    }
    // What is over 64 KiB goes by, and what is not named is not repeated.
    let large = "0123456789".repeat(8_000);
    let of_large = statuses(&gateway, 6, || request(Method::PUT, "/", full(large.clone()))).await;
    let of_post = statuses(&gateway, 6, || request(Method::POST, "/", full("x"))).await;
    assert!(of_large.contains(&503) && of_post.contains(&503), "{of_large:?} {of_post:?}");
    assert!(repeated(&gateway, "status") >= 12.0, "{}", gateway.metrics());
}

/// A body of unknown length is kept while it flows.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_goes_out_again() {
    let (bad, good) = (Moody::with(502).await, Moody::with(200).await);
    let more = "loadBalancer: {type: RoundRobin}, retry: {codes: [502], methods: [POST], backoff: 1ms, budget: {percent: \
                100}}";
    let gateway = in_front_of(&[bad.address(), good.address()], more);
    let mut client = traffic::http1(gateway.http).await;
    for _ in 0..4 {
        let (pieces, body) = piecewise();
        let sending = tokio::spawn(async move {
            for piece in ["one ", "two ", "three"] {
                assert!(pieces.send(piece).await);
                // Others get their turn, so that each piece goes out by itself.
                tokio::task::yield_now().await;
            }
        });
        let answer = soon(ask(&mut client, request(Method::POST, "/", body))).await.unwrap();
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "one two three"));
        sending.await.unwrap();
    }
    assert!(bad.asked() > 0);
}

/// Every endpoint fails every request, and every request asks to be repeated: the load stays below 1.2 times of what was
/// offered, a few for the first second aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repetitions_stays_within_the_budget() {
    let endpoints = [Moody::with(503).await, Moody::with(503).await, Moody::with(503).await];
    let more = "retry: {attempts: 3, codes: [503], backoff: 1ms, maxBackoff: 2ms, budget: {minRetriesPerSecond: 0}}";
    let gateway = in_front_of(&endpoints.each_ref().map(Moody::address), more);
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let address = gateway.http;
        asking.spawn(async move {
            let mut client = traffic::http1(address).await;
            for _ in 0..250 {
                assert_eq!(soon(ask(&mut client, get())).await.unwrap().status, 503);
            }
        });
    }
    soon(asking.join_all()).await;
    let asked: usize = endpoints.iter().map(Moody::asked).sum();
    assert!((2_200..=2_400).contains(&asked), "{asked} for 2,000");
}

/// The same where endpoints break off instead, and requests would go out again without anybody's asking for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_lost_connections_stays_within_the_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut endpoints = Vec::new();
    for _ in 0..3 {
        let count = asked.clone();
        let breaking = Endpoint::scripted(move |mut tcp, _| {
            let count = count.clone();
            async move {
                if !read_head(&mut tcp).await.is_empty() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        endpoints.push(breaking.await);
    }
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let more =
        "retry: {attempts: 3, retryOn: [reset], backoff: 1ms, maxBackoff: 2ms, budget: {minRetriesPerSecond: 0}}";
    let gateway = in_front_of(&addresses, more);
    let mut client = traffic::http1(gateway.http).await;
    for _ in 0..500 {
        assert_eq!(soon(ask(&mut client, get())).await.unwrap().status, 502);
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!((550..=600).contains(&asked), "{asked} for 500");
}

/// What the client has begun to read is not taken back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_repeated_once_an_answer_has_begun() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let breaking = Endpoint::scripted(move |mut tcp, _| {
        let count = count.clone();
        async move {
            if !read_head(&mut tcp).await.is_empty() {
                count.fetch_add(1, Ordering::SeqCst);
                tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
            }
        }
    })
    .await;
    let more =
        "retry: {attempts: 5, retryOn: [connect-failure, refused-stream, reset], backoff: 1ms, budget: {percent: 100}}";
    let gateway = in_front_of(&[breaking.address], more);
    let mut client = traffic::http1(gateway.http).await;
    assert!(soon(ask(&mut client, get())).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_and_a_late_answer_are_repeated_where_that_is_asked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // Closes twice, is silent once, then answers.
    let poor = Endpoint::scripted(move |mut tcp, _| {
        let count = count.clone();
        async move {
            if read_head(&mut tcp).await.is_empty() {
                return;
            }
            match count.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => {}
                2 => drop(read_to_the_end(&mut tcp).await),
                _ => tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap(),
            }
        }
    })
    .await;
    let more = "timeouts: {backendRequest: 300ms}, retry: {attempts: 3, codes: [504], retryOn: [reset], methods: [POST], \
                backoff: 1ms, budget: {percent: 100, minRetriesPerSecond: 100}}";
    let gateway = in_front_of(&[poor.address], more);
    let mut client = traffic::http1(gateway.http).await;
    let answer = soon(ask(&mut client, request(Method::POST, "/", full("body")))).await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert_eq!((repeated(&gateway, "reset"), repeated(&gateway, "timeout")), (2.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_grpc_are_repeated_by_their_status() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let busy = Endpoint::answering(Speaks::H2c, move |request: Request<Incoming>| {
        let first = count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let response = Response::builder().header("content-type", "application/grpc");
            if first {
                return response.header("grpc-status", "14").body(empty()).unwrap();
            }
            let (pieces, answer) = piecewise();
            tokio::spawn(async move {
                pieces.send(body).await;
                pieces.trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])).await;
            });
            response.body(answer).unwrap()
        }
    })
    .await;
    let more = "retry: {retryOn: [unavailable], backoff: 1ms, budget: {percent: 100}}";
    let gateway =
        Gateway::start_with(&(service_speaking("s", "grpc", &[busy.address]) + &route("s", more)), &["--workers", "1"]);
    let mut client = traffic::http2(gateway.http).await;
    let mut call = traffic::request2(Method::POST, "/a.B/C", full("message"));
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let answer = soon(traffic::ask2(&mut client, call)).await.unwrap();
    assert_eq!((answer.text(), answer.trailers.as_ref().unwrap()["grpc-status"].to_str().unwrap()), ("message", "0"));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // The same status of what is no call goes to the client.
    let mut post = traffic::request2(Method::POST, "/a.B/C", full("message"));
    post.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(soon(traffic::ask2(&mut client, post)).await.unwrap().headers["grpc-status"], "14");
}

// === Endpoints that are left out ===

/// One of four fails, in each of three ways: as many requests fail as it takes to notice, and then none.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_four_that_fails_is_left_out() {
    let silent = Endpoint::scripted(|mut tcp, _| async move {
        read_to_the_end(&mut tcp).await;
    })
    .await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bad = Moody::with(503).await;
    for (fault, failing) in [("503", bad.address()), ("silent", silent.address), ("refusing", closed)] {
        let good = [Moody::with(200).await, Moody::with(200).await, Moody::with(200).await];
        let addresses = [failing, good[0].address(), good[1].address(), good[2].address()];
        let more = "loadBalancer: {type: RoundRobin}, timeouts: {backendRequest: 100ms, connect: 200ms}, \
                    outlierDetection: {consecutiveFailures: 5, baseEjectionTime: 60s}";
        let gateway = Gateway::start_with(&declared(&addresses, more), &["--workers", "1"]);
        let seen = statuses(&gateway, 100, get).await;
        let failed = seen.iter().filter(|status| **status != 200).count();
        // One that cannot be reached costs nobody an answer.
        assert_eq!(failed, if fault == "refusing" { 0 } else { 5 }, "{fault}: {seen:?}");
        assert_eq!(seen[50..], [200; 50], "{fault}");
        assert_eq!((gateway.endpoints("ejected"), gateway.endpoints("ready")), (1.0, 3.0));
        assert_eq!(gateway.series("headgate_upstream_ejections_total{service=\"default/s:80\"}"), 1.0);
        until_logged(&gateway, [1, 0, 0]).await;
        // Another rule for the same Service that declares nothing of it knows as well.
        let plain = "backendRefs: [{name: s, port: 80}], matches: [{path: {value: /plain}}]";
        gateway.apply(&(service("s", &addresses) + &route("s", &format!("{more}}}, {{name: plain, {plain}"))));
        let of_plain = statuses(&gateway, 40, || request(Method::GET, "/plain", empty())).await;
        assert_eq!(of_plain, [200; 40], "{fault}");
        // It leaves and comes back: nothing of it is remembered.
        gateway.apply(&declared(&addresses[1..], more));
        gateway.apply(&declared(&addresses, more));
        assert_eq!((gateway.endpoints("ejected"), gateway.endpoints("ready")), (0.0, 4.0));
    }
}

/// A slice of what another rule is asked.
const ELSEWHERE: Load = Load {
    connections: 4,
    requests: 150,
    pace: Pace::Even(300),
    asks: &[Ask { host: "test", path: "/other", body: "" }],
};

/// What is asked meanwhile, of four endpoints that answer or of three.
const BESIDE: [&[Ask]; 2] =
    [&[Ask { host: "test", path: "/whole", body: "" }], &[Ask { host: "test", path: "/hole", body: "" }]];

/// One of four endpoints takes requests and never answers, and is not left out. While clients wait for it, another rule is
/// answered as soon as while the same clients ask for a rule whose four endpoints all answer.
#[test]
fn other_rules_do_not_wait_for_an_endpoint_that_never_answers() {
    let hole = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = hole.local_addr().unwrap();
    // Taken and kept; the thread ends with the test's process.
    std::thread::spawn(move || hole.incoming().collect::<Vec<_>>());
    let (good, other) = (Backend::named("good"), Backend::named(""));
    let rule = |path: &str, service: &str| {
        format!(
            "{{name: {service}, matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {service}, port: 80}}], \
             loadBalancer: {{type: RoundRobin}}, timeouts: {{backendRequest: 100ms}}, outlierDetection: \
             {{consecutiveFailures: 10000}}}}"
        )
    };
    let rules = [rule("/hole", "hole"), rule("/whole", "whole"), rule("/other", "other")].join(", ");
    let objects = service("hole", &[silent, good.address, good.address, good.address])
        + &service("whole", &[good.address; 4])
        + &other.service("other")
        + &route_of(&rules);
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    let load = Load { requests: size::of(ELSEWHERE.requests, 600), ..ELSEWHERE };
    let mut slowest = [const { Vec::new() }; 2];
    let mut unanswered = [0, 0];
    for round in 0..size::of(3, 24) {
        // There and back, so that neither always comes after the other.
        for number in [round % 2, 1 - round % 2] {
            let beside = Load { asks: BESIDE[number], ..load }.start(gateway.http);
            let running = load.start(gateway.http);
            let (beside, outcome) = (beside.outcome(), running.outcome());
            assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
            unanswered[number] += beside.failures.len();
            slowest[number].push(outcome.within(990));
        }
    }
    let [calm, troubled] = slowest.map(size::median);
    println!("99 % within {calm:?}, beside an endpoint that never answers {troubled:?}; {unanswered:?} unanswered");
    assert!(unanswered[0] == 0 && unanswered[1] > 4, "{unanswered:?}");
    assert!(troubled <= size::hardly_longer(calm), "{troubled:?}, and {calm:?} without");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_a_kind_are_counted_by_themselves() {
    let (good, bad) = (Moody::with(200).await, Moody::with(500).await);
    for (outlier, status, failures) in [
        ("consecutiveGatewayFailures: 2", 503, 2),
        ("consecutiveGatewayFailures: 2", 500, 10),
        ("failureRate: {percent: 100, minRequests: 3}", 500, 3),
        ("failureRate: {percent: 100, minRequests: 11}", 500, 10),
    ] {
        bad.becomes(status);
        let more = format!(
            "loadBalancer: {{type: RoundRobin}}, outlierDetection: {{consecutiveFailures: 100, {outlier}, interval: 60s, \
             baseEjectionTime: 60s}}"
        );
        let addresses = [good.address(), bad.address()];
        let gateway = Gateway::start_with(&declared(&addresses, &more), &["--workers", "1"]);
        let seen = statuses(&gateway, 20, get).await;
        assert_eq!(seen.iter().filter(|seen| **seen == status).count(), failures, "{outlier} at {status}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_is_asked_only_while_nobody_else_takes_requests() {
    let (main, spare) = (Moody::with(200).await, Moody::with(203).await);
    let objects = |main: &[SocketAddr], spare: &[SocketAddr]| {
        let rule = "{name: all, outlierDetection: {consecutiveFailures: 2, interval: 100ms, baseEjectionTime: 1s}, \
                    backendRefs: [{name: s, port: 80}, {name: spare, port: 80, fallback: true}]}";
        service("s", main) + &service("spare", spare) + &route_of(rule)
    };
    let gateway = Gateway::start_with(&objects(&[main.address()], &[spare.address()]), &["--workers", "1"]);
    assert_eq!(statuses(&gateway, 20, get).await, [200; 20]);
    // No endpoint at all.
    gateway.apply(&objects(&[], &[spare.address()]));
    assert_eq!(statuses(&gateway, 20, get).await, [203; 20]);
    gateway.apply(&objects(&[], &[]));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "no_backend".to_owned()));
    gateway.apply(&objects(&[main.address()], &[spare.address()]));
    assert_eq!(statuses(&gateway, 20, get).await, [200; 20]);
    // The only one is left out, and comes back by a trial.
    main.becomes(500);
    assert_eq!(statuses(&gateway, 20, get).await[..], [&[500; 2][..], &[203; 18]].concat());
    main.becomes(200);
    until_asked("it is back", async || statuses(&gateway, 1, get).await == [200]).await;
    assert_eq!(statuses(&gateway, 20, get).await, [200; 20]);
    // With nobody in reserve that could help, it is used as if there were none.
    gateway.apply(&objects(&[main.address()], &[]));
    main.becomes(500);
    assert_eq!(statuses(&gateway, 20, get).await, [500; 20]);
}

/// The whole round of a circuit, with the exact number of requests that reach the backend in each state.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_is_half_open_and_closes() {
    let backend = Moody::with(500).await;
    let more =
        "outlierDetection: {consecutiveFailures: 3, interval: 100ms, baseEjectionTime: 2s, maxEjectionPercent: 100}";
    let gateway = in_front_of(&[backend.address()], more);
    assert_eq!(circuit(&gateway), 0.0);

    // Three reach it, and then none for two seconds.
    assert_eq!(statuses(&gateway, 3, get).await, [500; 3]);
    let refused = traffic::get(gateway.http, "/").await;
    assert_eq!(refused.refusal(), (503, "circuit_open".to_owned()));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait));
    assert_eq!((backend.asked(), circuit(&gateway)), (3, 1.0));
    until_logged(&gateway, [1, 0, 0]).await;
    assert_eq!(statuses(&gateway, 10, get).await, [503; 10]);
    assert_eq!(backend.asked(), 3);
    assert_eq!(gateway.api("backends")["backends"][0]["circuit"], "open");

    // Half-open: one reaches it, fails, and the time is longer.
    until_asked("it is half-open", async || statuses(&gateway, 1, get).await == [500]).await;
    let again = std::time::Instant::now();
    assert_eq!(backend.asked(), 4);
    assert_eq!(statuses(&gateway, 10, get).await, [503; 10]);
    assert_eq!(backend.asked(), 4);
    until_logged(&gateway, [2, 1, 0]).await;

    // Half-open again: it is well, and all pass.
    backend.becomes(200);
    until_asked("it is closed", async || statuses(&gateway, 1, get).await == [200]).await;
    assert!(again.elapsed() > Duration::from_millis(3_500), "{:?}", again.elapsed());
    assert_eq!(backend.asked(), 5);
    assert_eq!(circuit(&gateway), 0.0);
    until_logged(&gateway, [2, 2, 1]).await;
    assert_eq!(statuses(&gateway, 20, get).await, [200; 20]);
    assert_eq!(backend.asked(), 25);
    assert_eq!(gateway.api("backends")["backends"][0]["circuit"], "closed");
}

// === Bounds on what is under way ===

/// An endpoint whose answers wait until they are let go.
async fn waiting(asked: Arc<AtomicUsize>, go: watch::Receiver<bool>) -> Endpoint {
    Endpoint::answering(Speaks::Http1, move |_| {
        let (asked, mut go) = (asked.clone(), go.clone());
        async move {
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = go.wait_for(|go| *go).await;
            Response::new(full("ok"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_requests_as_allowed_are_under_way() {
    let asked = Arc::new(AtomicUsize::new(0));
    let go = watch::Sender::new(false);
    let endpoint = waiting(asked.clone(), go.subscribe()).await;
    let gateway = in_front_of(&[endpoint.address], "circuitBreaker: {maxParallelRequests: 3}");
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let address = gateway.http;
        asking.spawn(async move { traffic::get(address, "/").await });
    }
    for _ in 0..7 {
        let answer = soon(asking.join_next()).await.unwrap().unwrap();
        assert_eq!(answer.refusal(), (503, "circuit_open".to_owned()));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    until("three are under way", || asked.load(Ordering::SeqCst) == 3).await;
    let backends = gateway.api("backends");
    assert_eq!(backends["backends"][0]["circuit"], "open");
    assert_eq!(backends["backends"][0]["underWay"]["requests"], 3);
    assert_eq!(circuit(&gateway), 1.0);
    go.send_replace(true);
    for answer in soon(asking.join_all()).await {
        assert_eq!(answer.text(), "ok");
    }
    assert_eq!(statuses(&gateway, 5, get).await, [200; 5]);
    until_logged(&gateway, [1, 0, 1]).await;
    assert_eq!(circuit(&gateway), 0.0);
    let under_way = &gateway.api("backends")["backends"][0]["underWay"];
    assert_eq!((&under_way["requests"], &under_way["refused"]), (&0.into(), &7.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_one_of_few_connections() {
    let asked = Arc::new(AtomicUsize::new(0));
    let go = watch::Sender::new(false);
    let endpoint = waiting(asked.clone(), go.subscribe()).await;
    let more = "timeouts: {connect: 10s}, circuitBreaker: {maxConnections: 2, maxPendingRequests: 3}";
    let gateway = in_front_of(&[endpoint.address], more);
    let mut asking = JoinSet::new();
    for _ in 0..9 {
        let address = gateway.http;
        asking.spawn(async move { traffic::get(address, "/").await });
    }
    for _ in 0..4 {
        assert_eq!(soon(asking.join_next()).await.unwrap().unwrap().refusal(), (503, "circuit_open".to_owned()));
    }
    assert_eq!(gateway.api("backends")["backends"][0]["underWay"]["pendingRequests"], 3);
    go.send_replace(true);
    for answer in soon(asking.join_all()).await {
        assert_eq!(answer.text(), "ok");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert!(endpoint.open() <= 2, "{}", endpoint.open());
    // Whoever waits too long is told so.
    go.send_replace(false);
    let gateway = in_front_of(&[endpoint.address], "timeouts: {connect: 200ms}, circuitBreaker: {maxConnections: 1}");
    let address = gateway.http;
    let first = tokio::spawn(async move { traffic::get(address, "/").await });
    until("one is under way", || asked.load(Ordering::SeqCst) == 6).await;
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "pool_timeout".to_owned()));
    let metrics = gateway.metrics();
    let mut waits = metrics.lines().filter(|line| line.starts_with("headgate_upstream_pool_wait_seconds_count"));
    assert!(waits.next().is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    go.send_replace(true);
    assert_eq!(soon(first).await.unwrap().text(), "ok");
}
