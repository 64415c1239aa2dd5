//! Tokens: which are let in, and what the backend is told of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response, request};
use crate::harness::issuer::{Signer, base64url, now, secret};

mod explain;
mod forged;
mod keys;
mod logged;

const ISSUER: &str = "https://issuer.test/";

/// The issuer of the tests, with a key of each kind.
struct Issuer {
    rsa: Signer,
    p256: Signer,
    p384: Signer,
    ed25519: Signer,
    hmac: Signer,
}

impl Issuer {
    fn new() -> Self {
        Self {
            rsa: Signer::rsa(),
            p256: Signer::p256(),
            p384: Signer::p384(),
            ed25519: Signer::ed25519(),
            hmac: Signer::Hmac((0..32).collect()),
        }
    }

    fn keys(&self) -> Value {
        let named = [("rsa", &self.rsa), ("p256", &self.p256), ("p384", &self.p384), ("ed", &self.ed25519)];
        json!({"keys": named.map(|(id, key)| key.jwk(id))})
    }

    /// Secrets with the keys, and a route with a rule for each way of asking.
    fn objects(&self, backend: &Backend) -> String {
        let hmac = json!({"keys": [self.hmac.jwk("shared")]}).to_string();
        let route = json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "shop"},
            "spec": {
                "jwtProviders": [
                    {
                        "name": "main", "issuer": ISSUER, "audiences": ["shop", "stock"],
                        "algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
                        "localJWKS": {"valueRef": {"name": "keys"}},
                        "claimToHeaders": [
                            {"claim": "sub", "header": "X-User"},
                            {"claim": "tenant.id", "header": "X-Tenant"},
                            {"claim": "groups", "header": "X-Groups"},
                        ],
                    },
                    {
                        "name": "shared", "issuer": ISSUER, "algorithms": ["HS256"],
                        "localJWKS": {"valueRef": {"name": "shared"}},
                        "claimToHeaders": [{"claim": "sub", "header": "X-User"}],
                    },
                    {
                        "name": "elsewhere", "issuer": ISSUER, "algorithms": ["RS256"],
                        "localJWKS": {"inline": self.rsa.pem()},
                        "extractFrom": {
                            "headers": [{"name": "X-Token"}, {"name": "Authorization", "valuePrefix": "JWT "}],
                            "cookies": ["session"], "params": ["access_token"],
                        },
                        "claimToHeaders": [{"claim": "sub", "header": "X-User"}],
                    },
                    {
                        "name": "kept", "algorithms": ["RS256"], "forwardToken": true,
                        "localJWKS": {"inline": self.rsa.pem()},
                        "extractFrom": {"params": ["access_token"], "headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
                    },
                ],
                "rules": [
                    rule("/main", &json!({"providers": ["main"], "requireTLS": false})),
                    rule("/shared", &json!({"providers": ["shared"], "requireTLS": false})),
                    rule("/any", &json!({"providers": ["shared", "main"], "requireTLS": false})),
                    rule("/elsewhere", &json!({"providers": ["elsewhere"], "requireTLS": false})),
                    rule("/kept", &json!({"providers": ["kept"], "requireTLS": false})),
                    rule("/optional", &json!({"providers": ["main"], "optional": true, "requireTLS": false})),
                    rule("/scoped", &json!({
                        "providers": ["main"], "requireTLS": false, "requiredScopes": ["orders.read", "orders.write"],
                        "requiredClaims": [
                            {"name": "plan", "values": ["pro", "enterprise"]}, {"name": "tenant.id", "values": ["7"]},
                        ],
                    })),
                    rule("/secure", &json!({"providers": ["main"]})),
                    {
                        "matches": [{"path": {"value": "/fixed"}}],
                        "jwt": {"providers": ["main"], "requireTLS": false},
                        "filters": [{"type": "DirectResponse", "directResponse": {"statusCode": 200, "body": "fixed"}}],
                    },
                    {
                        "matches": [{"path": {"value": "/open"}}],
                        "backendRefs": [{"name": "b", "port": 80}],
                    },
                ],
            },
        });
        let keys = secret("keys", "jwks", &self.keys().to_string()) + &secret("shared", "jwks", &hmac);
        format!("{}{keys}---\n{route}\n", backend.service("b"))
    }
}

fn rule(path: &str, jwt: &Value) -> Value {
    json!({"matches": [{"path": {"value": path}}], "jwt": jwt, "backendRefs": [{"name": "b", "port": 80}]})
}

/// Claims that are right, with these instead; a null takes one away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "shop", "sub": "ann", "exp": now() + 300, "iat": now(),
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// The header of a token that is right, with these instead; a null takes one away.
fn header(changes: &Value) -> Value {
    let mut header = json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => header.as_object_mut().unwrap().remove(name),
            value => header.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    header
}

fn bearer(client: &mut Client, path: &str, token: &str) -> Response {
    client.request("GET", "a.test", path, &[("authorization", &format!("Bearer {token}"))]).unwrap()
}

/// Every way of being wrong is refused, by the same binary that lets the right ones in, and none reaches the backend.
#[test]
fn bad_tokens_are_refused() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&issuer.objects(&backend));
    let mut client = Client::http1(gateway.http);
    let mut bad = headers_that_are_wrong(&issuer);
    bad.extend(signatures_that_are_wrong(&issuer));
    bad.extend(claims_that_are_wrong(&issuer));
    bad.extend(shapes_that_are_wrong(&issuer));
    let names: BTreeSet<_> = bad.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), bad.len(), "each has a name of its own");
    assert!(bad.len() >= 80, "{}", bad.len());
    // What they are all made of would be let in.
    let good = issuer.rsa.token(&header(&json!({})), &claims(&json!({})));
    assert_eq!(bearer(&mut client, "/main", &good).status, 200);
    backend.forget();
    let mut passed = Vec::new();
    for (name, token) in &bad {
        let response = bearer(&mut client, "/main", token);
        let challenge = response.header("www-authenticate").unwrap_or_default();
        if response.status != 401 || !challenge.starts_with("Bearer error=\"invalid_token\"") {
            passed.push(format!("{name}: {} {challenge}", response.status));
        }
    }
    assert_eq!(passed, Vec::<String>::new());
    assert_eq!(backend.seen().len(), 0);
    let metrics = gateway.metrics();
    for result in
        ["malformed", "algorithm", "unknown_key", "signature", "issuer", "audience", "expired", "not_yet_valid"]
    {
        let series = format!("headgate_jwt_validations_total{{provider=\"default/shop/main\",result=\"{result}\"}}");
        assert!(metrics.contains(&series), "{series}");
    }
}

fn headers_that_are_wrong(issuer: &Issuer) -> Vec<(String, String)> {
    let right = claims(&json!({}));
    let unsigned = |alg: Value| {
        let header = json!({"alg": alg, "typ": "JWT"});
        format!("{}.{}.", base64url(header.to_string().as_bytes()), base64url(right.to_string().as_bytes()))
    };
    let mut bad: Vec<(String, String)> = Vec::new();
    for alg in [json!("none"), json!("None"), json!("nOnE"), json!("NONE"), json!(""), json!(null), json!(0)] {
        bad.push((format!("alg {alg}, unsigned"), unsigned(alg.clone())));
        let header = json!({"alg": alg, "kid": "rsa"}).to_string();
        bad.push((format!("alg {alg}, signed"), issuer.rsa.raw(&header, &right.to_string(), "RS256")));
    }
    let signed = [
        ("alg is missing", json!({"alg": null})),
        ("alg is a list", json!({"alg": ["RS256"]})),
        ("alg in lower case", json!({"alg": "rs256"})),
        ("alg with a space", json!({"alg": "RS256 "})),
        ("alg that is not listed", json!({"alg": "RS384"})),
        ("alg that is not listed, longer", json!({"alg": "RS512"})),
        ("alg PS384 that is not listed", json!({"alg": "PS384"})),
        ("alg that nobody knows", json!({"alg": "ES256K"})),
        ("alg of another key", json!({"alg": "RS256", "kid": "p256"})),
        ("unknown kid", json!({"kid": "nobody"})),
        ("empty kid", json!({"kid": ""})),
        ("kid in upper case", json!({"kid": "RSA"})),
        ("kid with a NUL", json!({"kid": "rsa\u{0}"})),
        ("kid that climbs", json!({"kid": "../../../../dev/null"})),
        ("kid of SQL", json!({"kid": "x' UNION SELECT 'key"})),
        ("kid that is an address", json!({"kid": "https://evil.test/keys.json"})),
        ("kid that is a command", json!({"kid": "rsa|cat /etc/passwd"})),
        ("kid that is a number", json!({"kid": 0})),
        ("kid that is a list", json!({"kid": ["rsa"]})),
        ("kid that is long", json!({"kid": "rsa".repeat(100)})),
        ("jku", json!({"jku": "https://evil.test/keys"})),
        ("jku of the issuer", json!({"jku": "https://issuer.test/keys"})),
        ("x5u", json!({"x5u": "https://evil.test/chain"})),
        ("x5c", json!({"x5c": ["MIIB"]})),
        ("crit of exp", json!({"crit": ["exp"]})),
        ("crit of nothing", json!({"crit": []})),
        ("crit of b64", json!({"crit": ["b64"], "b64": false})),
        ("b64 alone", json!({"b64": false})),
        ("zip", json!({"zip": "DEF"})),
        ("enc", json!({"enc": "A256GCM"})),
        ("a token within", json!({"cty": "JWT"})),
        ("typ of a logout token", json!({"typ": "logout+jwt"})),
        ("typ of a proof", json!({"typ": "dpop+jwt"})),
        ("typ that is a number", json!({"typ": 1})),
    ];
    bad.extend(signed.map(|(name, changes)| (name.to_owned(), issuer.rsa.token(&header(&changes), &right))));
    let raw = [
        ("alg twice, none first", r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#),
        ("alg twice, none last", r#"{"alg":"RS256","alg":"none","kid":"rsa"}"#),
        ("kid twice", r#"{"alg":"RS256","kid":"nobody","kid":"rsa"}"#),
        ("kid null", r#"{"alg":"RS256","kid":null}"#),
        ("a list as header", r#"["RS256"]"#),
        ("no JSON as header", r#"{"alg":"RS256""#),
        ("more than JSON as header", r#"{"alg":"RS256","kid":"rsa"} "x""#),
        ("a deep header", r#"{"alg":"RS256","kid":"rsa","x":[[[[[[[[[[]]]]]]]]]]}"#),
    ];
    bad.extend(raw.map(|(name, header)| (name.to_owned(), issuer.rsa.raw(header, &right.to_string(), "RS256"))));
    // A stranger's key, brought along.
    let stranger = Signer::rsa();
    let brings = header(&json!({"jwk": stranger.jwk("rsa")}));
    bad.push(("its own key".to_owned(), stranger.token(&brings, &right)));
    bad.push((
        "the issuer's key, brought along".to_owned(),
        issuer.rsa.token(&header(&json!({"jwk": issuer.rsa.jwk("rsa")})), &right),
    ));
    bad
}

fn signatures_that_are_wrong(issuer: &Issuer) -> Vec<(String, String)> {
    let right = claims(&json!({}));
    let good = issuer.rsa.token(&header(&json!({})), &right);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = issuer.rsa.token(&header(&json!({})), &claims(&json!({"sub": "bob"})));
    let mut bad: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| bad.push((name.to_owned(), token));
    add("no signature", format!("{message}."));
    add("a shorter signature", good[..good.len() - 4].to_owned());
    add("a longer signature", format!("{good}AAAA"));
    add("the signature twice", format!("{good}{signature}"));
    add("another token's signature", format!("{message}.{}", other.rsplit_once('.').unwrap().1));
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    add("a changed signature", format!("{message}.{flipped}{}", &signature[1..]));
    add("a signature of zeros", format!("{message}.{}", base64url(&[0; 256])));
    add("a signature with padding", format!("{good}=="));
    add("a signature with a line break in it", format!("{message}.%0A{signature}"));
    add("another claim under the signature", {
        let claims = base64url(claims(&json!({"sub": "root"})).to_string().as_bytes());
        format!("{}.{claims}.{signature}", message.split_once('.').unwrap().0)
    });
    add("another key of the same name", Signer::rsa().token(&header(&json!({})), &right));
    add("another key and no name", Signer::rsa().token(&header(&json!({"kid": null})), &right));
    // A public key is no secret: who takes it for one lets everybody sign.
    for (name, key) in [
        ("PEM", issuer.rsa.pem().into_bytes()),
        ("PEM without its last line break", issuer.rsa.pem().trim_end().as_bytes().to_vec()),
        ("JWK", issuer.rsa.jwk("rsa").to_string().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        let forger = Signer::Hmac(key);
        add(&format!("HMAC with the public key as {name}"), forger.token(&header(&json!({"alg": "HS256"})), &right));
    }
    add("HMAC without kid", Signer::Hmac(issuer.rsa.pem().into_bytes()).token(&json!({"alg": "HS256"}), &right));
    let p256 = |kid: &str| json!({"alg": "ES256", "kid": kid});
    let elliptic = issuer.p256.token(&p256("p256"), &right);
    let (message, _) = elliptic.rsplit_once('.').unwrap();
    add("ES256 of zeros", format!("{message}.{}", base64url(&[0; 64])));
    add("ES256 in DER", format!("{message}.{}", base64url(&[0x30, 6, 2, 1, 1, 2, 1, 1])));
    add("ES256 with the name of the RSA key", issuer.p256.token(&p256("rsa"), &right));
    add("ES256 with the name of the other curve", issuer.p256.token(&p256("p384"), &right));
    add("ES256 by the other curve", issuer.p384.token(&p256("p256"), &right));
    add("ES384 by the other curve", issuer.p256.token(&json!({"alg": "ES384", "kid": "p384"}), &right));
    let ed = issuer.ed25519.token(&json!({"alg": "EdDSA", "kid": "ed"}), &right);
    let (message, _) = ed.rsplit_once('.').unwrap();
    add("EdDSA of zeros", format!("{message}.{}", base64url(&[0; 64])));
    add("EdDSA by another key", Signer::ed25519().token(&json!({"alg": "EdDSA", "kid": "ed"}), &right));
    add("PS256 that is RS256", {
        let text = header(&json!({"alg": "PS256"})).to_string();
        issuer.rsa.raw(&text, &right.to_string(), "RS256")
    });
    bad
}

fn claims_that_are_wrong(issuer: &Issuer) -> Vec<(String, String)> {
    let now = now();
    let changed = [
        ("no exp", json!({"exp": null})),
        ("expired by a second beyond the tolerance", json!({"exp": now - 31})),
        ("expired long ago", json!({"exp": now - 100_000})),
        ("exp 0", json!({"exp": 0})),
        ("exp below 0", json!({"exp": -1})),
        ("exp as text", json!({"exp": (now + 300).to_string()})),
        ("exp as a list", json!({"exp": [now + 300]})),
        ("exp as an object", json!({"exp": {"at": now + 300}})),
        ("exp true", json!({"exp": true})),
        ("exp beyond time", json!({"exp": 1e300})),
        ("exp as large as can be", json!({"exp": u64::MAX})),
        ("exp in milliseconds, far away", json!({"exp": 999_999_999_999_999_i64})),
        ("not valid for a while", json!({"nbf": now + 60})),
        ("nbf as text", json!({"nbf": (now - 10).to_string()})),
        ("nbf beyond time", json!({"nbf": 1e300})),
        ("nbf below 0", json!({"nbf": -1})),
        ("nbf as a list", json!({"nbf": []})),
        ("no iss", json!({"iss": null})),
        ("another iss", json!({"iss": "https://evil.test/"})),
        ("iss without its slash", json!({"iss": "https://issuer.test"})),
        ("iss in upper case", json!({"iss": "HTTPS://ISSUER.TEST/"})),
        ("iss in a list", json!({"iss": [ISSUER]})),
        ("iss with more", json!({"iss": "https://issuer.test/x"})),
        ("no aud", json!({"aud": null})),
        ("another aud", json!({"aud": "bank"})),
        ("aud in upper case", json!({"aud": "SHOP"})),
        ("aud with another in one text", json!({"aud": "shop,bank"})),
        ("aud of words", json!({"aud": "bank shop"})),
        ("an empty list of aud", json!({"aud": []})),
        ("a list of other auds", json!({"aud": ["bank", "shopping"]})),
        ("aud in a list with a number", json!({"aud": ["shop", 1]})),
        ("aud in a list in a list", json!({"aud": [["shop"]]})),
        ("aud as an object", json!({"aud": {"shop": true}})),
        ("aud as a number", json!({"aud": 1})),
        ("aud true", json!({"aud": true})),
    ];
    let mut bad: Vec<_> = changed
        .into_iter()
        .map(|(name, changes)| (name.to_owned(), issuer.rsa.token(&header(&json!({})), &claims(&changes))))
        .collect();
    let text = claims(&json!({})).to_string();
    let inside = &text[1..text.len() - 1];
    let raw = [
        ("exp twice", format!("{{{inside},\"exp\":{}}}", now + 999)),
        ("sub twice", format!("{{\"sub\":\"root\",{inside}}}")),
        ("sub twice by an escape", format!("{{\"s\\u0075b\":\"root\",{inside}}}")),
        ("a name twice further in", format!("{{{inside},\"tenant\":{{\"id\":1,\"id\":2}}}}")),
        ("exp that is no number", format!("{{{},\"exp\":1e999}}", inside.replace("\"exp\"", "\"was\""))),
        ("deep claims", format!("{{{inside},\"x\":{}{}}}", "[".repeat(60), "]".repeat(60))),
        ("claims in a list", format!("[{text}]")),
        ("claims as text", format!("\"{}\"", text.replace('"', "\\\""))),
        ("claims that end early", text[..text.len() - 1].to_owned()),
        ("claims and more", format!("{text}{text}")),
        ("no claims", "{}".to_owned()),
        ("null as claims", "null".to_owned()),
    ];
    let head = header(&json!({})).to_string();
    bad.extend(raw.map(|(name, claims)| (name.to_owned(), issuer.rsa.raw(&head, &claims, "RS256"))));
    bad
}

fn shapes_that_are_wrong(issuer: &Issuer) -> Vec<(String, String)> {
    let good = issuer.rsa.token(&header(&json!({})), &claims(&json!({})));
    let parts: Vec<_> = good.split('.').collect();
    let large = issuer.rsa.token(&header(&json!({})), &claims(&json!({"x": "x".repeat(8 * 1024)})));
    let not_text = {
        let message = format!("{}.{}", parts[0], base64url(b"{\"sub\":\"\xff\"}"));
        format!("{message}.{}", base64url(&issuer.rsa.sign("RS256", message.as_bytes())))
    };
    [
        ("one part", parts[0].to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("five parts", format!("{good}.{}.{}", parts[1], parts[2])),
        ("an empty header", format!(".{}.{}", parts[1], parts[2])),
        ("empty claims", format!("{}..{}", parts[0], parts[2])),
        ("two dots", "..".to_owned()),
        ("dots", "....".to_owned()),
        ("words", "let me in".to_owned()),
        ("a space before the signature", format!("{}.{}. {}", parts[0], parts[1], parts[2])),
        ("the other base64", good.replace('-', "+").replace('_', "/") + "+/"),
        ("padding in the header", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("more than 8 KiB", large),
        ("claims that are no text", not_text),
        ("scheme twice", format!("Bearer {good}")),
        ("two tokens", format!("{good}, {good}")),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into()
}

#[test]
fn good_tokens_are_let_in() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&issuer.objects(&backend));
    let mut client = Client::http1(gateway.http);
    let Issuer { rsa, p256, p384, ed25519, hmac } = &issuer;
    let plain = claims(&json!({}));
    let of = |changes: &Value| rsa.token(&header(&json!({})), &claims(changes));
    let headed = |changes: &Value| rsa.token(&header(changes), &plain);
    let good = [
        ("/main", "RS256", headed(&json!({}))),
        ("/main", "RS256 without kid", headed(&json!({"kid": null}))),
        ("/main", "PS256", headed(&json!({"alg": "PS256"}))),
        ("/main", "ES256", p256.token(&json!({"alg": "ES256", "kid": "p256"}), &plain)),
        ("/main", "ES384", p384.token(&json!({"alg": "ES384", "kid": "p384"}), &plain)),
        ("/main", "EdDSA", ed25519.token(&json!({"alg": "EdDSA", "kid": "ed"}), &plain)),
        ("/main", "without typ", headed(&json!({"typ": null}))),
        ("/main", "typ in lower case", headed(&json!({"typ": "jwt"}))),
        ("/main", "typ of an access token", headed(&json!({"typ": "at+jwt"}))),
        ("/main", "typ in full", headed(&json!({"typ": "application/at+jwt"}))),
        ("/main", "more in the header", headed(&json!({"x5t": "abc", "nonce": 1}))),
        ("/main", "the other audience", of(&json!({"aud": "stock"}))),
        ("/main", "a list of audiences", of(&json!({"aud": ["bank", "shop"]}))),
        ("/main", "expired within the tolerance", of(&json!({"exp": now() - 10}))),
        ("/main", "not valid yet, within the tolerance", of(&json!({"nbf": now() + 10}))),
        ("/main", "valid since a while", of(&json!({"nbf": now() - 1000}))),
        ("/main", "a fraction of a second", of(&json!({"exp": f64::from(i32::try_from(now()).unwrap()) + 300.5}))),
        ("/main", "for a century", of(&json!({"exp": now() + 3_000_000_000}))),
        ("/main", "letters of the world", of(&json!({"name": "Zoë 李 \u{1f600}"}))),
        ("/main", "large", of(&json!({"x": "x".repeat(4 * 1024)}))),
        ("/main", "nested", of(&json!({"tenant": {"id": "t1", "of": {"of": [1, {"a": null}]}}}))),
        ("/shared", "HS256", hmac.token(&json!({"alg": "HS256", "kid": "shared"}), &plain)),
        ("/shared", "HS256 without kid", hmac.token(&json!({"alg": "HS256"}), &plain)),
        ("/any", "HS256 of the first", hmac.token(&json!({"alg": "HS256"}), &plain)),
        ("/any", "RS256 of the second", headed(&json!({}))),
    ];
    assert!(good.len() >= 20);
    for (path, name, token) in &good {
        backend.forget();
        // The second time from memory.
        for _ in 0..2 {
            let response = bearer(&mut client, path, token);
            assert_eq!(response.status, 200, "{name}: {}", response.text());
        }
        for seen in backend.seen() {
            assert_eq!(seen.headers.get_all("x-user").iter().collect::<Vec<_>>(), ["ann"], "{name}");
            assert!(!seen.headers.contains_key("authorization"), "{name}: the token was passed on");
        }
    }
    let scheme = format!("bEARER  {}", good[0].2);
    assert_eq!(client.request("GET", "a.test", "/main", &[("authorization", &scheme)]).unwrap().status, 200);
}

#[test]
fn what_is_missing_is_asked_for_and_what_is_too_little_is_forbidden() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&issuer.objects(&backend));
    let mut client = Client::http1(gateway.http);
    for path in ["/main", "/fixed", "/scoped"] {
        let response = client.get("a.test", path);
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(response.json()["reason"], "jwt_missing");
    }
    for authorization in ["Basic YTpi", "Bearer", "Bearer ", "Token x", ""] {
        let response = client.request("GET", "a.test", "/main", &[("authorization", authorization)]).unwrap();
        assert_eq!(response.json()["reason"], "jwt_missing", "{authorization:?}");
    }
    let token = |changes: &Value| issuer.rsa.token(&header(&json!({})), &claims(changes));
    assert_eq!(bearer(&mut client, "/fixed", &token(&json!({}))).text(), "fixed");

    let good = json!({"scope": "orders.write x orders.read", "plan": "pro", "tenant": {"id": 7}});
    let with = |changes: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        token(&claims)
    };
    for (name, claims) in [
        ("both scopes", json!({})),
        ("scopes as a list", json!({"scope": null, "scp": ["orders.read", "orders.write"]})),
        ("scopes in scp", json!({"scope": null, "scp": "orders.read orders.write"})),
        ("a claim that is a list", json!({"plan": ["free", "enterprise"]})),
    ] {
        assert_eq!(bearer(&mut client, "/scoped", &with(claims)).status, 200, "{name}");
    }
    for (name, claims, asks_for_scope) in [
        ("one scope", json!({"scope": "orders.read"}), true),
        ("no scope", json!({"scope": null}), true),
        ("a longer scope", json!({"scope": "orders.read orders.writes"}), true),
        ("a scope in upper case", json!({"scope": "ORDERS.READ ORDERS.WRITE"}), true),
        ("scopes with a comma", json!({"scope": "orders.read,orders.write"}), true),
        ("another plan", json!({"plan": "free"}), false),
        ("no plan", json!({"plan": null}), false),
        ("a plan within", json!({"plan": {"pro": true}}), false),
        ("another tenant", json!({"tenant": {"id": 77}}), false),
        ("no tenant", json!({"tenant": null}), false),
    ] {
        let response = bearer(&mut client, "/scoped", &with(claims));
        assert_eq!((response.status, &response.json()["reason"]), (403, &json!("jwt_forbidden")), "{name}");
        let challenge = response.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=\"insufficient_scope\""), "{name}: {challenge}");
        assert_eq!(challenge.contains("scope=\"orders.read orders.write\""), asks_for_scope, "{name}: {challenge}");
    }

    // Without one, with a right one, and with a wrong one.
    assert_eq!(client.get("a.test", "/optional").status, 200);
    assert_eq!(bearer(&mut client, "/optional", &token(&json!({}))).status, 200);
    assert_eq!(bearer(&mut client, "/optional", &token(&json!({"exp": 1}))).status, 401);
}

#[test]
fn a_token_is_taken_where_it_may_be_and_taken_out_there() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&issuer.objects(&backend));
    let token = issuer.rsa.token(&header(&json!({})), &claims(&json!({})));
    let ask = |target: &str, headers: &[(&str, &str)]| {
        backend.forget();
        let status = request(gateway.http, "GET", "a.test", target, headers, b"").unwrap().status;
        (status, backend.seen().pop())
    };
    let cookie = format!("a=1; session={token}; b=2");
    let alone = format!("session={token}");
    let in_query = format!("/elsewhere/x?a=1&access_token={token}&b=%2F");
    let encoded = format!("/elsewhere?%61ccess_token={token}");
    let scheme = format!("JWT {token}");
    for (target, headers, left) in [
        ("/elsewhere", vec![("X-Token", token.as_str())], "/elsewhere"),
        ("/elsewhere", vec![("Authorization", scheme.as_str())], "/elsewhere"),
        ("/elsewhere?q", vec![("Cookie", cookie.as_str())], "/elsewhere?q"),
        ("/elsewhere", vec![("Cookie", alone.as_str())], "/elsewhere"),
        (in_query.as_str(), vec![], "/elsewhere/x?a=1&b=%2F"),
        (encoded.as_str(), vec![], "/elsewhere"),
    ] {
        let (status, seen) = ask(target, &headers);
        assert_eq!(status, 200, "{target} {headers:?}");
        let seen = seen.unwrap();
        assert_eq!(seen.uri.to_string(), left);
        assert!(!format!("{seen:?}").contains(&token), "{seen:?}");
        assert_eq!(seen.headers["x-user"], "ann");
        if headers.iter().any(|(name, value)| *name == "Cookie" && value.starts_with('a')) {
            assert_eq!(seen.headers["cookie"], "a=1; b=2");
        }
    }
    // Two where one belongs: nobody could say which of them the backend would believe.
    let twice = format!("/elsewhere?access_token={token}&access_token={token}");
    let two = format!("session={token}; session={token}");
    for (target, headers) in [
        (twice.as_str(), vec![]),
        ("/elsewhere", vec![("Cookie", two.as_str())]),
        ("/elsewhere", vec![("X-Token", token.as_str()), ("X-Token", token.as_str())]),
    ] {
        assert_eq!(ask(target, &headers).0, 401, "{target} {headers:?}");
    }
    // Kept where the provider says so.
    let target = format!("/kept?access_token={token}");
    assert_eq!(ask(&target, &[]).1.unwrap().uri.to_string(), target);
    let authorization = format!("Bearer {token}");
    let (_, seen) = ask("/kept", &[("Authorization", &authorization)]);
    assert_eq!(seen.unwrap().headers["authorization"], authorization.as_str());
}

#[test]
fn claims_become_headers() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let gateway = Gateway::start(&issuer.objects(&backend));
    let mut client = Client::http1(gateway.http);
    for (changes, user, tenant, groups) in [
        (json!({"tenant": {"id": "t1"}, "groups": ["a", "b"]}), Some("ann"), Some("t1"), Some("a,b")),
        (json!({"tenant": {"id": 7}, "groups": []}), Some("ann"), Some("7"), Some("")),
        (json!({"tenant": {"id": {"x": 1}}, "groups": ["a", ["b"]]}), Some("ann"), None, None),
        (json!({"tenant": "t1", "groups": ["a,admin"]}), Some("ann"), None, None),
        (json!({"tenant": null, "groups": "a", "sub": "x\r\nX-Admin: 1"}), None, None, Some("a")),
    ] {
        backend.forget();
        let token = issuer.rsa.token(&header(&json!({})), &claims(&changes));
        let forged = [("x-user", "root"), ("x-tenant", "root"), ("x-groups", "root")];
        let authorization = format!("Bearer {token}");
        let headers = [&[("authorization", authorization.as_str())], &forged[..]].concat();
        assert_eq!(client.request("GET", "a.test", "/main", &headers).unwrap().status, 200, "{changes}");
        let seen = backend.seen().pop().unwrap();
        for (name, expected) in [("x-user", user), ("x-tenant", tenant), ("x-groups", groups)] {
            let values: Vec<_> = seen.headers.get_all(name).iter().collect();
            assert_eq!(values, expected.into_iter().collect::<Vec<_>>(), "{name} of {changes}");
        }
        assert!(!seen.headers.contains_key("x-admin"));
    }
}

#[test]
fn a_token_that_came_in_clear_is_refused_unless_the_rule_allows_it() {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let authority = Authority::new();
    let tls = "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: tls}\nspec:\n  hostnames: \
               [a.test]\n  tls: {certificateRefs: [{name: leaf}]}\n  rules: [{matches: [{path: {value: /nothing}}], \
               filters: [{type: DirectResponse, directResponse: {statusCode: 200}}]}]\n";
    // On the very host, so that the certificate is for it.
    let objects = issuer
        .objects(&backend)
        .replace("\"spec\":{\"jwtProviders\"", "\"spec\":{\"hostnames\":[\"a.test\"],\"jwtProviders\"");
    let gateway = Gateway::start(&(objects + &authority.issue(&["a.test"]).secret("leaf") + tls));
    let token = issuer.rsa.token(&header(&json!({})), &claims(&json!({})));
    let mut clear = Client::http1(gateway.http);
    for authorization in [format!("Bearer {token}"), String::new()] {
        let response = clear.request("GET", "a.test", "/secure", &[("authorization", &authorization)]).unwrap();
        assert_eq!((response.status, &response.json()["reason"]), (403, &json!("tls_required")));
        assert!(response.json()["detail"].as_str().unwrap().contains("TLS"));
    }
    assert_eq!(bearer(&mut clear, "/main", &token).status, 200);
    for protocols in [&["h2"][..], &[]] {
        let config = authority.client_of(&[&rustls::version::TLS13], protocols);
        let mut secure = Client::tls(gateway.https, &config, "a.test").unwrap();
        assert_eq!(bearer(&mut secure, "/secure", &token).status, 200);
        assert_eq!(secure.get("a.test", "/secure").status, 401);
    }
}
