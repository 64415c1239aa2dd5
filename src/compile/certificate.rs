//! Which certificate each host has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::code::Code;
use super::lowered::{Lowered, TlsClaim};
use super::objects::Objects;
use super::report::Problem;
use crate::source::ObjectKey;
use crate::table::{Certificate, Certificates, HostKey, Precedence};

/// The certificate of every host that some object claims one for.
#[derive(Debug, Default)]
pub(super) struct TlsHosts {
    hosts: BTreeMap<HostKey, TlsHost>,
}

#[derive(Debug, Default)]
struct TlsHost {
    certificate: Option<Arc<Certificate>>,
    losses: BTreeMap<ObjectKey, Problem>,
}

impl TlsHosts {
    /// Chooses anew for these hosts; whether any certificate is another one, and the objects of which something else is
    /// to be said.
    pub(super) fn settle(&mut self, objects: &Objects, dirty: &BTreeSet<HostKey>) -> (bool, BTreeSet<ObjectKey>) {
        let mut changed = false;
        let mut told = BTreeSet::new();
        for host in dirty {
            let before = self.hosts.remove(host).unwrap_or_default();
            let claims: Vec<_> = objects.claimants_of_tls(host).collect();
            let now = if claims.is_empty() { TlsHost::default() } else { choose(host, claims) };
            changed |= match (&before.certificate, &now.certificate) {
                (Some(before), Some(now)) => !same(before, now),
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            };
            if before.losses != now.losses {
                told.extend(before.losses.into_keys().chain(now.losses.keys().cloned()));
            }
            if now.certificate.is_some() || !now.losses.is_empty() {
                self.hosts.insert(host.clone(), now);
            }
        }
        (changed, told)
    }

    /// The certificates as the table has them.
    pub(super) fn certificates(&self) -> Certificates {
        // Each host has one certificate by now, so there is nothing left for an order to settle.
        let rank = Precedence { created: 0, kind: 0, namespace: "".into(), name: "".into(), rule: 0, index: 0 };
        let chosen = |(host, tls): (&HostKey, &TlsHost)| Some((host.clone(), rank.clone(), tls.certificate.clone()?));
        Certificates::new(self.hosts.iter().filter_map(chosen))
    }

    /// What an object is told about a host.
    pub(super) fn loss(&self, host: &HostKey, object: &ObjectKey) -> Option<&Problem> {
        self.hosts.get(host)?.losses.get(object)
    }
}

/// The oldest claim whose certificate can be used gives the certificate; an unusable one does not take the host down.
/// The version of TLS is the strictest that any claim asks for: nobody's wish is undercut by another's certificate.
fn choose(host: &HostKey, mut claims: Vec<(&Lowered, &TlsClaim)>) -> TlsHost {
    claims.sort_by(|(a, _), (b, _)| a.rank.cmp(&b.rank));
    let min_version = claims.iter().filter_map(|(_, claim)| claim.min_version).max();
    let mut usable = claims.iter().filter_map(|(lowered, claim)| Some((lowered, claim, claim.certificate.as_ref()?)));
    let Some((winner, _, (winning, certificate))) = usable.next() else { return TlsHost::default() };
    let losses = usable
        .filter(|(_, _, (secret, _))| secret != winning)
        .map(|(lowered, claim, (secret, _))| {
            let what = format!("{host} has the certificate in {winning}, which {} names", winner.object);
            let remedy = format!("use the same Secret in both, or take {host} out of one; {secret} is not shown");
            (lowered.object.clone(), Problem::new(Code::CertificateTaken, &*claim.field, what, remedy))
        })
        .collect();
    let certificate = match min_version {
        Some(min_version) if min_version != certificate.min_version => {
            let Certificate { key, min_version: _, secret, names, not_after } = &**certificate;
            Arc::new(Certificate {
                key: key.clone(),
                min_version,
                secret: secret.clone(),
                names: names.clone(),
                not_after: *not_after,
            })
        }
        Some(_) | None => certificate.clone(),
    };
    TlsHost { certificate: Some(certificate), losses }
}

fn same(a: &Certificate, b: &Certificate) -> bool {
    a.min_version == b.min_version && a.secret == b.secret && Arc::ptr_eq(&a.key, &b.key)
}
