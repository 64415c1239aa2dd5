//! Declared resources: what users write, as data.
//!
//! [`GatewayRoute`] and [`RateLimitPolicy`] are ours; [`ReferenceGrant`] belongs to Gateway API and is only read.
//! The types carry everything the API server can check (ranges, lengths, patterns, CEL rules), and their doc
//! comments become the text of `kubectl explain`. `gateway_route::validate` and its siblings run the same checks in
//! this process, so a folder of files is judged exactly as a cluster would judge it.
//!
//! Nothing here decides anything: whether a reference resolves, who wins a conflict and what a field does is the
//! business of `compile`. Uses serde, schemars, kube and regex; nothing of ours.

#![allow(unreachable_pub, reason = "the copies of our types that KubeSchema derives live inside functions")]
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type, and most have the same")]

mod byte_size;
mod condition;
mod crd;
mod duration;
mod pattern;
mod reference;
mod request_match;
pub mod schema;
mod service;
mod suggestion;

pub mod gateway_route;
pub mod rate_limit_policy;
pub mod reference_grant;

#[cfg(test)]
mod tests;

pub use self::{
    byte_size::{ByteSize, ParseByteSizeError},
    crd::{crds, crds_yaml},
    duration::{Duration, ParseDurationError},
    gateway_route::{GatewayRoute, GatewayRouteSpec, GatewayRouteStatus},
    rate_limit_policy::{RateLimitPolicy, RateLimitPolicySpec, RateLimitPolicyStatus},
    reference::{BackendObjectRef, CaCertificateRef, LocalObjectKind, PolicyTargetRef, SecretObjectRef},
    reference_grant::{ReferenceGrant, ReferenceGrantSpec},
    request_match::{HeaderMatch, Method, PathMatch, PathMatchType, QueryParamMatch, ValueMatchType},
    schema::{Cause, Violation},
    service::{
        Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForZone, Identity, Labels, Service,
        ServicePort, ServiceSpec,
    },
};

/// The API group of our own kinds.
pub const GROUP: &str = "headgate.dev";

/// The only version of our own kinds so far.
pub const VERSION: &str = "v1alpha1";

/// What `kubectl get headgate` lists: every kind of ours carries this category.
pub const CATEGORY: &str = "headgate";

/// The group of `ReferenceGrant`, and of the label that marks a policy CRD (GEP-713).
pub const GATEWAY_API_GROUP: &str = "gateway.networking.k8s.io";
