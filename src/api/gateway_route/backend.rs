//! Where requests go.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{CaCertificateRef, SecretObjectRef, pattern, reference::service},
    Filter,
};

/// A port of a Service and its share of the requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// API group of the referent. Only the core group, written as the empty string, is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referent. Only Service is supported.
    #[serde(default = "service")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Service; the route's own when omitted. Another namespace must allow the reference with a
    /// ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// Port number of the Service (not of its pods).
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Share of the requests: this number out of the sum over all backendRefs of the rule. 0 sends none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
    /// Keeps it in reserve: it gets requests only while the backend that a request would go to has no endpoint that
    /// takes requests, because there is none or all are left out. Several share such requests by weight.
    #[serde(default)]
    pub fallback: bool,
    /// Protocol spoken to the endpoints: http, h2c, https or grpc, which takes calls of browsers in gRPC-Web as well. When
    /// omitted, what the Service port's appProtocol says, else http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
    /// Version of the PROXY protocol by which endpoints are told for whom a connection is made: V1 or V2. Such a connection
    /// carries requests of one client only, so there are more of them. Only for HTTP/1.1, in clear text or over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How the endpoints' certificate is verified and which one is shown to them. Setting it turns TLS on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// Steps for the requests that go to this backend, after those of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub filters: Vec<Filter>,
}

/// A protocol spoken to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    /// HTTP/1.1 in clear text.
    Http,
    /// HTTP/2 in clear text, with prior knowledge.
    H2c,
    /// HTTP over TLS, HTTP/2 where ALPN agrees.
    Https,
    /// gRPC: HTTP/2, in clear text unless `tls` is set. Calls in gRPC-Web, as browsers make them, become calls of gRPC.
    Grpc,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// Name sent as SNI and expected in the certificate; when omitted, that of the Service, as in app.shop.svc.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::PRECISE_HOSTNAME))]
    pub hostname: Option<String>,
    /// Authorities that may have signed the certificate; those of the system when omitted. While one of them cannot be
    /// read, the backend's share is answered with 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// Secret of type kubernetes.io/tls with the certificate shown to endpoints that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectRef>,
}

fn one() -> i32 {
    1
}
