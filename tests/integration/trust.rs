//! Whose word is taken about where a request comes from.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::backend::{Backend, Seen};
use crate::harness::certs::Authority;
use crate::harness::gateway::Gateway;
use crate::harness::http::{parse, request};
use crate::harness::raw::RawClient;

const HOST: &str = "t.test";

/// Routes that look at the client: one lets only 192.0.2.0/24 in, one is for TLS alone.
fn serve(backend: &Backend, flags: &[&str], more: &str) -> Gateway {
    let route = format!(
        "---
apiVersion: headgate.dev/v1alpha1
kind: GatewayRoute
metadata: {{name: t}}
spec:
  hostnames: [{HOST}]
  tls: {{httpRedirect: true{more}}}
  rules:
    - backendRefs: [{{name: b, port: 80}}]
    - matches: [{{path: {{value: /club}}}}]
      filters: [{{type: IPAccess, ipAccess: {{allow: [192.0.2.0/24]}}}}]
      backendRefs: [{{name: b, port: 80}}]
"
    );
    Gateway::start_with(&(backend.service("b") + &route), flags)
}

fn only(backend: &Backend) -> Seen {
    let mut seen = backend.seen();
    backend.forget();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn said(seen: &Seen) -> [String; 5] {
    ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"].map(|name| {
        let values: Vec<_> = seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join(" and ")
    })
}

#[test]
fn a_proxy_that_is_trusted_speaks_for_its_client() {
    let backend = Backend::named("b");
    let gateway = serve(&backend, &["--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"], "");
    let told = [
        ("X-Forwarded-For", "203.0.113.9, 192.0.2.7, 10.1.1.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.test"),
        ("X-Forwarded-Port", "443"),
    ];
    assert_eq!(request(gateway.http, "GET", HOST, "/club", &told, b"").unwrap().status, 200);
    let expected = ["192.0.2.7, 10.1.1.1, 127.0.0.1", "192.0.2.7", "https", "shop.test", "443"];
    assert_eq!(said(&only(&backend)), expected);
    // Another client of the same proxy, on the same connection, is another client.
    let mut client = RawClient::connect(gateway.http);
    for (address, status) in [("192.0.2.7", 200), ("198.51.100.7", 403), ("192.0.2.8", 200)] {
        client.send(
            format!(
                "GET /club HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {address}\r\nX-Forwarded-Proto: https\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(client.reply(false).status, status, "{address}");
    }
    // What it does not say is as the connection is.
    assert_eq!(request(gateway.http, "GET", HOST, "/", &[], b"").unwrap().status, 308);
}

#[test]
fn nobody_else_does() {
    let backend = Backend::named("b");
    for flags in [&[][..], &["--trusted-proxies", "10.0.0.0/8"]] {
        let gateway = serve(&backend, flags, "");
        let forged = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")];
        assert_eq!(request(gateway.http, "GET", HOST, "/", &forged, b"").unwrap().status, 308);
        // Nor does anybody by the PROXY protocol.
        for header in [&b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"[..], &V2] {
            let mut client = RawClient::connect(gateway.http);
            client.send(header);
            client.send(format!("GET /club HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes());
            assert!(client.read_to_end());
            let status = parse(&client.received).map(|response| response.status);
            assert!(matches!(status, None | Some(400)), "{status:?}");
        }
    }
    assert!(backend.seen().is_empty());
}

/// For 192.0.2.7, with a TLV that says nothing.
const V2: [u8; 31] = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\x7f\0\0\x01\x12\x67\0\x50\x04\0\0";

#[test]
fn a_load_balancer_says_whom_it_connects_for_before_anything_else() {
    let (backend, authority) = (Backend::named("b"), Authority::new());
    let secret = authority.issue(&[HOST]).secret("t-tls");
    let flags = ["--proxy-protocol-from", "127.0.0.1"];
    let gateway = serve(&backend, &flags, ", certificateRefs: [{name: t-tls}]");
    gateway.write("secret.yaml", &secret);
    let config = authority.client();
    let ask = format!("GET /club HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let over_tls = |header: &[u8]| {
        let mut tcp = TcpStream::connect(gateway.https).unwrap();
        tcp.write_all(header).unwrap();
        let mut tls = rustls::ClientConnection::new(config.clone(), HOST.try_into().unwrap()).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let mut received = Vec::new();
        let sent = stream.write_all(ask.as_bytes());
        let read = sent.and_then(|()| stream.read_to_end(&mut received));
        parse(&received).map(|response| response.status).ok_or(read)
    };
    for header in [&b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"[..], &V2] {
        assert_eq!(over_tls(header).unwrap(), 200);
        assert_eq!(said(&only(&backend))[..2], ["192.0.2.7", "192.0.2.7"]);
    }
    // Who it is for is not in the club, or is not said.
    assert_eq!(over_tls(b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\n").unwrap(), 403);
    assert_eq!(over_tls(b"PROXY UNKNOWN\r\n").unwrap(), 403);
    // It has to say.
    assert!(over_tls(b"").is_err());
    let mut client = RawClient::connect(gateway.http);
    client.send(ask.as_bytes());
    assert!(client.read_to_end());
    assert_eq!(client.received, b"");
    // In clear as well, and in pieces.
    let mut client = RawClient::connect(gateway.http);
    for piece in [&b"PROXY TC"[..], b"P4 192.0.2.7 127.0.0.1 4711 80\r", b"\n", ask.as_bytes()] {
        client.send(piece);
    }
    assert!(client.read_to_end());
    assert_eq!(parse(&client.received).unwrap().status, 308);
    assert!(backend.seen().is_empty());
    gateway.wait_for_line(&["no PROXY protocol"]);
}

#[test]
fn a_network_that_is_none_is_told_at_once() {
    let told = std::process::Command::new(crate::harness::gateway::binary())
        .args(["run", ".", "--trusted-proxies", "10.0.0.1/8"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && text.contains("write 10.0.0.0/8 for the network"), "{text}");
}
