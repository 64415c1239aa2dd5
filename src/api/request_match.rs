//! Conditions on a request, shared by routes and policies. The words are HTTPRoute's, with `Template` and `Present` added.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern;

/// A condition on the path, after normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'RegularExpression' || self.value.startsWith('/')")
        .message("value must start with '/'"),
    validation = Rule::new("self.type != 'Template' || !self.value.matches('[*][^/]*/')")
        .message("'*rest' must be the last segment"),
    validation = Rule::new(
        "self.type in ['Template','RegularExpression'] || !(self.value.contains('/:') || self.value.contains('/*'))"
    )
    .message("':name' and '*rest' need type: Template")
)]
pub struct PathMatch {
    /// How value is read: Exact (the whole path), PathPrefix (whole path elements from the left, so /shop matches
    /// /shop and /shop/cart but not /shopping), Template (:name stands for one element, *rest for the remainder) or
    /// RegularExpression (found anywhere in the path unless anchored with ^ and $).
    #[serde(default, rename = "type")]
    pub match_type: PathMatchType,
    /// The path to compare with: /orders/:id or /assets/*rest for a Template, an RE2-like expression for
    /// RegularExpression.
    #[serde(default = "root_path")]
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path is equal.
    Exact,
    /// The path begins with these elements.
    #[default]
    PathPrefix,
    /// Elements written `:name` match any one non-empty element; a last element `*rest` matches the remainder.
    Template,
    /// An expression is found in the path.
    RegularExpression,
}

/// A condition on a request header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'Present' ? !has(self.value) : has(self.value)")
    .message("value is required unless type is Present"))]
pub struct HeaderMatch {
    /// How value is compared: Exact, RegularExpression, or Present (the header is there, with any value).
    #[serde(default, rename = "type")]
    pub match_type: ValueMatchType,
    /// Name of the header, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub name: String,
    /// The value to compare with. Required unless type is Present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'Present' ? !has(self.value) : has(self.value)")
    .message("value is required unless type is Present"))]
pub struct QueryParamMatch {
    /// How value is compared: Exact, RegularExpression, or Present (the parameter is there, with any value).
    #[serde(default, rename = "type")]
    pub match_type: ValueMatchType,
    /// Name of the parameter; case matters. When it occurs several times, the first occurrence counts.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value to compare with, after percent-decoding. Required unless type is Present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
}

/// How the value of a header or query parameter is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ValueMatchType {
    /// The value is equal.
    #[default]
    Exact,
    /// An expression is found in the value.
    RegularExpression,
    /// There is a value.
    Present,
}

/// The request methods of RFC 9110 section 9 and RFC 5789.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "each is the method of that name")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

fn root_path() -> String {
    "/".to_owned()
}
