//! A Service that an annotation names.

use super::super::backend::Resolved;
use super::super::gateway_route::{Scope, backend_of_filter};
use super::annotations::Annotations;
use crate::api::BackendObjectRef;

/// What a port of a Service of this namespace, or else of the Ingress's own, leads to. What is wrong with it is told of the
/// annotation.
pub(super) fn resolve(
    scope: &mut Scope<'_, '_>,
    annotations: &mut Annotations<'_>,
    annotation: &str,
    (namespace, name, port): (Option<&str>, &str, i32),
) -> Resolved {
    let declared = BackendObjectRef {
        group: String::new(),
        kind: "Service".to_owned(),
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        port,
    };
    let mut problems = Vec::new();
    let resolved = backend_of_filter(scope.lookup, &scope.lowered.object, "", &declared, &mut problems);
    annotations.tell(annotation, problems);
    resolved
}
