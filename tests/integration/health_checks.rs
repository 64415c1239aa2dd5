//! Checks on endpoints: over HTTP, by gRPC's health protocol, and by a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::harness::backend::{service, service_speaking};
use crate::harness::endpoint::{Bodied, Endpoint, Speaks, empty, full, piecewise};
use crate::harness::gateway::Gateway;
use crate::harness::objects::route;
use crate::harness::traffic::{self, ask, request, soon, until};

fn get() -> Request<Bodied> {
    request(Method::GET, "/", empty())
}

fn declared(addresses: &[SocketAddr], more: &str) -> String {
    service("s", addresses) + &route("s", more)
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_take_an_endpoint_out_and_bring_it_back() {
    let ill = Arc::new(AtomicBool::new(false));
    let checked = Arc::new(AtomicUsize::new(0));
    let endpoint = |name: &'static str, may_be_ill: bool| {
        let (ill, checked) = (ill.clone(), checked.clone());
        Endpoint::answering(Speaks::Http1, move |request| {
            let is_check = request.uri().path() == "/healthz";
            let status = if is_check && may_be_ill && ill.load(Ordering::SeqCst) { 500 } else { 204 };
            if is_check {
                checked.fetch_add(1, Ordering::SeqCst);
            }
            async move {
                match is_check {
                    true => Response::builder().status(status).body(empty()).unwrap(),
                    false => Response::new(full(name)),
                }
            }
        })
    };
    let (weak, strong) = (endpoint("weak", true).await, endpoint("strong", false).await);
    let more = "healthCheck: {path: /healthz, interval: 100ms, timeout: 100ms, unhealthyThreshold: 2}";
    let gateway = Gateway::start_with(&declared(&[weak.address, strong.address], more), &["--workers", "2"]);
    let failing = || gateway.endpoints("failing");
    until("both are asked", || checked.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(failing(), 0.0);
    ill.store(true, Ordering::SeqCst);
    until("it is out", || failing() == 1.0).await;
    let mut client = traffic::http1(gateway.http).await;
    for _ in 0..20 {
        assert_eq!(soon(ask(&mut client, get())).await.unwrap().body, Bytes::from("strong"));
    }
    ill.store(false, Ordering::SeqCst);
    until("it is back", || failing() == 0.0).await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..10 {
        names.insert(soon(ask(&mut client, get())).await.unwrap().body);
    }
    assert_eq!(names.len(), 2);
    // Nobody asks for checks any more, so there are none, and what they said is forgotten. Those of another service go on
    // and tell the time.
    ill.store(true, Ordering::SeqCst);
    until("it is out", || failing() == 1.0).await;
    let ticks = Arc::new(AtomicUsize::new(0));
    let clock = Endpoint::answering(Speaks::Http1, {
        let ticks = ticks.clone();
        move |_| {
            ticks.fetch_add(1, Ordering::SeqCst);
            async { Response::new(empty()) }
        }
    })
    .await;
    let other = route("clock", &format!("matches: [{{path: {{value: /clock}}}}], {more}"));
    let other = service("clock", &[clock.address]) + &other.replacen("{name: all}", "{name: clock}", 1);
    gateway.apply(&(declared(&[weak.address, strong.address], "") + &other));
    until("it is back", || failing() == 0.0).await;
    let (before, since) = (checked.load(Ordering::SeqCst), ticks.load(Ordering::SeqCst));
    until("time has passed", || ticks.load(Ordering::SeqCst) >= since + 4).await;
    // One may have been under way.
    assert!(checked.load(Ordering::SeqCst) <= before + 1);
}

/// What a gRPC server says of its health: the bytes of `HealthCheckResponse.status`, or nothing but a status.
async fn grpc(says: Arc<AtomicU8>, asked: Arc<AtomicUsize>) -> Endpoint {
    Endpoint::answering(Speaks::H2c, move |request: Request<Incoming>| {
        let (says, asked) = (says.clone(), asked.clone());
        async move {
            let (parts, body) = request.into_parts();
            let field = |name: &str| parts.headers.get(name).cloned();
            assert_eq!((parts.method, parts.uri.path()), (Method::POST, "/grpc.health.v1.Health/Check"));
            assert_eq!(field("content-type"), Some(HeaderValue::from_static("application/grpc")));
            assert_eq!(field("te"), Some(HeaderValue::from_static("trailers")));
            // The service, in its frame.
            assert_eq!(body.collect().await.unwrap().to_bytes(), &b"\0\0\0\0\x08\x0a\x06shop.A"[..]);
            asked.fetch_add(1, Ordering::SeqCst);
            let answer = Response::builder().header("content-type", "application/grpc");
            match says.load(Ordering::SeqCst) {
                // Such a service it does not know: NOT_FOUND, in the head alone.
                u8::MAX => answer.header("grpc-status", "5").body(empty()).unwrap(),
                status => {
                    let (pieces, body) = piecewise();
                    tokio::spawn(async move {
                        pieces.send(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status])).await;
                        let ends = [("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))];
                        pieces.trailers(HeaderMap::from_iter(ends)).await;
                    });
                    answer.body(body).unwrap()
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_server_says_whether_it_is_serving() {
    let (says, asked) = (Arc::new(AtomicU8::new(1)), Arc::new(AtomicUsize::new(0)));
    let endpoint = grpc(says.clone(), asked.clone()).await;
    let check =
        "healthCheck: {type: GRPC, grpcService: shop.A, interval: 100ms, timeout: 100ms, unhealthyThreshold: 1}";
    let objects = |protocol| service_speaking("s", protocol, &[endpoint.address]) + &route("s", check);
    // Whatever requests are spoken in: who is asked by gRPC speaks HTTP/2.
    for protocol in ["grpc", "http"] {
        let gateway = Gateway::start_with(&objects(protocol), &["--workers", "1"]);
        let failing = || gateway.endpoints("failing");
        let before = asked.load(Ordering::SeqCst);
        until("it is asked", || asked.load(Ordering::SeqCst) >= before + 3).await;
        assert_eq!(failing(), 0.0);
        // NOT_SERVING, SERVICE_UNKNOWN, and no answer but a status.
        for bad in [2, 3, u8::MAX] {
            says.store(bad, Ordering::SeqCst);
            until("it is out", || failing() == 1.0).await;
            says.store(1, Ordering::SeqCst);
            until("it is back", || failing() == 0.0).await;
        }
        for told in ["it says NOT_SERVING", "it says SERVICE_UNKNOWN", "grpc-status 5"] {
            gateway.wait_for_line(&["endpoint is left out", told]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_connections_is_well() {
    let strong = Endpoint::named("strong").await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let check = "healthCheck: {type: TCP, interval: 100ms, timeout: 100ms, unhealthyThreshold: 2}";
    let gateway = Gateway::start_with(&declared(&[strong.address, address], check), &["--workers", "1"]);
    for _ in 0..3 {
        soon(silent.accept()).await.unwrap();
    }
    assert_eq!(gateway.endpoints("failing"), 0.0);
    drop(silent);
    until("it is out", || gateway.endpoints("failing") == 1.0).await;
    let mut client = traffic::http1(gateway.http).await;
    for _ in 0..10 {
        assert_eq!(soon(ask(&mut client, get())).await.unwrap().body, Bytes::from("strong"));
    }
}
