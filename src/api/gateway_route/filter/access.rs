//! Who may pass: by address, or by the word of another service.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::super::{BackendObjectRef, Duration, pattern};

/// Which addresses of clients may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.allow) || has(self.deny)").message("ipAccess needs allow or deny"))]
pub struct IpAccess {
    /// Networks in CIDR notation, or single addresses, that may pass; all when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 2, max = 49)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allow: Vec<String>,
    /// Networks in CIDR notation, or single addresses, that may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 2, max = 49)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub deny: Vec<String>,
}

/// A service that is asked about every request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuth {
    /// The service to ask, over HTTP.
    pub backend_ref: BackendObjectRef,
    /// Path of the question; the path of the request itself when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::ABSOLUTE_PATH))]
    pub path: Option<String>,
    /// Headers of the request that are shown to the service, beside those that say what is asked for and by whom: Host,
    /// X-Forwarded-Method, -Proto, -Host, -Uri and -For, X-Original-URL, X-Original-Method and X-Request-Id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_headers: Vec<String>,
    /// Headers of the service's answer that are passed on to the backend, in place of what the client sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_response_headers: Vec<String>,
    /// How long the service may take to answer.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Lets requests pass while the service cannot be reached, does not answer in time, or answers 5xx. When false they
    /// are answered 503, or with that answer.
    #[serde(default)]
    pub fail_open: bool,
}

fn default_timeout() -> Duration {
    Duration::from_millis(1_000)
}
