//! One rule: which requests, and what happens to them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{HeaderMatch, Method, PathMatch, QueryParamMatch, pattern},
    BackendRef, BasicAuth, CircuitBreaker, Compression, Filter, HealthCheck, JwtRequirement, LoadBalancer,
    Observability, OutlierDetection, RequestBody, Retry, SessionPersistence, Timeouts,
};

/// Which requests, and what happens to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.backendRefs) && size(self.backendRefs) > 0) || (has(self.filters) && self.filters.exists(f, f.type in ['RequestRedirect','DirectResponse']))"
    )
    .message("a rule needs backendRefs, or a RequestRedirect or DirectResponse filter"),
    validation = Rule::new(
        "!has(self.backendRefs) || size(self.backendRefs) == 0 || self.backendRefs.exists(b, b.weight > 0 && !b.fallback)"
    )
    .message("at least one backendRef that is no fallback must have a weight above 0"),
    validation = Rule::new("!has(self.jwt) || !has(self.basicAuth)")
    .message("set at most one of jwt and basicAuth: both are read from the Authorization header")
)]
pub struct RouteRule {
    /// Name of the rule, unique in the route. Policies refer to it as sectionName; metrics and logs show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub name: Option<String>,
    /// Requests this rule applies to: those that satisfy at least one entry. All requests when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<RouteMatch>,
    /// The token a request must carry. Without it no token is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Box<JwtRequirement>>,
    /// The name and password a request must carry. Without it none are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Steps on the request and its response, in this order. A step that answers ends the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub filters: Vec<Filter>,
    /// Where requests go, shared out by weight. Needed unless a filter answers every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<BackendRef>,
    /// How an endpoint of a backend is chosen; LeastRequest when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// Keeps a client on the endpoint that served it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Box<SessionPersistence>>,
    /// How long each part of an exchange may take. 0s means without limit; the gateway's own default holds for what is
    /// omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Whether and when a failed attempt is made again on another endpoint. An attempt is only repeated while nothing
    /// of the answer has reached the client and the request can be sent again as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// Bounds on what is under way to each backend of the rule, counted on each replica; what exceeds them is answered
    /// 503 at once. What is omitted is not bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<Box<CircuitBreaker>>,
    /// Takes endpoints that fail out of the choice for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// Asks endpoints on a schedule whether they are well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Box<HealthCheck>>,
    /// Bounds on and treatment of the request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestBody>,
    /// Compresses responses for clients that accept it. Without it responses pass unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Box<Compression>>,
    /// What is recorded about the requests of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Condition on the path; every path when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Method of the request; every method when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Conditions on headers, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<HeaderMatch>,
    /// Conditions on query parameters, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub query_params: Vec<QueryParamMatch>,
}
