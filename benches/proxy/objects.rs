//! What is declared of a gateway.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::identity::Identity;
use crate::offer::{NAME, Request};
use crate::server::Server;

/// Where nothing is asked.
pub(crate) const PLAIN: &str = "/";
/// Where a limit counts in the process.
pub(crate) const LIMITED: &str = "/limited";
/// Where a token is asked for.
pub(crate) const TOKEN: &str = "/token";

/// Where all of it is.
pub(crate) const ALL: &str = "/all";

/// A collector of traces that nobody is: it is sent nothing, since no trace of these requests is recorded.
pub(crate) const NO_COLLECTOR: &str = "http://127.0.0.1:9";

/// A key that issuer and gateway share; it guards nothing.
const KEY: &[u8; 32] = b"a key that is known to everybody";

/// The key, as a set.
pub(crate) fn key_set() -> String {
    json!({"keys": [{"kty": "oct", "kid": "bench", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(KEY)}]}).to_string()
}

/// Objects that send every request to the backend: by a rule that asks nothing, one with a limit, one with a token and one
/// with both; and over TLS, by a rule that asks nothing.
pub(crate) fn all(backend: &Server, identity: &Identity) -> Vec<Value> {
    let backends = json!([{"name": "backend", "port": backend.http.port()}]);
    let rule = |name: &str, path: &str, jwt: Value| json!({"name": name, "matches": [{"path": {"value": path}}], "backendRefs": backends, "jwt": jwt});
    let token = json!({"providers": ["main"], "requireTLS": false, "requiredScopes": ["bench"]});
    let limited =
        |rule: &str| json!({"group": "headgate.dev", "kind": "GatewayRoute", "name": "all", "sectionName": rule});
    let mut objects = service(backend);
    objects.extend([
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "type": "Opaque",
            "stringData": {"jwks": key_set()},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "identity"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": identity.certificate, "tls.key": identity.key},
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "all"},
            "spec": {
                "jwtProviders": [{
                    "name": "main", "issuer": "https://issuer.example.com/", "audiences": ["bench"],
                    "algorithms": ["HS256"], "localJWKS": {"valueRef": {"name": "keys"}},
                    "claimToHeaders": [{"claim": "sub", "header": "X-User"}],
                }],
                "rules": [
                    rule("plain", PLAIN, Value::Null),
                    rule("limited", LIMITED, Value::Null),
                    rule("token", TOKEN, token.clone()),
                    rule("all", ALL, token),
                ],
            },
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "RateLimitPolicy", "metadata": {"name": "limited"},
            "spec": {
                "targetRefs": [limited("limited"), limited("all")],
                "limits": [
                    {"name": "per-ip", "requests": 1_000_000, "period": "1s", "key": [{"type": "ClientIP"}]},
                ],
            },
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "secure"},
            "spec": {
                "hostnames": [NAME], "tls": {"certificateRefs": [{"name": "identity"}]}, "rules": [rule("plain", PLAIN, Value::Null)],
            },
        }),
    ]);
    objects
}

/// Objects of so many hosts with ten paths each, which all send to the backend.
pub(crate) fn hosts(backend: &Server, hosts: u32) -> Vec<Value> {
    let backends = json!([{"name": "backend", "port": backend.http.port()}]);
    let paths: Vec<_> = (0..10).map(|path| format!("/p{path}")).collect();
    service(backend).into_iter().chain((0..hosts).map(|host| route(host, &paths, &backends))).collect()
}

/// A route of the host `hN.example.com`, with a rule for each path.
pub(crate) fn route(number: u32, paths: &[String], backends: &Value) -> Value {
    let rule = |path| json!({"matches": [{"path": {"value": path}}], "backendRefs": backends});
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": format!("h{number}")},
        "spec": {
            "hostnames": [format!("h{number}.example.com")], "rules": paths.iter().map(rule).collect::<Vec<_>>(),
        },
    })
}

/// The backend as a Service, and where it is.
fn service(backend: &Server) -> Vec<Value> {
    let port = backend.http.port();
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"},
            "spec": {"ports": [{"name": "http", "port": port}]},
        }),
        slice("backend", 0, port, &["127.0.0.1".to_owned()]),
    ]
}

/// One EndpointSlice of a Service.
pub(crate) fn slice(service: &str, number: u32, port: u16, addresses: &[String]) -> Value {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-{number}"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": endpoints,
    })
}

/// Makes sure that they ask at all: a request without a token is refused, and one with a limit is told of it.
pub(crate) fn are_in_force(proxy: &Server) -> anyhow::Result<()> {
    let cases = [(TOKEN, None, "HTTP/1.1 401 "), (LIMITED, None, "ratelimit:"), (ALL, None, "HTTP/1.1 401 ")];
    for (path, header, sign) in cases.into_iter().chain([(ALL, Some(authorization()?), "ratelimit:")]) {
        let answer = proxy.answer(&Request { headers: header.into_iter().collect(), ..Request::get(path) })?;
        ensure!(answer.contains(sign), "{path} does not ask: {answer}");
    }
    Ok(())
}

/// The request that all of it is asked of: with a token, in a trace that is not recorded.
pub(crate) fn featured() -> anyhow::Result<Request> {
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    Ok(Request { headers: vec![authorization()?, trace.to_owned()], ..Request::get(ALL) })
}

/// The header of a request that brings a token, as long as those of common issuers are.
pub(crate) fn authorization() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "bench"});
    let claims = json!({
        "iss": "https://issuer.example.com/", "aud": "bench", "sub": "248289761001", "scope": "openid bench",
        "iat": now, "exp": now + 24 * 3600, "sid": "x".repeat(400),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    Ok(format!("Authorization: Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// An access log of JSON in this folder, as the flag says it.
pub(crate) fn access_log(folder: &TempDir) -> String {
    format!("json,file={}", folder.path().join("access.log").display())
}
