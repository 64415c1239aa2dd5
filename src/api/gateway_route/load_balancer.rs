//! How an endpoint is chosen.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Duration;

/// How an endpoint of a backend is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'ConsistentHash' ? has(self.consistentHash) : !has(self.consistentHash)")
    .message("consistentHash must be set exactly when type is ConsistentHash"))]
pub struct LoadBalancer {
    /// The method: RoundRobin, LeastRequest (of two at random, the one with fewer requests under way), Random,
    /// PeakEWMA (of two at random, the one that answers sooner) or ConsistentHash (the same key, the same endpoint, on
    /// every replica).
    #[serde(default, rename = "type")]
    pub balancer_type: LoadBalancerType,
    /// Settings of ConsistentHash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// Gives new endpoints a growing share instead of a full one at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// A method of choosing an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LoadBalancerType {
    /// One after the other.
    RoundRobin,
    /// The less busy of two random ones.
    #[default]
    LeastRequest,
    /// Any.
    Random,
    /// The quicker of two random ones.
    #[serde(rename = "PeakEWMA")]
    PeakEwma,
    /// The one the request's key maps to.
    ConsistentHash,
}

/// Which part of a request decides, and how unevenly it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'ClientIP' ? !has(self.name) : has(self.name)")
    .message("name is required unless type is ClientIP"))]
pub struct ConsistentHash {
    /// What the key is taken from: ClientIP, Header, Cookie, QueryParam, PathParam (of a Template match) or JWTClaim.
    /// A request without it goes to a random endpoint.
    #[serde(rename = "type")]
    pub key_type: HashKeyType,
    /// Name of the header, cookie, parameter or claim. Required unless type is ClientIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Most requests under way at one endpoint, in percent of the average; a request that would exceed it goes to the
    /// next endpoint of the ring.
    #[serde(default = "default_balance_factor")]
    #[schemars(range(min = 101, max = 10_000))]
    pub balance_factor_percent: i32,
}

/// The part of a request that is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HashKeyType {
    /// The address of the client.
    #[serde(rename = "ClientIP")]
    ClientIp,
    /// A request header.
    Header,
    /// A cookie.
    Cookie,
    /// A query parameter.
    QueryParam,
    /// A parameter of the path template.
    PathParam,
    /// A claim of the verified token.
    #[serde(rename = "JWTClaim")]
    JwtClaim,
}

/// A growing share for new endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// Time after which an endpoint has its full share.
    pub window: Duration,
}

/// The bound that the paper on bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016) and HAProxy suggest.
fn default_balance_factor() -> i32 {
    125
}
