//! What keeps a backend in trouble from dragging others along.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Duration, pattern};

/// Bounds on what is under way to each backend of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Most connections to all endpoints together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<i32>,
    /// Most requests that wait for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_pending_requests: Option<i32>,
    /// Most requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_parallel_requests: Option<i32>,
    /// Most repeated attempts under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_parallel_retries: Option<i32>,
}

/// When an endpoint that fails is left out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Failures in a row (answers of 5xx, or none) after which an endpoint is left out.
    #[serde(default = "default_consecutive_failures")]
    #[schemars(range(min = 1, max = 10_000))]
    pub consecutive_failures: i32,
    /// Failures in a row as of a gateway whose own backend is away, after which an endpoint is left out: 502, 503, 504, or
    /// no whole answer in time. They count for consecutiveFailures too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub consecutive_gateway_failures: Option<i32>,
    /// Failures in a row to connect, TLS included, after which an endpoint is left out. They count for the others too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub consecutive_connect_failures: Option<i32>,
    /// Leaves an endpoint out for the share of its failures, in a row or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<FailureRate>,
    /// How often endpoints that were left out are looked at again, and how long failureRate counts.
    #[serde(default = "default_outlier_interval")]
    pub interval: Duration,
    /// How long an endpoint is left out the first time; each further time adds as much again.
    #[serde(default = "default_base_ejection_time")]
    pub base_ejection_time: Duration,
    /// Most endpoints of a backend that are left out at once, in percent. One may always be.
    #[serde(default = "default_max_ejection_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: i32,
}

/// A share of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRate {
    /// Failures in a hundred requests of one interval.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,
    /// Requests of one interval below which nothing follows.
    #[serde(default = "default_min_requests")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: i32,
}

/// Questions to endpoints on a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'HTTP' ? has(self.path) : !has(self.path)")
        .message("path must be set exactly when type is HTTP"),
    validation = Rule::new("!has(self.expectedStatuses) || self.type == 'HTTP'")
        .message("expectedStatuses is only used when type is HTTP"),
    validation = Rule::new("!has(self.grpcService) || self.type == 'GRPC'")
        .message("grpcService is only used when type is GRPC")
)]
pub struct HealthCheck {
    /// What is asked: HTTP (a GET of path), GRPC (gRPC's health protocol, grpc.health.v1.Health/Check) or TCP (a
    /// connection, with its TLS handshake where the backend is spoken to over TLS).
    #[serde(default, rename = "type")]
    pub check_type: HealthCheckType,
    /// Path that is asked for with GET. Required when type is HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::ABSOLUTE_PATH))]
    pub path: Option<String>,
    /// Service whose health is asked for when type is GRPC, as in shop.v1.Orders; the server as a whole when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::GRPC_SERVICE))]
    pub grpc_service: Option<String>,
    /// Time between two questions to one endpoint.
    #[serde(default = "default_check_interval")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(default = "default_check_timeout")]
    pub timeout: Duration,
    /// Good answers in a row after which an endpoint is used again.
    #[serde(default = "default_healthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: i32,
    /// Bad answers in a row after which an endpoint is not used.
    #[serde(default = "default_unhealthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: i32,
    /// Statuses of a good answer; 200 to 299 when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub expected_statuses: Vec<StatusRange>,
}

/// What endpoints are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HealthCheckType {
    /// A GET.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// A call of gRPC's health protocol.
    #[serde(rename = "GRPC")]
    Grpc,
    /// A connection.
    #[serde(rename = "TCP")]
    Tcp,
}

/// A range of statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.start <= self.end").message("start must not be above end"))]
pub struct StatusRange {
    /// First status of the range.
    #[schemars(range(min = 100, max = 599))]
    pub start: i32,
    /// Last status of the range.
    #[schemars(range(min = 100, max = 599))]
    pub end: i32,
}

fn default_consecutive_failures() -> i32 {
    5
}

fn default_min_requests() -> i32 {
    20
}

fn default_outlier_interval() -> Duration {
    Duration::from_millis(10_000)
}

fn default_base_ejection_time() -> Duration {
    Duration::from_millis(30_000)
}

fn default_max_ejection_percent() -> i32 {
    50
}

fn default_check_interval() -> Duration {
    Duration::from_millis(5_000)
}

fn default_check_timeout() -> Duration {
    Duration::from_millis(1_000)
}

fn default_healthy_threshold() -> i32 {
    1
}

fn default_unhealthy_threshold() -> i32 {
    3
}
