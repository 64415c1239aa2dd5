//! What a request is asked before its route's filters see it.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use super::{ClientValidation, Target};
use crate::auth::Reserved;
use crate::filter::{Cors, ExternalAuth, IpAccess, Title};

/// What a request is asked before its route's filters see it: each at its own step (see [`crate::filter`]).
#[derive(Debug, Default)]
pub struct Access {
    /// Which addresses of clients may pass; all when there is none.
    pub ip: Option<Box<IpAccess>>,
    /// Whether an address that may pass has nothing to prove, and whoever proves what is asked may come from anywhere.
    pub either: bool,
    /// Which pages of other origins may use the route; it is not spoken of when there is none.
    pub cors: Option<Box<Cors>>,
    /// Another service that is asked whether a request may pass.
    pub external_auth: Option<Box<AuthService>>,
    /// Headers that backends take our word for, such as the name of whoever has proved it. What a client sends by these
    /// names is dropped, from its trailers as well, whether it proves who it is or not.
    pub vouched: Reserved,
    /// What the clients' certificates are asked for; no certificate is when there is nothing.
    pub client_validation: Option<Arc<ClientValidation>>,
    /// How backends are told of the certificate that a client has shown; not at all when there is nothing.
    pub certificate: Option<CertificateHeaders>,
    /// Bounds on the request's body.
    pub body: BodyBounds,
}

/// How backends are told of the certificate that a client has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateHeaders {
    /// `Client-Cert` (RFC 9440).
    ClientCert,
    /// `Ssl-Client-Verify`, `-Subject-Dn` and `-Issuer-Dn`, as ingress-nginx has it.
    SslClient {
        /// `Ssl-Client-Cert` as well, with all of it.
        whole: bool,
    },
}

/// A service that is asked whether requests may pass.
#[derive(Debug)]
pub struct AuthService {
    /// How it is asked.
    pub auth: ExternalAuth,
    /// `namespace/service:port`, or the host.
    pub name: Arc<str>,
    /// Who that is.
    pub target: AuthTarget,
}

/// Who is asked whether a request may pass.
#[derive(Debug)]
pub enum AuthTarget {
    /// What stands behind a reference.
    Backend(Target),
    /// Whoever serves the path of the question on this host, or else on the request's own. The route must ask for
    /// nothing itself, or it would be asked by somebody whom it keeps out.
    Host(Option<Box<str>>),
}

/// Bounds on a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyBounds {
    /// The most bytes that it may have.
    pub most: Option<u64>,
    /// Whether it is read to its end before a backend is chosen.
    pub held: bool,
}

impl Access {
    /// Its steps in words, in the order in which they are run.
    pub fn steps(&self) -> Vec<String> {
        [self.before_identity(), self.at_identity(), self.after_identity()].concat()
    }

    /// Those that need not know who asks.
    pub(super) fn before_identity(&self) -> Vec<String> {
        let validation = self.client_validation.iter().map(|validation| format!("clientValidation: {validation}"));
        let or = if self.either { "; or else who proves who they are, which nobody else has to" } else { "" };
        let ip = self.ip.iter().map(|ip| format!("IPAccess: {ip}{or}"));
        validation.chain(ip).chain(self.cors.iter().map(|cors| format!("CORS: {cors}"))).collect()
    }

    /// What is made sure of before a token or a password is looked at.
    pub(super) fn at_identity(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if !self.vouched.is_empty() {
            let names: Vec<_> = self.vouched.iter().map(|name| Title(name).to_string()).collect();
            steps.push(format!("clients cannot send {}", names.join(", ")));
        }
        steps.extend(self.certificate.map(|told| format!("the backend is told of the client's certificate: {told}")));
        steps
    }

    /// Those that come after the token or the password.
    pub(super) fn after_identity(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some(AuthService { auth, name, target: _ }) = self.external_auth.as_deref() {
            steps.push(format!("ExternalAuth: asks {name}: {auth}"));
        }
        let BodyBounds { most, held } = self.body;
        if let Some(most) = most {
            steps.push(format!("a body of at most {most} bytes"));
        }
        if held {
            steps.push("the body is read before a backend is chosen".to_owned());
        }
        steps
    }

    /// Headers and trailers that no client can send on this route.
    pub fn unforgeable(&self) -> impl Iterator<Item = &HeaderName> {
        let passed_on = self.external_auth.iter().flat_map(|service| &service.auth.passed_on);
        self.vouched.iter().chain(passed_on)
    }
}

impl fmt::Display for CertificateHeaders {
    /// `Ssl-Client-Verify, Ssl-Client-Subject-Dn, Ssl-Client-Issuer-Dn`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCert => f.write_str("Client-Cert"),
            Self::SslClient { whole } => {
                f.write_str("Ssl-Client-Verify, Ssl-Client-Subject-Dn, Ssl-Client-Issuer-Dn")?;
                f.write_str(if *whole { ", Ssl-Client-Cert" } else { "" })
            }
        }
    }
}
