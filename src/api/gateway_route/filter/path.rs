//! Changes to host and path.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::pattern;

/// Host and path as the backend sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.hostname) || has(self.path)").message("urlRewrite needs hostname or path"))]
pub struct UrlRewrite {
    /// Value of the Host header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::PRECISE_HOSTNAME))]
    pub hostname: Option<String>,
    /// The new path; the field named like its type holds it. The query is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) : !has(self.replaceFullPath)")
        .message("replaceFullPath must be set exactly when type is ReplaceFullPath"),
    validation = Rule::new(
        "self.type == 'ReplacePrefixMatch' ? has(self.replacePrefixMatch) : !has(self.replacePrefixMatch)"
    )
    .message("replacePrefixMatch must be set exactly when type is ReplacePrefixMatch"),
    validation = Rule::new("self.type == 'ReplaceTemplate' ? has(self.replaceTemplate) : !has(self.replaceTemplate)")
        .message("replaceTemplate must be set exactly when type is ReplaceTemplate")
)]
pub struct PathModifier {
    /// How the path is changed: ReplaceFullPath, ReplacePrefixMatch (the part that a PathPrefix matched) or
    /// ReplaceTemplate (built from the parameters of a Template match).
    #[serde(rename = "type")]
    pub modifier_type: PathModifierType,
    /// The whole new path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::ABSOLUTE_PATH))]
    pub replace_full_path: Option<String>,
    /// What takes the place of the matched prefix; the remainder of the path stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
    /// The new path, in which :name and *rest stand for the parameters of the match, as in /v2/orders/:id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::ABSOLUTE_PATH))]
    pub replace_template: Option<String>,
}

/// How a path is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PathModifierType {
    /// The whole path is replaced.
    ReplaceFullPath,
    /// The prefix that matched is replaced.
    ReplacePrefixMatch,
    /// The path is built from the parameters of the match.
    ReplaceTemplate,
}
