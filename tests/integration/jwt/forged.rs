//! What a client cannot say of who it is: claim headers in any spelling, as header or trailer, by either protocol.

use serde_json::json;

use super::{Issuer, claims, header};
use crate::harness::backend::service;
use crate::harness::gateway::Gateway;
use crate::harness::raw::{RawClient, Recorder, requests};
use crate::harness::raw_h2::{Fate, Field, RawH2};
use crate::harness::spoof::{SPOOFED, spellings};

#[test]
fn nobody_can_write_a_claim_header() {
    let issuer = Issuer::new();
    let recorder = Recorder::start();
    let backend = crate::harness::backend::Backend::named("unused");
    // The recorder in place of the backend.
    let objects = issuer.objects(&backend).replace(&backend.service("b"), &service("b", &[recorder.address]));
    let gateway = Gateway::start(&objects);
    let token = issuer.rsa.token(&header(&json!({})), &claims(&json!({"tenant": {"id": "t1"}})));
    let mut sent = 0;
    // With a token, with none where none is needed, and on a rule that asks for nothing beside rules that do.
    for (path, token) in [("/main", Some(&token)), ("/optional", None), ("/open", None)] {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let line = authorization.as_ref().map(|it| format!("Authorization: {it}\r\n")).unwrap_or_default();
        let mut first = RawClient::connect(gateway.http);
        let mut second = RawH2::connect(gateway.http);
        for spelling in ["X-User", "X-Tenant", "X-Groups"].iter().flat_map(|name| spellings(name)) {
            let spoof = format!("{spelling}: {SPOOFED}\r\n{spelling}: {SPOOFED}\r\n");
            first.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{line}{spoof}\r\n").as_bytes());
            assert_eq!(first.reply(false).status, 200, "{spelling}");
            let body = format!(
                "TE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: {spelling}\r\n\r\n2\r\nhi\r\n0\r\n{spoof}\r\n"
            );
            first.send(format!("POST {path} HTTP/1.1\r\nHost: a.test\r\n{line}{body}").as_bytes());
            assert_eq!(first.reply(false).status, 200, "{spelling}");

            let lower = spelling.to_ascii_lowercase();
            let spoof: Field<'_> = (lower.as_bytes(), SPOOFED.as_bytes());
            let head = |method: &'static str| -> Vec<Field<'_>> {
                let mut fields: Vec<Field<'_>> = vec![
                    (b":method", method.as_bytes()),
                    (b":scheme", b"http"),
                    (b":authority", b"a.test"),
                    (b":path", path.as_bytes()),
                ];
                fields.extend(authorization.as_ref().map(|it| (&b"authorization"[..], it.as_bytes())));
                fields
            };
            let stream = second.headers(&[head("GET"), vec![spoof, spoof]].concat(), true);
            assert!(matches!(second.fate(stream), Fate::Answered(200, _)), "{spelling}");
            let stream = second.headers(&head("POST"), false);
            second.data(stream, b"hi", false);
            second.trailers(stream, &[spoof, spoof]);
            assert!(matches!(second.fate(stream), Fate::Answered(200, _)), "{spelling}");
            sent += 4;
        }
    }
    drop(gateway);
    assert_eq!(sent, 3 * 3 * 8 * 4);
    let recorded = recorder.finish();
    for bytes in &recorded {
        assert!(!String::from_utf8_lossy(bytes).contains(SPOOFED));
    }
    let seen: Vec<_> =
        recorded.iter().flat_map(|connection| requests(connection).0).map(|(message, _)| message).collect();
    assert_eq!(seen.len(), sent);
    for message in &seen {
        let expected: &[&str] = if message.target == "/main" { &["ann"] } else { &[] };
        assert_eq!(message.all("x-user"), expected, "{message:?}");
    }
}
