//! Outputs that take nothing, or no more: a pipe that nobody reads, a disk that is full, a collector that never answers.
//! No request fails, none waits.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::backend::Backend;
use crate::harness::collector::Collector;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::objects::route;
use crate::harness::size;

/// A slice of load for each gateway, in turn, so that what else the machine does concerns all alike.
const LOAD: Load =
    Load { connections: 4, requests: 150, pace: Pace::Even(300), asks: &[Ask { host: "test", path: "/", body: "" }] };
/// `O_NONBLOCK`.
const NON_BLOCKING: i32 = 0o4000;

/// A pipe with no room left, held open and never read.
fn full_pipe(path: &Path) -> fs::File {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(NON_BLOCKING).open(path).unwrap();
    while pipe.write_all(&[b'\n'; 4096]).is_ok() {}
    while pipe.write_all(b"\n").is_ok() {}
    pipe
}

/// The binary by a shell that has done something before.
fn after(script: &str, shell: &[&str]) -> Command {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", script]).arg(binary());
    // Few spans are kept, so that many are lost.
    command.envs([("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")]);
    command
}

fn counted(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.metrics();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

/// Whole lines of JSON in a file.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn nobody_waits_for_an_output_that_takes_nothing() {
    let (backend, collector, folder) = (Backend::named("b"), Collector::start(), tempfile::tempdir().unwrap());
    let objects = backend.service("b") + &route("b", "");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let (log, disk) = (folder.path().join("access.log"), folder.path().join("disk"));
    let to_file = format!("json,file={}", log.display());

    let calm = Gateway::start_as(
        after("exec \"$0\" \"$@\"", &["sh"]),
        &objects,
        &["--access-log", &to_file, "--otlp-endpoint", &collector.url()],
    );
    let pipe = folder.path().join("pipe");
    let unread = full_pipe(&pipe);
    let blocked = Gateway::start_as(
        after(&format!("exec \"$0\" \"$@\" >{}", pipe.display()), &["sh"]),
        &objects,
        &["--access-log", "json", "--otlp-endpoint", &collector.url()],
    );
    // A disk of its own that only it sees, and that has a name for the log and no room for a line.
    fs::create_dir(&disk).unwrap();
    let at = disk.display();
    let fill = format!(
        "mount -t tmpfs -o size=64k tmpfs {at} && touch {at}/access.log && {{ cat /dev/zero >{at}/filler 2>/dev/null; \
         exec \"$0\" \"$@\"; }}"
    );
    let full = Gateway::start_as(
        after(&fill, &["unshare", "--mount", "sh"]),
        &objects,
        &["--access-log", &format!("json,file={at}/access.log"), "--otlp-endpoint", &collector.url()],
    );
    let unheard = Gateway::start_as(
        after("exec \"$0\" \"$@\"", &["sh"]),
        &objects,
        &["--access-log", &to_file, "--otlp-endpoint", &silent],
    );

    let gateways = [("calm", &calm), ("blocked", &blocked), ("full", &full), ("unheard", &unheard)];
    let load = Load { requests: size::of(LOAD.requests, 600), ..LOAD };
    let rounds = size::of(3, 24);
    let mut latencies = [const { Vec::new() }; 4];
    for round in 0..rounds {
        // There and back, so that nobody always comes after the same one.
        let there = round % 2 == 0;
        for turn in 0..gateways.len() {
            let number = if there { turn } else { gateways.len() - 1 - turn };
            let ((_, gateway), latencies) = (gateways[number], &mut latencies[number]);
            let outcome = load.start(gateway.http).outcome();
            assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
            latencies.push([500, 990].map(|share| outcome.within(share)));
        }
    }
    let within = latencies.map(|slices| [0, 1].map(|share| size::median(slices.iter().map(|slice| slice[share]))));
    for ((name, _), [half, nearly_all]) in gateways.iter().zip(within) {
        println!("{name}: half within {half:?}, 99 % within {nearly_all:?}");
    }
    for ((name, _), [_, nearly_all]) in gateways.iter().zip(within) {
        assert!(nearly_all <= size::hardly_longer(within[0][1]), "{name}: {within:?}");
    }

    let asked = u64::from(rounds * load.requests);
    full.wait_until("all lines are counted as lost", || counted(&full, "headgate_access_log_dropped_total") == asked);
    assert!(counted(&unheard, "headgate_traces_dropped_total") >= asked - 16 - 4 - 1);
    assert_eq!(counted(&calm, "headgate_access_log_dropped_total"), 0);
    // Its disk as it sees it: once there is room, there are lines, and none is torn.
    let inside = PathBuf::from(format!("/proc/{}/root{at}", full.pid()));
    assert!(lines(&inside.join("access.log")).is_empty());
    fs::remove_file(inside.join("filler")).unwrap();
    assert_eq!(get(full.http, "/again").unwrap().status, 200);
    full.wait_until("there is a line", || {
        lines(&inside.join("access.log")).iter().any(|line| line["path"] == "/again")
    });
    drop(unread);
}
