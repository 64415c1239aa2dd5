//! Our CRDs, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{
    CustomResourceExt,
    core::schema::{OptionalEnum, StructuralSchemaRewriter},
};
use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{AddNullable, Transform, transform_subschemas},
};
use serde_json::Value;

use super::{GatewayRoute, RateLimitPolicy};

/// First line of every generated file.
const GENERATED: &str = "# Generated from the types in src/api by `headgate crds`. Do not edit.\n";

/// The CRDs to install: `GatewayRoute` and `RateLimitPolicy`. `ReferenceGrant` belongs to Gateway API.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![crd::<GatewayRoute>(), crd::<RateLimitPolicy>()]
}

/// The CRDs as YAML with the name of the file each belongs in, the same bytes every time.
pub fn crds_yaml() -> Vec<(&'static str, String)> {
    ["gatewayroutes.headgate.dev.yaml", "ratelimitpolicies.headgate.dev.yaml"]
        .into_iter()
        .zip(crds())
        .map(|(file, crd)| {
            // A CRD is a tree of maps with text keys, which YAML can always express.
            let body = serde_yaml::to_string(&crd).unwrap_or_default();
            (file, format!("{GENERATED}{body}"))
        })
        .collect()
}

/// The CRD that kube derives, with our own schema in it.
fn crd<T: CustomResourceExt + JsonSchema>() -> CustomResourceDefinition {
    let mut crd = T::crd();
    for version in &mut crd.spec.versions {
        version.schema = Some(CustomResourceValidation { open_api_v3_schema: Some(schema::<T>()) });
    }
    crd
}

/// The structural schema of a kind, without what Kubernetes has no use for.
///
/// Made as kube makes it but for one step: where a field may be absent, kube describes it with the words of its type
/// in place of the field's own.
pub(super) fn schema<T: JsonSchema>() -> JSONSchemaProps {
    let schema = SchemaSettings::openapi3()
        .with(|settings| {
            // Kubernetes allows neither references nor `$schema`.
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(FieldWords)
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .into_generator()
        .into_root_schema_for::<T>();
    // The tests read every field back; a schema that is not one of Kubernetes would fail them all.
    let mut schema = serde_json::from_value(schema.to_value()).unwrap_or_default();
    simplify(&mut schema);
    schema
}

/// Lets the words of an optional field stand in place of those of its type.
#[derive(Clone, Debug)]
struct FieldWords;

impl Transform for FieldWords {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("description").is_some()
            && let Some(Value::Array(variants)) = schema.get_mut("anyOf")
        {
            for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
                variant.remove("description");
            }
        }
    }
}

/// Recursion ends with the schema, whose depth is that of our types.
fn simplify(schema: &mut JSONSchemaProps) {
    // Kubernetes 1.34 warns about the integer formats it does not know, early releases of it about all of them; the
    // ranges say the same and more.
    if matches!(schema.type_.as_deref(), Some("integer" | "number")) {
        schema.format = None;
    }
    // Optional fields may be absent, not null: like that, the API server drops a null instead of keeping it.
    schema.nullable = None;
    if let Some(allowed) = &mut schema.enum_ {
        allowed.retain(|it| !it.0.is_null());
    }
    // Doc comments are wrapped for the width of a source file; kubectl wraps for the width of the terminal.
    if let Some(description) = &mut schema.description {
        *description = description.split("\n\n").map(|it| it.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    // The name of a Rust type.
    schema.title = None;
    for property in schema.properties.iter_mut().flat_map(|it| it.values_mut()) {
        simplify(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        simplify(items);
    }
}
