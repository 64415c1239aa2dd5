//! Another service that is asked whether requests may pass.

use std::net::TcpListener;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;

use crate::harness::backend::{Backend, Seen, service};
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{get_host, request};
use crate::harness::raw::RawClient;

const HOST: &str = "e.test";

/// Says yes to `Authorization: good`, and otherwise no in the way that the path asks for.
fn judge() -> Backend {
    Backend::answering(|seen| {
        let answer = Response::builder().header("X-User", "ann").header("X-Unlisted", "1").header("Set-Cookie", "s=1");
        let answer = match seen.uri.path() {
            _ if seen.headers.get("authorization").is_some_and(|value| value == "good") => answer.status(200),
            "/login" => answer.status(302).header("Location", "https://login.test/"),
            "/broken" => answer.status(500),
            _ => {
                answer.status(401).header("WWW-Authenticate", "Bearer realm=\"e\"").header("Content-Type", "text/html")
            }
        };
        answer.body(Full::new(Bytes::from("<p>who are you?</p>"))).unwrap()
    })
}

/// Rules for [`HOST`]: a path and the settings of its question.
fn serve(services: &str, rules: &[(&str, &str)]) -> Gateway {
    let rules: String = rules
        .iter()
        .map(|(path, auth)| {
            let (auth, more) = auth.split_once("; ").unwrap_or((auth, ""));
            format!(
                "    - matches: [{{path: {{value: {path}}}}}]\n      filters: [{more}{{type: ExternalAuth, externalAuth: \
                 {{{auth}}}}}]\n      backendRefs: [{{name: b, port: 80}}]\n"
            )
        })
        .collect();
    let route = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: e}}\nspec:\n  hostnames: \
         [{HOST}]\n  rules:\n{rules}"
    );
    Gateway::start(&(services.to_owned() + &route))
}

const USUAL: &str = "backendRef: {name: judge, port: 80}, allowedHeaders: [Authorization], allowedResponseHeaders: \
                     [X-User, X-Groups]";

fn only(backend: &Backend) -> Seen {
    let mut seen = backend.seen();
    backend.forget();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn the_service_is_told_what_is_asked_for_and_shown_what_it_may_see() {
    let (judge, backend) = (judge(), Backend::named("b"));
    let fixed = format!("{USUAL}, path: /check; {{type: URLRewrite, urlRewrite: {{hostname: other.test}}}}, ");
    let gateway = serve(&(judge.service("judge") + &backend.service("b")), &[("/own", USUAL), ("/fixed", &fixed)]);
    let sent =
        [("Authorization", "good"), ("Cookie", "secret"), ("X-Forwarded-Uri", "/forged"), ("X-Original-URL", "x")];
    for (path, asked) in [("/own/a%2Db?x=1", "/own/a-b?x=1"), ("/fixed/../fixed/y", "/check")] {
        assert_eq!(request(gateway.http, "PUT", HOST, path, &sent, b"body").unwrap().status, 200);
        let question = only(&judge);
        assert_eq!((question.method.as_str(), question.uri.to_string().as_str()), ("GET", asked));
        assert!(question.body.is_empty());
        let target = if path.starts_with("/own") { "/own/a-b?x=1" } else { "/fixed/y" };
        let url = format!("http://{HOST}{target}");
        for (name, value) in [
            ("host", HOST),
            ("authorization", "good"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-uri", target),
            ("x-forwarded-host", HOST),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-original-method", "PUT"),
            ("x-original-url", &url),
        ] {
            assert_eq!(values(&question.headers, name), [value], "{name}");
        }
        assert!(question.headers.contains_key("x-request-id"));
        assert!(!question.headers.contains_key("cookie"));
        let request = only(&backend);
        assert_eq!((request.method.as_str(), &request.body[..]), ("PUT", &b"body"[..]));
    }
}

#[test]
fn the_backend_hears_the_services_word_and_never_the_clients() {
    let (judge, backend) = (judge(), Backend::named("b"));
    let gateway = serve(&(judge.service("judge") + &backend.service("b")), &[("/", USUAL)]);
    let forged = [
        ("Authorization", "good"),
        ("X-User", "root"),
        ("x-user", "root"),
        ("X_User", "root"),
        ("X.User", "root"),
        ("X-Groups", "admin"),
        ("x_groups", "admin"),
    ];
    let spellings = |headers: &HeaderMap| -> Vec<String> {
        let alike = |name: &str| ["xuser", "xgroups"].contains(&name.replace(['-', '_', '.'], "").as_str());
        headers
            .iter()
            .filter(|(name, _)| alike(name.as_str()))
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect()
    };
    assert_eq!(request(gateway.http, "GET", HOST, "/", &forged, b"").unwrap().status, 200);
    let seen = only(&backend);
    assert_eq!(spellings(&seen.headers), ["x-user: ann"]);
    assert!(!seen.headers.contains_key("x-unlisted"));
    assert_eq!(Client::http2(gateway.http).request("GET", HOST, "/", &forged).unwrap().status, 200);
    assert_eq!(spellings(&only(&backend).headers), ["x-user: ann"]);
    // Nor from behind the body.
    let recorder = crate::harness::raw::Recorder::start();
    let gateway = serve(&(judge.service("judge") + &service("b", &[recorder.address])), &[("/", USUAL)]);
    let mut client = RawClient::connect(gateway.http);
    client.send(
        format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: good\r\nTrailer: X-User, X-Groups, X-Fine\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-User: root\r\nX-Groups: admin\r\nX-Fine: 1\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(client.reply(false).status, 200);
    drop((client, gateway));
    let bytes = recorder.finish().concat();
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    assert!(text.contains("x-user: ann\r\n") && !text.contains("root") && !text.contains(": admin"), "{text}");
}

#[test]
fn a_refusal_is_the_services_own_answer() {
    let (judge, backend) = (judge(), Backend::named("b"));
    let fixed = format!("{USUAL}; {{type: DirectResponse, directResponse: {{statusCode: 200}}}}, ");
    let rules = [("/", USUAL), ("/fixed", fixed.as_str())];
    let gateway = serve(&(judge.service("judge") + &backend.service("b")), &rules);
    let answer = request(gateway.http, "GET", HOST, "/any", &[("Authorization", "bad")], b"").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (401, "<p>who are you?</p>"));
    for (name, value) in
        [("www-authenticate", "Bearer realm=\"e\""), ("set-cookie", "s=1"), ("content-type", "text/html")]
    {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!((answer.header("x-user"), answer.header("x-unlisted")), (None, None));
    let answer = get_host(gateway.http, HOST, "/login").unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://login.test/")));
    let answer = get_host(gateway.http, HOST, "/broken").unwrap();
    assert_eq!(answer.status, 500);
    // An answer of ours and a change of protocols have to be let pass as well.
    assert_eq!(get_host(gateway.http, HOST, "/fixed").unwrap().status, 401);
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "a")];
    assert_eq!(request(gateway.http, "GET", HOST, "/chat", &upgrade, b"").unwrap().status, 401);
    assert!(backend.seen().is_empty());
    let metrics = gateway.metrics();
    for reason in ["ext_auth_denied", "ext_auth_error"] {
        assert!(metrics.contains(&format!("reason=\"{reason}\"")), "{reason}");
    }
}

#[test]
fn a_service_that_is_away_closes_unless_it_is_said_to_open() {
    let backend = Backend::named("b");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It accepts by its queue and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let broken = Backend::answering(|_| {
        Response::builder().status(StatusCode::BAD_GATEWAY).header("X-User", "nobody").body(Full::default()).unwrap()
    });
    let services = [
        backend.service("b"),
        service("closed", &[closed]),
        service("silent", &[silent.local_addr().unwrap()]),
        service("empty", &[]),
        broken.service("broken"),
    ];
    let auth = |name: &str, open: bool| {
        format!(
            "backendRef: {{name: {name}, port: 80}}, allowedResponseHeaders: [X-User], timeout: 200ms, failOpen: {open}"
        )
    };
    let names = ["closed", "silent", "empty", "broken", "missing"];
    let rules: Vec<(String, String)> =
        names.iter().flat_map(|name| [false, true].map(|open| (format!("/{name}/{open}"), auth(name, open)))).collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(path, auth)| (&**path, &**auth)).collect();
    let gateway = serve(&services.concat(), &rules);
    for name in names {
        let shut = request(gateway.http, "GET", HOST, &format!("/{name}/false"), &[("X-User", "root")], b"").unwrap();
        let open = request(gateway.http, "GET", HOST, &format!("/{name}/true"), &[("X-User", "root")], b"").unwrap();
        let expected = match name {
            "broken" => (502, 200),
            // A Service that does not exist is a mistake, and opens nothing.
            "missing" => (500, 500),
            _ => (503, 200),
        };
        assert_eq!((shut.status, open.status), expected, "{name}");
        if shut.status == 503 {
            assert_eq!(shut.json()["reason"], "ext_auth_error", "{name}");
        }
    }
    let seen = backend.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("x-user")), "{seen:?}");
    assert!(gateway.api("problems").to_string().contains("externalAuth.backendRef.name"));
}
