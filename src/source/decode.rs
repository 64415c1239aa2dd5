//! From a document to a declared resource, and what is wrong with it.
//!
//! Both sources decode here, so that a folder is judged as a cluster would judge it. What a finding costs:
//!
//! | finding | the object | who acts on it |
//! | --- | --- | --- |
//! | not fatal: a field nobody knows | is used | the report tells it |
//! | fatal, in a part that can be spared (one rule, one path, one port) | is used | the compiler spoils that part |
//! | fatal, anywhere else | is [`Change::Invalid`] | the report tells it |
//!
//! What a folder held that was right before, it keeps in place of either ([`super::Effect::Withheld`]), as an API server
//! does.
//!
//! In a GatewayRoute the part is a rule: fatal findings at or below `spec.rules[i]` spoil rule `i`, which still
//! answers 500 for its sound matches. A fatal finding at or below `spec.rules[i].matches` or
//! `spec.rules[i].matches[j]` means that what it names could not be read, stands in the object only to keep its index,
//! and must claim nothing.

mod admission;
mod rules;
mod structure;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Change, Effect, Finding, Kind, Object, ObjectKey};
use crate::api::schema::Cause;
use crate::api::{self, Violation};

/// Who has looked at a document before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: everything an API server would have checked or filled in is done here.
    File,
    /// An API server. It may be newer than we are, so fields of its own kinds that we do not know are no mistake.
    Cluster,
}

/// Where an object of `kind` lives when it does not say, in files as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// The annotation in which `kubectl apply` keeps a copy of the object: as large as the object, and not for us.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The metadata that anything is made of; labels are those of slices.
const READ_METADATA: [&str; 7] =
    ["name", "namespace", "uid", "generation", "creationTimestamp", "annotations", "labels"];
/// What the annotations that are read have in their names: our own, those of classes, and those of ingress-nginx.
const READ_ANNOTATIONS: [&str; 4] =
    ["headgate.dev/", "kubernetes.io/ingress.class", "ingressclass.kubernetes.io/", INGRESS_NGINX];
/// What the annotations of ingress-nginx begin with. Of these every byte is kept: the end of a list of networks is as good as
/// its beginning.
pub const INGRESS_NGINX: &str = "nginx.ingress.kubernetes.io/";
/// So many bytes of any other say all that is made of it.
const READ_OF_ANNOTATION: usize = 253;
/// The labels that are read.
const READ_LABELS: [&str; 1] = ["kubernetes.io/service-name"];

/// Which kind a document says it is of.
///
/// # Errors
///
/// A finding that names what is missing or misspelt. It is not fatal when the document is of a kind that is none of
/// our business, such as a Deployment among the routes.
pub fn kind_of(document: &Value) -> Result<Kind, Finding> {
    let text = |name| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(kind) = text("kind") else {
        return Err(fatal(
            "kind",
            "is missing; a document needs apiVersion and kind, such as headgate.dev/v1alpha1 and GatewayRoute",
        ));
    };
    let Some(version) = text("apiVersion") else {
        return Err(fatal("apiVersion", "is missing; a document needs apiVersion and kind"));
    };
    if let Some(known) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
        return if known.api_version() == version {
            Ok(known)
        } else {
            let right = known.api_version();
            Err(fatal(
                "apiVersion",
                &format!("{version} has no {kind} that Headgate reads; it reads {kind} of {right}"),
            ))
        };
    }
    if let Some(meant) = Kind::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(kind)) {
        return Err(fatal("kind", &format!("{kind} is not known; did you mean {meant}?")));
    }
    let ours = [Kind::GatewayRoute, Kind::RateLimitPolicy];
    if ours.iter().any(|kind| kind.api_version() == version) {
        return Err(fatal("kind", &format!("{version} has no kind {kind}; it has GatewayRoute and RateLimitPolicy")));
    }
    Err(Finding {
        field: "kind".to_owned(),
        message: format!("{kind} of {version} is not a kind that Headgate reads; the document is ignored"),
        place: None,
        effect: Effect::Told,
    })
}

/// The object in a document of `kind`.
///
/// # Errors
///
/// A finding when the document has no name, so that nobody can say which object it is.
pub fn decode(kind: Kind, mut document: Value, origin: Origin) -> Result<Change, Finding> {
    strip(&mut document);
    if origin == Origin::File {
        admission::fill_in(kind, &mut document);
    }
    let (metadata, unreadable) = metadata(&document);
    let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(fatal("metadata.name", "is missing; every object needs a name"));
    };
    let namespace = metadata.namespace.as_deref().filter(|_| kind.is_namespaced()).unwrap_or_default();
    let key = ObjectKey::new(kind, namespace, name);

    let mut findings: Vec<Finding> = violations(kind, &document, origin).into_iter().map(Finding::from).collect();
    findings.extend(unreadable);
    if origin == Origin::File {
        for finding in admission::check(kind, &document) {
            // What is missing or of the wrong type has been told by the schema.
            if !findings.iter().any(|told| told.is_fatal() && told.field == finding.field) {
                findings.push(finding);
            }
        }
    }
    let document = match kind {
        Kind::GatewayRoute => rules::keep_readable(document, &mut findings),
        Kind::IngressClass
        | Kind::Ingress
        | Kind::RateLimitPolicy
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ReferenceGrant => document,
    };
    let spoilt = findings.iter().any(|finding| finding.is_fatal() && !can_be_spared(kind, &finding.field));
    let object = if spoilt { None } else { object(kind, unburdened(document), &mut findings) };
    Ok(match object {
        Some(object) => Change::Upsert(object, findings),
        None => Change::Invalid(key, Box::new(metadata), findings),
    })
}

/// Whether the object makes sense without the part that `field` lies in.
fn can_be_spared(kind: Kind, field: &str) -> bool {
    let parts: &[&str] = match kind {
        Kind::GatewayRoute => &["spec.rules["],
        Kind::Ingress => &["spec.rules[", "spec.tls[", "spec.defaultBackend"],
        Kind::Service => &["spec.ports["],
        Kind::EndpointSlice => &["endpoints[", "ports["],
        Kind::IngressClass | Kind::RateLimitPolicy | Kind::Secret | Kind::ConfigMap | Kind::ReferenceGrant => &[],
    };
    parts.iter().any(|part| field.starts_with(part))
}

/// Drops what nobody reads: nulls, which mean absence, who wrote which field, and kubectl's copy of the object.
fn strip(document: &mut Value) {
    drop_nulls(document);
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
}

/// The same without what is checked and never read: it would be kept for as long as the object is.
fn unburdened(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| READ_METADATA.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| READ_ANNOTATIONS.iter().any(|read| name.contains(read)));
            for (name, value) in annotations.iter_mut() {
                if let Value::String(text) = value
                    && !name.starts_with(INGRESS_NGINX)
                {
                    text.truncate(text.floor_char_boundary(READ_OF_ANNOTATION));
                    text.shrink_to_fit();
                }
            }
        }
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|name, _| READ_LABELS.contains(&name.as_str()));
        }
        // An empty map still takes room.
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    document
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The metadata, or as much as tells which object it is, and a finding when that is not all.
fn metadata(document: &Value) -> (ObjectMeta, Option<Finding>) {
    let Some(value) = document.get("metadata") else {
        return (ObjectMeta::default(), None);
    };
    let error = match ObjectMeta::deserialize(value) {
        Ok(metadata) => return (metadata, None),
        Err(error) => error,
    };
    let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata = ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: value.get("generation").and_then(Value::as_i64),
        ..ObjectMeta::default()
    };
    (metadata, Some(fatal("metadata", &format!("cannot be read: {error}"))))
}

fn violations(kind: Kind, document: &Value, origin: Origin) -> Vec<Violation> {
    let mut violations = match kind {
        Kind::GatewayRoute => api::gateway_route::validate(document),
        Kind::RateLimitPolicy => api::rate_limit_policy::validate(document),
        Kind::ReferenceGrant => api::reference_grant::validate(document),
        Kind::IngressClass | Kind::Ingress | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap => {
            match origin {
                Origin::File => structure::violations(kind, document),
                Origin::Cluster => Vec::new(),
            }
        }
    };
    match (kind, origin) {
        // Gateway API's fields belong to it as Kubernetes' own belong to Kubernetes.
        (Kind::ReferenceGrant, Origin::Cluster) => violations.retain(|it| it.cause != Cause::UnknownField),
        (Kind::GatewayRoute | Kind::RateLimitPolicy | Kind::ReferenceGrant, Origin::File) => {
            violations.extend(structure::metadata_violations(document));
        }
        (
            Kind::IngressClass
            | Kind::Ingress
            | Kind::GatewayRoute
            | Kind::RateLimitPolicy
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::ConfigMap,
            Origin::File | Origin::Cluster,
        ) => {}
    }
    if kind == Kind::Secret {
        // A message may quote the value, and these values are nobody's to read.
        for it in &mut violations {
            let secret = it.path.starts_with("data") || it.path.starts_with("stringData");
            if secret && it.cause != Cause::UnknownField {
                it.message = "must be a string, in base64 under data, as it is under stringData".to_owned();
            }
        }
    }
    violations
}

fn object(kind: Kind, document: Value, findings: &mut Vec<Finding>) -> Option<Object> {
    let result = match kind {
        Kind::IngressClass => typed(kind, document, Object::IngressClass),
        Kind::Ingress => typed(kind, document, Object::Ingress),
        Kind::GatewayRoute => typed(kind, document, Object::GatewayRoute),
        Kind::RateLimitPolicy => typed(kind, document, Object::RateLimitPolicy),
        Kind::Service => typed(kind, document, Object::Service),
        Kind::EndpointSlice => typed(kind, document, Object::EndpointSlice),
        Kind::Secret => typed(kind, document, Object::Secret)
            .map_err(|_| "cannot be read; data holds base64 and stringData text".to_owned()),
        Kind::ConfigMap => typed(kind, document, Object::ConfigMap),
        Kind::ReferenceGrant => typed(kind, document, Object::ReferenceGrant),
    };
    match result {
        Ok(object) => Some(object),
        Err(message) => {
            // What makes decoding fail has mostly been found above, with its path; then this says nothing new.
            if !findings.iter().any(|finding| finding.is_fatal()) {
                findings.push(fatal("", &message));
            }
            None
        }
    }
}

fn typed<T: DeserializeOwned>(kind: Kind, document: Value, object: fn(Arc<T>) -> Object) -> Result<Object, String> {
    let Value::Object(mut fields) = document else {
        return Err("is no mapping".to_owned());
    };
    // The items of a list come without them.
    insert_if_absent(&mut fields, "apiVersion", kind.api_version());
    insert_if_absent(&mut fields, "kind", kind.as_str());
    match serde_json::from_value(Value::Object(fields)) {
        Ok(value) => Ok(object(Arc::new(value))),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn insert_if_absent(fields: &mut Map<String, Value>, name: &str, text: &str) {
    fields.entry(name).or_insert_with(|| text.into());
}

fn fatal(field: &str, message: &str) -> Finding {
    Finding { field: field.to_owned(), message: message.to_owned(), place: None, effect: Effect::Spoils }
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        let Violation { path, message, cause } = violation;
        match cause {
            Cause::UnknownField => {
                Self { field: path, message: message + " (it is ignored)", place: None, effect: Effect::Told }
            }
            Cause::Schema | Cause::Rule => Self { field: path, message, place: None, effect: Effect::Spoils },
        }
    }
}

#[cfg(test)]
mod tests;
