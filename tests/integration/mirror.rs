//! Copies of requests, which the requests themselves do not notice.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::backend::{Backend, service};
use crate::harness::gateway::Gateway;
use crate::harness::http::{get_host, request};

const HOST: &str = "m.test";

/// Rules for [`HOST`]: a path and its filters, with the Service `b` behind them.
fn serve(services: &str, rules: &[(&str, &str)]) -> Gateway {
    let rules: String = rules
        .iter()
        .map(|(path, filters)| {
            format!(
                "    - matches: [{{path: {{value: {path}}}}}]\n      filters: [{filters}]\n      backendRefs: [{{name: b, \
                 port: 80}}]\n"
            )
        })
        .collect();
    let route = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: m}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    );
    Gateway::start(&(services.to_owned() + &route))
}

fn mirror(name: &str, more: &str) -> String {
    format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}{more}}}}}")
}

#[test]
fn a_copy_is_what_the_filters_have_left_of_the_request() {
    let (backend, shadow) = (Backend::named("b"), Backend::named("shadow"));
    let filters = [
        mirror("shadow", ""),
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Env, value: prod}]}}".to_owned(),
        "{type: URLRewrite, urlRewrite: {hostname: other.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: \
         /new}}}"
            .to_owned(),
    ];
    let twice = [mirror("shadow", ""), mirror("shadow", ", percent: 0"), mirror("shadow", "")].join(", ");
    let gateway = serve(
        &(backend.service("b") + &shadow.service("shadow")),
        &[("/a", &filters.join(", ")), ("/none", &mirror("shadow", ", percent: 0")), ("/twice", &twice)],
    );
    for (method, body) in [("GET", &b""[..]), ("POST", b"hello"), ("PUT", &[b'x'; 65_536])] {
        let response = request(gateway.http, method, HOST, "/a/x?q=1", &[("X-Sent", "1")], body).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "b"));
        gateway.wait_until("the copy has come", || !shadow.seen().is_empty());
        let (copy, original) = (shadow.seen().remove(0), backend.seen().remove(0));
        assert_eq!((copy.method, copy.uri, copy.body), (original.method, original.uri, original.body), "{method}");
        for name in ["host", "x-env", "x-sent", "x-forwarded-for", "x-forwarded-host", "x-request-id"] {
            assert!(copy.headers.contains_key(name), "{name}");
            assert_eq!(copy.headers.get(name), original.headers.get(name), "{name}");
        }
        backend.forget();
        shadow.forget();
    }
    assert_eq!(get_host(gateway.http, HOST, "/none").unwrap().status, 200);
    assert_eq!(get_host(gateway.http, HOST, "/twice").unwrap().status, 200);
    gateway.wait_until("both copies have come", || shadow.seen().len() == 2);
    assert!(shadow.seen().iter().all(|seen| seen.uri == "/twice"));
    // More than is kept of a body is not copied, and the request goes on.
    let large = [b'x'; 65_537];
    assert_eq!(request(gateway.http, "POST", HOST, "/a", &[], &large).unwrap().status, 200);
    // A copy is counted when it has been answered, which may be after it was seen.
    for counted in ["{result=\"too_large\"} 1", "{result=\"sent\"} 5"] {
        gateway.wait_until("they are counted", || {
            gateway.metrics().contains(&format!("headgate_mirror_requests_total{counted}"))
        });
    }
    assert_eq!(shadow.seen().len(), 2);
}

#[test]
fn a_mirror_that_is_away_or_silent_neither_fails_nor_delays_anything() {
    let backend = Backend::named("b");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It accepts by its queue and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let services = [
        backend.service("b"),
        service("closed", &[closed]),
        service("silent", &[silent.local_addr().unwrap()]),
        service("empty", &[]),
    ];
    let all = ["closed", "silent", "empty", "missing"].map(|name| mirror(name, ""));
    let gateway = serve(&services.concat(), &[("/", &all.join(", "))]);
    let began = Instant::now();
    for _ in 0..300 {
        assert_eq!(request(gateway.http, "POST", HOST, "/", &[], b"hello").unwrap().status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(backend.seen().len(), 300);
    gateway.wait_until("failures are counted, and what is too much is not begun", || {
        let metrics = gateway.metrics();
        ["failed", "dropped"].iter().all(|result| metrics.contains(&format!("total{{result=\"{result}\"}}")))
    });
    assert!(gateway.api("problems").to_string().contains("requestMirror.backendRef.name"));
}
