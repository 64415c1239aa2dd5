//! Checks an object against its CRD as the API server would, and names what serde would swallow or say badly.
//!
//! Three passes: the structural schema (types, bounds, patterns, list types, unknown fields), then, on what is left
//! after dropping unknown fields and nulls and filling in defaults, the CEL rules. As in the API server the rules are
//! skipped while a violation remains that would make them meaningless: a wrong type, something missing, something too
//! large.
//!
//! All work is bounded: recursion follows the schema and not the value, lists are looked at up to their `maxItems`,
//! and at most [`MAX_VIOLATIONS`] are listed.

mod shape;
mod walk;

use std::{fmt, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::core::cel::{self, CompiledSchema, ErrorKind};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::shape::Shape;
use self::walk::Walk;
use super::{GatewayRoute, RateLimitPolicy, ReferenceGrant, crd};

/// One way in which an object differs from what its CRD allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.rules[0].backendRefs[1].port`; empty for the object itself.
    pub path: String,
    /// What is wrong and, where that can be said, what would be right.
    pub message: String,
    /// Which check found it.
    pub cause: Cause,
}

/// The check that found a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A field that the schema does not have. The API server drops it with a warning instead of refusing the object.
    UnknownField,
    /// A value of the wrong type, out of bounds, missing or repeated.
    Schema,
    /// A CEL rule across fields.
    Rule,
}

/// Violations listed for one object; the rest is only said to exist.
pub const MAX_VIOLATIONS: usize = 100;

/// One kind's checks, prepared once.
pub struct Validator {
    shape: Shape,
    rules: CompiledSchema,
}

pub(super) static GATEWAY_ROUTE: LazyLock<Validator> = LazyLock::new(Validator::of::<GatewayRoute>);
pub(super) static RATE_LIMIT_POLICY: LazyLock<Validator> = LazyLock::new(Validator::of::<RateLimitPolicy>);
pub(super) static REFERENCE_GRANT: LazyLock<Validator> = LazyLock::new(Validator::of::<ReferenceGrant>);

/// Every way in which `value` differs from a shape. CEL rules are not looked at.
pub(crate) fn violations(shape: &Shape, value: &Value) -> Vec<Violation> {
    Walk::through(shape, value).violations
}

// === impl Validator ===

impl Validator {
    /// The checks of a kind, on all of an object but its metadata and status: the API server alone writes the one,
    /// controllers the other.
    fn of<T: JsonSchema>() -> Self {
        let mut schema = crd::schema::<T>();
        let anything =
            JSONSchemaProps { x_kubernetes_preserve_unknown_fields: Some(true), ..JSONSchemaProps::default() };
        let properties = schema.properties.get_or_insert_default();
        for name in ["apiVersion", "kind", "metadata", "status"] {
            properties.insert(name.to_owned(), anything.clone());
        }
        // A schema is a tree of maps with text keys, which JSON can always express.
        let rules = cel::compile_schema(&serde_json::to_value(&schema).unwrap_or_default());
        Self { shape: Shape::of(&schema), rules }
    }

    /// Every way in which an object differs from what its CRD allows, empty when it is valid: schema violations in the
    /// order of the object's fields, then violated rules.
    pub fn validate(&self, object: &Value) -> Vec<Violation> {
        self.check(object).0
    }

    /// The object as the API server would store it, if it can be read at all, and every violation.
    ///
    /// Unknown fields and nulls are dropped first, so that `hostnames:` with nothing behind it reads as absent. Without
    /// an object there is at least one violation.
    pub fn read<T: DeserializeOwned>(&self, object: &Value) -> (Option<T>, Vec<Violation>) {
        let (mut violations, pruned) = self.check(object);
        match serde_json::from_value(pruned) {
            Ok(object) => (Some(object), violations),
            Err(error) => {
                // Whatever makes serde refuse should have been said above, with its path; if not, better so than never.
                if !violations.iter().any(|it| it.cause == Cause::Schema) {
                    let message = error.to_string();
                    violations.push(Violation { path: String::new(), message, cause: Cause::Schema });
                }
                (None, violations)
            }
        }
    }

    fn check(&self, object: &Value) -> (Vec<Violation>, Value) {
        let walk = Walk::through(&self.shape, object);
        let mut violations = walk.violations;
        let pruned = walk::prune(&self.shape, object);
        if !walk.blocks_rules
            && let Err(errors) = cel::Validator::new().validate_compiled(&self.rules, &pruned, None)
        {
            violations.extend(errors.into_iter().take(MAX_VIOLATIONS).map(|error| {
                let message = if error.kind == ErrorKind::ValidationFailure {
                    error.message
                } else {
                    format!("the rule `{}` could not be evaluated: {}", error.rule, error.message)
                };
                Violation { path: error.field_path, message, cause: Cause::Rule }
            }));
        }
        (violations, pruned)
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}
