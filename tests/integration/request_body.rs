//! Bounds on request bodies, and bodies that are held.

use std::time::{Duration, Instant};

use http::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::backend::{Backend, service};
use crate::harness::endpoint::{Endpoint, full, read_head};
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response as Answer, parse};
use crate::harness::objects::route;
use crate::harness::raw::{RawClient, Recorder, requests};
use crate::harness::raw_h2::{Fate, RawH2};
use crate::harness::traffic::{ask, http1, read_response, request, soon};

const HOST: &str = "b.test";

/// Rules for [`HOST`], each with a path and its settings of the request, and the Service `b` behind them.
fn serve(backend: &str, rules: &[(&str, &str)]) -> Gateway {
    let rules: String = rules
        .iter()
        .map(|(path, request)| {
            let (request, fixed) = request.split_once("; ").unwrap_or((request, ""));
            format!(
                "    - matches: [{{path: {{value: {path}}}}}]\n      request: {{{request}}}\n      filters: \
                 [{fixed}]\n      backendRefs: [{{name: b, port: 80}}]\n"
            )
        })
        .collect();
    let route = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: b}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    );
    Gateway::start_with(&(backend.to_owned() + &route), &["--workers", "1"])
}

/// What comes of a head and a body of HTTP/1.1 sent as they are.
fn send(gateway: &Gateway, head: &str, body: &[u8]) -> (Answer, bool) {
    let mut client = RawClient::connect(gateway.http);
    client.send(format!("{head} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n").as_bytes());
    client.send(body);
    let closed = client.read_to_end();
    let answer = parse(&client.received);
    (answer.unwrap_or_else(|| panic!("{head}: {:?}", String::from_utf8_lossy(&client.received))), closed)
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn in_chunks(body: &[u8], of: usize) -> Vec<u8> {
    let mut bytes = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(of) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn a_body_over_the_bound_is_refused_however_its_length_is_told() {
    let recorder = Recorder::start();
    let fixed = "maxBodySize: 1k; {type: DirectResponse, directResponse: {statusCode: 200}}";
    let rules = [
        ("/streamed", "maxBodySize: 1k"),
        ("/held", "maxBodySize: 1k, buffering: true"),
        ("/unbounded", "maxBodySize: '0'"),
    ];
    let gateway = serve(&service("b", &[recorder.address]), &rules);
    for path in ["/streamed", "/held", "/unbounded"] {
        for size in [0, 1, 999, 1000, 1001, 200_000] {
            let body = vec![b'x'; size];
            for bytes in [with_length(&body), in_chunks(&body, 300)] {
                let (answer, closed) = send(&gateway, &format!("POST {path}"), &bytes);
                let expected = if size > 1000 && path != "/unbounded" { 413 } else { 200 };
                assert_eq!(answer.status, expected, "{path} {size}: {}", answer.text());
                assert!(closed, "{path} {size}");
                if expected == 413 {
                    assert_eq!(answer.json()["reason"], "body_too_large");
                    assert_eq!(answer.header("connection"), Some("close"));
                }
            }
        }
    }
    assert!(gateway.metrics().contains("reason=\"body_too_large\""));
    drop(gateway);
    // What was refused never came as a whole, and what was held and refused never came at all.
    for bytes in recorder.finish() {
        let (whole, rest) = requests(&bytes);
        for (message, _) in whole {
            assert!(message.body.len() <= 1000 || message.target == "/unbounded", "{}", message.target);
        }
        assert!(!rest.starts_with(b"POST /held"), "{}", String::from_utf8_lossy(rest));
    }
    // An answer of ours is no way around the bound.
    let backend = Backend::named("b");
    let gateway = serve(&backend.service("b"), &[("/fixed", fixed)]);
    assert_eq!(send(&gateway, "POST /fixed", &with_length(&[b'x'; 1001])).0.status, 413);
    assert_eq!(send(&gateway, "POST /fixed", &with_length(&[b'x'; 1000])).0.status, 200);
}

#[test]
fn nobody_is_asked_to_go_on_with_a_body_that_is_too_large() {
    let backend = Backend::named("b");
    let gateway = serve(&backend.service("b"), &[("/", "maxBodySize: 1k")]);
    let mut client = RawClient::connect(gateway.http);
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    client.send(head.as_bytes());
    assert_eq!(client.reply(false).status, 413);
    assert!(client.read_to_end());
    assert!(backend.seen().is_empty());
}

#[test]
fn a_stream_over_the_bound_is_refused_and_its_connection_goes_on() {
    let backend = Backend::named("b");
    let gateway = serve(&backend.service("b"), &[("/streamed", "maxBodySize: 1k"), ("/held", "buffering: true")]);
    let mut client = RawH2::connect(gateway.http);
    let post = |path: &'static [u8], length: &'static [u8]| {
        let mut fields: Vec<(&[u8], &[u8])> =
            vec![(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"b.test"), (b":path", path)];
        if !length.is_empty() {
            fields.push((b"content-length", length));
        }
        fields
    };
    // Its static table has no 413, which reads as 0.
    let refused =
        |fate: Fate| matches!(&fate, Fate::Answered(0, body) if body.windows(14).any(|w| w == b"body_too_large"));
    let stream = client.headers(&post(b"/streamed", b"5000"), false);
    assert!(refused(client.fate(stream)));
    let stream = client.headers(&post(b"/streamed", b""), false);
    for ends in [false, false, true] {
        client.data(stream, &[b'x'; 400], ends);
    }
    assert!(refused(client.fate(stream)));
    let stream = client.headers(&post(b"/held", b""), false);
    client.data(stream, &[b'x'; 16_000], true);
    assert_eq!(client.fate(stream), Fate::Answered(200, b"b".to_vec()));
    let seen = backend.seen();
    let held = seen.iter().find(|seen| seen.uri.path() == "/held").unwrap();
    assert_eq!((held.body.len(), &held.headers["content-length"]), (16_000, &http::HeaderValue::from(16_000)));
}

#[test]
fn a_held_body_reaches_the_backend_once_it_is_whole() {
    let recorder = Recorder::start();
    let gateway = serve(&service("b", &[recorder.address]), &[("/", "buffering: true")]);
    let mut client = RawClient::connect(gateway.http);
    client.send(
        format!("POST /slow HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").as_bytes(),
    );
    // It is answered after what came before it, by the one worker that there is.
    RawClient::connect(gateway.http).settle();
    client.send(b"6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.reply(false).status, 200);
    // One that breaks off never gets there.
    let mut broken = RawClient::connect(gateway.http);
    broken.send(
        format!("POST /broken HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nz\r\n")
            .as_bytes(),
    );
    assert_eq!(broken.reply(false).status, 400);
    // Without a bound of its own, 1Mi is held and no more.
    let large = vec![b'x'; (1 << 20) + 1];
    assert_eq!(send(&gateway, "POST /large", &with_length(&large[1..])).0.status, 200);
    assert_eq!(send(&gateway, "POST /large", &with_length(&large)).0.status, 413);
    drop((client, gateway));
    let connections = recorder.finish();
    let all: Vec<_> = connections.iter().flat_map(|bytes| requests(bytes).0).collect();
    let targets: Vec<_> = all.iter().map(|(message, _)| (&*message.target, message.body.len())).collect();
    assert_eq!(targets, [("/slow", 11), ("/large", 1 << 20)]);
    let (_, slow) = &all[0];
    let text = String::from_utf8_lossy(slow).to_ascii_lowercase();
    assert!(text.contains("content-length: 11\r\n") && !text.contains("transfer-encoding"), "{text}");
}

/// How a request ends that its backend does not answer: with which status, and why.
async fn end(gateway: &Gateway, body: usize) -> (u16, String) {
    let mut client = http1(gateway.http).await;
    soon(ask(&mut client, request(Method::POST, "/", full(vec![b'x'; body])))).await.unwrap().refusal()
}

/// A body that the backend does not take is not the same as an answer that does not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_take_a_body_is_told_apart() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        std::future::pending().await
    })
    .await;
    let objects = service("s", &[endpoint.address]) + &route("s", "timeouts: {backendRequest: 500ms}");
    let gateway = Gateway::start(&objects);
    assert_eq!(end(&gateway, 10).await, (504, "upstream_timeout".to_owned()));
    // More than all buffers on the way hold.
    assert_eq!(end(&gateway, 64 << 20).await, (504, "request_write_timeout".to_owned()));
}

/// The time for the whole exchange is counted from its beginning and not from when the body has come.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_an_exchange_does_not_begin_anew_after_its_body() {
    let endpoint = Endpoint::scripted(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        std::future::pending().await
    })
    .await;
    let more = "request: {buffering: true}, timeouts: {request: 1s, backendRequest: 0s}";
    let gateway = Gateway::start(&(service("s", &[endpoint.address]) + &route("s", more)));
    let mut client = TcpStream::connect(gateway.http).await.unwrap();
    let began = Instant::now();
    client.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\na").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.write_all(b"b").await.unwrap();
    let (head, body) = read_response(&mut client).await;
    let took = began.elapsed();
    assert!(head.starts_with("HTTP/1.1 504 ") && body.contains("request_timeout"), "{head}{body}");
    assert!(took > Duration::from_millis(900) && took < Duration::from_millis(1500), "{took:?}");
}
