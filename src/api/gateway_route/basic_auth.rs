//! Names and passwords.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::{SecretObjectRef, pattern};

/// The name and password a request must carry (RFC 7617).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Secret with a file as htpasswd writes it, one "name:hash" a line. Hashes are bcrypt (htpasswd -B); {SHA} is
    /// accepted for old files and told of.
    pub secret_ref: SecretObjectRef,
    /// Key under which the Secret holds the file.
    #[serde(default = "auth")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// What a browser shows when it asks for the password.
    #[serde(default = "restricted")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r#"^[\x20-\x21\x23-\x5B\x5D-\x7E]+$"#))]
    pub realm: String,
    /// Header in which the backend gets the name. A header of the same name sent by the client is always removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub user_header: Option<String>,
    /// Passes name and password themselves on to the backend. When false they are removed once checked.
    #[serde(default)]
    pub forward_credentials: bool,
    /// Refuses requests that came in clear, since whoever can read the password on its way can use it. Set to false only
    /// where something in front of the gateway ends TLS.
    #[serde(rename = "requireTLS", default = "yes")]
    pub require_tls: bool,
}

fn auth() -> String {
    "auth".to_owned()
}

fn restricted() -> String {
    "Restricted".to_owned()
}

fn yes() -> bool {
    true
}
