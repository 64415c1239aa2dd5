//! The access log: who asked what and what became of it, without a request ever waiting for its line.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::{get, get_host, request};
use crate::harness::objects::route;

/// Lines that have arrived in a file.
fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits for so many lines, each an object of JSON.
fn objects(gateway: &Gateway, path: &Path, count: usize) -> Vec<Value> {
    gateway.wait_until("the lines have arrived", || lines(path).len() >= count);
    let lines = lines(path);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn dropped(gateway: &Gateway) -> u64 {
    let metrics = gateway.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("headgate_access_log_dropped_total ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_head_that_is_too_large_is_answered_and_told_whatever_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let setting = format!("json,file={}", path.display());
    let gateway = Gateway::start_with("", &["--access-log", &setting, "--workers", "1"]);
    let names: Vec<String> = (0..101).map(|number| format!("x-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    for mut client in [Client::http1(gateway.http), Client::http2(gateway.http)] {
        let answer = client.request("GET", "shop.test", "/", &headers).unwrap();
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["status"]), (431, &json!(431)), "{problem}");
        assert_eq!(problem["detail"], "request head over 32 KiB or 100 fields");
    }
    for line in objects(&gateway, &path, 2) {
        assert_eq!((&line["status"], &line["reason"]), (&json!(431), &json!("header_too_large")), "{line}");
    }
}

#[test]
fn a_line_tells_a_request_and_no_secret() {
    let backend = Backend::named("b");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let setting = format!("json,file={}", path.display());
    // One worker, so that the lines come in the order of their requests.
    let flags = ["--access-log", &setting, "--workers", "1"];
    let gateway = Gateway::start_with(&(backend.service("b") + &route("b", "")), &flags);
    let headers = [
        ("Authorization", "Bearer canary-1"),
        ("Cookie", "session=canary-2"),
        ("X-Api-Key", "canary-3"),
        ("Referer", "https://u:canary-4@a.example/x?k=canary-5"),
        ("User-Agent", "probe \"1\""),
        ("X-Request-Id", "mine"),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let answer = request(gateway.http, "POST", "shop.test", "/a%20b?token=canary-6&x", &headers, b"12345").unwrap();
    assert_eq!(answer.status, 200);
    let refused = request(gateway.http, "GET", "shop.test", "/a%00b", &[], b"").unwrap();
    assert_eq!(refused.status, 400);
    let told = objects(&gateway, &path, 2);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let field = |name: &str| told[0][name].clone();
    for (name, value) in [
        ("method", "POST"),
        ("scheme", "http"),
        ("host", "shop.test"),
        ("path", "/a%20b"),
        ("query", "token=REDACTED&REDACTED"),
        ("protocol", "HTTP/1.1"),
        ("reason", "ok"),
        ("client_ip", "127.0.0.1"),
        ("peer_ip", "127.0.0.1"),
        ("route", "default/all"),
        ("rule", "all"),
        ("service", "default/b:80"),
        ("request_id", "mine"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("user_agent", "probe \"1\""),
        ("referer", "https://a.example/x?k=REDACTED"),
    ] {
        assert_eq!(field(name), value, "{name}: {}", told[0]);
    }
    assert_eq!(field("endpoint"), backend.address.to_string());
    for (name, value) in [("status", 200), ("bytes_in", 5), ("bytes_out", 1), ("attempts", 1)] {
        assert_eq!(field(name), value, "{name}");
    }
    assert!(field("duration_ms").as_f64().unwrap() >= field("upstream_ms").as_f64().unwrap());
    assert_eq!(
        (&told[1]["status"], &told[1]["reason"], &told[1]["route"]),
        (&400.into(), &"bad_request".into(), &Value::Null)
    );
    assert_eq!(told[1]["request_id"], refused.header("x-request-id").unwrap());
}

#[test]
fn rules_and_filters_choose_lines() {
    let backend = Backend::named("b");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let rule = |name: &str, more: &str| {
        format!("{{name: {name}, matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: b, port: 80}}]{more}}}")
    };
    let rules = [
        rule("silent", ", observability: {accessLog: false}"),
        rule("always", ", observability: {accessLog: true}"),
        rule("plain", ""),
    ];
    let yaml = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: r}}\nspec: {{rules: [{}]}}\n",
        rules.join(", ")
    );
    let setting = format!("file={},status=4xx,text:{{status}} {{path}}", path.display());
    let flags = ["--access-log", &setting, "--workers", "1"];
    let gateway = Gateway::start_with(&(backend.service("b") + &yaml), &flags);
    for target in ["/silent", "/always", "/plain", "/nothing"] {
        get(gateway.http, target).unwrap();
    }
    gateway.wait_until("the lines have arrived", || lines(&path).len() >= 2);
    assert_eq!(lines(&path), ["200 /always", "404 /nothing"]);
    let listed = gateway.api("routes").to_string();
    assert!(listed.contains("\"accessLog\":false"), "{listed}");
}

#[test]
fn a_file_that_was_moved_aside_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let setting = format!("file={},text:{{path}}", path.display());
    let gateway = Gateway::start_with("", &["--access-log", &setting]);
    get_host(gateway.http, "a.test", "/before").unwrap();
    gateway.wait_until("the first line has arrived", || lines(&path).len() == 1);
    fs::rename(&path, &moved).unwrap();
    gateway.signal("USR1");
    gateway.wait_until("the file is there again", || path.exists());
    get_host(gateway.http, "a.test", "/after").unwrap();
    gateway.wait_until("the second line has arrived", || lines(&path).len() == 1);
    assert_eq!((lines(&moved), lines(&path)), (vec!["/before".to_owned()], vec!["/after".to_owned()]));
}

#[test]
fn nobody_waits_for_an_output_that_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Held open and never read.
    let unread = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$0\" \"$@\" >{}", pipe.display()), binary().to_str().unwrap()]);
    let mut gateway = Gateway::start_as(command, "", &["--access-log", "json", "--workers", "1"]);
    // Long lines, so that few requests fill everything there is room for.
    let path = format!("/{}", "x".repeat(7_000));
    gateway.wait_until("lines are lost", || {
        for _ in 0..100 {
            assert_eq!(get(gateway.http, &path).unwrap().status, 404);
        }
        dropped(&gateway) > 0
    });
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), Some(0), "an output that nobody reads does not keep the process");
    drop(unread);
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let backend = Backend::named("b");
    let gateway =
        Gateway::start_with(&(backend.service("b") + &route("b", "")), &["--access-log", "json,file=/dev/full"]);
    for _ in 0..200 {
        assert_eq!(get(gateway.http, "/").unwrap().status, 200);
    }
    gateway.wait_until("all lines are counted as lost", || dropped(&gateway) == 200);
    gateway.wait_for_line(&["the access log cannot be written"]);
}
