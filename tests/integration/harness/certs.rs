//! Certificates to serve, from an authority that a client of the test trusts.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority of one's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate for some names, and its key.
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A new certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Leaf {
        self.sign(CertificateParams::new(owned(names)).unwrap())
    }

    /// The same, and it has expired long ago.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Leaf {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    /// A new certificate for whoever has this distinguished name.
    pub(crate) fn issue_to(&self, name: &[(DnType, DnValue)]) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { der: certificate.der().to_vec(), chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The authority's own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A ConfigMap of this name that holds the authority's own certificate as a bundle.
    pub(crate) fn bundle(&self, name: &str) -> String {
        bundle(name, &self.pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// A server of this name that lets in only those whose certificate an authority of `clients` has signed.
    pub(crate) fn server_asking(&self, name: &str, protocols: &[&[u8]], clients: &Self) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(&[name]).rustls();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// A server of this name that speaks these protocols.
    pub(crate) fn server(&self, name: &str, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(&[name]).rustls();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// A client that trusts only this authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_of(&[&rustls::version::TLS13, &rustls::version::TLS12], &[])
    }

    /// The same with these versions and protocols.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        // A resumed session keeps the certificate that its first handshake saw.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Leaf {
    /// A client that shows this certificate to servers that ask, and else is like that one.
    pub(crate) fn shown_by(&self, client: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        let (chain, key) = self.rustls();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let mut client = ClientConfig::clone(client);
        client.client_auth_cert_resolver = Arc::new(shown);
        Arc::new(client)
    }

    fn rustls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.der.clone().into()], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }

    /// A Secret of type `kubernetes.io/tls` of this name that holds it.
    pub(crate) fn secret(&self, name: &str) -> String {
        secret(name, &self.chain, &self.key)
    }
}

/// A Secret of type `kubernetes.io/tls` of this name that holds these texts.
pub(crate) fn secret(name: &str, chain: &str, key: &str) -> String {
    let document = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain, "tls.key": key},
    });
    format!("---\n{document}\n")
}

/// A ConfigMap of this name that holds this text as a bundle.
pub(crate) fn bundle(name: &str, pem: &str) -> String {
    let document = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": pem},
    });
    format!("---\n{document}\n")
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
