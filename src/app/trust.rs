//! Whom we trust when we speak TLS to backends: the system's authorities.

use std::sync::Arc;

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore};

/// Trust in the system's authorities, HTTP/2 or HTTP/1.1 as the backend chooses.
///
/// # Errors
/// When the system's authorities cannot be used at all.
pub fn backends() -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS to backends cannot be set up")?
        .with_root_certificates(system())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's authorities, as far as they can be read.
pub(super) fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}
