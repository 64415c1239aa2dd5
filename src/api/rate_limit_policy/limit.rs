//! One limit: how many requests, counted by what, where and how.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Duration, HeaderMatch, Method, PathMatch, pattern};

/// How many requests may pass, counted by what, where and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.burst) || self.algorithm != 'SlidingWindow'")
        .message("burst is not used by SlidingWindow"),
    validation = Rule::new("!has(self.maxDelay) || self.algorithm == 'LeakyBucket'")
        .message("maxDelay is only used by LeakyBucket"),
    validation = Rule::new("!has(self.precision) || self.algorithm == 'SlidingWindow'")
        .message("precision is only used by SlidingWindow"),
    validation = Rule::new("self.scope == 'Global' || !(has(self.sync) || has(self.failureMode))")
        .message("sync and failureMode are only used when scope is Global")
)]
pub struct Limit {
    /// Name of the limit, unique in the policy. Clients see it in the RateLimit headers, operators in metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// How requests are counted: TokenBucket (tokens come back evenly, burst of them can be saved), LeakyBucket
    /// (requests pass at an even pace, up to burst of them waiting for their turn) or SlidingWindow (at most requests
    /// in any span of period).
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How many requests may pass in each period.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: i32,
    /// The time over which requests are counted, above 0s and at most 24h.
    #[x_kube(validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('24h')")
        .message("period must be above 0s and at most 24h"))]
    pub period: Duration,
    /// TokenBucket: how many requests may pass at once after a quiet time; requests when omitted. LeakyBucket: how many
    /// requests may be ahead of their pace; 1 when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<i32>,
    /// LeakyBucket: longest time a request waits for its turn before it is refused; requests do not wait when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Duration>,
    /// SlidingWindow: Exact (remembers every request) or Approximate (two counters, some percent off); Exact when
    /// omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// How many requests one request counts for.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cost: i32,
    /// What requests are told apart by: each combination of values has a count of its own. One count for all requests
    /// when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub key: Vec<KeyPart>,
    /// Where the count is kept: Local (each replica counts for itself, so that the limit holds for each) or Global (in
    /// Redis, one count for all replicas).
    #[serde(default)]
    pub scope: Scope,
    /// Global only: Strict (Redis decides about every request) or Leased (replicas take tokens in small batches, which
    /// is faster and lets a few requests too many pass; not with LeakyBucket); Strict when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncMode>,
    /// Global only: what happens while Redis is away. Open lets every request pass, Closed refuses every request, Local
    /// counts on each replica; Local when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<FailureMode>,
    /// Counts and reports, but never refuses: for trying a limit out.
    #[serde(default)]
    pub shadow: bool,
    /// Requests the limit applies to: those that satisfy every condition. All requests when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<LimitCondition>,
}

/// How requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// Tokens that come back evenly and can be saved.
    #[default]
    TokenBucket,
    /// An even pace with a queue.
    LeakyBucket,
    /// A bound on every span of time.
    SlidingWindow,
}

/// How exactly a sliding window counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// By a log of requests.
    #[default]
    Exact,
    /// By two counters.
    Approximate,
}

/// Where a count is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// In each replica.
    #[default]
    Local,
    /// In Redis.
    Global,
}

/// How replicas agree on a global count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SyncMode {
    /// By asking for every request.
    #[default]
    Strict,
    /// By taking small batches.
    Leased,
}

/// What happens while the store of a global count is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureMode {
    /// Every request passes.
    Open,
    /// Every request is refused.
    Closed,
    /// Each replica counts for itself.
    #[default]
    Local,
}

/// A part of what requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type in ['ClientIP','Host','Route']) ? !has(self.name) : has(self.name)")
        .message("name is required for this key type"),
    validation = Rule::new("self.type == 'ClientIP' || !(has(self.ipv4PrefixLength) || has(self.ipv6PrefixLength))")
        .message("ipv4PrefixLength and ipv6PrefixLength are only used when type is ClientIP")
)]
pub struct KeyPart {
    /// What is looked at: ClientIP, Header, Cookie, QueryParam, PathParam (of a Template match), JWTClaim (of the
    /// verified token), Host or Route (the rule that serves the request).
    #[serde(rename = "type")]
    pub key_type: KeyType,
    /// Name of the header, cookie, parameter or claim. Required except for ClientIP, Host and Route, where it must be
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// What happens to a request that does not have it: Skip (the limit does not apply), Shared (all such requests
    /// share one count) or Reject (it is refused); Shared when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_missing: Option<OnMissing>,
    /// ClientIP: how many leading bits of an IPv4 address are looked at; 32 when omitted.
    #[serde(rename = "ipv4PrefixLength", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix_length: Option<i32>,
    /// ClientIP: how many leading bits of an IPv6 address are looked at; 64 when omitted, which is what one customer
    /// commonly has.
    #[serde(rename = "ipv6PrefixLength", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix_length: Option<i32>,
}

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
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
    /// The host of the request.
    Host,
    /// The rule that serves the request.
    Route,
}

/// What happens to a request without a part of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnMissing {
    /// The limit does not apply to it.
    Skip,
    /// All such requests share one count.
    #[default]
    Shared,
    /// It is refused.
    Reject,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitCondition {
    /// Methods; every method when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<Method>,
    /// Condition on the path as the client sent it, after normalisation and before any rewrite; every path when
    /// omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Conditions on headers, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<HeaderMatch>,
    /// Networks in CIDR notation of which one must contain the client's address; every address when omitted.
    #[serde(rename = "sourceCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 2, max = 49)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub source_cidrs: Vec<String>,
    /// Networks in CIDR notation to whose addresses the limit does not apply.
    #[serde(rename = "exceptCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 2, max = 49)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub except_cidrs: Vec<String>,
}

fn one() -> i32 {
    1
}
