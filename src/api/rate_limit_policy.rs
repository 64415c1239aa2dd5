//! `RateLimitPolicy`: how many requests may pass, counted by what, and what the others are told.

mod limit;
mod response;
mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    PolicyTargetRef,
    schema::{self, Violation},
};

pub use self::{
    limit::{Algorithm, FailureMode, KeyPart, KeyType, Limit, LimitCondition, OnMissing, Precision, Scope, SyncMode},
    response::{HeaderStyle, LimitResponse},
    status::{AncestorStatus, ParentReference, RateLimitPolicyStatus},
};

/// What a RateLimitPolicy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    shortname = "rlp",
    category = "headgate",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    namespaced,
    cel,
    status = "RateLimitPolicyStatus",
    derive = "PartialEq",
    doc = "RateLimitPolicy bounds how many requests may pass to a GatewayRoute or one of its rules, an Ingress, a Service, or, from the namespace of Headgate only, everything of an IngressClass. Of the policies that apply to a request the one on the most specific target counts, as a whole: rule, then GatewayRoute or Ingress, then Service, then IngressClass. Of two policies on the same target the older one counts; the other is not accepted, with reason Conflicted.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[0].name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        description = "Accepted, or the reason why not",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].reason"
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
        "self.targetRefs.all(t, (t.kind == 'GatewayRoute' && t.group == 'headgate.dev') || (t.kind in ['Ingress','IngressClass'] && t.group == 'networking.k8s.io') || (t.kind == 'Service' && t.group == ''))"
    )
    .message("targetRefs must point at a GatewayRoute, an Ingress, an IngressClass or a Service"),
    validation = Rule::new("self.targetRefs.all(t, !has(t.sectionName) || t.kind in ['GatewayRoute','Service'])")
        .message("sectionName is only used with a GatewayRoute or a Service"),
    validation = Rule::new("self.limits.all(l, self.limits.exists_one(m, m.name == l.name))")
        .message("limit names must be unique")
)]
pub struct RateLimitPolicySpec {
    /// What the policy applies to.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// The limits. Every limit that applies to a request must let it pass.
    #[schemars(length(min = 1, max = 16))]
    pub limits: Vec<Limit>,
    /// How requests over a limit are answered; 429 with IETF headers when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<LimitResponse>,
}

/// Every way in which a RateLimitPolicy as written differs from what its CRD allows, empty when it is valid.
///
/// See [`schema::Validator::validate`] for what is checked.
pub fn validate(object: &Value) -> Vec<Violation> {
    schema::RATE_LIMIT_POLICY.validate(object)
}

/// The object as the API server would store it, if it can be read at all, and every violation.
///
/// See [`schema::Validator::read`] for what is dropped; without an object there is at least one violation.
pub fn read(object: &Value) -> (Option<RateLimitPolicy>, Vec<Violation>) {
    schema::RATE_LIMIT_POLICY.read(object)
}
