//! An object as the API server sent it, before anybody decodes it.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::source::{Kind, ObjectKey};

/// The object, with just enough of its metadata for the watch to go on. Reading one never fails as long as it is JSON,
/// so an object that does not decode cannot take down the list that it came in.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Name, namespace and resource version; nothing else.
    metadata: ObjectMeta,
    pub(super) value: Value,
}

impl Document {
    /// Which object of `kind` this is.
    pub(super) fn key(&self, kind: Kind) -> ObjectKey {
        let ObjectMeta { name, namespace, .. } = &self.metadata;
        ObjectKey::new(kind, namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |name| value.get("metadata")?.get(name)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, value })
    }
}

impl Resource for Document {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Where the API server keeps the objects of `kind`.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.as_str().to_owned(),
        plural: plural(kind).to_owned(),
    }
}

pub(super) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::IngressClass => "ingressclasses",
        Kind::Ingress => "ingresses",
        Kind::GatewayRoute => "gatewayroutes",
        Kind::RateLimitPolicy => "ratelimitpolicies",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::ReferenceGrant => "referencegrants",
    }
}
