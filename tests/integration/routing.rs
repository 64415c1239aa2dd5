//! Which request goes where: the rules of Ingress as Kubernetes documents and its conformance tests assert them, and
//! those of GatewayRoute.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::Full;

use crate::harness::backend::{Backend, Seen, service};
use crate::harness::certs::Authority;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{get, get_host, request};

// === Ingress: paths ===

/// The examples of the Ingress documentation, "Path matching examples": paths of one Ingress, a request, and which of
/// the paths has it.
const PATHS: &[(&[(&str, &str)], &str, Option<usize>)] = &[
    (&[("Prefix", "/")], "/any/path", Some(0)),
    (&[("Exact", "/foo")], "/foo", Some(0)),
    (&[("Exact", "/foo")], "/bar", None),
    (&[("Exact", "/foo")], "/foo/", None),
    (&[("Exact", "/foo/")], "/foo", None),
    (&[("Prefix", "/foo")], "/foo", Some(0)),
    (&[("Prefix", "/foo")], "/foo/", Some(0)),
    (&[("Prefix", "/foo/")], "/foo", Some(0)),
    (&[("Prefix", "/foo/")], "/foo/", Some(0)),
    (&[("Prefix", "/aaa/bb")], "/aaa/bbb", None),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb", Some(0)),
    (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/ccc", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbbxyz", None),
    (&[("Prefix", "/"), ("Prefix", "/aaa")], "/aaa/ccc", Some(1)),
    (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/aaa/bbb", Some(2)),
    (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/ccc", Some(0)),
    (&[("Prefix", "/aaa")], "/ccc", None),
    (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo", Some(1)),
    // What the conformance tests add to them.
    (&[("Exact", "/foo")], "/FOO", None),
    (&[("Prefix", "/foo")], "/FOO", None),
    (&[("Prefix", "/aaa/bbb"), ("Prefix", "/aaa")], "/aaa/bbb/ccc", Some(0)),
    (&[("Prefix", "/aaa/bbb"), ("Prefix", "/aaa")], "/aaaccc", None),
    (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb/", Some(0)),
    // What is left to the class: it is a prefix by element, and no path at all is every path.
    (&[("ImplementationSpecific", "/foo")], "/foo/bar", Some(0)),
    (&[("ImplementationSpecific", "/foo")], "/foobar", None),
    (&[("ImplementationSpecific", "")], "/any", Some(0)),
];

#[test]
fn ingress_paths_match_as_documented() {
    let backends = ["0", "1", "2"].map(Backend::named);
    let mut yaml: String =
        backends.iter().enumerate().map(|(number, backend)| backend.service(&format!("b{number}"))).collect();
    for (number, (paths, _, _)) in PATHS.iter().enumerate() {
        yaml += &ingress(&format!("case{number}"), &[(&format!("case{number}.test"), paths)]);
    }
    let gateway = Gateway::start(&yaml);
    let wrong: Vec<_> = PATHS
        .iter()
        .enumerate()
        .filter_map(|(number, (paths, path, expected))| {
            let response = get_host(gateway.http, &format!("case{number}.test"), path).unwrap();
            let found = (response.status == 200).then(|| response.text().parse::<usize>().unwrap());
            assert!(found.is_some() || response.status == 404, "{paths:?} {path}: {}", response.status);
            (found != *expected).then(|| format!("{paths:?} {path}: {found:?} instead of {expected:?}"))
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// An Ingress whose path number `n` goes to the Service `bn`.
fn ingress(name: &str, rules: &[(&str, &[(&str, &str)])]) -> String {
    let rules: Vec<_> = rules
        .iter()
        .map(|(host, paths)| {
            let paths: Vec<_> = paths
                .iter()
                .enumerate()
                .map(|(number, (kind, path))| {
                    serde_json::json!({"path": path, "pathType": kind, "backend":
                        {"service": {"name": format!("b{number}"), "port": {"number": 80}}}})
                })
                .collect();
            serde_json::json!({"host": host, "http": {"paths": paths}})
        })
        .collect();
    let document = serde_json::json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name}, "spec": {"rules": rules}});
    format!("---\n{document}\n")
}

// === Ingress: the portable assertions of its conformance tests ===

#[test]
fn a_default_backend_has_every_request_and_its_answer_comes_back_as_it_was() {
    let backend = Backend::answering(|_| {
        Response::builder()
            .header("Content-Type", "application/x-echo")
            .header("Date", "Tue, 15 Nov 1994 08:12:31 GMT")
            .header("Server", "origin/1")
            .body(Full::new(Bytes::from("default")))
            .unwrap()
    });
    let gateway = Gateway::start(&format!(
        "{}---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: all}}\nspec:\n  defaultBackend: \
         {{service: {{name: b, port: {{number: 80}}}}}}\n",
        backend.service("b")
    ));
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PROPFIND"] {
        for host in ["some.host.test", "127.0.0.1", "10.1.2.3:8080", "[::1]"] {
            backend.forget();
            let path = "/any/path?query=1";
            let body: &[u8] = if matches!(method, "POST" | "PUT" | "PATCH") { b"body" } else { b"" };
            let response = request(gateway.http, method, host, path, &[("User-Agent", "tests/1")], body).unwrap();
            let what = format!("{method} {host}");
            assert_eq!((response.version.as_str(), response.status), ("HTTP/1.1", 200), "{what}");
            assert_eq!(response.header("content-length"), Some("7"), "{what}");
            assert_eq!(response.header("content-type"), Some("application/x-echo"), "{what}");
            assert_eq!(response.header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"), "{what}");
            assert_eq!(response.header("server"), Some("origin/1"), "{what}");
            assert_eq!(response.text(), if method == "HEAD" { "" } else { "default" }, "{what}");
            let [seen] = &backend.seen()[..] else { panic!("{what}: {:?}", backend.seen()) };
            assert_eq!(seen.method, method);
            assert_eq!(seen.uri.path_and_query().unwrap(), path, "{what}");
            assert_eq!(seen.version, Version::HTTP_11);
            assert_eq!(seen.headers["host"], host);
            assert_eq!(seen.headers["user-agent"], "tests/1");
            assert_eq!(seen.body, body, "{what}");
        }
    }
}

#[test]
fn a_default_backend_has_what_no_path_of_its_ingress_matches() {
    let (own, default) = (Backend::named("own"), Backend::named("default"));
    let gateway = Gateway::start(&format!(
        "{}{}{}",
        own.service("own"),
        default.service("default"),
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  defaultBackend: {service: {name: default, port: {number: 80}}}
  rules:
    - host: shop.test
      http: {paths: [{path: /own, pathType: Prefix, backend: {service: {name: own, port: {number: 80}}}}]}
    - host: pathless.test
"
    ));
    let answer = |host, path| {
        let response = get_host(gateway.http, host, path).unwrap();
        (response.status, if response.status == 200 { response.text() } else { String::new() })
    };
    assert_eq!(answer("shop.test", "/own/x"), (200, "own".into()));
    assert_eq!(answer("shop.test", "/other"), (200, "default".into()));
    assert_eq!(answer("pathless.test", "/own"), (200, "default".into()));
    assert_eq!(answer("foreign.test", "/own"), (404, String::new()));
}

#[test]
fn ingress_hosts_match_exactly_or_by_one_label() {
    let (exact, wild) = (Backend::named("exact"), Backend::named("wild"));
    let authority = Authority::new();
    let leaf = authority.issue(&["foo.bar.com"]);
    let gateway = Gateway::start(&format!(
        "{}{}{}{}",
        exact.service("exact"),
        wild.service("wild"),
        leaf.secret("foo-bar"),
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: hosts}
spec:
  tls: [{hosts: [foo.bar.com], secretName: foo-bar}]
  rules:
    - host: '*.foo.com'
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: wild, port: {number: 80}}}}]}
    - host: foo.bar.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: exact, port: {name: http}}}}]}
"
    ));
    let answer = |host| {
        let response = get_host(gateway.http, host, "/").unwrap();
        (response.status, if response.status == 200 { response.text() } else { String::new() })
    };
    for host in ["foo.bar.com", "FOO.bar.COM", "foo.bar.com:8080", "foo.bar.com."] {
        assert_eq!(answer(host), (200, "exact".into()), "{host}");
    }
    for host in ["bar.foo.com", "Baz.Foo.com"] {
        assert_eq!(answer(host), (200, "wild".into()), "{host}");
    }
    for host in ["subdomain.bar.com", "baz.bar.foo.com", "foo.com", ".foo.com", "xfoo.bar.com", "com"] {
        assert!([400, 404].contains(&answer(host).0), "{host}: {:?}", answer(host));
    }
    let mut client = Client::tls(gateway.https, &authority.client(), "foo.bar.com").unwrap();
    assert_eq!(client.session.as_ref().unwrap().leaf, leaf.der);
    let response = client.get("foo.bar.com", "/");
    assert_eq!((response.status, response.text()), (200, "exact".into()));
    assert_eq!(exact.seen().last().unwrap().headers["host"], "foo.bar.com");
    assert_eq!(exact.seen().last().unwrap().headers["x-forwarded-proto"], "https");
}

#[test]
fn an_ingress_of_another_class_is_not_served() {
    let backend = Backend::named("b0");
    let mut yaml = backend.service("b0");
    let classes = [
        ("field", "spec:\n  ingressClassName: other\n", 404),
        ("annotation", "spec:\n", 404),
        ("ours", "spec:\n  ingressClassName: headgate\n", 200),
        ("ours-by-annotation", "spec:\n", 200),
        ("none", "spec:\n", 200),
    ];
    for (name, spec, _) in classes {
        let annotation = match name {
            "annotation" => ", annotations: {kubernetes.io/ingress.class: nginx}",
            "ours-by-annotation" => ", annotations: {kubernetes.io/ingress.class: headgate}",
            _ => "",
        };
        yaml += &format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}{annotation}}}\n{spec}  rules:\n\
             \x20 - host: {name}.test\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: b0, \
             port: {{number: 80}}}}}}}}]}}\n"
        );
    }
    let gateway = Gateway::start(&yaml);
    for (name, _, expected) in classes {
        assert_eq!(get_host(gateway.http, &format!("{name}.test"), "/").unwrap().status, expected, "{name}");
    }
    let problems = gateway.api("problems").to_string();
    assert!(problems.contains("HG1004") && problems.contains("class other is not served here"), "{problems}");
}

#[test]
fn a_hundred_requests_of_one_client_reach_all_of_ten_endpoints() {
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let backends = names.map(Backend::named);
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let gateway = Gateway::start(&(service("b0", &addresses) + &ingress("ten", &[("ten.test", &[("Prefix", "/")])])));

    let mut kept = Client::http1(gateway.http);
    let over_one: BTreeSet<_> = (0..100).map(|_| kept.get("ten.test", "/").text()).collect();
    assert_eq!(over_one, names.map(String::from).into());

    let over_many: BTreeSet<_> = (0..100).map(|_| get_host(gateway.http, "ten.test", "/").unwrap().text()).collect();
    assert_eq!(over_many, names.map(String::from).into());
}

// === GatewayRoute ===

/// A rule that answers with its name.
fn rule(name: &str, matches: &str) -> String {
    format!(
        "    - name: {name}\n      matches: [{matches}]\n      filters: [{{type: DirectResponse, directResponse: \
         {{statusCode: 200, body: {name}}}}}]\n"
    )
}

fn route(name: &str, spec: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n{spec}  \
         rules:\n{rules}"
    )
}

#[test]
fn rules_take_requests_in_the_documented_order_whatever_order_they_are_written_in() {
    // From the last to come to the first.
    let rules = [
        rule("regex", "{path: {type: RegularExpression, value: '^/a/.*'}}"),
        rule("root", "{path: {value: /}}"),
        rule("prefix", "{path: {value: /a}}"),
        rule("rest", "{path: {type: Template, value: '/a/b/*rest'}}"),
        rule("param", "{path: {type: Template, value: '/a/:x'}}"),
        rule("param-then-literal", "{path: {type: Template, value: '/a/:x/c'}}"),
        rule("literal-then-param", "{path: {type: Template, value: '/a/b/:y'}}"),
        rule("template-and-method", "{path: {type: Template, value: '/a/:x'}, method: POST}"),
        rule("template-and-header", "{path: {type: Template, value: '/a/:x'}, headers: [{name: X-One, value: '1'}]}"),
        rule(
            "template-and-headers",
            "{path: {type: Template, value: '/a/:x'}, headers: [{name: X-One, value: '1'}, {name: X-Two, type: Present}]}",
        ),
        rule(
            "template-and-query",
            "{path: {type: Template, value: '/a/:x'}, queryParams: [{name: q, type: RegularExpression, value: '^[0-9]+$'}]}",
        ),
        rule("exact", "{path: {type: Exact, value: /a/b/c}}"),
        rule(
            "only-regex",
            "{path: {type: RegularExpression, value: '^/(beta|labs)/[0-9]+$'}}, {path: {type: Exact, value: /also}}",
        ),
    ];
    // A second host without the root, where the expression can be seen.
    let expressions = route(
        "expressions",
        "  hostnames: [regex.test]\n",
        &[&rules[0], &rules[4], &rules[12]].map(String::as_str).concat(),
    );
    let reversed: String = rules.iter().rev().map(String::as_str).collect();
    let gateway = Gateway::start(&(route("order", "  hostnames: [order.test]\n", &rules.concat()) + &expressions));
    let answer = |host: &str, method: &str, path: &str, headers: &[(&str, &str)]| {
        let response = request(gateway.http, method, host, path, headers, b"").unwrap();
        if response.status == 200 { response.text() } else { response.status.to_string() }
    };
    let expected: &[(&str, &str, &[(&str, &str)], &str)] = &[
        ("GET", "/", &[], "root"),
        ("GET", "/ab", &[], "root"),
        ("GET", "/a", &[], "prefix"),
        ("GET", "/a/", &[], "prefix"),
        ("GET", "/a/x/y/z", &[], "prefix"),
        ("GET", "/a/x", &[], "param"),
        ("GET", "/a/x/c", &[], "param-then-literal"),
        ("GET", "/a/b/c", &[], "exact"),
        ("GET", "/a/b/d", &[], "literal-then-param"),
        ("GET", "/a/b/d/e", &[], "rest"),
        ("GET", "/a/b/", &[], "rest"),
        // `*rest` wants a slash before it, so that is a parameter's.
        ("GET", "/a/b", &[], "param"),
        ("POST", "/a/x", &[], "template-and-method"),
        ("POST", "/a/x", &[("X-One", "1")], "template-and-method"),
        ("GET", "/a/x", &[("X-One", "1")], "template-and-header"),
        ("GET", "/a/x", &[("X-One", "2"), ("X-Two", "")], "param"),
        ("GET", "/a/x", &[("X-One", "1"), ("X-Two", "")], "template-and-headers"),
        ("GET", "/a/x?q=12", &[], "template-and-query"),
        ("GET", "/a/x?q=12", &[("X-One", "1")], "template-and-header"),
        ("GET", "/a/x?q=twelve", &[], "param"),
        ("GET", "/beta/1", &[], "root"),
        ("GET", "/also", &[], "only-regex"),
        // The path that is matched is the normal one.
        ("GET", "/a/./b/x/../c", &[], "exact"),
        ("GET", "//a///b/%63", &[], "exact"),
        ("GET", "/a/b%2fc", &[], "400"),
        ("GET", "/a/%00", &[], "400"),
    ];
    let check = || {
        for (method, path, headers, winner) in expected {
            assert_eq!(answer("order.test", method, path, headers), *winner, "{method} {path} {headers:?}");
        }
        assert_eq!(answer("regex.test", "GET", "/a/b/c/d", &[]), "regex");
        assert_eq!(answer("regex.test", "GET", "/a/x", &[]), "param");
        assert_eq!(answer("regex.test", "GET", "/beta/12", &[]), "only-regex");
        assert_eq!(answer("regex.test", "GET", "/beta/x", &[]), "404");
    };
    check();
    gateway.apply(&(route("order", "  hostnames: [order.test]\n", &reversed) + &expressions));
    check();
}

#[test]
fn of_equal_matches_the_older_object_has_the_request_then_the_first_by_name() {
    let dated = |name: &str, created: &str| {
        route(name, "  hostnames: [one.test]\n", &rule(name, "{path: {type: Exact, value: /}}"))
            .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, creationTimestamp: '{created}'}}"))
    };
    let gateway = Gateway::start(&(dated("alpha", "2026-02-01T00:00:00Z") + &dated("omega", "2026-01-01T00:00:00Z")));
    assert_eq!(get_host(gateway.http, "one.test", "/").unwrap().text(), "omega");
    gateway.apply(&(dated("alpha", "2026-01-01T00:00:00Z") + &dated("omega", "2026-01-01T00:00:00Z")));
    assert_eq!(get_host(gateway.http, "one.test", "/").unwrap().text(), "alpha");
    let problems = gateway.api("problems").to_string();
    assert!(problems.contains("default/omega") && problems.contains("default/alpha, which comes first"), "{problems}");
}

#[test]
fn hostnames_of_a_route_match_one_label_or_more_and_never_fall_through() {
    let named = |name: &str, hostnames: &str, path: &str| {
        route(name, &format!("  hostnames: [{hostnames}]\n"), &rule(name, &format!("{{path: {{value: {path}}}}}")))
    };
    let gateway = Gateway::start(
        &[
            named("wild", "'*.example.test'", "/"),
            named("inner", "'*.inner.example.test'", "/inner"),
            named("exact", "shop.example.test", "/shop"),
            route("any", "", &rule("any", "{path: {value: /}}")),
        ]
        .concat(),
    );
    let answer = |host: &str, path: &str| {
        let response = get_host(gateway.http, host, path).unwrap();
        if response.status == 200 { response.text() } else { response.status.to_string() }
    };
    for (host, path, expected) in [
        ("a.example.test", "/", "wild"),
        ("a.b.example.test", "/", "wild"),
        ("a.b.c.example.test", "/", "wild"),
        ("x.inner.example.test", "/inner", "inner"),
        ("x.y.inner.example.test", "/inner", "inner"),
        ("inner.example.test", "/inner", "wild"),
        ("shop.example.test", "/shop/cart", "exact"),
        // A host whose rules do not match does not fall through to a less specific one.
        ("shop.example.test", "/", "404"),
        ("x.inner.example.test", "/", "404"),
        ("example.test", "/", "any"),
        ("other.test", "/", "any"),
        ("127.0.0.1", "/", "any"),
    ] {
        assert_eq!(answer(host, path), expected, "{host}{path}");
    }
}

#[test]
fn a_route_answers_on_the_listeners_it_names() {
    let authority = Authority::new();
    let mut yaml = authority.issue(&["a.test"]).secret("a");
    let tls = "  hostnames: [a.test]\n  tls: {certificateRefs: [{name: a}]}\n";
    for (name, listeners) in [("both", ""), ("clear", "  listeners: [http]\n"), ("secure", "  listeners: [https]\n")] {
        let matches = format!("{{path: {{value: /{name}}}}}");
        yaml += &route(name, &format!("{tls}{listeners}"), &rule(name, &matches));
    }
    let gateway = Gateway::start(&yaml);
    let mut secure = Client::tls(gateway.https, &authority.client(), "a.test").unwrap();
    let statuses: BTreeMap<_, _> = ["both", "clear", "secure"]
        .map(|name| {
            let path = format!("/{name}");
            (name, (get_host(gateway.http, "a.test", &path).unwrap().status, secure.get("a.test", &path).status))
        })
        .into();
    assert_eq!(statuses, [("both", (200, 200)), ("clear", (200, 404)), ("secure", (404, 200))].into());
}

#[test]
fn what_nobody_routes_is_told_apart_from_what_is_broken() {
    let gateway = Gateway::start(&route("one", "  hostnames: [one.test]\n", &rule("one", "{path: {value: /one}}")));
    let response = get(gateway.http, "/anything").unwrap();
    assert_eq!(response.status, 404);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.json()["reason"], "no_route");
    assert_eq!(response.json()["request_id"].as_str(), response.header("x-request-id"));
}

#[test]
fn both_protocols_find_the_same_route_and_the_backend_sees_the_same_request() {
    let backend = Backend::named("b");
    let rules =
        "    - matches: [{path: {type: Template, value: '/o/:id'}}]\n      backendRefs: [{name: b, port: 80}]\n";
    let gateway = Gateway::start(&(backend.service("b") + &route("o", "  hostnames: [o.test]\n", rules)));
    for mut client in [Client::http1(gateway.http), Client::http2(gateway.http)] {
        let response = client.request("GET", "o.test", "/o/12?x=y", &[("x-own", "1")]).unwrap();
        assert_eq!((response.status, response.text()), (200, "b".into()));
        assert_eq!(client.get("o.test", "/o").status, 404);
    }
    let seen = backend.seen();
    let told = |seen: &Seen| {
        let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
        (seen.uri.to_string(), seen.version, header("host"), header("x-own"), header("x-forwarded-host"))
    };
    let expected = ("/o/12?x=y".to_owned(), Version::HTTP_11, "o.test".to_owned(), "1".to_owned(), "o.test".to_owned());
    assert_eq!(seen.iter().map(told).collect::<Vec<_>>(), [expected.clone(), expected]);
}

/// The canary of the examples, whose tenth may go either way.
#[test]
fn a_canary_is_asked_for_by_a_header_or_a_cookie() {
    let (web, next) = (Backend::named("web"), Backend::named("next"));
    let example = include_str!("../../manifests/examples/canary.yaml").replace("port: 8080", "port: 80");
    let gateway = Gateway::start(&(web.service("web") + &next.service("web-next") + "---\n" + &example));
    let mut clients = [Client::http1(gateway.http), Client::http2(gateway.http)];
    let mut answer = |fields: &[(&str, &str)], turn: usize| {
        clients[turn % 2].request("GET", "canary.example.com", "/", fields).unwrap().text()
    };
    for fields in [
        &[("x-canary", "always")][..],
        &[("cookie", "canary=always")],
        &[("cookie", "a=b; canary=always")],
        &[("cookie", "canary=always; a=b")],
        &[("cookie", "a=b"), ("cookie", "canary=always")],
    ] {
        for turn in 0..40 {
            assert_eq!(answer(fields, turn), "next", "{fields:?}");
        }
    }
    for field in [("x-canary", "never"), ("cookie", "xcanary=always"), ("cookie", "canary=alwaysx")] {
        // That a tenth takes all of forty does not happen in the age of the universe.
        assert!((0..40).any(|turn| answer(&[field], turn) == "web"), "{field:?}");
    }
}
