//! Copies of requests.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::super::BackendObjectRef;

/// A second backend that gets a copy of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// Where copies go.
    pub backend_ref: BackendObjectRef,
    /// How many requests of a hundred are copied.
    #[serde(default = "all")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
}

fn all() -> i32 {
    100
}
