//! `GatewayRoute`: hosts, TLS, token checks and rules with their matches, filters, backends and traffic settings.

mod backend;
mod basic_auth;
mod filter;
mod health;
mod jwt;
mod load_balancer;
mod retry;
mod rule;
mod session;
mod tls;
mod traffic;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    condition, pattern,
    schema::{self, Violation},
};

pub use self::{
    backend::{AppProtocol, BackendRef, BackendTls, ProxyProtocol},
    basic_auth::BasicAuth,
    filter::{
        Cors, CorsMethod, DirectResponse, ExternalAuth, Filter, FilterType, HeaderModifier, HeaderValue, IpAccess,
        PathModifier, PathModifierType, RedirectScheme, RequestMirror, RequestRedirect, UrlRewrite,
    },
    health::{CircuitBreaker, FailureRate, HealthCheck, HealthCheckType, OutlierDetection, StatusRange},
    jwt::{
        ClaimToHeader, JwksObjectRef, JwtAlgorithm, JwtProvider, JwtRequirement, LocalJwks, RemoteJwks, RequiredClaim,
        TokenHeader, TokenSource,
    },
    load_balancer::{ConsistentHash, HashKeyType, LoadBalancer, LoadBalancerType, SlowStart},
    retry::{Retry, RetryBudget, RetryOn},
    rule::{RouteMatch, RouteRule},
    session::{CookieConfig, CookieLifetime, SessionPersistence, SessionPersistenceType},
    tls::{ClientValidation, ClientValidationMode, Tls, TlsVersion},
    traffic::{Compression, CompressionAlgorithm, Observability, RequestBody, Timeouts},
};

/// What a GatewayRoute asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "GatewayRoute",
    plural = "gatewayroutes",
    shortname = "gwr",
    category = "headgate",
    namespaced,
    cel,
    status = "GatewayRouteStatus",
    derive = "PartialEq",
    doc = "GatewayRoute sends requests for some hosts to Services, by path, method, headers and query, through an ordered list of filters.",
    selectable = ".spec.ingressClassName",
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hostnames"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        description = "Accepted, or the reason why not",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        description = "The first problem, empty when there is none",
        priority = 1,
        json_path = ".status.message"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "self.rules.all(r, !has(r.name) || self.rules.exists_one(s, has(s.name) && s.name == r.name))"
    )
    .message("rule names must be unique"),
    validation = Rule::new(
        "self.rules.all(r, !has(r.jwt) || r.jwt.providers.all(p, has(self.jwtProviders) && self.jwtProviders.exists(d, d.name == p)))"
    )
    .message("jwt.providers must name an entry of jwtProviders")
)]
pub struct GatewayRouteSpec {
    /// Name of the IngressClass that serves this route, chosen as for an Ingress: when omitted, the cluster's default
    /// class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub ingress_class_name: Option<String>,
    /// Names of the listeners this route is served on, http or https; all of them when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 63), regex(pattern = pattern::LABEL)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub listeners: Vec<String>,
    /// Hosts this route answers for, without port. The first label may be *, which stands for one or more labels. When
    /// omitted, the route answers for every host that no other route names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = pattern::HOSTNAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub hostnames: Vec<String>,
    /// How TLS is terminated for these hosts. Without it the hosts have no certificate of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Issuers of tokens that rules may ask for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub jwt_providers: Vec<JwtProvider>,
    /// What to do with which requests. Their order does not decide: the most specific match wins, and only between
    /// equally specific ones the earlier rule.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<RouteRule>,
}

/// What became of a GatewayRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteStatus {
    /// Accepted: the route is valid and serves (or why not). ResolvedRefs: everything it refers to exists and may be
    /// used. PartiallyInvalid: some rules were dropped. Programmed: the replicas serve this generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list_schema")]
    pub conditions: Vec<Condition>,
    /// The first problem: the field, what is wrong and what would be right. Absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
}

/// Every way in which a GatewayRoute as written differs from what its CRD allows, empty when it is valid.
///
/// See [`schema::Validator::validate`] for what is checked.
pub fn validate(object: &Value) -> Vec<Violation> {
    schema::GATEWAY_ROUTE.validate(object)
}

/// The object as the API server would store it, if it can be read at all, and every violation.
///
/// See [`schema::Validator::read`] for what is dropped; without an object there is at least one violation.
pub fn read(object: &Value) -> (Option<GatewayRoute>, Vec<Violation>) {
    schema::GATEWAY_ROUTE.read(object)
}
