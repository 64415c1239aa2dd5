//! References to Services → clusters.

use std::sync::Arc;

use http::StatusCode;

use super::cluster::{ClusterKey, GroupKey, Protocol, Terms, TlsName};
use super::code::Code;
use super::endpoint::ServiceKey;
use super::lookup::Lookup;
use super::report::Problem;
use crate::api::{Identity, Service, ServicePort};
use crate::source::ObjectKey;
use crate::upstream::session::Secret;
use crate::upstream::{Balancer, Policy, ProxyProtocol};

/// A reference to a port of a Service.
#[derive(Debug)]
pub(super) struct BackendRef<'a> {
    /// The Service, to which the reference is permitted.
    pub(super) service: ObjectKey,
    pub(super) port: PortRef<'a>,
    /// The path of the field that names the Service.
    pub(super) name_field: &'a str,
    /// The path of the field that gives its port.
    pub(super) port_field: &'a str,
    pub(super) speak: Speak,
    /// How endpoints are told whom a connection is for, and the path of the field that says so.
    pub(super) announces: Option<(ProxyProtocol, &'a str)>,
    pub(super) balancing: Balancing,
    /// What is answered when the Service does not exist.
    pub(super) missing: StatusCode,
}

/// A port of a Service as somebody refers to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum PortRef<'a> {
    Number(i32),
    Name(&'a str),
}

/// How a backend is to be spoken to.
#[derive(Clone, Debug)]
pub(super) enum Speak {
    /// As the Service's port says.
    AsDeclared,
    Http1,
    H2c,
    /// With this name in the certificate, or else the Service's own; on these terms, or else the default ones.
    Tls(Option<TlsName>, Option<Terms>),
}

/// How endpoints are chosen, and what is done about those in trouble.
#[derive(Clone, Debug)]
pub(super) struct Balancing {
    pub(super) balancer: Balancer,
    pub(super) policy: Arc<Policy>,
    /// Clients stay with their endpoint.
    pub(super) sessions: bool,
}

impl Default for Balancing {
    fn default() -> Self {
        Self { balancer: Balancer::LeastRequest, policy: Policy::default().shared(), sessions: false }
    }
}

/// What a reference leads to.
#[derive(Debug)]
pub(super) struct Resolved {
    /// `namespace/service:port`, as metrics and logs name it.
    pub(super) name: Arc<str>,
    /// The Service's port says that its endpoints speak gRPC.
    pub(super) grpc: bool,
    /// The cluster, or the status that is answered in its place.
    pub(super) target: Result<ClusterKey, StatusCode>,
}

/// What a reference leads to, and what is wrong with it.
pub(super) fn resolve(lookup: &mut Lookup<'_>, reference: BackendRef<'_>, problems: &mut Vec<Problem>) -> Resolved {
    let BackendRef { service: key, port, name_field, port_field, speak, announces, balancing, missing } = reference;
    let unresolved = |status| {
        let name = match port {
            PortRef::Number(port) => format!("{}/{}:{port}", key.namespace, key.name),
            PortRef::Name(port) => format!("{}/{}:{port}", key.namespace, key.name),
        };
        Resolved { name: name.into(), grpc: false, target: Err(status) }
    };
    let Some(service) = lookup.service(&key.namespace, &key.name) else {
        let remedy = "create it, or correct the name";
        problems.push(Problem::new(Code::ServiceNotFound, name_field, format!("{key} does not exist"), remedy));
        return unresolved(missing);
    };
    if service.spec.type_.as_deref() == Some("ExternalName") {
        let what = format!("{key} is of type ExternalName, which is off");
        problems.push(Problem::new(Code::ExternalName, name_field, what, "use a Service with EndpointSlices"));
        return unresolved(StatusCode::SERVICE_UNAVAILABLE);
    }
    let ports = &service.spec.ports;
    let found = ports.iter().filter(|candidate| is_tcp(candidate)).find(|candidate| match port {
        PortRef::Number(number) => candidate.port == number,
        PortRef::Name(name) => candidate.name.as_deref() == Some(name),
    });
    let Some((declared, number)) = found.and_then(|port| Some((port, u16::try_from(port.port).ok()?))) else {
        problems.push(no_such_port(&key, port, ports, port_field));
        return unresolved(StatusCode::SERVICE_UNAVAILABLE);
    };
    let grpc = declared.app_protocol.as_deref() == Some("grpc");
    let protocol = match speak {
        Speak::Http1 => Some(Protocol::Http1),
        Speak::H2c => Some(Protocol::H2c),
        Speak::Tls(Some(name), terms) => Some(Protocol::Tls(name, terms)),
        Speak::Tls(None, terms) => own_name(&key).map(|name| Protocol::Tls(name, terms)),
        Speak::AsDeclared => match declared.app_protocol.as_deref() {
            None | Some("http" | "kubernetes.io/ws") => Some(Protocol::Http1),
            Some("kubernetes.io/h2c" | "h2c" | "grpc") => Some(Protocol::H2c),
            Some("https" | "kubernetes.io/wss") => own_name(&key).map(|name| Protocol::Tls(name, None)),
            Some(other) => {
                let what = format!("port {number} of {key} has appProtocol \"{other}\"; HTTP/1.1 is spoken");
                let remedy = "known are http, https, grpc, kubernetes.io/h2c, kubernetes.io/ws and kubernetes.io/wss";
                problems.push(Problem::new(Code::UnknownProtocol, port_field, what, remedy));
                Some(Protocol::Http1)
            }
        },
    };
    let Some(protocol) = protocol else {
        let what = format!("no certificate can be valid for {}.{}.svc", key.name, key.namespace);
        problems.push(Problem::new(Code::InvalidTls, name_field, what, "give a name in tls.hostname"));
        return unresolved(StatusCode::SERVICE_UNAVAILABLE);
    };
    if let (Protocol::H2c, Some((_, field))) = (&protocol, announces) {
        let what = "over HTTP/2 a connection carries the requests of many clients, and can be announced for one only";
        problems.push(Problem::new(Code::Unsupported, field, what, "remove it, or use appProtocol http or https"));
        return unresolved(missing);
    }
    let group = GroupKey {
        service: ServiceKey { namespace: key.namespace.clone(), name: key.name.clone() },
        port_name: declared.name.as_deref().unwrap_or_default().into(),
        protocol,
        announces: announces.map(|(version, _)| version),
    };
    let name = format!("{}/{}:{number}", key.namespace, key.name).into();
    let Balancing { balancer, policy, sessions } = balancing;
    let policy = if sessions { Arc::new(with_secret(&policy, service)) } else { policy };
    Resolved { name, grpc, target: Ok(ClusterKey { group, port: number, balancer, policy }) }
}

/// The policy with what the tickets of a Service's clients are signed with. The Service's UID is the same on every replica,
/// and no client knows it. Without a cluster there is none, and its name has to do.
fn with_secret(policy: &Policy, service: &Service) -> Policy {
    let Identity { uid, namespace, name, labels: _ } = &service.metadata;
    let text = [uid.as_deref().unwrap_or_default(), namespace, name].join("/");
    Policy { session_secret: Some(Secret::new(&format!("session {text}"))), ..policy.clone() }
}

/// The name that a Service's certificate is expected to have when nothing else is said.
fn own_name(service: &ObjectKey) -> Option<TlsName> {
    TlsName::parse(&format!("{}.{}.svc", service.name, service.namespace))
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

fn no_such_port(key: &ObjectKey, asked: PortRef<'_>, ports: &[ServicePort], field: &str) -> Problem {
    let what = match asked {
        PortRef::Number(port) => format!("{key} has no TCP port {port}"),
        PortRef::Name(port) => format!("{key} has no TCP port named \"{port}\""),
    };
    let known: Vec<_> = ports
        .iter()
        .filter(|port| is_tcp(port))
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    let remedy = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Problem::new(Code::PortNotFound, field, what, remedy)
}
