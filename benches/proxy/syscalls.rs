//! System calls per request, counted on the worker's thread by strace.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::identity::Identity;
use crate::objects;
use crate::offer::{Load, Request};
use crate::server::{Ours, Server};
use crate::table::{Goal, Row};

/// A hundred on each connection.
const REQUESTS: u32 = 6_400;
/// The calls that move a request's or a response's bytes.
const DATA: [&str; 12] = [
    "read", "write", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "pread64", "pwrite64", "splice",
    "sendfile",
];

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (backend, identity, folder) = (Server::backend()?, Identity::new()?, tempfile::tempdir()?);
    let objects = objects::all(&backend, &identity);
    let (plain, featured) = (Request::get("/"), objects::featured()?);
    let log = objects::access_log(&folder);
    let flags = ["--access-log", &log, "--otlp-endpoint", objects::NO_COLLECTOR];
    let all_on = Ours { flags: &flags, ..Ours::serving(&objects) };
    Ok(vec![
        count("data system calls", &Server::ours(&Ours::serving(&objects), &plain)?, &plain)?,
        count("data system calls, all features on", &Server::ours(&all_on, &featured)?, &featured)?,
    ])
}

fn count(what: &str, proxy: &Server, request: &Request) -> anyhow::Result<Row> {
    let mut load = Load::warm(proxy, request, &["--requests", &REQUESTS.to_string()], None)?;

    let counted = tempfile::NamedTempFile::new()?;
    let thread = proxy.worker_thread()?;
    let mut strace = Command::new("strace")
        .args(["-c", "-U", "calls,name", "-o"])
        .arg(counted.path())
        .args(["-p", &thread.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .context("strace cannot be started: apt-get install strace")?;
    while !is_traced(thread)? {
        std::thread::yield_now();
    }
    let done = load.run(proxy);
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
    strace.wait()?;
    let done = done?;

    let counts = counts(&fs::read_to_string(counted.path())?);
    let per_request = |filter: &dyn Fn(&str) -> bool| {
        counts.iter().filter(|(name, _)| filter(name)).map(|(_, count)| *count as f64).sum::<f64>() / done.requests
    };
    let each: Vec<_> =
        counts.iter().map(|(name, count)| format!("{name} {:.3}", *count as f64 / done.requests)).collect();
    Ok(Row {
        what: what.to_owned(),
        figure: per_request(&|name| DATA.contains(&name)),
        goal: Some(Goal::count(4.0)),
        more: format!("{REQUESTS} keep-alive GETs, 64 connections, 128-byte body: {}", each.join(", ")),
    })
}

fn is_traced(thread: u32) -> anyhow::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    Ok(status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0")))
}

/// Lines such as `   40000 sendto`.
fn counts(table: &str) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = table
        .lines()
        .filter_map(|line| {
            let (count, name) = line.trim().split_once(char::is_whitespace)?;
            Some((name.trim().to_owned(), count.parse().ok()?))
        })
        .filter(|(name, _)| name != "total")
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
