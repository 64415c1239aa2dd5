//! Declarations that many tests make.

/// A GatewayRoute of one rule for everything, to port 80 of a Service; `more` is further fields of the rule, in YAML's
/// flow style.
pub(crate) fn route(service: &str, more: &str) -> String {
    let separator = if more.is_empty() { "" } else { ", " };
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: all}}\nspec: {{rules: [{{name: all, \
         backendRefs: [{{name: {service}, port: 80}}]{separator}{more}}}]}}\n"
    )
}
