//! Traces: a receiver gets the spans of what happened, and nobody waits for one that does not listen.

use std::net::TcpListener;

use crate::harness::backend::Backend;
use crate::harness::collector::{Collector, Span};
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::{get, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A gateway that exports to `endpoint` what `sampler` chooses, soon.
fn start(yaml: &str, endpoint: &str, sampler: &[(&str, &str)]) -> Gateway {
    let mut command = std::process::Command::new(binary());
    command.env("OTEL_BSP_SCHEDULE_DELAY", "20").envs(sampler.iter().copied());
    Gateway::start_as(command, yaml, &["--otlp-endpoint", endpoint, "--access-log", "off"])
}

fn rules(rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: shop}}\nspec: {{rules: [{rules}]}}\n"
    )
}

fn order() -> String {
    rules(
        "{name: order, matches: [{path: {type: Template, value: '/orders/:id'}}], backendRefs: [{name: b, port: 80}]}",
    )
}

fn spans(gateway: &Gateway, collector: &Collector, count: usize) -> Vec<Span> {
    gateway.wait_until("the spans have arrived", || collector.spans().len() >= count);
    let spans = collector.spans();
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

#[test]
fn a_receiver_gets_the_story_of_a_request() {
    let (backend, collector) = (Backend::named("b"), Collector::start());
    let gateway = start(&(backend.service("b") + &order()), &collector.url(), &[("OTEL_SERVICE_NAME", "edge")]);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("tracestate", "a=b"),
        ("user-agent", "probe"),
        ("authorization", "Bearer canary"),
        ("cookie", "canary=canary"),
    ];
    let answer = request(gateway.http, "GET", "shop.test:81", "/orders/42?key=canary", &headers, b"").unwrap();
    assert_eq!(answer.status, 200);
    let spans = spans(&gateway, &collector, 2);
    let (server, client) = (&spans[0], &spans[1]);
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, CALLER));
    assert_eq!((server.name.as_str(), server.kind, server.status), ("GET /orders/:id", 2, 0));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/:id"),
        ("url.scheme", "http"),
        ("url.path", "/orders/42"),
        ("url.query", "key=REDACTED"),
        ("server.address", "shop.test"),
        ("server.port", "81"),
        ("client.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "probe"),
        ("http.response.status_code", "200"),
        ("headgate.route", "default/shop"),
        ("headgate.rule", "order"),
        ("headgate.reason", "ok"),
    ] {
        assert_eq!(server.attributes.get(key).map(String::as_str), Some(value), "{key}: {server:#?}");
    }
    assert_eq!((client.trace.as_str(), client.parent.as_str(), client.kind), (TRACE, server.id.as_str(), 3));
    assert_eq!(client.attributes["server.port"], backend.address.port().to_string());
    assert!(server.nanoseconds[0] <= client.nanoseconds[0] && client.nanoseconds[0] <= client.nanoseconds[1]);
    assert!(server.nanoseconds[1] >= server.nanoseconds[0]);
    // The backend goes on from the span of the very attempt.
    let seen = backend.seen();
    assert_eq!(seen[0].headers["traceparent"], format!("00-{TRACE}-{}-01", client.id));
    assert_eq!(seen[0].headers["tracestate"], "a=b");
    assert_eq!(collector.resource()["service.name"], "edge");
    for body in collector.raw() {
        assert!(!body.windows(6).any(|window| window == b"canary"), "a secret is in a trace");
    }
}

#[test]
fn errors_are_marked_and_carry_the_trace() {
    let collector = Collector::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = crate::harness::backend::service("b", &[nobody]) + &order();
    let gateway = start(&yaml, &collector.url(), &[]);
    let answer = get(gateway.http, "/orders/1").unwrap();
    assert_eq!(answer.status, 503);
    let [server, client] = <[Span; 2]>::try_from(spans(&gateway, &collector, 2)).unwrap();
    assert_eq!((server.status, server.attributes["error.type"].as_str()), (2, "connect_failed"), "{server:#?}");
    assert_eq!(answer.json()["trace_id"], server.trace.as_str());
    assert_eq!((client.kind, client.status, client.parent.as_str()), (3, 2, server.id.as_str()), "{client:#?}");
    assert_eq!(client.attributes["server.port"], nobody.port().to_string());
    let missing = get(gateway.http, "/nothing").unwrap();
    assert_eq!(missing.status, 404);
    gateway.wait_until("its span has arrived", || collector.spans().len() == 3);
    let server = collector.spans().remove(2);
    assert_eq!((server.name.as_str(), server.status), ("GET", 0), "what the client did wrong is no error of ours");
}

#[test]
fn callers_and_rules_decide_what_is_recorded() {
    let (backend, collector) = (Backend::named("b"), Collector::start());
    let rule = |name: &str, percent: u8| {
        format!(
            "{{name: {name}, matches: [{{path: {{value: /{name}}}}}], observability: {{traceSamplePercent: {percent}}}, \
             backendRefs: [{{name: b, port: 80}}]}}"
        )
    };
    let yaml = backend.service("b") + &rules(&[rule("all", 100), rule("none", 0)].join(", "));
    let gateway = start(&yaml, &collector.url(), &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    let ask = |path: &str, parent: Option<&str>| {
        let parent = parent.map(|flags| format!("00-{TRACE}-{CALLER}-{flags}"));
        let headers: Vec<_> = parent.iter().map(|parent| ("traceparent", parent.as_str())).collect();
        assert_eq!(request(gateway.http, "GET", "a.test", path, &headers, b"").unwrap().status, 200);
    };
    ask("/all", Some("00"));
    ask("/none", None);
    ask("/none", Some("01"));
    ask("/all", None);
    let spans = spans(&gateway, &collector, 4);
    let names: Vec<_> = spans.iter().filter(|span| span.kind == 2).map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET /none/*", "GET /all/*"]);
    let parents: Vec<_> =
        backend.seen().iter().map(|seen| seen.headers["traceparent"].to_str().unwrap().to_owned()).collect();
    let flags: Vec<_> = parents.iter().map(|parent| &parent[53..]).collect();
    assert_eq!(flags, ["00", "00", "01", "01"], "who is asked decides as we did");
    assert!(parents[0].contains(TRACE) && !parents[1].contains(TRACE));
}

#[test]
fn a_trace_goes_on_in_b3_where_that_is_asked_for() {
    let (backend, collector) = (Backend::named("b"), Collector::start());
    let gateway =
        start(&(backend.service("b") + &order()), &collector.url(), &[("OTEL_PROPAGATORS", "b3,tracecontext")]);
    for flag in ["1", "0"] {
        let told = format!("{TRACE}-{CALLER}-{flag}");
        request(gateway.http, "GET", "a.test", "/orders/1", &[("b3", &told)], b"").unwrap();
    }
    // Who says no more than that nothing is to be recorded is in no trace yet.
    request(gateway.http, "GET", "a.test", "/orders/1", &[("b3", "0")], b"").unwrap();
    let spans = spans(&gateway, &collector, 2);
    assert_eq!((spans[0].trace.as_str(), spans[0].parent.as_str()), (TRACE, CALLER));
    let seen = backend.seen();
    let told = |number: usize, name: &str| seen[number].headers[name].to_str().unwrap().to_owned();
    assert_eq!(told(0, "b3"), format!("{TRACE}-{}-1", spans[1].id));
    assert_eq!(told(0, "traceparent"), format!("00-{TRACE}-{}-01", spans[1].id));
    assert!(told(1, "b3").starts_with(TRACE) && told(1, "b3").ends_with("-0"), "{}", told(1, "b3"));
    assert!(!told(2, "b3").contains(TRACE) && told(2, "b3").ends_with("-0"), "{}", told(2, "b3"));
}

#[test]
fn a_collector_that_never_answers_costs_nobody_anything() {
    let backend = Backend::named("b");
    // Accepts by its backlog and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = backend.service("b") + &order();
    let queue = [("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let mut gateway = start(&yaml, &format!("http://{}", silent.local_addr().unwrap()), &queue);
    for _ in 0..200 {
        assert_eq!(get(gateway.http, "/orders/1").unwrap().status, 200);
    }
    let dropped = |metrics: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix("headgate_traces_dropped_total ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    assert!(dropped(&gateway.metrics()) >= 200 - 16 - 4 - 1);
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), Some(0));
}

#[test]
fn without_an_endpoint_context_passes_unchanged() {
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(backend.service("b") + &order()));
    let parent = format!("00-{TRACE}-{CALLER}-00");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "a=b")];
    request(gateway.http, "GET", "a.test", "/orders/1", &headers, b"").unwrap();
    get(gateway.http, "/orders/2").unwrap();
    let seen = backend.seen();
    assert_eq!(
        (&seen[0].headers["traceparent"], &seen[0].headers["tracestate"]),
        (&parent.parse().unwrap(), &"a=b".parse().unwrap())
    );
    assert!(!seen[1].headers.contains_key("traceparent"));
    let refused = request(gateway.http, "GET", "a.test", "/nothing", &headers, b"").unwrap();
    assert_eq!(refused.json()["trace_id"], TRACE);
}
