//! What annotations of ingress-nginx are called.

/// What they all begin with.
pub(super) const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// The path of the field in which one of this name stands.
pub(super) fn field(name: &str) -> String {
    format!("metadata.annotations[{PREFIX}{name}]")
}
