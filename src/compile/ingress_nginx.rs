//! Annotations of ingress-nginx on an Ingress that is served here. None of them is read: who moves is told of each what
//! takes its place. One that keeps somebody out is more than that: an Ingress without it would let everybody in, so its
//! rules are closed.

use std::collections::BTreeMap;

use super::code::Code;
use super::report::Problem;

/// What they all begin with.
const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// What takes the place of those whose names begin so; the first that fits counts.
const INSTEAD: [(&str, &str); 45] = [
    ("auth-tls-", "a GatewayRoute with spec.tls.clientValidation"),
    ("auth-type", BASIC_AUTH),
    ("auth-secret", BASIC_AUTH),
    ("auth-realm", BASIC_AUTH),
    ("auth-", "a GatewayRoute with a filter of type ExternalAuth"),
    ("enable-global-auth", "a GatewayRoute with a filter of type ExternalAuth"),
    ("whitelist-source-range", IP_ACCESS),
    ("allowlist-source-range", IP_ACCESS),
    ("denylist-source-range", IP_ACCESS),
    ("limit-rate", NOTHING),
    ("limit-connections", NOTHING),
    ("limit-", "a RateLimitPolicy that targets this Ingress"),
    ("canary", "a GatewayRoute with weights in its backendRefs, or with a rule that matches the header"),
    ("cors-", CORS),
    ("enable-cors", CORS),
    ("rewrite-target", "a GatewayRoute with a filter of type URLRewrite"),
    ("use-regex", "a GatewayRoute with a path of type RegularExpression"),
    ("app-root", REDIRECT),
    ("permanent-redirect", REDIRECT),
    ("temporal-redirect", REDIRECT),
    ("from-to-www-redirect", REDIRECT),
    ("force-ssl-redirect", TLS_REDIRECT),
    ("ssl-redirect", TLS_REDIRECT),
    ("backend-protocol", "appProtocol at the port of the Service"),
    ("proxy-body-size", "a GatewayRoute with request.maxBodySize"),
    ("proxy-request-buffering", "a GatewayRoute with request.buffering"),
    ("proxy-connect-timeout", TIMEOUTS),
    ("proxy-read-timeout", TIMEOUTS),
    ("proxy-send-timeout", TIMEOUTS),
    ("proxy-next-upstream", "a GatewayRoute with retry"),
    ("proxy-ssl-", "a GatewayRoute with backendRefs[].tls"),
    ("affinity", SESSION),
    ("session-cookie-", SESSION),
    ("upstream-hash-by", "a GatewayRoute with loadBalancer of type ConsistentHash"),
    ("load-balance", "a GatewayRoute with loadBalancer"),
    ("custom-headers", "a GatewayRoute with a filter of type ResponseHeaderModifier"),
    ("upstream-vhost", "a GatewayRoute with a filter of type URLRewrite, which sets the hostname"),
    ("mirror-", "a GatewayRoute with a filter of type RequestMirror"),
    ("enable-access-log", "a GatewayRoute with observability.accessLog"),
    ("enable-opentelemetry", TRACES),
    ("opentelemetry-", TRACES),
    ("server-alias", "another host in spec.rules"),
    ("proxy-buffer", TUNING),
    ("client-body-buffer-size", TUNING),
    ("proxy-max-temp-file-size", TUNING),
];
const BASIC_AUTH: &str = "a GatewayRoute with basicAuth";
const IP_ACCESS: &str = "a GatewayRoute with a filter of type IPAccess";
const CORS: &str = "a GatewayRoute with a filter of type CORS";
const REDIRECT: &str = "a GatewayRoute with a filter of type RequestRedirect";
const TLS_REDIRECT: &str = "a GatewayRoute with spec.tls, where httpRedirect says it";
const TIMEOUTS: &str = "a GatewayRoute with timeouts";
const SESSION: &str = "a GatewayRoute with sessionPersistence";
const TRACES: &str = "--otlp-endpoint, and a GatewayRoute with observability.traceSamplePercent";
const TUNING: &str = "nothing, there are no such buffers to tune";
const NOTHING: &str = "nothing, this version does not have it";

/// What is to be told of an Ingress's annotations.
pub(super) fn problems(annotations: &BTreeMap<String, String>) -> Vec<Problem> {
    let names = annotations.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.trim())));
    names.filter_map(|(name, value)| problem(annotations, name, value)).collect()
}

fn problem(annotations: &BTreeMap<String, String>, name: &str, value: &str) -> Option<Problem> {
    let field = format!("metadata.annotations[{PREFIX}{name}]");
    let instead = INSTEAD.iter().find(|(family, _)| name.starts_with(family)).map_or(NOTHING, |(_, instead)| instead);
    if keeps_out(annotations, name, value) {
        let what = "it keeps requests out and is not read; so that nobody gets in who should not, the rules answer 500";
        return Some(Problem::new(Code::Unguarded, field, what, format!("remove it, and declare {instead}")));
    }
    if asks_nothing(name, value) {
        return None;
    }
    let what = "annotations of ingress-nginx are not read";
    Some(Problem::new(Code::IngressNginx, field, what, format!("remove it; in its place there is {instead}")))
}

/// Whether fewer are let in with it than without.
fn keeps_out(annotations: &BTreeMap<String, String>, name: &str, value: &str) -> bool {
    match name {
        "auth-type" | "auth-url" | "denylist-source-range" => !value.is_empty(),
        "whitelist-source-range" | "allowlist-source-range" => !value.is_empty() && !is_everybody(value),
        "auth-tls-secret" => {
            let mode = annotations.get(&format!("{PREFIX}auth-tls-verify-client"));
            !mode.is_some_and(|mode| mode == "off" || mode.starts_with("optional"))
        }
        _ => false,
    }
}

/// Whether it is what would be without it.
fn asks_nothing(name: &str, value: &str) -> bool {
    match name {
        // What answers the questions of ACME is declared with this, so that nobody's defaults keep them out.
        "whitelist-source-range" | "allowlist-source-range" => true,
        "ssl-redirect" | "force-ssl-redirect" | "use-regex" | "canary" => value == "false",
        _ => name.starts_with("enable-") && name != "enable-access-log" && value == "false",
    }
}

/// Whether a list of networks has all of IPv4 in it.
fn is_everybody(networks: &str) -> bool {
    networks.split(',').any(|network| network.trim() == "0.0.0.0/0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_family_hides_another() {
        for (number, (family, _)) in INSTEAD.iter().enumerate() {
            assert_eq!(INSTEAD.iter().position(|(other, _)| family.starts_with(other)), Some(number), "{family}");
        }
    }

    #[test]
    fn what_keeps_somebody_out_closes_and_what_asks_nothing_is_not_told() {
        let (told, closed) = (Some(Code::IngressNginx), Some(Code::Unguarded));
        for (name, value, expected) in [
            ("auth-type", "basic", closed),
            ("auth-url", "http://auth.example.com/", closed),
            ("auth-url", "", told),
            ("auth-secret", "users", told),
            ("auth-tls-secret", "default/authorities", closed),
            ("denylist-source-range", "203.0.113.0/24", closed),
            ("whitelist-source-range", "10.0.0.0/8,192.168.0.0/16", closed),
            ("whitelist-source-range", "::/0, 0.0.0.0/0", None),
            ("allowlist-source-range", "", None),
            ("enable-cors", "true", told),
            ("enable-cors", "false", None),
            ("enable-access-log", "false", told),
            ("ssl-redirect", "false", None),
            ("no-such-thing", "1", told),
        ] {
            let annotations = BTreeMap::from([(format!("{PREFIX}{name}"), value.to_owned())]);
            let problems = problems(&annotations);
            assert_eq!(problems.first().map(|problem| problem.code), expected, "{name}: {value}");
        }
        assert!(problems(&BTreeMap::from([("example.com/auth-url".to_owned(), "x".to_owned())])).is_empty());
    }
}
