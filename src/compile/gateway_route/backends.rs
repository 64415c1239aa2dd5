//! Backends of a rule.

use http::StatusCode;

use super::super::backend::{self, Balancing, PortRef, Speak};
use super::super::cluster::TlsName;
use super::super::code::Code;
use super::super::lookup::Lookup;
use super::super::lowered::DraftBackend;
use super::super::reference::{self, Reference};
use super::super::report::Problem;
use super::filters;
use super::parameters::Parameters;
use super::unsupported;
use crate::api::BackendObjectRef;
use crate::api::gateway_route::{AppProtocol, BackendRef, BackendTls};
use crate::source::{Kind, ObjectKey};

/// What stands for a backend that must not be, or cannot be, looked at: as HTTPRoute has it, its share gets 500.
const INVALID: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// The backends of a rule, in their order.
pub(super) fn lower(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    rule: &str,
    declared: &[BackendRef],
    balancing: &Balancing,
    parameters: &Parameters,
    problems: &mut Vec<Problem>,
) -> Vec<DraftBackend> {
    let backends: Vec<_> = declared
        .iter()
        .enumerate()
        .map(|(index, backend)| {
            one(lookup, from, &format!("{rule}.backendRefs[{index}]"), backend, balancing, parameters, problems)
        })
        .collect();
    if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
        let what = "every backend has weight 0, so none would answer";
        let field = format!("{rule}.backendRefs");
        problems.push(Problem::new(Code::InvalidWeight, field, what, "give one of them a weight"));
    }
    backends
}

fn one(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    field: &str,
    declared: &BackendRef,
    balancing: &Balancing,
    parameters: &Parameters,
    problems: &mut Vec<Problem>,
) -> DraftBackend {
    let BackendRef { group, kind, name, namespace, port, weight, app_protocol, tls, filters } = declared;
    let weight = u32::try_from(*weight).unwrap_or_else(|_| {
        let what = format!("{weight} is no weight");
        problems.push(Problem::new(Code::InvalidWeight, format!("{field}.weight"), what, "use 0 or more"));
        0
    });
    let filters = filters::of_backend(field, filters, parameters, problems);
    let speak = speak(field, *app_protocol, tls.as_ref(), problems);
    let named = Named { group, kind, name, namespace: namespace.as_deref(), port: *port };
    let backend::Resolved { name, target } = named.resolve(lookup, from, field, speak, balancing.clone(), problems);
    DraftBackend { name, weight, limits: None, filters, target }
}

/// What a filter's reference to a Service leads to, spoken to as the Service says.
pub(super) fn of_filter(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    field: &str,
    declared: &BackendObjectRef,
    problems: &mut Vec<Problem>,
) -> backend::Resolved {
    let BackendObjectRef { group, kind, name, namespace, port } = declared;
    let named = Named { group, kind, name, namespace: namespace.as_deref(), port: *port };
    named.resolve(lookup, from, field, Speak::AsDeclared, Balancing::default(), problems)
}

/// What a reference names.
struct Named<'d> {
    group: &'d str,
    kind: &'d str,
    name: &'d str,
    namespace: Option<&'d str>,
    port: i32,
}

impl Named<'_> {
    fn resolve(
        &self,
        lookup: &mut Lookup<'_>,
        from: &ObjectKey,
        field: &str,
        speak: Speak,
        balancing: Balancing,
        problems: &mut Vec<Problem>,
    ) -> backend::Resolved {
        let Some(service) = self.service(lookup, from, field, problems) else {
            let namespace = self.namespace.unwrap_or(&from.namespace);
            let name = format!("{namespace}/{}:{}", self.name, self.port);
            return backend::Resolved { name: name.into(), target: Err(INVALID) };
        };
        let reference = backend::BackendRef {
            service,
            port: PortRef::Number(self.port),
            name_field: &format!("{field}.name"),
            port_field: &format!("{field}.port"),
            speak,
            balancing,
            missing: INVALID,
        };
        backend::resolve(lookup, reference, problems)
    }

    /// The Service, if it is one and may be referred to.
    fn service(
        &self,
        lookup: &mut Lookup<'_>,
        from: &ObjectKey,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<ObjectKey> {
        let Self { group, kind, name, namespace, port: _ } = *self;
        if !group.is_empty() || kind != "Service" {
            let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind} of group {group}") };
            let what = format!("{kind} cannot be a backend");
            problems.push(Problem::new(Code::InvalidKind, format!("{field}.kind"), what, "name a Service"));
            return None;
        }
        let namespace_field = format!("{field}.namespace");
        let reference = Reference { from, field: &namespace_field, kind: Kind::Service, namespace, name };
        reference::resolve(lookup, reference).map_err(|problem| problems.push(problem)).ok()
    }
}

fn speak(
    field: &str,
    app_protocol: Option<AppProtocol>,
    tls: Option<&BackendTls>,
    problems: &mut Vec<Problem>,
) -> Speak {
    if let Some(BackendTls { hostname, ca_certificate_refs, client_certificate_ref }) = tls {
        if !ca_certificate_refs.is_empty() {
            problems.push(unsupported::field(&format!("{field}.tls.caCertificateRefs")));
        }
        if client_certificate_ref.is_some() {
            problems.push(unsupported::field(&format!("{field}.tls.clientCertificateRef")));
        }
        let Some(hostname) = hostname else { return Speak::Tls(None) };
        let name = TlsName::parse(hostname);
        if name.is_none() {
            let what = format!("\"{}\" is no name a certificate can have", hostname.escape_debug());
            problems.push(Problem::new(Code::InvalidTls, format!("{field}.tls.hostname"), what, "use a DNS name"));
        }
        return Speak::Tls(name);
    }
    match app_protocol {
        None => Speak::AsDeclared,
        Some(AppProtocol::Http) => Speak::Http1,
        Some(AppProtocol::H2c | AppProtocol::Grpc) => Speak::H2c,
        Some(AppProtocol::Https) => Speak::Tls(None),
    }
}
