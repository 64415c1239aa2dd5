//! Cross-origin requests (the Fetch standard, section 3.2).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::pattern;

/// Which pages of other origins may use the route, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!(has(self.allowCredentials) && self.allowCredentials && self.allowOrigins.exists(o, o == '*'))"
)
.message("allowCredentials cannot be combined with allowOrigins '*'"))]
pub struct Cors {
    /// Origins that may use the route, as scheme://host or scheme://host:port. The first label of the host may be *,
    /// and * alone means every origin.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^\*$|^[a-z][a-z0-9+.-]*://[^\x00-\x20\x7F/?#]+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allow_origins: Vec<String>,
    /// Methods that pages may use, * for all; GET, HEAD and POST when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub allow_methods: Vec<CorsMethod>,
    /// Headers that pages may send, * for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN_OR_WILDCARD)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allow_headers: Vec<String>,
    /// Headers of responses that pages may read, * for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN_OR_WILDCARD)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub expose_headers: Vec<String>,
    /// Lets pages send cookies and other credentials. Not together with allowOrigins *.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Seconds for which a browser may remember the answer to a preflight request.
    #[serde(default = "default_max_age")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_age: i32,
}

/// A method that pages of other origins may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "each is the method of that name")]
pub enum CorsMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    #[serde(rename = "*")]
    Any,
}

/// Gateway API's default, which is what browsers take when the header is missing.
fn default_max_age() -> i32 {
    5
}
