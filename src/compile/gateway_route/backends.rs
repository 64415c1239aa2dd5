//! Backends of a rule.

use http::StatusCode;

use super::super::backend::{self, Balancing, PortRef, Speak};
use super::super::cluster::{Terms, TlsName};
use super::super::code::Code;
use super::super::lookup::Lookup;
use super::super::lowered::DraftBackend;
use super::super::reference::{self, Reference};
use super::super::report::Problem;
use super::filters;
use super::parameters::Parameters;
use super::scope::Scope;
use super::{tls, trust};
use crate::api::gateway_route::{AppProtocol, BackendRef, BackendTls};
use crate::api::{self, BackendObjectRef, CaCertificateRef, SecretObjectRef};
use crate::source::{Kind, ObjectKey};
use crate::upstream::ProxyProtocol;

/// What stands for a backend that must not be, or cannot be, looked at: as HTTPRoute has it, its share gets 500.
const INVALID: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// The backends of a rule, in their order.
pub(super) fn lower(
    scope: &mut Scope<'_, '_>,
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
            one(scope, &format!("{rule}.backendRefs[{index}]"), backend, balancing, parameters, problems)
        })
        .collect();
    if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0 || backend.fallback) {
        let what = "every backend has weight 0 or is a fallback, so none would answer";
        let field = format!("{rule}.backendRefs");
        let remedy = "give one of them a weight, and let it be no fallback";
        problems.push(Problem::new(Code::InvalidWeight, field, what, remedy));
    }
    for (index, _) in backends.iter().enumerate().filter(|(_, backend)| backend.fallback && backend.weight == 0) {
        let field = format!("{rule}.backendRefs[{index}].fallback");
        let what = "with weight 0 it gets nothing when it is needed";
        problems.push(Problem::new(Code::NoEffect, field, what, "give it a weight, or remove fallback"));
    }
    backends
}

fn one(
    scope: &mut Scope<'_, '_>,
    field: &str,
    declared: &BackendRef,
    balancing: &Balancing,
    parameters: &Parameters,
    problems: &mut Vec<Problem>,
) -> DraftBackend {
    let BackendRef { group, kind, name, namespace, port, weight, fallback, app_protocol, proxy_protocol, tls, filters } =
        declared;
    let weight = u32::try_from(*weight).unwrap_or_else(|_| {
        let what = format!("{weight} is no weight");
        problems.push(Problem::new(Code::InvalidWeight, format!("{field}.weight"), what, "use 0 or more"));
        0
    });
    let filters = filters::of_backend(field, filters, parameters, problems);
    let speak = speak(scope, field, *app_protocol, tls.as_ref(), problems);
    let named = Named { group, kind, name, namespace: namespace.as_deref(), port: *port };
    let announces = proxy_protocol.map(|version| match version {
        api::gateway_route::ProxyProtocol::V1 => ProxyProtocol::V1,
        api::gateway_route::ProxyProtocol::V2 => ProxyProtocol::V2,
    });
    let from = scope.lowered.object.clone();
    let (speak, spoken) = speak.map_or((Speak::AsDeclared, false), |speak| (speak, true));
    let resolved = named.resolve(scope.lookup, &from, field, (speak, announces), balancing.clone(), problems);
    let backend::Resolved { name, grpc, target } = resolved;
    let grpc = app_protocol.map_or(grpc, |protocol| protocol == AppProtocol::Grpc);
    // On no other terms than those that are declared.
    let target = if spoken { target } else { target.and(Err(INVALID)) };
    DraftBackend { name, weight, fallback: *fallback, grpc, limits: None, filters, target }
}

/// What a filter's reference to a Service leads to, spoken to as the Service says.
pub(in super::super) fn of_filter(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    field: &str,
    declared: &BackendObjectRef,
    problems: &mut Vec<Problem>,
) -> backend::Resolved {
    let BackendObjectRef { group, kind, name, namespace, port } = declared;
    let named = Named { group, kind, name, namespace: namespace.as_deref(), port: *port };
    named.resolve(lookup, from, field, (Speak::AsDeclared, None), Balancing::default(), problems)
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
        (speak, announces): (Speak, Option<ProxyProtocol>),
        balancing: Balancing,
        problems: &mut Vec<Problem>,
    ) -> backend::Resolved {
        let Some(service) = self.service(lookup, from, field, problems) else {
            let namespace = self.namespace.unwrap_or(&from.namespace);
            let name = format!("{namespace}/{}:{}", self.name, self.port);
            return backend::Resolved { name: name.into(), grpc: false, target: Err(INVALID) };
        };
        let announces_field = format!("{field}.proxyProtocol");
        let reference = backend::BackendRef {
            service,
            port: PortRef::Number(self.port),
            name_field: &format!("{field}.name"),
            port_field: &format!("{field}.port"),
            speak,
            announces: announces.map(|version| (version, announces_field.as_str())),
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

/// How a backend is spoken to; an error when it cannot be as it is declared, which has been told then.
fn speak(
    scope: &mut Scope<'_, '_>,
    field: &str,
    app_protocol: Option<AppProtocol>,
    tls: Option<&BackendTls>,
    problems: &mut Vec<Problem>,
) -> Result<Speak, ()> {
    if let Some(BackendTls { hostname, ca_certificate_refs, client_certificate_ref }) = tls {
        let terms =
            terms(scope, &format!("{field}.tls"), ca_certificate_refs, client_certificate_ref.as_ref(), problems);
        let Some(hostname) = hostname else { return Ok(Speak::Tls(None, terms?)) };
        let name = TlsName::parse(hostname);
        if name.is_none() {
            let what = format!("\"{}\" is no name a certificate can have", hostname.escape_debug());
            problems.push(Problem::new(Code::InvalidTls, format!("{field}.tls.hostname"), what, "use a DNS name"));
        }
        return Ok(Speak::Tls(name, terms?));
    }
    Ok(match app_protocol {
        None => Speak::AsDeclared,
        Some(AppProtocol::Http) => Speak::Http1,
        Some(AppProtocol::H2c | AppProtocol::Grpc) => Speak::H2c,
        Some(AppProtocol::Https) => Speak::Tls(None, None),
    })
}

/// The terms that are declared, if there are any.
pub(in super::super) fn terms(
    scope: &mut Scope<'_, '_>,
    field: &str,
    authorities: &[CaCertificateRef],
    certificate: Option<&SecretObjectRef>,
    problems: &mut Vec<Problem>,
) -> Result<Option<Terms>, ()> {
    if authorities.is_empty() && certificate.is_none() {
        return Ok(None);
    }
    let trusted = trust::authorities(scope, &format!("{field}.caCertificateRefs"), authorities, problems);
    let offer = certificate.map(|secret| {
        let field = format!("{field}.clientCertificateRef");
        tls::offer(scope, &field, secret, problems).ok_or(())
    });
    let (trusted, offer) = (trusted.ok_or(())?, offer.transpose()?);
    let shown = offer.as_ref().map(|offer| (&offer.secret, &offer.certificate.key));
    trust::backend(&scope.settings.backend_tls, &trusted, shown).map(Some).ok_or(())
}
