use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::cluster::Cluster;

#[test]
fn the_api_server_is_the_release_that_kubectl_is() {
    let versions: Value = serde_json::from_str(&Cluster::shared().kubectl_ok(&["version", "-o", "json"])).unwrap();
    assert_eq!(versions["serverVersion"]["gitVersion"], versions["clientVersion"]["gitVersion"]);
    assert_eq!(versions["serverVersion"]["major"], "1");
}

#[test]
fn a_backend_can_listen_where_an_endpoint_slice_may_point() {
    // Loopback addresses are refused there, so `tests/run` makes others.
    TcpListener::bind("10.244.0.1:0").expect("these tests run inside tests/run");
    TcpListener::bind("10.244.0.32:0").expect("these tests run inside tests/run");
}

#[tokio::test]
async fn the_controller_keeps_a_services_slice_in_step_with_its_pods() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("smoke");
    cluster.apply(&service(&namespace, "web"));
    cluster.pod(&namespace, "web-1", &[("app", "web")], "10.244.0.11", true);
    cluster.pod(&namespace, "web-2", &[("app", "web")], "10.244.0.12", false);
    cluster.pod(&namespace, "other", &[("app", "other")], "10.244.0.13", true);
    cluster.ready_endpoints(&namespace, "web", &["10.244.0.11"]).await;

    cluster.pod_status(&namespace, "web-2", "10.244.0.12", true);
    cluster.ready_endpoints(&namespace, "web", &["10.244.0.11", "10.244.0.12"]).await;

    // Nothing runs on the Node that could let go of the Pod in an orderly way.
    cluster.kubectl_ok(&["delete", "pod", "web-1", "-n", &namespace, "--grace-period=0", "--force"]);
    cluster.ready_endpoints(&namespace, "web", &["10.244.0.12"]).await;
}

#[test]
fn a_service_account_may_do_only_what_it_was_given() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rbac");
    let reader = cluster.token_for("reader", &namespace);
    let list = ["get", "services", "-n", &namespace];

    let refused = cluster.kubectl_with(&reader, &list);
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    let who = format!("User \"system:serviceaccount:{namespace}:reader\" cannot list resource \"services\"");
    assert!(reason.contains(&who), "{reason}");

    let role = ["create", "role", "reader", "-n", &namespace, "--verb=list", "--resource=services"];
    cluster.kubectl_ok(&role);
    let account = format!("--serviceaccount={namespace}:reader");
    cluster.kubectl_ok(&["create", "rolebinding", "reader", "-n", &namespace, "--role=reader", &account]);
    // The authoriser watches the bindings, so one counts a moment after it was accepted.
    let can_list = ["auth", "can-i", "list", "services", "-n", &namespace];
    assert!((0..500).any(|_| cluster.kubectl_with(&reader, &can_list).status.success()));
    assert!(cluster.kubectl_with(&reader, &list).status.success());
}

fn service(namespace: &str, name: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
    .to_string()
}
