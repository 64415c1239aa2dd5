//! Our CRDs, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::{GatewayRoute, RateLimitPolicy};

/// First line of every generated file.
const GENERATED: &str = "# Generated from the types in src/api by `headgate crds`. Do not edit.\n";

/// The CRDs to install: `GatewayRoute` and `RateLimitPolicy`. `ReferenceGrant` belongs to Gateway API.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![finish(GatewayRoute::crd()), finish(RateLimitPolicy::crd())]
}

/// The CRDs as YAML with the name of the file each belongs in, the same bytes every time.
pub fn crds_yaml() -> Vec<(&'static str, String)> {
    [
        "gatewayroutes.headgate.dev.yaml",
        "ratelimitpolicies.headgate.dev.yaml",
    ]
    .into_iter()
    .zip(crds())
    .map(|(file, crd)| {
        // A CRD is a tree of maps with text keys, which YAML can always express.
        let body = serde_yaml::to_string(&crd).unwrap_or_default();
        (file, format!("{GENERATED}{body}"))
    })
    .collect()
}

/// Takes out of a derived CRD what Kubernetes has no use for.
pub(super) fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|it| it.open_api_v3_schema.as_mut())
        {
            simplify(schema);
        }
    }
    crd
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
    // The name of a Rust type.
    schema.title = None;
    for property in schema.properties.iter_mut().flat_map(|it| it.values_mut()) {
        simplify(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        simplify(items);
    }
}
