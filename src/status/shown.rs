//! What the cluster shows of an object, as far as writing its status needs it.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::PolicyTargetRef;
use crate::source::{Kind, ObjectKey};

/// Deprecated since Kubernetes 1.18 and still in wide use.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The kinds whose status we write.
pub(super) const KINDS: [Kind; 3] = [Kind::Ingress, Kind::GatewayRoute, Kind::RateLimitPolicy];

/// How the API server calls a kind. The plural is the lower-case name with an `s`, or `ies` for `y`.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.as_str()))
}

/// One object as it was last read or written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) uid: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) version: Option<String>,
    /// Whether we have written any of its status.
    pub(super) written: bool,
    /// Whether it names a class that is not ours. That its class is ours no more for any other reason, such as an
    /// IngressClass that is being replaced, is no reason to touch it.
    pub(super) left: bool,
    /// As JSON text, since there is one for every object of ours, and a tree of values takes several times the room.
    pub(super) status: Box<str>,
    /// The same.
    pub(super) targets: Box<str>,
}

impl Shown {
    /// What matters of `object`, for the writer `manager` of the class `class`.
    pub(super) fn of(kind: Kind, object: DynamicObject, manager: &str, class: &str) -> Self {
        let DynamicObject { types: _, metadata, data } = object;
        let written =
            metadata.managed_fields.iter().flatten().any(|entry| {
                entry.manager.as_deref() == Some(manager) && entry.subresource.as_deref() == Some("status")
            });
        let left = left(kind, &data, metadata.annotations.as_ref(), class);
        Self {
            uid: metadata.uid,
            generation: metadata.generation,
            version: metadata.resource_version,
            written,
            left,
            status: text(data.get("status")),
            targets: text(data.pointer("/spec/targetRefs")),
        }
    }

    /// The status, or what nobody has written yet when it is not as its kind has it.
    pub(super) fn status<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_str(&self.status).unwrap_or_default()
    }

    /// What a policy attaches to.
    pub(super) fn targets(&self) -> Vec<PolicyTargetRef> {
        serde_json::from_str(&self.targets).unwrap_or_default()
    }

    /// Whether this was read after `other`. Versions are numbers that grow, and no others are known to exist.
    pub(super) fn is_newer_than(&self, other: Option<&str>) -> bool {
        let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
        number(self.version.as_deref()) > number(other)
    }
}

fn text(value: Option<&Value>) -> Box<str> {
    value.map(Value::to_string).unwrap_or_default().into()
}

/// The key of an object that was read.
pub(super) fn key(kind: Kind, object: &DynamicObject) -> ObjectKey {
    ObjectKey::new(kind, object.metadata.namespace.as_deref().unwrap_or_default(), &object.name_any())
}

fn left(kind: Kind, data: &Value, annotations: Option<&BTreeMap<String, String>>, class: &str) -> bool {
    let field = data.pointer("/spec/ingressClassName").and_then(Value::as_str);
    match kind {
        Kind::Ingress => {
            let annotation = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION)).map(String::as_str);
            field.or(annotation) != Some(class)
        }
        // One that names no class belongs to the default one, whichever that is.
        Kind::GatewayRoute => field.is_some_and(|field| field != class),
        // A policy belongs to whom its targets belong.
        Kind::RateLimitPolicy
        | Kind::IngressClass
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ReferenceGrant => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::GatewayRouteStatus;

    fn shown(kind: Kind, object: Value) -> Shown {
        Shown::of(kind, serde_json::from_value(object).unwrap(), "headgate", "headgate")
    }

    #[test]
    fn resources_have_the_names_that_the_api_server_knows() {
        let names = KINDS.map(|kind| {
            let resource = resource(kind);
            (resource.api_version, resource.plural)
        });
        let expected = [
            ("networking.k8s.io/v1", "ingresses"),
            ("headgate.dev/v1alpha1", "gatewayroutes"),
            ("headgate.dev/v1alpha1", "ratelimitpolicies"),
        ];
        assert_eq!(names, expected.map(|(version, plural)| (version.to_owned(), plural.to_owned())));
    }

    #[test]
    fn an_object_has_left_when_it_names_another_class() {
        let ingress = |class: Value, annotation: Value| {
            json!({
                "metadata": {"name": "a", "annotations": {"kubernetes.io/ingress.class": annotation}},
                "spec": {"ingressClassName": class},
            })
        };
        let cases = [
            (Kind::Ingress, ingress(json!("headgate"), json!("nginx")), false),
            (Kind::Ingress, ingress(json!("nginx"), json!("headgate")), true),
            (Kind::Ingress, json!({"metadata": {"name": "a"}, "spec": {}}), true),
            (
                Kind::Ingress,
                json!({"metadata": {"name": "a", "annotations": {"kubernetes.io/ingress.class": "headgate"}}}),
                false,
            ),
            (Kind::GatewayRoute, json!({"metadata": {"name": "a"}, "spec": {}}), false),
            (Kind::GatewayRoute, json!({"metadata": {"name": "a"}, "spec": {"ingressClassName": "headgate"}}), false),
            (Kind::GatewayRoute, json!({"metadata": {"name": "a"}, "spec": {"ingressClassName": "other"}}), true),
        ];
        for (kind, object, left) in cases {
            assert_eq!(shown(kind, object.clone()).left, left, "{kind} {object}");
        }
    }

    #[test]
    fn a_status_is_ours_when_we_have_written_any_of_it() {
        let with = |manager: &str, subresource: &str| {
            let entry = json!({"manager": manager, "operation": "Apply", "subresource": subresource});
            json!({"metadata": {"name": "a", "managedFields": [entry]}})
        };
        assert!(shown(Kind::Ingress, with("headgate", "status")).written);
        assert!(!shown(Kind::Ingress, with("headgate", "")).written);
        assert!(!shown(Kind::Ingress, with("nginx-ingress-controller", "status")).written);
    }

    #[test]
    fn a_status_that_is_none_of_its_kind_counts_as_absent() {
        let object = json!({"metadata": {"name": "a"}, "status": {"conditions": "all fine", "message": "hello"}});
        assert_eq!(shown(Kind::GatewayRoute, object).status::<GatewayRouteStatus>(), GatewayRouteStatus::default());
    }

    #[test]
    fn newer_is_a_matter_of_numbers() {
        let ten = shown(Kind::Ingress, json!({"metadata": {"name": "a", "resourceVersion": "10"}}));
        assert!(ten.is_newer_than(Some("9")));
        assert!(!ten.is_newer_than(Some("10")));
        assert!(ten.is_newer_than(None));
    }
}
