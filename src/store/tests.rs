use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::*;
use crate::api::{Identity, Service, ServicePort, ServiceSpec};
use crate::source::Effect;

fn service(name: &str, port: i32) -> Change {
    let metadata = Identity { name: name.into(), namespace: "shop".into(), ..Identity::default() };
    let ports = [ServicePort { port, ..ServicePort::default() }].into();
    let spec = ServiceSpec { ports, ..ServiceSpec::default() };
    Change::Upsert(Object::Service(Arc::new(Service { metadata, spec })), Vec::new())
}

fn secret(name: &str) -> Change {
    let metadata = ObjectMeta { name: Some(name.into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
    let data = Some([("tls.key".to_owned(), ByteString(b"key".to_vec()))].into());
    Change::Upsert(Object::Secret(Arc::new(Secret { metadata, data, ..Secret::default() })), Vec::new())
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "shop", name)
}

fn names(store: &Store, kind: Kind) -> Vec<String> {
    store.all(kind).map(|(key, _)| key.name.to_string()).collect()
}

#[test]
fn tells_what_mattered_and_which_keys_it_touched() {
    let mut store = Store::awaiting(Kind::ALL);
    assert!(store.apply_all([service("a", 80), service("b", 80)]));
    assert_eq!(store.take_dirty(), [key(Kind::Service, "a"), key(Kind::Service, "b")].into());
    assert!(!store.apply(service("a", 80)));
    assert_eq!(store.take_dirty(), BTreeSet::new());
    assert!(store.apply(service("a", 81)));
    assert!(store.apply(Change::Delete(key(Kind::Service, "b"))));
    assert!(!store.apply(Change::Delete(key(Kind::Service, "b"))));
    assert_eq!(store.take_dirty(), [key(Kind::Service, "a"), key(Kind::Service, "b")].into());
}

#[test]
fn a_replacement_touches_only_what_differs() {
    let mut store = Store::awaiting(Kind::ALL);
    store.apply_all([service("a", 80), service("b", 80), service("c", 80)]);
    store.take_dirty();
    assert!(store.apply(Change::Replace(Kind::Service, vec![service("a", 80), service("b", 81), service("d", 80)])));
    let expected = ["b", "c", "d"].map(|name| key(Kind::Service, name));
    assert_eq!(store.take_dirty(), expected.into());
    assert_eq!(names(&store, Kind::Service), ["a", "b", "d"]);
    assert!(!store.apply(Change::Replace(Kind::Service, vec![service("a", 80), service("b", 81), service("d", 80)])));
}

#[test]
fn an_unusable_object_told_again_is_no_change() {
    let mut store = Store::awaiting(Kind::ALL);
    let finding = Finding { field: "spec".into(), message: "is wrong".into(), place: None, effect: Effect::Spoils };
    let metadata = ObjectMeta { name: Some("a".into()), generation: Some(1), ..ObjectMeta::default() };
    let invalid = |findings: &[Finding], generation| {
        let metadata = ObjectMeta { generation: Some(generation), ..metadata.clone() };
        Change::Invalid(key(Kind::GatewayRoute, "a"), Box::new(metadata), findings.to_vec())
    };
    assert!(store.apply(invalid(std::slice::from_ref(&finding), 1)));
    assert!(!store.apply(invalid(std::slice::from_ref(&finding), 1)));
    assert!(store.apply(invalid(std::slice::from_ref(&finding), 2)));
    assert!(store.apply(invalid(&[], 2)));
}

/// The whole life of a Secret: held until somebody says what is referred to, dropped, asked for once, kept from then.
#[test]
fn keeps_only_what_is_referenced() {
    let mut store = Store::awaiting(Kind::ALL);
    let [a, b, c] = ["a", "b", "c"].map(|name| key(Kind::Secret, name));
    store.apply(Change::Replace(Kind::Secret, vec![secret("a"), secret("b")]));
    // Everything listed is held, so what is not held does not exist and there is nobody to ask.
    assert_eq!(store.retain(&[a.clone(), c.clone()].into(), &References::default()), []);
    assert_eq!(names(&store, Kind::Secret), ["a"]);
    store.take_dirty();

    // What comes for others is not kept, by whatever way it comes.
    assert!(!store.apply(secret("b")));
    assert!(!store.apply(Change::Replace(Kind::Secret, vec![secret("a"), secret("b")])));
    assert_eq!(names(&store, Kind::Secret), ["a"]);
    assert_eq!(store.take_dirty(), BTreeSet::new());

    // A reference that was there before its Secret needs no question either: the watch brings it.
    assert!(store.apply(secret("c")));

    let wanted: References = [a.clone(), b.clone(), c.clone()].into();
    assert_eq!(store.retain(&wanted, &References::default()), std::slice::from_ref(&b));
    assert_eq!(store.retain(&wanted, &References::default()), [], "asked twice");
    assert!(store.apply(secret("b")));
    assert_eq!(names(&store, Kind::Secret), ["a", "b", "c"]);

    // A reference that goes and comes back finds nothing and asks again.
    assert_eq!(store.retain(&[a].into(), &References::default()), []);
    assert_eq!(names(&store, Kind::Secret), ["a"]);
    assert_eq!(store.retain(&wanted, &References::default()), [b, c]);
}

/// A ConfigMap is watched by its name, so none is ever asked for; what nobody refers to is not kept.
#[test]
fn keeps_only_config_maps_that_are_referenced() {
    let config_map = |name: &str, text: &str| {
        let metadata = ObjectMeta { name: Some(name.into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
        let data = Some([("ca.crt".to_owned(), text.to_owned())].into());
        let map = ConfigMap { metadata, data, ..ConfigMap::default() };
        Change::Upsert(Object::ConfigMap(Arc::new(map)), Vec::new())
    };
    let mut store = Store::awaiting(Kind::LISTED);
    let a: References = [key(Kind::ConfigMap, "a")].into();
    assert_eq!(store.retain(&a, &a), []);
    assert_eq!(store.retain(&a, &a), []);
    assert!(store.apply(config_map("a", "1")));
    assert!(!store.apply(config_map("a", "1")));
    assert!(store.apply(config_map("a", "2")));
    assert!(!store.apply(config_map("b", "1")));
    assert_eq!(names(&store, Kind::ConfigMap), ["a"]);
    assert_eq!(store.retain(&References::default(), &References::default()), []);
    assert_eq!(names(&store, Kind::ConfigMap), [""; 0]);
}

#[test]
fn is_synced_when_every_kind_is_listed_or_out_of_reach() {
    let mut store = Store::awaiting([Kind::Ingress, Kind::Service, Kind::ReferenceGrant]);
    assert!(store.apply(Change::Unavailable(Kind::ReferenceGrant, "no CRD".into())));
    assert!(store.apply(Change::Unavailable(Kind::Ingress, "forbidden".into())));
    assert!(!store.is_synced());
    assert!(store.apply(Change::Synced(Kind::Service)));
    assert!(store.is_synced());
    // An absent optional kind is nobody's problem.
    assert_eq!(store.unavailable().collect::<Vec<_>>(), [(Kind::Ingress, "forbidden")]);
    assert!(store.apply(Change::Synced(Kind::Ingress)));
    assert!(!store.apply(Change::Synced(Kind::Ingress)));
    assert_eq!(store.unavailable().count(), 0);
}

#[test]
fn lists_one_namespace() {
    let mut store = Store::awaiting(Kind::ALL);
    store.apply_all([service("a", 80), service("b", 80)]);
    for (namespace, count) in [("shop", 2), ("sho", 0), ("shops", 0), ("", 0)] {
        assert_eq!(store.in_namespace(Kind::Service, namespace).count(), count, "{namespace}");
    }
}
