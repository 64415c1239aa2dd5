//! What can be saved of a GatewayRoute when some of its rules do not even have the right shape.
//!
//! Types are decoded whole or not at all, so one filter written as a list would cost every rule of the object. Instead
//! an unreadable part is taken out before decoding. The finding about it stays, and with it the knowledge that the rule
//! may not be served: what is left of a rule here only says which requests it would have taken.

use serde_json::{Map, Value, json};

use super::{Finding, fatal};
use crate::api::gateway_route::{RouteMatch, RouteRule};

/// The document with every rule in a shape that decodes.
pub(super) fn keep_readable(mut document: Value, findings: &mut Vec<Finding>) -> Value {
    let rules = document.get_mut("spec").and_then(|spec| spec.get_mut("rules")).and_then(Value::as_array_mut);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let Err(error) = serde_json::from_value::<RouteRule>(rule.clone()) else {
            continue;
        };
        let path = format!("spec.rules[{index}]");
        let told = findings.iter().any(|finding| finding.is_fatal() && is_at_or_below(&finding.field, &path));
        if !told {
            findings.push(fatal(&path, &format!("cannot be read: {error}")));
        }
        *rule = remains(rule, &path, findings);
    }
    document
}

/// A rule with its name and its matches, and nothing else.
fn remains(rule: &Value, path: &str, findings: &mut Vec<Finding>) -> Value {
    let mut kept = Map::new();
    if let Some(name @ Value::String(_)) = rule.get("name") {
        kept.insert("name".to_owned(), name.clone());
    }
    let path = format!("{path}.matches");
    match rule.get("matches") {
        Some(Value::Array(matches)) => {
            let matches = matches.iter().enumerate().map(|(index, each)| {
                match serde_json::from_value::<RouteMatch>(each.clone()) {
                    Ok(_) => each.clone(),
                    Err(_) => {
                        claims_nothing(&format!("{path}[{index}]"), findings);
                        json!({})
                    }
                }
            });
            let matches = matches.collect();
            kept.insert("matches".to_owned(), Value::Array(matches));
        }
        // A rule without matches takes every request, also when it is spoilt.
        None if rule.is_object() => {}
        None | Some(_) => claims_nothing(&path, findings),
    }
    Value::Object(kept)
}

/// Sees to it that a fatal finding stands at or below `path`.
fn claims_nothing(path: &str, findings: &mut Vec<Finding>) {
    if !findings.iter().any(|finding| finding.is_fatal() && is_at_or_below(&finding.field, path)) {
        findings.push(fatal(path, "cannot be read, so it takes no request"));
    }
}

fn is_at_or_below(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
