//! What lives on from one compilation to the next, and what goes past the table.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::limit::Verdict;
use crate::slot::Slot;
use crate::store::References;
use crate::table::{Certificate, HostKey, Route};
use crate::upstream::Cluster;

/// The rule of this name; the oldest of several.
fn route(world: &World, rule: &str) -> Arc<Route> {
    let routes = world.compiled.table.routes.values().filter(|route| &*route.id.rule == rule);
    routes.min_by_key(|route| route.slot.index()).unwrap().clone()
}

fn cluster(world: &World, name: &str) -> Arc<Cluster> {
    world.compiled.table.clusters.values().find(|cluster| &*cluster.name == name).unwrap().clone()
}

fn endpoints(cluster: &Cluster) -> Vec<(String, Slot)> {
    cluster.endpoints().endpoints.iter().map(|endpoint| (endpoint.address.to_string(), endpoint.slot)).collect()
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    endpoints(cluster).into_iter().map(|(address, _)| address).collect()
}

fn shown(world: &World, host: &str) -> Option<Arc<Certificate>> {
    world.compiled.table.certificates.find(host).cloned()
}

fn shop() -> [Object; 3] {
    [simple("shop", "shop.example.com", "/", "web"), service("web"), slice("web-1", "web", &["10.0.0.1", "10.0.0.2"])]
}

#[test]
fn endpoints_move_without_a_new_table_and_keep_their_slots() {
    let mut world = World::of(shop());
    let table = world.compiled.table.clone();
    let cluster = cluster(&world, "default/web:80");
    let before = endpoints(&cluster);
    world.upsert([slice("web-1", "web", &["10.0.0.2", "10.0.0.3"])]);
    assert!(Arc::ptr_eq(&world.compiled.table, &table));
    let after = endpoints(&cluster);
    assert_eq!(addresses(&cluster), ["10.0.0.2:8080", "10.0.0.3:8080"]);
    assert_eq!(after[0], before[1], "who stays keeps the slot");
    assert_ne!(after[1].1.serial(), before[0].1.serial(), "who comes is not taken for who has gone");
    assert_eq!(after[1].1.index(), before[0].1.index(), "the place of who has gone is used again");
}

#[test]
fn a_change_of_slices_that_moves_nothing_moves_nothing() {
    let mut world = World::of(shop());
    // The same addresses in another order and in two slices.
    world.store.apply_all([
        Change::Upsert(slice("web-1", "web", &["10.0.0.2"]), Vec::new()),
        Change::Upsert(slice("web-2", "web", &["10.0.0.1", "10.0.0.2"]), Vec::new()),
    ]);
    let dirty = world.store.take_dirty();
    assert!(is_endpoints_only(&dirty));
    assert_eq!(world.compiled.endpoints_changed(&world.store, &dirty).len(), 0);
}

#[test]
fn slices_among_other_changes_move_endpoints_too() {
    let mut world = World::of(shop());
    let cluster = cluster(&world, "default/web:80");
    world.upsert([slice("web-1", "web", &["10.0.0.9"]), simple("other", "other.example.com", "/", "web")]);
    assert_eq!(addresses(&cluster), ["10.0.0.9:8080"]);
    assert!(Arc::ptr_eq(&cluster, &self::cluster(&world, "default/web:80")), "both routes share it");
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_former_one() {
    let mut world = World::of(shop());
    world.upsert([service("api"), simple("api", "api.example.com", "/", "api")]);
    world.upsert([slice("web-1", "api", &["10.0.0.1"])]);
    assert_eq!(addresses(&cluster(&world, "default/web:80")), [""; 0]);
    assert_eq!(addresses(&cluster(&world, "default/api:80")), ["10.0.0.1:8080"]);
    world.delete([key(Kind::EndpointSlice, "web-1")]);
    assert_eq!(addresses(&cluster(&world, "default/api:80")), [""; 0]);
}

#[test]
fn slices_that_come_before_their_route_are_there_when_it_comes() {
    let mut world = World::of([slice("web-1", "web", &["10.0.0.1"])]);
    world.upsert([slice("web-1", "web", &["10.0.0.2"])]);
    world.upsert([service("web"), simple("shop", "shop.example.com", "/", "web")]);
    assert_eq!(addresses(&cluster(&world, "default/web:80")), ["10.0.0.2:8080"]);
}

#[test]
fn what_is_wrong_with_slices_is_told_while_their_service_is_used() {
    let mut world = World::of(shop());
    world.upsert([slice("web-1", "web", &["224.0.0.1"])]);
    assert_eq!(
        world.problems(Kind::EndpointSlice, "web-1"),
        ["endpoints[0].addresses[0]: 224.0.0.1 is a multicast address and cannot be a backend"]
    );
    world.delete([key(Kind::Ingress, "shop")]);
    assert_eq!(world.problems(Kind::EndpointSlice, "web-1"), [""; 0]);
    world.upsert([simple("shop", "shop.example.com", "/", "web")]);
    assert_eq!(world.problems(Kind::EndpointSlice, "web-1").len(), 1);
    world.upsert([slice("web-1", "web", &["10.0.0.1"])]);
    assert_eq!(world.problems(Kind::EndpointSlice, "web-1"), [""; 0]);
}

#[test]
fn a_route_keeps_its_slot_while_its_rule_keeps_its_name() {
    let rule = |name: &str, path: &str| {
        json!({
            "name": name,
            "matches": [{ "path": { "value": path } }],
            "backendRefs": [{ "name": "web", "port": 80 }],
        })
    };
    let mut world = World::of([
        service("web"),
        gateway_route("shop", &json!({ "rules": [rule("a", "/a"), rule("b", "/b"), rule("c", "/c")] })),
    ]);
    let (a, b, c) = (route(&world, "a").slot, route(&world, "b").slot, route(&world, "c").slot);
    world.upsert([gateway_route("shop", &json!({ "rules": [rule("d", "/d"), rule("c", "/x"), rule("a", "/a")] }))]);
    assert_eq!(route(&world, "a").slot, a);
    assert_eq!(route(&world, "c").slot, c);
    let d = route(&world, "d").slot;
    assert_ne!(d.serial(), b.serial());
    assert!(![a.index(), c.index()].contains(&d.index()));
    let all: BTreeSet<_> = world.compiled.table.routes.values().map(|route| route.slot).collect();
    assert_eq!(all, [a, c, d].into());
}

#[test]
fn a_change_builds_its_own_host_anew_and_no_other() {
    let mut world = World::of(shop());
    world.upsert([simple("a", "a.example.com", "/", "web"), simple("b", "b.example.com", "/", "web")]);
    let host = |world: &World, name: &str| {
        let key = HostKey::Exact(name.into());
        world.compiled.table.hosts.get(&key).cloned()
    };
    let (a, b) = (host(&world, "a.example.com").unwrap(), host(&world, "b.example.com").unwrap());
    let generation = world.compiled.table.generation;
    world.upsert([simple("b", "b.example.com", "/new", "web")]);
    assert_eq!(world.compiled.table.generation, generation + 1);
    assert!(Arc::ptr_eq(&host(&world, "a.example.com").unwrap(), &a));
    assert!(!Arc::ptr_eq(&host(&world, "b.example.com").unwrap(), &b));
    world.delete([key(Kind::Ingress, "b")]);
    assert!(host(&world, "b.example.com").is_none());
}

#[test]
fn a_change_that_concerns_nothing_of_ours_makes_no_new_table() {
    let mut world = World::of(shop());
    let table = world.compiled.table.clone();
    world.upsert([service("unused"), ingress("foreign", &json!({ "ingressClassName": "nginx" }))]);
    world.compile(&BTreeSet::new());
    assert!(Arc::ptr_eq(&world.compiled.table, &table));
}

#[test]
fn a_first_compilation_makes_a_table_of_nothing() {
    let world = World::of([]);
    assert_eq!(world.compiled.table.generation, 1);
}

#[test]
fn the_service_that_was_missing_takes_the_requests_when_it_comes() {
    let mut world = World::of([simple("shop", "shop.example.com", "/", "web"), slice("web-1", "web", &["10.0.0.1"])]);
    assert_eq!(world.problems(Kind::Ingress, "shop").len(), 1);
    world.upsert([service("web")]);
    assert_eq!(world.problems(Kind::Ingress, "shop"), [""; 0]);
    assert_eq!(addresses(&cluster(&world, "default/web:80")), ["10.0.0.1:8080"]);
    world.delete([key(Kind::Service, "web")]);
    assert_eq!(world.problems(Kind::Ingress, "shop").len(), 1);
    assert_eq!(world.compiled.table.clusters.len(), 0);
}

#[test]
fn clusters_that_differ_in_their_balancer_share_their_endpoints() {
    let rule = |path: &str, balancer: &str| {
        json!({
            "matches": [{ "path": { "value": path } }],
            "loadBalancer": { "type": balancer },
            "backendRefs": [{ "name": "web", "port": 80 }],
        })
    };
    let mut world = World::of(shop());
    let rules = json!([rule("/a", "RoundRobin"), rule("/b", "Random")]);
    world.upsert([gateway_route("other", &json!({ "hostnames": ["other.example.com"], "rules": rules }))]);
    let slots = |world: &World| {
        let clusters = world.compiled.table.clusters.values();
        clusters.map(|cluster| endpoints(cluster).into_iter().map(|(_, slot)| slot).collect()).collect::<Vec<Vec<_>>>()
    };
    let all = slots(&world);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|slots| *slots == all[0]), "{all:?}");
    world.upsert([slice("web-1", "web", &["10.0.0.7"])]);
    let all = slots(&world);
    assert!(all.iter().all(|slots| slots.len() == 1 && *slots == all[0]), "{all:?}");
}

fn with_tls() -> Object {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let paths = json!([{ "pathType": "Prefix", "path": "/", "backend": backend }]);
    let rules = json!([{ "host": "shop.example.com", "http": { "paths": paths } }]);
    let tls = json!([{ "hosts": ["shop.example.com"], "secretName": "shop-tls" }]);
    ingress("shop", &json!({ "rules": rules, "tls": tls }))
}

/// F-08: a mistake in a rotation takes no host down, and is told; what is gone is gone.
#[test]
fn a_secret_that_goes_bad_leaves_its_last_good_certificate_in_service() {
    let (old, new) = (certificate("shop.example.com"), certificate("shop.example.com"));
    let mixed = (new.0.clone(), old.1.clone());
    let mut world = World::of([with_tls(), service("web"), secret("default", "shop-tls", &old)]);
    let good = shown(&world, "shop.example.com").unwrap();
    assert_eq!(world.problems(Kind::Ingress, "shop"), [""; 0]);

    world.upsert([secret("default", "shop-tls", &mixed)]);
    assert!(Arc::ptr_eq(&shown(&world, "shop.example.com").unwrap().key, &good.key));
    assert_eq!(
        world.problems(Kind::Ingress, "shop"),
        [
            "spec.tls[0].secretName: Secret default/shop-tls has a tls.key that does not belong to its tls.crt; the certificate \
          it held before is still served; put the key in that the certificate was issued for"
        ]
    );

    world.upsert([secret("default", "shop-tls", &new)]);
    assert_ne!(shown(&world, "shop.example.com").unwrap().key.cert, good.key.cert);
    assert_eq!(world.problems(Kind::Ingress, "shop"), [""; 0]);

    world.delete([key(Kind::Secret, "shop-tls")]);
    assert!(shown(&world, "shop.example.com").is_none());
    assert_eq!(
        world.problems(Kind::Ingress, "shop"),
        [
            "spec.tls[0].secretName: Secret default/shop-tls does not exist; create it with type kubernetes.io/tls, tls.crt \
          and tls.key"
        ]
    );
}

#[test]
fn secrets_count_as_referenced_whether_they_exist_or_not_and_no_longer_than_that() {
    let mut world = World::of([with_tls(), service("web")]);
    assert_eq!(world.compiled.referenced(), &[key(Kind::Secret, "shop-tls")].into());
    world.upsert([simple("shop", "shop.example.com", "/", "web")]);
    assert_eq!(world.compiled.referenced(), &References::default());
}

/// S-13: a grant that is taken back takes the reference back at once.
#[test]
fn a_grant_counts_for_as_long_as_it_stands() {
    let grant = Object::ReferenceGrant(typed(json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": { "name": "routes", "namespace": "platform" },
        "spec": {
            "from": [{ "group": "headgate.dev", "kind": "GatewayRoute", "namespace": "default" }],
            "to": [{ "group": "", "kind": "Service" }, { "group": "", "kind": "Secret" }],
        },
    })));
    let of_platform = Object::Service(typed(json!({
        "metadata": { "name": "cdn", "namespace": "platform" },
        "spec": { "ports": [{ "port": 80 }] },
    })));
    let route = gateway_route(
        "shop",
        &json!({
            "hostnames": ["shop.example.com"],
            "tls": { "certificateRefs": [{ "name": "cdn-tls", "namespace": "platform" }] },
            "rules": [{ "backendRefs": [{ "name": "cdn", "namespace": "platform", "port": 80 }] }],
        }),
    );
    let mut world = World::of([of_platform, route]);
    let mut seen = Vec::new();
    for granted in [false, true, false] {
        if granted {
            world.upsert([grant.clone()]);
        } else {
            world.delete([grant.key()]);
        }
        seen.push((world.compiled.table.clusters.len(), world.compiled.referenced().iter().count()));
    }
    assert_eq!(seen, [(0, 0), (1, 1), (0, 0)]);
}

#[test]
fn a_loser_gets_what_it_claims_when_the_winner_goes() {
    let mut world = World::of(shop());
    world.upsert([service("api"), simple("a", "shop.example.com", "/", "api")]);
    assert_eq!(world.problems(Kind::Ingress, "shop").len(), 1, "it comes after the other by name");
    world.delete([key(Kind::Ingress, "a")]);
    assert_eq!(world.problems(Kind::Ingress, "shop"), [""; 0]);
    assert_eq!(route(&world, "0/0").id.name.as_ref(), "shop");
}

fn policy(name: &str, route: &str, requests: u32) -> Object {
    Object::RateLimitPolicy(typed(json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "RateLimitPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "targetRefs": [{ "group": "networking.k8s.io", "kind": "Ingress", "name": route }],
            "limits": [{ "name": "all", "requests": requests, "period": "1m" }],
        },
    })))
}

/// Changing a policy builds the hosts of its targets and no other, and what its limits have counted lives on.
#[test]
fn a_policy_concerns_its_targets_alone_and_its_counts_live_on() {
    let mut world = World::of(shop());
    world.upsert([simple("other", "other.example.com", "/", "web")]);
    let host = |world: &World, host: &str| {
        let hosts = &world.compiled.table.hosts;
        hosts.get(&HostKey::Exact(host.into())).unwrap().clone()
    };
    let limits = |world: &World, rule: &str| route(world, rule).limits.clone();
    let (shop, other) = (host(&world, "shop.example.com"), host(&world, "other.example.com"));
    world.upsert([policy("limits", "shop", 5)]);
    assert!(!Arc::ptr_eq(&shop, &host(&world, "shop.example.com")));
    assert!(Arc::ptr_eq(&other, &host(&world, "other.example.com")), "nothing about it has changed");
    let before = limits(&world, "0/0").unwrap();
    before.list[0].tally.count(0, Verdict::Allowed);

    // The route is another, so the policy is compiled anew with it, and means the same.
    world.upsert([simple("shop", "shop.example.com", "/other", "web")]);
    let after = limits(&world, "0/0").unwrap();
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(after.list[0].limit.fingerprint(), before.list[0].limit.fingerprint());
    assert!(Arc::ptr_eq(&after.list[0].tally, &before.list[0].tally));

    world.upsert([policy("limits", "shop", 6)]);
    let changed = limits(&world, "0/0").unwrap();
    assert_ne!(changed.list[0].limit.fingerprint(), before.list[0].limit.fingerprint(), "another quota counts anew");
    assert_eq!(changed.list[0].tally.total(Verdict::Allowed), 1, "what has been decided has been decided");

    // An older policy takes the target over, and gives it back when it goes.
    let mut older = policy("a-first", "shop", 1);
    let Object::RateLimitPolicy(object) = &mut older else { unreachable!() };
    Arc::make_mut(object).metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2020-01-01T00:00:00Z".parse().unwrap()));
    world.upsert([older]);
    assert_eq!(&*limits(&world, "0/0").unwrap().policy, "default/a-first");
    assert_eq!(world.problems(Kind::RateLimitPolicy, "limits").len(), 1);
    world.delete([key(Kind::RateLimitPolicy, "a-first")]);
    assert_eq!(&*limits(&world, "0/0").unwrap().policy, "default/limits");
    assert_eq!(world.problems(Kind::RateLimitPolicy, "limits"), [""; 0]);
    world.delete([key(Kind::RateLimitPolicy, "limits")]);
    assert!(limits(&world, "0/0").is_none());
}

/// A renewed bundle makes new connections necessary, and the endpoints' places in the pools are new ones; what was
/// declared of others stays where it is. A certificate that cannot be used beside one that can is told.
#[test]
fn a_renewed_bundle_is_trusted_on_connections_of_its_own() {
    let bundle = |pem: &str| {
        let metadata = json!({ "name": "ca", "namespace": "default" });
        Object::ConfigMap(typed(json!({ "metadata": metadata, "data": { "ca.crt": pem } })))
    };
    let refs = |tls: Value| json!([{ "name": "a", "port": 80, "tls": tls }]);
    let rules = json!([
        { "name": "own", "backendRefs": refs(json!({ "caCertificateRefs": [{ "name": "ca" }] })) },
        { "name": "system", "matches": [{ "path": { "value": "/x" } }], "backendRefs": refs(json!({})) },
    ]);
    let route = gateway_route("r", &json!({ "rules": rules }));
    let [first, second] = ["one", "two"].map(|name| certificate(&format!("{name}.example.com")).0);
    let mut world = World::of([service("a"), slice("a-1", "a", &["10.0.0.1"]), bundle(&first), route]);
    let slots = |world: &World| {
        let of = |own: bool| {
            let mut clusters = world.compiled.table.clusters.values();
            let found = clusters.find(|cluster| cluster.transport.to_string().contains("trusting") == own).unwrap();
            found.endpoints().endpoints[0].slot
        };
        (of(true), of(false))
    };
    let before = slots(&world);
    world.upsert([bundle(&first)]);
    assert_eq!(slots(&world), before);
    world.upsert([bundle(&second)]);
    let after = slots(&world);
    assert_ne!(after.0, before.0);
    assert_eq!(after.1, before.1);
    let told = |world: &World| world.compiled.report.problems().map(|told| told.to_string()).collect::<Vec<_>>();
    assert_eq!(told(&world), [""; 0]);
    world.upsert([bundle(&format!("{second}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))]);
    let problem = "HG1309 GatewayRoute default/r: rule \"own\" (spec.rules[0].backendRefs[0].tls.caCertificateRefs[0].name): 1 \
                   of 2 certificates in ConfigMap default/ca cannot be used; take them out; the others are trusted";
    assert_eq!(told(&world), [problem]);
    slots(&world);
    world.delete([key(Kind::ConfigMap, "ca")]);
    assert_eq!(world.compiled.table.clusters.len(), 1);
    assert!(told(&world).concat().contains("HG1307"), "{:?}", told(&world));
}
