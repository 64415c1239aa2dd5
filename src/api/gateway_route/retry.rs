//! Second attempts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Duration, Method};

/// Whether and when a failed attempt is made again on another endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Most attempts after the first.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: i32,
    /// Statuses of an answer that make it a failed attempt. 504 also stands for an attempt that took longer than
    /// timeouts.backendRequest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(range(min = 400, max = 599)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub codes: Vec<i32>,
    /// Other failures that are tried again: connect-failure (no connection), refused-stream (HTTP/2: not processed),
    /// reset (connection lost before an answer), and the gRPC statuses cancelled, deadline-exceeded, internal,
    /// resource-exhausted and unavailable of a call that failed at once. connect-failure and refused-stream when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub retry_on: Vec<RetryOn>,
    /// Pause before the first repetition; it doubles each time, with jitter.
    #[serde(default = "default_backoff")]
    pub backoff: Duration,
    /// Longest pause.
    #[serde(default = "default_max_backoff")]
    pub max_backoff: Duration,
    /// Methods whose requests are repeated after they may have reached a backend; GET, HEAD and OPTIONS when omitted.
    /// Attempts that never reached one are repeated whatever the method, and calls of gRPC when retryOn names a gRPC
    /// status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<Method>,
    /// Bound on repetitions over all requests of the rule, so that they cannot multiply the load on a backend in
    /// trouble. 20 percent when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<RetryBudget>,
}

/// A failure that is no status of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection to the endpoint.
    ConnectFailure,
    /// HTTP/2: the endpoint says that it did not process the request.
    RefusedStream,
    /// The connection was lost before an answer.
    Reset,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
}

/// A bound on repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Most repetitions in percent of the requests of the interval.
    #[serde(default = "default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// Time over which requests and repetitions are counted.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// Repetitions a second that are allowed however few requests there are.
    #[serde(default = "default_min_retries")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_retries_per_second: i32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: default_percent(), interval: default_interval(), min_retries_per_second: default_min_retries() }
    }
}

fn default_attempts() -> i32 {
    1
}

fn default_backoff() -> Duration {
    Duration::from_millis(25)
}

fn default_max_backoff() -> Duration {
    Duration::from_millis(250)
}

/// The share that Gateway API's `BackendTrafficPolicy` (GEP-3388) and Linkerd start from.
fn default_percent() -> i32 {
    20
}

fn default_interval() -> Duration {
    Duration::from_millis(10_000)
}

fn default_min_retries() -> i32 {
    10
}
