//! What is declared: for each number a Service, its EndpointSlice, and a route to it, of both kinds in turn.

use serde_json::{Value, json};

/// Where everything is declared.
pub(crate) const NAMESPACE: &str = "default";

/// The class that is served.
pub(crate) fn class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": { "name": "headgate" },
        "spec": { "controller": "headgate.dev/ingress-controller" },
    })
}

/// The host of a route.
pub(crate) fn host(number: usize) -> String {
    format!("h{number}.example.com")
}

/// Whether the route of this number is a GatewayRoute; otherwise it is an Ingress.
pub(crate) fn is_gateway_route(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// The Service of a route.
pub(crate) fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(number),
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

/// The slice of a Service, with two endpoints as a controller writes them, both at this address.
pub(crate) fn slice(number: usize, address: std::net::SocketAddr) -> Value {
    let labels = json!({
        "kubernetes.io/service-name": format!("r{number}"),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    });
    let endpoint = |pod: usize| {
        json!({
            "addresses": [address.ip()],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": format!("node-{pod}"),
            "targetRef": {
                "kind": "Pod", "name": format!("r{number}-7d9c6b5f4-x{pod}"), "namespace": NAMESPACE,
                "uid": format!("9a1c7a3e-5b2d-4c64-8f0e-{:012}", number * 2 + pod),
            },
            "zone": "zone-a",
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": format!("r{number}"), "namespace": NAMESPACE, "labels": labels },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": address.port(), "protocol": "TCP" }],
        "endpoints": [endpoint(0), endpoint(1)],
    })
}

/// A route whose answers say this version, or none; only a GatewayRoute can say one.
pub(crate) fn route(number: usize, version: Option<u64>) -> Value {
    let host = host(number);
    if !is_gateway_route(number) {
        let backend = json!({ "service": { "name": format!("r{number}"), "port": { "name": "http" } } });
        let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": backend }]);
        return json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(number),
            "spec": { "ingressClassName": "headgate", "rules": [{ "host": host, "http": { "paths": paths } }] },
        });
    }
    let filter = version.map(|version| {
        let set = json!([{ "name": "X-Version", "value": version.to_string() }]);
        json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": { "set": set } })
    });
    let rule = json!({
        "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
        "filters": filter.into_iter().collect::<Vec<_>>(),
        "backendRefs": [{ "name": format!("r{number}"), "port": 80 }],
    });
    json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayRoute",
        "metadata": metadata(number),
        "spec": { "hostnames": [host], "rules": [rule] },
    })
}

fn metadata(number: usize) -> Value {
    json!({
        "name": format!("r{number}"),
        "namespace": NAMESPACE,
        "labels": { "app.kubernetes.io/name": format!("r{number}"), "app.kubernetes.io/managed-by": "bench" },
    })
}
