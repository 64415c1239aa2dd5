//! The real binary as the ingress of the real API server: from what kubectl applies to what curl gets.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use serde_json::Value;

use crate::harness::cluster::Cluster;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get_host;
use crate::harness::redis::Redis;
use crate::harness::run::headgate;

/// A `headgate echo` on an address that an EndpointSlice may hold; it ends with this.
struct Echo(Child);

impl Echo {
    fn at(ip: &str) -> Self {
        let address: SocketAddr = format!("{ip}:8080").parse().unwrap();
        let child = Command::new(binary())
            .args(["echo", "--listen", &address.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs exactly the permissions that the project ships, once, and gives credentials that have them.
fn credentials(cluster: &Cluster) -> std::path::PathBuf {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let rbac = fs::read_to_string("manifests/rbac.yaml").unwrap();
        cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: headgate}}\n---\n{rbac}"));
        // Replicas of another class than the default one share a Lease of that class's name.
        let leases = ["served", "leaders", "ours", "theirs", "broken", "limited"]
            .map(|class| format!("headgate-leader-{class}"));
        cluster.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: test-leases, namespace: \
             headgate}}\nrules: [{{apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [{}], verbs: \
             [get, update]}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: \
             test-leases, namespace: headgate}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: \
             test-leases}}\nsubjects: [{{kind: ServiceAccount, name: headgate, namespace: headgate}}]\n",
            leases.join(", ")
        ));
    });
    cluster.token_for("headgate", "headgate")
}

fn class(cluster: &Cluster, name: &str) {
    cluster.apply(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}}}\nspec: {{controller: \
         headgate.dev/ingress-controller}}\n"
    ));
}

fn json(cluster: &Cluster, namespace: &str, arguments: &[&str]) -> Value {
    let arguments = [&["-n", namespace, "get", "-o", "json", "--show-managed-fields"], arguments].concat();
    serde_json::from_str(&cluster.kubectl_ok(&arguments)).unwrap()
}

fn wait_for(cluster: &Cluster, namespace: &str, condition: &str, objects: &[impl AsRef<str>]) {
    let condition = format!("--for={condition}");
    let mut arguments = vec!["-n", namespace, "wait", &condition, "--timeout=30s"];
    arguments.extend(objects.iter().map(AsRef::as_ref));
    cluster.kubectl_ok(&arguments);
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// With the permissions that the project ships and no others: an Ingress over TLS whose endpoints the real controller
/// keeps, a GatewayRoute whose EndpointSlice was written by hand, their status, and what follows when pods change.
#[test]
fn what_a_cluster_declares_is_served() {
    let cluster = Cluster::shared();
    let kubeconfig = credentials(cluster);
    let namespace = cluster.namespace("served");
    class(cluster, "served");
    let (_first, _second) = (Echo::at("10.244.0.21"), Echo::at("10.244.0.22"));
    cluster.pod(&namespace, "web-1", &[("app", "web")], "10.244.0.21", true);
    cluster.pod(&namespace, "web-2", &[("app", "web")], "10.244.0.22", false);

    let host = "web.example.com";
    let certificate = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let indented = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (chain, key) = (indented(certificate.cert.pem()), indented(certificate.signing_key.serialize_pem()));
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, certificate.cert.pem()).unwrap();

    let gateway = Gateway::in_cluster(
        &kubeconfig,
        "headgate",
        &["--ingress-class", "served", "--publish-address", "203.0.113.9"],
    );
    gateway.wait_until_ready();
    cluster.apply(&format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: web-tls, namespace: {namespace}}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{chain}
  tls.key: |
{key}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, namespace: {namespace}}}
spec:
  ingressClassName: served
  tls: [{{hosts: [{host}], secretName: web-tls}}]
  rules:
    - host: {host}
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{name: http}}}}}}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: by-hand, namespace: {namespace}}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: by-hand, namespace: {namespace}, labels: {{kubernetes.io/service-name: by-hand}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: [10.244.0.22]}}]
---
apiVersion: headgate.dev/v1alpha1
kind: GatewayRoute
metadata: {{name: shop, namespace: {namespace}}}
spec:
  ingressClassName: served
  hostnames: [shop.example.com]
  rules:
    - name: orders
      matches: [{{path: {{type: Template, value: "/orders/:id"}}}}]
      filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceTemplate, replaceTemplate: "/v2/:id"}}}}}}]
      backendRefs: [{{name: by-hand, port: 80}}]
"#
    ));

    wait_for(cluster, &namespace, "condition=Programmed", &["gwr/shop"]);
    let seen = get_host(gateway.http, "shop.example.com", "/orders/42").unwrap();
    assert_eq!((seen.status, seen.json()["path"].as_str()), (200, Some("/v2/42")));

    let address = "jsonpath={.status.loadBalancer.ingress[0].ip}=203.0.113.9";
    wait_for(cluster, &namespace, address, &["ingress/web"]);
    gateway.wait_until("the pod's endpoint is served", || {
        get_host(gateway.http, host, "/").is_ok_and(|response| response.status == 200)
    });
    let port = gateway.https.port();
    let resolve = format!("{host}:{port}:127.0.0.1");
    let url = format!("https://{host}:{port}/over/tls");
    for version in ["--http1.1", "--http2"] {
        let body = curl(&["--cacert", authority.to_str().unwrap(), "--resolve", &resolve, version, &url]);
        let seen: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(seen["path"], "/over/tls", "{version}");
        assert_eq!(seen["headers"]["x-forwarded-proto"], "https", "{version}");
    }

    // The ready pod goes and the other one comes: the route follows without being touched.
    let generation = gateway.generation();
    cluster.pod_status(&namespace, "web-2", "10.244.0.22", true);
    cluster.kubectl_ok(&["-n", &namespace, "delete", "pod", "web-1", "--force", "--grace-period=0"]);
    drop(_first);
    gateway.wait_until("only the second pod is served", || {
        (0..4).all(|_| get_host(gateway.http, host, "/").is_ok_and(|response| response.status == 200))
    });
    assert_eq!(gateway.generation(), generation, "endpoints change no table");

    // Without endpoints the route stays and says so.
    cluster.kubectl_ok(&["-n", &namespace, "delete", "pod", "web-2", "--force", "--grace-period=0"]);
    gateway.wait_until("no endpoint is left", || {
        get_host(gateway.http, host, "/").is_ok_and(|response| response.status == 503)
    });
}

/// Two replicas, one lease: who holds it is seen with kubectl, a stopped leader hands it over, and the successor writes.
#[test]
fn a_stopped_leader_hands_over() {
    let cluster = Cluster::shared();
    let kubeconfig = credentials(cluster);
    let namespace = cluster.namespace("leaders");
    class(cluster, "leaders");
    let flags = ["--ingress-class", "leaders", "--drain-delay", "0s"];
    let holder = || {
        let lease = json(cluster, "headgate", &["lease", "headgate-leader-leaders"]);
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let mut first = Gateway::in_cluster(&kubeconfig, "headgate", &flags);
    first.wait_until_ready();
    first.wait_until("it leads", || first.metrics().contains("headgate_leader 1"));
    let before = holder();
    let second = Gateway::in_cluster(&kubeconfig, "headgate", &flags);
    second.wait_until_ready();
    assert!(second.metrics().contains("headgate_leader 0"), "only one leads");

    first.signal("TERM");
    assert_eq!(first.exit_code(), Some(0));
    second.wait_until("the other one leads", || second.metrics().contains("headgate_leader 1"));
    assert_ne!(holder(), before);
    cluster.apply(&format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: late, namespace: {namespace}}}\nspec: \
         {{ingressClassName: leaders, rules: [{{filters: [{{type: DirectResponse, directResponse: {{statusCode: \
         204}}}}]}}]}}\n"
    ));
    wait_for(cluster, &namespace, "condition=Programmed", &["gwr/late"]);
}

/// What belongs to another class is neither served nor written to.
#[test]
fn another_class_is_left_alone() {
    let cluster = Cluster::shared();
    let kubeconfig = credentials(cluster);
    let namespace = cluster.namespace("classes");
    class(cluster, "ours");
    class(cluster, "theirs");
    let object = |name: &str, class: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {{ingressClassName: {class}, hostnames: [{name}.example.com], rules: [{{filters: \
             [{{type: DirectResponse, directResponse: {{statusCode: 200, body: {name}}}}}]}}]}}\n"
        )
    };
    cluster.apply(&(object("mine", "ours") + &object("foreign", "theirs")));
    let ours = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", "ours"]);
    let theirs = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", "theirs"]);
    wait_for(cluster, &namespace, "condition=Programmed", &["gwr/mine"]);
    wait_for(cluster, &namespace, "condition=Programmed", &["gwr/foreign"]);
    for (gateway, served, not_served) in [(&ours, "mine", "foreign"), (&theirs, "foreign", "mine")] {
        gateway.wait_until_ready();
        gateway.wait_until("its own route is served", || {
            get_host(gateway.http, &format!("{served}.example.com"), "/").is_ok_and(|response| response.status == 200)
        });
        assert_eq!(get_host(gateway.http, &format!("{not_served}.example.com"), "/").unwrap().status, 404);
    }
    for (name, writer, other) in
        [("mine", "headgate-ours", "headgate-theirs"), ("foreign", "headgate-theirs", "headgate-ours")]
    {
        let object = json(cluster, &namespace, &["gwr", name]);
        let managers: Vec<&str> = object["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| entry["manager"].as_str())
            .collect();
        assert!(managers.contains(&writer) && !managers.contains(&other), "{name}: {managers:?}");
    }
}

/// Nothing listens and nobody is told that it is ready before every kind has been listed.
#[test]
fn nothing_listens_before_the_cluster_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    // Nothing listens on port 1.
    fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: \
         'http://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n",
    )
    .unwrap();
    let mut gateway = Gateway::in_cluster(&kubeconfig, "default", &[]);
    let ready = crate::harness::http::get(gateway.admin, "/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("Ingress") && ready.text().contains("GatewayRoute"), "{}", ready.text());
    assert_eq!(crate::harness::http::get(gateway.admin, "/livez").unwrap().status, 200);
    for address in [gateway.http, gateway.https] {
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), Some(0));
}

/// `kubectl explain` knows every field of both kinds.
#[test]
fn kubectl_explains_every_field() {
    let cluster = Cluster::shared();
    for (kind, file) in [
        ("gatewayroute", "crds/gatewayroutes.headgate.dev.yaml"),
        ("ratelimitpolicy", "crds/ratelimitpolicies.headgate.dev.yaml"),
    ] {
        let crd: Value = serde_yaml::from_str(&fs::read_to_string(Path::new(file)).unwrap()).unwrap();
        let mut fields = Vec::new();
        properties(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut fields);
        assert!(fields.len() > 40, "{kind}: {}", fields.len());
        let told = cluster.kubectl_ok(&["explain", kind, "--recursive"]);
        let told: std::collections::HashSet<&str> =
            told.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let missing: Vec<&String> = fields.iter().filter(|field| !told.contains(field.as_str())).collect();
        assert!(missing.is_empty(), "{kind}: {missing:?}");
        let field = cluster.kubectl_ok(&["explain", &format!("{kind}.spec")]);
        assert!(field.contains("DESCRIPTION") && !field.contains("<no description>"), "{field}");
    }
}

fn properties(schema: &Value, into: &mut Vec<String>) {
    if let Some(map) = schema["properties"].as_object() {
        for (name, inner) in map {
            into.push(name.clone());
            properties(inner, into);
        }
    }
    if schema["items"].is_object() {
        properties(&schema["items"], into);
    }
}

/// Objects that the API server admits and that cannot be served as declared: each is told in its own status by field and
/// remedy, and the good ones among them are served as if they were alone.
#[test]
fn broken_objects_are_told_and_hurt_nobody() {
    let cluster = Cluster::shared();
    let kubeconfig = credentials(cluster);
    let namespace = cluster.namespace("broken");
    class(cluster, "broken");
    let route = |name: &str, rule: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {{ingressClassName: broken, hostnames: [{name}.example.com], rules: [{rule}]}}\n"
        )
    };
    let answer = "filters: [{type: DirectResponse, directResponse: {statusCode: 200, body: fine}}]";
    // A rule, the condition that it turns false, and the field that its message must name.
    let mistakes = [
        ("{backendRefs: [{name: nowhere, port: 80}]}", "ResolvedRefs", "backendRefs[0].name"),
        ("{backendRefs: [{name: nowhere, namespace: kube-system, port: 80}]}", "ResolvedRefs", "backendRefs[0]"),
        (
            "{matches: [{path: {type: RegularExpression, value: '('}}], backendRefs: [{name: nowhere, port: 80}]}",
            "Accepted",
            "matches[0].path",
        ),
        ("{retry: {backoff: 1s, maxBackoff: 100ms}, backendRefs: [{name: nowhere, port: 80}]}", "Accepted", "retry"),
        (
            "{compression: {algorithms: [gzip], contentTypes: [text/event-stream]}, backendRefs: [{name: nowhere, port: 80}]}",
            "Accepted",
            "compression.contentTypes[0]",
        ),
    ];
    let mut yaml = String::new();
    for number in 0..10 {
        yaml += &route(&format!("good-{number}"), &format!("{{{answer}}}"));
        for (kind, (rule, ..)) in mistakes.iter().enumerate() {
            yaml += &route(&format!("broken-{kind}-{number}"), rule);
        }
    }
    cluster.apply(&yaml);
    let gateway = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", "broken"]);
    gateway.wait_until_ready();
    for number in 0..10 {
        let response = get_host(gateway.http, &format!("good-{number}.example.com"), "/").unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "fine"), "good-{number}");
    }
    for (kind, (_, condition, _)) in mistakes.iter().enumerate() {
        let broken: Vec<String> = (0..10).map(|number| format!("gwr/broken-{kind}-{number}")).collect();
        wait_for(cluster, &namespace, &format!("condition={condition}=False"), &broken);
    }
    let objects = json(cluster, &namespace, &["gwr"]);
    for object in objects["items"].as_array().unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap();
        let Some(kind) = name.strip_prefix("broken-") else { continue };
        let (_, condition, field) = mistakes[kind.split_once('-').unwrap().0.parse::<usize>().unwrap()];
        let message = object["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(field), "{name}: {message}");
        assert_eq!(
            get_host(gateway.http, &format!("{name}.example.com"), "/").unwrap().status / 100,
            5 - u16::from(condition == "Accepted" && field.starts_with("matches")),
            "{name}"
        );
    }

    // `check` says the same of the same cluster without serving it, and what becomes of another controller's settings.
    cluster.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller, namespace: {namespace}}}\ndata: \
         {{use-gzip: 'true'}}\n"
    ));
    let settings = format!("{namespace}/controller");
    let check = Command::new(binary())
        .args(["check", "--in-cluster", "-o", "json", "--ingress-class", "broken"])
        .args(["--nginx-configmap", &settings, "--kubeconfig"])
        .arg(&kubeconfig)
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1), "{}", String::from_utf8_lossy(&check.stderr));
    let told: Value = serde_json::from_slice(&check.stdout).unwrap();
    for number in 0..10 {
        for (kind, (.., field)) in mistakes.iter().enumerate() {
            let object = format!("GatewayRoute {namespace}/broken-{kind}-{number}");
            let about = |problem: &&Value| problem["object"] == object.as_str();
            let problem = told["problems"].as_array().unwrap().iter().find(about).unwrap();
            assert!(problem["field"].as_str().unwrap().contains(field), "{object}: {problem}");
        }
    }
    let fields = told["problems"].as_array().unwrap().iter().filter(|problem| problem["code"] == "HG1008");
    let fields: Vec<_> = fields.map(|problem| problem["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["data.use-gzip", "data.hsts", "data.proxy-body-size"]);
}

/// A policy that counts in Redis says whether it can.
#[test]
fn a_policy_says_whether_its_store_is_there() {
    let cluster = Cluster::shared();
    let kubeconfig = credentials(cluster);
    let namespace = cluster.namespace("limited");
    class(cluster, "limited");
    let mut redis = Redis::start();
    let flags = ["--ingress-class", "limited", "--redis-url", &redis.url(), "--redis-timeout", "500ms"];
    let gateway = Gateway::in_cluster(&kubeconfig, "headgate", &flags);
    gateway.wait_until_ready();
    cluster.apply(&format!(
        r#"
apiVersion: headgate.dev/v1alpha1
kind: GatewayRoute
metadata: {{name: shop, namespace: {namespace}}}
spec:
  ingressClassName: limited
  hostnames: [limited.example.com]
  rules: [{{filters: [{{type: DirectResponse, directResponse: {{statusCode: 200}}}}]}}]
---
apiVersion: headgate.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: shop, namespace: {namespace}}}
spec:
  targetRefs: [{{group: headgate.dev, kind: GatewayRoute, name: shop}}]
  limits: [{{name: all, requests: 10, period: 1m, scope: Global}}]
"#
    ));
    let enforced = |field: &str, value: &str| {
        let path = format!("jsonpath={{.status.ancestors[0].conditions[?(@.type==\"Enforced\")].{field}}}={value}");
        wait_for(cluster, &namespace, &path, &["rlp/shop"]);
    };
    enforced("status", "True");
    redis.kill();
    enforced("status", "False");
    enforced("reason", "StoreUnavailable");
    let said = headgate(&["status", "--admin", &format!("http://{}", gateway.admin)]).out;
    assert!(said.contains("HG1507") && said.contains("shop"), "{said}");
    redis.start_again();
    enforced("status", "True");
}

/// What stands between Headgate and its work, asked of the real API server: as somebody who may do everything, with the
/// rights that the project ships, and with none.
#[test]
fn doctor_names_what_a_cluster_lacks() {
    let cluster = Cluster::shared();
    let own = credentials(cluster);
    let namespace = cluster.namespace("examined");
    class(cluster, "examined");
    cluster.apply(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: theirs-alone}}\nspec: {{controller: \
         example.com/other}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: stranger, namespace: \
         {namespace}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: front, namespace: {namespace}}}\nspec: \
         {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
    ));
    let redis = Redis::start();
    let ask = |kubeconfig: &Path, flags: &[&str]| {
        headgate(&[&["doctor", "--kubeconfig", kubeconfig.to_str().unwrap()], flags].concat()).out
    };
    let has = |said: &str, begins: &str| {
        assert!(said.lines().any(|line| line.starts_with(begins)), "no line `{begins}`: {said}");
    };
    // How many files may be open is this machine's.
    let wrong = |said: &str| {
        said.lines().filter(|line| line.starts_with("wrong") && !line.contains("file descriptors")).count()
    };

    let (redis, front) = (redis.url(), format!("{namespace}/front"));
    let all = ask(&cluster.kubeconfig(), &["--ingress-class", "examined", "--redis-url", &redis]);
    for line in [
        "ok     API server: Kubernetes v1.",
        "ok     clock: within ",
        "ok     CRD gatewayroutes.headgate.dev: v1alpha1 is served",
        "ok     CRD ratelimitpolicies.headgate.dev: v1alpha1 is served",
        "ok     may list, watch ingresses: allowed",
        "ok     may get, list, watch secrets: allowed",
        "ok     may patch gatewayroutes/status: allowed",
        "ok     may create, get, update leases: allowed",
        "ok     IngressClass examined: ours",
        "--     Service address: give --publish-service",
        "ok     Redis 127.0.0.1:",
    ] {
        has(&all, line);
    }
    assert_eq!(wrong(&all), 0, "{all}");

    // What a pod has is enough, and what it may not look at is left open.
    let enough = ask(&own, &["--ingress-class", "examined", "--publish-service", &front]);
    for line in [
        "--     CRD gatewayroutes.headgate.dev: it may not be read: ",
        "ok     may list, watch ingresses: allowed",
        "--     may create, get, update leases: not in every namespace",
    ] {
        has(&enough, line);
    }
    has(&enough, &format!("wrong  Service address: {front} has no address yet"));
    assert_eq!(wrong(&enough), 1, "{enough}");

    let stranger = format!("system:serviceaccount:{namespace}:stranger");
    let (token, admin) = (cluster.token_for("stranger", &namespace), cluster.kubeconfig());
    for (kubeconfig, flags) in [(&token, &[][..]), (&admin, &["--as", &stranger])] {
        let none = ask(kubeconfig, flags);
        has(&none, "wrong  may list, watch ingresses: list, watch is not allowed");
        has(&none, "wrong  may patch ingresses/status: patch is not allowed");
        has(&none, "       = help: kubectl apply -f manifests/rbac.yaml");
        has(&none, "--     IngressClass headgate: ");
    }

    let elsewhere = format!("{namespace}/nowhere");
    let names = ask(&admin, &["--ingress-class", "theirs-alone", "--publish-service", &elsewhere]);
    has(&names, "wrong  IngressClass theirs-alone: its controller is example.com/other");
    has(&names, &format!("wrong  Service address: {elsewhere} does not exist"));
    has(&ask(&admin, &["--ingress-class", "nowhere"]), "wrong  IngressClass nowhere: it does not exist");
}
