//! Who may pass, by address, and what a client cannot say of itself.

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{get_host, request};

const HOST: &str = "a.test";

/// A GatewayRoute for [`HOST`] with these rules.
fn route(rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: a}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    )
}

/// A rule for a path with these filters and settings, and the Service `b` behind it.
fn rule(path: &str, filters: &str, settings: &str) -> String {
    format!(
        "    - matches: [{{path: {{value: {path}}}}}]\n      filters: [{filters}]\n      backendRefs: [{{name: b, port: \
         80}}]\n{settings}"
    )
}

fn ip(settings: &str) -> String {
    format!("{{type: IPAccess, ipAccess: {{{settings}}}}}")
}

#[test]
fn only_addresses_that_may_pass_do() {
    let backend = Backend::named("b");
    let fixed = "{type: DirectResponse, directResponse: {statusCode: 200, body: hello}}";
    let rules = [
        rule("/allowed", &ip("allow: [127.0.0.0/8]"), ""),
        rule("/elsewhere", &ip("allow: [10.0.0.0/8, '::/0']"), ""),
        rule("/denied", &ip("allow: [127.0.0.0/8], deny: [127.0.0.1]"), ""),
        rule("/mapped", &ip("deny: ['::ffff:127.0.0.0/104']"), ""),
        // It comes first wherever it stands, and an answer of ours is no way around it.
        rule("/fixed", &format!("{fixed}, {}", ip("deny: [127.0.0.1]")), ""),
        rule("/fixed-and-allowed", &format!("{fixed}, {}", ip("allow: [127.0.0.1]")), ""),
    ];
    let gateway = Gateway::start(&(backend.service("b") + &route(&rules.concat())));
    for (path, status) in [
        ("/allowed", 200),
        ("/elsewhere", 403),
        ("/denied", 403),
        ("/mapped", 403),
        ("/fixed", 403),
        ("/fixed-and-allowed", 200),
    ] {
        backend.forget();
        let response = get_host(gateway.http, HOST, path).unwrap();
        assert_eq!(response.status, status, "{path}");
        if status == 403 {
            assert_eq!(response.json()["reason"], "ip_denied", "{path}");
            assert!(backend.seen().is_empty(), "{path}");
        }
    }
    // What a client says of its address has no weight.
    let forged = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1"), ("Forwarded", "for=10.0.0.1")];
    assert_eq!(request(gateway.http, "GET", HOST, "/elsewhere", &forged, b"").unwrap().status, 403);
    let mut http2 = Client::http2(gateway.http);
    assert_eq!((http2.get(HOST, "/allowed").status, http2.get(HOST, "/denied").status), (200, 403));
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "a")];
    assert_eq!(request(gateway.http, "GET", HOST, "/denied", &upgrade, b"").unwrap().status, 403);
    assert!(gateway.metrics().contains("reason=\"ip_denied\""), "{}", gateway.metrics());
}

#[test]
fn networks_that_are_none_are_told_and_refuse_their_rule() {
    let backend = Backend::named("b");
    let rules = [
        rule("/good", &ip("allow: [127.0.0.1]"), ""),
        rule("/bad", &ip("allow: [127.0.0.0/8], deny: [10.1.2.3/16, 'fe80::/200', here]"), ""),
    ];
    let gateway = Gateway::start(&(backend.service("b") + &route(&rules.concat())));
    assert_eq!(get_host(gateway.http, HOST, "/good").unwrap().status, 200);
    let response = get_host(gateway.http, HOST, "/bad").unwrap();
    assert_eq!((response.status, response.json()["reason"].as_str()), (500, Some("route_refused")));
    let problems = gateway.api("problems").to_string();
    for said in [
        "spec.rules[1].filters[0].ipAccess.deny[0]",
        "10.1.2.3/16 is an address inside the network 10.1.0.0/16",
        "write 10.1.0.0/16 for the network, or 10.1.2.3 for the one address",
        "fe80::/200 has a prefix longer than 128 bits",
        "HG1406",
    ] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
}
