//! Calls of browsers, in gRPC-Web, to backends that speak gRPC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::harness::backend::service_speaking;
use crate::harness::endpoint::{Bodied, Endpoint, Pieces, Speaks, empty, full, piecewise};
use crate::harness::gateway::Gateway;
use crate::harness::objects::{route, route_of};
use crate::harness::traffic::{self, Answer, ask, ask2, request, request2, soon};

const QUESTION: &[u8] = b"\0\0\0\0\x05hello";
const ANSWER: &[u8] = b"\0\0\0\0\x03you";
/// Trailers that say OK, in a frame.
const OK: &[u8] = b"\x80\0\0\0\x10grpc-status: 0\r\n";

fn ok() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])
}

/// A server of gRPC: by the path it answers, fails at once, or answers what is no gRPC.
async fn greeter() -> Endpoint {
    Endpoint::answering(Speaks::H2c, |request: Request<Incoming>| async move {
        let (parts, body) = request.into_parts();
        let field = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let answer = Response::builder().header("content-type", "application/grpc+proto");
        match parts.uri.path() {
            "/greeter/hello" => {
                assert_eq!(field("content-type").as_deref(), Some("application/grpc+proto"));
                assert_eq!(field("te").as_deref(), Some("trailers"));
                // Never that of the text.
                assert!(field("content-length").is_none_or(|length| length == QUESTION.len().to_string()));
                assert_eq!(body.collect().await.unwrap().to_bytes(), QUESTION);
                let (pieces, body) = piecewise();
                tokio::spawn(async move {
                    pieces.send(ANSWER).await;
                    pieces.trailers(ok()).await;
                });
                answer.body(body).unwrap()
            }
            "/greeter/unknown" => answer.header("grpc-status", "12").body(empty()).unwrap(),
            _ => Response::builder().header("content-type", "text/plain").body(full("no gRPC")).unwrap(),
        }
    })
    .await
}

fn call(path: &str, content_type: &str, body: Bodied) -> Request<Bodied> {
    let mut asked = request(Method::POST, path, body);
    asked.headers_mut().insert("content-type", content_type.parse().unwrap());
    asked
}

fn content_type(answer: &Answer) -> &str {
    answer.headers["content-type"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_browsers_reach_a_server_of_grpc() {
    let endpoint = greeter().await;
    let objects = service_speaking("s", "grpc", &[endpoint.address]) + &route("s", "");
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    let mut client = traffic::http1(gateway.http).await;
    let answered = [ANSWER, OK].concat();

    let asked = call("/greeter/hello", "application/grpc-web+proto", full(QUESTION));
    let answer = soon(ask(&mut client, asked)).await.unwrap();
    assert_eq!((answer.status.as_u16(), content_type(&answer)), (200, "application/grpc-web+proto"));
    assert_eq!(answer.body, answered);

    // In base64, cut where it likes.
    for size in [1, 3, 4, 100] {
        let (pieces, body) = piecewise();
        let text = STANDARD.encode(QUESTION);
        tokio::spawn(async move {
            for piece in text.as_bytes().chunks(size) {
                pieces.send(Bytes::copy_from_slice(piece)).await;
            }
        });
        let answer =
            soon(ask(&mut client, call("/greeter/hello", "application/grpc-web-text+proto", body))).await.unwrap();
        assert_eq!(content_type(&answer), "application/grpc-web-text+proto");
        // Each part is padded for itself.
        assert_eq!(answer.text(), STANDARD.encode(ANSWER) + &STANDARD.encode(OK));
    }

    // A call that fails at once says so in its head, and what is no gRPC stays what it is.
    let answer =
        soon(ask(&mut client, call("/greeter/unknown", "application/grpc-web", full(QUESTION)))).await.unwrap();
    assert_eq!(
        (content_type(&answer), &answer.headers["grpc-status"], answer.body.len()),
        ("application/grpc-web+proto", &"12".parse().unwrap(), 0)
    );
    let answer = soon(ask(&mut client, call("/elsewhere", "application/grpc-web", full(QUESTION)))).await.unwrap();
    assert_eq!((content_type(&answer), answer.text()), ("text/plain", "no gRPC"));

    // What is no base64 is refused, whether it goes on or ends too soon.
    for bad in ["AAAA!AAA", "AAAAA"] {
        let asked = call("/greeter/hello", "application/grpc-web-text", full(bad));
        let refused = soon(ask(&mut traffic::http1(gateway.http).await, asked)).await.unwrap();
        assert_eq!(refused.refusal(), (400, "bad_request".to_owned()), "{bad}");
    }

    // Calls in gRPC itself are left alone.
    let mut native = traffic::http2(gateway.http).await;
    let mut asked = request2(Method::POST, "/greeter/hello", full(QUESTION));
    asked.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = soon(ask2(&mut native, asked)).await.unwrap();
    assert_eq!((content_type(&answer), &answer.body[..]), ("application/grpc+proto", ANSWER));
    assert_eq!(answer.trailers, Some(ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_in_base64_is_decoded_and_repeated() {
    let endpoint = greeter().await;
    let more = "request: {buffering: true}, retry: {attempts: 1, methods: [POST]}";
    let objects = service_speaking("s", "grpc", &[endpoint.address]) + &route("s", more);
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    let mut client = traffic::http1(gateway.http).await;
    let asked = call("/greeter/hello", "application/grpc-web-text+proto", full(STANDARD.encode(QUESTION)));
    let answer = soon(ask(&mut client, asked)).await.unwrap();
    assert_eq!(answer.text(), STANDARD.encode(ANSWER) + &STANDARD.encode(OK));
    let asked = call("/greeter/hello", "application/grpc-web-text", full("AAAAA"));
    assert_eq!(soon(ask(&mut client, asked)).await.unwrap().refusal(), (400, "bad_request".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_messages_comes_message_by_message() {
    let (give, mut given) = mpsc::unbounded_channel::<Pieces>();
    let endpoint = Endpoint::answering(Speaks::H2c, move |_| {
        let (pieces, body) = piecewise();
        give.send(pieces).ok().unwrap();
        async { Response::builder().header("content-type", "application/grpc").body(body).unwrap() }
    })
    .await;
    // By the word of the route, whatever the Service says.
    let rule = "{name: all, backendRefs: [{name: s, port: 80, appProtocol: grpc}]}";
    let objects = service_speaking("s", "http", &[endpoint.address]) + &route_of(rule);
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    for (content_type, text) in [("application/grpc-web", false), ("application/grpc-web-text", true)] {
        let coded = |bytes: &[u8]| if text { STANDARD.encode(bytes).into_bytes() } else { bytes.to_vec() };
        let mut client = traffic::http1(gateway.http).await;
        let response = soon(client.send_request(call("/", content_type, full(coded(QUESTION))))).await.unwrap();
        let pieces = soon(given.recv()).await.unwrap();
        let mut body = response.into_body();
        let mut next = async || soon(body.frame()).await.map(|frame| frame.unwrap().into_data().unwrap());
        for _ in 0..3 {
            assert!(pieces.send(ANSWER).await);
            assert_eq!(next().await.unwrap(), coded(ANSWER));
        }
        pieces.trailers(ok()).await;
        assert_eq!(next().await.unwrap(), coded(OK));
        drop(pieces);
        assert_eq!(next().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_say_grpc_gets_calls_as_they_are() {
    let endpoint = Endpoint::answering(Speaks::H2c, |request: Request<Incoming>| async move {
        let content_type = request.headers()["content-type"].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::builder().header("content-type", content_type).body(full(body)).unwrap()
    })
    .await;
    let objects = service_speaking("s", "kubernetes.io/h2c", &[endpoint.address]) + &route("s", "");
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    let mut client = traffic::http1(gateway.http).await;
    let asked = call("/", "application/grpc-web+proto", full(QUESTION));
    let answer = soon(ask(&mut client, asked)).await.unwrap();
    assert_eq!((content_type(&answer), &answer.body[..]), ("application/grpc-web+proto", QUESTION));
}
