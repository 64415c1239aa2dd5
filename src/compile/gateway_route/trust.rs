//! Authorities that may have signed the certificate of an issuer's address.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::super::code::Code;
use super::super::report::Problem;
use super::identity::Scope;
use super::unsupported;
use crate::api::{CaCertificateRef, LocalObjectKind};

/// The authorities of every reference, each as it stands in PEM; `None` when something is wrong with one.
pub(super) fn authorities<'s>(
    scope: &mut Scope<'_, 's>,
    field: &str,
    refs: &[CaCertificateRef],
    problems: &mut Vec<Problem>,
) -> Option<Vec<&'s [u8]>> {
    let before = problems.len();
    let mut found = Vec::new();
    for (index, reference) in refs.iter().enumerate() {
        let CaCertificateRef { group, kind, name, namespace } = reference;
        let field = format!("{field}[{index}]");
        if !group.is_empty() {
            let what = format!("group \"{group}\" has nothing that can hold certificates");
            problems.push(Problem::new(Code::InvalidKind, format!("{field}.group"), what, "leave it out"));
            continue;
        }
        match kind {
            LocalObjectKind::Secret => {
                let Some(pem) = scope.authorities(&field, namespace.as_deref(), name, problems) else { continue };
                if roots(&[pem]).is_none() {
                    let what = format!("Secret {name} has a ca.crt without a usable certificate");
                    let remedy = "put the authorities' certificates there as PEM";
                    problems.push(Problem::new(Code::InvalidKeys, format!("{field}.name"), what, remedy));
                }
                found.push(pem);
            }
            LocalObjectKind::ConfigMap => {
                let mut problem = unsupported::value(&format!("{field}.kind"), "ConfigMap");
                problem.remedy = "use a Secret".to_owned();
                problems.push(problem);
            }
        }
    }
    (problems.len() == before).then_some(found)
}

/// How an issuer is spoken to: trusting these authorities, or those of `system` when there are none.
pub(super) fn client(system: &Arc<ClientConfig>, authorities: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let mut config = if authorities.is_empty() {
        ClientConfig::clone(system)
    } else {
        ClientConfig::builder_with_provider(system.crypto_provider().clone())
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots(authorities)?)
            .with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

fn roots(authorities: &[&[u8]]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return None;
        }
    }
    Some(roots)
}
