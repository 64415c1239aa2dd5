//! Who gets a copy of each request.

use super::super::gateway_route::Scope;
use super::super::lowered::DraftMirror;
use super::annotations::Annotations;
use super::external_auth::{Place, place};
use super::service;

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
    let resolved = service::resolve(scope, annotations, NAME, (Some(namespace), name, port.into()));
    Some(DraftMirror { percent: 100, name: resolved.name, target: resolved.target })
}
