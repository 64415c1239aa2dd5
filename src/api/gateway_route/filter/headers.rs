//! Header changes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::super::pattern;

/// Changes to headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Headers given this value, in place of any there were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub set: Vec<HeaderValue>,
    /// Headers given this value beside those there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub add: Vec<HeaderValue>,
    /// Names of headers taken away, in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub remove: Vec<String>,
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderValue {
    /// Name of the header, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub name: String,
    /// Value of the header. A value that is nothing but :name is the parameter of that name of a Template match.
    #[schemars(length(max = 4096), regex(pattern = pattern::HEADER_VALUE))]
    pub value: String,
}
