//! What is held in memory: for each idle connection, route and endpoint, as the slope between few and many.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use h2::client::SendRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::LocalOptions;

use crate::identity::{Identity, Stream, connect};
use crate::objects;
use crate::offer::{NAME, Request, line, pipes};
use crate::server::{OTHER_CORE, Ours, Process, Server, pinned};
use crate::table::{Goal, Row};

/// Connections that have had one answer and keep quiet.
#[derive(Args, Clone)]
pub(crate) struct Hold {
    address: SocketAddr,
    /// Over TLS, trusting this certificate.
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// Of HTTP/2.
    #[arg(long)]
    http2: bool,
}

impl Hold {
    /// Makes as many as each line of its input says there shall be, says `ready`, and keeps them.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let mut connections = Vec::new();
            for wanted in std::io::stdin().lock().lines() {
                let wanted: usize = wanted?.parse()?;
                while connections.len() < wanted {
                    let mut connection = connect(self.address, self.certificate.as_deref()).await?;
                    if self.http2 {
                        connections.push(Held::Http2(ask(connection).await?));
                        continue;
                    }
                    connection.write_all(format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n").as_bytes()).await?;
                    connection.flush().await?;
                    let mut answer = vec![0; 4096];
                    let count = connection.read(&mut answer).await?;
                    ensure!(
                        answer.get(..count).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200")),
                        "not answered"
                    );
                    connections.push(Held::Http1(connection));
                }
                println!("ready");
            }
            Ok(())
        })
    }
}

/// A connection that is kept.
#[expect(dead_code, reason = "they only have to live")]
enum Held {
    Http1(Stream),
    Http2(SendRequest<Bytes>),
}

/// Asks once over HTTP/2, and waits for all of the answer.
async fn ask(connection: Stream) -> anyhow::Result<SendRequest<Bytes>> {
    let (client, driver) = h2::client::handshake(connection).await?;
    tokio::task::spawn_local(driver);
    let mut client = client.ready().await?;
    let request = http::Request::get(format!("http://{NAME}/")).body(())?;
    let answer = client.send_request(request, true)?.0.await?;
    ensure!(answer.status() == http::StatusCode::OK, "not answered");
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    Ok(client)
}

/// Idle connections, in clear and over TLS.
pub(crate) fn connections() -> anyhow::Result<Vec<Row>> {
    const COUNTS: [u32; 2] = [2_000, 9_000];
    let (backend, identity) = (Server::backend()?, Identity::new()?);
    let objects = objects::all(&backend, &identity);
    let mut rows = Vec::new();
    for (what, goal, secure, http2) in [
        ("HTTP/1.1", Some(10.0), false, false),
        ("TLS 1.3", Some(32.0), true, false),
        ("HTTP/2 in clear", None, false, true),
    ] {
        let proxy = Server::ours(&Ours::serving(&objects), &Request::get("/"))?;
        let mut command = pinned(OTHER_CORE, std::env::current_exe()?.as_os_str());
        command.arg("hold").arg(if secure { proxy.https } else { proxy.http }.to_string());
        if secure {
            command.arg("--certificate").arg(&identity.file);
        }
        if http2 {
            command.arg("--http2");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, mut output) = pipes(&mut child)?;
        let _holder = Process::of(child);
        let mut memory = Vec::new();
        for count in COUNTS {
            writeln!(input, "{count}")?;
            ensure!(line(&mut output)? == "ready", "the connections could not be made");
            memory.push(proxy.memory()?);
        }
        rows.push(slope(
            &format!("KiB for an idle connection, {what}"),
            goal.map(Goal::at_most),
            COUNTS,
            &memory,
            "connections",
        ));
    }
    Ok(rows)
}

/// A process that serves next to nothing.
pub(crate) fn least() -> anyhow::Result<Vec<Row>> {
    let (backend, identity) = (Server::backend()?, Identity::new()?);
    let server = Server::ours(&Ours::serving(&objects::all(&backend, &identity)), &Request::get("/"))?;
    let figure = server.memory()? as f64 / f64::from(1 << 20);
    Ok(vec![Row {
        what: "MiB of a process with one worker".to_owned(),
        figure,
        goal: None,
        more: "5 rules".to_owned(),
    }])
}

/// Routes: hosts of ten paths each, in one Service.
pub(crate) fn routes() -> anyhow::Result<Vec<Row>> {
    const COUNTS: [u32; 2] = [10_000, 100_000];
    let backend = Server::backend()?;
    let mut memory = Vec::new();
    for routes in COUNTS {
        let (hosts, ready) = (routes / 10, Request { hosts: 1, ..Request::default() });
        memory.push(Server::ours(&Ours::serving(&objects::hosts(&backend, hosts)), &ready)?.memory()?);
    }
    Ok(vec![slope("KiB for a route", None, COUNTS, &memory, "rules in routes of ten")])
}

/// Endpoints: Services of a hundred each, one of whose slices changes nothing else.
pub(crate) fn endpoints() -> anyhow::Result<Vec<Row>> {
    const COUNTS: [u32; 2] = [10_000, 100_000];
    let (backend, identity) = (Server::backend()?, Identity::new()?);
    let mut memory = Vec::new();
    for endpoints in COUNTS {
        let mut all = objects::all(&backend, &identity);
        for service in 0..endpoints / 100 {
            let name = format!("s{service}");
            let [_, _, b, c] = service.to_be_bytes();
            let addresses: Vec<_> = (0..100).map(|number| format!("10.{b}.{c}.{number}")).collect();
            all.push(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"ports": [{"name": "http", "port": 80}]},
            }));
            all.push(objects::slice(&name, 0, 8080, &addresses));
            all.push(objects::route(service, &["/".to_owned()], &json!([{"name": name, "port": 80}])));
        }
        memory.push(Server::ours(&Ours::serving(&all), &Request::get("/"))?.memory()?);
    }
    Ok(vec![slope("KiB for an endpoint", None, COUNTS, &memory, "endpoints in slices of a hundred")])
}

fn slope(what: &str, goal: Option<Goal>, counts: [u32; 2], memory: &[u64], of: &str) -> Row {
    let [few, many] = counts.map(f64::from);
    let mut memory = memory.iter().map(|bytes| *bytes as f64 / 1024.0);
    let (small, large) = (memory.next().unwrap_or(f64::NAN), memory.next().unwrap_or(f64::NAN));
    let more = format!("{:.0} MiB at {few}, {:.0} MiB at {many} {of}", small / 1024.0, large / 1024.0);
    Row { what: what.to_owned(), figure: (large - small) / (many - few), goal, more }
}
