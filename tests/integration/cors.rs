//! Requests of pages of other origins.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response as Answer, request};

const HOST: &str = "c.test";
const PAGE: &str = "https://app.example.com";

/// A backend with an opinion of its own, and a rule per path with these settings of CORS.
fn serve(rules: &[(&str, &str)]) -> (Backend, Gateway) {
    let backend = Backend::answering(|_| {
        Response::builder()
            .header("Access-Control-Allow-Origin", "https://backend.test")
            .header("Access-Control-Allow-Methods", "PURGE")
            .header("X-Total", "7")
            .body(Full::new(Bytes::from("b")))
            .unwrap()
    });
    let rules: String = rules
        .iter()
        .map(|(found, cors)| {
            let filter = format!("{{type: CORS, cors: {{{cors}}}}}");
            format!("    - matches: [{found}]\n      filters: [{filter}]\n      backendRefs: [{{name: b, port: 80}}]\n")
        })
        .collect();
    let route = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: c}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    );
    let plain = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: z}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n    - backendRefs: [{{name: b, port: 80}}]\n    - matches: [{{path: {{value: \
         /nobody}}}}]\n      filters: [{{type: CORS, cors: {{allowOrigins: [{PAGE}]}}}}]\n      backendRefs: [{{name: \
         nobody, port: 80}}]\n"
    );
    let gateway = Gateway::start(&(backend.service("b") + &route + &plain));
    (backend, gateway)
}

/// The fields of CORS and `Vary`, in order of their names.
fn told(response: &Answer) -> Vec<(&str, &str)> {
    let of_cors = |name: &str| name.starts_with("access-control-") || name == "vary";
    let mut told: Vec<_> =
        response.headers.iter().filter(|(name, _)| of_cors(name)).map(|(name, value)| (&**name, &**value)).collect();
    told.sort_unstable();
    told
}

fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str, names: &str) -> Answer {
    let mut headers = vec![("Origin", origin), ("Access-Control-Request-Method", method)];
    if !names.is_empty() {
        headers.push(("Access-Control-Request-Headers", names));
    }
    request(gateway.http, "OPTIONS", HOST, path, &headers, b"").unwrap()
}

const VARY: (&str, &str) = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

#[test]
fn a_preflight_request_is_answered_without_the_backend() {
    let full = format!(
        "allowOrigins: [{PAGE}, 'https://*.pages.test'], allowMethods: [GET, DELETE], allowHeaders: [X-A, Content-Type], \
         exposeHeaders: [X-Total], allowCredentials: true, maxAge: 600"
    );
    let (backend, gateway) = serve(&[
        ("{path: {value: /full}}", &full),
        ("{path: {value: /open}}", "allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*']"),
        ("{path: {value: /only-get}, method: GET}", &full),
    ]);
    let full = |origin| {
        vec![
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "X-A, Content-Type"),
            ("access-control-allow-methods", "GET, DELETE"),
            ("access-control-allow-origin", origin),
            ("access-control-max-age", "600"),
            VARY,
        ]
    };
    let open = vec![
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "5"),
        VARY,
    ];
    for (path, origin, method, names, expected) in [
        ("/full", PAGE, "DELETE", "x-a", full(PAGE)),
        ("/full", "https://a.b.pages.test", "GET", "", full("https://a.b.pages.test")),
        ("/full", "https://evil.test", "GET", "", vec![VARY]),
        ("/full", "https://app.example.com.evil.test", "GET", "", vec![VARY]),
        ("/full", "null", "GET", "", vec![VARY]),
        ("/open", "https://anybody.test", "PUT", "authorization", open),
        // The rule is for GET only, and the request that is asked about is one.
        ("/only-get", PAGE, "GET", "", full(PAGE)),
    ] {
        let response = preflight(&gateway, path, origin, method, names);
        assert_eq!((response.status, told(&response)), (204, expected), "{path} {origin}");
    }
    assert!(backend.seen().is_empty());
    assert!(gateway.metrics().contains("reason=\"preflight\""));
    // Where nothing speaks of origins, the backend is asked.
    let response = preflight(&gateway, "/only-get", PAGE, "PUT", "");
    assert_eq!((response.status, backend.seen().len()), (200, 1));
    // Without its fields it is an ordinary OPTIONS.
    request(gateway.http, "OPTIONS", HOST, "/full", &[("Origin", PAGE)], b"").unwrap();
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn answers_say_what_the_rule_says_and_not_what_the_backend_does() {
    let cors = format!("allowOrigins: [{PAGE}], exposeHeaders: [X-Total], allowCredentials: true");
    let (_backend, gateway) =
        serve(&[("{path: {value: /one}}", &cors), ("{path: {value: /open}}", "allowOrigins: ['*']")]);
    let mine = vec![
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", PAGE),
        ("access-control-expose-headers", "X-Total"),
        ("vary", "Origin"),
    ];
    let backends =
        vec![("access-control-allow-methods", "PURGE"), ("access-control-allow-origin", "https://backend.test")];
    for (path, origin, expected) in [
        ("/one", Some(PAGE), mine.clone()),
        ("/one", Some("https://evil.test"), vec![("vary", "Origin")]),
        ("/one", None, vec![("vary", "Origin")]),
        ("/open", Some(PAGE), vec![("access-control-allow-origin", "*")]),
        ("/open", None, vec![("access-control-allow-origin", "*")]),
        ("/plain", Some(PAGE), backends),
    ] {
        let headers: Vec<_> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
        let response = request(gateway.http, "GET", HOST, path, &headers, b"").unwrap();
        assert_eq!((response.status, told(&response)), (200, expected.clone()), "{path} {origin:?}");
        let response = Client::http2(gateway.http).request("GET", HOST, path, &headers).unwrap();
        assert_eq!((response.status, told(&response)), (200, expected), "{path} {origin:?} over HTTP/2");
    }
    // A page may read why it got nothing.
    let response = request(gateway.http, "GET", HOST, "/nobody", &[("Origin", PAGE)], b"").unwrap();
    assert_eq!(told(&response), [("access-control-allow-origin", PAGE), ("vary", "Origin")]);
    assert_eq!((response.status, response.json()["reason"].as_str()), (500, Some("no_backend")));
}

#[test]
fn what_no_browser_would_understand_is_refused() {
    let (_backend, gateway) = serve(&[
        ("{path: {value: /a}}", "allowOrigins: ['https://a.test/path']"),
        ("{path: {value: /b}}", "allowOrigins: ['https://a.*.test']"),
        ("{path: {value: /c}}", "allowOrigins: ['*'], allowCredentials: true"),
    ]);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(preflight(&gateway, path, PAGE, "GET", "").status, 500, "{path}");
    }
    let problems = gateway.api("problems").to_string();
    for said in [
        "spec.rules[1].filters[0].cors.allowOrigins[0]",
        "only the first label of the host may be *",
        "allowCredentials",
    ] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
}
