//! A load generator: a number of requests one after another, or a fixed rate whatever the answers do.
//!
//! It makes its connections, warms them up, says `ready`, begins when it reads a line, says what it has done, and keeps
//! the connections until its input ends. So whoever measures can look at the proxy right before and right after.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::identity::{Stream, connect};
use crate::offer::NAME;

#[derive(Args, Clone)]
pub(crate) struct Load {
    /// Where to.
    address: SocketAddr,
    #[arg(long, default_value = "/")]
    path: String,
    /// A header that every request has, `Name: value`.
    #[arg(long)]
    header: Vec<String>,
    /// Above 0: to so many hosts, ten paths of each, in place of the path.
    #[arg(long, default_value_t = 0)]
    hosts: u32,
    /// Over TLS, trusting this certificate.
    #[arg(long)]
    certificate: Option<PathBuf>,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// How many requests.
    #[arg(long, default_value_t = u32::MAX)]
    requests: u32,
    /// For how many seconds.
    #[arg(long)]
    duration: Option<u64>,
    /// Requests per second; without it, every connection sends as soon as it has its answer.
    #[arg(long)]
    pace: Option<u32>,
}

/// What says when a connection sends.
enum Turns {
    /// One request after another: so many, and none after this.
    Closed { requests: u32, end: Option<Instant> },
    /// A request for each of these, which says when it was due.
    Paced(mpsc::UnboundedReceiver<Instant>),
}

impl Load {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.drive())
    }

    async fn drive(&self) -> anyhow::Result<()> {
        let mut connections = Vec::new();
        for number in 0..self.connections {
            connections.push(Connection::open(self, number).await?);
        }
        // All at once, so that the proxy has as many connections to the backend as it will need.
        let warm = |_| Turns::Closed { requests: 20, end: None };
        let (mut connections, _) = round(connections, (0..self.connections).map(warm).collect()).await?;

        println!("ready");
        let mut input = std::io::stdin().lock();
        input.read_line(&mut String::new())?;
        let start = Instant::now();
        let mut latencies;
        (connections, latencies) = round(connections, self.turns(start)).await?;
        let seconds = start.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
        println!("{} {seconds} {p99}", latencies.len());
        std::io::stdout().flush()?;
        input.read_line(&mut String::new())?;
        drop(connections);
        Ok(())
    }

    fn turns(&self, start: Instant) -> Vec<Turns> {
        let Some(pace) = self.pace else {
            let end = self.duration.map(|seconds| start + Duration::from_secs(seconds));
            return (0..self.connections)
                .map(|_| Turns::Closed { requests: self.requests / self.connections, end })
                .collect();
        };
        let (send, receive): (Vec<_>, Vec<_>) = (0..self.connections).map(|_| mpsc::unbounded_channel()).unzip();
        let requests = self.requests;
        // The runtime's timers go by milliseconds, which would send in bursts.
        std::thread::spawn(move || {
            for (number, connection) in (0..requests).zip(send.iter().cycle()) {
                let due = start + Duration::from_secs(1) * number / pace;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // One that has failed says so itself.
                let _ = connection.send(due);
            }
        });
        receive.into_iter().map(Turns::Paced).collect()
    }
}

/// Every connection has its turns; microseconds from when each request was due to its last byte.
async fn round(connections: Vec<Connection>, turns: Vec<Turns>) -> anyhow::Result<(Vec<Connection>, Vec<u32>)> {
    let mut tasks = JoinSet::new();
    for (mut connection, turns) in connections.into_iter().zip(turns) {
        tasks.spawn_local(async move {
            let latencies = connection.send(turns).await?;
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

struct Connection {
    stream: Stream,
    request: Vec<u8>,
    /// To how many hosts in turn, and which is next; a step that shares no factor with their number visits them all.
    hosts: u32,
    next: u32,
    read: Vec<u8>,
}

impl Connection {
    async fn open(load: &Load, number: u32) -> anyhow::Result<Self> {
        let stream = connect(load.address, load.certificate.as_deref()).await?;
        let host = if load.certificate.is_some() { NAME.to_owned() } else { load.address.to_string() };
        // What wrk sends, so that both loads are the same.
        let headers: String = load.header.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n", load.path).into_bytes();
        let next = number * 101;
        Ok(Self { stream, request, hosts: load.hosts, next, read: Vec::with_capacity(2 << 20) })
    }

    async fn send(&mut self, mut turns: Turns) -> anyhow::Result<Vec<u32>> {
        let mut latencies = Vec::new();
        while let Some(due) = turns.next().await {
            if self.hosts > 0 {
                self.next = self.next.wrapping_add(7919);
                let (host, path) = (self.next % self.hosts, self.next / self.hosts % 10);
                self.request.clear();
                write!(self.request, "GET /p{path} HTTP/1.1\r\nHost: h{host}.example.com\r\n\r\n")?;
            }
            self.stream.write_all(&self.request).await?;
            self.stream.flush().await?;
            self.answer().await?;
            latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok(latencies)
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        self.read.clear();
        let mut length = None;
        loop {
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the proxy closed a connection");
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

impl Turns {
    /// When the next request is due, once it is; none at the end.
    async fn next(&mut self) -> Option<Instant> {
        match self {
            Self::Paced(due) => due.recv().await,
            Self::Closed { requests, end } => {
                *requests = requests.checked_sub(1)?;
                let now = Instant::now();
                end.is_none_or(|end| now < end).then_some(now)
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
