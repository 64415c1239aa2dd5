//! What annotations of ingress-nginx are called.

/// What they all begin with.
pub(super) use crate::source::decode::INGRESS_NGINX as PREFIX;

/// The path of the field in which one of this name stands.
pub(super) fn field(name: &str) -> String {
    format!("metadata.annotations[{PREFIX}{name}]")
}
