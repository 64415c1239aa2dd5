//! Limits that several processes share through Redis, and what becomes of requests when it is away.

use std::time::{Duration, Instant};

use crate::harness::certs::Authority;
use crate::harness::gateway::Gateway;
use crate::harness::http::{Response, get_host};
use crate::harness::load::{Answer, Ask, Load, Outcome, Pace, Running};
use crate::harness::redis::{Chaos, Redis, RedisCluster, Wire};
use crate::harness::size;

/// The name of a host that answers with its own name, and the limits on it; none is no policy.
fn limited(host: &str, limits: &str) -> String {
    let name = host.split('.').next().unwrap();
    let mut yaml = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec: {{hostnames: \
         [{host}], rules: [{{name: all, filters: [{{type: DirectResponse, directResponse: {{statusCode: 200, body: \
         {name}}}}}]}}]}}\n"
    );
    if !limits.is_empty() {
        yaml += &format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: {name}}}\nspec: \
             {{targetRefs: [{{group: headgate.dev, kind: GatewayRoute, name: {name}}}], limits: [{limits}]}}\n"
        );
    }
    yaml
}

fn start(urls: &str, yaml: &str, flags: &[&str]) -> Gateway {
    let mut all = vec!["--workers", "1", "--redis-url", urls];
    all.extend(flags);
    let gateway = Gateway::start_with(yaml, &all);
    gateway.wait_until("the store is up", || is_up(&gateway));
    gateway
}

fn is_up(gateway: &Gateway) -> bool {
    gateway.metrics().contains("headgate_ratelimit_store_up 1")
}

fn replicas(gateway: &Gateway) -> Option<u32> {
    let metrics = gateway.metrics();
    metrics.lines().find_map(|line| line.strip_prefix("headgate_ratelimit_store_replicas ")?.parse().ok())
}

fn get(gateway: &Gateway, host: &str) -> Response {
    get_host(gateway.http, host, "/").unwrap()
}

/// How many of so many requests pass.
fn passed(gateway: &Gateway, host: &str, requests: usize) -> usize {
    (0..requests).filter(|_| get(gateway, host).status == 200).count()
}

/// How many of a load's requests passed; the others were refused by a limit and for no other reason.
fn admitted(outcomes: &[Outcome]) -> usize {
    for failure in outcomes.iter().flat_map(|outcome| &outcome.failures) {
        assert!(failure.contains("429"), "{failure}");
    }
    outcomes.iter().map(|outcome| outcome.answers.len()).sum()
}

// === one count ===

/// Asks three gateways for one host as fast as they answer, 10,000 times in all.
fn ten_thousand(gateways: &[Gateway], ask: &'static [Ask]) -> Vec<Outcome> {
    let running: Vec<Running> = gateways
        .iter()
        .zip([3334, 3333, 3333])
        .map(|(gateway, requests)| {
            Load { connections: 8, requests, pace: Pace::FlatOut, asks: ask }.start(gateway.http)
        })
        .collect();
    running.into_iter().map(Running::outcome).collect()
}

#[test]
fn three_processes_share_one_count() {
    const fn ask(host: &'static str) -> Ask {
        Ask { host, path: "/", body: "" }
    }
    /// A limit of 2000, as a period of an hour hardly gives anything back while a test runs: one in 1.8 s.
    const CASES: [(&str, &[Ask], &str); 5] = [
        ("token", &[ask("token.test")], "algorithm: TokenBucket"),
        ("leaky", &[ask("leaky.test")], "algorithm: LeakyBucket, burst: 1999"),
        ("exact", &[ask("exact.test")], "algorithm: SlidingWindow"),
        ("approximate", &[ask("approximate.test")], "algorithm: SlidingWindow, precision: Approximate"),
        ("leased", &[ask("leased.test")], "algorithm: TokenBucket, sync: Leased"),
    ];
    let yaml: String = CASES
        .iter()
        .map(|(name, _, how)| {
            let limit =
                format!("{{name: {name}, requests: 2000, period: 1h, scope: Global, failureMode: Closed, {how}}}");
            limited(&format!("{name}.test"), &limit)
        })
        .collect();
    let redis = Redis::start();
    let gateways: Vec<Gateway> = (0..3).map(|_| start(&redis.url(), &yaml, &["--redis-timeout", "5s"])).collect();
    for (name, asks, _) in CASES {
        let before = redis.calls("evalsha");
        let began = Instant::now();
        let outcomes = ten_thousand(&gateways, asks);
        let (admitted, calls) = (admitted(&outcomes), redis.calls("evalsha") - before);
        println!("{name}: {admitted} of 10000 passed, {calls} calls, {:?}", began.elapsed());
        // Beside those for requests, each replica says once a second that it lives.
        let beats = 3 * (began.elapsed().as_secs() + 2);
        match name {
            "exact" => assert_eq!(admitted, 2000),
            // What is left in leases is not used, and nothing passes that was not counted.
            "leased" => assert!((1400..=2020).contains(&admitted), "{admitted}"),
            _ => assert!((2000..=2020).contains(&admitted), "{name}: {admitted}"),
        }
        match name {
            "leased" => assert!(calls <= 10_000 / 20 + beats, "{calls} calls"),
            _ => assert!((10_000..=10_000 + beats).contains(&calls), "{name}: {calls} calls, not one for each request"),
        }
    }
}

#[test]
fn limits_of_a_request_are_asked_about_in_one_call_and_clients_are_told() {
    let yaml = limited(
        "both.test",
        "{name: wide, requests: 100, period: 1h, scope: Global}, {name: narrow, requests: 2, period: 1h, scope: Global, \
         algorithm: SlidingWindow}",
    );
    let redis = Redis::start();
    let [one, other] = [(); 2].map(|()| start(&redis.url(), &yaml, &["--redis-timeout", "5s"]));
    let before = redis.calls("evalsha");
    let first = get(&one, "both.test");
    assert_eq!(first.status, 200);
    let calls = redis.calls("evalsha") - before;
    assert!((1..=3).contains(&calls), "one call, beside signs of life: {calls}");
    assert_eq!(first.header("ratelimit-policy"), Some(r#""wide";q=100;w=3600, "narrow";q=2;w=3600"#));
    let second = get(&other, "both.test");
    let told = second.header("ratelimit").unwrap();
    assert!(told.contains(r#""wide";r=98"#) && told.contains(r#""narrow";r=0"#), "{told}");
    for gateway in [&one, &other] {
        let refused = get(gateway, "both.test");
        assert_eq!(refused.status, 429);
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 3500);
        let told = refused.header("ratelimit").unwrap();
        assert!(told.contains(r#""wide";r=98"#), "what was refused has been counted by none: {told}");
    }
    let keys = redis.cli(&["keys", "headgate:{default/both}:*"]);
    assert_eq!(keys.lines().count(), 2, "{keys}");
    for key in keys.lines() {
        assert!(redis.cli(&["ttl", key]).parse::<i64>().unwrap() > 0, "{key} never goes");
    }
}

#[test]
fn what_only_looks_on_counts_by_itself() {
    let shadow = |name: &str, requests: u32| {
        format!("{{name: {name}, requests: {requests}, period: 1h, scope: Global, shadow: true}}")
    };
    let binding = "{name: binding, requests: 6, period: 1h, scope: Global}";
    let yaml = limited("shadow.test", &format!("{}, {}, {binding}", shadow("tight", 1), shadow("loose", 4)));
    let redis = Redis::start();
    let gateway = start(&redis.url(), &yaml, &["--redis-timeout", "5s"]);
    assert_eq!(passed(&gateway, "shadow.test", 10), 6);
    let metrics = gateway.metrics();
    let decided = |limit: &str, decision: &str| {
        let is = |line: &&str| {
            line.starts_with("headgate_ratelimit_decisions_total")
                && line.contains(&format!("limit=\"{limit}\""))
                && line.contains(&format!("decision=\"{decision}\""))
        };
        let line = metrics.lines().find(is).unwrap_or_else(|| panic!("{limit} {decision}: {metrics}"));
        line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!((decided("tight", "allowed"), decided("tight", "shadow")), (1, 9));
    assert_eq!((decided("loose", "allowed"), decided("loose", "shadow")), (4, 6));
    assert_eq!((decided("binding", "allowed"), decided("binding", "limited")), (6, 4));
}

#[test]
fn who_leaves_while_waiting_gives_the_place_back() {
    let yaml = limited(
        "slow.test",
        "{name: slow, algorithm: LeakyBucket, requests: 1, period: 1s, burst: 5, maxDelay: 10s, scope: Global}",
    );
    let redis = Redis::start();
    let gateway = start(&redis.url(), &yaml, &["--redis-timeout", "5s"]);
    assert_eq!(get(&gateway, "slow.test").status, 200);
    for _ in 0..3 {
        let mut leaving = std::net::TcpStream::connect(gateway.http).unwrap();
        std::io::Write::write_all(&mut leaving, b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").unwrap();
        let calls = redis.calls("evalsha");
        gateway.wait_until("it waits", || redis.calls("evalsha") > calls);
        drop(leaving);
    }
    let began = Instant::now();
    assert_eq!(get(&gateway, "slow.test").status, 200);
    assert!(
        began.elapsed() < Duration::from_millis(size::of(3_500, 2_500)),
        "it waited for those who left: {:?}",
        began.elapsed()
    );
}

// === when the store is away ===

/// A gateway with a limit in each mode, and one host without any, under an even load.
struct Outage {
    gateway: Gateway,
    load: Option<Running>,
    began: Instant,
}

impl Outage {
    const RATE: u32 = 300;
    const ASKS: &[Ask] = &[
        Ask { host: "open.test", path: "/", body: "" },
        Ask { host: "local.test", path: "/", body: "" },
        Ask { host: "none.test", path: "/", body: "" },
    ];
    /// From the beginning of the fault to its end.
    const FAULT: Duration = Duration::from_millis(2200);
    /// The load before and after it.
    const REST: Duration = Duration::from_millis(700);

    fn start(urls: &str) -> Self {
        let limit = |mode: &str| {
            format!(
                "{{name: l, requests: 1000000, period: 1h, scope: Global, algorithm: TokenBucket, failureMode: {mode}}}"
            )
        };
        let yaml =
            limited("open.test", &limit("Open")) + &limited("local.test", &limit("Local")) + &limited("none.test", "");
        Self { gateway: start(urls, &yaml, &[]), load: None, began: Instant::now() }
    }

    /// Runs the load; in its middle the fault happens and ends.
    fn suffer(mut self, name: &str, fault: impl FnOnce(), heal: impl FnOnce()) {
        let length = Self::REST + Self::FAULT + Self::REST;
        let requests = (length.as_secs_f64() * f64::from(Self::RATE)) as u32;
        let load = Load { connections: 24, requests, pace: Pace::Even(Self::RATE), asks: Self::ASKS };
        self.began = Instant::now();
        self.load = Some(load.start(self.gateway.http));
        let until = |after: Duration| {
            let due = self.began + after;
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
        };
        until(Self::REST);
        fault();
        let broke = Instant::now();
        until(Self::REST + Self::FAULT);
        heal();
        let healed = Instant::now();
        self.gateway.wait_until("the store is up again", || is_up(&self.gateway));
        let back = healed.elapsed();
        let outcome = self.load.take().unwrap().outcome();
        let failed: Vec<&String> = outcome.failures.iter().take(5).collect();
        assert!(failed.is_empty(), "{name}: {} of {requests} failed: {failed:#?}", outcome.failures.len());
        let second = Duration::from_secs(1);
        let first = Added::of(&outcome.answers, broke, broke + second);
        let later = Added::of(&outcome.answers, broke + second, healed);
        println!("{name}: first second {first:?}; after {later:?}; back after {back:?}");
        let [back_in, at_first, at_last] = size::of([10_000, 22, 5], [2_000, 25, 1]).map(Duration::from_millis);
        assert!(back < back_in, "{name}: back after {back:?}");
        assert!(first.added() <= at_first, "{name}: {first:?}");
        assert!(later.added() <= at_last, "{name}: {later:?}");
    }
}

/// The time that most answers took at most: with a limit, and beside it without one. In full size that is 99 of 100. In
/// the suite, where other tests delay single answers, it is half of them: should requests wait for the store in vain, they
/// all do.
#[derive(Debug)]
struct Added {
    limited: Duration,
    plain: Duration,
}

impl Added {
    fn of(answers: &[Answer], from: Instant, to: Instant) -> Self {
        let most = |plain: bool| {
            let mut took: Vec<Duration> = answers
                .iter()
                .filter(|answer| (from..to).contains(&answer.asked) && (answer.body == "none") == plain)
                .map(|answer| answer.came - answer.asked)
                .collect();
            took.sort();
            took.get(took.len() * size::of(50, 99) / 100).copied().unwrap_or_default()
        };
        Self { limited: most(false), plain: most(true) }
    }

    fn added(&self) -> Duration {
        self.limited.saturating_sub(self.plain)
    }
}

#[test]
fn redis_that_is_killed_harms_no_request() {
    let redis = std::cell::RefCell::new(Redis::start());
    let url = redis.borrow().url();
    Outage::start(&url).suffer("killed", || redis.borrow_mut().kill(), || redis.borrow_mut().start_again());
}

#[test]
fn redis_that_is_paused_harms_no_request() {
    let redis = Redis::start();
    Outage::start(&redis.url()).suffer("paused", || redis.signal("STOP"), || redis.signal("CONT"));
}

#[test]
fn redis_behind_a_broken_wire_harms_no_request() {
    std::thread::scope(|scope| {
        for (name, wire) in [("black hole", Wire::BlackHole), ("5 s slow", Wire::Slow), ("cut", Wire::Cut)] {
            scope.spawn(move || {
                let redis = Redis::start();
                let chaos = Chaos::before(redis.address());
                Outage::start(&chaos.url()).suffer(name, || chaos.set(wire), || chaos.set(Wire::Whole));
            });
        }
    });
}

#[test]
fn redis_that_cannot_be_written_harms_no_request() {
    let primary = Redis::start();
    let redis = Redis::start();
    let become_replica = || {
        redis.cli(&["replicaof", "127.0.0.1", &primary.port.to_string()]);
    };
    let become_primary = || {
        redis.cli(&["replicaof", "no", "one"]);
    };
    Outage::start(&redis.url()).suffer("read only", become_replica, become_primary);
}

#[test]
fn redis_that_changes_its_password_harms_no_request() {
    let redis = Redis::with_password("hunter2");
    redis.cli(&["acl", "setuser", "gate", "on", ">opensesame", "~headgate:*", "+@all", "-@dangerous"]);
    let url = format!("redis://gate:opensesame@127.0.0.1:{}", redis.port);
    let shut = || {
        redis.cli(&["acl", "setuser", "gate", "resetpass", ">another"]);
        redis.cli(&["client", "kill", "user", "gate"]);
    };
    let open = || {
        redis.cli(&["acl", "setuser", "gate", ">opensesame"]);
    };
    Outage::start(&url).suffer("wrong password", shut, open);
}

#[test]
fn redis_that_forgets_its_scripts_harms_no_request_and_no_count() {
    let redis = Redis::start();
    let yaml = limited("count.test", "{name: l, requests: 20, period: 1h, scope: Global, failureMode: Closed}");
    let gateway = start(&redis.url(), &yaml, &["--redis-timeout", "5s"]);
    let mut passing = 0;
    for _ in 0..10 {
        passing += passed(&gateway, "count.test", 3);
        assert_eq!(redis.cli(&["script", "flush"]), "OK");
    }
    assert_eq!(passing, 20);
    assert!(is_up(&gateway));
}

#[test]
fn what_is_closed_answers_503_until_the_store_is_back() {
    let yaml = limited("closed.test", "{name: l, requests: 1000, period: 1h, scope: Global, failureMode: Closed}");
    let mut redis = Redis::start();
    let gateway = start(&redis.url(), &yaml, &["--redis-timeout", "500ms"]);
    assert_eq!(get(&gateway, "closed.test").status, 200);
    redis.kill();
    gateway.wait_until("it is away", || !is_up(&gateway));
    let refused = get(&gateway, "closed.test");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let metrics = gateway.metrics();
    let error = metrics.lines().find(|line| line.starts_with("headgate_ratelimit_store_errors_total")).unwrap();
    assert!(error.contains("reason=\"away\"") || error.contains("reason=\"connection\""), "{error}");
    redis.start_again();
    gateway.wait_until("it is back", || get(&gateway, "closed.test").status == 200);
}

#[test]
fn what_is_local_is_divided_among_the_replicas() {
    let yaml = limited(
        "part.test",
        "{name: l, requests: 90, period: 1h, scope: Global, algorithm: SlidingWindow, failureMode: Local}",
    );
    let mut redis = Redis::start();
    let gateways: Vec<Gateway> = (0..3).map(|_| start(&redis.url(), &yaml, &["--redis-timeout", "500ms"])).collect();
    for gateway in &gateways {
        gateway.wait_until("three are heard of", || replicas(gateway) == Some(3));
    }
    redis.kill();
    for gateway in &gateways {
        gateway.wait_until("it is away", || !is_up(gateway));
        assert_eq!(passed(gateway, "part.test", 60), 30);
    }
    redis.start_again();
    gateways[0].wait_until("it is back", || is_up(&gateways[0]));
    assert_eq!(passed(&gateways[0], "part.test", 100), 90, "Redis has forgotten everything, and counts for all");
}

// === a cluster ===

/// Policies of which one is on each primary, by name.
fn policy_on_each(cluster: &RedisCluster) -> [String; 3] {
    std::array::from_fn(|primary| {
        let names = (0..100).map(|number| format!("p{number}"));
        let mut fitting = names.filter(|name| cluster.holder(&format!("{{default/{name}}}")) == primary);
        fitting.next().unwrap()
    })
}

#[test]
fn a_cluster_counts_on_every_primary_and_goes_on_without_one() {
    let mut cluster = RedisCluster::start();
    let names = policy_on_each(&cluster);
    let limit = "{name: l, requests: 30, period: 1h, scope: Global, algorithm: SlidingWindow, failureMode: Open}";
    let yaml: String = names.iter().map(|name| limited(&format!("{name}.test"), limit)).collect();
    let gateways = [(); 2].map(|()| start(&cluster.urls(), &yaml, &["--redis-timeout", "200ms"]));
    let hosts = names.map(|name| format!("{name}.test"));
    for host in &hosts {
        assert_eq!(passed(&gateways[0], host, 10) + passed(&gateways[1], host, 10), 20, "{host}");
    }
    for primary in &cluster.nodes[..3] {
        assert_eq!(primary.cli(&["dbsize"]).parse::<u32>().unwrap().min(1), 1, "each holds something");
    }
    // Replication is not waited for when a request passes.
    for (primary, replica) in cluster.nodes.iter().zip(&cluster.nodes[3..]) {
        gateways[0].wait_until("its replica has it", || primary.cli(&["dbsize"]) <= replica.cli(&["dbsize"]));
    }
    cluster.nodes[0].kill();
    for gateway in &gateways {
        gateway.wait_until("it is seen", || !is_up(gateway));
    }
    // Nobody is refused for what cannot be counted.
    assert_eq!(passed(&gateways[0], &hosts[0], 5), 5);
    for gateway in &gateways {
        gateway.wait_until("a replica has taken its place", || is_up(gateway));
    }
    for host in &hosts {
        assert_eq!(passed(&gateways[1], host, 20), 10, "{host} goes on from what was counted");
    }
}

#[test]
fn a_key_is_followed_while_it_moves() {
    let cluster = RedisCluster::start();
    let [name, ..] = policy_on_each(&cluster);
    let limit = "{name: l, requests: 40, period: 1h, scope: Global, algorithm: SlidingWindow, failureMode: Closed}";
    let host = format!("{name}.test");
    let gateway = start(&cluster.urls(), &limited(&host, limit), &["--redis-timeout", "2s"]);
    let slot = cluster.nodes[0].cli(&["cluster", "keyslot", &format!("{{default/{name}}}")]);
    let (from, to) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (from_id, to_id) = (from.cli(&["cluster", "myid"]), to.cli(&["cluster", "myid"]));
    assert_eq!(passed(&gateway, &host, 10), 10);
    assert_eq!(to.cli(&["cluster", "setslot", &slot, "importing", &from_id]), "OK");
    assert_eq!(from.cli(&["cluster", "setslot", &slot, "migrating", &to_id]), "OK");
    assert_eq!(passed(&gateway, &host, 10), 10, "it is still where it was");
    for key in from.cli(&["cluster", "getkeysinslot", &slot, "10"]).lines() {
        assert_eq!(from.cli(&["migrate", "127.0.0.1", &to.port.to_string(), key, "0", "5000"]), "OK");
    }
    assert_eq!(passed(&gateway, &host, 10), 10, "it is asked for where it is going");
    for node in [to, from, &cluster.nodes[2]] {
        assert_eq!(node.cli(&["cluster", "setslot", &slot, "node", &to_id]), "OK");
    }
    assert_eq!(passed(&gateway, &host, 20), 10, "it has moved, with its count");
}

#[test]
fn a_shared_limit_is_counted_over_tls() {
    let authority = Authority::new();
    let redis = Redis::with_tls(&authority);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let yaml = limited("tls.test", "{name: l, requests: 5, period: 1h, scope: Global, failureMode: Closed}");
    let url = format!("rediss://localhost:{}", redis.port);
    let flags = ["--redis-ca-file", ca.to_str().unwrap(), "--redis-timeout", "5s"];
    let gateways = [(); 2].map(|()| start(&url, &yaml, &flags));
    assert_eq!(passed(&gateways[0], "tls.test", 3) + passed(&gateways[1], "tls.test", 5), 5);
}
