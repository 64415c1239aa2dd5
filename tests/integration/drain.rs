//! Stopping: who is told, what is finished, and when it is over.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::client::Client;
use crate::harness::endpoint::{Endpoint, Speaks, empty, full, read_head, read_to_the_end};
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::objects::route;
use crate::harness::size;
use crate::harness::traffic::{self, ask, ask2, request, request2, soon, whole};

/// A backend whose answers at `/slow` take as long as the test wants, and a gateway in front of it.
struct Setting {
    gateway: Gateway,
    endpoint: Endpoint,
    finish: Arc<Notify>,
}

impl Setting {
    async fn new(flags: &[&str]) -> Self {
        let finish = Arc::new(Notify::new());
        let endpoint = Endpoint::answering(Speaks::Http1, {
            let finish = finish.clone();
            move |request| {
                let finish = finish.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        finish.notified().await;
                    }
                    Response::new(full("done"))
                }
            }
        })
        .await;
        let objects = crate::harness::backend::service("s", &[endpoint.address]) + &route("s", "");
        Self { gateway: Gateway::start_with(&objects, flags), endpoint, finish }
    }

    /// A request at `/slow` that has reached the backend.
    async fn in_flight(&self) -> tokio::task::JoinHandle<traffic::Answer> {
        let before = self.endpoint.accepted();
        let mut client = traffic::http1(self.gateway.http).await;
        let asking =
            tokio::spawn(async move { ask(&mut client, request(Method::GET, "/slow", empty())).await.unwrap() });
        traffic::until("it has come", || self.endpoint.accepted() > before).await;
        asking
    }

    fn is_ready(&self) -> bool {
        get(self.gateway.admin, "/readyz").unwrap().status == 200
    }
}

/// CONTRACT: readiness fails at once, requests are served as ever during the delay and their connections are asked to go,
/// what is in flight is finished, and then it is over.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_it_leaves() {
    // 1.8 s, most of which fall into the delay.
    const LOAD: Load = Load {
        connections: 8,
        requests: 900,
        pace: Pace::Even(500),
        asks: &[
            Ask { host: "test", path: "/", body: "" },
            Ask { host: "test", path: "/form", body: "name=value&more=of+it" },
        ],
    };
    let mut setting = Setting::new(&["--workers", "2", "--drain-delay", "3s", "--drain-timeout", "10s"]).await;
    let in_flight = setting.in_flight().await;
    let load = LOAD.start(setting.gateway.http);
    setting.gateway.wait_until("it is under way", || load.answered() >= 150);
    assert!(setting.is_ready());

    setting.gateway.signal("TERM");
    let began = Instant::now();
    setting.gateway.wait_until("it is not ready", || !setting.is_ready());
    assert!(began.elapsed() < size::time(Duration::from_secs(1)));
    assert_eq!(get(setting.gateway.admin, "/livez").unwrap().status, 200);
    // A new connection is accepted, served and asked to go.
    let mut client = traffic::http1(setting.gateway.http).await;
    let answer = soon(ask(&mut client, request(Method::GET, "/", empty()))).await.unwrap();
    assert_eq!((answer.text(), &answer.headers[header::CONNECTION]), ("done", &"close".parse().unwrap()));
    assert!(soon(client.ready()).await.is_err());

    setting.gateway.wait_until("the load is over", || load.is_over());
    load.outcome().assert_none_failed(&LOAD);

    // The delay is over: nothing is accepted any more, and what is in flight is still there.
    let gateway = setting.gateway.http;
    setting.gateway.wait_until("it refuses connections", || std::net::TcpStream::connect(gateway).is_err());
    assert!(began.elapsed() >= Duration::from_millis(2900));
    assert!(!in_flight.is_finished());
    setting.finish.notify_one();
    let answer = soon(in_flight).await.unwrap();
    assert_eq!((answer.text(), &answer.headers[header::CONNECTION]), ("done", &"close".parse().unwrap()));
    let finished = Instant::now();
    assert_eq!(setting.gateway.exit_code(), Some(0));
    assert!(finished.elapsed() < size::time(Duration::from_secs(1)), "{:?}", finished.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_are_told_to_go() {
    let mut setting = Setting::new(&["--workers", "1", "--drain-delay", "3s", "--drain-timeout", "20s"]).await;
    let mut client = traffic::http2(setting.gateway.http).await;
    let mut quiet = traffic::http2(setting.gateway.http).await;
    for client in [&mut client, &mut quiet] {
        assert_eq!(soon(ask2(client, request2(Method::GET, "/", empty()))).await.unwrap().text(), "done");
    }
    let before = setting.endpoint.accepted();
    let slow = client.send_request(request2(Method::GET, "/slow", empty()));
    let slow = tokio::spawn(async move { whole(slow.await.unwrap()).await.unwrap() });
    // The first two used one connection to the backend in turn; the slow one needs it, and another has to be made.
    assert_eq!(soon(ask2(&mut client, request2(Method::GET, "/", empty()))).await.unwrap().text(), "done");
    traffic::until("it has come", || setting.endpoint.accepted() > before).await;

    setting.gateway.signal("TERM");
    // GOAWAY closes a connection with nothing on it, and on the other keeps new streams out.
    traffic::until("the quiet one is closed", || quiet.is_closed()).await;
    while soon(ask2(&mut client, request2(Method::GET, "/", empty()))).await.is_ok() {}
    assert!(!slow.is_finished());
    // One that is opened now can still ask something.
    let mut late = traffic::http2(setting.gateway.http).await;
    assert_eq!(soon(ask2(&mut late, request2(Method::GET, "/", empty()))).await.unwrap().text(), "done");
    setting.finish.notify_one();
    assert_eq!(soon(slow).await.unwrap().text(), "done");
    assert_eq!(setting.gateway.exit_code(), Some(0));
}

/// Connections on which nothing happens hold nothing up: neither one that has served, nor one that is silent, nor one
/// that has begun to speak TLS.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_hold_nothing_up() {
    let mut setting = Setting::new(&["--drain-delay", "500ms", "--drain-timeout", "30s"]).await;
    let mut resting = traffic::http1(setting.gateway.http).await;
    assert_eq!(soon(ask(&mut resting, request(Method::GET, "/", empty()))).await.unwrap().text(), "done");
    let mut multiplexed = traffic::http2(setting.gateway.http).await;
    assert_eq!(soon(ask2(&mut multiplexed, request2(Method::GET, "/", empty()))).await.unwrap().text(), "done");
    let mut silent = TcpStream::connect(setting.gateway.http).await.unwrap();
    let mut half = TcpStream::connect(setting.gateway.http).await.unwrap();
    half.write_all(b"GET / HT").await.unwrap();
    let mut secure = TcpStream::connect(setting.gateway.https).await.unwrap();
    let began = Instant::now();
    setting.gateway.signal("TERM");
    assert_eq!(setting.gateway.exit_code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_millis(2000), "{took:?}");
    for connection in [&mut silent, &mut half, &mut secure] {
        assert_eq!(soon(read_to_the_end(connection)).await, b"");
    }
}

/// A connection that was made before the end of accepting may ask after it: what it was made for was on its way.
#[test]
fn who_has_just_connected_may_still_ask() {
    let (authority, backend) = (Authority::new(), Backend::named("b"));
    let objects = backend.service("b")
        + &authority.issue(&["test"]).secret("tls")
        + "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: all}\nspec: {hostnames: [test], \
           tls: {certificateRefs: [{name: tls}]}, rules: [{backendRefs: [{name: b, port: 80}]}]}\n";
    let mut gateway = Gateway::start_with(&objects, &["--drain-delay", "0s", "--drain-timeout", "20s"]);
    let mut clients: Vec<_> =
        (0..4).map(|_| Client::tls(gateway.https, &authority.client(), "test").unwrap()).collect();
    gateway.signal("TERM");
    let address = gateway.https;
    gateway.wait_until("it refuses connections", || std::net::TcpStream::connect(address).is_err());
    for client in &mut clients {
        let answer = client.request("GET", "test", "/", &[]).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(gateway.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do_it_ends_when_the_delay_is_over() {
    let mut setting = Setting::new(&["--drain-delay", "300ms"]).await;
    let began = Instant::now();
    setting.gateway.signal("TERM");
    assert_eq!(setting.gateway.exit_code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(250) && took < Duration::from_millis(1300), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_now() {
    let mut setting = Setting::new(&["--drain-delay", "60s"]).await;
    let in_flight = setting.in_flight().await;
    setting.gateway.signal("TERM");
    setting.gateway.wait_until("it is not ready", || !setting.is_ready());
    setting.gateway.signal("TERM");
    assert_eq!(setting.gateway.exit_code(), Some(0));
    assert!(soon(in_flight).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_is_cut_off() {
    let mut setting = Setting::new(&["--drain-delay", "100ms", "--drain-timeout", "500ms"]).await;
    let in_flight = setting.in_flight().await;
    let mut tunnel = TcpStream::connect(setting.gateway.http).await.unwrap();
    tunnel.write_all(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let began = Instant::now();
    setting.gateway.signal("TERM");
    assert_eq!(setting.gateway.exit_code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(550) && took < Duration::from_millis(1700), "{took:?}");
    assert!(soon(in_flight).await.is_err());
    assert_eq!(soon(read_to_the_end(&mut tunnel)).await, b"");
}

/// The API server has not answered yet, so nothing was published and nobody is served: there is nothing to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn before_anything_is_published_it_ends_at_once() {
    let (asked, noted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let api_server = tokio::spawn({
        let (asked, noted) = (asked.clone(), noted.clone());
        async move {
            let mut held = Vec::new();
            loop {
                let mut tcp = mute.accept().await.unwrap().0;
                if !read_head(&mut tcp).await.is_empty() {
                    asked.notify_one();
                }
                held.push(tcp);
                noted.notify_one();
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \
         'http://{address}'}}}}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: \
         u}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let mut child = Command::new(binary())
        .args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--drain-delay", "60s", "--lease-namespace", "default", "--kubeconfig"])
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    soon(asked.notified()).await;
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut code = None;
    traffic::until("it has ended", || {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    })
    .await;
    api_server.abort();
    assert_eq!(code, Some(Some(0)));
}

/// What is left of a WebSocket at the end of the drain is told so, unless it is in the middle of a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_a_word_of_it() {
    const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xe9];
    const GOING_AWAY_MASKED: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
    const HELLO: &[u8] = b"\x81\x05Hello";
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = Endpoint::scripted(move |mut tcp, _| {
        let tell = tell.clone();
        async move {
            let frame = if read_head(&mut tcp).await.starts_with("GET /half ") { &HELLO[..4] } else { HELLO };
            let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            tcp.write_all(&[switched, frame].concat()).await.unwrap();
            tell.send(read_to_the_end(&mut tcp).await).unwrap();
        }
    })
    .await;
    let objects = crate::harness::backend::service("s", &[endpoint.address]) + &route("s", "");
    let flags = ["--workers", "1", "--drain-delay", "0s", "--drain-timeout", "500ms"];
    let mut gateway = Gateway::start_with(&objects, &flags);
    let mut clients = Vec::new();
    for (path, frame) in [("/whole", HELLO), ("/half", &HELLO[..4])] {
        let mut client = TcpStream::connect(gateway.http).await.unwrap();
        let asked = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
             13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        client.write_all(asked.as_bytes()).await.unwrap();
        assert!(soon(read_head(&mut client)).await.starts_with("HTTP/1.1 101 "));
        let mut come = vec![0; frame.len()];
        soon(client.read_exact(&mut come)).await.unwrap();
        assert_eq!(come, frame);
        clients.push(client);
    }
    gateway.signal("TERM");
    let mut last = Vec::new();
    for client in &mut clients {
        last.push(soon(read_to_the_end(client)).await);
    }
    assert_eq!(last, [GOING_AWAY, b""]);
    for _ in 0..2 {
        assert_eq!(soon(told.recv()).await.unwrap(), GOING_AWAY_MASKED);
    }
    assert_eq!(gateway.exit_code(), Some(0));
}
