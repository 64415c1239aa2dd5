//! The ConfigMap of ingress-nginx's controller: what each of its settings comes to here, for who moves.
//!
//! It is looked at where somebody asks for that and nowhere else: what a gateway does follows from its flags and from what is
//! declared for it. Names and defaults are those of `internal/ingress/controller/config` there.

use std::collections::BTreeMap;

use super::super::code::Code;
use super::super::report::Problem;
use super::instead::{self, Families};

/// What takes the place of settings whose names begin so; the first that fits counts.
const INSTEAD: &Families = &[
    ("access-log-", ACCESS_LOG),
    ("add-headers", RESPONSE_HEADERS),
    ("allow-backend-server-header", "nothing: what a backend says of itself is passed on"),
    (
        "allow-snippet-annotations",
        "nothing: snippets that change headers and do nothing else are read, others are told",
    ),
    ("annotation", "nothing: annotations are values here, and never become configuration"),
    ("block-", IP_ACCESS),
    ("brotli-", COMPRESSION),
    ("client-", "nothing: heads may have 32 KiB, and a client that is slow with its head or body is cut off"),
    ("compute-full-forwarded-for", FORWARDED),
    ("custom-http-errors", "the annotation custom-http-errors on each Ingress, with default-backend"),
    ("denylist-source-range", IP_ACCESS),
    ("disable-access-log", ACCESS_LOG),
    ("enable-access-log-", ACCESS_LOG),
    ("enable-brotli", COMPRESSION),
    ("enable-modsecurity", FIREWALL),
    ("enable-opentelemetry", TRACES),
    ("enable-owasp-", FIREWALL),
    ("enable-real-ip", FORWARDED),
    ("enable-underscores-in-headers", "nothing: names with anything but letters, digits and dashes are dropped"),
    ("error-log-", LOG),
    ("force-ssl-redirect", "the annotation force-ssl-redirect on each Ingress"),
    ("forwarded-for-header", FORWARDED),
    ("global-auth-", "the annotation auth-url on each Ingress, or a filter of type ExternalAuth"),
    ("gzip-", COMPRESSION),
    ("hide-headers", RESPONSE_HEADERS),
    ("hsts", HSTS),
    ("http2-", TUNING),
    ("keep-alive", TUNING),
    ("large-client-header-buffers", "nothing: a head may have 32 KiB"),
    ("limit-", "a RateLimitPolicy that targets the IngressClass, whose answer is 429"),
    ("load-balance", "the annotation load-balance on each Ingress"),
    ("log-format-", ACCESS_LOG),
    ("map-hash-", TUNING),
    ("max-worker-", TUNING),
    ("modsecurity-", FIREWALL),
    ("no-auth-locations", "a rule of its own for the path, without auth-url"),
    ("opentelemetry-", TRACES),
    ("otel-", TRACES),
    ("otlp-", TRACES),
    ("proxy-body-size", BODY_SIZE),
    ("proxy-buffer", TUNING),
    ("proxy-headers-hash-", TUNING),
    ("proxy-real-ip-cidr", FORWARDED),
    ("proxy-set-headers", "a filter of type RequestHeaderModifier in a GatewayRoute"),
    ("retry-non-idempotent", PER_INGRESS),
    ("proxy-next-upstream", PER_INGRESS),
    ("proxy-connect-timeout", PER_INGRESS),
    ("proxy-read-timeout", PER_INGRESS),
    ("proxy-send-timeout", PER_INGRESS),
    ("server-name-hash-", TUNING),
    ("ssl-protocols", "spec.tls.minVersion of a GatewayRoute; TLS is 1.2 or 1.3"),
    ("ssl-redirect", "the annotation ssl-redirect on each Ingress; without it nobody is redirected"),
    ("ssl-session-", TUNING),
    ("upstream-keepalive-", TUNING),
    ("use-forwarded-headers", FORWARDED),
    ("use-gzip", COMPRESSION),
    (
        "use-proxy-protocol",
        "--proxy-protocol-from (proxyProtocol.trustedIPs of the chart), with the networks it comes from",
    ),
    ("variables-hash-", TUNING),
    ("whitelist-source-range", IP_ACCESS),
    ("worker-processes", "--workers (workers of the chart)"),
    ("worker-", TUNING),
];
const ACCESS_LOG: &str = "--access-log (accessLog of the chart): json, nginx, text:TEMPLATE and more";
const BODY_SIZE: &str = "the annotation proxy-body-size on each Ingress, or request.maxBodySize in a GatewayRoute";
const COMPRESSION: &str = "compression in a GatewayRoute";
const FIREWALL: &str = "nothing, there is no web application firewall: keep one in front, or behind as a Service";
const FORWARDED: &str =
    "--trusted-proxies (forwardedHeaders.trustedIPs of the chart), with the networks of the proxies in front";
const HSTS: &str =
    "Strict-Transport-Security by the annotation custom-headers, or by a filter of type ResponseHeaderModifier";
const IP_ACCESS: &str =
    "the annotation allowlist-source-range or denylist-source-range on each Ingress, or a filter of type IPAccess";
const LOG: &str = "HEADGATE_LOG (logs.level of the chart)";
const PER_INGRESS: &str = "the annotation of this name on each Ingress, or timeouts and retry in a GatewayRoute";
const RESPONSE_HEADERS: &str =
    "the annotation custom-headers on each Ingress, or a filter of type ResponseHeaderModifier";
const TUNING: &str = "nothing, since there is nothing of that to tune";
const TRACES: &str = "--otlp-endpoint (tracing.otlpEndpoint of the chart) and OpenTelemetry's own variables";

/// What is in force there where nothing is said, and not here.
const UNSAID: [(&str, &str, &str); 2] = [
    ("hsts", "it is on where nothing is said: answers over TLS tell browsers to use TLS for a year", HSTS),
    ("proxy-body-size", "where nothing is said a body may have 1m, and here it may have any size", BODY_SIZE),
];

/// What is to be told of the settings in the `data` of that ConfigMap.
pub fn problems(data: &BTreeMap<String, String>) -> Vec<Problem> {
    let unsaid = UNSAID.iter().filter(|(name, _, _)| !data.contains_key(*name));
    let unsaid = unsaid.map(|(name, what, instead)| {
        Problem::new(Code::NginxSetting, field(name), *what, format!("in its place there is {instead}"))
    });
    data.iter().filter_map(|(name, value)| problem(name, value)).chain(unsaid).collect()
}

fn problem(name: &str, value: &str) -> Option<Problem> {
    if asks_nothing(name, value) {
        return None;
    }
    let instead = instead::of(INSTEAD, name);
    let what = if keeps_out(name) {
        "it keeps requests out of every Ingress, and lets them in here"
    } else {
        "it has no effect here"
    };
    Some(Problem::new(Code::NginxSetting, field(name), what, format!("in its place there is {instead}")))
}

fn field(name: &str) -> String {
    format!("data.{name}")
}

/// Whether fewer are let in with it than without.
fn keeps_out(name: &str) -> bool {
    let families =
        ["block-", "denylist-source-range", "enable-modsecurity", "global-auth-url", "whitelist-source-range"];
    families.iter().any(|family| name.starts_with(family))
}

/// Whether all is as it asks anyway.
fn asks_nothing(name: &str, value: &str) -> bool {
    match name {
        "generate-request-id" | "use-http2" | "strict-validate-path-type" => value == "true",
        "proxy-body-size" => value == "0",
        "proxy-buffering" | "proxy-request-buffering" => value == "off",
        "server-tokens" | "hsts" | "ssl-redirect" | "force-ssl-redirect" | "retry-non-idempotent" => value == "false",
        "allow-snippet-annotations" | "compute-full-forwarded-for" => value == "false",
        _ => value.is_empty() || ((name.starts_with("enable-") || name.starts_with("use-")) && value == "false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(data: &[(&str, &str)]) -> Vec<String> {
        let data = data.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        problems(&data).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_family_hides_another() {
        instead::assert_no_family_hides_another(INSTEAD);
    }

    #[test]
    fn what_is_in_force_unsaid_is_told_where_nothing_is_said() {
        assert_eq!(told(&[]).len(), UNSAID.len());
        assert_eq!(told(&[("hsts", "false"), ("proxy-body-size", "0")]), [""; 0]);
        let said = told(&[("hsts", "true"), ("proxy-body-size", "8m")]);
        assert!(said.iter().all(|told| told.contains("it has no effect here")), "{said:?}");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn each_setting_is_told_with_what_takes_its_place() {
        let said = [("hsts", "false"), ("proxy-body-size", "0")];
        for (name, value, expected) in [
            ("use-forwarded-headers", "true", Some("--trusted-proxies")),
            ("use-forwarded-headers", "false", None),
            ("use-gzip", "true", Some("compression in a GatewayRoute")),
            ("use-proxy-protocol", "true", Some("--proxy-protocol-from")),
            ("global-auth-url", "https://auth.example.com/", Some("lets them in here")),
            ("global-auth-signin", "https://auth.example.com/", Some("auth-url on each Ingress")),
            ("whitelist-source-range", "10.0.0.0/8", Some("lets them in here")),
            ("proxy-read-timeout", "120", Some("the annotation of this name")),
            ("proxy-buffering", "off", None),
            ("enable-modsecurity", "false", None),
            ("no-such-setting", "1", Some("this version does not have it")),
        ] {
            let told = told(&[said[0], said[1], (name, value)]);
            assert_eq!(told.len(), usize::from(expected.is_some()), "{name}: {told:?}");
            assert!(told.iter().all(|told| told.contains(expected.unwrap_or_default())), "{name}: {told:?}");
            assert!(told.iter().all(|told| told.starts_with(&format!("data.{name}: "))), "{name}: {told:?}");
        }
    }
}
