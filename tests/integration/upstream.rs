//! From a chosen backend to an answer: protocols, pool, retries, timeouts, balancers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::backend::{service, service_speaking};
use crate::harness::certs::Authority;
use crate::harness::endpoint::{
    Bodied, Endpoint, Speaks, empty, full, piecewise, read_exactly, read_head, read_to_the_end,
};
use crate::harness::gateway::{Gateway, binary};
use crate::harness::objects::route;
use crate::harness::traffic::{self, Answer, ask, request, soon, until};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One worker, so that there is one pool.
const ONE: &[&str] = &["--workers", "1"];

/// A gateway in front of one Service of these addresses; `more` is further fields of the rule.
fn in_front_of(addresses: &[SocketAddr], more: &str) -> Gateway {
    Gateway::start_with(&declared(addresses, more), ONE)
}

fn declared(addresses: &[SocketAddr], more: &str) -> String {
    service("s", addresses) + &route("s", more)
}

/// An address that refuses connections.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Tells how it was asked.
async fn describe(request: Request<Incoming>) -> Response<Bodied> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let host = parts.uri.authority().map(ToString::to_string);
    let host = host.or_else(|| parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned()));
    let text = format!(
        "{:?} {} {} {} {}",
        parts.version,
        parts.method,
        host.unwrap_or_default(),
        parts.uri.path_and_query().unwrap(),
        body.len()
    );
    Response::new(full(text))
}

// === Protocols ===

#[tokio::test(flavor = "multi_thread")]
async fn backends_are_spoken_to_as_their_port_declares() {
    let http1 = Endpoint::answering(Speaks::Http1, describe).await;
    let h2c = Endpoint::answering(Speaks::H2c, describe).await;
    for (protocol, endpoint, version) in [
        ("http", &http1, Version::HTTP_11),
        ("kubernetes.io/h2c", &h2c, Version::HTTP_2),
        ("grpc", &h2c, Version::HTTP_2),
    ] {
        let gateway =
            Gateway::start_with(&(service_speaking("s", protocol, &[endpoint.address]) + &route("s", "")), ONE);
        let mut client = traffic::http1(gateway.http).await;
        let answer = soon(ask(&mut client, request(Method::GET, "/a?b=c", empty()))).await.unwrap();
        assert_eq!(answer.text(), format!("{version:?} GET test /a?b=c 0"), "{protocol}");
        let answer = soon(ask(&mut client, request(Method::POST, "/", full("hello")))).await.unwrap();
        assert_eq!(answer.text(), format!("{version:?} POST test / 5"), "{protocol}");
        let mut client = traffic::http2(gateway.http).await;
        let post = traffic::request2(Method::PUT, "/2", full("hello"));
        let answer = soon(traffic::ask2(&mut client, post)).await.unwrap();
        assert_eq!(answer.text(), format!("{version:?} PUT test /2 5"), "{protocol}");
    }
}

/// Many requests at once share a connection, and it is not counted as full once they are over.
#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_to_backends_are_shared() {
    let endpoint = Endpoint::answering(Speaks::H2c, describe).await;
    let objects = service_speaking("s", "kubernetes.io/h2c", &[endpoint.address]) + &route("s", "");
    let gateway = Gateway::start_with(&objects, ONE);
    let client = traffic::http2(gateway.http).await;
    for _ in 0..6 {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let mut client = client.clone();
            asking.spawn(async move { traffic::ask2(&mut client, traffic::request2(Method::GET, "/", empty())).await });
        }
        while let Some(answer) = soon(asking.join_next()).await {
            assert_eq!(answer.unwrap().unwrap().status, StatusCode::OK);
        }
    }
    assert_eq!(endpoint.accepted(), 1);
}

/// A backend that allows two streams a connection is given as many connections as that takes; nobody waits behind a
/// stream that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_waits_for_room_on_an_http2_connection() {
    let endpoint = Endpoint::scripted(|tcp, _| async move {
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            if request.uri().path() == "/lasting" {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::convert::Infallible>(Response::new(full("ok")))
        });
        let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .max_concurrent_streams(2)
            .serve_connection(hyper_util::rt::TokioIo::new(tcp), service)
            .await;
    })
    .await;
    let objects = service_speaking("s", "kubernetes.io/h2c", &[endpoint.address]) + &route("s", "");
    let gateway = Gateway::start_with(&objects, ONE);
    let mut client = traffic::http2(gateway.http).await;
    let mut lasting = Vec::new();
    for _ in 0..5 {
        assert_eq!(
            soon(traffic::ask2(&mut client, traffic::request2(Method::GET, "/", empty()))).await.unwrap().text(),
            "ok"
        );
        lasting.push(client.send_request(traffic::request2(Method::GET, "/lasting", empty())));
    }
    assert_eq!(
        soon(traffic::ask2(&mut client, traffic::request2(Method::GET, "/", empty()))).await.unwrap().text(),
        "ok"
    );
    assert_eq!(endpoint.accepted(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_over_tls_must_prove_who_it_is() {
    let authority = Authority::new();
    let right =
        Endpoint::answering(Speaks::Tls(authority.server("s.default.svc", &[b"h2", b"http/1.1"])), describe).await;
    let old = Endpoint::answering(Speaks::Tls(authority.server("s.default.svc", &[b"http/1.1"])), describe).await;
    let other = Endpoint::answering(Speaks::Tls(authority.server("other.default.svc", &[b"h2"])), describe).await;
    let objects = |endpoint: &Endpoint| service_speaking("s", "https", &[endpoint.address]) + &route("s", "");

    // Nobody trusts the authority.
    let gateway = Gateway::start_with(&objects(&right), ONE);
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "connect_failed".to_owned()));

    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, authority.pem()).unwrap();
    let mut command = Command::new(binary());
    command.env("SSL_CERT_FILE", &bundle);
    let gateway = Gateway::start_as(command, &objects(&right), ONE);
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "HTTP/2.0 GET test / 0");
    gateway.apply(&objects(&old));
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "HTTP/1.1 GET test / 0");
    gateway.apply(&objects(&other));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "connect_failed".to_owned()));
}

// === Pool ===

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = in_front_of(&[endpoint.address], "");
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let address = gateway.http;
        asking.spawn(async move {
            let mut client = traffic::http1(address).await;
            for number in 0..1000 {
                let body = if number % 4 == 0 { full("body") } else { empty() };
                let method = if number % 4 == 0 { Method::POST } else { Method::GET };
                assert_eq!(soon(ask(&mut client, request(method, "/", body))).await.unwrap().text(), "ok");
            }
        });
    }
    soon(asking.join_all()).await;
    // 4,000 requests, of which 99.9 % or more found a connection.
    assert!(endpoint.accepted() <= 4, "{}", endpoint.accepted());
}

/// Node closes after 5 s, and says `Keep-Alive: timeout=5`; a backend that says more or less is believed.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_before_the_backend_does() {
    let silent = Endpoint::named("ok").await;
    let hinting = |value: &'static str| {
        Endpoint::answering(Speaks::Http1, move |_| async move {
            Response::builder().header("keep-alive", value).body(full("ok")).unwrap()
        })
    };
    let (short, long) = (hinting("timeout=2").await, hinting("timeout=600").await);
    let gateways: Vec<Gateway> = [&silent, &short, &long].map(|endpoint| in_front_of(&[endpoint.address], "")).into();
    for gateway in &gateways {
        assert_eq!(traffic::get(gateway.http, "/").await.text(), "ok");
    }
    let began = std::time::Instant::now();
    until("the short one is closed", || short.open() == 0).await;
    assert_eq!((silent.open(), long.open()), (1, 1));
    until("the usual one is closed", || silent.open() == 0).await;
    assert!(began.elapsed() > Duration::from_secs(3));
    assert_eq!(long.open(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_an_endpoint_that_left_are_closed() {
    let leaving = Endpoint::answering(Speaks::Http1, |_| async {
        Response::builder().header("keep-alive", "timeout=600").body(full("ok")).unwrap()
    })
    .await;
    let multiplexed = Endpoint::answering(Speaks::H2c, describe).await;
    let staying = Endpoint::named("new").await;
    let gateway = in_front_of(&[leaving.address], "");
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "ok");
    assert_eq!(leaving.open(), 1);
    gateway.apply(&(service_speaking("s", "h2c", &[multiplexed.address]) + &route("s", "")));
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "HTTP/2.0 GET test / 0");
    until("its connection is closed", || leaving.open() == 0).await;
    gateway.apply(&declared(&[staying.address], ""));
    until("its connection is closed", || multiplexed.open() == 0).await;
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "new");
}

// === Trying again ===

/// A backend that answers once per connection, and closes when the second request has come.
async fn answering_once(requests: Arc<AtomicUsize>) -> Endpoint {
    Endpoint::scripted(move |mut tcp, _| {
        let requests = requests.clone();
        async move {
            for number in 0..2 {
                if read_head(&mut tcp).await.is_empty() {
                    return;
                }
                requests.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    tcp.write_all(OK.as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_go_out_twice_does_when_its_connection_was_stale() {
    for (method, expected, total) in [
        (Method::GET, (200, String::new()), 3),
        (Method::PUT, (200, String::new()), 3),
        (Method::DELETE, (200, String::new()), 3),
        (Method::POST, (502, "upstream_reset".to_owned()), 2),
        (Method::PATCH, (502, "upstream_reset".to_owned()), 2),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let endpoint = answering_once(requests.clone()).await;
        let gateway = in_front_of(&[endpoint.address], "");
        let mut client = traffic::http1(gateway.http).await;
        assert_eq!(soon(ask(&mut client, request(method.clone(), "/", empty()))).await.unwrap().status, 200);
        let second = soon(ask(&mut client, request(method.clone(), "/", empty()))).await.unwrap();
        assert_eq!(second.refusal(), expected, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), total, "{method}");
    }
}

/// A body that has gone out cannot go out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_body_is_sent_once() {
    let requests = Arc::new(AtomicUsize::new(0));
    let endpoint = answering_once(requests.clone()).await;
    let gateway = in_front_of(&[endpoint.address], "");
    let mut client = traffic::http1(gateway.http).await;
    assert_eq!(soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap().status, 200);
    let second = soon(ask(&mut client, request(Method::PUT, "/", full("body")))).await.unwrap();
    assert_eq!(second.refusal(), (502, "upstream_reset".to_owned()));
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

/// The backend has closed while the connection rested: nothing was sent, so even a POST with a body goes out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_while_it_rested_is_not_used() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        assert!(read_head(&mut tcp).await.contains("content-length: 4"));
        assert_eq!(read_exactly(&mut tcp, 4).await, "body");
        tcp.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = in_front_of(&[endpoint.address], "");
    let mut client = traffic::http1(gateway.http).await;
    for number in 1..=3 {
        let answer = soon(ask(&mut client, request(Method::POST, "/", full("body")))).await.unwrap();
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
        until("it is closed", || endpoint.open() == 0).await;
        assert_eq!(endpoint.accepted(), number);
    }
}

/// The stale connection's endpoint is gone for good; another one takes the request.
#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_takes_over_from_one_that_died_with_its_connections() {
    let staying = Endpoint::named("staying").await;
    let dying = Endpoint::named("dying").await;
    let gateway = in_front_of(&[dying.address, staying.address], "loadBalancer: {type: RoundRobin}");
    let mut client = traffic::http1(gateway.http).await;
    let mut names = BTreeSet::new();
    for _ in 0..4 {
        names.insert(soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap().text().to_owned());
    }
    assert_eq!(names.len(), 2);
    drop(dying);
    for _ in 0..10 {
        for method in [Method::GET, Method::POST] {
            let answer = soon(ask(&mut client, request(method, "/", empty()))).await.unwrap();
            assert_eq!(answer.text(), "staying");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_leads_to_another_endpoint() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = in_front_of(&[refusing().await, endpoint.address], "loadBalancer: {type: RoundRobin}");
    let mut client = traffic::http1(gateway.http).await;
    for number in 0..20 {
        let (method, body) = if number % 2 == 0 { (Method::GET, empty()) } else { (Method::POST, full("body")) };
        assert_eq!(soon(ask(&mut client, request(method, "/", body))).await.unwrap().text(), "ok");
    }
    gateway.apply(&declared(&[refusing().await], ""));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "connect_failed".to_owned()));
    gateway.apply(&declared(&[], ""));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "no_backend".to_owned()));
}

// === Timeouts ===

#[tokio::test(flavor = "multi_thread")]
async fn each_timeout_has_its_own_answer() {
    // A listener whose queue is full: the kernel answers no further attempt.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let deaf = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued = TcpStream::connect(deaf).await.unwrap();
    let gateway = in_front_of(&[deaf], "timeouts: {connect: 200ms}");
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (503, "connect_timeout".to_owned()));

    let mute = Endpoint::scripted(|mut tcp, _| async move {
        read_to_the_end(&mut tcp).await;
    })
    .await;
    gateway.apply(&declared(&[mute.address], "timeouts: {backendRequest: 200ms}"));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (504, "upstream_timeout".to_owned()));
    until("the backend is let go", || mute.open() == 0).await;
    gateway.apply(&declared(&[mute.address], "timeouts: {request: 200ms}"));
    assert_eq!(traffic::get(gateway.http, "/").await.refusal(), (504, "request_timeout".to_owned()));
    until("the backend is let go", || mute.open() == 0).await;

    // It begins to answer and falls silent: all that can be done is to break off.
    let stalling = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        read_to_the_end(&mut tcp).await;
    })
    .await;
    for timeouts in ["{idle: 200ms}", "{request: 300ms}"] {
        gateway.apply(&declared(&[stalling.address], &format!("timeouts: {timeouts}")));
        let mut client = traffic::http1(gateway.http).await;
        let broken = soon(ask(&mut client, request(Method::GET, "/", empty()))).await;
        assert!(broken.is_err(), "{timeouts}: {broken:?}");
        until("the backend is let go", || stalling.open() == 0).await;
    }
    let metrics = gateway.metrics();
    for reason in ["connect_timeout", "upstream_timeout", "request_timeout"] {
        assert!(metrics.contains(&format!("\"{reason}\"")), "{reason}: {metrics}");
    }
}

/// A body that keeps coming is not cut off by the time for silence, however long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_not_a_silent_one() {
    let slow = Endpoint::answering(Speaks::Http1, |_| async {
        let (pieces, body) = piecewise();
        tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                pieces.send("piece").await;
            }
        });
        Response::new(body)
    })
    .await;
    let gateway = in_front_of(&[slow.address], "timeouts: {idle: 400ms, backendRequest: 300ms}");
    assert_eq!(traffic::get(gateway.http, "/").await.body, Bytes::from("piece".repeat(8)));
}

// === Balancers ===

/// Three endpoints that answer with their names.
async fn three() -> [Endpoint; 3] {
    [Endpoint::named("a").await, Endpoint::named("b").await, Endpoint::named("c").await]
}

async fn ask_many(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut client = traffic::http1(gateway.http).await;
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        let answer = soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap();
        *counts.entry(answer.text().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_goes_round() {
    let endpoints = three().await;
    let gateway =
        in_front_of(&endpoints.each_ref().map(|endpoint| endpoint.address), "loadBalancer: {type: RoundRobin}");
    let mut client = traffic::http1(gateway.http).await;
    let mut names = Vec::new();
    for _ in 0..9 {
        names.push(soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap().text().to_owned());
    }
    assert_eq!(names[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{names:?}");
    assert_eq!((&names[..3], &names[..3]), (&names[3..6], &names[6..]), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_finds_everybody() {
    let endpoints = three().await;
    let gateway = in_front_of(&endpoints.each_ref().map(|endpoint| endpoint.address), "loadBalancer: {type: Random}");
    let counts = ask_many(&gateway, 300).await;
    // 100 each, give or take six standard deviations of 8.2.
    assert!(counts.len() == 3 && counts.values().all(|count| (50..=150).contains(count)), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn least_request_avoids_the_busy_one() {
    let busy = Endpoint::scripted(|mut tcp, _| async move {
        read_to_the_end(&mut tcp).await;
    })
    .await;
    let free = Endpoint::named("free").await;
    let gateway = in_front_of(&[busy.address, free.address], "loadBalancer: {type: LeastRequest}");
    // An idle cluster is visited all round, so one of two requests hangs; and then no other goes there.
    let mut client = traffic::http1(gateway.http).await;
    let hanging = loop {
        let mut asking = Box::pin(ask(&mut client, request(Method::GET, "/", empty())));
        tokio::select! {
            answer = &mut asking => assert_eq!(answer.unwrap().text(), "free"),
            () = until("one hangs", || busy.accepted() > 0) => break asking,
        }
        drop(asking);
    };
    assert_eq!(ask_many(&gateway, 50).await, BTreeMap::from([("free".to_owned(), 50)]));
    assert_eq!(busy.accepted(), 1);
    drop(hanging);
}

/// A tunnel keeps its endpoint busy for as long as it is open.
#[tokio::test(flavor = "multi_thread")]
async fn least_request_counts_tunnels() {
    let endpoint = || {
        Endpoint::scripted(|mut tcp, _| async move {
            while let head = read_head(&mut tcp).await
                && !head.is_empty()
            {
                let answer = if head.contains("Sec-WebSocket") || head.contains("sec-websocket") {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                } else {
                    OK
                };
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
        })
    };
    let endpoints = [endpoint().await, endpoint().await];
    let gateway = in_front_of(&endpoints.each_ref().map(|endpoint| endpoint.address), "");
    let mut tunnel = TcpStream::connect(gateway.http).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tunnel.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(soon(read_head(&mut tunnel)).await.starts_with("HTTP/1.1 101 "));
    let busy = endpoints.iter().position(|endpoint| endpoint.accepted() == 1).unwrap();
    let mut client = traffic::http1(gateway.http).await;
    for _ in 0..20 {
        assert_eq!(soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap().text(), "ok");
    }
    assert_eq!((endpoints[busy].accepted(), endpoints[1 - busy].accepted()), (1, 1));
    drop(tunnel);
    until("it is over", || endpoints[busy].open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peak_ewma_prefers_the_quick_one() {
    let slow = Endpoint::answering(Speaks::Http1, |_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new(full("slow"))
    })
    .await;
    let quick = Endpoint::named("quick").await;
    let gateway = in_front_of(&[slow.address, quick.address], "loadBalancer: {type: PeakEWMA}");
    let counts = ask_many(&gateway, 100).await;
    assert!(counts["quick"] >= 95, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_same_endpoint_on_every_replica() {
    let endpoints = three().await;
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    type Asked = fn(&str) -> Request<Bodied>;
    let keys: [(&str, Asked); 4] = [
        ("{type: Header, name: X-Key}", |key| {
            let mut request = request(Method::GET, "/things/1", empty());
            request.headers_mut().insert("x-key", key.parse().unwrap());
            request
        }),
        ("{type: Cookie, name: key}", |key| {
            let mut request = request(Method::GET, "/things/1", empty());
            request.headers_mut().insert("cookie", format!("other=1; key={key}").parse().unwrap());
            request
        }),
        ("{type: QueryParam, name: key}", |key| request(Method::GET, &format!("/things/1?other=1&key={key}"), empty())),
        ("{type: PathParam, name: key}", |key| request(Method::GET, &format!("/things/{key}"), empty())),
    ];
    for (hash, asked) in keys {
        let more = format!(
            "matches: [{{path: {{type: Template, value: '/things/:key'}}}}], loadBalancer: {{type: ConsistentHash, \
             consistentHash: {hash}}}"
        );
        let objects = declared(&addresses, &more);
        let replicas = [Gateway::start_with(&objects, ONE), Gateway::start_with(&objects, &["--workers", "2"])];
        let mut homes = BTreeSet::new();
        for key in 0..20 {
            let mut answers = BTreeSet::new();
            for replica in &replicas {
                for _ in 0..3 {
                    let mut client = traffic::http1(replica.http).await;
                    let answer: Answer = soon(ask(&mut client, asked(&format!("key-{key}")))).await.unwrap();
                    answers.insert(answer.text().to_owned());
                }
            }
            assert_eq!(answers.len(), 1, "{hash}, key {key}");
            homes.extend(answers);
        }
        assert!(homes.len() > 1, "{hash}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_the_same_endpoint_on_every_replica() {
    let endpoints = three().await;
    let more = "loadBalancer: {type: ConsistentHash, consistentHash: {type: ClientIP}}";
    let objects = declared(&endpoints.each_ref().map(|endpoint| endpoint.address), more);
    let replicas = [Gateway::start_with(&objects, ONE), Gateway::start_with(&objects, &["--workers", "2"])];
    let mut homes = BTreeSet::new();
    for last in 1..=12 {
        let mut answers = BTreeSet::new();
        for replica in &replicas {
            for _ in 0..2 {
                // All of 127.0.0.0/8 is this machine.
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(format!("127.0.0.{last}:0").parse().unwrap()).unwrap();
                let tcp = socket.connect(replica.http).await.unwrap();
                let (mut client, connection) =
                    hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(tcp)).await.unwrap();
                tokio::spawn(connection);
                let answer = soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap();
                answers.insert(answer.text().to_owned());
            }
        }
        assert_eq!(answers.len(), 1, "127.0.0.{last}");
        homes.extend(answers);
    }
    assert!(homes.len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_get_their_weight() {
    let (heavy, light, none) =
        (Endpoint::named("heavy").await, Endpoint::named("light").await, Endpoint::named("none").await);
    let objects = service("heavy", &[heavy.address])
        + &service("light", &[light.address])
        + &service("none", &[none.address])
        + "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: all}\nspec: {rules: [{name: all, \
           backendRefs: [{name: heavy, port: 80, weight: 90}, {name: light, port: 80, weight: 10}, {name: none, port: 80, \
           weight: 0}]}]}\n";
    let gateway = Gateway::start_with(&objects, ONE);
    let counts = ask_many(&gateway, 1000).await;
    // 900 of 1,000, give or take five standard deviations of 9.5.
    assert!((852..=948).contains(&counts["heavy"]) && !counts.contains_key("none"), "{counts:?}");
}
