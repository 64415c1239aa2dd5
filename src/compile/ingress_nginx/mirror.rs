//! Who gets a copy of each request.

use super::super::gateway_route::{Scope, backend_of_filter};
use super::super::lowered::DraftMirror;
use super::annotations::Annotations;
use super::external_auth::{Place, place};
use crate::api::BackendObjectRef;

const NAME: &str = "mirror-target";
const HOST: &str = "mirror-host";
const BODY: &str = "mirror-request-body";

/// Reads who that is.
pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<DraftMirror> {
    let target = annotations.take(NAME)?;
    if annotations.take(HOST).is_some() {
        annotations.unusable(HOST, "copies have the host of their request", "remove it");
    }
    if annotations.take(BODY) == Some("off") {
        annotations.unusable(BODY, "copies have the body of their request", "remove it");
    }
    // A copy asks for what its request asks for.
    let service = target.strip_suffix("$request_uri").and_then(place);
    let Some((Place::Service(name, namespace, port), _)) = service.filter(|(_, path)| path == "/") else {
        let what = format!("\"{}\" is nobody who can get copies", target.escape_debug());
        annotations.unusable(
            NAME,
            what,
            "write http://NAME.NAMESPACE.svc.cluster.local:PORT$request_uri for a Service",
        );
        return None;
    };
    let declared = BackendObjectRef {
        group: String::new(),
        kind: "Service".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        port: port.into(),
    };
    let mut problems = Vec::new();
    let from = scope.lowered.object.clone();
    let resolved = backend_of_filter(scope.lookup, &from, "", &declared, &mut problems);
    annotations.tell(NAME, problems);
    Some(DraftMirror { percent: 100, name: resolved.name, target: resolved.target })
}
