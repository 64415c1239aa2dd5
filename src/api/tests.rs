//! The examples of the documentation are valid and lose nothing; every rule refuses what it should, at its field; the
//! CRDs are what Kubernetes likes and what lies in `crds/`.

use std::{env, fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Cause, GatewayRoute, RateLimitPolicy, ReferenceGrant, Violation, crds, crds_yaml, gateway_route, rate_limit_policy,
    reference_grant, schema,
};

mod example;
mod negative;

/// Kubernetes refuses objects that etcd cannot hold, and client-side apply keeps a copy in an annotation of at most
/// this size.
const LARGEST_CRD: usize = 256 * 1024;

fn schemas() -> Vec<(String, JSONSchemaProps)> {
    crds()
        .into_iter()
        .map(|crd| {
            let version = crd.spec.versions.into_iter().next().unwrap();
            (crd.spec.names.kind, version.schema.unwrap().open_api_v3_schema.unwrap())
        })
        .collect()
}

/// Calls `visit` with every schema node and its path.
fn visit(path: &str, schema: &JSONSchemaProps, check: &mut impl FnMut(&str, &JSONSchemaProps)) {
    check(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        visit(&format!("{path}.{name}"), property, check);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        visit(&format!("{path}[]"), items, check);
    }
}

#[test]
fn every_property_is_described() {
    for (kind, schema) in schemas() {
        visit(&kind, &schema, &mut |path, schema| {
            let described = schema.description.as_deref().is_some_and(|it| it.len() > 8);
            assert!(described || path.ends_with("[]"), "{path} has no description");
        });
    }
}

#[test]
fn every_schema_is_bounded_and_structural() {
    for (kind, schema) in schemas() {
        visit(&kind, &schema, &mut |path, schema| {
            let type_ = schema.type_.as_deref().unwrap_or_else(|| panic!("{path} has no type"));
            match type_ {
                "string" => {
                    let bounded = schema.max_length.is_some() || schema.enum_.is_some();
                    assert!(bounded, "{path} has neither maxLength nor enum");
                }
                "array" => assert!(schema.max_items.is_some() && schema.items.is_some(), "{path} has no maxItems"),
                "integer" => {
                    let bounded = schema.minimum.is_some() || schema.enum_.is_some();
                    assert!(bounded && schema.format.is_none(), "{path} is unbounded or has a format");
                }
                "object" => assert!(schema.properties.is_some(), "{path} is open"),
                "boolean" => {}
                other => panic!("{path} has type {other}"),
            }
            assert!(schema.nullable.is_none() && schema.title.is_none(), "{path}");
            assert!(schema.one_of.is_none() && schema.any_of.is_none() && schema.all_of.is_none(), "{path}");
        });
    }
}

#[test]
fn every_pattern_compiles() {
    for (kind, schema) in schemas() {
        visit(&kind, &schema, &mut |path, schema| {
            if let Some(pattern) = &schema.pattern {
                assert!(regex::Regex::new(pattern).is_ok(), "{path}: {pattern}");
            }
        });
    }
}

/// kube describes an optional enum with the words of the type, which cannot say what holds when it is omitted.
#[test]
fn optional_fields_keep_their_own_words() {
    let [_, (_, policy)] = <[_; 2]>::try_from(schemas()).unwrap();
    let mut words = None;
    visit("", &policy, &mut |path, schema| {
        if path == ".spec.limits[].failureMode" {
            words = schema.description.clone();
        }
    });
    assert!(words.as_deref().is_some_and(|it| it.contains("Local when omitted")), "{words:?}");
}

/// The API server reads a bare `off` or `y` as a boolean, and Kubernetes writes enum values in PascalCase. What other
/// standards spell is theirs.
#[test]
fn no_enum_value_is_a_yaml_boolean() {
    for (kind, schema) in schemas() {
        visit(&kind, &schema, &mut |path, schema| {
            for value in schema.enum_.iter().flatten() {
                assert!(value.0.is_string() || value.0.is_i64(), "{path}: {}", value.0);
                let lower = value.0.to_string().replace('"', "").to_lowercase();
                assert!(!["y", "n", "yes", "no", "on", "off"].contains(&lower.as_str()), "{path}: {lower}");
            }
        });
    }
}

#[test]
fn crds_have_what_kubectl_shows() {
    let [route, policy] = <[_; 2]>::try_from(crds()).unwrap();
    for (crd, short_name) in [(&route, "gwr"), (&policy, "rlp")] {
        let names = &crd.spec.names;
        assert_eq!(crd.spec.group, super::GROUP);
        assert_eq!(names.short_names, Some(vec![short_name.to_owned()]));
        assert_eq!(names.categories, Some(vec![super::CATEGORY.to_owned()]));
        assert_eq!(crd.spec.scope, "Namespaced");
        let version = &crd.spec.versions[0];
        assert_eq!(version.name, super::VERSION);
        assert!(version.subresources.as_ref().unwrap().status.is_some());
    }
    let columns = |columns: &Option<Vec<_>>| {
        let columns: &Vec<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition,
        > = columns.as_ref().unwrap();
        columns.iter().map(|it| format!("{}/{}", it.name, it.priority.unwrap_or(0))).collect::<Vec<_>>().join(" ")
    };
    let route = &route.spec.versions[0];
    assert_eq!(columns(&route.additional_printer_columns), "Hosts/0 Accepted/0 Programmed/0 Status/0 Age/0 Message/1");
    assert_eq!(route.selectable_fields.as_ref().unwrap()[0].json_path, ".spec.ingressClassName");
    assert_eq!(
        policy.metadata.labels.unwrap()["gateway.networking.k8s.io/policy"],
        "Inherited",
        "GEP-713 finds policies by this label"
    );
}

/// `UPDATE_GOLDEN=1 cargo test crds_on_disk` rewrites the files.
#[test]
fn crds_on_disk_are_the_generated_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = crds_yaml();
    assert_eq!(generated, crds_yaml(), "the same bytes every time");
    for (file, yaml) in generated {
        assert!(yaml.len() < LARGEST_CRD, "{file} has {} bytes", yaml.len());
        assert!(!yaml.contains("format: uint"), "{file}");
        // The chart installs the same bytes.
        for folder in ["crds", "charts/headgate/files/crds"] {
            let path = root.join(folder).join(file);
            if env::var_os("UPDATE_GOLDEN").is_some() {
                fs::create_dir_all(root.join(folder)).unwrap();
                fs::write(&path, &yaml).unwrap();
            }
            let on_disk = fs::read_to_string(&path).unwrap_or_default();
            assert!(on_disk == yaml, "{folder}/{file} is stale: run UPDATE_GOLDEN=1 cargo test crds_on_disk");
        }
    }
}

/// Documents of a YAML text as JSON values.
fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml).map(|it| Value::deserialize(it).unwrap()).collect()
}

/// Reads `value` as `T` without an unknown field and writes it back.
fn round_trip<T: DeserializeOwned + serde::Serialize>(value: &Value) -> Value {
    let mut unknown = Vec::new();
    let object: T = serde_ignored::deserialize(value, |path| unknown.push(path.to_string())).unwrap();
    // kube writes these two from the type and does not read them.
    unknown.retain(|path| path != "apiVersion" && path != "kind");
    assert_eq!(unknown, Vec::<String>::new());
    serde_json::to_value(&object).unwrap()
}

/// Whether everything in `part` is in `whole` with the same value; `whole` may have more fields, not more items.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, it)| whole.get(name).is_some_and(|whole| contains(whole, it)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}

/// Violations as `path: message`.
fn lines(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}
