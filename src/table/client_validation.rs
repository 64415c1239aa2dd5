//! How certificates of clients are checked.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::certificate::TlsVersion;
use crate::auth::{Fingerprint, fingerprint};

/// What a host asks of the certificates of its clients.
pub struct ClientValidation {
    /// Equal for those that ask the same.
    pub id: Fingerprint,
    /// Whether a client must show one.
    pub required: bool,
    /// Where the authorities stand that may have signed it.
    authorities: Box<str>,
    /// Nothing when it is not known who may be let in.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// What a host asks of the certificates of its clients, and the handshake that does.
#[derive(Clone)]
pub struct ClientAuth {
    /// What it asks.
    pub validation: Arc<ClientValidation>,
    /// The whole of the host's handshake.
    pub config: Arc<ServerConfig>,
}

impl ClientValidation {
    /// A certificate that one of `roots` has signed is let in, and none at all unless it is `required`. `bundles` are what
    /// the roots were read from and `authorities` the name of that.
    ///
    /// # Errors
    /// When there are no roots.
    pub fn new(
        required: bool,
        roots: RootCertStore,
        bundles: &[&[u8]],
        authorities: &str,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if required { builder } else { builder.allow_unauthenticated() }.build()?;
        let mode: &[u8] = if required { b"required" } else { b"optional" };
        let parts: Vec<_> = [mode].into_iter().chain(bundles.iter().copied()).collect();
        Ok(Self { id: fingerprint(&parts), required, authorities: authorities.into(), verifier: Some(verifier) })
    }

    /// What a host asks whose authorities cannot be used: whatever is shown, nobody is let in.
    pub fn closed() -> Self {
        Self { id: fingerprint(&[b"closed"]), required: true, authorities: "nobody".into(), verifier: None }
    }

    /// Whether nobody is let in.
    pub fn is_closed(&self) -> bool {
        self.verifier.is_none()
    }

    /// The handshake of a host that shows this certificate. No session of it is ever resumed: what was found of a client
    /// once may not be so any more.
    ///
    /// # Errors
    /// When the cryptographic provider cannot do what TLS needs.
    pub fn handshake(
        self: &Arc<Self>,
        key: &Arc<CertifiedKey>,
        min_version: TlsVersion,
    ) -> Result<ClientAuth, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?;
        let config = match &self.verifier {
            Some(verifier) => config.with_client_cert_verifier(verifier.clone()),
            // The request is told what is wrong; a handshake could not.
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(ClientAuth { validation: self.clone(), config: Arc::new(config) })
    }
}

impl fmt::Display for ClientValidation {
    /// `Required, signed by ConfigMap shop/partners`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.required { "Required" } else { "Optional" };
        write!(f, "{mode}, signed by {}", self.authorities)
    }
}

impl fmt::Debug for ClientValidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientValidation({self})")
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.validation.fmt(f)
    }
}
