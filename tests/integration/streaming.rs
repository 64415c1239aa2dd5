//! Bodies and protocols that flow: WebSocket, gRPC, large and slow bodies, informational responses, clients that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use xxhash_rust::xxh3::Xxh3;

use crate::harness::backend::{service, service_speaking};
use crate::harness::certs::Authority;
use crate::harness::endpoint::{
    Bodied, Endpoint, Speaks, empty, full, piecewise, read_exactly, read_head, read_to_the_end,
};
use crate::harness::gateway::{Gateway, binary};
use crate::harness::objects::route;
use crate::harness::traffic::{self, ask, ask2, read_response, request, request2, soon, until, whole};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A masked text frame that says `Hello`, and the one that a server answers with (RFC 6455 5.7).
const MASKED_HELLO: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const HELLO: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];

fn in_front_of(endpoint: &Endpoint) -> Gateway {
    speaking("http", endpoint.address)
}

fn speaking(protocol: &str, address: SocketAddr) -> Gateway {
    Gateway::start_with(&(service_speaking("s", protocol, &[address]) + &route("s", "")), &["--workers", "1"])
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.http).await.unwrap()
}

/// What comes next, if anything comes within a moment.
async fn at_once(tcp: &mut TcpStream) -> Option<u8> {
    tokio::time::timeout(Duration::from_millis(100), tcp.read_u8()).await.ok().map(Result::unwrap)
}

// === WebSocket ===

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_with_the_backends_101_and_not_before() {
    let agree = Arc::new(Notify::new());
    let endpoint = Endpoint::scripted({
        let agree = agree.clone();
        move |mut tcp, _| {
            let agree = agree.clone();
            async move {
                let head = read_head(&mut tcp).await.to_ascii_lowercase();
                assert!(head.contains("connection: upgrade") && head.contains("upgrade: websocket"), "{head}");
                assert!(head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq=="), "{head}");
                // What the client said too early has to wait for the answer.
                assert_eq!(at_once(&mut tcp).await, None);
                agree.notified().await;
                // The first frame comes along with the answer.
                tcp.write_all(&[SWITCHED.as_bytes(), HELLO].concat()).await.unwrap();
                let mut frame = [0; MASKED_HELLO.len()];
                while tcp.read_exact(&mut frame).await.is_ok() {
                    assert_eq!(frame, MASKED_HELLO);
                    tcp.write_all(HELLO).await.unwrap();
                }
            }
        }
    })
    .await;
    let gateway = in_front_of(&endpoint);
    let mut client = connect(&gateway).await;
    client.write_all(&[UPGRADE.as_bytes(), MASKED_HELLO].concat()).await.unwrap();
    assert_eq!(at_once(&mut client).await, None);
    agree.notify_one();
    let head = soon(read_head(&mut client)).await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: websocket"), "{head}");
    let mut frame = [0; HELLO.len()];
    for round in 0..5 {
        soon(client.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame, HELLO);
        if round > 0 {
            client.write_all(MASKED_HELLO).await.unwrap();
        }
    }
    soon(client.read_exact(&mut frame)).await.unwrap();
    // A client that goes away takes its tunnel along.
    drop(client);
    until("the backend sees it", || endpoint.open() == 0).await;
}

/// A tunnel in which nothing moves for the time of silence is closed, one in which something does is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tunnel_is_closed() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(SWITCHED.as_bytes()).await.unwrap();
        // Twice as long as silence may last, and never silent for so long.
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..6 {
            turns.tick().await;
            tcp.write_all(b".").await.unwrap();
        }
        read_to_the_end(&mut tcp).await;
    })
    .await;
    let objects = service("s", &[endpoint.address]) + &route("s", "timeouts: {idle: 300ms}");
    let gateway = Gateway::start(&objects);
    let mut client = connect(&gateway).await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 101 "));
    let open = |protocol: &str, count: u32| {
        let series = format!("headgate_connections{{listener=\"http\",protocol=\"{protocol}\"}} {count}\n");
        gateway.metrics().contains(&series)
    };
    until("it is counted as a tunnel", || open("tunnel", 1) && open("http1", 0)).await;
    assert_eq!(soon(read_to_the_end(&mut client)).await, b"......");
    until("it is counted no more", || open("tunnel", 0)).await;
    until("the backend is let go", || endpoint.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_leaves_the_connection_as_it_was() {
    let endpoint = Endpoint::answering(Speaks::Http1, |request| async move {
        let upgrade = request.headers().contains_key(header::UPGRADE);
        let status = if upgrade { StatusCode::FORBIDDEN } else { StatusCode::OK };
        Response::builder().status(status).body(full(request.uri().path().to_owned())).unwrap()
    })
    .await;
    let gateway = in_front_of(&endpoint);
    let mut client = connect(&gateway).await;
    for _ in 0..2 {
        client.write_all(UPGRADE.as_bytes()).await.unwrap();
        let (head, body) = read_response(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        assert_eq!(body, "/chat");
        client.write_all(b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let (head, body) = read_response(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, "/next");
    }
}

/// What follows a request to upgrade is no business of its backend until that has agreed: it would get past the routes.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_upgrade_is_routed() {
    let chat = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        assert_eq!(read_to_the_end(&mut tcp).await, b"");
    })
    .await;
    let admin = Endpoint::named("admin").await;
    let objects = service("chat", &[chat.address])
        + &service("admin", &[admin.address])
        + "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: all}\nspec: {rules: [\
           {matches: [{path: {type: PathPrefix, value: /chat}}], backendRefs: [{name: chat, port: 80}]}, \
           {matches: [{path: {type: PathPrefix, value: /admin}}], backendRefs: [{name: admin, port: 80}]}]}\n";
    let gateway = Gateway::start(&objects);
    let mut client = connect(&gateway).await;
    let both = format!("{UPGRADE}GET /admin HTTP/1.1\r\nHost: test\r\n\r\nGET /none HTTP/1.1\r\nHost: test\r\n\r\n");
    client.write_all(both.as_bytes()).await.unwrap();
    assert!(read_response(&mut client).await.0.starts_with("HTTP/1.1 400 "));
    assert_eq!(read_response(&mut client).await.1, "admin");
    assert!(read_response(&mut client).await.0.starts_with("HTTP/1.1 404 "));
}

/// A backend that would choose HTTP/2 is asked for HTTP/1.1 when the protocol is to change.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_over_tls_to_the_backend() {
    let authority = Authority::new();
    let config = authority.server("s.default.svc", &[b"h2", b"http/1.1"]);
    let endpoint = Endpoint::scripted(move |tcp, _| {
        let config = config.clone();
        async move {
            let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&[SWITCHED.as_bytes(), HELLO].concat()).await.unwrap();
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let mut command = std::process::Command::new(binary());
    command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
    let objects = service_speaking("s", "https", &[endpoint.address]) + &route("s", "");
    let gateway = Gateway::start_as(command, &objects, &[]);
    let mut client = connect(&gateway).await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 101 "));
    let mut frame = [0; HELLO.len()];
    soon(client.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame, HELLO);
}

// === gRPC ===

/// What gRPC needs of HTTP/2: streams both ways at once, trailers both ways, answers of trailers only, resets with
/// their code.
async fn grpc(request: Request<Incoming>) -> Response<Bodied> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    assert_eq!(request.headers()[header::TE], "trailers");
    match request.uri().path() {
        "/test.Echo/TrailersOnly" => response.header("grpc-status", "12").body(empty()).unwrap(),
        "/test.Echo/Reset" => {
            let (pieces, body) = piecewise();
            tokio::spawn(async move {
                pieces.send("piece").await;
                // A reset overtakes what is on its way, so the client says when it has that.
                request.into_body().collect().await.unwrap();
                pieces.fail(h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM)).await;
            });
            response.body(body).unwrap()
        }
        _ => {
            let (pieces, body) = piecewise();
            let mut incoming = request.into_body();
            tokio::spawn(async move {
                let mut trailers = HeaderMap::new();
                while let Some(frame) = incoming.frame().await {
                    match frame.unwrap().into_data() {
                        Ok(data) => assert!(pieces.send(data).await),
                        Err(frame) => trailers = frame.into_trailers().unwrap(),
                    }
                }
                trailers.insert("grpc-status", "0".parse().unwrap());
                pieces.trailers(trailers).await;
            });
            response.body(body).unwrap()
        }
    }
}

fn grpc_request(method: &str, body: Bodied) -> Request<Bodied> {
    let mut request = request2(Method::POST, &format!("/test.Echo/{method}"), body);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
    request.headers_mut().insert(header::TE, "trailers".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_goes_through_from_end_to_end() {
    let endpoint = Endpoint::answering(Speaks::H2c, grpc).await;
    let gateway = speaking("grpc", endpoint.address);
    let mut client = traffic::http2(gateway.http).await;

    // A conversation: each message is answered before the next is said.
    let (pieces, body) = piecewise();
    let response = soon(client.send_request(grpc_request("Chat", body))).await.unwrap();
    let mut incoming = response.into_body();
    for message in ["one", "two", "three"] {
        assert!(pieces.send(message).await);
        assert_eq!(soon(incoming.frame()).await.unwrap().unwrap().into_data().unwrap(), message);
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "3".parse().unwrap())]);
    assert!(pieces.trailers(trailers).await);
    drop(pieces);
    let trailers = soon(incoming.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!((trailers["grpc-status"].as_bytes(), trailers["x-sum"].as_bytes()), (&b"0"[..], &b"3"[..]));
    assert!(soon(incoming.frame()).await.is_none());

    let answer = soon(ask2(&mut client, grpc_request("TrailersOnly", full("question")))).await.unwrap();
    assert_eq!((answer.headers["grpc-status"].as_bytes(), answer.trailers), (&b"12"[..], None));

    let (pieces, body) = piecewise();
    let response = soon(client.send_request(grpc_request("Reset", body))).await.unwrap();
    let mut incoming = response.into_body();
    assert_eq!(soon(incoming.frame()).await.unwrap().unwrap().into_data().unwrap(), "piece");
    drop(pieces);
    let error = soon(incoming.frame()).await.unwrap().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<h2::Error>().unwrap();
    assert_eq!(cause.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));

    // All of that on one connection, which is as good as new.
    let answer = soon(ask2(&mut client, grpc_request("Echo", full("again")))).await.unwrap();
    assert_eq!((answer.text(), answer.trailers.as_ref().unwrap()["grpc-status"].as_bytes()), ("again", &b"0"[..]));
    assert_eq!(endpoint.accepted(), 1);
}

// === Large and slow bodies ===

const PIECE: usize = 64 * 1024;
/// 100 MB in pieces.
const PIECES: usize = 100_000_000 / PIECE;
/// How much the process may grow meanwhile.
const GROWTH: u64 = 20_000_000;

/// The piece of that number, different from every other.
fn piece(number: usize) -> Bytes {
    let mut bytes = vec![number as u8; PIECE];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    bytes.into()
}

fn send_pieces() -> Bodied {
    let (pieces, body) = piecewise();
    tokio::spawn(async move {
        for number in 0..PIECES {
            assert!(pieces.send(piece(number)).await);
        }
    });
    body
}

async fn hash(mut body: Incoming) -> (u64, usize) {
    let (mut hash, mut length) = (Xxh3::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        hash.update(&data);
        length += data.len();
    }
    (hash.digest(), length)
}

fn expected() -> (u64, usize) {
    let mut hash = Xxh3::new();
    (0..PIECES).for_each(|number| hash.update(&piece(number)));
    (hash.digest(), PIECES * PIECE)
}

/// Sends what it is sent the hash of, and sends 100 MB when asked for them.
async fn warehouse(request: Request<Incoming>) -> Response<Bodied> {
    if request.method() == Method::POST {
        let (hash, length) = hash(request.into_body()).await;
        return Response::new(full(format!("{hash} {length}")));
    }
    let mut response = Response::new(send_pieces());
    if request.uri().path() == "/length" {
        response.headers_mut().insert(header::CONTENT_LENGTH, (PIECES * PIECE).into());
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_and_leave_nothing_behind() {
    let (expected_hash, expected_length) = expected();
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let endpoint = Endpoint::answering(speaks, warehouse).await;
        let gateway = speaking(protocol, endpoint.address);
        traffic::get(gateway.http, "/none").await;
        let before = gateway.memory();
        for http2 in [false, true] {
            for path in ["/length", "/chunks"] {
                let response = if http2 {
                    let request = request2(Method::GET, path, empty());
                    soon(traffic::http2(gateway.http).await.send_request(request)).await.unwrap()
                } else {
                    let request = request(Method::GET, path, empty());
                    soon(traffic::http1(gateway.http).await.send_request(request)).await.unwrap()
                };
                let got = tokio::time::timeout(Duration::from_secs(60), hash(response.into_body())).await.unwrap();
                assert_eq!(got, (expected_hash, expected_length), "{protocol} {http2} {path}");
                let answer = if http2 {
                    let request = request2(Method::POST, path, send_pieces());
                    soon(ask2(&mut traffic::http2(gateway.http).await, request)).await.unwrap()
                } else {
                    let mut request = request(Method::POST, path, send_pieces());
                    if path == "/length" {
                        request.headers_mut().insert(header::CONTENT_LENGTH, (PIECES * PIECE).into());
                    }
                    soon(ask(&mut traffic::http1(gateway.http).await, request)).await.unwrap()
                };
                assert_eq!(answer.text(), format!("{expected_hash} {expected_length}"), "{protocol} {http2} {path}");
            }
        }
        let growth = gateway.memory().saturating_sub(before);
        assert!(growth < GROWTH, "{protocol}: grew by {growth}");
    }
}

/// Waits until a counter stands still, and gives it.
async fn settled(counter: &AtomicU64) -> u64 {
    let mut last = counter.load(Ordering::SeqCst);
    soon(async {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = counter.load(Ordering::SeqCst);
            if now == last && now > 0 {
                return now;
            }
            last = now;
        }
    })
    .await
}

/// What a reader does not take stays with the writer: in socket buffers, not in the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_its_writer_down() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let (given, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let endpoint = Endpoint::answering(speaks, {
            let (given, taken) = (given.clone(), taken.clone());
            move |request: Request<Incoming>| {
                let (given, taken) = (given.clone(), taken.clone());
                async move {
                    if request.method() == Method::POST {
                        taken.notified().await;
                        return Response::new(full(hash(request.into_body()).await.1.to_string()));
                    }
                    let (pieces, body) = piecewise();
                    tokio::spawn(async move {
                        for number in 0..PIECES {
                            if !pieces.send(piece(number)).await {
                                return;
                            }
                            given.fetch_add(PIECE as u64, Ordering::SeqCst);
                        }
                    });
                    Response::new(body)
                }
            }
        })
        .await;
        let gateway = speaking(protocol, endpoint.address);
        let before = gateway.memory();

        // Downwards.
        let mut client = connect(&gateway).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
        let sent = settled(&given).await;
        assert!(sent < (PIECES * PIECE / 2) as u64, "{protocol}: {sent} bytes left the backend");
        let growth = gateway.memory().saturating_sub(before);
        assert!(growth < GROWTH, "{protocol}: grew by {growth}");
        let all = soon(read_to_the_end(&mut client)).await;
        assert!(all.len() > PIECES * PIECE && all.ends_with(b"0\r\n\r\n"));

        // Upwards.
        given.store(0, Ordering::SeqCst);
        let mut client = connect(&gateway).await;
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", PIECES * PIECE);
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = client.into_split();
        let writer = tokio::spawn({
            let given = given.clone();
            async move {
                for number in 0..PIECES {
                    writing.write_all(&piece(number)).await.unwrap();
                    given.fetch_add(PIECE as u64, Ordering::SeqCst);
                }
                writing
            }
        });
        let sent = settled(&given).await;
        assert!(sent < (PIECES * PIECE / 2) as u64, "{protocol}: {sent} bytes left the client");
        let growth = gateway.memory().saturating_sub(before);
        assert!(growth < GROWTH, "{protocol}: grew by {growth}");
        taken.notify_one();
        let _writing = soon(writer).await.unwrap();
        let mut answer = Vec::new();
        soon(async {
            while !answer.ends_with((PIECES * PIECE).to_string().as_bytes()) {
                answer.push(reading.read_u8().await.unwrap());
            }
        })
        .await;
    }
}

// === The forms of a response ===

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_have_none() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let endpoint = Endpoint::answering(speaks, |request| async move {
            match request.uri().path() {
                "/204" => Response::builder().status(204).body(empty()).unwrap(),
                "/304" => Response::builder().status(304).header(header::ETAG, "\"a\"").body(empty()).unwrap(),
                _ if request.method() == Method::HEAD => {
                    Response::builder().header(header::CONTENT_LENGTH, 5).body(empty()).unwrap()
                }
                _ => Response::new(full("hello")),
            }
        })
        .await;
        let gateway = speaking(protocol, endpoint.address);
        let mut client = connect(&gateway).await;
        for (line, status) in [("HEAD /", 200), ("GET /204", 204), ("GET /304", 304), ("GET /", 200)] {
            client.write_all(format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
            let head = soon(read_head(&mut client)).await.to_ascii_lowercase();
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{protocol} {line}: {head}");
            assert!(!head.contains("transfer-encoding"), "{protocol} {line}: {head}");
            match line {
                "HEAD /" => assert!(head.contains("content-length: 5"), "{protocol} {line}: {head}"),
                "GET /204" => assert!(!head.contains("content-length"), "{protocol} {line}: {head}"),
                "GET /304" => assert!(head.contains("etag: \"a\""), "{protocol} {line}: {head}"),
                _ => assert_eq!(soon(read_exactly(&mut client, 5)).await, "hello", "{protocol}"),
            }
        }
        let mut client = traffic::http2(gateway.http).await;
        for (method, path, status, body) in [
            (Method::HEAD, "/", 200, ""),
            (Method::GET, "/204", 204, ""),
            (Method::GET, "/304", 304, ""),
            (Method::GET, "/", 200, "hello"),
        ] {
            let answer = soon(ask2(&mut client, request2(method.clone(), path, empty()))).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text()), (status, body), "{protocol} {method} {path}");
        }
        // None of them is one whose client went away.
        let metrics = gateway.metrics();
        assert!(!metrics.contains("client_closed"), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn informational_responses_break_nothing() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        while !read_head(&mut tcp).await.is_empty() {
            let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
            tcp.write_all(hints.as_bytes()).await.unwrap();
            tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap();
        }
    })
    .await;
    let gateway = in_front_of(&endpoint);
    let mut client = traffic::http1(gateway.http).await;
    let mut multiplexed = traffic::http2(gateway.http).await;
    for _ in 0..3 {
        assert_eq!(soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap().text(), "hello");
        assert_eq!(soon(ask2(&mut multiplexed, request2(Method::GET, "/", empty()))).await.unwrap().text(), "hello");
    }
    assert_eq!(endpoint.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let endpoint = Endpoint::answering(Speaks::Http1, |request| async move {
        assert!(!request.headers().contains_key(header::EXPECT));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body))
    })
    .await;
    let gateway = in_front_of(&endpoint);
    let mut client = connect(&gateway).await;
    for _ in 0..2 {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 100 "));
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read_response(&mut client).await.1, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_trailers_pass_both_ways() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        let head = read_head(&mut tcp).await.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            body += &read_exactly(&mut tcp, 1).await;
        }
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
        tcp.write_all(format!("{text}5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nx-sum: 6\r\n\r\n").as_bytes()).await.unwrap();
        read_to_the_end(&mut tcp).await;
    })
    .await;
    let gateway = in_front_of(&endpoint);
    let mut client = connect(&gateway).await;
    let head =
        "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    client.write_all(format!("{head}3\r\nabc\r\n").as_bytes()).await.unwrap();
    client.write_all(b"2\r\nde\r\n0\r\n\r\n").await.unwrap();
    let head = soon(read_head(&mut client)).await.to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked") && head.contains("trailer: x-sum"), "{head}");
    let rest = String::from_utf8(soon(read_to_the_end(&mut client)).await).unwrap();
    assert!(rest.ends_with("0\r\nx-sum: 6\r\n\r\n"), "{rest}");
    let payload: String = rest.split("\r\n").filter(|line| line.contains("hello") || *line == "!").collect();
    assert_eq!(payload, "hello!");
}

// === Ends that come early ===

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_is_not_worked_for() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        for http2 in [false, true] {
            for path in ["/head", "/body"] {
                // Requests that came and requests whose answer nobody wants any more.
                let (came, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
                let endpoint = Endpoint::answering(speaks.clone(), {
                    let (came, left) = (came.clone(), left.clone());
                    move |request: Request<Incoming>| {
                        let (came, left) = (came.clone(), left.clone());
                        async move {
                            let leaving = Leaving(left);
                            came.fetch_add(1, Ordering::SeqCst);
                            if request.uri().path() == "/head" {
                                std::future::pending::<()>().await;
                            }
                            let (pieces, body) = piecewise();
                            tokio::spawn(async move {
                                pieces.send("piece").await;
                                pieces.unwanted().await;
                                drop(leaving);
                            });
                            Response::new(body)
                        }
                    }
                })
                .await;
                let gateway = speaking(protocol, endpoint.address);
                let asking = if http2 {
                    let mut client = traffic::http2(gateway.http).await;
                    let path = path.to_owned();
                    tokio::spawn(async move {
                        let response = client.send_request(request2(Method::GET, &path, empty())).await.unwrap();
                        whole(response).await.map(drop)
                    })
                } else {
                    let mut client = traffic::http1(gateway.http).await;
                    let path = path.to_owned();
                    tokio::spawn(async move {
                        let response = client.send_request(request(Method::GET, &path, empty())).await.unwrap();
                        whole(response).await.map(drop)
                    })
                };
                until("the request has come", || came.load(Ordering::SeqCst) == 1).await;
                asking.abort();
                let told = format!("the backend hears of it: {protocol} {http2} {path}");
                until(&told, || left.load(Ordering::SeqCst) == 1).await;
                gateway.wait_until("it is counted", || gateway.metrics().contains("client_closed"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_its_body_is_not_taken_for_done() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
            let endpoint = Endpoint::answering(speaks.clone(), move |mut request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let first = request.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
                    sender.send(format!("{first:?}")).unwrap();
                    let rest = request.into_body().collect().await;
                    sender.send(rest.map_or_else(|_| "broken".to_owned(), |_| "whole".to_owned())).unwrap();
                    Response::new(empty())
                }
            })
            .await;
            let gateway = speaking(protocol, endpoint.address);
            let mut client = connect(&gateway).await;
            let body = if framing.contains("chunked") { "3\r\nabc\r\n" } else { "abc" };
            client
                .write_all(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{body}").as_bytes())
                .await
                .unwrap();
            assert_eq!(soon(ends.recv()).await.unwrap(), "b\"abc\"", "{protocol} {framing}");
            drop(client);
            assert_eq!(soon(ends.recv()).await.unwrap(), "broken", "{protocol} {framing}");
        }
    }
}

/// Counts when it is dropped.
struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The backend has heard enough: its answer reaches the client, and neither waits for the rest of the body.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_end_of_its_request() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let endpoint = Endpoint::answering(speaks, |request| async move {
            let status = if request.method() == Method::POST { 413 } else { 200 };
            Response::builder().status(status).body(full("enough")).unwrap()
        })
        .await;
        let gateway = speaking(protocol, endpoint.address);
        // A client that waits for the answer in the middle of its body.
        let mut client = connect(&gateway).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nabc").await.unwrap();
        let (head, body) = read_response(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 413 ") && body == "enough", "{protocol}: {head}");

        // One that goes on sending regardless, and looks for the answer afterwards.
        let mut client = connect(&gateway).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            client.write_all(&[b'x'; 100_000]).await.unwrap();
        }
        let (head, body) = read_response(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 413 ") && body == "enough", "{protocol}: {head}");

        let mut client = traffic::http2(gateway.http).await;
        let (pieces, body) = piecewise();
        let asking = client.send_request(request2(Method::POST, "/", body));
        assert!(pieces.send("abc").await);
        let answer = soon(whole(soon(asking).await.unwrap())).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (413, "enough"), "{protocol}");
        let answer = soon(ask2(&mut client, request2(Method::GET, "/", empty()))).await.unwrap();
        assert_eq!(answer.status, 200, "{protocol}");
    }
}

/// The same with a backend that closes right after it has answered, so that the rest of the request meets a reset.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_read_even_if_its_request_can_no_longer_be_written() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        read_exactly(&mut tcp, 1000).await;
        tcp.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 6\r\n\r\nenough").await.unwrap();
    })
    .await;
    let gateway = in_front_of(&endpoint);
    for round in 0..50 {
        let mut client = connect(&gateway).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n").await.unwrap();
        for _ in 0..20 {
            client.write_all(&[b'x'; 50_000]).await.unwrap();
        }
        let (head, body) = read_response(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 413 ") && body == "enough", "{round}: {head}{body}");
    }
}
