//! Endpoints that come, go and close their connections while requests arrive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::harness::backend::service_speaking;
use crate::harness::endpoint::{Endpoint, Speaks, empty, full, read_head};
use crate::harness::gateway::Gateway;
use crate::harness::objects::route;
use crate::harness::traffic::{self, Load, ask, request, soon, until};

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

/// A rolling update, twenty times over: all endpoints are replaced while 500 requests a second arrive, GET and POST, and
/// those replaced stop as soon as they are no longer listed.
async fn none_fails_while_endpoints_are_swapped(protocol: &str, speaks: Speaks) {
    let declared = |endpoints: &[Endpoint]| {
        let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        service_speaking("s", protocol, &addresses) + &route("s", "")
    };
    let mut endpoints = four(&speaks).await;
    let gateway = Gateway::start_with(&declared(&endpoints), &["--workers", "2"]);
    let load = Load::start(gateway.http, 500);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let next = four(&speaks).await;
        gateway.apply(&declared(&next));
        for old in std::mem::replace(&mut endpoints, next) {
            old.leave().await;
        }
    }
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, Vec::<String>::new(), "of {}", outcome.sent);
    assert!(outcome.sent >= 1500, "{}", outcome.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn none_fails_while_http1_endpoints_are_swapped() {
    none_fails_while_endpoints_are_swapped("http", Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_fails_while_http2_endpoints_are_swapped() {
    none_fails_while_endpoints_are_swapped("kubernetes.io/h2c", Speaks::H2c).await;
}

/// One endpoint of four is killed without notice and stays listed: what it was asked goes to another one, as long as that
/// does no harm twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_endpoint_costs_no_get() {
    let mut endpoints = four(&Speaks::Http1).await;
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let gateway = Gateway::start(&(service_speaking("s", "http", &addresses) + &route("s", "")));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (address, answered) = (gateway.http, answered.clone());
        asking.spawn(async move {
            let mut client = traffic::http1(address).await;
            for number in 0..250 {
                let answer = soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap();
                assert_eq!(answer.status, 200, "{number}: {}", answer.text());
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    // By then every connection has served before, and its loss is that of a stale one.
    until("all is in full swing", || answered.load(Ordering::SeqCst) > 500).await;
    drop(endpoints.pop());
    soon(asking.join_all()).await;
}

/// A backend that closes any connection after one to five requests, at once or within a few milliseconds: sooner or later
/// a request meets a connection in the moment it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn none_fails_on_connections_that_close_at_random() {
    let endpoint = Endpoint::scripted(|mut tcp, number| async move {
        // Different for neighbours, and the same in every run.
        let random = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        for _ in 0..random % 5 + 1 {
            if read_head(&mut tcp).await.is_empty() {
                return;
            }
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
        match random >> 8 & 3 {
            0 => {}
            1 => tokio::task::yield_now().await,
            2 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    })
    .await;
    let gateway = Gateway::start(&(service_speaking("s", "http", &[endpoint.address]) + &route("s", "")));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let address = gateway.http;
        asking.spawn(async move {
            let mut client = traffic::http1(address).await;
            let mut failed = Vec::new();
            for number in 0..1250 {
                let answer = soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap();
                if answer.status != 200 {
                    failed.push((number, answer.text().to_owned()));
                }
            }
            failed
        });
    }
    let failed: Vec<_> = tokio::time::timeout(Duration::from_secs(60), asking.join_all()).await.unwrap().concat();
    assert_eq!(failed, Vec::new(), "of 20000");
    // They did close, and did so under requests.
    assert!(endpoint.accepted() > 4000, "{}", endpoint.accepted());
}
