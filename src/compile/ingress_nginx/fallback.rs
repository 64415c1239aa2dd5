//! Who gets a request while the rule's own backend has nobody to take it.

use super::super::gateway_route::Scope;
use super::super::lowered::DraftBackend;
use super::annotations::Annotations;
use super::service;

const NAME: &str = "default-backend";

/// Reads who that is: a Service of the Ingress's namespace, by its first port.
pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<DraftBackend> {
    let name = annotations.take(NAME)?;
    let found = scope.lookup.service(&scope.lowered.object.namespace, name);
    let port = found.and_then(|service| service.spec.ports.first()).map_or(0, |port| port.port);
    let resolved = service::resolve(scope, annotations, NAME, (None, name, port));
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
