//! The source that watches a cluster, against a server that misbehaves on request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headgate::source::kubernetes::{self, Settings};
use headgate::source::{Change, Kind, Object, ObjectKey};
use headgate::store::{References, Store, Watch};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::harness::cluster::Cluster;
use crate::harness::watch_faults::{End, Faults, Reply, bookmark, event, failure};

mod named;

/// Far longer than anything here takes; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_secs(30);

/// The source, and a store that its batches go into.
struct Bench {
    store: Store,
    batches: mpsc::Receiver<Vec<Change>>,
    wanted: kubernetes::Wanted,
    task: JoinHandle<()>,
    /// The state of the Services after every batch that touched them.
    history: Vec<Vec<String>>,
    /// Every outage told.
    told: Vec<(Kind, String)>,
}

fn settings() -> Settings {
    Settings { first_retry: Duration::from_millis(5), last_retry: Duration::from_millis(40), ..Settings::default() }
}

impl Bench {
    fn start(faults: &Faults, settings: Settings) -> Self {
        Self::with(faults.client(PATIENCE), settings)
    }

    fn with(client: kube::Client, settings: Settings) -> Self {
        let (sender, batches) = mpsc::channel(64);
        let (wanted, asked) = kubernetes::wanted(64);
        let task = tokio::spawn(kubernetes::run(client, settings, sender, asked));
        Self { store: Store::awaiting(Kind::LISTED), batches, wanted, task, history: Vec::new(), told: Vec::new() }
    }

    async fn batch(&mut self) {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv()).await;
        let batch = batch.expect("nothing came").expect("the source ended");
        let touched = batch.iter().any(|change| match change {
            Change::Upsert(object, _) => object.kind() == Kind::Service,
            Change::Delete(key) | Change::Invalid(key, ..) => key.kind == Kind::Service,
            Change::Replace(kind, _) => *kind == Kind::Service,
            Change::Synced(_) | Change::Unavailable(..) | Change::Place(..) => false,
        });
        self.told.extend(batch.iter().filter_map(|change| match change {
            Change::Unavailable(kind, reason) => Some((*kind, reason.clone())),
            _ => None,
        }));
        self.store.apply_all(batch);
        if touched {
            self.history.push(self.names(Kind::Service));
        }
    }

    async fn until(&mut self, done: impl Fn(&Store) -> bool) {
        while !done(&self.store) {
            self.batch().await;
        }
    }

    async fn synced(&mut self, kind: Kind) {
        self.until(|store| store.watches()[&kind] == Watch::Synced).await;
    }

    /// Waits until the kind is out of reach and says why.
    async fn unavailable(&mut self, kind: Kind) -> String {
        self.until(|store| matches!(store.watches()[&kind], Watch::Unavailable(_))).await;
        match &self.store.watches()[&kind] {
            Watch::Unavailable(reason) => reason.clone(),
            watch => panic!("{watch:?}"),
        }
    }

    /// Names, with a `!` behind those that cannot be used.
    fn names(&self, kind: Kind) -> Vec<String> {
        let name = |(key, entry): (&ObjectKey, &headgate::store::Entry)| {
            format!("{}{}", key.name, if entry.object.is_some() { "" } else { "!" })
        };
        self.store.all(kind).map(name).collect()
    }

    async fn stop(mut self) {
        self.batches.close();
        while self.batches.recv().await.is_some() {}
        self.task.await.unwrap();
    }
}

fn object(name: &str, version: &str, fields: Value) -> Value {
    let mut object = json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": version}});
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

fn service(name: &str, version: &str) -> Value {
    object(name, version, json!({"spec": {"ports": [{"port": 80}]}}))
}

fn route(name: &str, rules: Value) -> Value {
    let fields = json!({"apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "spec": {"rules": rules}});
    object(name, "1", fields)
}

fn secret(name: &str, kind: &str) -> Value {
    object(name, "9", json!({"type": kind, "data": {"tls.crt": "Qw==", "tls.key": "Sw=="}}))
}

fn list(names: &[&str]) -> Reply {
    Reply::List(names.iter().map(|name| service(name, "1")).collect(), "10".into(), None)
}

/// F-04: between the old list and the new one there is no moment with less than either.
#[tokio::test]
async fn a_relist_replaces_in_one_step() {
    let faults = Faults::start().await;
    let gate = Arc::new(Notify::new());
    faults.script(
        "services",
        [
            list(&["a", "b"]),
            Reply::Watch(vec![failure(410)], End::Close),
            Reply::List(vec![service("b", "20")], "20".into(), Some("more")),
            Reply::Held(gate.clone(), Box::new(Reply::List(vec![service("c", "20")], "20".into(), None))),
            Reply::Watch(vec![event("ADDED", service("d", "21"))], End::Stall),
        ],
    );
    let mut bench = Bench::start(&faults, settings());
    bench.until(Store::is_synced).await;
    assert_eq!(bench.names(Kind::Service), ["a", "b"]);
    // The first page is here and the second is not: nothing has changed yet, and other kinds go on.
    gate.notify_one();
    bench.until(|store| store.all(Kind::Service).count() == 3).await;
    assert_eq!(bench.history, [vec!["a", "b"], vec!["b", "c"], vec!["b", "c", "d"]]);
    faults.finished().await;
    bench.stop().await;
}

/// F-03: each kind has its own fate, told in words that say what to do.
#[tokio::test]
async fn kinds_fail_and_recover_alone() {
    let faults = Faults::start().await;
    faults.script("services", [list(&["a"])]);
    faults.script("gatewayroutes", [Reply::Status(404), Reply::Status(404)]);
    faults.script("ingresses", [Reply::Status(403)]);
    faults.script("referencegrants", [Reply::Status(404)]);
    faults.script("secrets", [Reply::Status(401)]);
    let gate = Arc::new(Notify::new());
    let held = Reply::Held(gate.clone(), Box::new(Reply::List(Vec::new(), "1".into(), None)));
    faults.script("endpointslices", [held]);
    let mut bench = Bench::start(&faults, settings());
    let reasons = [
        (Kind::GatewayRoute, "CRD gatewayroutes.headgate.dev is not installed; apply crds/"),
        (Kind::Ingress, "not allowed to list ingresses.networking.k8s.io in the whole cluster; the ClusterRole needs"),
        (Kind::ReferenceGrant, "CRD referencegrants.gateway.networking.k8s.io is not installed, so no reference"),
        (Kind::Secret, "the API server does not accept our credentials, to list secrets"),
    ];
    for (kind, reason) in reasons {
        while !bench.told.iter().any(|(told, words)| *told == kind && words.starts_with(reason)) {
            bench.batch().await;
        }
    }
    bench.synced(Kind::Service).await;
    assert_eq!(bench.names(Kind::Service), ["a"]);
    // A kind that is only slow holds the start up; those out of reach do not.
    assert!(!bench.store.is_synced());
    gate.notify_one();
    for kind in Kind::LISTED {
        bench.synced(kind).await;
    }
    assert!(bench.store.is_synced());
    faults.finished().await;
    bench.stop().await;
}

/// F-03: a server that only fails to answer is awaited, however often it fails; serving without the kind would be
/// wrong. Afterwards a failure costs nothing that is known.
#[tokio::test]
async fn a_failing_server_is_awaited_and_then_outlived() {
    let faults = Faults::start().await;
    let failures = || [500, 429, 503, 500, 500].map(Reply::Status);
    let mut script: Vec<Reply> = failures().into();
    script.extend([list(&["a"]), Reply::Watch(Vec::new(), End::Cut)]);
    script.extend(failures());
    script.extend([list(&["a", "b"])]);
    faults.script("services", script);
    let mut bench = Bench::start(&faults, settings());
    bench.synced(Kind::Service).await;
    assert_eq!(bench.history, [["a"]], "told nothing before the first list");
    let reason = bench.unavailable(Kind::Service).await;
    assert!(reason.starts_with("cannot watch services: "), "{reason}");
    assert_eq!(bench.names(Kind::Service), ["a"]);
    bench.synced(Kind::Service).await;
    assert_eq!(bench.names(Kind::Service), ["a", "b"]);
    faults.finished().await;
    bench.stop().await;
}

/// F-05: whatever shape an object has, the others of its list are there.
#[tokio::test]
async fn a_bad_object_is_guarded() {
    let faults = Faults::start().await;
    let good = json!([{"backendRefs": [{"name": "s", "port": 80}]}]);
    let mut odd = route("odd", good.clone());
    odd["metadata"]["labels"] = json!("none");
    let events =
        vec![event("MODIFIED", route("good", json!({"no": "list"}))), event("ADDED", route("late", good.clone()))];
    let items = vec![route("bad", json!("none")), route("good", good), odd, json!({"metadata": {}}), json!("text")];
    faults.script("gatewayroutes", [Reply::List(items, "1".into(), None), Reply::Watch(events, End::Stall)]);
    let mut bench = Bench::start(&faults, settings());
    bench.synced(Kind::GatewayRoute).await;
    assert_eq!(bench.names(Kind::GatewayRoute), ["bad!", "good", "odd!"]);
    bench.until(|store| store.all(Kind::GatewayRoute).count() == 4).await;
    assert_eq!(bench.names(Kind::GatewayRoute), ["bad!", "good!", "late", "odd!"]);
    let bad = bench.store.get(&ObjectKey::new(Kind::GatewayRoute, "shop", "bad")).unwrap();
    assert_eq!(bad.findings[0].field, "spec.rules");
    bench.stop().await;
}

/// F-04: a connection that says nothing any more is given up, at each stage at which it can fall silent.
#[tokio::test]
async fn silence_is_given_up() {
    let faults = Faults::start().await;
    faults.script(
        "services",
        [
            Reply::Hang,
            list(&["a"]),
            Reply::Hang,
            Reply::Watch(vec![event("ADDED", service("b", "11"))], End::Stall),
            Reply::Watch(vec![event("ADDED", service("c", "12"))], End::Stall),
        ],
    );
    let settings =
        Settings { list_timeout: Duration::from_millis(100), watch_timeout: Duration::from_secs(1), ..settings() };
    let mut bench = Bench::with(faults.client(Duration::from_millis(700)), settings);
    bench.until(|store| store.all(Kind::Service).count() == 3).await;
    assert_eq!(bench.history, [vec!["a"], vec!["a", "b"], vec!["a", "b", "c"]]);
    bench.stop().await;
}

/// A watch goes on where the last event or bookmark left it, without a list.
#[tokio::test]
async fn a_watch_resumes_at_the_last_bookmark() {
    let faults = Faults::start().await;
    faults.script(
        "services",
        [
            list(&["a"]),
            Reply::Watch(vec![event("ADDED", service("b", "11")), bookmark("50")], End::Close),
            Reply::Watch(vec![event("MODIFIED", service("a", "51")), event("DELETED", service("b", "52"))], End::Close),
            Reply::Watch(vec![event("ADDED", service("c", "53"))], End::Stall),
        ],
    );
    let mut bench = Bench::start(&faults, settings());
    bench.until(|store| store.get(&ObjectKey::new(Kind::Service, "shop", "c")).is_some()).await;
    assert_eq!(bench.names(Kind::Service), ["a", "c"]);
    let starts = ["resourceVersion=10", "resourceVersion=50", "resourceVersion=52"];
    let requests = faults.requests("services");
    assert_eq!(requests.len(), 4, "{requests:?}");
    for (request, start) in requests.iter().skip(1).zip(starts) {
        assert!(request.contains(start) && request.contains("timeoutSeconds=60"), "{request}");
    }
    bench.stop().await;
}

/// Events that make no sense in their order leave the state that the last of them says.
#[tokio::test]
async fn events_out_of_order_end_in_what_the_last_one_says() {
    let faults = Faults::start().await;
    let events = vec![
        event("DELETED", service("never", "11")),
        event("MODIFIED", service("b", "13")),
        event("ADDED", service("b", "12")),
        event("DELETED", service("a", "14")),
        event("DELETED", service("a", "14")),
        event("ADDED", service("end", "15")),
    ];
    faults.script("services", [list(&["a"]), Reply::Watch(events, End::Stall)]);
    let mut bench = Bench::start(&faults, settings());
    bench.until(|store| store.get(&ObjectKey::new(Kind::Service, "shop", "end")).is_some()).await;
    assert_eq!(bench.names(Kind::Service), ["b", "end"]);
    bench.stop().await;
}

/// Only TLS Secrets are listed, and those asked for are answered for, also while the watch is broken.
#[tokio::test]
async fn wanted_secrets_are_answered_for() {
    let faults = Faults::start().await;
    faults.script("secrets", [Reply::List(vec![secret("a", "kubernetes.io/tls")], "1".into(), None)]);
    faults.script("secrets/b", [Reply::Status(500), Reply::Object(secret("b", "kubernetes.io/tls"))]);
    faults.script("secrets/opaque", [Reply::Object(secret("opaque", "Opaque"))]);
    faults.script("secrets/forbidden", [Reply::Status(403)]);
    let mut bench = Bench::start(&faults, settings());
    bench.until(Store::is_synced).await;
    assert!(faults.requests("secrets").iter().all(|it| it.contains("fieldSelector=type%3Dkubernetes.io%2Ftls")));

    let key = |name: &str| ObjectKey::new(Kind::Secret, "shop", name);
    assert_eq!(bench.store.retain(&[].into(), &References::default()), []);
    assert_eq!(bench.names(Kind::Secret), [""; 0]);
    let names = ["absent", "b", "forbidden", "opaque"];
    let wanted = bench.store.retain(&names.map(key).into(), &References::default());
    assert_eq!(wanted, names.map(key));
    for key in wanted {
        bench.wanted.certificates.send(key).await.unwrap();
    }
    bench.until(|store| store.get(&key("b")).is_some()).await;
    assert_eq!(bench.names(Kind::Secret), ["b"]);
    let Some(Object::Secret(secret)) = &bench.store.get(&key("b")).unwrap().object else { panic!() };
    assert_eq!(secret.data.as_ref().unwrap()["tls.key"].0, b"K");
    faults.finished().await;
    bench.stop().await;
}

/// What the scripted cluster holds, and how it came to it.
struct Model {
    random: u64,
    requests: u32,
    version: u64,
    names: BTreeSet<String>,
    /// Every event since the beginning, with its version.
    log: Vec<(u64, Value)>,
}

impl Model {
    /// xorshift64: any fixed sequence will do, as long as a failing one can be run again.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn mutate(&mut self) {
        self.version += 1;
        let name = format!("s{}", self.below(6));
        let object = service(&name, &self.version.to_string());
        let kind = if self.names.remove(&name) {
            "DELETED"
        } else {
            self.names.insert(name);
            "ADDED"
        };
        self.log.push((self.version, event(kind, object)));
    }

    fn list(&self) -> Reply {
        let version = self.version.to_string();
        Reply::List(self.names.iter().map(|name| service(name, &version)).collect(), version, None)
    }

    /// What has happened since the version that the request names.
    fn events(&self, query: &str) -> Vec<Value> {
        let since = query.split('&').find_map(|it| it.strip_prefix("resourceVersion=")).unwrap();
        let since: u64 = since.parse().unwrap();
        self.log.iter().filter(|(version, _)| *version > since).map(|(_, event)| event.clone()).collect()
    }

    fn answer(&mut self, watching: bool, query: &str) -> Reply {
        self.requests += 1;
        if self.requests > 120 {
            // One last change, so that there is something to wait for after the last fault.
            if self.names.insert("end".to_owned()) {
                self.version += 1;
                self.log.push((self.version, event("ADDED", service("end", &self.version.to_string()))));
            }
            let events = if watching { self.events(query) } else { Vec::new() };
            return if watching { Reply::Watch(events, End::Stall) } else { self.list() };
        }
        for _ in 0..self.below(4) {
            self.mutate();
        }
        let fault = self.below(10);
        match (watching, fault) {
            (_, 0) => Reply::Status(500),
            (_, 1) => Reply::Status(429),
            (_, 2) => Reply::Status(410),
            (false, _) => self.list(),
            (true, 3) => Reply::Watch(vec![failure(410)], End::Close),
            (true, 4) => Reply::Watch(vec![failure(500)], End::Close),
            (true, 5) => Reply::Watch(Vec::new(), End::Cut),
            (true, 6 | 7) => {
                // Some of what has happened, and then the connection breaks.
                let mut events = self.events(query);
                events.truncate(usize::try_from(self.below(3)).unwrap());
                Reply::Watch(events, End::Cut)
            }
            (true, _) => Reply::Watch(self.events(query), End::Close),
        }
    }
}

/// F-04: whatever sequence of faults, what is always there is never missing, and the end is the truth.
#[tokio::test]
async fn any_sequence_of_faults_ends_in_the_truth() {
    for seed in 1..=20 {
        let names = BTreeSet::from(["always".to_owned()]);
        let model = Model { random: seed * 0x9E37_79B9, requests: 0, version: 1, names, log: Vec::new() };
        let model = Arc::new(Mutex::new(model));
        let faults = Faults::start().await;
        let answering = model.clone();
        faults.answer("services", Box::new(move |watching, query| answering.lock().unwrap().answer(watching, query)));
        let quick =
            Settings { first_retry: Duration::from_millis(1), last_retry: Duration::from_millis(2), ..settings() };
        let mut bench = Bench::start(&faults, quick);
        bench.until(|store| store.get(&ObjectKey::new(Kind::Service, "shop", "end")).is_some()).await;
        let truth: Vec<_> = model.lock().unwrap().names.iter().cloned().collect();
        assert_eq!(bench.names(Kind::Service), truth, "seed {seed}");
        assert!(bench.history.iter().all(|names| names.contains(&"always".to_owned())), "seed {seed}");
        bench.stop().await;
    }
}

/// With one namespace to watch, what lives in namespaces is asked for there and the rest everywhere.
#[tokio::test]
async fn one_namespace_is_watched_alone() {
    let faults = Faults::start().await;
    faults.script("services", [Reply::Status(403)]);
    let mut bench = Bench::start(&faults, Settings { namespace: Some("shop".to_owned()), ..settings() });
    let reason = bench.unavailable(Kind::Service).await;
    assert!(reason.starts_with("not allowed to list services in namespace shop; the Role needs"), "{reason}");
    bench.until(Store::is_synced).await;
    bench.stop().await;
}

/// Nobody receives: the source ends, and its watches with it.
#[tokio::test]
async fn ends_when_nobody_receives() {
    let faults = Faults::start().await;
    let mut bench = Bench::start(&faults, settings());
    bench.until(Store::is_synced).await;
    bench.stop().await;
}

// === against the real API server ===

/// A certificate and key that no one will parse, in the only place where their form is not looked at: the API server
/// does not check it, and this source only carries them.
const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: tls, namespace: NS}, type: kubernetes.io/tls, \
                      stringData: {tls.crt: C, tls.key: K}}";

fn declared(namespace: &str) -> String {
    [
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: NS}, spec: {ports: [{port: 80}]}}",
        "{apiVersion: headgate.dev/v1alpha1, kind: GatewayRoute, metadata: {name: shop, namespace: NS}, \
         spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}}",
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: site, namespace: NS}, \
         spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: NS, \
         labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.1.2.3]}]}",
        "{apiVersion: v1, kind: Secret, metadata: {name: opaque, namespace: NS}, stringData: {a: b}}",
        SECRET,
    ]
    .join("\n---\n")
    .replace("NS", namespace)
}

#[tokio::test]
async fn follows_the_real_api_server() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("source");
    let settings = Settings { namespace: Some(namespace.clone()), ..Settings::default() };
    let mut bench = Bench::with(cluster.client().await, settings);
    bench.until(Store::is_synced).await;
    // Everything that is installed is synced without a complaint.
    assert_eq!(bench.store.unavailable().collect::<Vec<_>>(), []);

    cluster.apply(&declared(&namespace));
    let kinds = [Kind::Service, Kind::GatewayRoute, Kind::Ingress, Kind::EndpointSlice, Kind::Secret];
    let here = |store: &Store, kind: Kind, name: &str| {
        store.get(&ObjectKey::new(kind, &namespace, name)).is_some_and(|entry| {
            assert_eq!(entry.findings, [], "{kind} {name}");
            entry.object.is_some()
        })
    };
    let names = ["web", "shop", "site", "web-1", "tls"];
    bench.until(|store| kinds.iter().zip(names).all(|(kind, name)| here(store, *kind, name))).await;
    assert_eq!(bench.names(Kind::Secret), ["tls"]);

    // Dropped for want of a reference, changed meanwhile, asked for again.
    let tls = ObjectKey::new(Kind::Secret, &namespace, "tls");
    assert_eq!(bench.store.retain(&[].into(), &References::default()), []);
    cluster.apply(&SECRET.replace("NS", &namespace).replace("tls.key: K", "tls.key: L"));
    assert_eq!(bench.store.retain(&[tls.clone()].into(), &References::default()), std::slice::from_ref(&tls));
    bench.wanted.certificates.send(tls.clone()).await.unwrap();
    let key = |store: &Store| match &store.get(&tls)?.object {
        Some(Object::Secret(secret)) => Some(secret.data.as_ref()?["tls.key"].0.clone()),
        _ => None,
    };
    bench.until(|store| key(store).is_some_and(|key| key == b"L")).await;

    cluster.kubectl_ok(&["delete", "gatewayroute", "shop", "-n", &namespace]);
    bench.until(|store| store.get(&ObjectKey::new(Kind::GatewayRoute, &namespace, "shop")).is_none()).await;
    bench.stop().await;
}

/// A service account that may read nothing is told, kind by kind, what it needs.
#[tokio::test]
async fn says_what_rbac_must_allow() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rbac");
    let kubeconfig = Kubeconfig::read_from(cluster.token_for("reader", &namespace)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let settings = Settings::default();
    let client = kube::Client::try_from(kubernetes::bounded(config, &settings)).unwrap();
    let mut bench = Bench::with(client, settings);
    let reason = bench.unavailable(Kind::EndpointSlice).await;
    let expected = "not allowed to list endpointslices.discovery.k8s.io in the whole cluster; the ClusterRole needs \
                    get, list and watch on endpointslices.discovery.k8s.io";
    assert!(reason.starts_with(expected), "{reason}");
    bench.stop().await;
}
