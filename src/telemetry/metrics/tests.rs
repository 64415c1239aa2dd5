use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use http::{Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::slot::{Slot, Slots};
use crate::telemetry::Reason;

mod exposition;

use exposition::{Exposition, parse};

fn labels(slot: Slot, route: &str, services: &[&str]) -> RouteLabels {
    RouteLabels {
        slot,
        route: route.to_owned(),
        rule: "0".to_owned(),
        services: services.iter().map(ToString::to_string).collect(),
    }
}

fn name(metrics: &Metrics, routes: &[(Slot, &str, &[&str])]) {
    set_routes(metrics, routes.iter().map(|(slot, route, services)| labels(*slot, route, services)).collect());
}

/// Names exactly these.
fn set_routes(metrics: &Metrics, routes: Vec<RouteLabels>) {
    let known: Vec<_> = metrics.everything.ledger().current.values().map(|named| named.slot).collect();
    let gone = known.into_iter().filter(|slot| routes.iter().all(|labels| labels.slot != *slot)).collect::<Vec<_>>();
    metrics.change_routes(gone, routes);
}

fn get(route: Slot) -> Exchange<'static> {
    Exchange {
        secure: false,
        route: Some(route),
        backend: Some(0),
        method: &Method::GET,
        status: StatusCode::OK,
        reason: Reason::Ok,
        duration: Duration::from_millis(4),
        upstream: Duration::from_millis(3),
        connecting: Duration::ZERO,
        queued: Duration::ZERO,
        sent: 100,
        received: 10,
    }
}

fn written(metrics: &Metrics) -> String {
    metrics.text().map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

fn look(metrics: &Metrics) -> Exposition {
    parse(&written(metrics)).unwrap()
}

/// The values of a metric, by the named labels.
fn by<const N: usize>(exposition: &Exposition, metric: &str, labels: [&str; N]) -> BTreeMap<[String; N], f64> {
    let mut values = BTreeMap::new();
    for sample in exposition.samples(metric) {
        let key = labels.map(|label| sample.labels.get(label).cloned().unwrap_or_default());
        *values.entry(key).or_default() += sample.value;
    }
    values
}

fn requests(exposition: &Exposition) -> BTreeMap<[String; 2], f64> {
    by(exposition, "headgate_requests_total", ["route", "service"])
}

fn counts<const N: usize>(expected: &[([&str; N], f64)]) -> BTreeMap<[String; N], f64> {
    expected.iter().map(|(labels, count)| (labels.map(str::to_owned), *count)).collect()
}

#[test]
fn numbers_of_all_workers_are_summed() {
    let metrics = Metrics::new(2);
    let slot = Slots::default().allocate();
    name(&metrics, &[(slot, "shop/shop", &["shop/orders:80"])]);
    thread::scope(|scope| {
        for index in 0..3 {
            let worker = metrics.worker(index);
            scope.spawn(move || {
                for _ in 0..1_000 {
                    worker.connection_opened(true);
                    worker.protocol_opened(true, Protocol::Http2);
                    worker.began(false);
                    worker.record(&get(slot));
                }
                worker.connection_closed(true);
                worker.protocol_closed(true, Protocol::Http2);
                worker.protocol_closed(true, Protocol::Http2);
                worker.began(true);
                worker.handshake_failed(HandshakeFailure::Protocol);
                worker.set_pool(5, 7, 2);
            });
        }
    });
    let shown = look(&metrics);
    let all = ["listener", "route", "rule", "service", "method", "code", "reason"];
    assert_eq!(
        by(&shown, "headgate_requests_total", all),
        counts(&[(["http", "shop/shop", "0", "shop/orders:80", "GET", "200", "ok"], 3_000.0)])
    );
    let one = |metric: &str, listener: &str| by(&shown, metric, ["listener"])[&[listener.to_owned()]];
    assert_eq!(one("headgate_requests_in_flight", "http"), 0.0);
    assert_eq!(one("headgate_requests_in_flight", "https"), 3.0);
    let open = by(&shown, "headgate_connections", ["listener", "protocol"]);
    let https = |protocol: &str| open[&["https".to_owned(), protocol.to_owned()]];
    assert_eq!(["http1", "http2", "tunnel", "unknown"].map(https), [0.0, 2_994.0, 0.0, 3.0]);
    assert_eq!(one("headgate_connections_total", "https"), 3_000.0);
    assert_eq!(one("headgate_tls_handshake_errors_total", "https"), 3.0);
    assert_eq!(one("headgate_request_bytes_total", "http"), 30_000.0);
    assert_eq!(one("headgate_response_bytes_total", "http"), 300_000.0);
    assert_eq!(one("headgate_overhead_seconds_count", "http"), 3_000.0);
    assert_eq!(one("headgate_overhead_seconds_sum", "http"), 3.0);
    let total = |metric: &str| by(&shown, metric, [])[&[]];
    assert_eq!(total("headgate_upstream_connections_total"), 15.0);
    assert_eq!(total("headgate_upstream_reused_total"), 21.0);
    assert_eq!(total("headgate_upstream_pool_connections"), 6.0);
    assert_eq!(total("headgate_request_duration_seconds_sum"), 12.0);
    let below = by(&shown, "headgate_request_duration_seconds_bucket", ["code_class", "le"]);
    assert_eq!((below[&["2xx".into(), "0.0025".into()]], below[&["2xx".into(), "0.005".into()]]), (0.0, 3_000.0));
    let below = by(&shown, "headgate_upstream_duration_seconds_bucket", ["service", "le"]);
    assert_eq!(below[&["shop/orders:80".into(), "+Inf".into()]], 3_000.0);
    assert_eq!(shown.samples("headgate_upstream_connect_duration_seconds_count").count(), 0, "none was made");
}

#[test]
fn a_connection_is_the_backends_time_be_it_made_or_waited_for() {
    let metrics = Metrics::new(1);
    let slot = Slots::default().allocate();
    name(&metrics, &[(slot, "shop/shop", &["shop/orders:80"])]);
    metrics.worker(0).record(&Exchange {
        duration: Duration::from_micros(500_000),
        upstream: Duration::from_micros(250_000),
        connecting: Duration::from_micros(125_000),
        queued: Duration::from_micros(62_500),
        ..get(slot)
    });
    let shown = look(&metrics);
    for (metric, label, seconds) in [
        ("headgate_upstream_connect_duration_seconds_sum", "shop/orders:80", 0.125),
        ("headgate_upstream_duration_seconds_sum", "shop/orders:80", 0.25),
        ("headgate_upstream_pool_wait_seconds_sum", "shop/orders:80", 0.0625),
    ] {
        assert_eq!(by(&shown, metric, ["service"]), counts(&[([label], seconds)]), "{metric}");
    }
    assert_eq!(by(&shown, "headgate_overhead_seconds_sum", ["listener"])[&["http".into()]], 0.0625);
}

#[test]
fn what_no_route_takes_has_no_names() {
    let metrics = Metrics::new(1);
    metrics.worker(0).record(&Exchange {
        route: None,
        method: &Method::from_bytes(b"BREW").unwrap(),
        status: StatusCode::NOT_FOUND,
        reason: Reason::NoRoute,
        ..get(Slots::default().allocate())
    });
    let all = ["listener", "route", "rule", "service", "method", "code", "reason"];
    assert_eq!(
        by(&look(&metrics), "headgate_requests_total", all),
        counts(&[(["http", "", "", "", "OTHER", "404", "no_route"], 1.0)])
    );
}

#[test]
fn a_slot_that_is_used_again_never_mixes_two_routes() {
    let metrics = Metrics::new(2);
    let workers = [metrics.worker(0), metrics.worker(1)];
    let mut slots = Slots::default();
    let old = slots.allocate();
    name(&metrics, &[(old, "a/old", &["a/x:80"])]);
    workers.iter().for_each(|worker| worker.record(&get(old)));
    slots.release(old);
    let new = slots.allocate();
    assert_eq!(old.index(), new.index());
    name(&metrics, &[(new, "b/new", &["b/y:80"])]);
    // The first worker has met the new route, and an exchange of the old one outlives it; the second has not.
    workers[0].record(&get(new));
    workers[0].record(&get(old));
    workers[1].record(&get(old));
    assert_eq!(
        requests(&look(&metrics)),
        counts(&[(["", ""], 1.0), (["a/old", "a/x:80"], 3.0), (["b/new", "b/y:80"], 1.0)]),
        "what the first worker had counted for the old route is not lost, and the straggler has no name any more"
    );
    workers[1].record(&get(new));
    assert_eq!(requests(&look(&metrics)), counts(&[(["", ""], 1.0), (["b/new", "b/y:80"], 2.0)]));
}

#[test]
fn series_of_a_route_that_has_gone_are_shown_once_more() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let mut slots = Slots::default();
    let (gone, stays) = (slots.allocate(), slots.allocate());
    name(&metrics, &[(gone, "a/gone", &["a/x:80"]), (stays, "b/stays", &["b/y:80"])]);
    worker.record(&get(gone));
    worker.record(&get(stays));
    look(&metrics);
    name(&metrics, &[(stays, "b/stays", &["b/y:80"])]);
    worker.record(&get(gone));
    let last = look(&metrics);
    assert_eq!(requests(&last), counts(&[(["a/gone", "a/x:80"], 2.0), (["b/stays", "b/y:80"], 1.0)]));
    let after = look(&metrics);
    assert_eq!(requests(&after), counts(&[(["b/stays", "b/y:80"], 1.0)]));
    for metric in ["headgate_request_bytes_total", "headgate_request_duration_seconds_count"] {
        assert_eq!(by(&after, metric, ["route"]).keys().flatten().collect::<Vec<_>>(), ["b/stays"], "{metric}");
    }
    let services = by(&after, "headgate_upstream_duration_seconds_count", ["service"]);
    assert_eq!(services, counts(&[(["b/y:80"], 1.0)]));
}

#[test]
fn a_route_that_comes_back_before_anybody_looks_goes_on_counting() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let mut slots = Slots::default();
    let first = slots.allocate();
    name(&metrics, &[(first, "a/a", &["a/x:80"])]);
    worker.record(&get(first));
    name(&metrics, &[]);
    slots.release(first);
    let second = slots.allocate();
    name(&metrics, &[(second, "a/a", &["a/x:80"])]);
    worker.record(&get(second));
    for _ in 0..3 {
        assert_eq!(requests(&look(&metrics)), counts(&[(["a/a", "a/x:80"], 2.0)]));
    }
}

#[test]
fn other_backends_under_the_same_slot_have_numbers_of_their_own() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let slot = Slots::default().allocate();
    name(&metrics, &[(slot, "a/a", &["a/x:80", "a/y:80"])]);
    worker.record(&get(slot));
    worker.record(&Exchange { backend: Some(1), ..get(slot) });
    name(&metrics, &[(slot, "a/a", &["a/y:80", "a/z:80"])]);
    worker.record(&get(slot));
    assert_eq!(requests(&look(&metrics)), counts(&[(["a/a", "a/x:80"], 1.0), (["a/a", "a/y:80"], 2.0)]));
    worker.record(&Exchange { backend: Some(1), ..get(slot) });
    let expected = counts(&[(["a/a", "a/y:80"], 2.0), (["a/a", "a/z:80"], 1.0)]);
    assert_eq!(requests(&look(&metrics)), expected);
    let upstream = by(&look(&metrics), "headgate_upstream_duration_seconds_count", ["service"]);
    assert_eq!(upstream, counts(&[(["a/y:80"], 2.0), (["a/z:80"], 1.0)]));
}

/// A kind is not among the labels, so an Ingress and a GatewayRoute may share their names, and two backends their
/// Service: a series must still be there once.
#[test]
fn what_shares_its_names_shares_its_series() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let mut slots = Slots::default();
    let (ingress, gateway_route) = (slots.allocate(), slots.allocate());
    name(&metrics, &[(ingress, "a/a", &["a/x:80", "a/x:80"]), (gateway_route, "a/a", &["a/x:80"])]);
    worker.record(&get(ingress));
    worker.record(&Exchange { backend: Some(1), ..get(ingress) });
    worker.record(&get(gateway_route));
    assert_eq!(requests(&look(&metrics)), counts(&[(["a/a", "a/x:80"], 3.0)]));
}

#[test]
fn a_route_beyond_the_last_cell_is_counted_without_names() {
    let metrics = Metrics::new(1);
    let mut slots = Slots::default();
    let far = std::iter::repeat_with(|| slots.allocate()).nth(256 * 1024).unwrap();
    name(&metrics, &[(far, "a/a", &["a/x:80"])]);
    metrics.worker(0).record(&get(far));
    assert_eq!(requests(&look(&metrics)), counts(&[(["", ""], 1.0)]));
}

#[test]
fn routes_come_and_go_unseen_without_end() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let mut slots = Slots::default();
    for number in 0..25_000 {
        let slot = slots.allocate();
        name(&metrics, &[(slot, &format!("a/{number}"), &["a/x:80"])]);
        worker.record(&get(slot));
        slots.release(slot);
    }
    let kept = requests(&look(&metrics)).len();
    assert!((1..=10_001).contains(&kept), "{kept}");
    assert_eq!(requests(&look(&metrics)), counts(&[(["a/24999", "a/x:80"], 1.0)]));
}

#[test]
fn the_control_side_tells_what_it_knows() {
    let metrics = Metrics::new(1);
    let object = |state, by| ObjectCount { kind: "Ingress", namespace: "shop".to_owned(), state, by };
    let expiry = |not_after| CertificateExpiry {
        namespace: "shop".to_owned(),
        secret: "tls".to_owned(),
        host: "*.example.com".to_owned(),
        not_after,
    };
    let service = ServiceSample {
        service: "shop/a:80".to_owned(),
        endpoints: [(EndpointState::Ready, 3), (EndpointState::Ejected, 1)].into(),
        ejections: 2,
        retries: vec![("status", 5), ("reset", 0)],
        circuit: Some(0.5),
    };
    metrics.set_applied(7, Duration::from_millis(3), Duration::from_millis(20));
    metrics.count_objects([object(ObjectState::Accepted, 1), object(ObjectState::Unresolved, 2)]);
    let left = object(ObjectState::Unresolved, -2);
    metrics.count_objects([object(ObjectState::Accepted, 1), object(ObjectState::Invalid, 1), left]);
    metrics.set_certificates([expiry(2_000_000_000), expiry(1_900_000_000)]);
    metrics.ask_for_services(move || vec![service.clone()]);
    metrics.set_watch("Ingress", true);
    metrics.set_watch("GatewayRoute", false);
    metrics.set_leader(true);
    let shown = look(&metrics);
    let total = |metric: &str| by(&shown, metric, [])[&[]];
    assert_eq!(total("headgate_config_applied_generation"), 7.0);
    assert_eq!(total("headgate_config_apply_total"), 1.0);
    assert_eq!(total("headgate_config_apply_duration_seconds_sum"), 0.003);
    assert_eq!(total("headgate_config_convergence_seconds_sum"), 0.02);
    assert!(total("headgate_config_last_success_timestamp_seconds") > 1.7e9);
    assert_eq!(total("headgate_leader"), 1.0);
    assert_eq!(
        by(&shown, "headgate_objects", ["kind", "namespace", "state"]),
        counts(&[(["Ingress", "shop", "accepted"], 2.0), (["Ingress", "shop", "invalid"], 1.0)])
    );
    assert_eq!(
        by(&shown, "headgate_tls_certificate_not_after_seconds", ["namespace", "secret", "host"]),
        counts(&[(["shop", "tls", "*.example.com"], 1_900_000_000.0)])
    );
    assert_eq!(
        by(&shown, "headgate_upstream_endpoints", ["service", "state"]),
        counts(&[(["shop/a:80", "ejected"], 1.0), (["shop/a:80", "ready"], 3.0)])
    );
    assert_eq!(
        by(&shown, "headgate_upstream_retries_total", ["service", "reason"]),
        counts(&[(["shop/a:80", "status"], 5.0)])
    );
    assert_eq!(by(&shown, "headgate_upstream_ejections_total", ["service"]), counts(&[(["shop/a:80"], 2.0)]));
    assert_eq!(by(&shown, "headgate_upstream_circuit_open", ["service"]), counts(&[(["shop/a:80"], 0.5)]));
    assert_eq!(
        by(&shown, "headgate_watch_connected", ["kind"]),
        counts(&[(["GatewayRoute"], 0.0), (["Ingress"], 1.0)])
    );
    assert_eq!(by(&shown, "headgate_build_info", ["version"]), counts(&[([env!("CARGO_PKG_VERSION")], 1.0)]));
}

#[test]
fn hostile_names_do_not_break_the_format() {
    let metrics = Metrics::new(1);
    let slot = Slots::default().allocate();
    let hostile = "a\"} 1\nheadgate_requests_total{x=\"\\";
    set_routes(&metrics, vec![RouteLabels { rule: hostile.to_owned(), ..labels(slot, "a/a", &[hostile]) }]);
    metrics.worker(0).record(&get(slot));
    let shown = by(&look(&metrics), "headgate_requests_total", ["rule", "service"]);
    assert_eq!(shown, counts(&[([hostile, hostile], 1.0)]));
}

/// Prints what five thousand routes take, for what is said of that, and what they make, for the file that `promtool check
/// metrics` is run on by hand. Whatever their number, no more of the text than a piece is in memory at a time.
#[test]
fn five_thousand_routes_are_written_piece_by_piece() {
    let metrics = Metrics::new(4);
    let mut slots = Slots::default();
    let routes: Vec<_> = (0..5_000)
        .map(|number| {
            labels(slots.allocate(), &format!("team-{}/route-{number}", number % 50), &[&format!("a/{number}:80")])
        })
        .collect();
    set_routes(&metrics, routes.clone());
    let workers: Vec<_> = (0..4).map(|index| metrics.worker(index)).collect();
    let ends = [
        (StatusCode::OK, Reason::Ok),
        (StatusCode::BAD_GATEWAY, Reason::ConnectFailed),
        (StatusCode::NOT_FOUND, Reason::Ok),
    ];
    for (classes, (status, reason)) in (1..).zip(ends) {
        for worker in &workers {
            for RouteLabels { slot, .. } in &routes {
                worker.record(&Exchange { status, reason, ..get(*slot) });
            }
        }
        let began = busy();
        let text = metrics.text();
        let summed = busy() - began;
        let (mut length, mut longest) = (0, 0);
        for piece in text {
            length += piece.len();
            longest = longest.max(piece.len());
        }
        println!("{classes} classes: {length} bytes in {:?}, of which summing {summed:?}", busy() - began);
        assert!(longest < 128 * 1024 && length > classes * 10_000_000, "{longest} of {length}");
    }
    let text = written(&metrics);
    if let Some(path) = std::env::var_os("HEADGATE_TEST_EXPOSITION") {
        std::fs::write(path, &text).unwrap();
    }
    let shown = parse(&text).unwrap();
    assert_eq!(shown.samples("headgate_requests_total").count(), 15_000);
    assert_eq!(shown.samples("headgate_request_duration_seconds_count").count(), 15_000);
}

/// How long this thread has had a processor: others on the machine do not count.
fn busy() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Worker, route, backend.
    Record(usize, usize, u16),
    /// Declares a route with so many backends, the first of which is this one; or drops it.
    Declare(usize, u8, Option<u8>),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..4usize, 0..3u16).prop_map(|(worker, route, backend)| Step::Record(worker, route, backend)),
        2 => (0..4usize, 1..4u8, proptest::option::weighted(0.7, 0..3u8))
            .prop_map(|(route, first, count)| Step::Declare(route, first, count)),
        1 => Just(Step::Look),
    ]
}

proptest! {
    /// Whatever comes and goes: each number is what a plain map by name would hold, a name that is not declared any
    /// more is shown once and then forgotten.
    #[test]
    fn names_hold_what_was_counted_under_them(steps in proptest::collection::vec(step(), 1..60)) {
        let metrics = Metrics::new(3);
        let workers = [metrics.worker(0), metrics.worker(1), metrics.worker(2)];
        let mut slots = Slots::default();
        let mut declared: BTreeMap<usize, (Slot, Vec<String>)> = BTreeMap::new();
        let mut model: BTreeMap<[String; 2], f64> = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Look, Step::Look]) {
            match step {
                Step::Record(worker, route, backend) => {
                    if let Some((slot, services)) = declared.get(&route)
                        && let Some(service) = services.get(usize::from(backend))
                    {
                        workers[worker].record(&Exchange { backend: Some(backend), ..get(*slot) });
                        *model.entry([format!("a/{route}"), service.clone()]).or_default() += 1.0;
                    }
                }
                Step::Declare(route, first, count) => {
                    match count {
                        Some(count) => {
                            let services = (first..first + count).map(|service| format!("s/{service}:80")).collect();
                            let slot = declared.get(&route).map_or_else(|| slots.allocate(), |(slot, _)| *slot);
                            declared.insert(route, (slot, services));
                        }
                        None => if let Some((slot, _)) = declared.remove(&route) {
                            slots.release(slot);
                        },
                    }
                    set_routes(&metrics, declared.iter().map(|(route, (slot, services))| RouteLabels {
                        slot: *slot,
                        route: format!("a/{route}"),
                        rule: "0".to_owned(),
                        services: services.clone(),
                    }).collect());
                }
                Step::Look => {
                    prop_assert_eq!(requests(&look(&metrics)), model.clone());
                    let living: BTreeSet<[String; 2]> = declared
                        .iter()
                        .flat_map(|(route, (_, services))| {
                            services.iter().map(move |service| [format!("a/{route}"), service.clone()])
                        })
                        .collect();
                    model.retain(|names, _| living.contains(names));
                }
            }
        }
    }
}
