//! Annotations of ingress-nginx, seen from a client and from a backend.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::harness::backend::{Backend, service};
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response as Answer, get_host, request};
use crate::harness::issuer::secret;
use crate::harness::raw::{RawClient, Recorder};

/// An Ingress of this name for the host `NAME.test`, with these annotations and this path to the Service `b`.
fn ingress(name: &str, annotations: &[(&str, &str)], (path_type, path): (&str, &str)) -> String {
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n    \
         example.com/owner: us\n"
    );
    for (annotation, value) in annotations {
        writeln!(text, "    nginx.ingress.kubernetes.io/{annotation}: {value:?}").unwrap();
    }
    let backend = "backend: {service: {name: b, port: {number: 80}}}";
    text + &format!(
        "spec:\n  rules:\n  - host: {name}.test\n    http:\n      paths:\n      - {{pathType: {path_type}, path: {path:?}, \
         {backend}}}\n"
    )
}

/// A backend that answers with the path that it was asked for, and a gateway in front of it with these Ingresses.
fn serve(declared: &[String]) -> (Backend, Gateway) {
    let backend =
        Backend::answering(|seen| Response::new(Full::new(Bytes::from(format!("{} {}", seen.method, seen.uri)))));
    let gateway = Gateway::start(&(backend.service("b") + &declared.concat()));
    (backend, gateway)
}

fn get(gateway: &Gateway, name: &str, path: &str) -> Answer {
    get_host(gateway.http, &format!("{name}.test"), path).unwrap()
}

/// The answers are those of nginx 1.22 with the locations that ingress-nginx writes for the same Ingress, but for what
/// stands in a second column.
#[test]
fn paths_are_rewritten_as_nginx_rewrites_them() {
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str)]);
    let cases: [Case; 13] = [
        (
            "/api(/|$)(.*)",
            "/$2",
            &[
                ("/api", "/", ""),
                ("/api/", "/", ""),
                ("/api/x", "/x", ""),
                ("/api/x/y?q=1", "/x/y?q=1", ""),
                ("/apix", "404", ""),
                // Paths tell upper case from lower.
                ("/API/x", "/x", "404"),
            ],
        ),
        ("/api/?(.*)", "/$1", &[("/api", "/", ""), ("/api/", "/", ""), ("/api/x/y", "/x/y", "")]),
        // The prefix is a whole segment, with and without a slash behind it.
        ("/api/(.*)", "/$1", &[("/api", "404", "/"), ("/api/", "/", ""), ("/api/x", "/x", "")]),
        ("/api(/.*)?", "$1", &[("/api/", "/", ""), ("/api/x", "/x", "")]),
        // Two slashes are one.
        ("/api(/.*)?", "/$1", &[("/api", "/", ""), ("/api/x", "//x", "/x")]),
        ("/api(/|$)(.*)", "/v2/$2", &[("/api", "/v2/", ""), ("/api/", "/v2/", ""), ("/api/x?q=1", "/v2/x?q=1", "")]),
        // An encoded slash is refused at the door.
        (
            "/old/(.*)$",
            "/new/$1",
            &[("/old/", "/new/", ""), ("/old/x%20y", "/new/x%20y", ""), ("/old/a%2Fb", "/new/a/b", "400")],
        ),
        ("/(.*)", "/$1", &[("/", "/", ""), ("/x/y", "/x/y", "")]),
        ("/()(.*)", "/$2", &[("/", "/", ""), ("/x/y", "/x/y", "")]),
        ("/v[0-9]+/(a|b)/(.*)", "/$1/$2", &[("/v1/a/x", "/a/x", ""), ("/V22/b/", "/b/", ""), ("/v1/c/x", "404", "")]),
        ("/a(/|$)(.*)/edit", "/e/$2", &[("/a/1/edit", "/e/1", ""), ("/a/1/edit/more", "/e/1", "")]),
        ("/app", "/", &[("/app", "/", ""), ("/app/x", "/", "")]),
        ("/", "/", &[("/", "/", ""), ("/x", "/x", "")]),
    ];
    let declared = cases.iter().enumerate().map(|(number, (path, target, _))| {
        ingress(&format!("i{number}"), &[("rewrite-target", target)], ("ImplementationSpecific", path))
    });
    let (_backend, gateway) = serve(&declared.collect::<Vec<_>>());
    for (number, (path, target, requests)) in cases.iter().enumerate() {
        for (asked, nginx, ours) in *requests {
            let answer = get(&gateway, &format!("i{number}"), asked);
            let got = if answer.status == 200 {
                answer.text().strip_prefix("GET ").unwrap().to_owned()
            } else {
                answer.status.to_string()
            };
            let expected = if ours.is_empty() { nginx } else { ours };
            assert_eq!(got, *expected, "{path} to {target}: {asked}");
        }
    }
}

/// The rule for everything else does not take what an expression asks for; of two the longer counts.
#[test]
fn expressions_have_their_place_beside_prefixes() {
    let (everything, some) = (Backend::named("everything"), Backend::named("some"));
    let regex = |name: &str, path: &str| {
        let declared = ingress(name, &[("use-regex", "true")], ("ImplementationSpecific", path));
        declared.replace(&format!("{name}.test"), "shop.test").replace("name: b", "name: s")
    };
    let gateway = Gateway::start(
        &[
            everything.service("b") + &some.service("s"),
            ingress("shop", &[], ("Prefix", "/")),
            regex("versions", "/api/v[0-9]+/.+"),
            regex("files", "/.+\\.(png|jpg)$"),
        ]
        .concat(),
    );
    for (path, expected) in [
        ("/", "everything"),
        ("/api/v1/x", "some"),
        ("/api/v1/", "everything"),
        ("/api/vx/y", "everything"),
        ("/a/b.PNG", "some"),
        ("/a/b.png/c", "everything"),
    ] {
        assert_eq!(get(&gateway, "shop", path).text(), expected, "{path}");
    }
}

#[test]
fn who_is_kept_out_stays_out() {
    let users = secret("users", "auth", &format!("ann:{}\n", bcrypt::hash("right", 4).unwrap()));
    let any = ("Prefix", "/");
    let long = (0..100).map(|number| format!("10.0.{number}.0/24")).chain(["127.0.0.0/8".to_owned()]);
    let long = long.collect::<Vec<_>>().join(", ");
    let staff = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "Staff")];
    let (_backend, gateway) = serve(&[
        users,
        ingress("inside", &[("whitelist-source-range", &long)], any),
        ingress("outside", &[("allowlist-source-range", "10.0.0.0/8")], any),
        ingress("denied", &[("denylist-source-range", "127.0.0.1/32")], any),
        ingress("staff", &staff, any),
        // One of both is enough, or both are needed; of one alone nothing is said by that.
        ingress("near", &[&staff[..], &[("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")]].concat(), any),
        ingress("far", &[&staff[..], &[("allowlist-source-range", "10.0.0.0/8"), ("satisfy", "any")]].concat(), any),
        ingress("both", &[&staff[..], &[("allowlist-source-range", "10.0.0.0/8"), ("satisfy", "all")]].concat(), any),
        ingress("open", &[("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")], any),
        ingress("misread", &[("denylist-source-range", "everybody")], any),
        ingress("shown", &[("auth-tls-secret", "authorities"), ("permanent-redirect", "https://example.com")], any),
        ingress("small", &[("proxy-body-size", "1k")], any),
        ingress("rare", &[("limit-rpm", "1"), ("limit-burst-multiplier", "1")], any),
    ]);
    for (name, status) in [("near", 200), ("far", 401), ("both", 403), ("open", 200)] {
        assert_eq!(get(&gateway, name, "/").status, status, "{name}");
    }
    for (name, status) in
        [("inside", 200), ("outside", 403), ("denied", 403), ("staff", 401), ("misread", 500), ("shown", 500)]
    {
        assert_eq!(get(&gateway, name, "/").status, status, "{name}");
    }
    let mut client = Client::http1(gateway.http);
    for (name, status) in [("staff", 200), ("far", 200), ("both", 403)] {
        let ann = [("authorization", "Basic YW5uOnJpZ2h0")];
        assert_eq!(client.request("GET", &format!("{name}.test"), "/", &ann).unwrap().status, status, "{name}");
    }
    for (size, status) in [(1024, 200), (1025, 413)] {
        let answer = request(gateway.http, "POST", "small.test", "/", &[], &vec![b'x'; size]).unwrap();
        assert_eq!(answer.status, status, "{size}");
    }
    let answers: Vec<_> = (0..3).map(|_| get(&gateway, "rare", "/").status).collect();
    assert_eq!(answers, [200, 200, 429]);
    let refused = "headgate_ratelimit_decisions_total{decision=\"limited\",policy=\"Ingress default/rare\",limit=\"limit-rpm\",scope=\"local\"} 1";
    assert!(gateway.metrics().contains(refused), "{}", gateway.metrics());
}

/// What is counted is requests, whatever connections they come by.
#[test]
fn only_so_many_requests_of_a_client_are_under_way() {
    let backend = Recorder::answering(|message| {
        if message.all("upgrade").is_empty() {
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
        }
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec()
    });
    let any = ("Prefix", "/");
    let one = [("limit-connections", "1"), ("limit-rpm", "1000")];
    let declared = [
        service("b", &[backend.address]),
        ingress("one", &one, any),
        ingress("friend", &[("limit-connections", "1"), ("limit-allowlist", "127.0.0.0/8")], any),
        ingress("other", &[], any),
    ];
    let gateway = Gateway::start(&declared.concat());
    let under_way = |host: &str, (method, fields): (&str, &str), until: &str| {
        let mut client = RawClient::connect(gateway.http);
        client.send(format!("{method} / HTTP/1.1\r\nHost: {host}.test\r\n{fields}\r\n\r\n").as_bytes());
        while !String::from_utf8_lossy(&client.received).contains(until) {
            assert!(client.read());
        }
        client.received.clear();
        client
    };
    let upload = ("POST", "Expect: 100-continue\r\nContent-Length: 1");
    for _ in 0..3 {
        let mut first = under_way("one", upload, "100 Continue");
        let refused = get(&gateway, "one", "/");
        assert_eq!((refused.status, refused.json()["reason"].as_str()), (429, Some("rate_limited")));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.headers("ratelimit-policy"), [r#""limit-rpm";q=1000;w=60"#]);
        assert_eq!(get(&gateway, "other", "/").status, 200);
        first.send(b"x");
        assert_eq!(first.reply(false).status, 200);
        gateway.wait_until("the place is free", || get(&gateway, "one", "/").status == 200);
        // Gone without its answer.
        drop(under_way("one", upload, "100 Continue"));
        gateway.wait_until("the place is free again", || get(&gateway, "one", "/").status == 200);
    }
    let _first = under_way("friend", upload, "100 Continue");
    assert_eq!(get(&gateway, "friend", "/").status, 200);
    let socket = ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a");
    let tunnel = under_way("one", socket, "101 Switching");
    assert_eq!(get(&gateway, "one", "/").status, 429);
    drop(tunnel);
    gateway.wait_until("the tunnel is gone", || get(&gateway, "one", "/").status == 200);
    let explained = gateway.api("explain?url=http://one.test/").to_string();
    assert!(explained.contains("limit-connections 1 at once"), "{explained}");
}

/// As oauth2-proxy is set up beside ingress-nginx: what is asked is served on the same host by another Ingress.
#[test]
fn somebody_served_here_is_asked_for_leave() {
    let backend = Backend::answering(|seen| {
        let text = format!("{} {}", seen.method, seen.uri);
        let known = seen.headers.get("cookie").is_some_and(|cookie| cookie == "session=ann");
        let (status, user, cookie) = match (seen.uri.path(), known) {
            ("/oauth2/auth", false) => (401, "", "session="),
            ("/oauth2/auth", true) => (202, "ann", "session=longer"),
            _ => (200, "", "basket=1"),
        };
        let answer = Response::builder().status(status).header("x-auth-user", user).header("set-cookie", cookie);
        answer.body(Full::new(Bytes::from(text))).unwrap()
    });
    let proxy = ("Prefix", "/oauth2");
    let at_host = |url: &str| url.replace("HOST", "$host");
    let (auth, start) =
        (at_host("https://HOST/oauth2/auth"), at_host("https://HOST/oauth2/start?rd=$escaped_request_uri"));
    let guards = [("auth-url", auth.as_str()), ("auth-signin", &start), ("auth-response-headers", "X-Auth-User")];
    let on_host = |name: &str, host: &str, annotations: &[_], path| {
        ingress(name, annotations, path).replace(&format!("host: {name}.test"), &format!("host: {host}.test"))
    };
    let declared = [
        backend.service("b"),
        on_host("shop", "shop", &guards, ("Prefix", "/")),
        on_host("proxy", "shop", &[], proxy),
        // Asked on another host, without a place to sign in.
        on_host("other", "other", &[("auth-url", "https://shop.test/oauth2/auth")], ("Prefix", "/")),
        // Whoever comes from here need not be asked about, and cannot say who they are either.
        on_host(
            "near",
            "near",
            &[&guards[..], &[("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")]].concat(),
            ("Prefix", "/"),
        ),
        // Whom nobody may ask who is kept out.
        on_host("loop", "loop", &[("auth-url", &auth)], ("Prefix", "/")),
        on_host("kept", "kept", &[("auth-url", "http://nobody.test/")], ("Prefix", "/")),
    ];
    let gateway = Gateway::start(&declared.concat());
    let mut client = Client::http1(gateway.http);
    let mut ask = |host: &str, cookie: &str| {
        backend.forget();
        client.request("GET", host, "/a?b=1", &[("cookie", cookie), ("x-auth-user", "forged")]).unwrap()
    };
    let answer = ask("shop.test", "session=bob");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("https://shop.test/oauth2/start?rd=%2Fa%3Fb%3D1"))
    );
    assert_eq!(answer.headers("set-cookie"), ["session="]);
    assert_eq!(backend.seen().len(), 1, "the question and no more");
    let answer = ask("shop.test", "session=ann");
    assert_eq!((answer.status, answer.text().as_str()), (200, "GET /a?b=1"));
    // A session that is prolonged by being asked about.
    assert_eq!(answer.headers("set-cookie"), ["basket=1", "session=longer"]);
    let seen = backend.seen();
    assert_eq!(seen[0].headers["x-original-url"], "http://shop.test/a?b=1");
    assert_eq!(seen[1].headers.get_all("x-auth-user").iter().collect::<Vec<_>>(), ["ann"]);
    assert_eq!(ask("other.test", "session=bob").status, 401);
    assert_eq!(ask("other.test", "session=ann").status, 200);
    assert_eq!(backend.seen()[0].headers["host"], "shop.test");
    assert_eq!(ask("near.test", "session=bob").status, 200);
    let seen = backend.seen();
    assert_eq!((seen.len(), seen[0].headers.get("x-auth-user")), (1, None));
    for host in ["loop.test", "kept.test"] {
        let answer = ask(host, "session=ann");
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (503, Some("ext_auth_error")), "{host}");
        assert!(backend.seen().is_empty());
    }
}

#[test]
fn clients_are_sent_where_they_would_be_sent() {
    let any = ("Prefix", "/");
    let (_backend, gateway) = serve(&[
        ingress("gone", &[("permanent-redirect", "https://example.com/new")], any),
        ingress("away", &[("temporal-redirect", "http://example.com:81$request_uri")], any),
        ingress("rooted", &[("app-root", "/app"), ("server-alias", "alias.test")], any),
        ingress("named", &[("from-to-www-redirect", "true")], any),
        ingress("secure", &[("force-ssl-redirect", "true")], any),
        ingress("shared", &[("enable-cors", "true"), ("cors-allow-origin", "https://app.test")], any),
        ingress("plain", &[("upstream-vhost", "inside.test"), ("enable-access-log", "false")], any),
    ]);
    for (host, path, expected) in [
        ("gone.test", "/x", "301 https://example.com/new"),
        ("away.test", "/x?q=1", "302 http://example.com:81/x?q=1"),
        ("rooted.test", "/", "302 http://rooted.test/app"),
        ("rooted.test", "/app", "200 GET /app"),
        ("alias.test", "/", "302 http://alias.test/app"),
        ("alias.test", "/x", "200 GET /x"),
        ("www.named.test", "/x", "308 http://named.test/x"),
        ("named.test", "/x", "200 GET /x"),
        ("secure.test", "/x", "308 https://secure.test/x"),
        ("plain.test", "/x", "200 GET /x"),
    ] {
        let answer = get_host(gateway.http, host, path).unwrap();
        let what = answer.header("location").map_or_else(|| answer.text(), str::to_owned);
        assert_eq!(format!("{} {what}", answer.status), expected, "{host}{path}");
    }
    let mut client = Client::http1(gateway.http);
    let asks = [("origin", "https://app.test"), ("access-control-request-method", "PUT")];
    let answer = client.request("OPTIONS", "shared.test", "/", &asks).unwrap();
    let said = |name| answer.header(name).unwrap().to_owned();
    assert_eq!(
        (answer.status, said("access-control-allow-origin"), said("access-control-allow-credentials")),
        (204, "https://app.test".to_owned(), "true".to_owned())
    );
}

/// What a canary gets follows it from change to change, whoever of the two changes, and its end.
#[test]
fn a_canary_gets_its_share() {
    let (stable, canary) = (Backend::named("stable"), Backend::named("canary"));
    let services = stable.service("b") + &canary.service("c");
    let main = ingress("shop", &[], ("Prefix", "/"));
    let share = |annotations: &[(&str, &str)]| {
        let annotations = [&[("canary", "true")], annotations].concat();
        ingress("canary", &annotations, ("Prefix", "/"))
            .replace("canary.test", "shop.test")
            .replace("name: b", "name: c")
    };
    let by_header = [("canary-by-header", "X-Canary"), ("canary-by-cookie", "canary")];
    let gateway = Gateway::start(&[services.clone(), main.clone(), share(&by_header)].concat());
    let mut client = Client::http1(gateway.http);
    let mut ask = |headers: &[(&str, &str)]| client.request("GET", "shop.test", "/", headers).unwrap().text();
    for (headers, expected) in [
        (&[][..], "stable"),
        (&[("x-canary", "always")], "canary"),
        (&[("x-canary", "never"), ("cookie", "canary=always")], "stable"),
        (&[("x-canary", "other"), ("cookie", "a=b; canary=always")], "canary"),
        (&[("cookie", "notcanary=always")], "stable"),
    ] {
        assert_eq!(ask(headers), expected, "{headers:?}");
    }
    let mut share_of = |declared: &str| {
        gateway.apply(&[services.as_str(), &main, declared].concat());
        (0..200).filter(|_| ask(&[]) == "canary").count()
    };
    assert_eq!(share_of(&share(&[("canary-weight", "100")])), 200);
    assert!((40..160).contains(&share_of(&share(&[("canary-weight", "50")]))));
    assert_eq!(share_of(&share(&[("canary-weight", "0")])), 0);
    // With the Ingress gone whose requests it gets, it gets none.
    gateway.apply(&[services.as_str(), &share(&[("canary-weight", "100")])].concat());
    assert_eq!(get(&gateway, "shop", "/").status, 404);
    let problems = gateway.api("problems").to_string();
    assert!(problems.contains("it gets no requests"), "{problems}");
    gateway.apply(&[services.as_str(), &main, &share(&[("canary-weight", "100")])].concat());
    assert_eq!(get(&gateway, "shop", "/").text(), "canary");
    assert!(!gateway.api("problems").to_string().contains("it gets no requests"));
}

#[test]
fn the_default_backend_has_requests_while_the_own_has_no_endpoint() {
    let (own, spare) = (Backend::named("own"), Backend::named("spare"));
    let shop = ingress("shop", &[("default-backend", "spare")], ("Prefix", "/"));
    let gateway = Gateway::start(&(own.service("b") + &spare.service("spare") + &shop));
    assert_eq!(get(&gateway, "shop", "/").text(), "own");
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n";
    gateway.apply(&(service.to_owned() + &spare.service("spare") + &shop));
    assert_eq!(get(&gateway, "shop", "/").text(), "spare");
    gateway.apply(&(own.service("b") + &shop));
    assert_eq!(get(&gateway, "shop", "/").text(), "own");
    let problems = gateway.api("problems").to_string();
    assert!(
        problems.contains("default-backend") && problems.contains("Service default/spare does not exist"),
        "{problems}"
    );
}

#[test]
fn pages_take_the_place_of_answers_that_say_that_something_is_wrong() {
    let backend = Backend::answering(|seen| {
        let status: u16 = seen.uri.path().trim_start_matches('/').parse().unwrap();
        let answer = Response::builder().status(status).header("x-own", "1").header("retry-after", "7");
        answer.body(Full::new(Bytes::from("own"))).unwrap()
    });
    let errors = Backend::answering(|seen| {
        let status: u16 = seen.headers["x-code"].to_str().unwrap().parse().unwrap();
        // One of whom it has no page of its own.
        let (status, size) = if status == 502 { (200, 2 << 20) } else { (status, 0) };
        let body = format!("sorry, {} {}", seen.headers["x-code"].to_str().unwrap(), "x".repeat(size));
        Response::builder()
            .status(status)
            .header("content-type", "text/html")
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    });
    let any = ("Prefix", "/");
    let pages = [("custom-http-errors", "404,410, 502,500"), ("default-backend", "errors")];
    let (users, limited) = (
        secret("users", "auth", &format!("ann:{}\n", bcrypt::hash("right", 4).unwrap())),
        [pages[1], ("custom-http-errors", "401,429")],
    );
    let declared = [
        backend.service("b"),
        errors.service("errors"),
        service("nobody", &[]),
        users,
        ingress("shop", &pages, any),
        ingress("away", &[pages[0], ("default-backend", "nobody")], any),
        ingress("none", &[pages[0]], any),
        ingress("staff", &[&limited[..], &[("auth-type", "basic"), ("auth-secret", "users")]].concat(), any),
    ];
    let gateway = Gateway::start(&declared.concat());
    let page = get(&gateway, "shop", "/404?a=1");
    assert_eq!((page.status, page.text().as_str()), (404, "sorry, 404 "));
    assert_eq!(
        (page.header("content-type"), page.header("x-own"), page.header("retry-after")),
        (Some("text/html"), None, Some("7"))
    );
    let asked = errors.seen().remove(0);
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("GET", "/"));
    for (name, value) in [
        ("x-code", "404"),
        ("x-original-uri", "/404?a=1"),
        ("x-namespace", "default"),
        ("x-ingress-name", "shop"),
        ("x-service-name", "b"),
        ("x-service-port", "80"),
        ("host", "shop.test"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(asked.headers[name], value, "{name}");
    }
    errors.forget();
    for http2 in [false, true] {
        let mut client = if http2 { Client::http2(gateway.http) } else { Client::http1(gateway.http) };
        let fields = [("accept", "application/json"), ("x-code", "200"), ("x-ingress-name", "forged")];
        let page = client.request("POST", "shop.test", "/410", &fields).unwrap();
        assert_eq!((page.status, page.text().as_str()), (410, "sorry, 410 "));
        let asked = errors.seen().remove(0);
        assert_eq!(
            (&asked.headers["x-format"], &asked.headers["x-ingress-name"]),
            (&"application/json".parse().unwrap(), &"shop".parse().unwrap())
        );
        errors.forget();
        let head = client.request("HEAD", "shop.test", "/404", &[]).unwrap();
        assert_eq!((head.status, head.text().as_str()), (404, ""));
        errors.forget();
        // What is not listed, and of what there is no page that could be given.
        for (host, path, status, body) in [
            ("shop.test", "/200", 200, "own"),
            ("shop.test", "/503", 503, "own"),
            ("shop.test", "/502", 502, "own"),
            ("away.test", "/404", 404, "own"),
            ("none.test", "/404", 404, "own"),
        ] {
            let answer = client.request("GET", host, path, &[]).unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (status, body), "{host}{path}");
        }
        errors.forget();
        // An answer of ours, for a request that does not come through.
        let page = client.request("GET", "staff.test", "/200", &[]).unwrap();
        assert_eq!((page.status, page.text().as_str()), (401, "sorry, 401 "));
        assert_eq!(page.header("www-authenticate"), Some("Basic realm=\"Authentication Required\", charset=\"UTF-8\""));
        errors.forget();
    }
    let told = gateway.api("problems").to_string();
    assert!(told.contains("nobody makes the pages"), "{told}");
    let explained = gateway.api("explain?url=http://shop.test/").to_string();
    assert!(explained.contains("answers of 404, 410, 502, 500 are pages of default/errors:80"), "{explained}");
}

/// An application that takes itself to be somewhere else than where its clients find it.
#[test]
fn answers_speak_of_places_as_clients_know_them() {
    let backend = Backend::answering(|_| {
        let answer = Response::builder().status(302).header("location", "http://b.internal/login");
        let answer = answer.header("set-cookie", "a=1; Path=/app/; Domain=b.internal").header("set-cookie", "b=2");
        answer.body(Full::new(Bytes::new())).unwrap()
    });
    let moved = [
        ("proxy-redirect-from", "http://b.internal/"),
        ("proxy-redirect-to", "https://shop.test/"),
        ("proxy-cookie-path", "/app/ /"),
        ("proxy-cookie-domain", "b.internal shop.test"),
    ];
    let wrong = [
        ("proxy-redirect-from", "http://b.internal/"),
        ("proxy-redirect-to", "$scheme://shop.test/"),
        ("proxy-cookie-path", "~*^/(.*) /$1"),
        ("proxy-cookie-domain", "b.internal"),
    ];
    let off = [("proxy-redirect-from", "default"), ("proxy-cookie-path", "off"), ("proxy-cookie-domain", "off")];
    let any = ("Prefix", "/");
    let declared =
        [backend.service("b"), ingress("shop", &moved, any), ingress("odd", &wrong, any), ingress("off", &off, any)];
    let gateway = Gateway::start(&declared.concat());
    let answer = get(&gateway, "shop", "/");
    assert_eq!(answer.headers("location"), ["https://shop.test/login"]);
    assert_eq!(answer.headers("set-cookie"), ["a=1; Path=/; Domain=shop.test", "b=2"]);
    for host in ["odd", "off"] {
        let answer = get(&gateway, host, "/");
        assert_eq!(answer.headers("location"), ["http://b.internal/login"]);
        assert_eq!(answer.headers("set-cookie"), ["a=1; Path=/app/; Domain=b.internal", "b=2"]);
    }
    let problems = gateway.api("problems").to_string();
    assert_eq!(problems.matches("without variables and expressions").count(), 3, "{problems}");
}

#[test]
fn copies_go_to_the_mirror_target() {
    let (own, mirror) = (Backend::named("own"), Backend::named("mirror"));
    let to = |target: &str| ingress("shop", &[("mirror-target", target)], ("Prefix", "/"));
    let services = own.service("b") + &mirror.service("m");
    let gateway = Gateway::start(&(services.clone() + &to("http://m.default.svc.cluster.local$request_uri")));
    assert_eq!(get(&gateway, "shop", "/x?y=1").text(), "own");
    gateway.wait_until("the copy has come", || !mirror.seen().is_empty());
    let copy = mirror.seen().remove(0);
    assert_eq!((copy.uri.to_string().as_str(), copy.headers["host"].to_str().unwrap()), ("/x?y=1", "shop.test"));
    // Who is no Service gets none, and that is told.
    gateway.apply(&(services + &to("https://elsewhere.example.com$request_uri")));
    assert_eq!(get(&gateway, "shop", "/").text(), "own");
    let problems = gateway.api("problems").to_string();
    assert!(problems.contains("nobody who can get copies"), "{problems}");
}

/// Limits that an Ingress had are counted on when it changes, and are gone with it.
#[test]
fn limits_live_as_long_as_their_ingress() {
    let any = ("Prefix", "/");
    let limits = [("limit-rpm", "1"), ("limit-burst-multiplier", "1")];
    let (backend, gateway) = serve(&[ingress("rare", &limits, any)]);
    let counted = "headgate_ratelimit_decisions_total{decision=\"allowed\",policy=\"Ingress default/rare\",limit=\"limit-rpm\",scope=\"local\"}";
    let ask = || get(&gateway, "rare", "/").status;
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    gateway
        .apply(&(backend.service("b") + &ingress("rare", &[limits.as_slice(), &[("app-root", "/x")]].concat(), any)));
    assert_eq!(get(&gateway, "rare", "/y").status, 429);
    assert!(gateway.series(counted) >= 2.0);
    gateway.apply(&(backend.service("b") + &ingress("rare", &[], any)));
    assert_eq!(ask(), 200);
    gateway.wait_until("its numbers are gone", || !gateway.metrics().contains(counted));
}
