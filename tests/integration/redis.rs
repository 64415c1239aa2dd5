//! The store of limits that replicas share: how it is reached, and what is said of it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::certs::Authority;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::redis::{Redis, RedisCluster};
use crate::harness::run;
use crate::harness::size;

/// A gateway with nothing to serve that counts in this Redis.
fn gateway(urls: &str, flags: &[&str]) -> Gateway {
    let mut all = vec!["--workers", "1", "--redis-timeout", "500ms", "--redis-url", urls];
    all.extend(flags);
    Gateway::start_with("", &all)
}

/// A metric without labels.
fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let metrics = gateway.metrics();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn is_up(gateway: &Gateway) -> bool {
    metric(gateway, "headgate_ratelimit_store_up") == Some(1.0)
}

/// The lines that say that the store is away, and those that say that it is back.
fn told(gateway: &Gateway) -> (usize, usize) {
    let log = gateway.log();
    let count = |part: &str| log.iter().filter(|line| line.contains(part)).count();
    (count("the store of shared limits is away"), count("the store of shared limits is back"))
}

#[test]
fn one_server_is_reached_by_password_and_by_user() {
    let redis = Redis::with_password("hunter2");
    // No more than the documentation asks for.
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md")).unwrap();
    let least = docs.split_once("or for the least: `").unwrap().1.split_once('`').unwrap().0.replace('\n', " ");
    let mut user = vec!["acl", "setuser", "gate", "on", ">opensesame", "~headgate:*"];
    user.extend(least.split(' '));
    assert_eq!(redis.cli(&user), "OK");
    let port = redis.port;
    for url in [format!("redis://:hunter2@127.0.0.1:{port}"), format!("redis://gate:opensesame@127.0.0.1:{port}")] {
        let gateway = gateway(&url, &[]);
        gateway.wait_until("the store is up", || is_up(&gateway));
        assert_eq!(told(&gateway), (0, 0));
    }
    let mut command = Command::new(binary());
    command.env("HEADGATE_REDIS_USERNAME", "gate").env("HEADGATE_REDIS_PASSWORD", "opensesame");
    let gateway = Gateway::start_as(command, "", &["--redis-url", &redis.url(), "--redis-timeout", "500ms"]);
    gateway.wait_until("the store is up", || is_up(&gateway));
    let log = gateway.log().join("\n");
    assert!(!log.contains("opensesame") && !log.contains("hunter2"), "{log}");
}

#[test]
fn a_wrong_password_is_said_and_never_shown() {
    let redis = Redis::with_password("hunter2");
    let gateway = gateway(&format!("redis://:guessed@127.0.0.1:{}", redis.port), &[]);
    gateway.wait_until("it is said", || told(&gateway).0 == 1);
    let line = gateway.log().into_iter().find(|line| line.contains("is away")).unwrap();
    assert!(line.contains("WRONGPASS") || line.contains("uthentication"), "{line}");
    assert!(!gateway.log().join("\n").contains("guessed"));
    assert!(gateway.is_ready(), "a gateway serves without its store");
}

#[test]
fn tls_is_spoken_to_whom_the_authority_vouches_for() {
    let authority = Authority::new();
    let redis = Redis::with_tls(&authority);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, others) = (file("ours", authority.pem()), file("others", Authority::new().pem()));
    let url = format!("rediss://localhost:{}", redis.port);
    let trusting = gateway(&url, &["--redis-ca-file", &ours]);
    trusting.wait_until("the store is up", || is_up(&trusting));
    let wary = gateway(&url, &["--redis-ca-file", &others]);
    wary.wait_until("it is said", || told(&wary).0 == 1);
    assert!(!is_up(&wary));
    let line = wary.log().into_iter().find(|line| line.contains("is away")).unwrap();
    assert!(line.contains("certificate"), "{line}");
}

#[test]
fn of_a_primary_and_its_replica_the_primary_is_used_until_they_change_places() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let gateway = gateway(&format!("{},{}", replica.url(), primary.url()), &[]);
    gateway.wait_until("the store is up", || is_up(&gateway));
    gateway.wait_until("the primary is written", || primary.calls("set") > 0);
    replica.cli(&["replicaof", "no", "one"]);
    primary.cli(&["replicaof", "127.0.0.1", &replica.port.to_string()]);
    let failed_over = Instant::now();
    let before = replica.calls("set");
    gateway.wait_until("the other one is written", || replica.calls("set") > before && is_up(&gateway));
    assert!(failed_over.elapsed() < size::time(Duration::from_secs(4)), "{:?}", failed_over.elapsed());
}

#[test]
fn every_server_of_a_cluster_is_found_and_the_loss_of_one_is_survived() {
    let mut cluster = RedisCluster::start();
    let gateway = gateway(&cluster.urls(), &[]);
    gateway.wait_until("the store is up", || is_up(&gateway));
    for primary in &cluster.nodes[..3] {
        gateway.wait_until("it is written", || primary.calls("set") > 0);
    }
    cluster.nodes[0].kill();
    gateway.wait_until("it is said", || told(&gateway).0 == 1 && !is_up(&gateway));
    gateway.wait_until("a replica has taken its place", || is_up(&gateway));
    assert!(cluster.nodes[3].calls("set") > 0);
    gateway.wait_until("that is said as well", || told(&gateway) == (1, 1));
}

#[test]
fn that_it_is_away_and_back_is_said_once() {
    let mut redis = Redis::start();
    let gateway = gateway(&redis.url(), &[]);
    gateway.wait_until("the store is up", || is_up(&gateway));
    assert_eq!(told(&gateway), (0, 0));
    for times in 1..=2 {
        redis.kill();
        gateway.wait_until("it is said", || told(&gateway) == (times, times - 1) && !is_up(&gateway));
        redis.start_again();
        let back = Instant::now();
        gateway.wait_until("it is back", || told(&gateway) == (times, times) && is_up(&gateway));
        assert!(back.elapsed() < size::time(Duration::from_secs(2)), "{:?}", back.elapsed());
    }
}

#[test]
fn replicas_hear_of_each_other() {
    let redis = Redis::start();
    let first = gateway(&redis.url(), &[]);
    let others: Vec<Gateway> = (0..2).map(|_| gateway(&redis.url(), &[])).collect();
    let count = || metric(&first, "headgate_ratelimit_store_replicas");
    first.wait_until("three are heard of", || count() == Some(3.0));
    drop(others);
    first.wait_until("they have gone", || count() == Some(1.0));
    let elsewhere = gateway(&redis.url(), &["--redis-prefix", "staging"]);
    elsewhere.wait_until("the store is up", || is_up(&elsewhere));
    assert_eq!(count(), Some(1.0), "another prefix is another world");
}

#[test]
fn addresses_that_are_none_are_refused_without_repeating_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (url, more, part) in [
        ("http://:hunter2@redis", &[][..], "write redis://HOST:PORT"),
        ("redis://:hunter2@redis,rediss://:hunter2@redis", &[], "URL 2 differs"),
        ("rediss://:hunter2@redis#insecure", &[], "--redis-ca-file"),
        ("redis://:hunter2@redis", &["--redis-ca-file", "/dev/null"], "write rediss://"),
        ("rediss://:hunter2@redis", &["--redis-ca-file", "/dev/null"], "no certificate is in it"),
        ("rediss://:hunter2@redis", &["--redis-ca-file", "/nowhere"], "cannot be read"),
        ("redis://:hunter2@redis", &["--redis-prefix", "a{b}"], "write 1 to 64 letters"),
    ] {
        let mut arguments = vec!["run", path, "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];
        arguments.extend(["--admin", "127.0.0.1:0", "--redis-url", url]);
        arguments.extend(more);
        let said = run::headgate(&arguments);
        assert_ne!(said.code, 0, "{url}");
        assert!(said.err.contains(part) && !said.err.contains("hunter2"), "{url}: {}", said.err);
    }
}
