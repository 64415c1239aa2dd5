//! TLS towards clients: the certificate of the name they ask for, from the table that is current.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_certificate::ClientCertificate;
use crate::snapshot::Reader;
use crate::table::{Certificates, ClientValidation, HostPolicy, Table, TlsVersion};

/// A handshake takes no longer than this.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a worker needs to take TLS connections; clones take the same session tickets.
#[derive(Clone, Debug)]
pub struct Tls {
    tables: Reader<Table>,
    from_1_2: Arc<ServerConfig>,
    from_1_3: Arc<ServerConfig>,
}

/// What is known of a connection's TLS.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The version spoken.
    pub(super) version: TlsVersion,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
    /// The name that the client asked for.
    pub(super) name: Option<Box<str>>,
    /// The certificate that it has shown, which is a good one then.
    pub(super) certificate: Option<Rc<ClientCertificate>>,
    /// What its certificate was asked for, if it was asked at all.
    validation: Option<Arc<ClientValidation>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The client's first message makes no sense.
    #[error("no ClientHello: {0}")]
    Hello(#[source] std::io::Error),
    /// There is no certificate for the name.
    #[error("no certificate for this name")]
    NoCertificate,
    /// The client's certificate is not one that is let in.
    #[error("the client's certificate: {0}")]
    ClientCertificate(#[source] std::io::Error),
    /// Anything later.
    #[error("handshake: {0}")]
    Handshake(#[source] std::io::Error),
}

impl Tls {
    /// A side that serves the certificates of whatever table is current at each handshake.
    ///
    /// # Errors
    /// When the cryptographic provider cannot make keys for session tickets.
    pub fn new(tables: Reader<Table>) -> Result<Self, rustls::Error> {
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let config = |versions: &[&'static SupportedProtocolVersion]| {
            let mut config = ServerConfig::builder_with_protocol_versions(versions)
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Resolver { tables: tables.clone() }));
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config.ticketer = ticketer.clone();
            // One is enough for the next connection; every further one is another encryption in each handshake.
            config.send_tls13_tickets = 1;
            Arc::new(config)
        };
        Ok(Self {
            from_1_2: config(&[&rustls::version::TLS13, &rustls::version::TLS12]),
            from_1_3: config(&[&rustls::version::TLS13]),
            tables: tables.clone(),
        })
    }

    /// Shakes hands.
    pub(super) async fn accept(&self, tcp: TcpStream) -> Result<(Box<TlsStream<TcpStream>>, Session), HandshakeError> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(HandshakeError::Hello)?;
        let table = self.tables.load();
        let name: Option<Box<str>> = start.client_hello().server_name().map(Into::into);
        let certificate = name.as_deref().and_then(|name| table.certificates.find(name));
        let client = certificate.and_then(|certificate| certificate.client.as_ref());
        let config = match (client, certificate.map(|certificate| certificate.min_version)) {
            (Some(client), _) => &client.config,
            (None, Some(TlsVersion::Tls13)) => &self.from_1_3,
            (None, Some(TlsVersion::Tls12) | None) => &self.from_1_2,
        };
        let validation = client.map(|client| client.validation.clone());
        let known = certificate.is_some();
        let failure = |error| match (known, is_about_client(&error)) {
            (false, _) => HandshakeError::NoCertificate,
            (true, true) => HandshakeError::ClientCertificate(error),
            (true, false) => HandshakeError::Handshake(error),
        };
        let stream = start.into_stream(config.clone()).await.map_err(failure)?;
        let connection = stream.get_ref().1;
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        };
        let http2 = connection.alpn_protocol() == Some(b"h2");
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(|shown| Rc::new(ClientCertificate::new(shown.clone().into_owned())));
        // Apart, since it is large and is handed on a few times.
        Ok((Box::new(stream), Session { version, http2, name, certificate, validation }))
    }
}

impl Session {
    /// Whether it gives what a host asks of connections, and what a route asks of clients' certificates. It may have been
    /// made for another host, or before they asked.
    pub(super) fn gives(&self, host: HostPolicy<'_>, route: Option<&ClientValidation>) -> bool {
        self.version >= host.min_version
            && host.validation.is_none_or(|validation| self.is_validated_by(validation))
            && route.is_none_or(|validation| self.is_validated_by(validation))
    }

    /// Whether the host that it was made for asks something else of clients' certificates by now.
    pub(super) fn is_outdated(&self, certificates: &Certificates) -> bool {
        let now = self.name.as_deref().and_then(|name| certificates.policy(name).validation);
        now.is_some_and(|validation| !self.is_validated_by(validation))
    }

    fn is_validated_by(&self, validation: &ClientValidation) -> bool {
        self.validation.as_ref().is_some_and(|known| known.id == validation.id)
    }
}

/// Whether a handshake failed for the client's certificate.
fn is_about_client(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)))
}

struct Resolver {
    tables: Reader<Table>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A name that nobody declared gets no certificate at all, rather than another tenant's.
        let table = self.tables.load();
        table.certificates.find(hello.server_name()?).map(|certificate| certificate.key.clone())
    }
}
