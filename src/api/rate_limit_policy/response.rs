//! What clients are told.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::pattern;

/// How requests over a limit are answered, and what the headers of the others say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitResponse {
    /// Status of the answer to a request over a limit.
    #[serde(default = "too_many_requests")]
    #[schemars(range(min = 400, max = 599))]
    pub status_code: i32,
    /// Headers that tell clients their quota: IETF (RateLimit-Policy and RateLimit of the IETF draft), XRateLimit
    /// (X-RateLimit-Limit, -Remaining and -Reset, the last in seconds since 1970, as GitHub has them), Both or None.
    /// Refusals carry Retry-After in any case.
    #[serde(default)]
    pub headers: HeaderStyle,
    /// Content-Type of body; text/plain when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::MEDIA_TYPE))]
    pub content_type: Option<String>,
    /// Body of the answer; problem details (application/problem+json, RFC 9457) when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub body: Option<String>,
}

/// Which headers tell clients their quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them.
    #[default]
    #[serde(rename = "IETF")]
    Ietf,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    XRateLimit,
    /// Both sets.
    Both,
    /// None of them.
    None,
}

fn too_many_requests() -> i32 {
    429
}
