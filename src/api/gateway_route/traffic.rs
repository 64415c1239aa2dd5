//! How an exchange is carried: time, body, compression, records.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{ByteSize, Duration, pattern};

/// How long each part of an exchange may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!(has(self.request) && has(self.backendRequest) && duration(self.request) != duration('0s') && duration(self.backendRequest) > duration(self.request))"
)
.message("backendRequest must not be longer than request"))]
pub struct Timeouts {
    /// The whole exchange, from the request's head to the last byte of the answer, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One attempt, from sending the request to the first byte of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
    /// Connecting to an endpoint, TLS included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// Time without a byte in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}

/// Bounds on and treatment of the request body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBody {
    /// Largest body, such as 10Mi; larger ones are answered 413. 0 means without limit, as does omitting it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
    /// Reads the whole body before choosing an endpoint, which spares backends slow uploads and lets requests with a
    /// body be retried. Bodies over maxBodySize, or over 1Mi when that is omitted, are answered 413.
    #[serde(default)]
    pub buffering: bool,
}

/// Compression of backends' responses. Left as they are: responses that are compressed already or say no-transform, parts
/// (206), responses with a digest of their body, event streams, gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// Algorithms in order of preference: zstd, br, gzip. Among those that a client likes best, the first is used.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<CompressionAlgorithm>,
    /// Smallest response that is compressed, if its size is known beforehand and the client takes it as it is.
    #[serde(default = "default_min_size")]
    pub min_size: ByteSize,
    /// Media types that are compressed; a subtype of * stands for all. A built-in list of text formats when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 3, max = 128), regex(pattern = pattern::MEDIA_TYPE)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub content_types: Vec<String>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    /// Zstandard, RFC 8878.
    Zstd,
    /// Brotli, RFC 7932.
    Br,
    /// gzip, RFC 1952.
    Gzip,
}

/// What is recorded about requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// Whether the access log has a line for each request; as the gateway is set when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
    /// How many requests of a hundred are traced when the caller has not decided; as the gateway is set when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub trace_sample_percent: Option<i32>,
}

fn default_min_size() -> ByteSize {
    ByteSize::from_kibibytes(1)
}
