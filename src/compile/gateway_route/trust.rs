//! Authorities that may have signed a certificate, and the TLS that follows from trusting them.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::super::cluster::Terms;
use super::super::code::Code;
use super::super::report::Problem;
use super::scope::{Scope, Value, ValuesRef};
use crate::api::CaCertificateRef;
use crate::source::ObjectKey;

/// The key under which a bundle stands, as Gateway API has it.
const BUNDLE: &str = "ca.crt";
const REMEDY: &str = "put the authorities' certificates there as PEM, under ca.crt";

/// Authorities that something trusts: those of every reference.
#[derive(Debug)]
pub(super) struct Authorities<'s> {
    /// Where they stand.
    objects: Vec<ObjectKey>,
    /// What stands there, in PEM.
    pub(super) bundles: Vec<&'s [u8]>,
    pub(super) roots: RootCertStore,
}

impl Authorities<'_> {
    /// `ConfigMap shop/partners, Secret shop/ours`
    pub(super) fn words(&self) -> String {
        self.objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// The authorities of every reference; `None` when something is wrong with one, as then nobody can be sure whom it was
/// meant to let in.
pub(super) fn authorities<'s>(
    scope: &mut Scope<'_, 's>,
    field: &str,
    refs: &[CaCertificateRef],
    problems: &mut Vec<Problem>,
) -> Option<Authorities<'s>> {
    let mut found = Authorities { objects: Vec::new(), bundles: Vec::new(), roots: RootCertStore::empty() };
    let mut whole = true;
    for (index, reference) in refs.iter().enumerate() {
        whole &= one(scope, &format!("{field}[{index}]"), reference, &mut found, problems).is_some();
    }
    whole.then_some(found)
}

fn one<'s>(
    scope: &mut Scope<'_, 's>,
    field: &str,
    reference: &CaCertificateRef,
    found: &mut Authorities<'s>,
    problems: &mut Vec<Problem>,
) -> Option<()> {
    let CaCertificateRef { group, kind, name, namespace } = reference;
    if !group.is_empty() {
        let what = format!("group \"{group}\" has nothing that can hold certificates");
        problems.push(Problem::new(Code::InvalidKind, format!("{field}.group"), what, "leave it out"));
        return None;
    }
    let reference = ValuesRef { kind: *kind, namespace: namespace.as_deref(), name };
    let object = scope.values(field, reference, problems)?;
    let name_field = format!("{field}.name");
    let pem = match scope.value(&object, BUNDLE) {
        Value::Found(pem) => pem,
        Value::Missing(what) => {
            problems.push(Problem::new(Code::AuthoritiesNotFound, name_field, what, REMEDY));
            return None;
        }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let Some(certificates) = certificates.ok().filter(|certificates| !certificates.is_empty()) else {
        let what = format!("{object} has a {BUNDLE} without a certificate in PEM");
        problems.push(Problem::new(Code::InvalidAuthorities, name_field, what, REMEDY));
        return None;
    };
    match found.roots.add_parsable_certificates(certificates) {
        (0, _) => {
            let what = format!("{object} has a {BUNDLE} without a usable certificate");
            problems.push(Problem::new(Code::InvalidAuthorities, name_field, what, REMEDY));
            return None;
        }
        (_, 0) => {}
        (usable, unusable) => {
            let what = format!("{unusable} of {} certificates in {object} cannot be used", usable + unusable);
            let remedy = "take them out; the others are trusted";
            problems.push(Problem::new(Code::UnusableAuthority, name_field, what, remedy));
        }
    }
    found.objects.push(object);
    found.bundles.push(pem);
    Some(())
}

/// How an issuer is spoken to: trusting these authorities, or those of `system` when there are none.
pub(super) fn issuer(system: &Arc<ClientConfig>, authorities: &Authorities<'_>) -> Option<Arc<ClientConfig>> {
    let mut config = trusting(system, authorities)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// How a backend is spoken to: trusting these authorities, or those of `system` when there are none, and showing the
/// certificate of this Secret to one that asks. Whoever agrees in all of that may share connections.
pub(super) fn backend(
    system: &Arc<ClientConfig>,
    authorities: &Authorities<'_>,
    shown: Option<(&ObjectKey, &Arc<CertifiedKey>)>,
) -> Option<Terms> {
    let mut config = trusting(system, authorities)?;
    // What was agreed on under other terms is not taken up again.
    config.resumption = Resumption::default();
    let mut words = Vec::new();
    let mut parts = authorities.bundles.clone();
    if !authorities.bundles.is_empty() {
        words.push(format!("trusting {}", authorities.words()));
    }
    if let Some((secret, key)) = shown {
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key.clone()));
        words.push(format!("showing {secret}"));
        parts.extend(key.cert.iter().map(|certificate| certificate.as_ref()));
    }
    let words = words.join(", ");
    parts.push(words.as_bytes());
    Some(Terms::new(&parts, config, &words))
}

fn trusting(system: &Arc<ClientConfig>, authorities: &Authorities<'_>) -> Option<ClientConfig> {
    if authorities.bundles.is_empty() {
        return Some(ClientConfig::clone(system));
    }
    let mut config = ClientConfig::builder_with_provider(system.crypto_provider().clone())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(authorities.roots.clone())
        .with_no_client_auth();
    config.alpn_protocols.clone_from(&system.alpn_protocols);
    Some(config)
}
