//! References into other namespaces: the one place that permits them.

use super::code::Code;
use super::lookup::Lookup;
use super::report::Problem;
use crate::api::{GATEWAY_API_GROUP, GROUP};
use crate::source::{Kind, ObjectKey};

/// One reference from one object to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    /// The object that refers.
    pub(super) from: &'a ObjectKey,
    /// The field it refers by.
    pub(super) field: &'a str,
    /// The kind it refers to.
    pub(super) kind: Kind,
    /// The namespace, when one is given.
    pub(super) namespace: Option<&'a str>,
    /// The name.
    pub(super) name: &'a str,
}

/// The object that is referred to, whether or not it exists; or the problem that the reference is not permitted.
///
/// A reference within a namespace needs no permission. Any other needs a ReferenceGrant in the namespace of the object
/// that is referred to, and whether that object exists is not told to those without one.
pub(super) fn resolve(lookup: &mut Lookup<'_>, reference: Reference<'_>) -> Result<ObjectKey, Problem> {
    let Reference { from, field, kind, namespace, name } = reference;
    let namespace = namespace.unwrap_or(&from.namespace);
    let to = ObjectKey::new(kind, namespace, name);
    if *namespace == *from.namespace || granted(lookup, from, &to) {
        return Ok(to);
    }
    Err(Problem::new(
        Code::NotPermitted,
        field,
        format!("{} in namespace {} may not refer to {to}", from.kind, from.namespace),
        format!(
            "allow it with a ReferenceGrant ({GATEWAY_API_GROUP}) in namespace {namespace}: from group {} kind {} \
             namespace {}, to kind {kind}",
            group(from.kind),
            from.kind,
            from.namespace,
        ),
    ))
}

fn granted(lookup: &mut Lookup<'_>, from: &ObjectKey, to: &ObjectKey) -> bool {
    lookup.grants(&to.namespace).any(|grant| {
        grant.spec.from.iter().any(|allowed| {
            allowed.group == group(from.kind)
                && allowed.kind == from.kind.as_str()
                && *allowed.namespace == *from.namespace
        }) && grant.spec.to.iter().any(|allowed| {
            allowed.group == group(to.kind)
                && allowed.kind == to.kind.as_str()
                && allowed.name.as_deref().is_none_or(|name| *name == *to.name)
        })
    })
}

/// The API group of a kind, as a ReferenceGrant writes it.
fn group(kind: Kind) -> &'static str {
    match kind {
        Kind::IngressClass | Kind::Ingress => "networking.k8s.io",
        Kind::GatewayRoute | Kind::RateLimitPolicy => GROUP,
        Kind::Service | Kind::Secret | Kind::ConfigMap => "",
        Kind::EndpointSlice => "discovery.k8s.io",
        Kind::ReferenceGrant => GATEWAY_API_GROUP,
    }
}
