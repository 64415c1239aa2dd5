//! TLS towards the clients of a route: its certificates, and what it asks of theirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::code::Code;
use super::super::keyring;
use super::super::lowered::TlsClaim;
use super::super::reference::{self, Reference};
use super::super::report::Problem;
use super::scope::Scope;
use super::trust::{self, Authorities};
use crate::api;
use crate::api::SecretObjectRef;
use crate::api::gateway_route::ClientValidationMode;
use crate::source::{Kind, ObjectKey};
use crate::table::{Certificate, ClientValidation, HostKey, Listeners, TlsVersion};

/// A certificate that a route can give.
pub(super) struct Offer {
    pub(super) secret: ObjectKey,
    pub(super) certificate: Arc<Certificate>,
    field: String,
}

/// What a route asks of the certificates of its clients; an error when that cannot be found out, which is told then.
pub(in super::super) fn validation(
    scope: &mut Scope<'_, '_>,
    declared: &api::gateway_route::ClientValidation,
    problems: &mut Vec<Problem>,
) -> Result<Arc<ClientValidation>, ()> {
    let api::gateway_route::ClientValidation { mode, ca_certificate_refs, forward_certificate: _ } = declared;
    let field = "spec.tls.clientValidation.caCertificateRefs";
    if ca_certificate_refs.is_empty() {
        let what = "no authority is trusted, so nobody could be let in";
        problems.push(Problem::new(Code::InvalidTls, field, what, "name a ConfigMap or Secret with a ca.crt"));
    }
    let trusted = trust::authorities(scope, field, ca_certificate_refs, problems);
    let Authorities { roots, bundles, .. } = trusted.as_ref().ok_or(())?;
    let words = trusted.as_ref().map(Authorities::words).unwrap_or_default();
    let required = match mode {
        ClientValidationMode::Required => true,
        ClientValidationMode::Optional => false,
    };
    match ClientValidation::new(required, roots.clone(), bundles, &words) {
        Ok(validation) => Ok(Arc::new(validation)),
        // Without an authority, which has been told.
        Err(_) => Err(()),
    }
}

/// The problem that no client can show a certificate, as the route is served in clear only.
pub(super) fn unreachable(validation: &ClientValidation, listeners: Listeners) -> Option<Problem> {
    let what = "the route is served in clear only, where no client can show a certificate";
    let problem = || Problem::new(Code::OnlyInClear, "spec.tls.clientValidation", what, "add https to spec.listeners");
    (validation.required && !listeners.https).then(problem)
}

/// Claims the hosts of a route for its certificates: for each host the first that covers it, or else the first.
pub(super) fn claim(
    scope: &mut Scope<'_, '_>,
    hosts: &BTreeSet<HostKey>,
    refs: &[SecretObjectRef],
    min_version: Option<api::gateway_route::TlsVersion>,
    validation: Option<&Arc<ClientValidation>>,
) {
    let min_version = min_version.map(|version| match version {
        api::gateway_route::TlsVersion::V1_2 => TlsVersion::Tls12,
        api::gateway_route::TlsVersion::V1_3 => TlsVersion::Tls13,
    });
    let (mut offers, mut problems) = (Vec::new(), Vec::new());
    for (index, secret) in refs.iter().enumerate() {
        offers.extend(offer(scope, &format!("spec.tls.certificateRefs[{index}]"), secret, &mut problems));
    }
    let lowered = &mut *scope.lowered;
    lowered.problems.append(&mut problems);
    // SNI knows nothing of a certificate for two or more labels, so `*` claims one.
    let mut hosts: BTreeSet<_> =
        hosts.iter().filter(|host| matches!(host, HostKey::Exact(_) | HostKey::Wildcard(_))).cloned().collect();
    if hosts.is_empty() {
        // A route for every host serves its certificates for the hosts that they are for.
        let names = offers.iter().flat_map(|offer| offer.certificate.names.iter());
        hosts = names.filter_map(|name| HostKey::parse_ingress(name).ok()).collect();
    }
    for host in hosts {
        let covering = offers.iter().find(|offer| keyring::covers(&offer.certificate, &host));
        let chosen = covering.or(offers.first());
        if covering.is_none()
            && let Some(offer) = chosen
        {
            lowered.problems.extend(keyring::uncovered(&offer.certificate, &host, &offer.secret, &offer.field));
        }
        if chosen.is_none() && min_version.is_none() && validation.is_none() {
            continue;
        }
        let field = chosen.map_or("spec.tls.minVersion", |offer| offer.field.as_str()).into();
        let certificate = chosen.map(|offer| (offer.secret.clone(), offer.certificate.clone()));
        lowered.tls.insert(host, TlsClaim { certificate, min_version, validation: validation.cloned(), field });
    }
}

/// The certificate that a reference means, if it can be used.
pub(super) fn offer(
    scope: &mut Scope<'_, '_>,
    field: &str,
    secret: &SecretObjectRef,
    problems: &mut Vec<Problem>,
) -> Option<Offer> {
    let Scope { keyring, lookup, lowered, settings: _ } = scope;
    let SecretObjectRef { group, kind, name, namespace } = secret;
    if !group.is_empty() || kind != "Secret" {
        let what = format!("{kind} cannot hold a certificate");
        problems.push(Problem::new(Code::InvalidKind, format!("{field}.kind"), what, "name a Secret"));
        return None;
    }
    let namespace_field = format!("{field}.namespace");
    let from = lowered.object.clone();
    let reference =
        Reference { from: &from, field: &namespace_field, kind: Kind::Secret, namespace: namespace.as_deref(), name };
    let secret = match reference::resolve(lookup, reference) {
        Ok(secret) => secret,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    lookup.entry(secret.clone());
    lowered.secrets.insert(secret.clone());
    let held = keyring.get(lookup.store(), &secret);
    let field = format!("{field}.name");
    problems.extend(held.fault.iter().map(|fault| fault.at(&field)));
    let certificate = held.certificate.clone()?;
    Some(Offer { secret, certificate, field })
}
