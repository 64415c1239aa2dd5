//! Compressed responses, as clients get them.

use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::BodyExt;

use crate::harness::backend::service_speaking;
use crate::harness::endpoint::{Bodied, Endpoint, Pieces, Speaks, empty, full, piecewise};
use crate::harness::gateway::Gateway;
use crate::harness::objects::route;
use crate::harness::traffic::{Answer, ask, ask2, http1, http2, request, request2, soon, until};

const RULE: &str = "compression: {algorithms: [zstd, br, gzip], minSize: '100'}";
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

fn gateway(protocol: &str, endpoint: &Endpoint) -> Gateway {
    let objects = service_speaking("s", protocol, &[endpoint.address]) + &route("s", RULE);
    Gateway::start_with(&objects, &["--workers", "1"])
}

/// Text that is longer than every buffer on its way.
fn text() -> Bytes {
    (0..40_000u32).map(|number| format!("line {} of the text\n", number % 613)).collect::<String>().into()
}

fn answer(body: Bodied) -> Response<Bodied> {
    Response::builder().header(header::CONTENT_TYPE, "text/plain").header(header::ETAG, "\"v1\"").body(body).unwrap()
}

fn decoder<'d>(coding: &str, data: impl Read + 'd) -> Box<dyn Read + 'd> {
    match coding {
        "zstd" => Box::new(zstd::stream::read::Decoder::new(data).unwrap()),
        "br" => Box::new(brotli::Decompressor::new(data, 4096)),
        "gzip" => Box::new(flate2::read::GzDecoder::new(data)),
        other => panic!("{other}"),
    }
}

fn decoded(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    decoder(coding, data).read_to_end(&mut plain).unwrap();
    plain
}

fn accepting(mut request: http::Request<Bodied>, coding: &'static str) -> http::Request<Bodied> {
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn every_coding_gives_back_what_the_backend_sent() {
    for (protocol, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let endpoint = Endpoint::answering(speaks, |_| async { answer(full(text())) }).await;
        let gateway = gateway(protocol, &endpoint);
        let (mut one, mut two) = (http1(gateway.http).await, http2(gateway.http).await);
        for coding in CODINGS {
            let answers: [Answer; 2] = [
                soon(ask(&mut one, accepting(request(Method::GET, "/", empty()), coding))).await.unwrap(),
                soon(ask2(&mut two, accepting(request2(Method::GET, "/", empty()), coding))).await.unwrap(),
            ];
            for answer in answers {
                let (headers, length) = (&answer.headers, answer.body.len());
                assert_eq!(headers[header::CONTENT_ENCODING], coding, "{protocol}");
                assert_eq!(headers[header::VARY], "accept-encoding");
                assert_eq!(headers[header::ETAG], "W/\"v1\"");
                assert!(!headers.contains_key(header::CONTENT_LENGTH), "{headers:?}");
                assert!(decoded(coding, &answer.body) == text(), "{protocol} {coding}");
                assert!(length * 10 < text().len(), "{protocol} {coding}: {length}");
            }
        }
        let plain = soon(ask(&mut one, request(Method::GET, "/", empty()))).await.unwrap();
        assert_eq!(plain.body, text());
        assert_eq!(plain.headers[header::VARY], "accept-encoding");
        assert_eq!(plain.headers[header::CONTENT_LENGTH], text().len().to_string());
        assert_eq!(plain.headers[header::ETAG], "\"v1\"");
        let mut head = accepting(request(Method::HEAD, "/", empty()), "gzip");
        head.headers_mut().insert(header::HOST, HeaderValue::from_static("test"));
        let head = soon(ask(&mut one, head)).await.unwrap();
        assert_eq!(head.headers[header::VARY], "accept-encoding");
        assert!(!head.headers.contains_key(header::CONTENT_ENCODING));
    }
}

/// What a backend has sent is at the client before the backend sends more, as it would be without compression.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_response_is_not_held_back() {
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel::<Pieces>();
    let endpoint = Endpoint::answering(Speaks::Http1, move |_| {
        let (pieces, body) = piecewise();
        give.send(pieces).ok().unwrap();
        async { answer(body) }
    })
    .await;
    let gateway = gateway("http", &endpoint);
    for coding in CODINGS {
        let mut client = http1(gateway.http).await;
        let response = soon(client.send_request(accepting(request(Method::GET, "/", empty()), coding))).await.unwrap();
        let pieces = soon(given.recv()).await.unwrap();
        let mut body = response.into_body();
        let (mut come, mut expected) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let piece = format!("piece {number} ");
            expected.extend_from_slice(piece.as_bytes());
            assert!(pieces.send(piece).await);
            loop {
                come.extend(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap());
                let mut plain = vec![0; expected.len()];
                if decoder(coding, &*come).read_exact(&mut plain).is_ok() {
                    assert_eq!(plain, expected, "{coding}");
                    break;
                }
            }
        }
        drop(pieces);
        while let Some(frame) = soon(body.frame()).await {
            come.extend(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(decoded(coding, &come), expected, "{coding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_come_after_the_end_and_a_broken_body_has_none() {
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel::<Pieces>();
    let endpoint = Endpoint::answering(Speaks::H2c, move |_| {
        let (pieces, body) = piecewise();
        give.send(pieces).ok().unwrap();
        async { answer(body) }
    })
    .await;
    let gateway = gateway("h2c", &endpoint);
    let mut client = http2(gateway.http).await;
    for coding in CODINGS {
        let mut asked = client.clone();
        let whole =
            tokio::spawn(async move { ask2(&mut asked, accepting(request2(Method::GET, "/", empty()), coding)).await });
        let pieces = soon(given.recv()).await.unwrap();
        assert!(pieces.send("all of it").await);
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("9"))]);
        assert!(pieces.trailers(trailers.clone()).await);
        drop(pieces);
        let answer = soon(whole).await.unwrap().unwrap();
        assert_eq!(decoded(coding, &answer.body), b"all of it", "{coding}");
        assert_eq!(answer.trailers, Some(trailers), "{coding}");

        let response = soon(client.send_request(accepting(request2(Method::GET, "/", empty()), coding))).await.unwrap();
        let pieces = soon(given.recv()).await.unwrap();
        assert!(pieces.send("not all of it").await);
        let mut body = response.into_body();
        assert!(soon(body.frame()).await.unwrap().is_ok());
        pieces.fail("gone").await;
        let end = soon(async {
            loop {
                match body.frame().await {
                    Some(Ok(_)) => {}
                    end => break end,
                }
            }
        });
        assert!(end.await.is_some_and(|end| end.is_err()), "{coding}: a broken body has come to an end");
    }
}

/// Bodies that clients do not read hold a bounded number of places; what comes beyond goes uncompressed, and the places
/// of clients that leave are free again.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_are_compressed_at_once() {
    const PLACES: usize = 64;
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel::<Pieces>();
    let endpoint = Endpoint::answering(Speaks::Http1, move |_| {
        let (pieces, body) = piecewise();
        give.send(pieces).ok().unwrap();
        async { answer(body) }
    })
    .await;
    let gateway = gateway("http", &endpoint);
    let before = gateway.memory();
    let mut open = Vec::new();
    for number in 0..PLACES + 1 {
        let mut client = http1(gateway.http).await;
        let coding = CODINGS[number % CODINGS.len()];
        let response = soon(client.send_request(accepting(request(Method::GET, "/", empty()), coding))).await.unwrap();
        let pieces = soon(given.recv()).await.unwrap();
        assert!(pieces.send(text()).await);
        let encoded = response.headers().contains_key(header::CONTENT_ENCODING);
        assert_eq!(encoded, number < PLACES, "{number}");
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
        open.push((client, response, pieces));
    }
    let grown = gateway.memory().saturating_sub(before) >> 20;
    assert!(grown < 128, "{PLACES} bodies take {grown} MiB");
    println!("{PLACES} bodies take {grown} MiB");
    open.clear();
    until("there is room again", || endpoint.open() == 0).await;
    let mut client = http1(gateway.http).await;
    let response = soon(client.send_request(accepting(request(Method::GET, "/", empty()), "gzip"))).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
}
