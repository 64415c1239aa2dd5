//! Annotations that nobody reads: who moves is told of each what takes its place.

use std::collections::BTreeMap;

use super::super::code::Code;
use super::super::report::Problem;
use super::instead::{self, Families, NOTHING};
use super::name::field;

/// What takes the place of those whose names begin so; the first that fits counts.
const INSTEAD: &Families = &[
    ("auth-tls-match-cn", "an authority of their own for those who may come in"),
    ("auth-tls-verify-depth", "nothing: chains are as long as authorities make them"),
    ("auth-tls-", NOTHING),
    ("auth-secret", "auth-type: basic beside it, which asks for passwords"),
    ("auth-realm", "auth-type: basic beside it, which asks for passwords"),
    ("auth-cache-", "nothing: each request is asked about"),
    ("auth-keepalive", TUNING),
    ("auth-request-redirect", "nothing: who is asked is told what was asked for, without its host"),
    ("auth-proxy-set-headers", "nothing: who is asked is shown the headers of the request"),
    ("auth-snippet", NOTHING),
    ("auth-", "auth-url beside it, or a GatewayRoute with a filter of type ExternalAuth"),
    ("enable-global-auth", "a GatewayRoute with a filter of type ExternalAuth"),
    ("whitelist-source-range", "allowlist-source-range, which is there too"),
    ("limit-rate", NOTHING),
    ("limit-", "a RateLimitPolicy that targets this Ingress"),
    ("canary-", "canary: \"true\" beside it"),
    ("proxy-request-buffering", "a GatewayRoute with request.buffering"),
    ("proxy-next-upstream-timeout", "a GatewayRoute with retry and timeouts.request"),
    ("proxy-ssl-", "backend-protocol: HTTPS beside it, or a GatewayRoute with backendRefs[].tls"),
    ("affinity", SESSION),
    ("session-cookie-", SESSION),
    ("mirror-", "a GatewayRoute with a filter of type RequestMirror"),
    ("enable-opentelemetry", TRACES),
    ("opentelemetry-", TRACES),
    ("service-upstream", "nothing: endpoints are what requests go to"),
    ("http2-push-preload", "nothing, browsers take no pushes any more"),
    ("proxy-buffer", TUNING),
    ("client-body-buffer-size", TUNING),
    ("proxy-max-temp-file-size", TUNING),
    ("proxy-busy-buffers-size", TUNING),
];
const SESSION: &str = "a GatewayRoute with sessionPersistence";
const TRACES: &str = "--otlp-endpoint, and a GatewayRoute with observability.traceSamplePercent";
const TUNING: &str = "nothing, there are no such buffers to tune";

/// What is to be told of annotations, by their names without what they all begin with.
pub(super) fn problems(left: &BTreeMap<&str, &str>) -> Vec<Problem> {
    left.iter().filter_map(|(name, value)| problem(name, value)).collect()
}

fn problem(name: &str, value: &str) -> Option<Problem> {
    let instead = instead::of(INSTEAD, name);
    if keeps_out(name, value) {
        let what = "it keeps requests out and is not read; so that nobody gets in who should not, the rules answer 500";
        return Some(Problem::new(Code::Unguarded, field(name), what, format!("remove it, and declare {instead}")));
    }
    if asks_nothing(name, value) {
        return None;
    }
    let what = "it is not read, so it has no effect";
    Some(Problem::new(Code::IngressNginx, field(name), what, format!("remove it; in its place there is {instead}")))
}

/// Whether fewer are let in with it than without.
fn keeps_out(name: &str, value: &str) -> bool {
    matches!(name, "whitelist-source-range" | "auth-tls-match-cn") && !value.is_empty()
}

/// Whether it is what would be without it.
fn asks_nothing(name: &str, value: &str) -> bool {
    match name {
        "proxy-buffering" | "proxy-request-buffering" => value == "off",
        "proxy-http-version" => value == "1.1",
        "affinity-mode" => value == "persistent",
        // Cookies of who is asked reach the client on every answer, and a redirect keeps the path as it was.
        "auth-always-set-cookie" | "preserve-trailing-slash" => value == "true",
        _ => value.is_empty() || (name.starts_with("enable-") && value == "false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_family_hides_another() {
        instead::assert_no_family_hides_another(INSTEAD);
    }

    #[test]
    fn what_keeps_somebody_out_closes_and_what_asks_nothing_is_not_told() {
        let (told, closed) = (Some(Code::IngressNginx), Some(Code::Unguarded));
        for (name, value, expected) in [
            ("auth-cache-key", "", None),
            ("auth-secret", "users", told),
            ("auth-tls-match-cn", "CN=ann", closed),
            ("whitelist-source-range", "10.0.0.0/8", closed),
            ("enable-modsecurity", "true", told),
            ("enable-modsecurity", "false", None),
            ("proxy-buffering", "off", None),
            ("canary-weight", "10", told),
            ("no-such-thing", "1", told),
        ] {
            let problems = problems(&BTreeMap::from([(name, value)]));
            assert_eq!(problems.first().map(|problem| problem.code), expected, "{name}: {value}");
        }
    }
}
