//! Gateway API's `ReferenceGrant`, as far as we read it.
//!
//! Its CRD belongs to Gateway API: ours only mirrors it, so that files can be checked, and is never installed.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    pattern,
    schema::{self, Violation},
};

/// Which references into this namespace are allowed: from any entry of `from` to any entry of `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1beta1",
    kind = "ReferenceGrant",
    plural = "referencegrants",
    shortname = "refgrant",
    namespaced,
    derive = "PartialEq",
    doc = "ReferenceGrant allows objects of other namespaces to refer to objects of its own."
)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    #[schemars(length(min = 1, max = 16))]
    pub from: Vec<ReferenceGrantFrom>,
    /// To what.
    #[schemars(length(min = 1, max = 16))]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    /// API group of the referring objects; the empty string for the core group.
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referring objects.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Namespace of the referring objects.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: String,
}

/// Objects that may be referred to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    /// API group of the referents; the empty string for the core group.
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referents.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Name of the referent; every object of the kind when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// Every way in which a ReferenceGrant as written differs from what Gateway API allows, empty when it is valid.
///
/// See [`schema::Validator::validate`] for what is checked.
pub fn validate(object: &Value) -> Vec<Violation> {
    schema::REFERENCE_GRANT.validate(object)
}

/// The object as the API server would store it, if it can be read at all, and every violation.
///
/// See [`schema::Validator::read`] for what is dropped; without an object there is at least one violation.
pub fn read(object: &Value) -> (Option<ReferenceGrant>, Vec<Violation>) {
    schema::REFERENCE_GRANT.read(object)
}
