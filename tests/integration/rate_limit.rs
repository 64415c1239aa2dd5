//! Rate limits that are counted in the process: who is counted, who is refused, and what everybody is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use socket2::{Domain, Socket, Type};

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::{Response as Answer, get_host, parse, request};
use crate::harness::raw::RawClient;
use crate::harness::run::{command, said};

const HOST: &str = "l.test";

/// A GatewayRoute `l` for [`HOST`] with these rules.
fn route(rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: l}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    )
}

/// A rule of this name for a path, with the Service `b` behind it.
fn rule(name: &str, path: &str) -> String {
    format!("    - {{name: {name}, matches: [{{path: {path}}}], backendRefs: [{{name: b, port: 80}}]}}\n")
}

/// A policy of this name on a rule of the route.
fn policy(name: &str, section: &str, limits: &str) -> String {
    on(name, &format!("{{group: headgate.dev, kind: GatewayRoute, name: l, sectionName: {section}}}"), limits, "")
}

fn on(name: &str, target: &str, limits: &str, response: &str) -> String {
    let response = if response.is_empty() { String::new() } else { format!("  response: {{{response}}}\n") };
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         targetRefs: [{target}]\n  limits: [{limits}]\n{response}"
    )
}

/// A backend, and a gateway before it with all of this declared.
fn serve(declared: &[String]) -> (Backend, Gateway) {
    serve_with(declared, &[])
}

fn serve_with(declared: &[String], flags: &[&str]) -> (Backend, Gateway) {
    let backend = Backend::answering(|_| Response::new(Full::new(Bytes::from("b"))));
    let gateway = Gateway::start_with(&(backend.service("b") + &declared.concat()), flags);
    (backend, gateway)
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    get_host(gateway.http, HOST, path).unwrap()
}

fn get_as(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(gateway.http, "GET", HOST, path, headers, b"").unwrap()
}

/// The statuses of so many requests.
fn statuses(gateway: &Gateway, path: &str, times: usize) -> Vec<u16> {
    (0..times).map(|_| get(gateway, path).status).collect()
}

fn problems(gateway: &Gateway) -> String {
    gateway.api("problems")["problems"].to_string()
}

#[test]
fn a_template_is_limited_by_its_parameter_and_clients_are_told() {
    let (backend, gateway) = serve(&[
        route(&rule("orders", "{type: Template, value: '/orders/:id'}")),
        policy("p", "orders", "{name: per-order, requests: 2, period: 1m, key: [{type: PathParam, name: id}]}"),
    ]);
    let first = get(&gateway, "/orders/1");
    assert_eq!((first.status, first.text().as_str()), (200, "b"));
    assert_eq!(first.header("ratelimit-policy"), Some(r#""per-order";q=2;w=60"#));
    assert_eq!(first.header("ratelimit"), Some(r#""per-order";r=1;t=30"#));
    assert_eq!(first.header("retry-after"), None);
    assert_eq!(get(&gateway, "/orders/1").header("ratelimit"), Some(r#""per-order";r=0;t=60"#));

    let refused = get(&gateway, "/orders/1");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.json()["reason"], "rate_limited");
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""per-order";q=2;w=60"#));
    assert_eq!(refused.header("ratelimit"), Some(r#""per-order";r=0;t=60"#));
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");

    // Another order has a count of its own; the same one in another spelling has not.
    assert_eq!(get(&gateway, "/orders/2").status, 200);
    assert_eq!(get(&gateway, "/orders/%31").status, 429);
    // Another protocol is the same client.
    assert_eq!(Client::http2(gateway.http).get(HOST, "/orders/1").status, 429);
    assert_eq!(backend.seen().len(), 3);

    let metrics = gateway.metrics();
    for line in [
        r#"headgate_ratelimit_decisions_total{decision="allowed",policy="default/p",limit="per-order",scope="local"} 3"#,
        r#"headgate_ratelimit_decisions_total{decision="limited",policy="default/p",limit="per-order",scope="local"} 3"#,
        "headgate_ratelimit_local_keys 2",
        "headgate_ratelimit_local_forgotten_total 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "no {line} in\n{metrics}");
    }
    assert!(metrics.lines().any(|line| line.starts_with("headgate_requests_total") && line.contains("rate_limited")));
    let standing = &gateway.api("limits")["policies"][0];
    assert_eq!(standing["policy"], "default/p");
    assert_eq!(standing["routes"], serde_json::json!([r#"GatewayRoute default/l rule "orders""#]));
    assert_eq!(standing["limits"][0]["decisions"]["limited"], 3);
}

#[test]
fn several_limits_stack_and_what_one_refuses_none_has_counted() {
    let limits = "{name: wide, requests: 3, period: 1m}, \
                  {name: narrow, requests: 1, period: 1m, key: [{type: Header, name: X-Who}]}";
    let (_backend, gateway) = serve(&[route(&rule("a", "{value: /}")), policy("p", "a", limits)]);
    let ask = |who: &str| get_as(&gateway, "/", &[("X-Who", who)]);
    let first = ask("ann");
    assert_eq!(first.header("ratelimit"), Some(r#""wide";r=2;t=20, "narrow";r=0;t=60"#));
    assert_eq!(first.header("ratelimit-policy"), Some(r#""wide";q=3;w=60, "narrow";q=1;w=60"#));
    // Ann's other requests are refused by the narrow limit, and take nothing of what the wide one has for others.
    assert_eq!([ask("ann").status, ask("ann").status, ask("ann").status], [429; 3]);
    assert_eq!([ask("bob").status, ask("cid").status, ask("dan").status], [200, 200, 429]);
}

#[test]
fn answers_are_as_declared() {
    let declared = [
        route(&["x", "both", "none"].map(|name| rule(name, &format!("{{value: /{name}}}"))).concat()),
        on(
            "x",
            "{group: headgate.dev, kind: GatewayRoute, name: l, sectionName: x}",
            "{name: one, requests: 5, period: 1m}, {name: two, requests: 1, period: 1m}",
            "headers: XRateLimit, statusCode: 503, contentType: text/html, body: '<p>slow down</p>'",
        ),
        on(
            "both",
            "{group: headgate.dev, kind: GatewayRoute, name: l, sectionName: both}",
            "{name: one, requests: 1, period: 1m}",
            "headers: Both, body: slow down",
        ),
        on(
            "none",
            "{group: headgate.dev, kind: GatewayRoute, name: l, sectionName: none}",
            "{name: one, requests: 1, period: 1m}",
            "headers: None",
        ),
    ];
    let (_backend, gateway) = serve(&declared);
    let named = |answer: &Answer| -> Vec<String> {
        let of_limits = |name: &&String| name.contains("ratelimit") || *name == "retry-after";
        answer.headers.iter().map(|(name, _)| name).filter(of_limits).cloned().collect()
    };
    let allowed = get(&gateway, "/x");
    assert_eq!(allowed.header("x-ratelimit-limit"), Some("1"), "the limit with the least left is told of");
    assert_eq!(allowed.header("x-ratelimit-remaining"), Some("0"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let reset: u64 = allowed.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((now + 55..=now + 62).contains(&reset), "{reset} at {now}");
    let refused = get(&gateway, "/x");
    assert_eq!((refused.status, refused.text().as_str()), (503, "<p>slow down</p>"));
    assert_eq!(refused.header("content-type"), Some("text/html"));
    assert_eq!(
        named(&refused),
        ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(str::to_owned)
    );

    assert_eq!(named(&get(&gateway, "/both")).len(), 5);
    let refused = get(&gateway, "/both");
    assert_eq!((refused.status, refused.text().as_str()), (429, "slow down"));
    assert_eq!(refused.header("content-type"), Some("text/plain"));

    assert_eq!(named(&get(&gateway, "/none")), [""; 0]);
    assert_eq!(named(&get(&gateway, "/none")), ["retry-after"], "a refusal says when to come again in any case");
}

/// Each kind of key, with a request that has it, one that has another, and one that has none.
#[test]
fn keys_tell_clients_apart_and_the_missing_are_treated_as_declared() {
    let kinds = [
        ("header", "{type: Header, name: X-Key"),
        ("cookie", "{type: Cookie, name: sid"),
        ("query", "{type: QueryParam, name: k"),
    ];
    let missing = ["Shared", "Skip", "Reject"];
    let mut rules = String::new();
    let mut declared = Vec::new();
    for (kind, key) in kinds {
        for missing in missing {
            let name = format!("{kind}-{}", missing.to_lowercase());
            rules += &rule(&name, &format!("{{value: /{name}}}"));
            let key = format!("{{name: one, requests: 1, period: 1m, key: [{key}, onMissing: {missing}}}]}}");
            declared.push(policy(&name, &name, &key));
        }
    }
    declared.insert(0, route(&rules));
    let (_backend, gateway) = serve(&declared);
    for (kind, _) in kinds {
        for missing in missing {
            let path = format!("/{kind}-{}", missing.to_lowercase());
            let ask = |value: Option<&str>| {
                let cookie = value.map(|value| format!("other=1; sid={value}"));
                let (path, headers) = match (kind, value, &cookie) {
                    ("query", Some(value), _) => (format!("{path}?a=1&k={value}"), vec![]),
                    ("header", Some(value), _) => (path.clone(), vec![("x-key", value)]),
                    (_, Some(_), Some(cookie)) => (path.clone(), vec![("Cookie", cookie.as_str())]),
                    _ => (path.clone(), vec![]),
                };
                get_as(&gateway, &path, &headers)
            };
            assert_eq!(
                [ask(Some("a")).status, ask(Some("a")).status, ask(Some("b")).status],
                [200, 429, 200],
                "{path}"
            );
            let (first, second) = (ask(None), ask(None));
            let expected = match missing {
                "Shared" => [200, 429],
                "Skip" => [200, 200],
                _ => [429, 429],
            };
            assert_eq!([first.status, second.status], expected, "{path}");
            assert_eq!(second.header("ratelimit").is_some(), missing == "Shared", "{path}: {second:?}");
            assert_eq!(second.header("retry-after").is_some(), missing != "Skip");
        }
    }
}

#[test]
fn addresses_hosts_and_rules_are_keys() {
    let rules = [("ip", "/ip"), ("net", "/net"), ("one", "/one"), ("two", "/two")]
        .map(|(name, path)| rule(name, &format!("{{value: {path}}}")))
        .concat();
    let (_backend, gateway) = serve(&[
        route(&rules).replace("[l.test]", "[l.test, '*.l.test']"),
        policy("ip", "ip", "{name: l, requests: 1, period: 1m, key: [{type: ClientIP}]}"),
        policy("net", "net", "{name: l, requests: 1, period: 1m, key: [{type: ClientIP, ipv4PrefixLength: 8}]}"),
        on(
            "rest",
            "{group: headgate.dev, kind: GatewayRoute, name: l}",
            "{name: l, requests: 1, period: 1m, key: [{type: Host}, {type: Route}]}",
            "",
        ),
    ]);
    // S-23: what a client says of its own address changes nothing.
    let ask = |ip: &str, host: &str, path: &str| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&gateway.http.into()).unwrap();
        let mut tcp = TcpStream::from(socket);
        let head = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nConnection: close";
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap();
        parse(&answer).unwrap().status
    };
    assert_eq!([ask("127.0.0.1", HOST, "/ip"), ask("127.0.0.1", HOST, "/ip")], [200, 429]);
    assert_eq!(ask("127.0.0.2", HOST, "/ip"), 200, "another address");
    assert_eq!([ask("127.0.0.1", HOST, "/net"), ask("127.9.9.9", HOST, "/net")], [200, 429]);
    assert_eq!([ask("127.0.0.1", HOST, "/one"), ask("127.0.0.1", HOST, "/one")], [200, 429]);
    assert_eq!(ask("127.0.0.1", HOST, "/two"), 200, "another rule");
    assert_eq!([ask("127.0.0.1", "x.l.test", "/two"), ask("127.0.0.1", "X.L.TEST", "/two")], [200, 429]);
}

#[test]
fn a_limit_applies_when_its_conditions_hold() {
    let limits = "{name: posts, requests: 1, period: 1m, when: {methods: [POST, PUT]}}, \
                  {name: paths, requests: 1, period: 1m, when: {path: {type: PathPrefix, value: /p}, \
                   headers: [{name: X-V, value: '2'}]}}, \
                  {name: far, requests: 1, period: 1m, when: {sourceCIDRs: [10.0.0.0/8]}}, \
                  {name: near, requests: 1, period: 1m, when: {exceptCIDRs: [127.0.0.0/8, '::1/128']}}";
    let (_backend, gateway) = serve(&[route(&rule("a", "{value: /}")), policy("p", "a", limits)]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        request(gateway.http, method, HOST, path, headers, b"").unwrap().status
    };
    assert_eq!(statuses(&gateway, "/", 5), [200; 5]);
    assert_eq!([ask("POST", "/", &[]), ask("PUT", "/", &[]), ask("GET", "/", &[])], [200, 429, 200]);
    let two = &[("X-V", "2")][..];
    assert_eq!([ask("GET", "/p/1", two), ask("GET", "/p/2", &[]), ask("GET", "/q", two)], [200; 3]);
    assert_eq!(ask("GET", "/p", two), 429);
}

#[test]
fn a_leaky_bucket_paces_and_who_leaves_frees_the_place() {
    let limit = "{name: pace, algorithm: LeakyBucket, requests: 10, period: 1s, burst: 2, maxDelay: 1s}";
    let (backend, gateway) = serve(&[route(&rule("a", "{value: /}")), policy("p", "a", limit)]);
    let began = Instant::now();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || (get(&gateway, "/").status, began.elapsed());
        let asking: Vec<_> = (0..5).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut passed: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, at)| *at).collect();
    passed.sort();
    assert_eq!(passed.len(), 3, "one has its turn, two wait, and there is no room for more: {answers:?}");
    assert!(passed[1] >= Duration::from_millis(90) && passed[2] >= Duration::from_millis(190), "{passed:?}");

    // All turns are over; then one passes, and two wait of whom one gives up.
    std::thread::sleep(Duration::from_millis(150));
    backend.forget();
    assert_eq!(get(&gateway, "/").status, 200);
    let mut waiting = RawClient::connect(gateway.http);
    let mut leaving = RawClient::connect(gateway.http);
    for client in [&mut waiting, &mut leaving] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    }
    gateway.wait_until("both are counted", || {
        gateway.metrics().contains(
            r#"headgate_ratelimit_decisions_total{decision="allowed",policy="default/p",limit="pace",scope="local"} 6"#,
        )
    });
    drop(leaving);
    gateway.wait_until("the place is free", || {
        gateway.metrics().contains("headgate_requests_in_flight{listener=\"http\"} 1")
    });
    assert_eq!(get(&gateway, "/").status, 200, "the place of who has left");
    assert_eq!(waiting.reply(false).status, 200);
    assert_eq!(backend.seen().len(), 3, "who has left was never sent on");
}

#[test]
fn every_algorithm_limits() {
    let limits = [
        ("token", "algorithm: TokenBucket, burst: 3"),
        ("leaky", "algorithm: LeakyBucket, burst: 2"),
        ("exact", "algorithm: SlidingWindow"),
        ("about", "algorithm: SlidingWindow, precision: Approximate"),
    ];
    let mut declared = vec![route(&limits.map(|(name, _)| rule(name, &format!("{{value: /{name}}}"))).concat())];
    for (name, algorithm) in limits {
        declared.push(policy(name, name, &format!("{{name: l, requests: 3, period: 1h, {algorithm}}}")));
    }
    declared[0] += &rule("dear", "{value: /dear}");
    declared.push(policy("dear", "dear", "{name: l, requests: 5, period: 1h, cost: 2}"));
    let (_backend, gateway) = serve(&declared);
    for (name, _) in limits {
        assert_eq!(statuses(&gateway, &format!("/{name}"), 5), [200, 200, 200, 429, 429], "{name}");
    }
    assert_eq!(statuses(&gateway, "/dear", 3), [200, 200, 429], "each counts for two of five");
}

#[test]
fn all_workers_share_a_count() {
    let (_backend, gateway) = serve_with(
        &[route(&rule("a", "{value: /}")), policy("p", "a", "{name: l, requests: 100, period: 1h}")],
        &["--workers", "4"],
    );
    let passed: usize = std::thread::scope(|scope| {
        let ask = || statuses(&gateway, "/", 50).into_iter().filter(|status| *status == 200).count();
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(passed, 100);
}

#[test]
fn a_shadow_counts_and_never_refuses() {
    let limits = "{name: tried, requests: 1, period: 1h, shadow: true}";
    let (_backend, gateway) = serve(&[route(&rule("a", "{value: /}")), policy("p", "a", limits)]);
    let answers: Vec<_> = (0..3).map(|_| get(&gateway, "/")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("ratelimit").is_none()));
    let shadow =
        r#"headgate_ratelimit_decisions_total{decision="shadow",policy="default/p",limit="tried",scope="local"} 2"#;
    assert!(gateway.metrics().contains(shadow));
}

/// S-24: whoever answers, the limit was asked first.
#[test]
fn no_local_answer_error_or_upgrade_passes_a_limit() {
    let answers = "    - name: fixed
      matches: [{path: {value: /fixed}}]
      filters: [{type: DirectResponse, directResponse: {statusCode: 418}}]
    - name: moved
      matches: [{path: {value: /moved}}]
      filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
    - {name: empty, matches: [{path: {value: /empty}}], backendRefs: [{name: nobody, port: 80}]}
    - {name: gone, matches: [{path: {value: /gone}}], backendRefs: [{name: nowhere, port: 80}]}
";
    let limit = "{name: l, requests: 1, period: 1h, key: [{type: Route}]}";
    let (_backend, gateway) = serve(&[
        crate::harness::backend::service("nobody", &[]),
        route(&(answers.to_owned() + &rule("socket", "{value: /socket}"))),
        on("p", "{group: headgate.dev, kind: GatewayRoute, name: l}", limit, ""),
    ]);
    for (path, status) in [("/fixed", 418), ("/moved", 302), ("/empty", 503), ("/gone", 500)] {
        let (first, second) = (get(&gateway, path), get(&gateway, path));
        assert_eq!((first.status, second.status), (status, 429), "{path}");
        assert_eq!(first.header("ratelimit"), Some(r#""l";r=0;t=3600"#), "{path}");
    }
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let ask = || {
        let mut client = RawClient::connect(gateway.http);
        let fields: String = upgrade.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        client.send(format!("GET /socket HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n").as_bytes());
        client.reply(false)
    };
    let (first, second) = (ask(), ask());
    assert_eq!((first.all("ratelimit").len(), second.status), (1, 429), "{first:?}");
}

#[test]
fn counts_live_on_through_changes_that_do_not_concern_them() {
    let limited = policy("p", "a", "{name: l, requests: 2, period: 1h}");
    let declared = |extra: &str, limit: &str| route(&(rule("a", "{value: /a}") + extra)) + limit;
    let (backend, gateway) = serve(&[declared("", &limited)]);
    assert_eq!(statuses(&gateway, "/a", 2), [200, 200]);
    gateway.apply(&(backend.service("b") + &declared(&rule("c", "{value: /c}"), &limited)));
    assert_eq!((get(&gateway, "/c").status, get(&gateway, "/a").status), (200, 429));
    // Another quota counts anew.
    let more = limited.replace("requests: 2", "requests: 3");
    gateway.apply(&(backend.service("b") + &declared("", &more)));
    assert_eq!(statuses(&gateway, "/a", 4), [200, 200, 200, 429]);
    gateway.apply(&(backend.service("b") + &declared("", "")));
    assert_eq!(get(&gateway, "/a").status, 200);
}

#[test]
fn the_most_specific_policy_counts_and_what_cannot_be_enforced_is_not_served() {
    let backends = "    - {name: whole, matches: [{path: {value: /whole}}], backendRefs: [{name: b, port: 80}]}
    - {name: named, matches: [{path: {value: /named}}], backendRefs: [{name: b, port: 80}]}
";
    let limit = |name: &str, requests: u32| format!("{{name: {name}, requests: {requests}, period: 1h}}");
    let all = [
        route(backends),
        on("class", "{group: networking.k8s.io, kind: IngressClass, name: headgate}", &limit("class", 9), ""),
        on("service", "{group: '', kind: Service, name: b}", &limit("service", 8), ""),
        on("route", "{group: headgate.dev, kind: GatewayRoute, name: l}", &limit("route", 7), ""),
        policy("rule", "named", &limit("rule", 6)),
    ];
    let (backend, gateway) = serve(&all);
    let told = |path: &str| get(&gateway, path).header("ratelimit-policy").unwrap_or_default().to_owned();
    let with = |kept: &[usize]| {
        let kept: String = kept.iter().map(|number| all[*number].as_str()).collect();
        gateway.apply(&(backend.service("b") + &kept));
    };
    assert_eq!([told("/named"), told("/whole")], [r#""rule";q=6;w=3600"#, r#""route";q=7;w=3600"#]);
    with(&[0, 1, 2]);
    assert_eq!([told("/named"), told("/whole")], [r#""service";q=8;w=3600"#; 2]);
    with(&[0, 1]);
    assert_eq!([told("/named"), told("/whole")], [r#""class";q=9;w=3600"#; 2]);

    // A policy that cannot be enforced does not fall open, nor does it touch what it does not apply to.
    let global = policy("global", "named", "{name: l, requests: 1, period: 1s, scope: Global}");
    gateway.apply(&(backend.service("b") + &all[0] + &global));
    assert_eq!((get(&gateway, "/named").status, get(&gateway, "/whole").status), (500, 200));
    let told = problems(&gateway);
    assert!(told.contains("HG1504") && told.contains("--redis-url") && told.contains("HG1505"), "{told}");
    gateway.apply(&(backend.service("b") + &all[0]));
    assert_eq!(get(&gateway, "/named").status, 200);
}

#[test]
fn explain_says_which_limits_a_request_meets_and_by_which_key() {
    let limits = "{name: per-order, requests: 5, period: 10s, key: [{type: PathParam, name: id}, {type: Header, name: X-Who}]}, \
                  {name: posts, requests: 1, period: 1s, when: {methods: [POST]}}";
    let (_backend, gateway) =
        serve(&[route(&rule("orders", "{type: Template, value: '/orders/:id'}")), policy("p", "orders", limits)]);
    let url = format!("http://{HOST}/orders/42");
    let folder = gateway.folder().to_str().unwrap();
    let said = said(command(binary().to_str().unwrap()).args(["explain", &url, "-H", "X-Who: ann", "-f", folder]));
    for part in [
        r#"limit default/p/per-order 5 in 10s by TokenBucket, burst 5, Local, by PathParam id and Header X-Who: counted by PathParam id = "42", Header X-Who = "ann""#,
        "limit default/p/posts 1 in 1s by TokenBucket, burst 1, Local, when POST: does not apply: the method is another",
    ] {
        assert!(said.out.contains(part), "no {part} in\n{}", said.out);
    }
    assert_eq!(StatusCode::OK.as_u16(), get(&gateway, "/orders/42").status, "asking why counts nothing");
}
