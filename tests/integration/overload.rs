//! More than can be answered, and clients that keep their connection without using it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::harness::backend::service;
use crate::harness::endpoint::{Endpoint, Speaks, full};
use crate::harness::gateway::Gateway;
use crate::harness::http::get;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::objects::route;
use crate::harness::size;
use crate::harness::traffic;

/// What is asked of the gateway per second while its ports are looked at.
const GOOD: Load = Load {
    connections: 4,
    requests: 0,
    pace: Pace::Even(100),
    asks: &[Ask { host: "test", path: "/", body: "" }, Ask { host: "test", path: "/", body: "a body" }],
};

/// A client that is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// A byte of the head in a while.
    Head,
    /// Half a body, and then nothing.
    Body,
    /// Nothing is read of a large answer.
    Read,
    /// A byte of the handshake in a while.
    Tls,
}

impl Slow {
    /// How long the gateway bears it.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Head | Self::Tls => 10,
            // What the route says.
            Self::Body => 5,
            Self::Read => 30,
        })
    }

    /// Connects, and gives how long it took until the gateway closed the connection.
    async fn connect(self, gateway: [SocketAddr; 2]) -> Duration {
        let [http, https] = gateway;
        let socket = TcpSocket::new_v4().unwrap();
        // As it is on a network: the kernel's buffers grow with the segment, which is 64 KiB on the loopback device, and
        // would take all of a large answer in the client's place.
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket2::SockRef::from(&socket).set_tcp_mss(1460).unwrap();
        let mut tcp = socket.connect(if self == Self::Tls { https } else { http }).await.unwrap();
        let began = Instant::now();
        let (first, trickle): (&[u8], &[u8]) = match self {
            Self::Head => (b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ", b"a"),
            Self::Body => (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhalf", b""),
            Self::Read => (b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n", b""),
            // The beginning of a record of 512 bytes: a client's hello.
            Self::Tls => (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"a"),
        };
        tcp.write_all(first).await.unwrap();
        let mut scratch = [0; 1024];
        loop {
            if self == Self::Read {
                // Whoever does not read does not see the end either, only that what it sends is refused.
                tokio::time::sleep(Duration::from_millis(500)).await;
                let reset = tcp.take_error().unwrap().is_some() || tcp.write_all(b"\r\n").await.is_err();
                if reset {
                    return began.elapsed();
                }
                continue;
            }
            match tokio::time::timeout(Duration::from_secs(1), tcp.read(&mut scratch)).await {
                Ok(Ok(0) | Err(_)) => return began.elapsed(),
                Ok(Ok(_)) => {}
                Err(_) if trickle.is_empty() => {}
                Err(_) => drop(tcp.write_all(trickle).await),
            }
        }
    }
}

/// Slow clients of every kind are cut off in their time, and nobody else notices them.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off_and_nobody_notices_them() {
    // Not reading is borne for half a minute, for which there is no time in the suite.
    let kinds = size::of(&[Slow::Head, Slow::Body, Slow::Tls][..], &[Slow::Head, Slow::Body, Slow::Read, Slow::Tls]);
    let each = size::of(100, 1_000);
    let large = Bytes::from(vec![b'.'; 4 << 20]);
    let endpoint = Endpoint::answering(Speaks::Http1, move |request| {
        let large = large.clone();
        async move {
            let body = if request.uri().path() == "/large" { large } else { Bytes::from_static(b"small") };
            // Of a slow client's body there is never an end.
            let _ = request.into_body().collect().await;
            Response::new(full(body))
        }
    })
    .await;
    let objects = service("s", &[endpoint.address]) + &route("s", "timeouts: {idle: 5s, connect: 10s}");
    let gateway = Gateway::start_with(&objects, &["--workers", "2"]);
    let warm = Load { requests: 200, ..GOOD };
    warm.start(gateway.http).outcome().assert_none_failed(&warm);
    let before = gateway.memory();
    let mut slow = JoinSet::new();
    for number in 0..each {
        // They come by and by: so many at once would be a load of another kind.
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for kind in kinds {
            let (kind, addresses) = (*kind, [gateway.http, gateway.https]);
            slow.spawn(async move { (kind, kind.connect(addresses).await) });
        }
    }
    let load = Load { requests: size::of(900, 3_100), ..GOOD };
    let good = load.start(gateway.http);
    let mut grown = 0;
    let mut latest = [Duration::ZERO; 4];
    while let Some(ended) = slow.join_next().await {
        let (kind, took) = ended.unwrap();
        let (least, most) = (kind.limit() - Duration::from_millis(500), kind.limit() + Duration::from_secs(1));
        // For a client that does not read it is from the last byte on that the kernel took, which may take some more once.
        let late = Duration::from_millis(if kind == Slow::Read { 33_000 } else { 500 });
        assert!(took >= least && took <= most + late, "{kind:?}: {took:?}");
        latest[kind as usize] = latest[kind as usize].max(took);
        grown = grown.max(gateway.memory().saturating_sub(before) >> 20);
    }
    println!("{each} of each of {kinds:?} were cut off after {latest:?} at the latest; {grown} MiB more memory");
    assert!(grown <= 64, "{grown} MiB");
    good.outcome().assert_none_failed(&load);
}

/// What h2load says of a load.
#[derive(Debug)]
struct Told {
    /// Answers of status 2xx.
    good: u32,
    /// Answers of status 5xx.
    refused: u32,
    /// Requests that got none, and answers of other statuses.
    failed: u32,
}

/// Asks on so many connections for so long: so often a second on all together, whether that is answered or not, or on
/// each as soon as it has its last answer. A connection that has no answer yet when its next request is due asks as soon
/// as it has.
fn ask(gateway: &Gateway, connections: u32, rate: Option<f64>, time: Duration) -> Told {
    let mut command = Command::new("h2load");
    if let Some(rate) = rate {
        command.arg(format!("--rps={:.3}", rate / f64::from(connections)));
    }
    let output = command
        .args(["--h1", "-t1", "-c", &connections.to_string(), "-D", &time.as_secs().to_string()])
        .args(["-H", "accept-encoding: gzip", &format!("http://{}/", gateway.http)])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let number = |after: &str| -> u32 {
        let before = text.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {text}")).0;
        before.rsplit([' ', ',']).next().unwrap().parse().unwrap()
    };
    let (good, refused) = (number(" 2xx"), number(" 5xx"));
    let answered = number(" done, ");
    Told { good, refused, failed: number(" errored") + number(" timeout") + answered.saturating_sub(good + refused) }
}

/// How far a gateway has come at some time.
#[derive(Clone, Copy)]
struct Mark {
    /// Requests that the backend has answered.
    good: f64,
    /// Time on the processor.
    processor: Duration,
    at: Instant,
}

impl Mark {
    fn now(gateway: &Gateway) -> Self {
        let metrics = gateway.metrics();
        let ours = metrics.lines().filter(|line| line.starts_with("headgate_requests_total"));
        let good = ours.filter(|line| line.contains("reason=\"ok\""));
        let good = good.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        Self { good, processor: gateway.processor(), at: Instant::now() }
    }

    /// Good answers since then, in a second of what bounds them. In full size that is a second of the clock. In the suite
    /// other tests have the processor as well, now more and now less, so it is a second on the processor.
    fn goodput(self, now: Self) -> f64 {
        (now.good - self.good) / size::of(now.processor - self.processor, now.at - self.at).as_secs_f64()
    }
}

/// Three times as much is asked for as can be answered: most of what can be answered is, some of the rest is told to come
/// again, the admin port answers all along, and afterwards all is as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_overload_leaves_most_of_what_could_be_answered() {
    // It is the gateway that has most to do for an answer, not its backend nor its clients: it compresses.
    let text: String = (0..4_800).map(|number| format!("{:x} ", number * number)).collect();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    let endpoint = Endpoint::scripted(move |mut tcp, _| {
        let answer = answer.clone();
        async move {
            let mut read = Vec::new();
            while tcp.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
                if read.ends_with(b"\r\n\r\n") {
                    read.clear();
                    tcp.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await;
    let more = "compression: {algorithms: [gzip], minSize: 1Ki, contentTypes: [text/plain]}";
    let gateway = Gateway::start_with(&(service("s", &[endpoint.address]) + &route("s", more)), &["--workers", "1"]);
    let few = || {
        let (before, time) = (Mark::now(&gateway), Duration::from_secs(size::of(2, 10)));
        let told = ask(&gateway, 16, None, time);
        assert_eq!((told.refused, told.failed), (0, 0), "{told:?}");
        (before.goodput(Mark::now(&gateway)), f64::from(told.good) / time.as_secs_f64())
    };
    let (before, in_a_second) = few();

    // To make the connections takes a while; from then on it counts.
    let (begin, time) = (Duration::from_secs(4), Duration::from_secs(size::of(10, 34)));
    // So many that each would wait for most of a second, if all were answered.
    let connections = (in_a_second * 0.8).clamp(1_000.0, 8_000.0) as u32;
    let (told, slowest, goodput) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (began, mut slowest, mut first) = (Instant::now(), Duration::ZERO, None);
            while began.elapsed() < time {
                let asked = Instant::now();
                assert_eq!(get(gateway.admin, "/readyz").unwrap().status, 200);
                slowest = slowest.max(asked.elapsed());
                if began.elapsed() > begin && first.is_none() {
                    first = Some(Mark::now(&gateway));
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            (slowest, first.unwrap().goodput(Mark::now(&gateway)))
        });
        let told = ask(&gateway, connections, Some(3.0 * in_a_second), time);
        let (slowest, goodput) = asking.join().unwrap();
        (told, slowest, goodput)
    });
    // It is over soon after the load is.
    let ended = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(ended.elapsed() < Duration::from_secs(size::of(20, 2)), "requests are still turned away");
        in_a_row = if traffic::get(gateway.http, "/").await.status == 200 { in_a_row + 1 } else { 0 };
    }
    let over = ended.elapsed();
    // What else the machine has to do changes meanwhile.
    let most = before.min(few().0);
    println!(
        "three times {in_a_second:.0}/s on {connections} connections: {goodput:.0}/s of {most:.0}/s, {told:?}; admin in \
         {slowest:?}; over in {over:?}"
    );
    assert!(goodput >= size::of(0.4, 0.8) * most, "{goodput} of {most}");
    assert_eq!(told.failed, 0, "{told:?}");
    // In the time that the suite has, it may not come to that.
    if size::full() {
        assert!(gateway.metrics().contains("reason=\"overloaded\""));
    }
    assert!(slowest < Duration::from_millis(size::of(5_000, 100)), "{slowest:?}");
}
