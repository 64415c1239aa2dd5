//! The admin port and the commands that ask it.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::{Response, get, get_host, request};
use crate::harness::objects::route;
use crate::harness::redis::Redis;
use crate::harness::run::headgate;

/// Every name in a value, `problems[].code`, with the type of what is there.
fn shape(value: &Value, path: &str, into: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| shape(value, &format!("{path}[]"), into)),
        Value::String(_) => drop(into.insert(format!("{path}: text"))),
        Value::Number(_) => drop(into.insert(format!("{path}: number"))),
        Value::Bool(_) => drop(into.insert(format!("{path}: boolean"))),
        Value::Null => drop(into.insert(format!("{path}: null"))),
    }
}

#[test]
fn the_api_has_the_shape_that_is_promised() {
    let backend = Backend::named("b");
    let secret = Authority::new().issue(&["a.test"]).secret("tls");
    let yaml = backend.service("b")
        + &secret
        + "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: shop}\nspec:\n  hostnames: [a.test]\n  \
           tls: {certificateRefs: [{name: tls}]}\n  rules:\n  - {name: good, backendRefs: [{name: b, port: 80}]}\n  - {name: bad, \
           matches: [{path: {value: /bad}}], backendRefs: [{name: none, port: 80}]}\n"
        + "---\napiVersion: headgate.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: p}\nspec:\n  targetRefs: [{group: \
           headgate.dev, kind: GatewayRoute, name: other}]\n  limits: []\n";
    let gateway = Gateway::start(&yaml);
    let mut seen = std::collections::BTreeSet::new();
    for name in ["generation", "routes", "backends", "policies", "objects", "certificates", "problems", "log-level"] {
        shape(&gateway.api(name), name, &mut seen);
    }
    shape(&gateway.api("explain?url=http://a.test/x"), "explain", &mut seen);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/api-v1.txt");
    let shown = seen.into_iter().map(|line| line + "\n").collect::<String>();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, &shown).unwrap();
    }
    let promised = fs::read_to_string(golden).unwrap();
    for line in promised.lines() {
        assert!(shown.lines().any(|shown| shown == line), "{line} is promised and is not there:\n{shown}");
    }
    for line in shown.lines() {
        assert!(promised.lines().any(|promised| promised == line), "{line} is new: UPDATE_GOLDEN=1 adds it");
    }
}

#[test]
fn problems_say_in_which_line_they_are() {
    let gateway = Gateway::start(&route("nowhere", ""));
    let problem = gateway.api("problems")["problems"][0].clone();
    let place = problem["place"].as_str().unwrap_or_else(|| panic!("{problem}"));
    let (file, rest) = place.split_once(".yaml:").unwrap();
    assert!(file.ends_with("objects") && rest.split(':').all(|number| number.parse::<u32>().is_ok()), "{place}");
    let admin = format!("http://{}", gateway.admin);
    let said = headgate(&["status", "--admin", &admin]);
    assert_eq!(said.code, 1, "{said:?}");
    let first = said.out.lines().next().unwrap();
    assert!(first.starts_with("error[HG1201]: "), "what is wrong comes first: {}", said.out);
    assert!(said.out.contains(place) && said.out.contains("ready, generation 1"), "{}", said.out);
    let json = headgate(&["status", "--admin", &admin, "-o", "json"]).json();
    assert_eq!(json["problems"][0]["code"], "HG1201");
    gateway.apply(&(Backend::named("b").service("nowhere") + &route("nowhere", "")));
    let said = headgate(&["status", "--admin", &admin]);
    assert_eq!((said.code, said.out.lines().last()), (0, Some("nothing is wrong")), "{said:?}");
}

#[test]
fn tap_shows_the_requests_that_are_asked_for() {
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(backend.service("b") + &route("b", "")));
    let mut tap = Command::new(binary())
        .args(["tap", "--admin", &format!("http://{}", gateway.admin), "--path", "/orders", "-n", "2", "-o", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tap.stdout.take().unwrap()).lines().map(Result::unwrap);
    // Requests that are over before somebody watches are not shown, so they are made until one is.
    let (told, heard) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in lines.by_ref() {
            told.send(serde_json::from_str::<Value>(&line).unwrap()).unwrap();
        }
    });
    let mut first = None;
    gateway.wait_until("a request is shown", || {
        get_host(gateway.http, "a.test", "/other").unwrap();
        get_host(gateway.http, "a.test", "/orders/1?secret=canary").unwrap();
        first = heard.try_recv().ok();
        first.is_some()
    });
    let first = first.unwrap();
    assert_eq!(
        (&first["path"], &first["reason"], &first["route"]),
        (&json!("/orders/1"), &json!("ok"), &json!("default/all"))
    );
    assert_eq!(first["query"], "secret=REDACTED");
    get_host(gateway.http, "a.test", "/orders/2").unwrap();
    assert!(tap.wait().unwrap().success(), "it ends after as many as were asked for");
    reading.join().unwrap();
    let wrong = headgate(&["tap", "--admin", &format!("http://{}", gateway.admin), "--status", "ok"]);
    assert!(wrong.code == 2 && wrong.err.contains("write 404, 5xx or 400-499"), "{wrong:?}");
}

#[test]
fn what_is_logged_changes_while_running() {
    let gateway = Gateway::start("");
    let put = |level: &str, headers: &[(&str, &str)]| -> Response {
        request(gateway.admin, "PUT", "x", "/api/v1/log-level", headers, level.as_bytes()).unwrap()
    };
    assert_eq!(gateway.api("log-level")["level"], "headgate=debug");
    assert_eq!(put("error", &[("Origin", "http://evil.test")]).status, 403);
    assert_eq!(put("info,headgate=loud", &[]).status, 400);
    assert_eq!(put("error", &[]).json()["level"], "error");
    gateway.apply(&route("nowhere", ""));
    put("warn", &[]);
    gateway.apply(&route("elsewhere", ""));
    gateway.wait_for_line(&["elsewhere"]);
    assert!(!gateway.log().iter().any(|line| line.contains("nowhere")), "a warning was logged: {:?}", gateway.log());
}

#[test]
fn a_profile_names_our_functions() {
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(backend.service("b") + &route("b", "")));
    let heap = get(gateway.admin, "/debug/pprof/heap").unwrap();
    assert!(heap.status == 501 && heap.text().contains("mimalloc"), "{}", heap.text());
    let mut asking = TcpStream::connect(gateway.admin).unwrap();
    asking.write_all(b"GET /debug/pprof/profile?seconds=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    asking.set_nonblocking(true).unwrap();
    let mut first = [0; 1];
    // Load until the answer begins to come.
    while asking.peek(&mut first).is_err() {
        for _ in 0..20 {
            assert_eq!(get(gateway.http, "/").unwrap().status, 200);
        }
    }
    asking.set_nonblocking(false).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut asking, &mut bytes).unwrap();
    let answer = crate::harness::http::parse(&bytes).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cpu.pb");
    fs::write(&path, &answer.body).unwrap();
    let said = Command::new("go")
        .args(["tool", "pprof", "-top", "-cum", "-nodecount=400", path.to_str().unwrap()])
        .env("PPROF_TMPDIR", folder.path())
        .output()
        .unwrap();
    let top = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success() && top.contains("headgate::proxy::"),
        "{top}\n{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(get(gateway.admin, "/debug/pprof/profile?seconds=1000").unwrap().status, 400);
}

#[test]
fn doctor_tries_redis_as_a_worker_would() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("kubeconfig");
    let ask = |flags: &[&str]| headgate(&[&["doctor", "--kubeconfig", none.to_str().unwrap()], flags].concat()).out;
    let (open, locked) = (Redis::start(), Redis::with_password("c4nary-of-redis"));
    let copy = Redis::replica_of(&open);
    let line = |said: &str, begins: &str| said.lines().find(|line| line.starts_with(begins)).map(str::to_owned);
    assert!(line(&ask(&[]), "--     Redis: give --redis-url").is_some());
    let said = ask(&["--redis-url", &format!("{},{}", open.url(), copy.url())]);
    assert!(line(&said, &format!("ok     Redis {}: a write took ", open.address())).is_some(), "{said}");
    assert!(line(&said, &format!("ok     Redis {}: a copy of another one", copy.address())).is_some(), "{said}");
    let said = ask(&["--redis-url", &copy.url()]);
    assert!(line(&said, "wrong  Redis: no server takes writes").is_some(), "{said}");
    let wrong = format!("redis://:c4nary-that-is-wrong@{}", locked.address());
    let said = ask(&["--redis-url", &wrong]);
    assert!(line(&said, &format!("wrong  Redis {}: ", locked.address())).is_some(), "{said}");
    assert!(said.contains("HEADGATE_REDIS_PASSWORD") && !said.contains("c4nary"), "{said}");
    let right = format!("redis://:c4nary-of-redis@{}", locked.address());
    assert!(line(&ask(&["--redis-url", &right]), "ok     Redis ").is_some());
    assert!(line(&ask(&["--redis-url", "redis://127.0.0.1:1"]), "wrong  Redis 127.0.0.1:1: ").is_some());
    assert!(ask(&["--redis-url", "http://x"]).contains("wrong  Redis: --redis-url: URL 1 is none of Redis"));
}

#[test]
fn doctor_says_what_is_missing_and_what_to_do() {
    let gateway = Gateway::start(&route("nowhere", ""));
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("kubeconfig");
    fs::write(&none, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n").unwrap();
    let admin = format!("http://{}", gateway.admin);
    let said = headgate(&["doctor", "--kubeconfig", none.to_str().unwrap(), "--admin", &admin]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("wrong  API server: "), "{}", said.out);
    assert!(
        said.out.contains("wrong  declared objects: 1 problems\n       = help: headgate status lists them"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("file descriptors") && said.out.contains("Headgate: ready, generation 1"),
        "{}",
        said.out
    );
}
