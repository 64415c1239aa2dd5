//! Answers that need no backend.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::super::pattern, path::PathModifier};

/// Another address the client is sent to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRedirect {
    /// Scheme of the new address: http or https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Host of the new address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::PRECISE_HOSTNAME))]
    pub hostname: Option<String>,
    /// Path of the new address; the field named like its type holds it. The query is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Port of the new address; when omitted, the scheme's own if scheme is set, else the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Status of the answer: 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    pub status_code: i32,
}

/// The scheme of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is the scheme of that name")]
pub enum RedirectScheme {
    Http,
    Https,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponse {
    /// Status of the answer.
    #[schemars(range(min = 200, max = 599))]
    pub status_code: i32,
    /// Content-Type of the body; text/plain when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::MEDIA_TYPE))]
    pub content_type: Option<String>,
    /// Body of the answer; empty when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub body: Option<String>,
}

/// The status Gateway API redirects with by default.
fn found() -> i32 {
    302
}
