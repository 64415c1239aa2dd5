//! What a client cannot say of itself: where it comes from, who it is for somebody, which host it asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::harness::backend::{service, service_speaking};
use super::harness::gateway::Gateway;
use super::harness::raw::{Message, RawClient, Recorder, requests};
use super::harness::raw_h2::{Fate, Field, RawH2};
use super::harness::spoof::{SPOOFED, spellings};

fn ingress(name: &str, host: &str, backend: &str) -> String {
    let host = if host.is_empty() { String::new() } else { format!("host: \"{host}\", ") };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec: {{rules: [{{{host}http: \
         {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {backend}, port: {{number: 80}}}}}}}}]}}}}]}}\n"
    )
}

/// Fields as a client sends them.
type Lines = Vec<(&'static str, &'static str)>;

/// What becomes of a field that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// It arrives as it was sent.
    Itself,
    /// It does not arrive.
    Nothing,
    /// This arrives instead.
    Instead(&'static str),
}

/// S-05: what concerns the client's connection ends there, and what `Connection` names with it, but nothing of ours.
#[test]
fn connection_fields_end_at_the_connection() {
    use Becomes::{Instead, Itself, Nothing};
    let nominates = |name: &'static str| {
        [
            (
                "connection",
                "close, X-Forwarded-For, Authorization, Host, Content-Length, X-Request-Id, X-Set, X-Real-Ip, X-Nominated",
            ),
            (name, "client"),
        ]
    };
    let table: Vec<(Lines, &str, Becomes)> = vec![
        // Named by `Connection`.
        (nominates("x-forwarded-for").into(), "x-forwarded-for", Instead("127.0.0.1")),
        (nominates("x-real-ip").into(), "x-real-ip", Instead("127.0.0.1")),
        (nominates("x-nominated").into(), "x-nominated", Nothing),
        (nominates("authorization").into(), "authorization", Nothing),
        (nominates("x-set").into(), "x-set", Instead("ours")),
        (nominates("x-other").into(), "x-other", Itself),
        (nominates("x-other").into(), "host", Instead("app.example.com")),
        (nominates("x-other").into(), "content-length", Instead("5")),
        (vec![("connection", "close"), ("connection", "X-Second"), ("x-second", "client")], "x-second", Nothing),
        (vec![("connection", "X-UPPER"), ("x-upper", "client")], "x-upper", Nothing),
        (vec![("connection", ", ,\tx-odd\t,"), ("x-odd", "client")], "x-odd", Nothing),
        (vec![("connection", "X-Forwarded-Host")], "x-forwarded-host", Instead("app.example.com")),
        (vec![("connection", "X-Forwarded-Proto, X-Forwarded-Port")], "x-forwarded-proto", Instead("http")),
        (vec![("connection", "Cookie"), ("cookie", "client")], "cookie", Nothing),
        (vec![("connection", "traceparent"), ("traceparent", "client")], "traceparent", Nothing),
        // Hop-by-hop whether named or not (RFC 9110 7.6.1).
        (vec![("connection", "keep-alive")], "connection", Nothing),
        (vec![("keep-alive", "timeout=5")], "keep-alive", Nothing),
        (vec![("proxy-connection", "keep-alive")], "proxy-connection", Nothing),
        (vec![("te", "trailers")], "te", Nothing),
        (vec![("te", "gzip")], "te", Nothing),
        (vec![("trailer", "X-T")], "trailer", Nothing),
        (vec![("upgrade", "h2c")], "upgrade", Nothing),
        (vec![("upgrade", "TLS/1.0")], "upgrade", Nothing),
        (vec![("http2-settings", "AAMAAABk")], "http2-settings", Nothing),
        (vec![("proxy-authorization", "Basic eDp5")], "proxy-authorization", Nothing),
        (vec![("expect", "100-continue")], "expect", Nothing),
        // A client's word on itself.
        (vec![("forwarded", "for=client")], "forwarded", Nothing),
        (vec![("x-forwarded", "client")], "x-forwarded", Nothing),
        (vec![("x-forwarded-for", "client"), ("x-forwarded-for", "client")], "x-forwarded-for", Instead("127.0.0.1")),
        (vec![("x-forwarded-server", "client")], "x-forwarded-server", Nothing),
        (vec![("x_forwarded_for", "client")], "x_forwarded_for", Nothing),
        (vec![("x.real.ip", "client")], "x.real.ip", Nothing),
        // End to end.
        (vec![("authorization", "Bearer client")], "authorization", Instead("Bearer client")),
        (vec![("cookie", "client")], "cookie", Itself),
        (vec![("x-request-id", "client")], "x-request-id", Itself),
        (vec![("max-forwards", "client")], "max-forwards", Itself),
        (vec![("via", "client")], "via", Itself),
        (vec![("cache-control", "client")], "cache-control", Itself),
        (vec![("traceparent", "client")], "traceparent", Itself),
        (vec![("accept-encoding", "client")], "accept-encoding", Itself),
    ];
    assert!(table.len() >= 30);
    let recorder = Recorder::start();
    let route = "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: all}\nspec: {rules: [{filters: \
                 [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: ours}]}}], backendRefs: \
                 [{name: recorder, port: 80}]}]}\n";
    let gateway = Gateway::start(&(service("recorder", &[recorder.address]) + route));
    let mut failures = Vec::new();
    for (number, (fields, _, _)) in table.iter().enumerate() {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("POST /case-{number}. HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 5\r\n{lines}\r\nhello");
        let mut client = RawClient::connect(gateway.http);
        client.send(request.as_bytes());
        let reply = client.reply(false);
        if reply.status != 200 {
            failures.push(format!("{fields:?}: {reply:?}"));
        }
    }
    drop(gateway);
    let seen = messages(recorder);
    for (number, (fields, name, becomes)) in table.iter().enumerate() {
        let Some(message) = seen.iter().find(|message| message.target == format!("/case-{number}.")) else {
            failures.push(format!("{fields:?} did not arrive"));
            continue;
        };
        let expected: Vec<String> = match becomes {
            Itself => vec!["client".to_owned()],
            Nothing => vec![],
            Instead(value) => vec![(*value).to_owned()],
        };
        if message.all(name) != expected || message.body != b"hello" {
            failures.push(format!("{fields:?}: {name} became {:?} in {message:?}", message.all(name)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn messages(recorder: Recorder) -> Vec<Message> {
    recorder
        .finish()
        .iter()
        .flat_map(|connection| requests(connection).0.into_iter().map(|(message, _)| message).collect::<Vec<_>>())
        .collect()
}

/// Names by which backends know where a request comes from.
const IDENTITY: [&str; 12] = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Real-Ip",
    "Forwarded",
];
/// S-06: 12 names, 8 spellings, as header and as trailer, over HTTP/1.1 and HTTP/2, to backends of either protocol.
#[test]
fn a_client_cannot_say_where_it_comes_from() {
    let recorder = Recorder::start();
    let http2 = Http2Backend::start();
    let objects = service("one", &[recorder.address])
        + &service_speaking("two", "kubernetes.io/h2c", &[http2.address])
        + &ingress("one", "one.example.com", "one")
        + &ingress("two", "two.example.com", "two");
    let gateway = Gateway::start(&objects);
    let mut sent = 0;
    for host in ["one.example.com", "two.example.com"] {
        let mut first = RawClient::connect(gateway.http);
        let mut second = RawH2::connect(gateway.http);
        for spelling in IDENTITY.iter().flat_map(|name| spellings(name)) {
            let line = format!("{spelling}: {SPOOFED}\r\n{spelling}: {SPOOFED}\r\n");
            first.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{line}\r\n").as_bytes());
            assert_eq!(first.reply(false).status, 200, "{spelling}");
            let body = format!(
                "TE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: {spelling}\r\n\r\n2\r\nhi\r\n0\r\n{line}\r\n"
            );
            first.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{body}").as_bytes());
            assert_eq!(first.reply(false).status, 200, "{spelling}");

            let lower = spelling.to_ascii_lowercase();
            let spoof: Field<'_> = (lower.as_bytes(), SPOOFED.as_bytes());
            let head = |method: &'static str| -> Vec<Field<'_>> {
                vec![
                    (b":method", method.as_bytes()),
                    (b":scheme", b"http"),
                    (b":authority", host.as_bytes()),
                    (b":path", b"/"),
                ]
            };
            let stream = second.headers(&[head("GET"), vec![spoof, spoof]].concat(), true);
            assert!(matches!(second.fate(stream), Fate::Answered(200, _)), "{spelling}");
            let stream = second.headers(&head("POST"), false);
            second.data(stream, b"hi", false);
            second.trailers(stream, &[spoof, spoof]);
            assert!(matches!(second.fate(stream), Fate::Answered(200, _)), "{spelling}");
            sent += 4;
        }
    }
    drop(gateway);
    assert_eq!(sent, 2 * 12 * 8 * 4);
    let recorded = recorder.finish();
    let seen: Vec<Message> =
        recorded.iter().flat_map(|connection| requests(connection).0).map(|(message, _)| message).collect();
    assert_eq!(seen.len(), sent / 2);
    for message in &seen {
        assert!(!format!("{message:?}").contains(SPOOFED), "{message:?}");
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-host", "one.example.com"),
            ("x-forwarded-proto", "http"),
        ] {
            assert_eq!(message.all(name), [value], "{message:?}");
        }
    }
    for bytes in &recorded {
        assert!(!String::from_utf8_lossy(bytes).contains(SPOOFED));
    }
    let seen = http2.seen.lock().unwrap();
    assert_eq!(seen.len(), sent / 2);
    for (headers, trailers) in &*seen {
        let spoofed = headers.values().chain(trailers.values()).any(|value| value == SPOOFED);
        assert!(!spoofed, "{headers:?} {trailers:?}");
        assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
    }
}

/// A backend that speaks HTTP/2 by prior knowledge and remembers heads and trailers.
struct Http2Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(HeaderMap, HeaderMap)>>>,
    _runtime: Runtime,
}

impl Http2Backend {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<(HeaderMap, HeaderMap)>>> = Arc::default();
        runtime.spawn({
            let seen = seen.clone();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((tcp, _)) = listener.accept().await {
                    let seen = seen.clone();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let seen = seen.clone();
                        async move {
                            let headers = request.headers().clone();
                            let body = request.into_body().collect().await;
                            let trailers = body.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
                            seen.lock().unwrap().push((headers, trailers));
                            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                        }
                    });
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    connections.spawn(serving.serve_connection(TokioIo::new(tcp), service));
                }
            }
        });
        Self { address, seen, _runtime: runtime }
    }
}

/// S-08: two tenants; nobody gets another's answer, whatever is said of the host.
#[test]
fn a_request_goes_to_the_host_it_names() {
    /// Tenant a, tenant b, tenant a's wildcard, nobody (404), refused (4xx).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum To {
        A,
        B,
        Wild,
        Nobody,
        Refused,
    }
    use To::{A, B, Nobody, Refused, Wild};
    // The target, the lines after the request line, and who answers.
    let hosts: Vec<(&str, &str, To)> = vec![
        ("/", "Host: a.example.com", A),
        ("/", "Host: b.example.com", B),
        ("/", "Host: A.EXAMPLE.COM", A),
        ("/", "Host: a.Example.Com", A),
        ("/", "host:a.example.com", A),
        ("/", "Host:\ta.example.com \t", A),
        ("/", "Host: a.example.com:80", A),
        ("/", "Host: a.example.com:8080", A),
        ("/", "Host: a.example.com:65535", A),
        ("/", "Host: a.example.com.", A),
        ("/", "Host: a.example.com.:80", A),
        ("/", "Host: A.example.com.", A),
        ("/", "Host: x.w.example.com", Wild),
        ("/", "Host: X.W.example.com", Wild),
        ("/", "Host: x.w.example.com.", Wild),
        ("/", "Host: x.y.w.example.com", Nobody),
        ("/", "Host: w.example.com", Nobody),
        ("/", "Host: .w.example.com", Refused),
        ("/", "Host: c.example.com", Nobody),
        ("/", "Host: example.com", Nobody),
        ("/", "Host: a.example.com.evil.net", Nobody),
        ("/", "Host: evil.a.example.com", Nobody),
        ("/", "Host: xa.example.com", Nobody),
        ("/", "Host: a_example.com", Nobody),
        ("/", "Host: 127.0.0.1", Nobody),
        ("/", "Host: 127.0.0.1:80", Nobody),
        ("/", "Host: [::1]", Nobody),
        ("/", "Host: [::1]:80", Nobody),
        // Not one, or none.
        ("/", "X-A: b", Refused),
        ("/", "Host:", Refused),
        ("/", "Host: ", Refused),
        ("/", "Host: a.example.com\r\nHost: a.example.com", Refused),
        ("/", "Host: a.example.com\r\nHost: b.example.com", Refused),
        ("/", "Host: a.example.com\r\nhOST: b.example.com", Refused),
        ("/", "Host: a.example.com\r\nHost:", Refused),
        ("/", "Host: a.example.com, b.example.com", Refused),
        ("/", "Host: a.example.com b.example.com", Refused),
        ("/", "Host: a.example.com;b.example.com", Refused),
        ("/", "Host: a.example.com/", Refused),
        ("/", "Host: a.example.com/b.example.com", Refused),
        ("/", "Host: a.example.com?x", Refused),
        ("/", "Host: a.example.com#x", Refused),
        ("/", "Host: a.example.com\\b", Refused),
        ("/", "Host: user@a.example.com", Refused),
        ("/", "Host: b.example.com@a.example.com", Refused),
        ("/", "Host: a.example.com:", Refused),
        ("/", "Host: a.example.com:x", Refused),
        ("/", "Host: a.example.com:-1", Refused),
        ("/", "Host: a.example.com:65536", Refused),
        ("/", "Host: a.example.com:80:80", Refused),
        ("/", "Host: a.example.com:80@b.example.com", Refused),
        ("/", "Host: a..example.com", Refused),
        ("/", "Host: a.example.com..", Refused),
        ("/", "Host: .", Refused),
        ("/", "Host: *.w.example.com", Refused),
        ("/", "Host: %61.example.com", Refused),
        ("/", "Host: \"a.example.com\"", Refused),
        ("/", "Host: http://a.example.com", Refused),
        ("/", "Host: [a.example.com]", Refused),
        ("/", "Host: [::1", Refused),
        ("/", "Host: ::1", Refused),
        ("/", "Host: \u{e4}.example.com", Refused),
        ("/", "Host : a.example.com", Refused),
        ("/", " Host: a.example.com", Refused),
        ("/", "X-A: b\r\n Host: a.example.com", Refused),
        // What names no host, or is not where a host is named.
        ("/", "Host: a.example.com\r\nX-Forwarded-Host: b.example.com", A),
        ("/", "Host: a.example.com\r\nForwarded: host=b.example.com", A),
        ("/", "Host: a.example.com\r\nX-Host: b.example.com", A),
        ("/", "Host: a.example.com\r\nX_Host: b.example.com", A),
        ("//b.example.com/", "Host: a.example.com", A),
        // The target's word goes before Host's (RFC 9112 3.2.2).
        ("http://a.example.com/", "Host: a.example.com", A),
        ("http://a.example.com/", "Host: b.example.com", A),
        ("http://B.example.com:80/", "Host: a.example.com", B),
        ("HTTP://a.example.com", "Host: b.example.com", A),
        ("http://a.example.com?x", "Host: b.example.com", A),
        ("http://a.example.com/", "X-A: b", Refused),
        ("http://user@a.example.com/", "Host: a.example.com", Refused),
        ("http://a.example.com:/", "Host: a.example.com", Refused),
        ("http:///", "Host: a.example.com", Refused),
        ("ftp://a.example.com/", "Host: a.example.com", Refused),
        ("a.example.com:80", "Host: a.example.com", Refused),
        ("http://a.example.com\\@b.example.com/", "Host: a.example.com", Refused),
    ];
    assert!(hosts.len() >= 60);
    let [a, b, wild] = ["a", "b", "wild"].map(|name| {
        Recorder::answering(move |message| {
            assert!(message.target.starts_with('/'), "{message:?}");
            let body = format!("{name} {}", message.all("host").join(","));
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        })
    });
    let objects = service("a", &[a.address])
        + &service("b", &[b.address])
        + &service("wild", &[wild.address])
        + &ingress("a", "a.example.com", "a")
        + &ingress("b", "b.example.com", "b")
        + &ingress("wild", "*.w.example.com", "wild");
    let gateway = Gateway::start(&objects);
    let mut failures = Vec::new();
    for (target, lines, to) in hosts {
        let mut client = RawClient::connect(gateway.http);
        let bytes: Vec<u8> = format!("GET {target} HTTP/1.1\r\n{lines}\r\n\r\n").chars().map(|c| c as u8).collect();
        client.send(&bytes);
        let reply = client.reply(false);
        let text = reply.text();
        let (name, host) = text.split_once(' ').unwrap_or_default();
        // What the backend hears is what was routed by.
        let heard = |expected: &str| {
            let host = host.to_ascii_lowercase();
            let host = host.split(':').next().unwrap_or_default();
            host.strip_suffix('.').unwrap_or(host) == expected || (expected.starts_with('.') && host.contains(expected))
        };
        let right = match to {
            A => reply.status == 200 && name == "a" && heard("a.example.com"),
            B => reply.status == 200 && name == "b" && heard("b.example.com"),
            Wild => reply.status == 200 && name == "wild" && heard(".w.example.com"),
            Nobody => reply.status == 404,
            Refused => reply.status == 400,
        };
        if !right {
            failures.push(format!("{target} {lines:?}: expected {to:?}, got {} {text}", reply.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
