//! What holds over time: golden files (`tests/fixtures`) say what one compilation comes to, and these what follows the
//! next.

mod broken;
mod incremental;
mod living;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::ByteString;
use rcgen::{CertificateParams, KeyPair};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ClassSelection, Compiled, Externals, Settings, compile, is_endpoints_only};
use crate::source::{Change, Kind, Object, ObjectKey};
use crate::store::Store;

thread_local! {
    /// The name of an object whose lowering panics, or of a host that is not settled for a panic.
    pub(super) static PANICS: RefCell<String> = RefCell::default();
}

/// A store and what it was last compiled to.
struct World {
    store: Store,
    compiled: Compiled,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        Self { store: Store::default(), compiled: Compiled::empty(), settings: settings() }
    }

    /// With these objects, compiled.
    fn of(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut world = Self::new();
        world.upsert(objects);
        world
    }

    fn upsert(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.change(objects.into_iter().map(|object| Change::Upsert(object, Vec::new())));
    }

    fn delete(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        self.change(keys.into_iter().map(Change::Delete));
    }

    /// Applies changes as one step, as the reconcile loop does: endpoints alone go past the table.
    fn change(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.store.apply_all(changes);
        let dirty = self.store.take_dirty();
        if self.compiled.table.generation > 0 && is_endpoints_only(&dirty) {
            for (cluster, endpoints) in self.compiled.endpoints_changed(&self.store, &dirty) {
                cluster.publish(endpoints);
            }
        } else {
            self.compile(&dirty);
        }
    }

    fn compile(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let previous = std::mem::take(&mut self.compiled);
        self.compiled = compile(&self.store, &self.settings, previous, dirty);
        for (cluster, endpoints) in self.compiled.moves.drain(..) {
            cluster.publish(endpoints);
        }
    }

    /// The problems told of an object.
    fn problems(&self, kind: Kind, name: &str) -> Vec<String> {
        let report = self.compiled.report.objects.get(&key(kind, name));
        report.into_iter().flat_map(|report| &report.problems).map(ToString::to_string).collect()
    }
}

fn settings() -> Settings {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let backend_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Settings {
        class: ClassSelection::standalone(),
        backend_tls: Arc::new(backend_tls),
        externals: Externals::default(),
    }
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "default", name)
}

fn typed<T: DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn ingress(name: &str, spec: &Value) -> Object {
    Object::Ingress(typed(json!({ "metadata": { "name": name, "namespace": "default" }, "spec": spec })))
}

/// An Ingress that sends one prefix of one host to port 80 of a Service.
fn simple(name: &str, host: &str, path: &str, service: &str) -> Object {
    let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
    let paths = json!([{ "pathType": "Prefix", "path": path, "backend": backend }]);
    ingress(name, &json!({ "rules": [{ "host": host, "http": { "paths": paths } }] }))
}

fn gateway_route(name: &str, spec: &Value) -> Object {
    Object::GatewayRoute(typed(json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayRoute",
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })))
}

fn service(name: &str) -> Object {
    let spec = json!({ "ports": [{ "name": "http", "port": 80 }] });
    Object::Service(typed(json!({ "metadata": { "name": name, "namespace": "default" }, "spec": spec })))
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Object {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
    let labels = json!({ "kubernetes.io/service-name": service });
    Object::EndpointSlice(typed(json!({
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": endpoints,
    })))
}

fn secret(namespace: &str, name: &str, (certificate, key): &(String, String)) -> Object {
    let base64 = |text: &String| ByteString(text.clone().into_bytes());
    Object::Secret(typed(json!({
        "metadata": { "name": name, "namespace": namespace },
        "type": "kubernetes.io/tls",
        "data": { "tls.crt": base64(certificate), "tls.key": base64(key) },
    })))
}

/// A new certificate for a host and its key, as PEM.
fn certificate(host: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}
