//! TLS towards clients.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{CaCertificateRef, SecretObjectRef};

/// How TLS is terminated for the hosts of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secrets of type kubernetes.io/tls. For each host the certificate that covers it is shown; several for one host
    /// may differ in key type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub certificate_refs: Vec<SecretObjectRef>,
    /// Oldest version of TLS accepted: "1.2" or "1.3"; 1.2 when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Answers requests on the http listener with a 308 to the same address on https.
    #[serde(default)]
    pub http_redirect: bool,
    /// Asks clients of the route's hosts for a certificate. Without it none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<ClientValidation>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// How certificates of clients are checked. It holds for every route of the hosts, since the handshake comes before the
/// request. A request that came by a connection that was not asked is answered 421, one in clear 403 where a certificate
/// is required. Headers that speak of a client's certificate are dropped from what clients send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientValidation {
    /// Required: a client without a valid certificate is refused. Optional: it may show none, but not an invalid one.
    #[serde(default)]
    pub mode: ClientValidationMode,
    /// Authorities that may have signed a client's certificate. While one of them cannot be read, nobody is let in.
    #[schemars(length(min = 1, max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// Tells backends of the certificate that a client has shown, in the header Client-Cert (RFC 9440).
    #[serde(default)]
    pub forward_certificate: bool,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientValidationMode {
    /// A certificate is checked if one is shown.
    Optional,
    /// A valid certificate must be shown.
    #[default]
    Required,
}
