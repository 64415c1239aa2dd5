//! Declarations that many tests make.

/// A GatewayRoute of one rule for everything, to port 80 of a Service; `more` is further fields of the rule, in YAML's
/// flow style.
pub(crate) fn route(service: &str, more: &str) -> String {
    let separator = if more.is_empty() { "" } else { ", " };
    route_of(&format!("{{name: all, backendRefs: [{{name: {service}, port: 80}}]{separator}{more}}}"))
}

/// A GatewayRoute of these rules, in YAML's flow style.
pub(crate) fn route_of(rules: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: all}}\nspec: {{rules: [{rules}]}}\n"
    )
}
