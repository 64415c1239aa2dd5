//! Laws: compiling what has changed comes to the same as compiling everything, in whatever order things came.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::persistent::Map;
use crate::table::{Entry, Target};

/// What a world has come to, without what depends on its history: slots and generations.
fn essence(world: &World) -> (Value, super::super::Report) {
    let table = serde_json::to_value(world.compiled.table.describe()).unwrap();
    (table, (*world.compiled.report).clone())
}

fn namespaced(namespace: &str, name: &str, age: u32) -> Value {
    json!({ "name": name, "namespace": namespace, "creationTimestamp": format!("2024-01-01T00:00:{age:02}Z") })
}

const NAMESPACES: &[&str] = &["a", "b"];
const NAMES: &[&str] = &["x", "y", "z"];
const HOSTS: &[&str] = &["", "one.example.com", "two.example.com", "*.example.com"];
const PATHS: &[&str] = &["/", "/p", "/p/q"];
const AGES: std::ops::Range<u32> = 0..3;

/// Annotations of ingress-nginx by which objects have to do with each other, or live on.
const ANNOTATIONS: &[&[(&str, &str)]] = &[
    &[],
    &[("canary", "true"), ("canary-weight", "30")],
    &[("canary", "true"), ("canary-by-header", "X-Canary")],
    &[("limit-rps", "5"), ("server-alias", "two.example.com")],
    &[("auth-tls-secret", "x"), ("from-to-www-redirect", "true")],
    &[("auth-url", "http://y.b.svc/check")],
];

fn ingresses() -> impl Strategy<Value = Object> {
    let path = (select(&["Exact", "Prefix"][..]), select(PATHS), select(NAMES), select(&[80, 81][..])).prop_map(
        |(path_type, path, service, port)| {
            let backend = json!({ "service": { "name": service, "port": { "number": port } } });
            json!({ "pathType": path_type, "path": path, "backend": backend })
        },
    );
    let rule = (select(HOSTS), prop::collection::vec(path, 1..3))
        .prop_map(|(host, paths)| json!({ "host": host, "http": { "paths": paths } }));
    let tls = (select(&HOSTS[1..]), select(NAMES))
        .prop_map(|(host, secret)| json!({ "hosts": [host], "secretName": secret }));
    let default = prop::option::of(select(NAMES));
    let class = select(&[None, Some("headgate"), Some("other"), Some("nginx")][..]);
    let rules = prop::collection::vec(rule, 0..3);
    let annotations = prop::option::weighted(0.7, select(ANNOTATIONS));
    let metadata =
        (select(NAMESPACES), select(NAMES), AGES, annotations).prop_map(|(namespace, name, age, annotations)| {
            let mut metadata = namespaced(namespace, name, age);
            let named = annotations.into_iter().flatten();
            let named = named.map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), json!(value)));
            metadata["annotations"] = Value::Object(named.collect());
            metadata
        });
    (metadata, class, rules, prop::collection::vec(tls, 0..2), default).prop_map(
        |(metadata, class, rules, tls, default)| {
            let default = default.map(|name| json!({ "service": { "name": name, "port": { "name": "http" } } }));
            let spec = json!({ "ingressClassName": class, "rules": rules, "tls": tls, "defaultBackend": default });
            Object::Ingress(typed(json!({ "metadata": metadata, "spec": spec })))
        },
    )
}

fn gateway_routes() -> impl Strategy<Value = Object> {
    let namespaces = || prop::option::of(select(NAMESPACES));
    let bundles = || {
        let bundle = (select(NAMES), namespaces());
        prop::option::weighted(
            0.3,
            bundle.prop_map(|(name, namespace)| json!([{ "name": name, "namespace": namespace }])),
        )
    };
    let terms = (bundles(), prop::option::weighted(0.3, select(NAMES))).prop_map(|(bundles, shown)| {
        let shown = shown.map(|name| json!({ "name": name }));
        json!({ "caCertificateRefs": bundles.unwrap_or(json!([])), "clientCertificateRef": shown })
    });
    let terms = prop::option::weighted(0.3, terms);
    let backend = (select(NAMES), namespaces(), select(&["http", "h2c"][..]), 0..3, terms).prop_map(
        |(name, namespace, protocol, weight, tls)| {
            json!({
                "name": name, "namespace": namespace, "port": 80, "weight": weight, "appProtocol": protocol, "tls": tls,
            })
        },
    );
    let found = (select(PATHS), prop::option::of(Just("GET")))
        .prop_map(|(path, method)| json!({ "path": { "value": path }, "method": method }));
    let balancer = select(&[None, Some("RoundRobin"), Some("Random")][..]);
    let retry = prop::option::weighted(0.1, Just(json!({ "attempts": 1 })));
    let rule = (
        select(&[None, Some("r"), Some("s")][..]),
        prop::collection::vec(found, 0..3),
        prop::collection::vec(backend, 1..3),
        balancer,
        retry,
    )
        .prop_map(|(name, matches, backends, balancer, retry)| {
            let balancer = balancer.map(|balancer| json!({ "type": balancer }));
            json!({ "name": name, "matches": matches, "backendRefs": backends, "loadBalancer": balancer, "retry": retry })
        });
    let tls =
        (select(NAMES), namespaces(), select(&["1.2", "1.3"][..]), bundles(), select(&["Required", "Optional"][..]));
    let tls = prop::option::of(tls.prop_map(|(name, namespace, version, bundles, mode)| {
        let validation = bundles.map(|bundles| json!({ "mode": mode, "caCertificateRefs": bundles }));
        let refs = json!([{ "name": name, "namespace": namespace }]);
        json!({ "certificateRefs": refs, "minVersion": version, "clientValidation": validation })
    }));
    let hosts = prop::sample::subsequence(&HOSTS[1..], 0..3);
    let listeners = select(vec![vec!["http", "https"], vec!["http"], vec!["https"], vec![]]);
    let rules = prop::collection::vec(rule, 1..3);
    (select(NAMESPACES), select(NAMES), AGES, hosts, listeners, rules, tls).prop_map(
        |(namespace, name, age, hosts, listeners, rules, tls)| {
            Object::GatewayRoute(typed(json!({
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "GatewayRoute",
                "metadata": namespaced(namespace, name, age),
                "spec": { "hostnames": hosts, "listeners": listeners, "rules": rules, "tls": tls },
            })))
        },
    )
}

fn services() -> impl Strategy<Value = Object> {
    (select(NAMESPACES), select(NAMES), select(&["http", "web"][..]), select(&[None, Some("h2c")][..])).prop_map(
        |(namespace, name, port, protocol)| {
            let port = json!({ "name": port, "port": 80, "appProtocol": protocol });
            Object::Service(typed(json!({ "metadata": namespaced(namespace, name, 0), "spec": { "ports": [port] } })))
        },
    )
}

fn slices() -> impl Strategy<Value = Object> {
    let address = select(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "0.0.0.0"][..]);
    let endpoint = (address, any::<bool>()).prop_map(|(address, ready)| {
        json!({ "addresses": [address], "conditions": { "ready": ready, "serving": true, "terminating": !ready } })
    });
    let family = select(&["IPv4", "IPv4", "IPv4", "FQDN"][..]);
    let endpoints = prop::collection::vec(endpoint, 0..3);
    (select(NAMESPACES), select(NAMES), select(NAMES), endpoints, family).prop_map(
        |(namespace, name, service, endpoints, family)| {
            let labels = json!({ "kubernetes.io/service-name": service });
            Object::EndpointSlice(typed(json!({
                "metadata": { "name": name, "namespace": namespace, "labels": labels },
                "addressType": family,
                "ports": [{ "name": "http", "port": 8080 }, { "name": "web", "port": 9090 }],
                "endpoints": endpoints,
            })))
        },
    )
}

/// Good Secrets only: one that goes bad leaves its last good certificate, which is history on purpose.
fn secrets() -> impl Strategy<Value = Object> {
    static PAIRS: std::sync::LazyLock<Vec<(String, String)>> =
        std::sync::LazyLock::new(|| (0..2).map(|_| certificate("one.example.com")).collect());
    (select(NAMESPACES), select(NAMES), 0..PAIRS.len())
        .prop_map(|(namespace, name, pair)| secret(namespace, name, &PAIRS[pair]))
}

fn config_maps() -> impl Strategy<Value = Object> {
    static BUNDLES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        (0..2).map(|_| certificate("ca.example.com").0).chain(["none".to_owned()]).collect()
    });
    (select(NAMESPACES), select(NAMES), 0..BUNDLES.len()).prop_map(|(namespace, name, bundle)| {
        let metadata = json!({ "name": name, "namespace": namespace });
        Object::ConfigMap(typed(json!({ "metadata": metadata, "data": { "ca.crt": BUNDLES[bundle] } })))
    })
}

fn grants_and_classes() -> impl Strategy<Value = Object> {
    let grant =
        (select(NAMESPACES), select(NAMES), select(NAMESPACES), select(&["Service", "Secret", "ConfigMap"][..]))
            .prop_map(|(namespace, name, from, to)| {
                Object::ReferenceGrant(typed(json!({
                    "apiVersion": "gateway.networking.k8s.io/v1beta1",
                    "kind": "ReferenceGrant",
                    "metadata": namespaced(namespace, name, 0),
                    "spec": {
                        "from": [{ "group": "headgate.dev", "kind": "GatewayRoute", "namespace": from }],
                        "to": [{ "group": "", "kind": to }],
                    },
                })))
            });
    let class = (select(&["headgate", "other"][..]), any::<bool>(), any::<bool>()).prop_map(|(name, ours, default)| {
        let controller = if ours { super::super::CONTROLLER } else { "example.com/other" };
        let annotations = json!({ "ingressclass.kubernetes.io/is-default-class": default.to_string() });
        Object::IngressClass(typed(json!({
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "controller": controller },
        })))
    });
    prop_oneof![grant, class]
}

fn policies() -> impl Strategy<Value = Object> {
    let kinds = &[
        ("headgate.dev", "GatewayRoute"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "IngressClass"),
        ("", "Service"),
    ][..];
    let target = (select(kinds), select(NAMES), select(&[None, Some("r"), Some("http")][..]), any::<bool>()).prop_map(
        |((group, kind), name, section, ours)| {
            let name = if kind == "IngressClass" && ours { "headgate" } else { name };
            json!({ "group": group, "kind": kind, "name": name, "sectionName": section })
        },
    );
    let key = select(&[None, Some("ClientIP"), Some("PathParam")][..]);
    let limit = (1..3i32, select(&["Local", "Local", "Local", "Global"][..]), key, any::<bool>()).prop_map(
        |(cost, scope, key, shadow)| {
            let key: Vec<_> = key
                .map(|key| json!({ "type": key, "name": (key == "PathParam").then_some("id") }))
                .into_iter()
                .collect();
            json!({
                "name": "l", "requests": 2, "period": "1m", "burst": 1, "cost": cost, "scope": scope, "key": key, "shadow": shadow,
            })
        },
    );
    let limits = prop::collection::vec(limit, 0..2);
    (select(NAMESPACES), select(NAMES), AGES, prop::collection::vec(target, 1..3), limits).prop_map(
        |(namespace, name, age, targets, limits)| {
            Object::RateLimitPolicy(typed(json!({
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "RateLimitPolicy",
                "metadata": namespaced(namespace, name, age),
                "spec": { "targetRefs": targets, "limits": limits },
            })))
        },
    )
}

fn objects() -> impl Strategy<Value = Object> {
    prop_oneof![
        3 => ingresses(),
        3 => gateway_routes(),
        2 => services(),
        3 => slices(),
        1 => secrets(),
        1 => config_maps(),
        1 => grants_and_classes(),
        3 => policies(),
    ]
}

/// Put an object in place, or take it away.
fn steps() -> impl Strategy<Value = Vec<Vec<(Object, bool)>>> {
    let change = (objects(), prop::bool::weighted(0.7));
    prop::collection::vec(prop::collection::vec(change, 1..4), 1..20)
}

fn selection() -> impl Strategy<Value = ClassSelection> {
    let cluster = ClassSelection::cluster("headgate");
    prop_oneof![
        Just(ClassSelection::standalone()),
        Just(cluster.clone()),
        Just(cluster.clone().at_home_in("a")),
        Just(cluster.at_home_in("elsewhere")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn compiling_what_changed_equals_compiling_everything(steps in steps(), class in selection()) {
        let mut world = World::new();
        world.settings.class = class.clone();
        let mut model: BTreeMap<ObjectKey, Object> = BTreeMap::new();
        for step in steps {
            let mut changes = Vec::new();
            for (object, put) in step {
                if put {
                    model.insert(object.key(), object.clone());
                    changes.push(Change::Upsert(object, Vec::new()));
                } else {
                    model.remove(&object.key());
                    changes.push(Change::Delete(object.key()));
                }
            }
            world.change(changes);
            let mut anew = World::new();
            anew.settings.class = class.clone();
            anew.upsert(model.values().cloned());
            prop_assert_eq!(essence(&world), essence(&anew));
            prop_assert_eq!(world.compiled.referenced(), anew.compiled.referenced());
            prop_assert_eq!(&world.compiled.report, &anew.compiled.report);
            slots_are_sound(&world)?;
            what_is_listed_is_what_is_used(&world)?;
        }
        // Everything that was taken up is let go again.
        world.delete(model.into_keys());
        prop_assert_eq!(world.compiled.table.routes.len(), 0);
        prop_assert_eq!(world.compiled.table.clusters.len(), 0);
        prop_assert!(world.compiled.referenced().is_empty());
        prop_assert!(world.compiled.report.objects.is_empty());
    }

    /// S-10, S-16: who wins does not depend on who came first to us.
    #[test]
    fn the_order_of_arrival_decides_nothing(
        (objects, shuffled) in prop::collection::vec(objects(), 1..24).prop_flat_map(|objects| {
            let unique: BTreeMap<_, _> = objects.into_iter().map(|object| (object.key(), object)).collect();
            let objects: Vec<_> = unique.into_values().collect();
            (Just(objects.clone()), Just(objects).prop_shuffle())
        })
    ) {
        let (mut one_by_one, mut other) = (World::new(), World::new());
        for object in objects {
            one_by_one.upsert([object]);
        }
        for object in shuffled {
            other.upsert([object]);
        }
        prop_assert_eq!(essence(&one_by_one), essence(&other));
    }
}

/// The lists of the table hold what its hosts refer to, and those of the report what has problems: they are kept and not
/// collected.
fn what_is_listed_is_what_is_used(world: &World) -> Result<(), TestCaseError> {
    let (table, report) = (&world.compiled.table, &world.compiled.report);
    for (slot, route) in &table.routes {
        prop_assert_eq!(*slot, route.slot);
        for backend in route.backends.iter() {
            if let Target::Cluster(cluster) = &backend.target {
                prop_assert!(table.clusters.get(&cluster.slot).is_some_and(|listed| Arc::ptr_eq(listed, cluster)));
            }
        }
    }
    for (_, router) in table.hosts.iter() {
        for Entry { route, .. } in router.entries() {
            prop_assert!(table.routes.get(&route.slot).is_some_and(|listed| Arc::ptr_eq(listed, route)));
        }
    }
    for (name, limits) in &table.policies {
        prop_assert_eq!(name, &limits.policy);
    }
    let troubled = report.objects.iter().filter(|(_, verdict)| !verdict.problems.is_empty());
    prop_assert_eq!(
        &troubled.map(|(key, verdict)| (key.clone(), verdict.clone())).collect::<Map<_, _>>(),
        &report.troubled
    );
    Ok(())
}

/// No two owners share a place, and the places in use lie as close as what was freed allows.
fn slots_are_sound(world: &World) -> Result<(), TestCaseError> {
    let table = &world.compiled.table;
    let routes: BTreeSet<_> = table.routes.values().map(|route| route.slot.index()).collect();
    prop_assert_eq!(routes.len(), table.routes.len());
    let clusters: BTreeSet<_> = table.clusters.values().map(|cluster| cluster.slot.index()).collect();
    prop_assert_eq!(clusters.len(), table.clusters.len());
    let mut owners = BTreeMap::new();
    for cluster in table.clusters.values() {
        for endpoint in &cluster.endpoints().endpoints {
            let known = owners.insert(endpoint.slot.index(), endpoint.clone());
            prop_assert!(known.is_none_or(|known| Arc::ptr_eq(&known, endpoint)));
        }
    }
    Ok(())
}
