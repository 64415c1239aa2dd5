//! What became of a policy, one entry per target (GEP-713).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{condition, pattern};

/// What became of a RateLimitPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPolicyStatus {
    /// One entry for each target and controller that has looked at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<AncestorStatus>,
    /// The first problem: the field, what is wrong and what would be right. Absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
}

/// What became of a policy at one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The target this entry is about.
    pub ancestor_ref: ParentReference,
    /// The controller that wrote this entry, such as headgate.dev/ingress-controller.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// Accepted: the policy applies to this target (or why not). Enforced: requests are counted (or why not).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list_schema")]
    pub conditions: Vec<Condition>,
}

/// An object that a policy was attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the object; the empty string for Service.
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Namespace of the object; absent for an IngressClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the rule or port, if the policy names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub section_name: Option<String>,
}
