//! What an API server fills in and refuses beyond the shape of an object, for objects that never met one.
//!
//! The rules are those of Kubernetes' `pkg/apis/{core,discovery,networking}/validation`, as far as they concern fields
//! that we read. They look at the document rather than at the decoded object, whose types no longer know what was
//! absent.

mod names;

use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use self::names::{is_host, is_label, is_service_name, is_subdomain};
use super::{DEFAULT_NAMESPACE, Effect, Finding, Kind, fatal};

/// The label by which an EndpointSlice belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Fills in what the API server would: the namespace, and a Secret's `data` from its `stringData`.
pub(super) fn fill_in(kind: Kind, document: &mut Value) {
    let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if kind.is_namespaced() {
        metadata.entry("namespace").or_insert_with(|| DEFAULT_NAMESPACE.into());
    } else {
        metadata.remove("namespace");
    }
    if kind == Kind::Secret
        && let Some(Value::Object(text)) = document.get("stringData").cloned()
        && let Some(fields) = document.as_object_mut()
        && let Some(data) = fields.entry("data").or_insert_with(|| Map::new().into()).as_object_mut()
        // A value of another type stays where it is, to be found there.
        && text.values().all(Value::is_string)
    {
        for (name, text) in text {
            let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
            data.insert(name, serde_json::to_value(bytes).unwrap_or_default());
        }
        fields.remove("stringData");
    }
}

/// What an API server would refuse.
pub(super) fn check(kind: Kind, document: &Value) -> Vec<Finding> {
    let mut check = Check { findings: Vec::new() };
    check.metadata(kind, document);
    match kind {
        Kind::Ingress => check.ingress(document.get("spec").unwrap_or(&Value::Null)),
        Kind::IngressClass => check.ingress_class(document),
        Kind::Service => check.service(document),
        Kind::EndpointSlice => check.endpoint_slice(document),
        Kind::Secret => check.secret(document),
        Kind::ConfigMap => check.config_map(document),
        // Their CRDs say everything that is to be said about them.
        Kind::GatewayRoute | Kind::RateLimitPolicy | Kind::ReferenceGrant => {}
    }
    check.findings
}

struct Check {
    findings: Vec<Finding>,
}

impl Check {
    fn refuse(&mut self, field: &str, message: &str) {
        self.findings.push(fatal(field, message));
    }

    fn metadata(&mut self, kind: Kind, document: &Value) {
        let name = text(document, "/metadata/name");
        let (sound, rule) = match kind {
            Kind::Service => {
                (is_service_name(name), "a letter, then letters, digits and '-', at most 63, all lower case")
            }
            Kind::IngressClass
            | Kind::Ingress
            | Kind::GatewayRoute
            | Kind::RateLimitPolicy
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::ReferenceGrant => (is_subdomain(name), "lower-case letters, digits, '-' and '.', at most 253"),
        };
        if !sound {
            self.refuse("metadata.name", &format!("{name:?} is no name for a {kind}; it takes {rule}"));
        }
        let namespace = text(document, "/metadata/namespace");
        if kind.is_namespaced() && !is_label(namespace) {
            let rule = "lower-case letters, digits and '-', at most 63";
            self.refuse("metadata.namespace", &format!("{namespace:?} is no name for a namespace; it takes {rule}"));
        }
    }

    fn ingress(&mut self, spec: &Value) {
        let rules = list(spec, "rules");
        if rules.is_empty() && spec.get("defaultBackend").is_none() {
            self.refuse("spec", "has neither rules nor a defaultBackend; an Ingress needs one of them");
        }
        if let Some(backend) = spec.get("defaultBackend") {
            self.backend("spec.defaultBackend", backend);
        }
        for (index, rule) in rules.iter().enumerate() {
            self.host(&format!("spec.rules[{index}].host"), rule.get("host"));
            let Some(http) = rule.get("http") else {
                continue;
            };
            let paths = list(http, "paths");
            if paths.is_empty() {
                self.refuse(&format!("spec.rules[{index}].http.paths"), "is empty; it needs at least one path");
            }
            for (each, path) in paths.iter().enumerate() {
                self.path(&format!("spec.rules[{index}].http.paths[{each}]"), path);
            }
        }
        for (index, tls) in list(spec, "tls").iter().enumerate() {
            for (each, host) in list(tls, "hosts").iter().enumerate() {
                self.host(&format!("spec.tls[{index}].hosts[{each}]"), Some(host));
            }
            if let Some(secret) = tls.get("secretName").and_then(Value::as_str)
                && !is_subdomain(secret)
            {
                self.refuse(
                    &format!("spec.tls[{index}].secretName"),
                    &format!("{secret:?} is no name for a Secret; it takes lower-case letters, digits, '-' and '.'"),
                );
            }
        }
    }

    fn host(&mut self, field: &str, host: Option<&Value>) {
        let Some(host) = host.and_then(Value::as_str).filter(|host| !host.is_empty()) else {
            return;
        };
        if !is_host(host) {
            let right =
                "a DNS name in lower case such as shop.example.com or *.example.com, without a port; no IP address";
            self.refuse(field, &format!("{host:?} is no host; it takes {right}"));
        }
    }

    fn path(&mut self, field: &str, path: &Value) {
        if let Some(backend) = path.get("backend") {
            self.backend(&format!("{field}.backend"), backend);
        }
        let value = text(path, "/path");
        let kind = path.get("pathType").and_then(Value::as_str);
        let place = format!("{field}.path");
        match kind {
            Some("Exact" | "Prefix") => {
                if !value.starts_with('/') {
                    self.refuse(&place, &format!("{value:?} does not start with '/'; {:?} would", format!("/{value}")));
                }
                if let Some(part) = ["//", "/./", "/../", "%2f", "%2F"].into_iter().find(|part| value.contains(part)) {
                    self.refuse(&place, &format!("{value:?} contains {part:?}; a request's path never does when it is matched, so write it without"));
                }
                if let Some(end) = ["/..", "/."].into_iter().find(|end| value.ends_with(end)) {
                    self.refuse(&place, &format!("{value:?} ends with {end:?}; a request's path never does when it is matched, so write it without"));
                }
            }
            Some("ImplementationSpecific") => {
                if !value.is_empty() && !value.starts_with('/') {
                    self.refuse(&place, &format!("{value:?} does not start with '/'; {:?} would", format!("/{value}")));
                }
            }
            Some(other) => {
                let known = "Exact, Prefix and ImplementationSpecific";
                self.refuse(&format!("{field}.pathType"), &format!("{other:?} is not one of {known}"));
            }
            None => {
                self.refuse(&format!("{field}.pathType"), "is missing; it is Exact, Prefix or ImplementationSpecific");
            }
        }
    }

    fn backend(&mut self, field: &str, backend: &Value) {
        match (backend.get("service"), backend.get("resource")) {
            (Some(_), Some(_)) => self.refuse(field, "has both service and resource; it takes one of them"),
            (None, None) => self.refuse(field, "has neither service nor resource; it takes one of them"),
            (None, Some(_)) => {}
            (Some(service), None) => {
                let field = format!("{field}.service");
                let name = text(service, "/name");
                if !is_service_name(name) {
                    self.refuse(
                        &format!("{field}.name"),
                        &format!("{name:?} is no name for a Service; it takes lower-case letters, digits and '-'"),
                    );
                }
                let port = service.get("port").unwrap_or(&Value::Null);
                match (port.get("name"), port.get("number")) {
                    (Some(_), Some(_)) => {
                        self.refuse(&format!("{field}.port"), "has both name and number; it takes one of them");
                    }
                    (None, None) => self.refuse(&format!("{field}.port"), "needs a name or a number"),
                    (Some(_), None) => {}
                    (None, Some(number)) => self.port(&format!("{field}.port.number"), number),
                }
            }
        }
    }

    fn port(&mut self, field: &str, number: &Value) {
        if !number.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) {
            self.refuse(field, &format!("{number} is no port; it takes 1 to 65535"));
        }
    }

    fn ingress_class(&mut self, document: &Value) {
        let controller = text(document, "/spec/controller");
        if controller.is_empty() || controller.len() > 250 || !controller.contains('/') {
            let right = "a name with a domain before it, such as headgate.dev/ingress-controller";
            self.refuse("spec.controller", &format!("{controller:?} names no controller; it takes {right}"));
        }
    }

    fn service(&mut self, document: &Value) {
        let Some(spec) = document.get("spec") else {
            return self.refuse("spec", "is missing; a Service needs at least its ports");
        };
        let external = text(spec, "/type") == "ExternalName";
        let ports = list(spec, "ports");
        if ports.is_empty() && !external && text(spec, "/clusterIP") != "None" {
            self.refuse("spec.ports", "is empty; a Service needs at least one port");
        }
        for (index, port) in ports.iter().enumerate() {
            self.port(&format!("spec.ports[{index}].port"), port.get("port").unwrap_or(&Value::Null));
            if ports.len() > 1 && text(port, "/name").is_empty() {
                self.refuse(
                    &format!("spec.ports[{index}].name"),
                    "is missing; it is needed where there are several ports",
                );
            }
        }
    }

    fn endpoint_slice(&mut self, document: &Value) {
        let family = text(document, "/addressType");
        if !matches!(family, "IPv4" | "IPv6" | "FQDN") {
            self.refuse("addressType", &format!("{family:?} is not one of IPv4, IPv6 and FQDN"));
        }
        for (index, endpoint) in list(document, "endpoints").iter().enumerate() {
            let addresses = list(endpoint, "addresses");
            if addresses.is_empty() {
                self.refuse(&format!("endpoints[{index}].addresses"), "is empty; an endpoint needs an address");
            }
            for (each, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
                let sound = match family {
                    "IPv4" => address.parse::<Ipv4Addr>().is_ok(),
                    "IPv6" => address.parse::<Ipv6Addr>().is_ok(),
                    _ => true,
                };
                if !sound {
                    let message = format!("{address:?} is no {family} address");
                    self.refuse(&format!("endpoints[{index}].addresses[{each}]"), &message);
                }
            }
        }
        for (index, port) in list(document, "ports").iter().enumerate() {
            if let Some(number) = port.get("port") {
                self.port(&format!("ports[{index}].port"), number);
            }
        }
        let service = document.get("metadata").and_then(|it| it.get("labels")).and_then(|it| it.get(SERVICE_NAME));
        if service.is_none() {
            let message = format!(
                "has no label {SERVICE_NAME}, so these endpoints belong to no Service; add it with the Service's name"
            );
            self.findings.push(Finding { effect: Effect::Told, ..fatal("metadata.labels", &message) });
        }
    }

    fn config_map(&mut self, document: &Value) {
        for (name, value) in document.get("binaryData").and_then(Value::as_object).into_iter().flatten() {
            if value.is_string() && serde_json::from_value::<ByteString>(value.clone()).is_err() {
                self.refuse(&format!("binaryData.{name}"), "is no base64; plain text goes under data");
            }
        }
    }

    fn secret(&mut self, document: &Value) {
        for (name, value) in document.get("data").and_then(Value::as_object).into_iter().flatten() {
            if value.is_string() && serde_json::from_value::<ByteString>(value.clone()).is_err() {
                self.refuse(&format!("data.{name}"), "is no base64; plain text goes under stringData");
            }
        }
        if text(document, "/type") == "kubernetes.io/tls" {
            for name in ["tls.crt", "tls.key"] {
                if document.get("data").and_then(|data| data.get(name)).is_none() {
                    self.refuse("data", &format!("has no {name}, which type kubernetes.io/tls needs"));
                }
            }
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
