//! What a rule does to a request and its response, and what becomes of rules that cannot be served.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::harness::backend::{Backend, Seen, service};
use crate::harness::certs::Authority;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response as Answer, get_host, request};

const HOST: &str = "f.test";

/// A GatewayRoute for [`HOST`] with these rules.
fn route(name: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    )
}

/// A rule for a path with one filter, and the Service `b` behind it.
fn rule(path: &str, filter: &str) -> String {
    format!(
        "    - matches: [{{path: {path}}}]\n      filters: [{filter}]\n      backendRefs: [{{name: b, port: 80}}]\n"
    )
}

/// A backend that answers with some headers, and rules in front of it.
fn serve(rules: &str) -> (Backend, Gateway) {
    let backend = Backend::answering(|_| {
        Response::builder()
            .header("X-Two", "one")
            .header("X-Two", "two")
            .header("X-Gone", "here")
            .header("X-Kept", "kept")
            .body(Full::new(Bytes::from("b")))
            .unwrap()
    });
    let gateway = Gateway::start(&(backend.service("b") + &route("f", rules)));
    (backend, gateway)
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    get_host(gateway.http, HOST, path).unwrap()
}

fn only(backend: &Backend) -> Seen {
    let mut seen = backend.seen();
    backend.forget();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn values(headers: &http::HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn headers_are_set_added_and_removed_on_both_sides_in_this_order() {
    let change = "{set: [{name: X-Two, value: set}, {name: X-Id, value: ':id'}, {name: X-Literal, value: 'a :id {id}'}], \
                  add: [{name: X-Two, value: added}, {name: X-Kept, value: more}], remove: [x-gone, X-Two]}";
    let (backend, gateway) = serve(&format!(
        "    - matches: [{{path: {{type: Template, value: '/o/:id'}}}}]
      filters:
        - {{type: RequestHeaderModifier, requestHeaderModifier: {change}}}
        - {{type: ResponseHeaderModifier, responseHeaderModifier: {change}}}
      backendRefs: [{{name: b, port: 80}}]
"
    ));
    let sent = [("X-Two", "1"), ("X-Two", "2"), ("X-Gone", "here"), ("X-Kept", "kept")];
    let response = request(gateway.http, "GET", HOST, "/o/a%20b", &sent, b"").unwrap();
    let seen = only(&backend);
    let of_response = |name: &str| -> Vec<String> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        response.headers.iter().filter(named).map(|(_, value)| value.clone()).collect()
    };
    for found in [&|name: &str| values(&seen.headers, name), &of_response as &dyn Fn(&str) -> Vec<String>] {
        assert_eq!(found("x-two"), ["set", "added"]);
        assert_eq!(found("x-id"), ["a%20b"]);
        assert_eq!(found("x-literal"), ["a :id {id}"]);
        assert_eq!(found("x-kept"), ["kept", "more"]);
        assert_eq!(found("x-gone"), Vec::<String>::new());
    }
}

#[test]
fn rewrites_change_what_the_backend_sees_and_nothing_else() {
    let rewrite = |settings: &str| format!("{{type: URLRewrite, urlRewrite: {{{settings}}}}}");
    let prefix = |with: &str| rewrite(&format!("path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{with}'}}"));
    let template = |with: &str| rewrite(&format!("path: {{type: ReplaceTemplate, replaceTemplate: '{with}'}}"));
    let rules = [
        rule("{value: /host}", &rewrite("hostname: other.test")),
        rule("{value: /full}", &rewrite("path: {type: ReplaceFullPath, replaceFullPath: /whole/new}")),
        rule("{value: /prefix/}", &prefix("/short")),
        rule("{value: /slashed}", &prefix("/short/")),
        rule("{value: /away}", &prefix("/")),
        rule("{value: /empty}", &prefix("")),
        rule("{type: Template, value: '/t/:a/:b'}", &template("/v2/:b/of/:a")),
        rule("{type: Template, value: '/r/*rest'}", &template("/deep/*rest")),
        rule(
            "{type: Template, value: '/both/:id'}",
            &rewrite("hostname: both.test, path: {type: ReplaceTemplate, replaceTemplate: '/:id'}"),
        ),
    ];
    let (backend, gateway) = serve(&rules.concat());
    for (path, upstream, host) in [
        ("/host/x?q=%2F", "/host/x?q=%2F", "other.test"),
        ("/full/x?q=1&q=2", "/whole/new?q=1&q=2", HOST),
        ("/full", "/whole/new", HOST),
        ("/prefix", "/short", HOST),
        ("/prefix/", "/short/", HOST),
        ("/prefix/a/b?q", "/short/a/b?q", HOST),
        ("/slashed/a", "/short/a", HOST),
        ("/slashed", "/short", HOST),
        ("/away/a", "/a", HOST),
        ("/away/", "/", HOST),
        ("/away", "/", HOST),
        ("/empty/a", "/a", HOST),
        ("/empty", "/", HOST),
        ("/t/1/two?x", "/v2/two/of/1?x", HOST),
        ("/t/a%20b/%c3%a9", "/v2/%C3%A9/of/a%20b", HOST),
        ("/r/", "/deep/", HOST),
        ("/r/a/b/", "/deep/a/b/", HOST),
        ("/both/9", "/9", "both.test"),
        // What is forwarded is the normal path, also when nothing rewrites it.
        ("/host//a/../b/%7e", "/host/b/~", "other.test"),
        // A prefix cannot be climbed out of: the path was normalised before it matched.
        ("/prefix/../full", "/whole/new", HOST),
    ] {
        assert_eq!(get(&gateway, path).status, 200, "{path}");
        let seen = only(&backend);
        assert_eq!(seen.uri.path_and_query().unwrap().as_str(), upstream, "{path}");
        assert_eq!(seen.headers["host"], host, "{path}");
        assert_eq!(seen.headers["x-forwarded-host"], HOST, "{path}");
    }
}

#[test]
fn redirects_keep_what_they_do_not_change() {
    let authority = Authority::new();
    let redirect = |name: &str, settings: &str| {
        rule(&format!("{{value: /{name}}}"), &format!("{{type: RequestRedirect, requestRedirect: {{{settings}}}}}"))
            .replace("      backendRefs: [{name: b, port: 80}]\n", "")
    };
    let mut rules: String = [301, 302, 303, 307, 308]
        .map(|code| redirect(&code.to_string(), &format!("hostname: new.test, statusCode: {code}")))
        .concat();
    rules += &[
        redirect("default", "hostname: new.test"),
        redirect("https", "scheme: https"),
        redirect("http", "scheme: http"),
        redirect("port", "port: 8443"),
        redirect("https-443", "scheme: https, port: 443"),
        redirect("http-80", "scheme: http, port: 80"),
        redirect("https-80", "scheme: https, port: 80"),
        redirect("full", "path: {type: ReplaceFullPath, replaceFullPath: /new}"),
        redirect("prefix", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}"),
    ]
    .concat();
    rules += "    - matches: [{path: {type: Template, value: '/t/:id'}}]\n      filters: [{type: RequestRedirect, \
              requestRedirect: {path: {type: ReplaceTemplate, replaceTemplate: '/new/:id'}}}]\n";
    let tls = format!("  hostnames: [{HOST}]\n  tls: {{certificateRefs: [{{name: leaf}}]}}\n");
    let objects = route("f", &rules).replace(&format!("  hostnames: [{HOST}]\n"), &tls);
    let gateway = Gateway::start(&(authority.issue(&[HOST]).secret("leaf") + &objects));
    let mut secure = Client::tls(gateway.https, &authority.client(), HOST).unwrap();

    let told = |answer: &Answer| (answer.status, answer.header("location").unwrap_or_default().to_owned());
    for code in [301, 302, 303, 307, 308] {
        assert_eq!(told(&get(&gateway, &format!("/{code}"))), (code, format!("http://new.test/{code}")));
    }
    for (authority, path, clear, over_tls) in [
        ("f.test", "/default/a?b=c", "http://new.test/default/a?b=c", "https://new.test/default/a?b=c"),
        ("f.test", "/https", "https://f.test/https", "https://f.test/https"),
        ("f.test", "/http", "http://f.test/http", "http://f.test/http"),
        ("f.test", "/port", "http://f.test:8443/port", "https://f.test:8443/port"),
        ("f.test", "/https-443", "https://f.test/https-443", "https://f.test/https-443"),
        ("f.test", "/http-80", "http://f.test/http-80", "http://f.test/http-80"),
        ("f.test", "/https-80", "https://f.test:80/https-80", "https://f.test:80/https-80"),
        ("f.test", "/full/a?b", "http://f.test/new?b", "https://f.test/new?b"),
        ("f.test", "/prefix/a?b", "http://f.test/new/a?b", "https://f.test/new/a?b"),
        ("f.test", "/t/1", "http://f.test/new/1", "https://f.test/new/1"),
        // The port that the client came to stays, unless the scheme is another one.
        ("f.test:8080", "/full", "http://f.test:8080/new", "https://f.test:8080/new"),
        ("f.test:8080", "/https", "https://f.test/https", "https://f.test/https"),
        ("F.Test", "/full", "http://f.test/new", "https://f.test/new"),
    ] {
        let answer = get_host(gateway.http, authority, path).unwrap();
        assert_eq!(told(&answer), (302, clear.into()), "{authority}{path} in clear");
        assert_eq!(told(&secure.get(authority, path)), (302, over_tls.into()), "{authority}{path} over TLS");
    }
    // A path cannot turn a redirect into one to another host.
    assert_eq!(told(&get(&gateway, "/full/../prefix//evil.test")), (302, "http://f.test/new/evil.test".into()));
}

#[test]
fn a_direct_response_is_what_was_declared() {
    let respond = |name: &str, settings: &str| {
        rule(&format!("{{value: /{name}}}"), &format!("{{type: DirectResponse, directResponse: {{{settings}}}}}"))
    };
    let (backend, gateway) = serve(
        &[
            respond("plain", "statusCode: 503, body: Back soon"),
            respond("json", "statusCode: 200, contentType: application/json, body: '{}'"),
            respond("empty", "statusCode: 204"),
        ]
        .concat(),
    );
    let told = |answer: Answer| {
        (
            answer.status,
            answer.header("content-type").map(str::to_owned),
            answer.header("content-length").map(str::to_owned),
            answer.text(),
        )
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told(get(&gateway, "/plain")), (503, some("text/plain"), some("9"), "Back soon".into()));
    assert_eq!(told(get(&gateway, "/json")), (200, some("application/json"), some("2"), "{}".into()));
    assert_eq!(told(get(&gateway, "/empty")), (204, None, None, String::new()));
    let head = request(gateway.http, "HEAD", HOST, "/plain", &[], b"").unwrap();
    assert_eq!(told(head), (503, some("text/plain"), some("9"), String::new()));
    // A body that nobody reads does not spoil the connection for the next request.
    let mut kept = Client::http1(gateway.http);
    for _ in 0..2 {
        assert_eq!(kept.request("POST", HOST, "/plain", &[]).unwrap().status, 503);
    }
    assert!(backend.seen().is_empty());
}

/// How many of these requests each backend answered.
fn shares(gateway: &Gateway, path: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut client = Client::http1(gateway.http);
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get(HOST, path);
        let who = if answer.status == 200 { answer.text() } else { answer.status.to_string() };
        *shares.entry(who).or_default() += 1;
    }
    shares
}

#[test]
fn requests_are_shared_out_by_weight() {
    let (many, few, none) = (Backend::named("many"), Backend::named("few"), Backend::named("none"));
    let refs =
        |refs: &str, path: &str| format!("    - matches: [{{path: {{value: {path}}}}}]\n      backendRefs: [{refs}]\n");
    let gateway = Gateway::start(
        &[
            many.service("many"),
            few.service("few"),
            none.service("none"),
            service("empty", &[]),
            route(
                "f",
                &[
                    refs("{name: many, port: 80, weight: 90}, {name: few, port: 80, weight: 10}, {name: none, port: 80, weight: 0}", "/w"),
                    refs("{name: many, port: 80}, {name: missing, port: 80}", "/missing"),
                    refs("{name: many, port: 80}, {name: empty, port: 80}", "/empty"),
                ]
                .concat(),
            ),
        ]
        .concat(),
    );
    let found = shares(&gateway, "/w", 2000);
    // Five standard deviations: a draw outside is one in two million.
    assert!((133..=267).contains(&found["few"]), "{found:?}");
    assert_eq!(found["many"] + found["few"], 2000, "{found:?}");
    assert!(none.seen().is_empty());

    // What has no backend behind it answers for its share, and no other backend gets more than its own.
    for (path, status) in [("/missing", "500"), ("/empty", "503")] {
        let found = shares(&gateway, path, 400);
        assert!((150..=250).contains(&found["many"]), "{path}: {found:?}");
        assert_eq!(found["many"] + found[status], 400, "{path}: {found:?}");
    }
}

#[test]
fn filters_of_a_backend_are_for_its_requests_alone_and_come_after_the_rules() {
    let (plain, marked) = (Backend::named("plain"), Backend::named("marked"));
    let gateway = Gateway::start(
        &[
            plain.service("plain"),
            marked.service("marked"),
            route(
                "f",
                "    - matches: [{path: {value: /}}]
      filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-By, value: rule}]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-Back, value: rule}]}}
      backendRefs:
        - {name: plain, port: 80}
        - name: marked
          port: 80
          filters:
            - {type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-By, value: backend}]}}
            - {type: URLRewrite, urlRewrite: {hostname: marked.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /m}}}
            - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-Back, value: backend}]}}
",
            ),
        ]
        .concat(),
    );
    let mut client = Client::http1(gateway.http);
    for _ in 0..40 {
        let answer = client.get(HOST, "/a");
        let back: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "x-back").map(|(_, value)| value.as_str()).collect();
        let expected: &[&str] = if answer.text() == "marked" { &["backend", "rule"] } else { &["rule"] };
        assert_eq!(back, expected);
    }
    assert!(!plain.seen().is_empty() && !marked.seen().is_empty());
    for seen in plain.seen() {
        assert_eq!((values(&seen.headers, "x-by"), seen.uri.path()), (vec!["rule".to_owned()], "/a"));
        assert_eq!(seen.headers["host"], HOST);
    }
    for seen in marked.seen() {
        assert_eq!((values(&seen.headers, "x-by"), seen.uri.path()), (vec!["rule".into(), "backend".into()], "/m/a"));
        assert_eq!(seen.headers["host"], "marked.test");
    }
}

#[test]
fn a_rule_that_is_refused_answers_500_and_the_others_work() {
    let respond = "filters: [{type: DirectResponse, directResponse: {statusCode: 200}}]";
    let backend = "backendRefs: [{name: b, port: 80}]";
    let refused = [
        ("jwt", format!("jwt: {{providers: [main]}}\n      {backend}")),
        ("two-of-a-kind", format!("filters: [{{type: IPAccess, ipAccess: {{allow: [10.0.0.0/8]}}}}, {{type: IPAccess, ipAccess: {{deny: [10.6.0.0/16]}}}}]\n      {backend}")),
        ("retry", format!("retry: {{backoff: 1s, maxBackoff: 100ms}}\n      {backend}")),
        ("no-parameter", "filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceTemplate, replaceTemplate: '/:id'}}}]".to_owned()),
        ("reserved", format!("filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: Content-Length, value: '0'}}]}}}}]\n      {backend}")),
        ("wrong-member", format!("filters: [{{type: CORS, urlRewrite: {{hostname: a.test}}}}]\n      {backend}")),
        ("two-answers", "filters: [{type: DirectResponse, directResponse: {statusCode: 200}}, {type: RequestRedirect, requestRedirect: {port: 1}}]".to_owned()),
        ("weightless", "backendRefs: [{name: b, port: 80, weight: 0}]".to_owned()),
        ("nothing", "timeouts: {request: 1s}".to_owned()),
        ("mistyped", format!("timeouts: {{request: soon}}\n      {backend}")),
        ("misshapen", format!("filters: {{type: CORS}}\n      {backend}")),
    ];
    let rules: String = refused
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .chain([("good", respond), ("expression", respond)])
        .map(|(name, body)| {
            let matches = match name {
                "expression" => "{path: {type: RegularExpression, value: '('}}".to_owned(),
                _ => format!("{{path: {{value: /{name}}}}}"),
            };
            format!("    - name: {name}\n      matches: [{matches}]\n      {body}\n")
        })
        .collect();
    let b = Backend::named("b");
    let gateway = Gateway::start(&(b.service("b") + &route("f", &rules)));
    // A provider that does not exist is a matter of the whole object, so that rule has one to itself.
    let jwt_and_rest = |name: &str| get(&gateway, &format!("/{name}")).status;
    let statuses: BTreeMap<_, _> = refused.iter().map(|(name, _)| (*name, jwt_and_rest(name))).collect();
    assert_eq!(statuses, refused.iter().map(|(name, _)| (*name, 500)).collect());
    assert!(b.seen().is_empty(), "{:?}", b.seen());
    let answer = get(&gateway, "/jwt");
    assert_eq!(answer.json()["reason"], "route_refused");

    let problems = gateway.api("problems");
    let problems = problems["problems"].as_array().unwrap();
    for name in refused.iter().map(|(name, _)| *name).chain(["expression"]) {
        let named = |problem: &&serde_json::Value| {
            problem["rule"] == name
                || problem["field"]
                    .as_str()
                    .is_some_and(|field| field.starts_with(&format!("spec.rules[{}]", rule_number(&rules, name))))
        };
        assert!(problems.iter().any(|problem| named(&problem)), "{name}: {problems:#?}");
    }
}

fn rule_number(rules: &str, name: &str) -> usize {
    rules.split("    - name: ").skip(1).position(|rule| rule.starts_with(&format!("{name}\n"))).unwrap()
}

#[test]
fn a_backend_that_is_not_there_answers_as_its_kind_of_absence_asks() {
    let backend = Backend::named("b");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rule = |path: &str, reference: &str| {
        format!("    - matches: [{{path: {{value: {path}}}}}]\n      backendRefs: [{reference}]\n")
    };
    let ingress = "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec:
  rules:
    - host: i.test
      http:
        paths:
          - {path: /missing, pathType: Prefix, backend: {service: {name: missing, port: {number: 80}}}}
          - {path: /port, pathType: Prefix, backend: {service: {name: b, port: {number: 81}}}}
          - {path: /named, pathType: Prefix, backend: {service: {name: b, port: {name: grpc}}}}
          - {path: /empty, pathType: Prefix, backend: {service: {name: empty, port: {number: 80}}}}
          - {path: /closed, pathType: Prefix, backend: {service: {name: closed, port: {number: 80}}}}
          - {path: /external, pathType: Prefix, backend: {service: {name: external, port: {number: 80}}}}
          - {path: /, pathType: Prefix, backend: {service: {name: b, port: {number: 80}}}}
";
    let gateway = Gateway::start(
        &[
            backend.service("b"),
            service("empty", &[]),
            service("closed", &[closed]),
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: external}\nspec: {type: ExternalName, externalName: b.test}\n".into(),
            ingress.into(),
            route(
                "f",
                &[
                    rule("/missing", "{name: missing, port: 80}"),
                    rule("/port", "{name: b, port: 81}"),
                    rule("/empty", "{name: empty, port: 80}"),
                    rule("/closed", "{name: closed, port: 80}"),
                    rule("/foreign", "{name: b, namespace: other, port: 80}"),
                    rule("/kind", "{kind: Bucket, group: storage.test, name: b, port: 80}"),
                    rule("/external", "{name: external, port: 80}"),
                    rule("/", "{name: b, port: 80}"),
                ]
                .concat(),
            ),
        ]
        .concat(),
    );
    let statuses = |host: &str, names: &[&'static str]| -> BTreeMap<&'static str, u16> {
        names.iter().map(|name| (*name, get_host(gateway.http, host, &format!("/{name}")).unwrap().status)).collect()
    };
    assert_eq!(
        statuses(HOST, &["missing", "port", "empty", "closed", "foreign", "kind", "external", "other"]),
        [
            ("missing", 500),
            ("foreign", 500),
            ("kind", 500),
            ("port", 503),
            ("empty", 503),
            ("closed", 503),
            ("external", 503),
            ("other", 200)
        ]
        .into()
    );
    assert_eq!(
        statuses("i.test", &["missing", "port", "named", "empty", "closed", "external", "other"]),
        [
            ("missing", 503),
            ("port", 503),
            ("named", 503),
            ("empty", 503),
            ("closed", 503),
            ("external", 503),
            ("other", 200)
        ]
        .into()
    );
    let problems = gateway.api("problems").to_string();
    for (code, what) in [
        ("HG1201", "default/missing does not exist"),
        ("HG1202", "other"),
        ("HG1203", "default/b has no TCP port 81"),
        ("HG1204", "ExternalName"),
        ("HG1205", "Bucket"),
    ] {
        assert!(problems.contains(code) && problems.contains(what), "{code} {what}: {problems}");
    }
}
