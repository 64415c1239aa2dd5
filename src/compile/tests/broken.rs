//! F-05: broken objects cost the good ones nothing, and none of them passes in silence.

use serde_json::{Value, json};

use super::*;
use crate::source::{Effect, Finding};

const BROKEN: usize = 200;
const GOOD: usize = 100;

fn good(number: usize) -> [Object; 4] {
    let (name, host) = (format!("good-{number:03}"), format!("good-{number:03}.example.com"));
    let rules = json!([{ "name": "r", "backendRefs": [{ "name": name, "port": 80 }] }]);
    [
        service(&name),
        slice(&format!("{name}-1"), &name, &[&format!("10.0.{number}.1")]),
        simple(&format!("{name}-ingress"), &format!("ingress-{host}"), "/", &name),
        gateway_route(&format!("{name}-route"), &json!({ "hostnames": [host], "rules": rules })),
    ]
}

/// Specs that are broken, each in its own way, with the field that is to blame.
fn broken_routes() -> Vec<(Value, &'static str)> {
    let with = |extra: Value| {
        let mut rule = json!({ "backendRefs": [{ "name": "good-000", "port": 80 }] });
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "rules": [rule] })
    };
    let matching = |path: Value| with(json!({ "matches": [{ "path": path }] }));
    let filter = |filter: Value| with(json!({ "filters": [filter] }));
    let backend = |backend: Value| with(json!({ "backendRefs": [backend] }));
    vec![
        (matching(json!({ "type": "RegularExpression", "value": "(" })), "spec.rules[0].matches[0].path.value"),
        (
            matching(json!({ "type": "RegularExpression", "value": "((a{100}){100}){100}" })),
            "spec.rules[0].matches[0].path.value",
        ),
        (matching(json!({ "type": "Template", "value": "/a/:/b" })), "spec.rules[0].matches[0].path.value"),
        (matching(json!({ "type": "Template", "value": "/a/*rest/b" })), "spec.rules[0].matches[0].path.value"),
        (matching(json!({ "value": "no-slash" })), "spec.rules[0].matches[0].path.value"),
        (matching(json!({ "value": "/a/../b" })), "spec.rules[0].matches[0].path.value"),
        (matching(json!({ "value": "/a\u{0}b" })), "spec.rules[0].matches[0].path.value"),
        (
            with(json!({ "matches": [{ "headers": [{ "name": "a b", "value": "c" }] }] })),
            "spec.rules[0].matches[0].headers[0].name",
        ),
        (
            with(
                json!({ "matches": [{ "queryParams": [{ "name": "a", "type": "RegularExpression", "value": "[" }] }] }),
            ),
            "spec.rules[0].matches[0].queryParams[0].value",
        ),
        (
            filter(json!({ "type": "URLRewrite", "urlRewrite": { "hostname": "a b" } })),
            "spec.rules[0].filters[0].urlRewrite.hostname",
        ),
        (filter(json!({ "type": "URLRewrite", "urlRewrite": {} })), "spec.rules[0].filters[0].urlRewrite"),
        (
            filter(json!({ "type": "RequestRedirect", "requestRedirect": { "statusCode": 200 } })),
            "spec.rules[0].filters[0].requestRedirect.statusCode",
        ),
        (
            filter(json!({ "type": "RequestRedirect", "requestRedirect": { "port": 0 } })),
            "spec.rules[0].filters[0].requestRedirect.port",
        ),
        (
            filter(json!({ "type": "DirectResponse", "directResponse": { "statusCode": 99 } })),
            "spec.rules[0].filters[0].directResponse.statusCode",
        ),
        (
            filter(
                json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [{ "name": "X-A", "value": "a\r\nX-B: b" }] } }),
            ),
            "spec.rules[0].filters[0].requestHeaderModifier.set[0].value",
        ),
        (filter(json!({ "type": "RequestHeaderModifier" })), "spec.rules[0].filters[0].requestHeaderModifier"),
        (
            filter(json!({ "type": "IPAccess", "ipAccess": { "allow": ["10.0.0.1/8"] } })),
            "spec.rules[0].filters[0].ipAccess.allow[0]",
        ),
        (with(json!({ "jwt": { "providers": ["main"] } })), "spec.rules[0].jwt.providers[0]"),
        (with(json!({ "basicAuth": { "secretRef": { "name": "none" } } })), "spec.rules[0].basicAuth.secretRef.name"),
        (with(json!({ "retry": { "backoff": "1s", "maxBackoff": "100ms" } })), "spec.rules[0].retry.maxBackoff"),
        (with(json!({ "loadBalancer": { "type": "ConsistentHash" } })), "spec.rules[0].loadBalancer"),
        (
            with(json!({ "loadBalancer": { "type": "ConsistentHash", "consistentHash": { "type": "Header" } } })),
            "spec.rules[0].loadBalancer.consistentHash.name",
        ),
        (
            with(json!({ "timeouts": { "request": "1s", "backendRequest": "2s" } })),
            "spec.rules[0].timeouts.backendRequest",
        ),
        (backend(json!({ "name": "gone", "port": 80 })), "spec.rules[0].backendRefs[0].name"),
        (backend(json!({ "name": "good-000", "port": 81 })), "spec.rules[0].backendRefs[0].port"),
        (backend(json!({ "name": "good-000", "port": -1 })), "spec.rules[0].backendRefs[0].port"),
        (backend(json!({ "name": "good-000", "port": 80, "weight": -5 })), "spec.rules[0].backendRefs[0].weight"),
        (
            backend(json!({ "name": "kube-dns", "namespace": "kube-system", "port": 53 })),
            "spec.rules[0].backendRefs[0].namespace",
        ),
        (backend(json!({ "kind": "Secret", "name": "good-000", "port": 80 })), "spec.rules[0].backendRefs[0].kind"),
        (
            backend(json!({ "name": "good-000", "port": 80, "tls": { "hostname": "a b" } })),
            "spec.rules[0].backendRefs[0].tls.hostname",
        ),
        (
            json!({ "hostnames": ["a_b.example.com"], "rules": [{ "backendRefs": [{ "name": "good-000", "port": 80 }] }] }),
            "spec.hostnames[0]",
        ),
        (
            json!({ "listeners": ["metrics"], "rules": [{ "backendRefs": [{ "name": "good-000", "port": 80 }] }] }),
            "spec.listeners[0]",
        ),
        (json!({ "rules": [{}] }), "spec.rules[0]"),
        (
            json!({
                "tls": { "certificateRefs": [{ "name": "gone" }] },
                "rules": [{ "backendRefs": [{ "name": "good-000", "port": 80 }] }],
            }),
            "spec.tls.certificateRefs[0].name",
        ),
    ]
}

fn broken_ingresses() -> Vec<(Value, &'static str)> {
    let path = |path: Value| json!({ "rules": [{ "http": { "paths": [path] } }] });
    let to = |service: Value| json!({ "service": service });
    let web = || to(json!({ "name": "good-000", "port": { "number": 80 } }));
    vec![
        (path(json!({ "pathType": "Prefix", "path": "a", "backend": web() })), "spec.rules[0].http.paths[0].path"),
        (path(json!({ "pathType": "None", "path": "/", "backend": web() })), "spec.rules[0].http.paths[0].pathType"),
        (path(json!({ "pathType": "Prefix", "path": "/", "backend": {} })), "spec.rules[0].http.paths[0].backend"),
        (
            path(json!({ "pathType": "Prefix", "path": "/", "backend": to(json!({ "name": "good-000" })) })),
            "spec.rules[0].http.paths[0].backend.service.port.number",
        ),
        (
            path(
                json!({ "pathType": "Prefix", "path": "/", "backend": to(json!({ "name": "gone", "port": { "name": "x" } })) }),
            ),
            "spec.rules[0].http.paths[0].backend.service.name",
        ),
        (json!({ "rules": [{ "host": "*" }] }), "spec.rules[0].host"),
        (json!({ "rules": [{ "host": "a.example.com" }] }), "spec.rules[0]"),
        (json!({ "tls": [{ "hosts": ["good-000.example.com"] }], "defaultBackend": web() }), "spec.tls[0].secretName"),
    ]
}

#[test]
fn two_hundred_broken_objects_cost_a_hundred_good_ones_nothing() {
    let mut alone = World::of((0..GOOD).flat_map(good));
    let expected = serde_json::to_value(alone.compiled.table.describe()).unwrap();
    let hosts = |world: &World| {
        let table = serde_json::to_value(world.compiled.table.describe()).unwrap();
        let ours = |host: &&Value| host["host"].as_str().unwrap().contains("good-");
        table["hosts"].as_array().unwrap().iter().filter(ours).cloned().collect::<Vec<_>>()
    };

    let routes = broken_routes();
    let ingresses = broken_ingresses();
    let mut blame = Vec::new();
    let mut changes = Vec::new();
    for number in 0..BROKEN {
        let name = format!("zz-broken-{number:03}");
        // Half of them lie in wait on the host of a good one.
        let host = if number % 2 == 0 {
            format!("good-{:03}.example.com", number % GOOD)
        } else {
            format!("bad-{number}.example.com")
        };
        let kinds = routes.len() + ingresses.len() + 1;
        let (object, field) = match number % kinds {
            at if at < routes.len() => {
                let (mut spec, field) = routes[at].clone();
                spec.as_object_mut().unwrap().entry("hostnames").or_insert(json!([host]));
                (gateway_route(&name, &spec), field)
            }
            at if at < routes.len() + ingresses.len() => {
                let (spec, field) = ingresses[at - routes.len()].clone();
                (ingress(&name, &spec), field)
            }
            _ => {
                let finding = Finding {
                    field: "spec".to_owned(),
                    message: "is no object".to_owned(),
                    place: None,
                    effect: Effect::Spoils,
                };
                let key = key(Kind::GatewayRoute, &name);
                changes.push(Change::Invalid(key.clone(), Box::default(), vec![finding]));
                blame.push((key, "spec"));
                continue;
            }
        };
        blame.push((object.key(), field));
        changes.push(Change::Upsert(object, Vec::new()));
    }

    // Both at once, and one after the other.
    let mut together = World::new();
    let all = (0..GOOD).flat_map(good).map(|object| Change::Upsert(object, Vec::new())).chain(changes.clone());
    together.change(all);
    alone.change(changes);
    for world in [&together, &alone] {
        for (now, before) in hosts(world).iter().zip(expected["hosts"].as_array().unwrap()) {
            assert_eq!(now, before);
        }
        assert_eq!(hosts(world).len(), 2 * GOOD);
        for (key, field) in &blame {
            let report = world.compiled.report.objects.get(key).unwrap_or_else(|| panic!("nothing is said of {key}"));
            let fields: Vec<_> = report.problems.iter().map(|problem| problem.field.as_str()).collect();
            assert!(fields.contains(field), "{key}: {field} is to blame, not {fields:?}");
            assert!(report.problems.iter().all(|problem| !problem.what.is_empty()), "{key}");
        }
        let said = |name: &str, kind| world.compiled.report.objects.get(&key(kind, name)).unwrap().problems.len();
        for number in 0..GOOD {
            assert_eq!(said(&format!("good-{number:03}-ingress"), Kind::Ingress), 0);
            assert_eq!(said(&format!("good-{number:03}-route"), Kind::GatewayRoute), 0);
        }
    }

    // They mend as one, and what they were told is forgotten.
    alone.delete(blame.into_iter().map(|(key, _)| key));
    assert_eq!(serde_json::to_value(alone.compiled.table.describe()).unwrap(), expected);
    assert!(alone.compiled.report.problems().next().is_none());
}

/// F-15: a mistake of ours over one object is told of it, leaves it as it was, and costs no other object anything.
#[test]
fn a_panic_concerns_the_object_that_it_is_met_in() {
    let mut world = World::of((0..3).flat_map(good));
    let routes = |world: &World| world.compiled.table.routes.len();
    let before = routes(&world);
    PANICS.set("good-001-ingress".to_owned());
    world.upsert([
        simple("good-001-ingress", "elsewhere.example.com", "/", "good-001"),
        simple("good-002-ingress", "elsewhere.example.com", "/", "good-002"),
    ]);
    assert_eq!(routes(&world), before);
    let told = world.problems(Kind::Ingress, "good-001-ingress");
    assert!(matches!(&told[..], [one] if one.contains("mistake in Headgate")), "{told:?}");
    assert_eq!(world.problems(Kind::Ingress, "good-002-ingress"), Vec::<String>::new());
    // One that is new has nothing that could stay.
    PANICS.set("new".to_owned());
    world.upsert([simple("new", "new.example.com", "/", "good-001")]);
    assert_eq!(routes(&world), before);
    assert_eq!(world.problems(Kind::Ingress, "new").len(), 1);
    // Both are as declared once the mistake is mended, which they are looked at for when they change.
    PANICS.set(String::new());
    world.upsert([
        simple("good-001-ingress", "elsewhere.example.com", "/a", "good-001"),
        simple("new", "new.example.com", "/a", "good-001"),
    ]);
    assert_eq!(routes(&world), before + 1);
    for name in ["good-001-ingress", "new"] {
        assert_eq!(world.problems(Kind::Ingress, name), Vec::<String>::new());
    }
}

/// F-15: the same over a host: what was served of it before still is, and those who claim it are told.
#[test]
fn a_panic_over_a_host_leaves_it_as_it_was() {
    let mut world = World::of(good(1));
    world.upsert([
        simple("a", "here.example.com", "/", "good-001"),
        simple("b", "elsewhere.example.com", "/", "good-001"),
    ]);
    let paths = |world: &World, host: &str| {
        let text = serde_json::to_value(world.compiled.table.describe()).unwrap();
        let hosts = text["hosts"].as_array().unwrap();
        let found = hosts.iter().find(|found| found["host"] == host).unwrap();
        let routes = found["routes"].as_array().unwrap().iter();
        routes.map(|route| route["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    PANICS.set("here.example.com".to_owned());
    world.upsert([
        simple("a", "here.example.com", "/new", "good-001"),
        simple("b", "elsewhere.example.com", "/new", "good-001"),
    ]);
    assert_eq!(paths(&world, "here.example.com"), ["PathPrefix /"]);
    assert_eq!(paths(&world, "elsewhere.example.com"), ["PathPrefix /new"]);
    let told = world.problems(Kind::Ingress, "a");
    assert!(matches!(&told[..], [one] if one.contains("here.example.com panics")), "{told:?}");
    assert_eq!(world.problems(Kind::Ingress, "b"), Vec::<String>::new());
    PANICS.set(String::new());
    world.upsert([simple("a", "here.example.com", "/newer", "good-001")]);
    assert_eq!(paths(&world, "here.example.com"), ["PathPrefix /newer"]);
    assert_eq!(world.problems(Kind::Ingress, "a"), Vec::<String>::new());
}
