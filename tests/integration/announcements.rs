//! Endpoints that are told for whom a connection is made, by the PROXY protocol.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_rustls::TlsAcceptor;

use crate::harness::backend::service;
use crate::harness::certs::Authority;
use crate::harness::endpoint::{Bodied, Endpoint, empty};
use crate::harness::gateway::Gateway;
use crate::harness::objects::route_of;
use crate::harness::traffic::{ask, request, soon, until};

/// A server that takes nothing but connections that say whom they are for, and answers with that; what they began with.
async fn server(tls: Option<Arc<rustls::ServerConfig>>) -> (Endpoint, UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let endpoint = Endpoint::scripted(move |mut tcp, _| {
        let (tell, tls) = (tell.clone(), tls.clone());
        async move {
            let Some(header) = header(&mut tcp).await else { return };
            tell.send(header.clone()).unwrap();
            match tls {
                None => serve(tcp, header).await,
                Some(config) => serve(TlsAcceptor::from(config).accept(tcp).await.unwrap(), header).await,
            }
        }
    })
    .await;
    (endpoint, told)
}

/// What a connection begins with: a line, or the bytes of version 2 in hexadecimal digits after its signature.
async fn header(tcp: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![0; 12];
    tcp.read_exact(&mut bytes).await.ok()?;
    if bytes == b"\r\n\r\n\0\r\nQUIT\n" {
        let mut rest = vec![0; 4];
        tcp.read_exact(&mut rest).await.unwrap();
        let mut addresses = vec![0; usize::from(u16::from_be_bytes([rest[2], rest[3]]))];
        tcp.read_exact(&mut addresses).await.unwrap();
        rest.extend(addresses);
        return Some(rest.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    while !bytes.ends_with(b"\r\n") {
        bytes.push(tcp.read_u8().await.unwrap());
    }
    Some(String::from_utf8(bytes).unwrap().trim_end().to_owned())
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, header: String) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let header = header.clone();
        async move {
            assert_eq!(request.version(), http::Version::HTTP_11);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(header)))
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(io), answer).await;
}

/// A client, and the address that it has.
async fn client(gateway: &Gateway) -> (SendRequest<Bodied>, SocketAddr) {
    let tcp = TcpStream::connect(gateway.http).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    (sender, address)
}

async fn told(client: &mut SendRequest<Bodied>, forwarded_for: Option<&str>) -> String {
    let mut asked = request(Method::GET, "/", empty());
    if let Some(ip) = forwarded_for {
        asked.headers_mut().insert("x-forwarded-for", ip.parse().unwrap());
    }
    soon(ask(client, asked)).await.unwrap().text().to_owned()
}

fn objects(endpoint: &Endpoint, backend: &str, more: &str) -> String {
    let rule = format!("{{name: all, backendRefs: [{{name: s, port: 80, {backend}}}]{more}}}");
    service("s", &[endpoint.address]) + &route_of(&rule)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_has_connections_of_its_own() {
    let (endpoint, mut began) = server(None).await;
    for version in ["V1", "V2"] {
        let backend = format!("proxyProtocol: {version}");
        let gateway = Gateway::start_with(&objects(&endpoint, &backend, ""), &["--workers", "1"]);
        let expected = |from: SocketAddr| match version {
            "V1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", from.port(), gateway.http.port()),
            _ => format!("2111000c7f0000017f000001{:04x}{:04x}", from.port(), gateway.http.port()),
        };
        let (mut one, first) = client(&gateway).await;
        let (mut other, second) = client(&gateway).await;
        for _ in 0..5 {
            assert_eq!(told(&mut one, None).await, expected(first));
            assert_eq!(told(&mut other, None).await, expected(second));
        }
        // One connection for each, however often it has asked.
        let mut all = Vec::new();
        while let Ok(header) = began.try_recv() {
            all.push(header);
        }
        assert_eq!(all, [expected(first), expected(second)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_a_trusted_proxy_tells_of_are_told_on() {
    let (endpoint, _began) = server(None).await;
    let flags = ["--workers", "1", "--trusted-proxies", "127.0.0.1/32"];
    let gateway = Gateway::start_with(&objects(&endpoint, "proxyProtocol: V1", ""), &flags);
    let (mut proxy, own) = client(&gateway).await;
    let port = gateway.http.port();
    let line = |ip: &str, from: u16| format!("PROXY TCP4 {ip} 127.0.0.1 {from} {port}");
    // Of many clients on one connection each is told of, and none for another.
    for ip in ["192.0.2.7", "192.0.2.8", "192.0.2.7"] {
        assert_eq!(told(&mut proxy, Some(ip)).await, line(ip, 0));
    }
    assert_eq!(told(&mut proxy, None).await, line("127.0.0.1", own.port()));
    assert_eq!(endpoint.accepted(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_before_tls_and_before_checks() {
    let authority = Authority::new();
    let (endpoint, mut began) = server(Some(authority.server("s.default.svc", &[b"h2", b"http/1.1"]))).await;
    let backend = "proxyProtocol: V1, appProtocol: https, tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}";
    let check = ", healthCheck: {type: TCP, interval: 100ms, timeout: 100ms}";
    let yaml = authority.bundle("ca") + &objects(&endpoint, backend, check);
    let gateway = Gateway::start_with(&yaml, &["--workers", "1"]);
    // A check speaks for us alone.
    assert_eq!(soon(began.recv()).await.unwrap(), "PROXY UNKNOWN");
    let (mut client, address) = client(&gateway).await;
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", address.port(), gateway.http.port());
    assert_eq!(told(&mut client, None).await, line);
    until("it has been checked again", || began.try_recv().is_ok_and(|header| header == "PROXY UNKNOWN")).await;
    assert_eq!(gateway.endpoints("failing"), 0.0);
}
