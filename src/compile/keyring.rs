//! Secrets → certificates with their keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::code::Code;
use super::key_sets::KeySets;
use super::report::Problem;
use crate::source::{Object, ObjectKey};
use crate::store::{References, Store};
use crate::table::{Certificate, HostKey, TlsVersion};

/// The only type of Secret that holds a certificate for a host.
const TLS_TYPE: &str = "kubernetes.io/tls";

/// What a Secret gives, by key, kept for as long as something refers to it.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    held: HashMap<ObjectKey, Held>,
    /// How many objects refer to each Secret, whether it exists or not.
    users: BTreeMap<ObjectKey, usize>,
    /// The same for ConfigMaps, and for Secrets of which something else than a certificate is wanted.
    value_users: BTreeMap<ObjectKey, usize>,
    /// What has users of either kind.
    pub(super) referenced: References,
    /// What has users of the second kind.
    pub(super) values: References,
    /// Keys of issuers, which are fetched.
    pub(super) key_sets: KeySets,
}

/// What one Secret gives now.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// The certificate to serve.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// What is wrong with the Secret: there may be a certificate all the same, from before it went wrong.
    pub(super) fault: Option<Fault>,
}

/// Why a Secret cannot be used as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: Code,
    what: String,
    remedy: &'static str,
}

impl Keyring {
    /// Looks again at a Secret that has changed. One that has become unusable leaves what it held before in service: a
    /// mistake in a rotation must not take a host down. One that is gone leaves nothing.
    pub(super) fn note(&mut self, store: &Store, key: &ObjectKey) {
        if let Some(held) = self.held.get_mut(key) {
            *held = read(store, key, held.certificate.take());
        }
    }

    /// What a Secret gives.
    pub(super) fn get(&mut self, store: &Store, key: &ObjectKey) -> &Held {
        self.held.entry(key.clone()).or_insert_with(|| read(store, key, None))
    }

    /// One more object refers to the Secret.
    pub(super) fn acquire(&mut self, key: &ObjectKey) {
        *self.users.entry(key.clone()).or_default() += 1;
        self.referenced.insert(key);
    }

    /// One object less refers to the Secret; the last one takes what is known of it along.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        if let Some(users) = self.users.get_mut(key) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(key);
                self.held.remove(key);
                self.let_go(key);
            }
        }
    }

    /// One more object wants a value of the Secret or ConfigMap.
    pub(super) fn acquire_value(&mut self, key: &ObjectKey) {
        *self.value_users.entry(key.clone()).or_default() += 1;
        self.referenced.insert(key);
        self.values.insert(key);
    }

    /// One object less wants a value of the Secret or ConfigMap.
    pub(super) fn release_value(&mut self, key: &ObjectKey) {
        if let Some(users) = self.value_users.get_mut(key) {
            *users -= 1;
            if *users == 0 {
                self.value_users.remove(key);
                self.values.remove(key);
                self.let_go(key);
            }
        }
    }

    fn let_go(&mut self, key: &ObjectKey) {
        if !self.users.contains_key(key) && !self.value_users.contains_key(key) {
            self.referenced.remove(key);
        }
    }
}

impl Fault {
    /// The same as a problem of the object that refers to the Secret by `field`.
    pub(super) fn at(&self, field: &str) -> Problem {
        Problem::new(self.code, field, self.what.clone(), self.remedy)
    }
}

fn read(store: &Store, key: &ObjectKey, former: Option<Arc<Certificate>>) -> Held {
    let entry = store.get(key);
    let Some(Object::Secret(secret)) = entry.and_then(|entry| entry.object.as_ref()) else {
        let exists = entry.is_some();
        let what = if exists { format!("{key} cannot be read") } else { format!("{key} does not exist") };
        let fault = Fault {
            code: Code::CertificateNotFound,
            what,
            remedy: "create it with type kubernetes.io/tls, tls.crt and tls.key",
        };
        return Held { certificate: if exists { former } else { None }, fault: Some(fault) };
    };
    match parse(key, secret) {
        Ok(certificate) => {
            // An unchanged certificate stays the same one, so that nothing that uses it changes.
            let same = former.filter(|former| former.key.cert == certificate.key.cert);
            Held { certificate: Some(same.unwrap_or_else(|| Arc::new(certificate))), fault: None }
        }
        Err(fault) if former.is_some() => {
            let what = format!("{}; the certificate it held before is still served", fault.what);
            Held { certificate: former, fault: Some(Fault { code: Code::StaleCertificate, what, ..fault }) }
        }
        Err(fault) => Held { certificate: None, fault: Some(fault) },
    }
}

fn parse(key: &ObjectKey, secret: &Secret) -> Result<Certificate, Fault> {
    let fault = |code, what: String, remedy| Fault { code, what: format!("{key} {what}"), remedy };
    let invalid = |what: String, remedy| fault(Code::InvalidCertificate, what, remedy);
    if secret.type_.as_deref() != Some(TLS_TYPE) {
        let type_ = secret.type_.as_deref().unwrap_or("Opaque");
        let what = format!("is of type {type_}");
        return Err(fault(Code::CertificateNotFound, what, "use a Secret of type kubernetes.io/tls"));
    }
    let crt = datum(secret, "tls.crt").ok_or_else(|| invalid("has no tls.crt".to_owned(), PEM_CHAIN))?;
    let pem_key = datum(secret, "tls.key").ok_or_else(|| invalid("has no tls.key".to_owned(), PEM_KEY))?;
    let chain = CertificateDer::pem_slice_iter(crt)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(format!("has a tls.crt that is not PEM ({})", pem_fault(&error)), PEM_CHAIN))?;
    let Some(leaf) = chain.first() else {
        return Err(invalid("has a tls.crt without a certificate".to_owned(), PEM_CHAIN));
    };
    let (names, not_after) = names_and_expiry(leaf)
        .ok_or_else(|| invalid("has a tls.crt whose first certificate is not X.509".to_owned(), PEM_CHAIN))?;
    let der = PrivateKeyDer::from_pem_slice(pem_key)
        .map_err(|error| invalid(format!("has a tls.key that is no private key ({})", pem_fault(&error)), PEM_KEY))?;
    let signing = any_supported_type(&der).map_err(|_| {
        invalid("has a tls.key of a kind that is not supported".to_owned(), "use RSA, ECDSA or Ed25519")
    })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        // A key whose public half cannot be asked for is taken on trust; a client would notice at once.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(invalid(
                "has a tls.key that does not belong to its tls.crt".to_owned(),
                "put the key in that the certificate was issued for",
            ));
        }
        Err(_) => {
            return Err(invalid(
                "has a tls.crt whose first certificate cannot be used".to_owned(),
                "use an X.509 version 3 certificate",
            ));
        }
    }
    Ok(Certificate {
        key: Arc::new(certified),
        min_version: TlsVersion::default(),
        client: None,
        secret: (key.namespace.clone(), key.name.clone()),
        names: names.into(),
        not_after,
    })
}

const PEM_CHAIN: &str = "put the certificate and its intermediates in as PEM, the host's own first";
const PEM_KEY: &str = "put an unencrypted private key in as PEM";

/// The DNS names of a certificate, lower-case, and the end of its validity in seconds since 1970.
fn names_and_expiry(der: &CertificateDer<'_>) -> Option<(Vec<Box<str>>, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()?.map(|extension| {
        extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
            _ => None,
        })
    });
    Some((names.into_iter().flatten().collect(), certificate.validity().not_after.timestamp()))
}

fn datum<'s>(secret: &'s Secret, name: &str) -> Option<&'s [u8]> {
    secret.data.as_ref()?.get(name).map(|ByteString(bytes)| bytes.as_slice())
}

/// Without the bytes at fault, which may be a key's.
fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "its base64 is malformed",
        pem::Error::NoItemsFound => "there is none in it",
        _ => "it cannot be read",
    }
}

/// Whether one of a certificate's names covers a host; a wildcard stands for exactly one label (RFC 6125 6.4.3).
pub(super) fn covers(certificate: &Certificate, host: &HostKey) -> bool {
    certificate.names.iter().any(|name| match (host, name.strip_prefix("*.")) {
        (HostKey::Exact(host), Some(suffix)) => host.split_once('.').is_some_and(|(_, rest)| rest == suffix),
        (HostKey::Exact(host), None) => **name == **host,
        (HostKey::Wildcard(host), Some(suffix)) => **host == *suffix,
        (HostKey::Wildcard(_), None) | (HostKey::Subdomains(_) | HostKey::Any, _) => false,
    })
}

/// The problem that a certificate is not valid for a host that it is served for.
pub(super) fn uncovered(certificate: &Certificate, host: &HostKey, secret: &ObjectKey, field: &str) -> Option<Problem> {
    (!covers(certificate, host)).then(|| {
        let what = format!("the certificate in {secret} is not valid for {host}");
        let remedy = match &*certificate.names {
            [] => "it has no DNS names".to_owned(),
            names => format!("it is for {}", names.join(", ")),
        };
        Problem::new(Code::NameNotCovered, field, what, remedy)
    })
}
