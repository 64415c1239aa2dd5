//! The shape of Kubernetes' own kinds: their fields and types, as an API server would check them.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::schema::StructuralSchemaRewriter;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Kind;
use crate::api::Violation;
use crate::api::schema::{self, Shape};

static INGRESS_CLASS: LazyLock<Shape> = LazyLock::new(shape_of::<IngressClass>);
static INGRESS: LazyLock<Shape> = LazyLock::new(shape_of::<Ingress>);
static SERVICE: LazyLock<Shape> = LazyLock::new(shape_of::<Service>);
/// The API server writes null for the endpoints of a slice that has none, and takes it back.
static ENDPOINT_SLICE: LazyLock<Shape> = LazyLock::new(|| {
    let mut schema = schema_of::<EndpointSlice>();
    schema.required.iter_mut().for_each(|required| required.retain(|name| name != "endpoints"));
    Shape::of(&schema)
});
static SECRET: LazyLock<Shape> = LazyLock::new(shape_of::<Secret>);
static CONFIG_MAP: LazyLock<Shape> = LazyLock::new(shape_of::<ConfigMap>);
static METADATA: LazyLock<Shape> = LazyLock::new(shape_of::<ObjectMeta>);

/// How a document differs from the shape of its kind, one of Kubernetes' own. The others have CRDs.
pub(super) fn violations(kind: Kind, document: &Value) -> Vec<Violation> {
    let shape: &Shape = match kind {
        Kind::IngressClass => &INGRESS_CLASS,
        Kind::Ingress => &INGRESS,
        Kind::Service => &SERVICE,
        Kind::EndpointSlice => &ENDPOINT_SLICE,
        Kind::Secret => &SECRET,
        Kind::ConfigMap => &CONFIG_MAP,
        Kind::GatewayRoute | Kind::RateLimitPolicy | Kind::ReferenceGrant => return Vec::new(),
    };
    schema::violations(shape, document)
}

/// How a document's metadata differs from the shape it has in every kind.
pub(super) fn metadata_violations(document: &Value) -> Vec<Violation> {
    let Some(metadata) = document.get("metadata") else {
        return Vec::new();
    };
    let mut violations = schema::violations(&METADATA, metadata);
    for it in &mut violations {
        it.path = if it.path.is_empty() { "metadata".to_owned() } else { format!("metadata.{}", it.path) };
    }
    violations
}

fn shape_of<T: JsonSchema>() -> Shape {
    Shape::of(&schema_of::<T>())
}

/// The schema of a type in the form that CRDs use. Without one, which a test rules out, everything would pass.
fn schema_of<T: JsonSchema>() -> JSONSchemaProps {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.with_transform(StructuralSchemaRewriter).into_generator().into_root_schema_for::<T>();
    serde_json::from_value(schema.to_value()).unwrap_or_default()
}
