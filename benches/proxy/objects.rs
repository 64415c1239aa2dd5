//! What is declared of a gateway that asks for something before it passes a request on.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::processes::Backend;

/// Where nothing is asked.
pub(crate) const PLAIN: &str = "/";
/// Where a limit counts in the process.
pub(crate) const LIMITED: &str = "/limited";
/// Where a token is asked for.
pub(crate) const TOKEN: &str = "/token";

/// A key that issuer and gateway share; it guards nothing.
const KEY: &[u8; 32] = b"a key that is known to everybody";

/// Objects that send every request to the backend, by a rule that asks nothing, one with a limit and one with a token.
pub(crate) fn all(backend: &Backend) -> [Value; 5] {
    let port = backend.address.port();
    let backends = json!([{"name": "backend", "port": port}]);
    let keys = json!({"keys": [{"kty": "oct", "kid": "bench", "k": URL_SAFE_NO_PAD.encode(KEY)}]});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"},
            "spec": {"ports": [{"name": "http", "port": port}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "backend", "labels": {"kubernetes.io/service-name": "backend"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "type": "Opaque",
            "stringData": {"jwks": keys.to_string()},
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
                    {"name": "all", "backendRefs": backends},
                    {"name": "limited", "matches": [{"path": {"value": LIMITED}}], "backendRefs": backends},
                    {
                        "name": "token", "matches": [{"path": {"value": TOKEN}}], "backendRefs": backends,
                        "jwt": {"providers": ["main"], "requireTLS": false, "requiredScopes": ["bench"]},
                    },
                ],
            },
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "RateLimitPolicy", "metadata": {"name": "limited"},
            "spec": {
                "targetRefs": [
                    {"group": "headgate.dev", "kind": "GatewayRoute", "name": "all", "sectionName": "limited"},
                ],
                "limits": [
                    {"name": "per-ip", "requests": 1_000_000, "period": "1s", "key": [{"type": "ClientIP"}]},
                ],
            },
        }),
    ]
}

/// Makes sure that the two ask at all: a request without a token is refused, and one with a limit is told of it.
pub(crate) fn are_in_force(proxy: SocketAddr) -> anyhow::Result<()> {
    for (path, sign) in [(TOKEN, "HTTP/1.1 401 "), (LIMITED, "ratelimit:")] {
        let mut stream = TcpStream::connect(proxy)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(sign), "{path} does not ask: {answer}");
    }
    Ok(())
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
