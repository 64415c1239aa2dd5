//! How backends are spoken to, which endpoint is chosen, how long it may take and when it is tried again.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::super::backend::{Balancing, Speak};
use super::super::cluster::TlsName;
use super::super::gateway_route::{Scope, backend_terms, usual_budget};
use super::annotations::Annotations;
use crate::api::{CaCertificateRef, LocalObjectKind, SecretObjectRef};
use crate::path::parse_path;
use crate::table::{Carrier, Cookie, HashOn, HostKey, Retry, Session, Timeouts};
use crate::upstream::{Balancer, Policy};

/// The longest silence that nginx bears, either way, when nothing is said.
const SILENCE: Duration = Duration::from_secs(60);

/// What is asked of the backends of all rules.
#[derive(Debug, Default)]
pub(super) struct Backends {
    /// How they are spoken to, and whether that is gRPC, if that is said.
    pub(super) speak: Option<(Speak, bool)>,
    /// All but whether clients stay.
    pub(super) balancing: Balancing,
    pub(super) hash_on: Option<HashOn>,
    pub(super) session: Option<Session>,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Option<Retry>,
}

impl Backends {
    /// Reads what is asked of backends.
    pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Self {
        let (balancer, hash_on) = balancer(annotations);
        let retry = retry(annotations);
        let policy = Policy { budget: retry.as_ref().map(|_| usual_budget()), ..Policy::default() };
        Self {
            speak: speak(scope, annotations),
            balancing: Balancing { balancer, policy: policy.shared(), sessions: false },
            hash_on,
            session: session(annotations),
            timeouts: timeouts(annotations),
            retry,
        }
    }
}

fn speak(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<(Speak, bool)> {
    const NAME: &str = "backend-protocol";
    let protocol = annotations.take(NAME)?.to_ascii_uppercase();
    match protocol.as_str() {
        "HTTP" => Some((Speak::Http1, false)),
        "GRPC" => Some((Speak::H2c, true)),
        // By what the client speaks there; here by what the Service says of itself.
        "AUTO_HTTP" => None,
        "HTTPS" | "GRPCS" => Some((tls(scope, annotations)?, protocol == "GRPCS")),
        other => {
            let what = format!("{} is not spoken", other.escape_debug());
            annotations.unusable(NAME, what, "use HTTP, HTTPS, GRPC or GRPCS");
            None
        }
    }
}

fn tls(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<Speak> {
    const NAME: &str = "proxy-ssl-name";
    const SECRET: &str = "proxy-ssl-secret";
    let verifies = annotations.take("proxy-ssl-verify") == Some("on");
    // Names are always sent.
    annotations.take("proxy-ssl-server-name");
    let name = annotations.take(NAME);
    let secret = annotations.reference(SECRET);
    if !verifies {
        let what = "the certificates of backends are verified here in any case, and ingress-nginx would not do it";
        let remedy = "make sure that they are valid for proxy-ssl-name, or else NAME.NAMESPACE.svc, by an authority in the \
                      ca.crt of proxy-ssl-secret, and say proxy-ssl-verify: \"on\"";
        annotations.note("backend-protocol", what, remedy);
    }
    let parsed = name.and_then(TlsName::parse);
    if let Some(name) = name.filter(|_| parsed.is_none()) {
        let what = format!("\"{}\" is no name a certificate can have", name.escape_debug());
        annotations.unusable(NAME, what, "use a DNS name");
    }
    let Some((namespace, secret)) = secret else { return Some(Speak::Tls(parsed, None)) };
    let authority = CaCertificateRef {
        group: String::new(),
        kind: LocalObjectKind::Secret,
        name: secret.clone(),
        namespace: namespace.clone(),
    };
    let shown = SecretObjectRef { group: String::new(), kind: "Secret".to_owned(), name: secret, namespace };
    let authorities: &[_] = if verifies { &[authority] } else { &[] };
    let mut problems = Vec::new();
    let terms = backend_terms(scope, "", authorities, Some(&shown), &mut problems);
    Some(Speak::Tls(parsed, annotations.found(SECRET, problems, terms)?))
}

fn balancer(annotations: &mut Annotations<'_>) -> (Balancer, Option<HashOn>) {
    const HASH: &str = "upstream-hash-by";
    const BALANCE: &str = "load-balance";
    if let Some(by) = annotations.take(HASH) {
        if let Some(on) = hash_on(by) {
            return (Balancer::ConsistentHash { balance_factor_percent: None }, Some(on));
        }
        let what = format!("\"{}\" is nothing to hash by here", by.escape_debug());
        annotations.unusable(HASH, what, "use one of $remote_addr, $http_NAME, $cookie_NAME and $arg_NAME alone");
    }
    let balancer = match annotations.take(BALANCE) {
        None => Balancer::LeastRequest,
        Some("round_robin") => Balancer::RoundRobin,
        Some("ewma") => Balancer::PeakEwma,
        Some(other) => {
            let what = format!("\"{}\" is no way of balancing", other.escape_debug());
            annotations.unusable(BALANCE, what, "use round_robin or ewma");
            Balancer::LeastRequest
        }
    };
    (balancer, None)
}

/// What a variable of nginx stands for.
fn hash_on(variable: &str) -> Option<HashOn> {
    let name = variable.strip_prefix('$')?;
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    if matches!(name, "remote_addr" | "binary_remote_addr") {
        return Some(HashOn::ClientIp);
    }
    if let Some(header) = name.strip_prefix("http_").filter(is_name) {
        return HeaderName::try_from(header.replace('_', "-")).ok().map(HashOn::Header);
    }
    if let Some(cookie) = name.strip_prefix("cookie_").filter(is_name) {
        return Some(HashOn::Cookie(cookie.into()));
    }
    name.strip_prefix("arg_").filter(is_name).map(|parameter| HashOn::QueryParam(parameter.into()))
}

fn session(annotations: &mut Annotations<'_>) -> Option<Session> {
    const AFFINITY: &str = "affinity";
    const COOKIE: &str = "session-cookie-name";
    let affinity = annotations.take(AFFINITY)?;
    let name = annotations.take(COOKIE).unwrap_or("INGRESSCOOKIE");
    let expires = annotations.seconds("session-cookie-expires");
    let absolute = annotations.seconds("session-cookie-max-age").or(expires);
    if affinity != "cookie" {
        let what = format!("\"{}\" is nothing that clients are known by", affinity.escape_debug());
        annotations.unusable(AFFINITY, what, "use cookie");
        return None;
    }
    // A cookie's name is a token, as that of a header is.
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        let what = format!("\"{}\" is no name of a cookie", name.escape_debug());
        annotations.unusable(COOKIE, what, "use a token");
        return None;
    }
    let carrier = Carrier::Cookie(Cookie { name: name.into(), attributes: attributes(annotations).into() });
    Some(Session { carrier, absolute, idle: None, permanent: absolute.is_some() })
}

/// What browsers are told of the cookie.
fn attributes(annotations: &mut Annotations<'_>) -> String {
    const PATH: &str = "session-cookie-path";
    const DOMAIN: &str = "session-cookie-domain";
    const SAME_SITE: &str = "session-cookie-samesite";
    let path = annotations.take(PATH).unwrap_or("/");
    let path = if parse_path(path).is_ok_and(|path| !path.contains(';')) {
        path
    } else {
        annotations.unusable(PATH, format!("\"{}\" is no path", path.escape_debug()), "write a path, as in /shop");
        "/"
    };
    let mut attributes = format!("Path={path}; HttpOnly");
    if let Some(domain) = annotations.take(DOMAIN) {
        match HostKey::parse_ingress(domain.strip_prefix('.').unwrap_or(domain)) {
            Ok(HostKey::Exact(name)) => attributes += &format!("; Domain={name}"),
            _ => {
                annotations.unusable(DOMAIN, format!("\"{}\" is no domain", domain.escape_debug()), "write a DNS name")
            }
        }
    }
    let same_site = match annotations.take(SAME_SITE) {
        None | Some("Lax") => "Lax",
        Some("Strict") => "Strict",
        Some("None") => "None",
        Some(other) => {
            let what = format!("\"{}\" is none of what browsers know", other.escape_debug());
            annotations.unusable(SAME_SITE, what, "use Strict, Lax or None");
            "Lax"
        }
    };
    attributes += &format!("; SameSite={same_site}");
    if annotations.flag("session-cookie-secure") == Some(true) {
        attributes += "; Secure";
    }
    attributes
}

fn timeouts(annotations: &mut Annotations<'_>) -> Timeouts {
    let usual = Timeouts::default();
    let connect = annotations.seconds("proxy-connect-timeout").unwrap_or(usual.connect);
    let read = annotations.seconds("proxy-read-timeout");
    let send = annotations.seconds("proxy-send-timeout");
    let backend_request = read.or(usual.backend_request);
    // One bound is for both ways here.
    let idle = read.unwrap_or(SILENCE).max(send.unwrap_or(SILENCE));
    Timeouts { connect, backend_request, idle, ..usual }
}

/// When requests are tried again, if that is said. What nginx calls a failure of its own (`error`, `invalid_header`) is
/// a connection that does not come about or is lost.
fn retry(annotations: &mut Annotations<'_>) -> Option<Retry> {
    const WHEN: &str = "proxy-next-upstream";
    const TRIES: &str = "proxy-next-upstream-tries";
    let tries = annotations.number(TRIES);
    let when = annotations.take(WHEN);
    if tries.is_none() && when.is_none() {
        return None;
    }
    // Those that nginx takes to be idempotent (RFC 9110 9.2.2) and that reach backends.
    let mut methods = vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
    let (mut statuses, mut lost) = (Vec::new(), false);
    for word in when.unwrap_or("error").split_whitespace() {
        match word {
            "off" => return None,
            "error" | "invalid_header" => lost = true,
            "non_idempotent" => methods.extend([Method::POST, Method::PATCH]),
            "timeout" => annotations.note(
                WHEN,
                "an attempt that took too long is not tried again",
                "remove timeout, and give the backend more time, or the client an answer sooner",
            ),
            _ => match word.strip_prefix("http_").and_then(failure) {
                Some(status) => statuses.push(status),
                None => annotations.unusable(
                    WHEN,
                    format!("\"{}\" is no failure", word.escape_debug()),
                    "use error, http_500, http_502, http_503, http_504, http_429, non_idempotent and the like",
                ),
            },
        }
    }
    let attempts = tries.unwrap_or(3).saturating_sub(1);
    let retry = Retry {
        attempts,
        statuses,
        grpc: Vec::new(),
        on_connect_failure: lost,
        on_refused_stream: lost,
        on_reset: lost,
        methods,
        backoff: Duration::from_millis(25),
        max_backoff: Duration::from_millis(250),
    };
    (attempts > 0 && (lost || !retry.statuses.is_empty())).then_some(retry)
}

fn failure(status: &str) -> Option<StatusCode> {
    status.parse().ok().filter(|status: &StatusCode| status.is_client_error() || status.is_server_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_can_be_hashed() {
        for (variable, expected) in [
            ("$binary_remote_addr", Some(HashOn::ClientIp)),
            ("$http_x_user", Some(HashOn::Header(HeaderName::from_static("x-user")))),
            ("$cookie_cart", Some(HashOn::Cookie("cart".into()))),
            ("$arg_id", Some(HashOn::QueryParam("id".into()))),
            ("$arg_", None),
            ("$request_uri", None),
            ("$http_a$http_b", None),
            ("id", None),
        ] {
            assert_eq!(hash_on(variable), expected, "{variable}");
        }
    }
}
