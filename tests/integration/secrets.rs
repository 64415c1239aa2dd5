//! Secrets that are declared, sent and answered appear in nothing that Headgate says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::backend::Backend;
use crate::harness::certs::{Authority, Leaf};
use crate::harness::client::Client;
use crate::harness::collector::Collector;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::{get, request};
use crate::harness::issuer::{Signer, now, secret};
use crate::harness::run::headgate;

/// Part of everything secret that the test makes up, as it is and as base64 has it wherever it begins.
const CANARY: &str = "c4nary";

/// A secret of a kind.
fn canary(kind: &str) -> String {
    format!("{CANARY}-{kind}-{CANARY}")
}

/// Everything that must not be seen: the canary, and what is secret by its nature.
struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    fn new() -> Self {
        let mut all = Self(vec![("canary".to_owned(), CANARY.into())]);
        for shift in 0..3 {
            // The part of its base64 that does not depend on what stands before and behind.
            let text = STANDARD.encode(format!("{}{CANARY}", "\0".repeat(shift)));
            let from = if shift == 0 { 0 } else { shift + 1 };
            let until = (shift + CANARY.len()) * 4 / 3;
            all.0.push((format!("canary as base64, shifted by {shift}"), text[from..until].into()));
        }
        all
    }

    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() > 12, "{what} is too short to be told from other text");
        self.0.push((what.to_owned(), secret.into()));
    }

    fn assert_not_in(&self, place: &str, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        for (what, secret) in &self.0 {
            let found = text.windows(secret.len()).position(|window| window == secret);
            if let Some(at) = found {
                let around = &text[at.saturating_sub(200)..text.len().min(at + 100)];
                panic!("{what} is in {place}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// What `/api/v1/tap` sends from now on.
fn watch(admin: SocketAddr) -> Arc<Mutex<Vec<u8>>> {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /api/v1/tap HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).unwrap();
    seen.lock().unwrap().extend_from_slice(&buffer[..length]);
    std::thread::spawn({
        let seen = seen.clone();
        move || {
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        }
    });
    seen
}

/// Objects with a secret wherever one may stand, half of them wrong.
fn objects(backend: &Backend, leaf: &Leaf, hmac: &Signer) -> String {
    let bcrypt = bcrypt::hash(canary("password"), 4).unwrap();
    let secrets = [
        leaf.secret("tls"),
        leaf.secret("torn").replacen("-----END", "-----", 2),
        secret("people", "auth", &format!("ann:{bcrypt}\n")),
        secret("scrawled", "auth", &format!("{}\nbob:{}\n", canary("line"), canary("plain"))),
        secret("keys", "jwks", &json!({"keys": [hmac.jwk("shared")]}).to_string()),
        secret("weak", "jwks", &json!({"keys": [Signer::Hmac(canary("weak")[..16].into()).jwk("weak")]}).to_string()),
        secret("garbled", "jwks", &format!("{{\"keys\": \"{}", canary("jwks"))),
        secret("session", "key", &canary("session-key-of-32-bytes-and-more")),
    ];
    let jwt = |name: &str| {
        json!({"name": name, "issuer": "https://issuer.test/", "algorithms": ["HS256"],
            "localJWKS": {"valueRef": {"name": name}}, "claimToHeaders": [{"claim": "secret", "header": "X-Secret"}]})
    };
    let rule = |path: &str, more: Value| {
        let mut rule = json!({"name": if path == "/" { "rest" } else { &path[1..] }, "matches": [{"path": {"value": path}}],
            "backendRefs": [{"name": "b", "port": 80}]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let basic = |name: &str| json!({"basicAuth": {"secretRef": {"name": name}, "requireTLS": false}});
    let token = |name: &str| json!({"jwt": {"providers": [name], "requireTLS": false}});
    let route = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "shop"},
        "spec": {
            "hostnames": ["shop.test"],
            "tls": {"certificateRefs": [{"name": "tls"}]},
            "jwtProviders": [jwt("keys"), jwt("weak"), jwt("garbled")],
            "rules": [
                rule("/password", basic("people")), rule("/scrawled", basic("scrawled")),
                rule("/token", token("keys")), rule("/weak", token("weak")), rule("/garbled", token("garbled")),
                rule("/asked", json!({"filters": [{"type": "ExternalAuth", "externalAuth": {
                    "backendRef": {"name": "b", "port": 80}}}]})),
                rule("/sticky", json!({"sessionPersistence": {"sessionName": "s"}})),
                rule("/gone", json!({"backendRefs": [{"name": "nobody", "port": 80}]})),
                rule("/", json!({})),
            ],
        },
    });
    let torn = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "torn"},
        "spec": {"hostnames": ["torn.test"], "tls": {"certificateRefs": [{"name": "torn"}]},
            "rules": [rule("/", json!({}))]},
    });
    let policy = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "RateLimitPolicy", "metadata": {"name": "few"},
        "spec": {
            "targetRefs": [{"group": "headgate.dev", "kind": "GatewayRoute", "name": "shop"}],
            "limits": [{
                "name": "per-key", "algorithm": "TokenBucket", "requests": 1000, "period": "1m",
                "key": [{"type": "Header", "name": "X-Api-Key"}, {"type": "Cookie", "name": "session"}],
            }],
        },
    });
    format!("{}{}---\n{route}\n---\n{torn}\n---\n{policy}\n", backend.service("b"), secrets.concat())
}

#[test]
fn no_secret_is_in_anything_that_is_said() {
    let backend = Backend::answering(|_| {
        let answer = Response::builder().header("Set-Cookie", format!("session={}", canary("set-cookie")));
        answer.header("X-Secret", canary("answer")).body(Full::new(Bytes::from(canary("body")))).unwrap()
    });
    let (authority, collector) = (Authority::new(), Collector::start());
    let (leaf, folder) = (authority.issue(&["shop.test"]), tempfile::tempdir().unwrap());
    let hmac = Signer::Hmac(canary("hmac-key-of-32-bytes-or-more").into_bytes());
    let log = folder.path().join("access.log");
    let mut command = Command::new(binary());
    command
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={}", canary("otlp")));
    command.env("HEADGATE_REDIS_URL", format!("redis://ann:{}@127.0.0.1:1", canary("redis")));
    let mut gateway = Gateway::start_as(
        command,
        &objects(&backend, &leaf, &hmac),
        &["--access-log", &format!("json,file={}", log.display()), "--otlp-endpoint", &collector.url()],
    );
    let tapped = watch(gateway.admin);

    let mut canaries = Canaries::new();
    for (number, line) in leaf.key.lines().filter(|line| !line.starts_with("-----")).enumerate() {
        canaries.add(&format!("line {number} of the private key"), line);
    }
    let claims = json!({"iss": "https://issuer.test/", "sub": "ann", "exp": now() + 60, "secret": canary("claim")});
    let token = hmac.token(&json!({"alg": "HS256", "kid": "shared"}), &claims);
    let forged = Signer::Hmac(vec![7; 32]).token(&json!({"alg": "HS256", "kid": "shared"}), &claims);
    for (what, token) in [("token", &token), ("forged token", &forged)] {
        canaries.add(what, token);
        canaries.add(&format!("signature of the {what}"), token.rsplit_once('.').unwrap().1);
    }
    let basic = |password: String| format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
    let credentials = [
        basic(canary("password")),
        basic(canary("wrong-password")),
        format!("Bearer {token}"),
        format!("Bearer {forged}"),
        format!("Bearer {}", canary("no-token")),
        format!("Digest {}", canary("digest")),
    ];
    let (cookie, referer) = (
        format!("session={}; other={}", canary("cookie"), canary("other")),
        format!("https://u:{}@a.test/?k={}", canary("userinfo"), canary("referer")),
    );
    let (key, query) = (canary("api-key"), format!("?access_token={}&{}", canary("query"), canary("flag")));
    let mut tls = Client::tls(gateway.https, &authority.client(), "shop.test").unwrap();
    let (mut statuses, mut expected) = (BTreeMap::<&str, BTreeSet<u16>>::new(), 0);
    for path in ["/password", "/scrawled", "/token", "/weak", "/garbled", "/asked", "/sticky", "/gone", "/other"] {
        for credential in &credentials {
            let headers = [
                ("authorization", credential.as_str()),
                ("proxy-authorization", credential),
                ("cookie", &cookie),
                ("x-api-key", &key),
                ("referer", &referer),
            ];
            let target = format!("{path}{query}");
            let plain =
                request(gateway.http, "POST", "shop.test", &target, &headers, canary("form").as_bytes()).unwrap();
            let secure = tls.request("GET", "shop.test", &target, &headers).unwrap();
            for answer in [plain, secure] {
                statuses.entry(path).or_default().insert(answer.status);
                expected += 1;
                if answer.status != 200 {
                    canaries.assert_not_in("an error's body", &answer.body);
                }
            }
        }
    }
    // What cannot even be read as a request.
    for broken in [
        format!("GET /{0} HTTP/9\r\nCookie: {0}\r\n\r\n", canary("line")),
        format!("GET / HTTP/1.1\r\nHost: a\r\nCookie : {}\r\n\r\n", canary("header")),
    ] {
        let mut stream = TcpStream::connect(gateway.http).unwrap();
        stream.write_all(broken.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        canaries.assert_not_in("the answer to a broken request", answer);
    }
    // Every way of letting in, of refusing and of failing was gone.
    for (path, seen) in &statuses {
        let meant: &[u16] = match *path {
            "/password" | "/token" => &[200, 401],
            "/asked" | "/sticky" | "/other" => &[200],
            _ => &[500],
        };
        assert_eq!(seen.iter().copied().collect::<Vec<_>>(), meant, "{path}");
    }

    gateway.wait_until("lines and spans have come", || {
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
        lines >= expected && collector.spans().iter().filter(|span| span.kind == 2).count() >= expected
    });
    let explained = "/api/v1/explain?url=http%3A%2F%2Fshop.test%2Fpassword&header=cookie%3A%20a%3Db";
    for path in [
        "/",
        "/metrics",
        "/readyz",
        "/api/v1/routes",
        "/api/v1/backends",
        "/api/v1/policies",
        "/api/v1/limits",
        "/api/v1/certificates",
        "/api/v1/objects",
        "/api/v1/problems",
        "/api/v1/generation",
        "/api/v1/log-level",
        explained,
        "/debug/pprof/profile?seconds=1",
    ] {
        canaries.assert_not_in(path, get(gateway.admin, path).unwrap().body);
    }
    let problems = gateway.api("problems").to_string();
    for wrong in ["torn", "scrawled", "weak", "garbled"] {
        assert!(problems.contains(wrong), "{wrong} is no problem: {problems}");
    }
    canaries.assert_not_in("live requests", &*tapped.lock().unwrap());
    assert!(tapped.lock().unwrap().len() > 10_000);
    let (served, admin) = (gateway.folder().display().to_string(), format!("http://{}", gateway.admin));
    for arguments in [
        &["check", "-f", &served][..],
        &["check", "-f", &served, "-o", "json"],
        &["explain", "https://shop.test/password", "-f", &served],
        &["explain", "https://shop.test/token", "--admin", &admin],
        &["status", "--admin", &admin],
        &["status", "--admin", &admin, "-o", "json"],
    ] {
        let said = headgate(arguments);
        canaries.assert_not_in(&arguments.join(" "), said.out + &said.err);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), Some(0));
    canaries.assert_not_in("the access log", fs::read(&log).unwrap());
    canaries.assert_not_in("the log", gateway.log().join("\n"));
    for body in collector.raw() {
        canaries.assert_not_in("a trace", body);
    }
}
