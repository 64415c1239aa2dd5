use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::drain::{self, Signal};
use crate::snapshot::Publisher;

struct Admin {
    address: SocketAddr,
    signal: Signal,
    ready: Arc<AtomicBool>,
    serving: JoinSet<io::Result<()>>,
}

async fn admin() -> Admin {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (signal, drain) = drain::channel();
    let ready = Arc::new(AtomicBool::new(true));
    let state = state(address, ready.clone());
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, state, drain));
    Admin { address, signal, ready, serving }
}

fn state(address: SocketAddr, ready: Arc<AtomicBool>) -> State {
    let (_, reports) = watch::channel(Arc::default());
    State {
        tables: Publisher::new(Arc::new(Table { generation: 7, ..Table::default() })).reader(),
        reports,
        metrics: Metrics::new(1),
        readiness: Box::new(move || Readiness {
            ready: ready.load(Ordering::Relaxed).then_some(()).ok_or_else(|| "waiting for Ingress".to_owned()),
            batches: 3,
        }),
        addresses: Addresses { http: address, https: address, admin: address },
        tap: Tap::default(),
        locate: Box::new(Report::list),
    }
}

impl Admin {
    /// Sends these bytes and returns what comes until the connection ends.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off has still said what it had to say.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, method: &str, target: &str) -> (u16, String, String) {
        let answer = self.raw(&format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
    }

    async fn json(&self, target: &str) -> serde_json::Value {
        let (status, head, body) = self.ask("GET", target).await;
        assert_eq!(status, 200, "{target}: {body}");
        assert!(head.contains("content-type: application/json"), "{head}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test]
async fn health_tells_why_it_is_not_ready() {
    let admin = admin().await;
    for path in ["/livez", "/readyz", "/healthz"] {
        let (status, _, body) = admin.ask("GET", path).await;
        assert_eq!((status, body.as_str()), (200, "ok\n"), "{path}");
    }
    admin.ready.store(false, Ordering::Relaxed);
    for path in ["/readyz", "/healthz"] {
        let (status, _, body) = admin.ask("GET", path).await;
        assert_eq!((status, body.as_str()), (503, "waiting for Ingress\n"), "{path}");
    }
    assert_eq!(admin.ask("GET", "/livez").await.0, 200);
}

#[tokio::test]
async fn it_answers_until_the_drain_has_ended() {
    let mut admin = admin().await;
    for phase in [Phase::Leaving, Phase::Draining] {
        admin.signal.enter(phase);
        assert_eq!(admin.ask("GET", "/livez").await.0, 200);
    }
    admin.signal.enter(Phase::Ended);
    admin.serving.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn only_questions_are_answered() {
    let admin = admin().await;
    for (method, target, expected) in
        [("POST", "/livez", 405), ("DELETE", "/api/v1/routes", 405), ("GET", "/nowhere", 404), ("GET", "/livez/", 404)]
    {
        let (status, head, body) = admin.ask(method, target).await;
        assert_eq!(status, expected, "{method} {target}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(head.contains("allow: GET, HEAD"), expected == 405, "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["status"], expected);
    }
    let (status, head, body) = admin.ask("HEAD", "/readyz").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 3"), "{head}");
}

#[tokio::test]
async fn the_api_says_its_version() {
    let admin = admin().await;
    let address = admin.address.to_string();
    assert_eq!(
        admin.json("/api/v1/generation").await,
        serde_json::json!({
            "version": "v1",
            "generation": 7,
            "batches": 3,
            "ready": true,
            "build": env!("CARGO_PKG_VERSION"),
            "listeners": { "http": address, "https": address, "admin": address },
        })
    );
    assert_eq!(
        admin.json("/api/v1/routes").await,
        serde_json::json!({ "version": "v1", "generation": 7, "hosts": [], "clusters": [], "certificates": [] })
    );
    assert_eq!(
        admin.json("/api/v1/limits").await,
        serde_json::json!({ "version": "v1", "generation": 7, "policies": [] })
    );
    assert_eq!(admin.json("/api/v1/problems").await, serde_json::json!({ "version": "v1", "problems": [] }));
}

#[tokio::test]
async fn a_request_can_be_asked_about() {
    let admin = admin().await;
    let answer = admin.json("/api/v1/explain?url=https%3A%2F%2Fshop.example.com%2Fa&method=POST&header=X-A%3A+1").await;
    assert_eq!((&answer["version"], &answer["host"]), (&"v1".into(), &serde_json::Value::Null));
    for (query, wrong) in [
        ("", "say which URL"),
        ("?url=/path", "no http or https URL"),
        ("?url=ftp://a/", "no http or https URL"),
        ("?url=http://a/&method=G%20T", "`G T` is no method"),
        ("?url=http://a/&header=nothing", "`nothing` is no header"),
        ("?url=http://a/%252e%255c", "would be refused with 400: the path has a backslash"),
        ("?url=http://a/&path=/", "`path` is no parameter"),
    ] {
        let (status, _, body) = admin.ask("GET", &format!("/api/v1/explain{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(body.contains(wrong), "{query}: {body}");
    }
}

#[tokio::test]
async fn metrics_and_page_are_there() {
    let admin = admin().await;
    let (status, head, body) = admin.ask("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("headgate_build_info{"));
    let (status, head, body) = admin.ask("GET", "/").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    let links = body.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    for link in links {
        assert_eq!(admin.ask("GET", link).await.0, 200, "{link}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let admin = admin().await;
    let answer = admin.raw(&format!("GET /{} HTTP/1.1\r\nhost: x\r\n", "a".repeat(MAX_HEAD))).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (mut client, server) = tokio::io::duplex(1024);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    client.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    converse(server, Arc::new(state(address, Arc::default())), Duration::from_millis(1)).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "");
}

#[tokio::test]
async fn held_connections_do_not_lock_others_out() {
    let admin = admin().await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 8 {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(admin.ask("GET", "/livez").await.0, 200);
    let mut rest = Vec::new();
    // The oldest has been closed, with or without a farewell.
    let _ = held[0].read_to_end(&mut rest).await;
    held.last_mut().unwrap().write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    held.last_mut().unwrap().read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8(rest).unwrap().matches("HTTP/1.1 200").count(), 1, "the newest is still there");
}
