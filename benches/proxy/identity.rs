//! A certificate that every proxy shows, and connections that trust it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::offer::NAME;

/// One certificate (ECDSA, P-256) and its key.
pub(crate) struct Identity {
    _folder: TempDir,
    /// Both, as PEM in one file: what HAProxy wants and nginx takes.
    pub(crate) file: PathBuf,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("identity.pem");
        fs::write(&file, format!("{certificate}{key}"))?;
        Ok(Self { _folder: folder, file, certificate, key })
    }
}

/// In clear or encrypted.
pub(crate) type Stream = Box<dyn Bytes>;

/// What both are.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Bytes for T {}

/// Connects, over TLS where there is a certificate to trust: with one cipher and one group, so that every server uses the
/// same.
pub(crate) async fn connect(address: SocketAddr, certificate: Option<&Path>) -> anyhow::Result<Stream> {
    let tcp = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    tcp.set_nodelay(true)?;
    let Some(certificate) = certificate else { return Ok(Box::new(tcp)) };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).map_err(|error| anyhow!("{error}"))?)?;
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(NAME)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}
