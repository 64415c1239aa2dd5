//! Certificates by the name that a client asks for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use serde::{Serialize, Serializer};

use super::client_validation::{ClientAuth, ClientValidation};
use super::host::HostKey;
use crate::persistent::Map;

/// The lowest version of TLS that a host lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// `1.2`, in the words of a declaration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TlsVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A certificate chain with its key, and what is known of it.
pub struct Certificate {
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// The lowest version of TLS that the declaration lets in.
    pub min_version: TlsVersion,
    /// What is asked of the certificates of clients; none is asked for when there is nothing.
    pub client: Option<ClientAuth>,
    /// Namespace and name of the Secret it comes from.
    pub secret: (Arc<str>, Arc<str>),
    /// The DNS names it is valid for, as it spells them.
    pub names: Box<[Box<str>]>,
    /// When it ends to be valid, in seconds since 1970.
    pub not_after: i64,
}

impl fmt::Debug for Certificate {
    /// Everything but the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: _, min_version, client, secret, names, not_after } = self;
        f.debug_struct("Certificate")
            .field("min_version", min_version)
            .field("client", client)
            .field("secret", secret)
            .field("names", names)
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

/// The certificate of each host; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    named: Map<Arc<str>, Arc<Claims>>,
    default: Option<Arc<Certificate>>,
}

/// What is declared for a name, and for the names one label below it.
#[derive(Clone, Debug, Default)]
struct Claims {
    exact: Option<Arc<Certificate>>,
    wildcard: Option<Arc<Certificate>>,
    /// What is asked of clients where there is no certificate to ask them with.
    unserved_exact: Option<Arc<ClientValidation>>,
    unserved_wildcard: Option<Arc<ClientValidation>>,
}

/// What a host asks of the connections that its requests come by.
#[derive(Clone, Copy, Debug)]
pub struct HostPolicy<'c> {
    /// The lowest version of TLS.
    pub min_version: TlsVersion,
    /// What the client's certificate is asked for.
    pub validation: Option<&'c ClientValidation>,
}

impl Certificates {
    /// Gives a host its certificate; or, if it has none, notes what it asks of clients, whose requests may come by a
    /// connection that was made for another host.
    ///
    /// A star in a certificate stands for one label (RFC 6125 6.4.3), so [`HostKey::Subdomains`] has none;
    /// [`HostKey::Any`] names what is shown to a client whose name nothing else claims.
    pub fn set(&mut self, key: &HostKey, certificate: Result<Arc<Certificate>, Option<Arc<ClientValidation>>>) {
        let (certificate, unserved) = match certificate {
            Ok(certificate) => (Some(certificate), None),
            Err(unserved) => (None, unserved),
        };
        let (HostKey::Exact(name) | HostKey::Wildcard(name)) = key else {
            if *key == HostKey::Any {
                self.default = certificate;
            }
            return;
        };
        let mut claims = self.named.get(name).map(|claims| (**claims).clone()).unwrap_or_default();
        if matches!(key, HostKey::Exact(_)) {
            (claims.exact, claims.unserved_exact) = (certificate, unserved);
        } else {
            (claims.wildcard, claims.unserved_wildcard) = (certificate, unserved);
        }
        let Claims { exact, wildcard, unserved_exact, unserved_wildcard } = &claims;
        if exact.is_some() || wildcard.is_some() || unserved_exact.is_some() || unserved_wildcard.is_some() {
            self.named.insert(name.clone(), Arc::new(claims));
        } else {
            self.named.remove(name);
        }
    }

    /// Whether these are the very same.
    pub fn is(&self, other: &Self) -> bool {
        self.named.is(&other.named) && self.default.as_ref().map(Arc::as_ptr) == other.default.as_ref().map(Arc::as_ptr)
    }

    /// What the host of this name asks of connections: what a handshake for it asks, or would if there were one.
    pub fn policy(&self, host: &str) -> HostPolicy<'_> {
        match self.find(host) {
            Some(certificate) => HostPolicy {
                min_version: certificate.min_version,
                validation: certificate.client.as_ref().map(|client| &*client.validation),
            },
            None => {
                let exact = || self.named.get(host)?.unserved_exact.as_deref();
                let wildcard = || self.named.get(host.split_once('.')?.1)?.unserved_wildcard.as_deref();
                HostPolicy { min_version: TlsVersion::default(), validation: exact().or_else(wildcard) }
            }
        }
    }

    /// The certificate for the name in a ClientHello: its own, else that of the wildcard one label up, else the
    /// default. Case and a final dot make no difference; without a name, pass an empty one.
    pub fn find(&self, sni: &str) -> Option<&Arc<Certificate>> {
        let name = sni.strip_suffix('.').unwrap_or(sni);
        let name: Cow<'_, str> = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_ascii_lowercase().into()
        } else {
            name.into()
        };
        let exact = || self.named.get(&*name)?.exact.as_ref();
        let wildcard = || match name.split_once('.') {
            Some((label, suffix)) if !label.is_empty() => self.named.get(suffix)?.wildcard.as_ref(),
            _ => None,
        };
        exact().or_else(wildcard).or(self.default.as_ref())
    }

    /// Every host with a certificate, in the order of the hosts.
    pub fn iter(&self) -> impl Iterator<Item = (HostKey, &Arc<Certificate>)> {
        let mut all: Vec<_> = self
            .named
            .iter()
            .flat_map(|(name, claims)| {
                let exact = claims.exact.as_ref().map(|certificate| (HostKey::Exact(name.clone()), certificate));
                let wildcard =
                    claims.wildcard.as_ref().map(|certificate| (HostKey::Wildcard(name.clone()), certificate));
                [exact, wildcard].into_iter().flatten()
            })
            .chain(self.default.iter().map(|certificate| (HostKey::Any, certificate)))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter()
    }
}

/// A certificate of the Secret `shop/NAME` for `NAME.example.com`.
#[cfg(test)]
pub(super) fn sample_certificate(name: &str) -> Certificate {
    use std::sync::LazyLock;
    // Making a key takes a while, and no test looks at it.
    static KEY: LazyLock<Arc<CertifiedKey>> = LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(vec![made.cert.into()], key))
    });
    Certificate {
        key: Arc::clone(&KEY),
        min_version: TlsVersion::default(),
        client: None,
        secret: ("shop".into(), name.into()),
        names: [format!("{name}.example.com").into()].into(),
        not_after: 2_000_000_000,
    }
}

#[cfg(test)]
mod tests;
