//! What `manifests/` gives people: taken by the real API server without a warning, and rights that are enough and no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::gateway::Gateway;
use crate::harness::http::get_host;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// Every field is known, every rule of the CRDs holds, and nothing is deprecated: kubectl says nothing on stderr.
#[test]
fn manifests_are_taken_without_a_warning() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("manifests");
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("manifests/examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 7, "{files:?}");
    files.sort();
    for file in files {
        let file = file.to_str().unwrap();
        let said = cluster.kubectl(&["-n", &namespace, "apply", "--server-side", "-f", file]);
        let complaint = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && complaint.is_empty(), "{file}: {complaint}");
    }
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: headgate}}");
    for file in ["install.yaml", "rbac.yaml"] {
        let file = root().join("manifests").join(file);
        let said = cluster.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", file.to_str().unwrap()]);
        let complaint = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && complaint.is_empty(), "{}: {complaint}", file.display());
    }
}

/// The rights of `manifests/rbac.yaml` under another name, after `change` has had each role, and credentials that have
/// them. The class is of that name too.
fn rights(cluster: &Cluster, name: &str, mut change: impl FnMut(&mut Vec<Value>)) -> PathBuf {
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: headgate}}");
    let lease = format!("headgate-leader-{name}");
    let mut yaml = String::new();
    for mut object in documents(&root().join("manifests/rbac.yaml")) {
        // The roles of users stay with the install.
        if object["metadata"]["name"] != "headgate" {
            continue;
        }
        object["metadata"]["name"] = name.into();
        for place in ["/roleRef/name", "/subjects/0/name"] {
            if let Some(renamed) = object.pointer_mut(place) {
                *renamed = name.into();
            }
        }
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            change(rules);
            for rule in rules.iter_mut().filter(|rule| rule.get("resourceNames").is_some()) {
                rule["resourceNames"] = json!([lease]);
            }
        }
        yaml += &format!("---\n{object}\n");
    }
    cluster.apply(&yaml);
    cluster.apply(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}}}\nspec: {{controller: \
         headgate.dev/ingress-controller}}\n"
    ));
    cluster.token_for(name, "headgate")
}

fn route(name: &str, namespace: &str, class: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {{ingressClassName: {class}, hostnames: [{name}.{class}.test], rules: [{{filters: [{{type: \
         DirectResponse, directResponse: {{statusCode: 200, body: fine}}}}]}}]}}\n"
    )
}

fn is_served(gateway: &Gateway, host: &str) -> bool {
    get_host(gateway.http, host, "/").is_ok_and(|response| response.status == 200)
}

/// Each rule taken away costs what it is for, which is told, and nothing else.
#[test]
fn a_right_taken_away_costs_what_it_is_for() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rights");
    // The resource whose rule goes, and what the log must say then.
    let cases = [
        ("secrets", "secrets"),
        ("referencegrants", "referencegrants"),
        ("events", "events"),
        ("gatewayroutes/status", "status"),
        ("leases", "leases"),
    ];
    let gateways: Vec<_> = cases
        .iter()
        .map(|(resource, _)| {
            let class = format!("without-{}", resource.replace('/', "-"));
            let has = |rule: &Value| rule["resources"].as_array().unwrap().contains(&Value::from(*resource));
            let kubeconfig = rights(cluster, &class, |rules| rules.retain(|rule| !has(rule)));
            // The second has a problem, which is worth an Event and a status.
            let good = route("good", &namespace, &class).replace("name: good", &format!("name: good-{class}"));
            cluster.apply(
                &(good + &format!(
                    "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: bad-{class}, namespace: \
                     {namespace}}}\nspec: {{ingressClassName: {class}, hostnames: [bad.{class}.test], rules: \
                     [{{backendRefs: [{{name: nowhere, port: 80}}]}}]}}\n"
                )),
            );
            let gateway = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", &class]);
            (class, gateway)
        })
        .collect();
    for ((resource, word), (class, gateway)) in cases.iter().zip(&gateways) {
        gateway.wait_until_ready();
        gateway.wait_until("its route is served", || is_served(gateway, &format!("good.{class}.test")));
        if *resource != "referencegrants" {
            gateway.wait_until(&format!("the lack of {resource} is told"), || {
                gateway.log().iter().any(|line| line.contains(word) && line.to_lowercase().contains("forbidden"))
            });
        }
        // Only without the Lease or the right to write it is no status written.
        if !["leases", "gatewayroutes/status"].contains(resource) {
            cluster.kubectl_ok(&[
                "-n",
                &namespace,
                "wait",
                "--for=condition=Programmed",
                &format!("gwr/good-{class}"),
                "--timeout=30s",
            ]);
        }
    }
}

/// Secrets that may only be got by their names, in one namespace: HTTPS has its certificate, also one that was there
/// before the start.
#[test]
fn certificates_are_served_where_secrets_may_only_be_got() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("by-name");
    let class = "by-name";
    let kubeconfig = rights(cluster, class, |rules| rules.retain(|rule| rule["resources"] != json!(["secrets"])));
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: secrets, namespace: {namespace}}}\nrules: \
         [{{apiGroups: [''], resources: [secrets], verbs: [get]}}]\n---\napiVersion: \
         rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: secrets, namespace: {namespace}}}\nroleRef: \
         {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}}\nsubjects: [{{kind: ServiceAccount, name: \
         {class}, namespace: headgate}}]\n"
    ));
    let host = "good.by-name.test";
    let certificate = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    fs::write(&trusted, certificate.cert.pem()).unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.cert.pem(), "tls.key": certificate.signing_key.serialize_pem()},
    });
    cluster.apply(&secret.to_string());
    cluster
        .apply(&route("good", &namespace, class).replace("rules: ", "tls: {certificateRefs: [{name: tls}]}, rules: "));
    let gateway = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", class]);
    gateway.wait_until_ready();
    let port = gateway.https.port();
    gateway.wait_until("the certificate is served", || {
        let curl = Command::new("curl")
            .args(["-sS", "--max-time", "5", "--cacert", trusted.to_str().unwrap()])
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1"), &format!("https://{host}:{port}/")])
            .output()
            .unwrap();
        curl.stdout == b"fine"
    });
}

/// A ConfigMap is read by its name, with the rights of the chart or just that of getting it, before clients are let in,
/// and again when it changes.
#[test]
fn config_maps_are_read_by_their_names() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("config-maps");
    let bundle = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "partners", "namespace": namespace},
        "data": {"ca.crt": rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem()},
    });
    cluster.apply(&bundle.to_string());
    let tls = "tls: {clientValidation: {mode: Optional, caCertificateRefs: [{name: partners}]}}, rules: ";
    let declared = |class: &str| {
        let route = route("good", &namespace, class).replace("name: good", &format!("name: {class}"));
        cluster.apply(&route.replace("rules: ", tls));
    };
    let without = |rules: &mut Vec<Value>| rules.retain(|rule| rule["resources"] != json!(["configmaps"]));
    let get = |rules: &mut Vec<Value>| {
        without(rules);
        rules.push(json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}));
    };
    let start = |class: &str, change: &dyn Fn(&mut Vec<Value>)| {
        declared(class);
        let kubeconfig = rights(cluster, class, change);
        let gateway = Gateway::in_cluster(&kubeconfig, "headgate", &["--ingress-class", class]);
        gateway.wait_until_ready();
        let status = get_host(gateway.http, &format!("good.{class}.test"), "/").unwrap().status;
        (gateway, status)
    };
    let (_, status) = start("cm-get", &get);
    assert_eq!(status, 200);
    // Nothing is known of who may be let in, and nobody is.
    let (gateway, status) = start("cm-without", &without);
    assert_eq!(status, 500);
    gateway.wait_for_line(&["not allowed to get", "partners"]);
    let (gateway, status) = start("cm-all", &|_| {});
    assert_eq!(status, 200);
    let answers = |status: u16| get_host(gateway.http, "good.cm-all.test", "/").is_ok_and(|it| it.status == status);
    cluster.kubectl_ok(&["-n", &namespace, "delete", "configmap", "partners"]);
    gateway.wait_until("nobody is let in", || answers(500));
    gateway.wait_until("the status tells why", || {
        let reason = "jsonpath={.status.conditions[?(@.type=='ResolvedRefs')].reason}";
        cluster.kubectl_ok(&["-n", &namespace, "get", "gwr/cm-all", "-o", reason]) == "InvalidCACertificate"
    });
    cluster.apply(&bundle.to_string());
    gateway.wait_until("it is served again", || answers(200));
}

/// The command line of the systemd unit is one that the program takes: its help comes after everything before it was
/// understood.
#[test]
fn the_unit_starts_what_there_is() {
    let unit = fs::read_to_string(root().join("manifests/headgate.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/headgate ")).unwrap();
    let arguments: Vec<&str> = line.split_whitespace().chain(["--help"]).collect();
    let said = crate::harness::run::headgate(&arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{line}");
    let wrong = crate::harness::run::headgate(&["run", "folder", "--no-such-flag", "--help"]);
    assert_ne!(wrong.code, 0, "help would hide a wrong flag");
}

/// `headgate check` finds nothing wrong with the examples but what only a cluster has: Services and Secrets.
#[test]
fn examples_are_right() {
    let told = crate::harness::run::headgate(&["check", "-f", "manifests/examples", "-o", "json"]).json();
    let problems = told["problems"].as_array().unwrap();
    assert!(!problems.is_empty(), "there is no Service, Secret or ConfigMap in them");
    for problem in problems {
        let missing = problem["what"].as_str().unwrap().ends_with(" does not exist");
        assert!(missing && ["HG1201", "HG1301", "HG1307"].contains(&problem["code"].as_str().unwrap()), "{problem}");
    }
}

/// What the unit promises systemd is what the program keeps (`handover::sockets_of_a_supervisor_are_used_and_it_is_told`
/// sees it told), and a stop has the time that a drain may take.
#[test]
fn the_unit_agrees_with_the_program() {
    let path = root().join("manifests/headgate.service");
    let unit = fs::read_to_string(&path).unwrap();
    let value = |key: &str| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let value = values.next().unwrap_or_else(|| panic!("no {key}="));
        assert_eq!(values.next(), None, "{key}= twice");
        value
    };
    assert_eq!(value("Type"), "notify");
    // Whoever hands over tells it for the process that takes over.
    assert_eq!(value("NotifyAccess"), "main");
    assert_eq!(value("ExecReload"), "/bin/kill -USR1 $MAINPID", "USR2 would replace the process at every reload");
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap();
    let flag = |name: &str| value("ExecStart").split_whitespace().skip_while(|word| *word != name).nth(1).map(seconds);
    let drain = flag("--drain-delay").unwrap_or(0) + flag("--drain-timeout").unwrap_or(60);
    assert!(seconds(value("TimeoutStopSec")) > drain, "a stop is cut off before the drain may end");
    // systemd reads it as it is meant, where there is one to ask; the program need not be installed for that.
    for file in [path, root().join("manifests/headgate.socket")] {
        let asked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
        let Ok(asked) = asked else { continue };
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        let wrong = said.lines().filter(|line| line.contains("manifests/headgate") || line.contains("headgate.s"));
        let wrong: Vec<_> = wrong.filter(|line| !line.contains("/usr/local/bin/headgate is not executable")).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
}
