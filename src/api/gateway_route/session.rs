//! Clients that stay with an endpoint (GEP-1619).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Duration, pattern};

/// Keeps a client on the endpoint that served it first, as long as that endpoint is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.cookieConfig) || self.type == 'Cookie'")
        .message("cookieConfig is only used when type is Cookie"),
    validation = Rule::new(
        "!has(self.cookieConfig) || self.cookieConfig.lifetimeType != 'Permanent' || has(self.absoluteTimeout)"
    )
    .message("absoluteTimeout is required when cookieConfig.lifetimeType is Permanent")
)]
pub struct SessionPersistence {
    /// How the client shows which session it belongs to: Cookie, or Header.
    #[serde(default, rename = "type")]
    pub session_type: SessionPersistenceType,
    /// Name of the cookie or header; one is made up from the route when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = pattern::TOKEN))]
    pub session_name: Option<String>,
    /// Time after which a session ends, however busy it is; never when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// Time without a request after which a session ends; never when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Settings of the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// Where a session's name travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionPersistenceType {
    /// In a cookie that the gateway sets.
    #[default]
    Cookie,
    /// In a header that the client repeats.
    Header,
}

/// Settings of a session's cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// How long the cookie lives: Session (until the browser is closed) or Permanent (until absoluteTimeout).
    #[serde(default)]
    pub lifetime_type: CookieLifetime,
}

/// How long a cookie lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CookieLifetime {
    /// Until the browser is closed.
    #[default]
    Session,
    /// Until `absoluteTimeout`.
    Permanent,
}
