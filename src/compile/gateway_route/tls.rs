//! Certificates of a route.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::code::Code;
use super::super::keyring::{self, Keyring};
use super::super::lookup::Lookup;
use super::super::lowered::{Lowered, TlsClaim};
use super::super::reference::{self, Reference};
use super::super::report::Problem;
use crate::api;
use crate::api::SecretObjectRef;
use crate::source::{Kind, ObjectKey};
use crate::table::{Certificate, HostKey, TlsVersion};

/// A certificate that a route can give.
struct Offer {
    secret: ObjectKey,
    certificate: Arc<Certificate>,
    field: String,
}

/// Claims the hosts of a route for its certificates: for each host the first that covers it, or else the first.
pub(super) fn claim(
    lowered: &mut Lowered,
    keyring: &mut Keyring,
    lookup: &mut Lookup<'_>,
    hosts: &BTreeSet<HostKey>,
    refs: &[SecretObjectRef],
    min_version: Option<api::gateway_route::TlsVersion>,
) {
    let min_version = min_version.map(|version| match version {
        api::gateway_route::TlsVersion::V1_2 => TlsVersion::Tls12,
        api::gateway_route::TlsVersion::V1_3 => TlsVersion::Tls13,
    });
    let mut offers = Vec::new();
    for (index, secret) in refs.iter().enumerate() {
        offers.extend(offer(lowered, keyring, lookup, &format!("spec.tls.certificateRefs[{index}]"), secret));
    }
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
        if chosen.is_none() && min_version.is_none() {
            continue;
        }
        let field = chosen.map_or("spec.tls.minVersion", |offer| offer.field.as_str()).into();
        let certificate = chosen.map(|offer| (offer.secret.clone(), offer.certificate.clone()));
        lowered.tls.insert(host, TlsClaim { certificate, min_version, field });
    }
}

fn offer(
    lowered: &mut Lowered,
    keyring: &mut Keyring,
    lookup: &mut Lookup<'_>,
    field: &str,
    secret: &SecretObjectRef,
) -> Option<Offer> {
    let SecretObjectRef { group, kind, name, namespace } = secret;
    if !group.is_empty() || kind != "Secret" {
        let what = format!("{kind} cannot hold a certificate");
        lowered.problems.push(Problem::new(Code::InvalidKind, format!("{field}.kind"), what, "name a Secret"));
        return None;
    }
    let namespace_field = format!("{field}.namespace");
    let from = lowered.object.clone();
    let reference =
        Reference { from: &from, field: &namespace_field, kind: Kind::Secret, namespace: namespace.as_deref(), name };
    let secret = match reference::resolve(lookup, reference) {
        Ok(secret) => secret,
        Err(problem) => {
            lowered.problems.push(problem);
            return None;
        }
    };
    lookup.entry(secret.clone());
    lowered.secrets.insert(secret.clone());
    let held = keyring.get(lookup.store(), &secret);
    let field = format!("{field}.name");
    lowered.problems.extend(held.fault.iter().map(|fault| fault.at(&field)));
    let certificate = held.certificate.clone()?;
    Some(Offer { secret, certificate, field })
}
