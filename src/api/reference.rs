//! References to other objects.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern;

/// A Secret, in the namespace of the referring object unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretObjectRef {
    /// API group of the referent. Only the core group, written as the empty string, is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referent. Only Secret is supported.
    #[serde(default = "secret")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Secret; the referring object's own when omitted. Another namespace must allow the reference
    /// with a ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
}

/// A ConfigMap or Secret with PEM certificates under the key `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateRef {
    /// API group of the referent. Only the core group, written as the empty string, is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referent: ConfigMap or Secret.
    #[serde(default)]
    pub kind: LocalObjectKind,
    /// Name of the referent.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the referent; the referring object's own when omitted. Another namespace must allow the reference
    /// with a ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
}

/// The kinds that can hold certificates or keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LocalObjectKind {
    /// For what is public: certificate authorities, public keys.
    #[default]
    ConfigMap,
    /// For what is not.
    Secret,
}

/// A port of a Service, without a weight: where a filter sends requests of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendObjectRef {
    /// API group of the referent. Only the core group, written as the empty string, is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referent. Only Service is supported.
    #[serde(default = "service")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Service; the route's own when omitted. Another namespace must allow the reference with a
    /// ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// Port number of the Service (not of its pods).
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// What a policy applies to: an object in the policy's own namespace, or an IngressClass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetRef {
    /// API group of the target: headgate.dev for GatewayRoute, networking.k8s.io for Ingress and IngressClass, the
    /// empty string for Service.
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the target: GatewayRoute, Ingress or Service, or IngressClass for a policy in Headgate's own namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::KIND))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of a rule of a GatewayRoute, or of a port of a Service; the whole target when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub section_name: Option<String>,
}

fn secret() -> String {
    "Secret".to_owned()
}

/// The kind a backend has when it does not say.
pub(super) fn service() -> String {
    "Service".to_owned()
}
