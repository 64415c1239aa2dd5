//! A worker's hand on a real server.

mod scripts;

use std::net::TcpListener;
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::LocalSet;

use super::connection::{Connection, Driver, driven};
use super::health::tests::Heard;
use super::script::Call;
use super::*;
use crate::limit::{Algorithm, Answer, Limit, Precision, Quota, SyncMode};

/// A `redis-server` that ends with this.
struct RealServer(Child, u16);

impl RealServer {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed; tests/run installs it");
        Self(child, port)
    }

    fn settings(&self) -> Settings {
        let urls = vec![format!("redis://127.0.0.1:{}", self.1)];
        let (servers, _, login) = Addresses { urls, username: None, password: None }.parse().unwrap();
        Settings { servers, tls: None, login, prefix: "test".into(), deadline: Duration::from_secs(2) }
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(server: &RealServer) -> (Connection, Driver) {
    let settings = server.settings();
    for _ in 0..500 {
        if let Ok(opened) = Connection::open(&settings, &settings.servers[0]).await {
            return opened;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("redis-server does not answer");
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn limit(name: &str, algorithm: Algorithm, requests: u32, period: Duration, sync: SyncMode) -> Limit {
    let quota = Quota { algorithm, requests: number(requests), period };
    Limit::new("shop/limits".into(), name.into(), quota, sync, "ClientIP")
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// A worker's hand on a server of its own, while a test runs.
fn with_link(settings: Settings, test: impl AsyncFnOnce(Rc<Link>, Heard)) {
    let heard = Heard::default();
    let health = Arc::new(Health::new(1, Box::new(heard.clone())));
    let link = Rc::new(Link::new(Arc::new(settings), health));
    LocalSet::new().block_on(&runtime(), async {
        let running = tokio::task::spawn_local({
            let link = link.clone();
            async move { link.run(Some("one")).await }
        });
        let up = async {
            while !heard.up.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), up).await.expect("it is never there");
        test(link, heard).await;
        running.abort();
    });
}

fn passes(answers: &[Answer]) -> Vec<bool> {
    answers.iter().map(|answer| answer.as_ref().unwrap().passes()).collect()
}

const HOUR: Duration = Duration::from_secs(3600);
const BUCKET: Algorithm = Algorithm::TokenBucket { burst: NonZeroU32::MIN.saturating_add(9) };
const EXACT: Algorithm = Algorithm::SlidingWindow(Precision::Exact);
const APPROXIMATE: Algorithm = Algorithm::SlidingWindow(Precision::Approximate);

fn ask(limit: &Limit, cost: u32) -> Ask<'_> {
    Ask { limit, key: b"client", cost: number(cost) }
}

#[test]
fn limits_of_one_request_are_counted_as_one() {
    let server = RealServer::start();
    with_link(server.settings(), async |link, _| {
        let wide = limit("wide", BUCKET, 10, HOUR, SyncMode::Strict);
        for narrow in [EXACT, APPROXIMATE, Algorithm::TokenBucket { burst: number(2) }] {
            let narrow = limit("narrow", narrow, 2, HOUR, SyncMode::Strict);
            let asks = [ask(&wide, 1), ask(&narrow, 1)];
            let before = link.check(&asks[..1]).await[0].unwrap().remaining;
            for expected in [[true, true], [true, true], [true, false], [true, false]] {
                assert_eq!(passes(&link.check(&asks).await), expected, "{}", narrow.quota);
            }
            let after = link.check(&asks[..1]).await[0].unwrap().remaining;
            assert_eq!(before - after, 3, "what the other refused was not counted");
            link.give_back(&[ask(&wide, 5)]);
            // It is done after what was asked before.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn what_is_given_back_can_pass_again() {
    let server = RealServer::start();
    with_link(server.settings(), async |link, _| {
        for algorithm in [BUCKET, EXACT, APPROXIMATE] {
            let limit = limit("again", algorithm, 10, HOUR, SyncMode::Strict);
            assert_eq!(passes(&link.check(&[ask(&limit, 7)]).await), [true]);
            assert_eq!(passes(&link.check(&[ask(&limit, 7)]).await), [false]);
            link.give_back(&[ask(&limit, 7)]);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(passes(&link.check(&[ask(&limit, 7)]).await), [true], "{}", limit.quota);
        }
    });
}

#[test]
fn scripts_that_were_flushed_are_known_again() {
    let server = RealServer::start();
    let (flush, driver) = runtime().block_on(connect(&server));
    drop((flush, driver));
    with_link(server.settings(), async |link, heard| {
        let limit = limit("flushed", BUCKET, 10, HOUR, SyncMode::Strict);
        for _ in 0..3 {
            let settings = server.settings();
            let (connection, mut driver) = Connection::open(&settings, &settings.servers[0]).await.unwrap();
            let mut command = redis::cmd("SCRIPT");
            command.arg("FLUSH");
            driven(&mut driver, connection.ask(&command)).await.unwrap();
            assert_eq!(passes(&link.check(&[ask(&limit, 1)]).await), [true]);
        }
        assert_eq!(*heard.lacked.lock().unwrap(), []);
    });
}

#[test]
fn a_lease_saves_asking() {
    let server = RealServer::start();
    with_link(server.settings(), async |link, heard| {
        let limit = limit("leased", BUCKET, 100_000, Duration::from_secs(1), SyncMode::Leased);
        let limit = Limit::new(
            limit.policy.clone(),
            limit.name.clone(),
            Quota { algorithm: Algorithm::TokenBucket { burst: number(100_000) }, ..limit.quota },
            SyncMode::Leased,
            "ClientIP",
        );
        let requests = 4000;
        for _ in 0..requests {
            assert_eq!(passes(&link.check(&[ask(&limit, 1)]).await), [true]);
            tokio::task::yield_now().await;
        }
        let asked = heard.decided.load(Ordering::Relaxed);
        assert!(asked <= requests / 20, "asked {asked} times for {requests} requests");
    });
}

#[test]
fn leases_never_let_more_pass_than_was_counted() {
    let server = RealServer::start();
    with_link(server.settings(), async |link, heard| {
        for algorithm in [BUCKET, EXACT, APPROXIMATE] {
            let algorithm = match algorithm {
                Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst: number(200) },
                other => other,
            };
            let limit = limit(&unique("bounded"), algorithm, 200, HOUR, SyncMode::Leased);
            let mut passed = 0;
            for _ in 0..2000 {
                passed += u32::from(passes(&link.check(&[ask(&limit, 1)]).await) == [true]);
            }
            // An approximate window may still hold something of the period before; here there is none.
            assert_eq!(passed, 200, "{}", limit.quota);
        }
        let asked = heard.decided.load(Ordering::Relaxed);
        assert!(asked < 300, "refusals are remembered: asked {asked} times");
    });
}

#[test]
fn replicas_count_each_other() {
    let server = RealServer::start();
    with_link(server.settings(), async |_, heard| {
        let other = Arc::new(Health::new(1, Box::new(Heard::default())));
        let second = Rc::new(Link::new(Arc::new(server.settings()), other));
        let running = tokio::task::spawn_local(async move { second.run(Some("two")).await });
        for (replicas, stop) in [(2, true), (1, false)] {
            let seen = async {
                while heard.replicas.load(Ordering::Relaxed) != replicas {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
            if stop {
                running.abort();
            }
        }
    });
}

/// Keys are what the documentation says, and are all in one slot for a policy.
#[test]
fn keys_are_as_documented() {
    static PATTERN: OnceLock<regex::Regex> = OnceLock::new();
    let pattern = PATTERN
        .get_or_init(|| regex::Regex::new(r"^test:\{shop/limits\}:per-user:[0-9a-f]{16}:[0-9a-f]{32}$").unwrap());
    let limit = limit("per-user", BUCKET, 10, HOUR, SyncMode::Strict);
    let (one, other) = (Ask { key: b"a", ..ask(&limit, 1) }, Ask { key: b"b", ..ask(&limit, 1) });
    let keys = [Call::key("test", &one), Call::key("test", &other)];
    assert!(keys.iter().all(|key| pattern.is_match(key)), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
    assert_eq!(Call::decide("test", &[one], 1, None).slot(), Call::decide("test", &[other], 1, None).slot());
}
