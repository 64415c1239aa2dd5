//! Which certificate each host has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::code::Code;
use super::conflict;
use super::lowered::{Lowered, TlsClaim};
use super::objects::{Objects, caught};
use super::report::Problem;
use crate::auth::Fingerprint;
use crate::source::ObjectKey;
use crate::table::{Certificate, Certificates, ClientValidation, HostKey};

/// The certificate of every host that some object claims one for.
#[derive(Debug, Default)]
pub(super) struct TlsHosts {
    hosts: BTreeMap<HostKey, TlsHost>,
    /// The same as the table has them.
    pub(super) certificates: Certificates,
}

#[derive(Debug, Default)]
struct TlsHost {
    certificate: Option<Arc<Certificate>>,
    /// What is asked of clients.
    validation: Option<Arc<ClientValidation>>,
    losses: BTreeMap<ObjectKey, Vec<Problem>>,
}

impl TlsHosts {
    /// Chooses anew for these hosts; the objects of which something else is to be said.
    pub(super) fn settle(&mut self, objects: &Objects, dirty: &BTreeSet<HostKey>) -> BTreeSet<ObjectKey> {
        let mut told = BTreeSet::new();
        for host in dirty {
            let before = self.hosts.remove(host).unwrap_or_default();
            let claims: Vec<_> = objects.claimants_of_tls(host).collect();
            let chosen = caught(|| if claims.is_empty() { TlsHost::default() } else { choose(host, claims.clone()) });
            let now = chosen.unwrap_or_else(|| TlsHost {
                certificate: before.certificate.clone(),
                validation: before.validation.clone(),
                losses: conflict::unsettled(host, claims.iter().map(|(lowered, _)| &lowered.object)),
            });
            let same = match (&before.certificate, &now.certificate) {
                (Some(before), Some(now)) => same(before, now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same || id(before.validation.as_ref()) != id(now.validation.as_ref()) {
                let certificate = now.certificate.clone().ok_or_else(|| now.validation.clone());
                self.certificates.set(host, certificate);
            }
            if before.losses != now.losses {
                told.extend(before.losses.into_keys().chain(now.losses.keys().cloned()));
            }
            if now.certificate.is_some() || now.validation.is_some() || !now.losses.is_empty() {
                self.hosts.insert(host.clone(), now);
            }
        }
        told
    }

    /// What an object is told about a host.
    pub(super) fn losses(&self, host: &HostKey, object: &ObjectKey) -> &[Problem] {
        self.hosts.get(host).and_then(|host| host.losses.get(object)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The oldest claim whose certificate can be used gives the certificate; an unusable one does not take the host down.
/// The version of TLS is the strictest that any claim asks for, and clients are asked for certificates as soon as one
/// claim wants them: nobody's wish is undercut by another's certificate. Of two that want different ones the older has
/// its way, also when it lets nobody in because its authorities cannot be used, and the rules of the other let nobody in.
fn choose(host: &HostKey, mut claims: Vec<(&Lowered, &TlsClaim)>) -> TlsHost {
    claims.sort_by(|(a, _), (b, _)| a.rank.cmp(&b.rank));
    let min_version = claims.iter().filter_map(|(_, claim)| claim.min_version).max();
    let usable = || claims.iter().filter_map(|(lowered, claim)| Some((lowered, claim, claim.certificate.as_ref()?)));
    let wishes = || claims.iter().filter_map(|(lowered, claim)| Some((lowered, claim, claim.validation.as_ref()?)));
    let mut losses: BTreeMap<ObjectKey, Vec<Problem>> = BTreeMap::new();
    let validation = wishes().next().map(|(_, _, validation)| validation.clone());
    if let Some((first, _, validation)) = wishes().next() {
        for (lowered, _, _) in wishes().filter(|(_, _, other)| other.id != validation.id && !other.is_closed()) {
            let what = format!("clients of {host} are asked for certificates as {} says: {validation}", first.object);
            let remedy = format!("say the same in both, or take {host} out of one; these rules let nobody in");
            let problem = Problem::new(Code::ValidationTaken, "spec.tls.clientValidation", what, remedy);
            losses.entry(lowered.object.clone()).or_default().push(problem);
        }
    }
    let Some((winner, _, (winning, certificate))) = usable().next() else {
        return TlsHost { certificate: None, validation, losses };
    };
    for (lowered, claim, (secret, _)) in usable().filter(|(_, _, (secret, _))| secret != winning) {
        let what = format!("{host} has the certificate in {winning}, which {} names", winner.object);
        let remedy = format!("use the same Secret in both, or take {host} out of one; {secret} is not shown");
        let problem = Problem::new(Code::CertificateTaken, &*claim.field, what, remedy);
        losses.entry(lowered.object.clone()).or_default().push(problem);
    }
    let min_version = min_version.unwrap_or(certificate.min_version);
    let client = match validation.as_ref().map(|wish| wish.handshake(&certificate.key, min_version)) {
        Some(Ok(client)) => Some(client),
        None => None,
        // Without the handshake that is asked for there is none.
        Some(Err(_)) => return TlsHost { certificate: None, validation, losses },
    };
    if client.is_none() && min_version == certificate.min_version {
        return TlsHost { certificate: Some(certificate.clone()), validation, losses };
    }
    let Certificate { key, min_version: _, client: _, secret, names, not_after } = &**certificate;
    let certificate = Certificate {
        key: key.clone(),
        min_version,
        client,
        secret: secret.clone(),
        names: names.clone(),
        not_after: *not_after,
    };
    TlsHost { certificate: Some(Arc::new(certificate)), validation, losses }
}

fn same(a: &Certificate, b: &Certificate) -> bool {
    let validation =
        |certificate: &Certificate| certificate.client.as_ref().map(|client| client.validation.to_string());
    a.min_version == b.min_version
        && a.secret == b.secret
        && Arc::ptr_eq(&a.key, &b.key)
        && validation(a) == validation(b)
}

fn id(validation: Option<&Arc<ClientValidation>>) -> Option<Fingerprint> {
    validation.map(|validation| validation.id)
}
