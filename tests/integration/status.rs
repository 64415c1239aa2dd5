//! What goes back to the cluster, against the real API server and with exactly the rights of `manifests/rbac.yaml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use headgate::api::{GatewayRoute, RateLimitPolicy};
use headgate::compile::{Ancestor, Code, Condition, ConditionType, ObjectReport, Problem, Reason, Report};
use headgate::source::{Kind, ObjectKey};
use headgate::status::address::Publish;
use headgate::status::leader::{self, Leading};
use headgate::status::{self, Settings};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::harness::cluster::Cluster;

/// Far longer than anything here takes; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

// === the test bed: a namespace, the rights, replicas ===

struct Bed {
    cluster: &'static Cluster,
    namespace: String,
    /// An administrator, for looking.
    admin: Client,
    /// Headgate's ServiceAccount.
    account: Client,
}

impl Bed {
    async fn new(prefix: &str) -> Self {
        let cluster = Cluster::shared();
        let namespace = cluster.namespace(prefix);
        let kubeconfig = cluster.token_for("headgate", &namespace);
        cluster.apply(&rights(&namespace));
        // The authoriser watches the bindings, so they count a moment after they were accepted.
        for (verb, resource) in [("create", "leases.coordination.k8s.io"), ("create", "events.events.k8s.io")] {
            let may = ["auth", "can-i", verb, resource, "-n", &namespace];
            assert!((0..500).any(|_| cluster.kubectl_with(&kubeconfig, &may).status.success()), "{may:?}");
        }
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let account = Client::try_from(config).unwrap();
        Self { cluster, namespace, admin: cluster.client().await, account }
    }

    fn settings(&self) -> Settings {
        Settings { namespace: Some(self.namespace.clone()), ..Settings::new("headgate", leader::identity()) }
    }

    /// A replica that leads.
    async fn leader(&self, settings: Settings) -> Replica {
        let mut replica = self.replica(settings);
        in_time("a leader", replica.leading.begun()).await;
        replica
    }

    fn replica(&self, settings: Settings) -> Replica {
        let election = leader::Settings {
            identity: settings.identity.clone(),
            ..leader::Settings::new(&self.namespace, &settings.class)
        };
        let (elected, leading) = leader::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let elect = leader::run(self.account.clone(), election, elected, async {
            let _ = stopped.await;
        });
        let (reports, received) = watch::channel(Arc::default());
        let write = status::run(self.account.clone(), settings, received, leading.clone());
        Replica { leading, reports, stop: Some(stop), election: spawned(elect), writer: spawned(write) }
    }

    /// The object as a tool sees it.
    async fn get(&self, key: &ObjectKey) -> DynamicObject {
        self.api(key.kind).get(&key.name).await.unwrap()
    }

    async fn version(&self, key: &ObjectKey) -> Option<String> {
        self.get(key).await.resource_version()
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let (group, version) = kind.api_version().split_once('/').unwrap();
        let resource = kube::api::ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.as_str()));
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource)
    }

    async fn until(&self, key: &ObjectKey, what: &str, test: impl Fn(&Value) -> bool) {
        let test = |object: Option<&DynamicObject>| object.is_some_and(|object| test(&object.data["status"]));
        in_time(what, await_condition(self.api(key.kind), &key.name, test)).await.unwrap();
    }

    fn key(&self, kind: Kind, name: &str) -> ObjectKey {
        ObjectKey::new(kind, &self.namespace, name)
    }

    fn route(&self, name: &str, class: Option<&str>) -> ObjectKey {
        let mut spec = json!({
            "hostnames": [format!("{name}.example.com")],
            "rules": [{"name": "all", "backendRefs": [{"name": "web", "port": 80}]}],
        });
        if let Some(class) = class {
            spec["ingressClassName"] = json!(class);
        }
        self.declare(Kind::GatewayRoute, name, spec)
    }

    fn ingress(&self, name: &str, class: &str) -> ObjectKey {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        self.declare(Kind::Ingress, name, json!({"ingressClassName": class, "defaultBackend": backend}))
    }

    fn declare(&self, kind: Kind, name: &str, spec: Value) -> ObjectKey {
        let object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        });
        self.cluster.apply(&object.to_string());
        self.key(kind, name)
    }

    /// What `compile` would say of an object of ours.
    async fn verdict(&self, key: &ObjectKey, problems: Vec<Problem>) -> ObjectReport {
        let object = self.get(key).await;
        let status = problems.is_empty();
        let conditions = match key.kind {
            Kind::GatewayRoute => [
                (ConditionType::Accepted, Reason::Accepted),
                (ConditionType::ResolvedRefs, Reason::ResolvedRefs),
                (ConditionType::Programmed, Reason::Programmed),
            ]
            .into_iter()
            .map(|(type_, reason)| Condition {
                type_,
                status,
                reason: if status { reason } else { Reason::Invalid },
                message: problems.first().map_or("fine".to_owned(), ToString::to_string),
            })
            .collect(),
            _ => Vec::new(),
        };
        ObjectReport {
            ours: true,
            generation: object.metadata.generation,
            uid: object.uid(),
            problems,
            conditions,
            ..ObjectReport::default()
        }
    }

    /// All is well with these.
    async fn fine(&self, keys: &[&ObjectKey]) -> Report {
        let mut report = Report::default();
        for key in keys {
            report.put((*key).clone(), Some(self.verdict(key, Vec::new()).await));
        }
        report
    }

    /// Waits until the replica has done all that it was told before, and shows what this report says.
    async fn settled(&self, replica: &Replica, report: &Report, name: &str) {
        let marker = self.route(name, None);
        let mut with_marker = report.clone();
        with_marker.put(marker.clone(), Some(self.verdict(&marker, Vec::new()).await));
        replica.reports.send_replace(Arc::new(with_marker));
        self.until(&marker, "the marker's status", |status| status["conditions"][0]["status"] == "True").await;
        // Several are written at a time, so the marker may be shown before what the report says of others.
        for (key, verdict) in report.objects.iter().filter(|(_, verdict)| verdict.ours) {
            let shows = |status: &Value, wanted: &Condition| {
                status["conditions"].as_array().into_iter().flatten().any(|condition| {
                    condition["type"] == wanted.type_.as_str()
                        && condition["status"] == if wanted.status { "True" } else { "False" }
                        && condition["message"] == wanted.message
                })
            };
            match key.kind {
                Kind::GatewayRoute => {
                    let all = |status: &Value| verdict.conditions.iter().all(|wanted| shows(status, wanted));
                    self.until(key, "what the report says", all).await;
                }
                _ if verdict.conditions.is_empty() => {}
                _ => self.until(key, "a status", |status| status["ancestors"].is_array()).await,
            }
        }
    }

    fn wait_for_programmed(&self, name: &str) {
        let route = format!("gwr/{name}");
        let wait = ["wait", "--for=condition=Programmed", &route, "-n", &self.namespace, "--timeout=60s"];
        self.cluster.kubectl_ok(&wait);
    }

    fn patch_status(&self, object: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let args = ["patch", object, "-n", &self.namespace, "--subresource=status", "--type=merge", "-p", &patch];
        self.cluster.kubectl_ok(&args);
    }
}

/// `manifests/rbac.yaml` for another namespace; what is cluster-wide gets a name of its own.
fn rights(namespace: &str) -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/rbac.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&manifest).map(|document| {
        let mut object = Value::deserialize(document).unwrap();
        if object["metadata"].get("namespace").is_some() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if object["kind"] == "ClusterRoleBinding" {
            object["metadata"]["name"] = json!(format!("headgate-{namespace}"));
        }
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            subject["namespace"] = json!(namespace);
        }
        object.to_string()
    });
    documents.collect::<Vec<_>>().join("\n---\n")
}

fn spawned(task: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    tasks
}

/// One that goes with this value, as a process that is killed.
struct Replica {
    leading: Leading,
    reports: watch::Sender<Arc<Report>>,
    stop: Option<oneshot::Sender<()>>,
    election: JoinSet<()>,
    writer: JoinSet<()>,
}

impl Replica {
    fn publish(&self, report: &Report) {
        self.reports.send_replace(Arc::new(report.clone()));
    }

    /// As SIGTERM does: the election ends in order, and the writer with the process.
    async fn stop(mut self) {
        drop(self.stop.take());
        in_time("the end of the election", self.election.join_next()).await.unwrap().unwrap();
        assert!(!self.leading.holds());
        assert_eq!(self.writer.len(), 1, "the writer waits for the next term");
    }

    /// As SIGKILL does.
    fn kill(self) -> Leading {
        self.leading
    }
}

// === leading ===

#[tokio::test]
async fn a_leader_that_stops_hands_over_before_its_lease_expires() {
    let bed = Bed::new("status-stop").await;
    let first = bed.leader(bed.settings()).await;
    let mut second = bed.replica(bed.settings());
    let leases: Api<Lease> = Api::namespaced(bed.admin.clone(), &bed.namespace);
    let holder = |lease: Lease| lease.spec.and_then(|spec| spec.holder_identity);
    let before = holder(leases.get("headgate-leader").await.unwrap());

    first.stop().await;
    // A lease that is not given back is waited for 15 s.
    tokio::time::timeout(Duration::from_secs(10), second.leading.begun()).await.expect("it was given back");
    let lease = leases.get("headgate-leader").await.unwrap();
    assert_eq!(lease.spec.as_ref().and_then(|spec| spec.lease_transitions), Some(1));
    assert_ne!(holder(lease), before);
}

#[tokio::test]
async fn a_leader_that_is_killed_is_succeeded_when_its_lease_has_expired() {
    let bed = Bed::new("status-kill").await;
    let first = bed.leader(bed.settings()).await;
    let mut second = bed.replica(bed.settings());
    let dead = first.kill();
    tokio::time::timeout(Duration::from_secs(20), second.leading.begun()).await.expect("15 s and one attempt");
    assert!(!dead.holds(), "two lead at once");
}

#[tokio::test]
async fn only_the_leader_writes_and_its_successor_takes_over_what_is_shown() {
    let bed = Bed::new("status-successor").await;
    let route = bed.route("web", None);
    let report = bed.fine(&[&route]).await;
    let first = bed.leader(bed.settings()).await;
    let mut second = bed.replica(bed.settings());

    second.publish(&report);
    bed.settled(&first, &Report::default(), "marker-1").await;
    assert!(bed.get(&route).await.data.get("status").is_none(), "a follower wrote");

    bed.settled(&first, &report, "marker-2").await;
    let shown = bed.version(&route).await;
    first.stop().await;
    in_time("the successor", second.leading.begun()).await;
    bed.settled(&second, &report, "marker-3").await;
    assert_eq!(bed.version(&route).await, shown);
}

// === conditions ===

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_can_wait_for_a_route_to_be_programmed() {
    let bed = Bed::new("status-programmed").await;
    let leader = bed.leader(bed.settings()).await;
    let route = bed.route("web", None);
    leader.publish(&bed.fine(&[&route]).await);
    bed.wait_for_programmed("web");

    let routes: Api<GatewayRoute> = Api::namespaced(bed.admin.clone(), &bed.namespace);
    let written = routes.get("web").await.unwrap();
    let status = written.status.unwrap();
    let shown: Vec<_> =
        status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.observed_generation)).collect();
    assert_eq!(
        shown,
        [("Accepted", "True", Some(1)), ("ResolvedRefs", "True", Some(1)), ("Programmed", "True", Some(1))]
    );
    let fields = written.metadata.managed_fields.unwrap();
    let manager =
        |entry: &'_ ManagedFieldsEntry| [&entry.manager, &entry.operation, &entry.subresource].map(Clone::clone);
    let managers: Vec<_> = fields.iter().map(manager).collect();
    assert!(managers.contains(&["headgate", "Apply", "status"].map(|word| Some(word.to_owned()))), "{managers:?}");
}

#[tokio::test]
async fn what_has_not_changed_is_not_written() {
    let bed = Bed::new("status-quiet").await;
    let leader = bed.leader(bed.settings()).await;
    let (route, ingress) = (bed.route("web", None), bed.ingress("web", "headgate"));
    let report = bed.fine(&[&route, &ingress]).await;
    bed.settled(&leader, &report, "marker-1").await;
    let before = (bed.version(&route).await, bed.version(&ingress).await);
    for _ in 0..3 {
        // Equal, and not the same in memory.
        leader.publish(&bed.fine(&[&route, &ingress]).await);
    }
    bed.settled(&leader, &report, "marker-2").await;
    assert_eq!((bed.version(&route).await, bed.version(&ingress).await), before);
}

#[tokio::test]
async fn a_condition_keeps_its_time_until_its_answer_flips_and_goes_when_it_is_over() {
    let bed = Bed::new("status-flip").await;
    let leader = bed.leader(bed.settings()).await;
    let route = bed.route("web", None);
    let mut report = bed.fine(&[&route]).await;
    let partial = Condition {
        type_: ConditionType::PartiallyInvalid,
        status: true,
        reason: Reason::Invalid,
        message: "1 of 2 rules answer 500: a".to_owned(),
    };
    let mut object = ObjectReport::clone(report.objects.get(&route).unwrap());
    object.conditions.push(partial);
    report.put(route.clone(), Some(object));
    bed.settled(&leader, &report, "marker-1").await;
    let foreign = json!({
        "type": "example.com/Audited", "status": "True", "reason": "Read", "message": "",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    });
    let mut with_foreign = bed.get(&route).await.data["status"]["conditions"].as_array().unwrap().clone();
    // An hour ago, so that a second more or less in this test does not matter.
    for condition in &mut with_foreign {
        condition["lastTransitionTime"] = json!("2020-01-02T00:00:00Z");
    }
    with_foreign.push(foreign.clone());
    bed.patch_status("gwr/web", &json!({"conditions": with_foreign}));

    // The next leader reads what is shown.
    leader.stop().await;
    let leader = bed.leader(bed.settings()).await;
    let mut changed = bed.fine(&[&route]).await;
    let mut object = ObjectReport::clone(changed.objects.get(&route).unwrap());
    object.conditions[1].status = false;
    object.conditions[1].reason = Reason::BackendNotFound;
    object.conditions[2].message = "other words".to_owned();
    object.problems = vec![Problem::new(Code::ServiceNotFound, "spec.rules[0]", "Service x/web does not exist", "")];
    changed.put(route.clone(), Some(object));
    bed.settled(&leader, &changed, "marker-2").await;

    let status = bed.get(&route).await.data["status"].take();
    let shown: BTreeMap<&str, (&str, bool, &str)> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            let text = |field: &str| condition[field].as_str().unwrap();
            let kept = text("lastTransitionTime").starts_with("2020-");
            (text("type"), (text("status"), kept, text("message")))
        })
        .collect();
    assert_eq!(
        shown,
        BTreeMap::from([
            ("Accepted", ("True", true, "fine")),
            ("ResolvedRefs", ("False", false, "fine")),
            ("Programmed", ("True", true, "other words")),
            ("example.com/Audited", ("True", true, "")),
        ])
    );
    assert_eq!(status["message"], "spec.rules[0]: Service x/web does not exist");
}

#[tokio::test]
async fn an_object_made_again_under_its_name_is_told_anew() {
    let bed = Bed::new("status-again").await;
    let leader = bed.leader(bed.settings()).await;
    let route = bed.route("web", None);
    bed.settled(&leader, &bed.fine(&[&route]).await, "marker-1").await;
    bed.cluster.kubectl_ok(&["delete", "gwr", "web", "-n", &bed.namespace]);
    bed.route("web", None);
    bed.settled(&leader, &bed.fine(&[&route]).await, "marker-2").await;
    bed.until(&route, "the new object's status", |status| status["conditions"][0]["status"] == "True").await;
}

#[tokio::test]
async fn a_policy_is_told_at_each_of_its_targets_beside_what_others_say() {
    let bed = Bed::new("status-policy").await;
    let leader = bed.leader(bed.settings()).await;
    let target = |name: &str| json!({"group": "headgate.dev", "kind": "GatewayRoute", "name": name});
    let limit = json!({"name": "all", "algorithm": "TokenBucket", "requests": 100, "period": "1m"});
    let spec = json!({"targetRefs": [target("web"), target("theirs")], "limits": [limit]});
    let policy = bed.declare(Kind::RateLimitPolicy, "limits", spec);
    let others = json!({
        "ancestorRef": {"group": "headgate.dev", "kind": "GatewayRoute", "namespace": bed.namespace, "name": "theirs"},
        "controllerName": "example.com/other",
    });
    bed.patch_status("rlp/limits", &json!({"ancestors": [others]}));

    let accepted = Condition {
        type_: ConditionType::Accepted,
        status: true,
        reason: Reason::Accepted,
        message: "the policy is valid".to_owned(),
    };
    let verdict = ObjectReport {
        conditions: vec![accepted.clone()],
        ancestors: vec![Ancestor { target: 0, name: String::new(), conditions: vec![accepted] }],
        ..bed.verdict(&policy, Vec::new()).await
    };
    let report = [(policy.clone(), verdict)].into_iter().collect();
    leader.publish(&report);
    let two = |status: &Value| status["ancestors"].as_array().is_some_and(|ancestors| ancestors.len() == 2);
    bed.until(&policy, "an entry for each", two).await;
    let policies: Api<RateLimitPolicy> = Api::namespaced(bed.admin.clone(), &bed.namespace);
    let ancestors = policies.get("limits").await.unwrap().status.unwrap().ancestors;
    let names: Vec<_> = ancestors
        .iter()
        .map(|entry| (entry.controller_name.as_str(), entry.ancestor_ref.name.as_str(), entry.conditions.len()))
        .collect();
    assert_eq!(names, [("example.com/other", "theirs", 0), ("headgate.dev/ingress-controller", "web", 1)]);
}

// === whose it is ===

#[tokio::test]
async fn objects_of_another_class_are_not_touched() {
    let bed = Bed::new("status-foreign").await;
    let (route, ingress) = (bed.route("theirs", Some("other")), bed.ingress("theirs", "other"));
    let silent = bed.ingress("nobodys", "none");
    bed.patch_status("ingress/theirs", &json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    let versions = async || (bed.version(&route).await, bed.version(&ingress).await, bed.version(&silent).await);
    let before = versions().await;

    let addresses = ["192.0.2.1".parse().unwrap()].into();
    let leader = bed.leader(Settings { publish: Publish::Addresses(addresses), ..bed.settings() }).await;
    let ours = bed.ingress("ours", "headgate");
    leader.publish(&bed.fine(&[&ours]).await);
    bed.until(&ours, "an address", |status| status["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1").await;
    bed.settled(&leader, &bed.fine(&[&ours]).await, "marker").await;
    assert_eq!(versions().await, before);
}

#[tokio::test]
async fn an_ingress_that_leaves_the_class_loses_what_we_wrote_and_nothing_else() {
    let bed = Bed::new("status-leave").await;
    let addresses = ["192.0.2.1".parse().unwrap()].into();
    let settings = Settings { publish: Publish::Addresses(addresses), ..bed.settings() };
    let leader = bed.leader(settings.clone()).await;
    let [leaves, taken, unserved, later] =
        ["leaves", "taken", "unserved", "later"].map(|name| bed.ingress(name, "headgate"));
    let route = bed.route("web", Some("headgate"));
    let all = [&leaves, &taken, &unserved, &later, &route];
    leader.publish(&bed.fine(&all).await);
    let has = |ip: &'static str| move |status: &Value| status["loadBalancer"]["ingress"][0]["ip"] == ip;
    let empty = |status: &Value| status["loadBalancer"].get("ingress").is_none();
    for key in &all[..4] {
        bed.until(key, "an address", has("192.0.2.1")).await;
    }
    bed.wait_for_programmed_off_thread("web").await;

    bed.ingress("leaves", "other");
    bed.ingress("taken", "other");
    bed.route("web", Some("other"));
    bed.patch_status("ingress/taken", &json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.99"}]}}));
    // Without its IngressClass `unserved` is none of ours for now, and its address stays for when it is back.
    leader.publish(&bed.fine(&[&later]).await);
    bed.until(&leaves, "the address to go", empty).await;
    bed.until(&route, "the conditions to go", |status| status.get("conditions").is_none()).await;
    bed.settled(&leader, &bed.fine(&[&later]).await, "marker").await;
    bed.until(&taken, "another's address to stay", has("192.0.2.99")).await;
    bed.until(&unserved, "its address to stay", has("192.0.2.1")).await;

    // Nothing is cleared by a leader that stops, and what has left meanwhile is found by the next.
    leader.stop().await;
    bed.until(&later, "its address to stay", has("192.0.2.1")).await;
    bed.ingress("later", "other");
    let _next = bed.leader(settings).await;
    bed.until(&later, "the address to go", empty).await;
}

// === addresses ===

#[tokio::test]
async fn an_ingress_shows_the_addresses_of_the_published_service() {
    let bed = Bed::new("status-service").await;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge", "namespace": bed.namespace},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    bed.cluster.apply(&service.to_string());
    let publish = Publish::Service(format!("{}/edge", bed.namespace).parse().unwrap());
    let leader = bed.leader(Settings { publish, ..bed.settings() }).await;
    let ingress = bed.ingress("web", "headgate");
    let report = bed.fine(&[&ingress]).await;
    bed.settled(&leader, &report, "marker").await;
    let api: Api<Ingress> = Api::namespaced(bed.admin.clone(), &bed.namespace);
    let shown = async || serde_json::to_value(api.get("web").await.unwrap().status.unwrap()).unwrap();
    assert_eq!(shown().await, json!({"loadBalancer": {}}), "the load balancer is not there yet");

    let ingresses = |addresses: Value| json!({"loadBalancer": {"ingress": addresses}});
    bed.patch_status("service/edge", &ingresses(json!([{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}])));
    let two = |status: &Value| status["loadBalancer"]["ingress"].as_array().is_some_and(|all| all.len() == 2);
    bed.until(&ingress, "both addresses", two).await;
    assert_eq!(shown().await, ingresses(json!([{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}])));

    bed.patch_status("service/edge", &ingresses(json!([{"ip": "2001:db8::7"}])));
    bed.until(&ingress, "the new one", |status| status["loadBalancer"]["ingress"][0]["ip"] == "2001:db8::7").await;
}

// === Events ===

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_becomes_one_event_whoever_leads() {
    let bed = Bed::new("status-events").await;
    let ingress = bed.ingress("loser", "headgate");
    let conflict = Problem::new(
        Code::PathTaken,
        "spec.rules[0].http.paths[0]",
        "the path / of host a.example.com belongs to Ingress shop/winner, which is older",
        "use another path or host",
    );
    let report_with = async |problems: Vec<Problem>| {
        let verdict = bed.verdict(&ingress, problems).await;
        [(ingress.clone(), verdict)].into_iter().collect::<Report>()
    };
    let first = bed.leader(bed.settings()).await;
    let broken = report_with(vec![conflict.clone()]).await;
    first.publish(&broken);
    bed.until_events(1).await;
    // Gone and back again, and after a change of leaders.
    first.publish(&report_with(Vec::new()).await);
    first.publish(&broken);
    first.stop().await;
    let second = bed.leader(bed.settings()).await;
    let other = Problem::new(Code::UnknownField, "spec.rule", "unknown field", "did you mean rules?");
    second.publish(&report_with(vec![conflict, other]).await);
    bed.until_events(2).await;

    let described = bed.cluster.kubectl_ok(&["describe", "ingress", "loser", "-n", &bed.namespace]);
    let told: Vec<&str> = described.lines().filter(|line| line.contains("HG")).collect();
    assert_eq!(told.len(), 2, "{described}");
    assert_eq!(described.matches("Warning  Conflicted").count(), 1, "{described}");
    assert!(described.contains(
        "HG1104: spec.rules[0].http.paths[0]: the path / of host a.example.com belongs to Ingress shop/winner, which is \
         older; use another path or host"
    ));
}

impl Bed {
    /// Waits until there are so many Events about Ingresses, and asserts that there are not more.
    async fn until_events(&self, count: usize) {
        let events: Api<Event> = Api::namespaced(self.admin.clone(), &self.namespace);
        let of_ingresses = "regarding.kind=Ingress";
        let mut changes = pin!(watcher(events.clone(), watcher::Config::default().fields(of_ingresses)));
        in_time("an Event", async {
            while changes.try_next().await.unwrap().is_some() {
                let listed = events.list(&ListParams::default().fields(of_ingresses)).await.unwrap();
                assert!(listed.items.len() <= count, "{listed:?}");
                if listed.items.len() == count {
                    return;
                }
            }
        })
        .await;
    }

    async fn wait_for_programmed_off_thread(&self, name: &str) {
        let key = self.key(Kind::GatewayRoute, name);
        let programmed = |status: &Value| {
            status["conditions"]
                .as_array()
                .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Programmed"))
        };
        self.until(&key, "Programmed", programmed).await;
    }
}

#[test]
fn rights_are_no_wider_than_said() {
    // A wildcard in a rule grants what nobody has thought of.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/rbac.yaml");
    assert!(!std::fs::read_to_string(manifest).unwrap().contains('*'));
}
