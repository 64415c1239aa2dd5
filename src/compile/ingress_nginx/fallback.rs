//! Who gets a request while the rule's own backend has nobody to take it.

use super::super::gateway_route::{Scope, backend_of_filter};
use super::super::lowered::DraftBackend;
use super::annotations::Annotations;
use crate::api::BackendObjectRef;

const NAME: &str = "default-backend";

/// Reads who that is: a Service of the Ingress's namespace, by its first port.
pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<DraftBackend> {
    let name = annotations.take(NAME)?;
    let from = scope.lowered.object.clone();
    let port = scope.lookup.service(&from.namespace, name).and_then(|service| service.spec.ports.first());
    let declared = BackendObjectRef {
        group: String::new(),
        kind: "Service".to_owned(),
        name: name.to_owned(),
        namespace: None,
        port: port.map_or(0, |port| port.port),
    };
    let mut problems = Vec::new();
    let resolved = backend_of_filter(scope.lookup, &from, "", &declared, &mut problems);
    annotations.tell(NAME, problems);
    resolved.target.is_ok().then(|| DraftBackend {
        name: resolved.name,
        weight: 1,
        fallback: true,
        grpc: resolved.grpc,
        limits: None,
        filters: Vec::new(),
        target: resolved.target,
    })
}
