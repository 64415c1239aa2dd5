//! What is said of who may pass, to whoever asks about a request: all that is asked for, and nothing of what it brings.

use serde_json::json;

use super::{Issuer, claims, header};
use crate::harness::backend::Backend;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::run::{command, said};

const LIMITS: &str = "---
apiVersion: headgate.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: fair}
spec:
  targetRefs: [{group: headgate.dev, kind: GatewayRoute, name: shop}]
  limits:
    - {name: per-user, requests: 100, period: 1m, key: [{type: JWTClaim, name: sub, onMissing: Skip}]}
    - {name: per-ip, requests: 1000, period: 1m, key: [{type: ClientIP}]}
";

#[test]
fn explain_tells_whose_tokens_count_and_where_they_are_read() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(issuer.objects(&backend) + LIMITS));
    let token = issuer.rsa.token(&header(&json!({})), &claims(&json!({})));
    let bearer = format!("Authorization: Bearer {token}");
    let folder = gateway.folder().to_str().unwrap();
    let admin = format!("http://{}", gateway.admin);
    let explain = |url: &str, header: &str| {
        let header: &[&str] = if header.is_empty() { &[] } else { &["-H", header] };
        let ask =
            |from: &[&str]| said(command(binary().to_str().unwrap()).args(["explain", url]).args(header).args(from));
        let (of_folder, of_running) = (ask(&["-f", folder]), ask(&["--admin", &admin]));
        assert_eq!(of_folder, of_running, "both say the same");
        assert_eq!((of_folder.code, of_folder.out.contains(&token)), (0, false), "no token is told: {of_folder:?}");
        of_folder.out
    };

    let main = explain("http://a.test/main", "");
    let expected = [
        "limit default/fair/per-ip 1000 in 60s by TokenBucket, burst 1000, Local, by ClientIP/32/64: counted by",
        "clients cannot send X-User, X-Tenant, X-Groups",
        "jwt: a token of default/shop/main (RS256, PS256, ES256, ES384, EdDSA); X-User from sub; X-Tenant from tenant.id",
        "  default/shop/main: issuer https://issuer.test/, for shop or stock; the token is read from header Authorization \
         (\"Bearer \")",
        "  this request brings no token: 401",
        "limit default/fair/per-user 100 in 60s by TokenBucket, burst 100, Local, by JWTClaim sub if present: counted by \
         JWTClaim sub of the caller's token",
    ];
    let places: Vec<_> =
        expected.iter().map(|step| main.find(step).unwrap_or_else(|| panic!("no {step} in\n{main}"))).collect();
    assert!(places.is_sorted(), "in the order in which they are run:\n{main}");

    for (url, header, expected) in [
        (
            "http://a.test/main",
            bearer.as_str(),
            "this request brings a token in header Authorization; whether it is right",
        ),
        ("http://a.test/elsewhere", &format!("Cookie: a=b; session={token}"), "brings a token in cookie session"),
        (
            "http://a.test/elsewhere",
            "",
            "read from header X-Token, header Authorization (\"JWT \"), cookie session, query",
        ),
        ("http://a.test/kept", "", "default/shop/kept: any issuer; the token is read from header Authorization"),
        (
            "http://a.test/kept?access_token=x&access_token=y",
            "",
            "token for default/shop/kept is not a single one: 401",
        ),
        ("http://a.test/optional", "", "brings no token, and passes without"),
        ("http://a.test/any", &bearer, "  default/shop/shared: issuer https://issuer.test/; the token"),
        ("http://a.test/secure", &bearer, "this request comes in clear: 403"),
        ("https://a.test/secure", "", "this request brings no token: 401"),
    ] {
        let said = explain(url, header);
        assert!(said.contains(expected), "{url}: no {expected} in\n{said}");
    }
    let open = explain("http://a.test/open", &bearer);
    assert!(open.contains("clients cannot send X-User") && !open.contains("jwt:"), "{open}");
}
