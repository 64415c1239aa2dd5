//! A load generator: a number of requests one after another, or a fixed rate whatever the answers do.
//!
//! It makes its connections, warms them up, says `ready`, begins when it reads a line, says what it has done, and keeps
//! the connections until its input ends. So whoever measures can look at the proxy right before and right after.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::task::JoinSet;

#[derive(Args, Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) address: SocketAddr,
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// A header that every request has, `Name: value`.
    #[arg(long)]
    pub(crate) header: Option<String>,
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    /// How many requests.
    #[arg(long)]
    pub(crate) requests: u32,
    /// Requests per second; without it, every connection sends as soon as it has its answer.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
}

/// What a connection sends, and when.
struct Schedule {
    start: Instant,
    /// From one request on any connection to the next.
    gap: Option<Duration>,
    first: u32,
    step: u32,
    end: u32,
}

impl Load {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.drive())
    }

    async fn drive(&self) -> anyhow::Result<()> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(self).await?);
        }
        // All at once, so that the proxy has as many connections to the backend as it will need.
        let (mut connections, _) = self.round(connections, 20 * self.connections, None).await?;

        println!("ready");
        let mut input = std::io::stdin().lock();
        input.read_line(&mut String::new())?;
        let start = Instant::now();
        let gap = self.rate.map(|rate| Duration::from_secs(1) / rate);
        let mut latencies;
        (connections, latencies) = self.round(connections, self.requests, gap).await?;
        let seconds = start.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
        println!("{} {seconds} {} {}", latencies.len(), at(0.5), at(0.99));
        std::io::stdout().flush()?;
        input.read_line(&mut String::new())?;
        drop(connections);
        Ok(())
    }

    /// Sends `requests` over all connections; microseconds from when each was due to its last byte.
    async fn round(
        &self,
        connections: Vec<Connection>,
        requests: u32,
        gap: Option<Duration>,
    ) -> anyhow::Result<(Vec<Connection>, Vec<u32>)> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (first, mut connection) in (0..self.connections).zip(connections) {
            let schedule = Schedule { start, gap, first, step: self.connections, end: requests };
            tasks.spawn_local(async move {
                let latencies = connection.send(schedule).await?;
                anyhow::Ok((connection, latencies))
            });
        }
        let (mut connections, mut latencies) = (Vec::new(), Vec::new());
        while let Some(done) = tasks.join_next().await {
            let (connection, more) = done??;
            connections.push(connection);
            latencies.extend(more);
        }
        Ok((connections, latencies))
    }
}

struct Connection {
    tcp: TcpStream,
    request: Vec<u8>,
    read: Vec<u8>,
}

impl Connection {
    async fn open(load: &Load) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(load.address).await.with_context(|| format!("connect to {}", load.address))?;
        tcp.set_nodelay(true)?;
        // What wrk sends, so that both loads are the same.
        let header = load.header.as_ref().map(|header| format!("{header}\r\n")).unwrap_or_default();
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{header}\r\n", load.path, load.address).into_bytes();
        Ok(Self { tcp, request, read: Vec::with_capacity(128 * 1024) })
    }

    async fn send(&mut self, schedule: Schedule) -> anyhow::Result<Vec<u32>> {
        let mut latencies = Vec::new();
        let mut number = schedule.first;
        while number < schedule.end {
            let due = match schedule.gap {
                Some(gap) => schedule.start + gap * number,
                None => Instant::now(),
            };
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            self.tcp.write_all(&self.request).await?;
            self.answer().await?;
            latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
            number += schedule.step;
        }
        Ok(latencies)
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        self.read.clear();
        let mut length = None;
        loop {
            ensure!(self.tcp.read_buf(&mut self.read).await? > 0, "the proxy closed a connection");
            if length.is_none()
                && let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n")
            {
                let head = std::str::from_utf8(self.read.get(..end).unwrap_or_default())?;
                ensure!(head.starts_with("HTTP/1.1 200"), "not answered 200: {head}");
                length = Some(end + 4 + body_length(head).context("an answer without Content-Length")?);
            }
            if length.is_some_and(|length| self.read.len() >= length) {
                return Ok(());
            }
        }
    }
}

fn body_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
