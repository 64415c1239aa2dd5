//! A real Prometheus scraping a real Headgate: what it reads is well-formed, and every expression of the board and of the
//! alerts has an answer.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::backend::{Backend, service};
use crate::harness::certs::Authority;
use crate::harness::gateway::Gateway;
use crate::harness::http::{get, get_host, request};
use crate::harness::issuer::{self, Signer};
use crate::harness::redis::Redis;

const BOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/headgate/files/dashboard.json");
const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/headgate/files/alerts.yaml");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alerts/rules_test.yaml");

/// Expressions without data here: nothing of the kind happens in this test.
const SILENT: [&str; 4] = [
    "headgate_leader",
    "headgate_upstream_retries_total",
    "headgate_upstream_ejections_total",
    "headgate_upstream_circuit_open",
];

/// Reasons for which somebody is refused here, and all of which a board of requests must show.
const REFUSED: [&str; 4] = ["rate_limited", "jwt_missing", "jwt_invalid", "ext_auth_error"];

struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It does not tell which port it got, so one is chosen for it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{ALERTS}]\nscrape_configs:\n- \
             {{job_name: headgate, static_configs: [{{targets: ['{}']}}]}}\n",
            gateway.admin
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}/prometheus.yml", folder.path().display()))
            .arg(format!("--storage.tsdb.path={}/data", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus; tests/run installs it");
        Self { child, address, _folder: folder }
    }

    /// The result of an expression, or what is wrong with it.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect();
        let answer = get(self.address, &format!("/api/v1/query?query={encoded}")).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer.to_string()),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway with traffic of several kinds behind it, and who stands around it.
struct Busy {
    _backend: Backend,
    _redis: Redis,
    gateway: Gateway,
}

fn busy() -> Busy {
    let backend = Backend::named("b");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rule = |name: &str, backend: &str| {
        format!(
            "{{name: {name}, matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: {backend}, port: 80}}]}}"
        )
    };
    let asking = |name: &str, what: &str| rule(name, "b").replace("}]}", &format!("}}], {what}}}"));
    let rules = [
        rule("ok", "b"),
        rule("down", "gone"),
        rule("missing", "nowhere"),
        rule("limited", "b"),
        rule("shared", "b"),
        asking("token", "jwt: {providers: [main], requireTLS: false}"),
        asking("asked", "filters: [{type: ExternalAuth, externalAuth: {backendRef: {name: gone, port: 80}}}]"),
    ]
    .join(", ");
    let limit = |rule: &str, scope: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: {rule}}}\nspec: \
             {{targetRefs: [{{group: headgate.dev, kind: GatewayRoute, name: shop, sectionName: {rule}}}], limits: \
             [{{name: all, requests: 1, period: 1h, scope: {scope}}}]}}\n"
        )
    };
    let keys = json!({"keys": [Signer::p256().jwk("one")]}).to_string();
    let secret = Authority::new().issue(&["a.test"]).secret("tls");
    let yaml = backend.service("b")
        + &service("gone", &[nobody])
        + &secret
        + &issuer::secret("keys", "jwks", &keys)
        + &limit("limited", "Local")
        + &limit("shared", "Global")
        + &format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: shop}}\nspec: {{hostnames: \
             [a.test], tls: {{certificateRefs: [{{name: tls}}]}}, jwtProviders: [{{name: main, algorithms: [ES256], \
             localJWKS: {{valueRef: {{name: keys}}}}}}], rules: [{rules}]}}\n"
        );
    let redis = Redis::start();
    let gateway = Gateway::start_with(&yaml, &["--redis-url", &redis.url()]);
    gateway.wait_until("the store is up", || gateway.metrics().contains("headgate_ratelimit_store_up 1"));
    Busy { _backend: backend, _redis: redis, gateway }
}

fn traffic(gateway: &Gateway) {
    for path in ["/ok", "/ok", "/ok", "/down", "/missing", "/limited", "/limited", "/shared", "/token", "/asked"] {
        get_host(gateway.http, "a.test", path).unwrap();
    }
    request(gateway.http, "GET", "a.test", "/token", &[("Authorization", "Bearer e30.e30.x")], b"").unwrap();
    request(gateway.http, "POST", "a.test", "/ok", &[], b"12345").unwrap();
    get_host(gateway.http, "other.test", "/").unwrap();
}

#[test]
fn metrics_are_as_promtool_wants_them() {
    let busy = busy();
    let gateway = &busy.gateway;
    traffic(gateway);
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool; tests/run installs it");
    check.stdin.take().unwrap().write_all(gateway.metrics().as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn alerts_fire_when_they_should() {
    for arguments in [["check", "rules", ALERTS], ["test", "rules", CASES]] {
        let said = Command::new("promtool").args(arguments).output().expect("promtool; tests/run installs it");
        assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stdout));
    }
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(ALERTS).unwrap()).unwrap();
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.md")).unwrap();
    let cases = fs::read_to_string(CASES).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        assert!(cases.contains(name), "{name} has no case");
        let anchor = rule["annotations"]["runbook_url"].as_str().unwrap().rsplit_once('#').unwrap().1.to_owned();
        let heading = documented.lines().any(|line| line.to_lowercase() == format!("## {anchor}"));
        assert!(heading, "{name}: docs/alerts.md has no {anchor}");
    }
}

#[test]
fn every_expression_has_an_answer() {
    let busy = busy();
    let gateway = &busy.gateway;
    let prometheus = Prometheus::scraping(gateway);
    gateway.wait_until("some scrapes have been made", || {
        traffic(gateway);
        let rate = prometheus.query("sum(rate(headgate_requests_total[10s])) > 0 and count_over_time(up[10s]) >= 3");
        rate.is_ok_and(|result| !result.is_empty())
            || prometheus.query("count_over_time(up[10s]) >= 3").is_ok_and(|result| !result.is_empty())
    });
    let board: Value = serde_json::from_str(&fs::read_to_string(BOARD).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut empty = Vec::new();
    let mut count = 0;
    for (panel, target) in panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten().map(move |target| (panel, target)))
    {
        let mut expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "30s");
        for variable in ["$route", "$service", "$listener", "$namespace"] {
            expression = expression.replace(variable, ".*");
        }
        assert!(!expression.contains('$'), "{expression}");
        let result = prometheus.query(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        count += 1;
        if result.is_empty() && !SILENT.iter().any(|silent| expression.contains(silent)) {
            empty.push(format!("{}: {expression}", panel["title"]));
        }
    }
    assert!(count > 30, "{count}");
    assert!(empty.is_empty(), "{empty:#?}");
    for reason in REFUSED {
        let expression = format!("sum(headgate_requests_total{{reason=\"{reason}\",route=\"default/shop\"}})");
        assert!(!prometheus.query(&expression).unwrap().is_empty(), "{expression}");
    }
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(ALERTS).unwrap()).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        prometheus.query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    }
}
