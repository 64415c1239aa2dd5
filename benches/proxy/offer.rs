//! What a server is offered, and what it costs it: from the core that is not the proxy's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, anyhow, bail, ensure};

use crate::server::{OTHER_CORE, Process, Server, pinned};

/// A request that is made again and again.
#[derive(Clone, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// `Name: value` each.
    pub(crate) headers: Vec<String>,
    /// Over TLS, trusting this certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// Above 0: to so many hosts, ten paths of each, in place of `path`.
    pub(crate) hosts: u32,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }
}

/// A way to offer requests.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    /// So many a second, evenly, whatever the answers do: 64 connections.
    Rate(u32),
    /// As many as one core can send with wrk, over 64 connections.
    Full,
    /// The next on each of 64 warm connections as soon as there is an answer.
    Closed,
    /// HTTP/2 over TLS: 16 streams on each of 4 connections, with h2load.
    Streams,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// From when a request was due to its last byte, in microseconds; not a number where the load does not tell.
    pub(crate) p99: f64,
    /// Of the server's processor time, in nanoseconds.
    pub(crate) cpu: u64,
}

/// Offers requests for so many seconds.
pub(crate) fn offer(server: &Server, request: &Request, offer: Offer, seconds: u32) -> anyhow::Result<Done> {
    match offer {
        Offer::Rate(rate) => {
            let mut load = Load::warm(server, request, &["--requests", &(rate * seconds).to_string()], Some(rate))?;
            load.run(server)
        }
        Offer::Closed => Load::warm(server, request, &["--duration", &seconds.to_string()], None)?.run(server),
        Offer::Full => {
            let mut command = pinned(OTHER_CORE, "wrk".as_ref());
            command.args(["-t1", "-c64", &format!("-d{seconds}s"), &format!("http://{}{}", server.http, request.path)]);
            command.args(request.headers.iter().flat_map(|header| ["-H", header]));
            let (text, cpu) = said(server, command, "apt-get install wrk")?;
            ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk saw failures:\n{text}");
            let requests = number_before(&text, " requests in").with_context(|| format!("wrk said:\n{text}"))?;
            Ok(Done { requests, seconds: f64::from(seconds), p99: f64::NAN, cpu })
        }
        Offer::Streams => {
            let mut command = pinned(OTHER_CORE, "h2load".as_ref());
            command.args(["-c4", "-m16", "-t1", "-D", &seconds.to_string(), "--connect-to", &server.https.to_string()]);
            command.args(request.headers.iter().flat_map(|header| ["-H", header]));
            command.arg(format!("https://{NAME}{}", request.path));
            let (text, cpu) = said(server, command, "apt-get install nghttp2-client")?;
            let failed = number_before(&text, " failed,");
            ensure!(failed == Some(0.0) && text.contains(" 0 4xx, 0 5xx"), "h2load saw failures:\n{text}");
            ensure!(text.contains("Application protocol: h2"), "not HTTP/2:\n{text}");
            let requests = number_before(&text, " 2xx").with_context(|| format!("h2load said:\n{text}"))?;
            Ok(Done { requests, seconds: f64::from(seconds), p99: f64::NAN, cpu })
        }
    }
}

/// Offers requests at a rate to each of two servers at the same time.
pub(crate) fn offer_both(
    [(one, asked), (other, asked_other)]: [(&Server, &Request); 2],
    rate: u32,
    seconds: u32,
) -> anyhow::Result<[Done; 2]> {
    let much = (rate * seconds).to_string();
    let warm = |server, request| Load::warm(server, request, &["--requests", &much], Some(rate));
    let (mut load, mut load_other) = (warm(one, asked)?, warm(other, asked_other)?);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| load_other.run(other));
        let done = load.run(one)?;
        Ok([done, beside.join().map_err(|_| anyhow!("the load beside it failed"))??])
    })
}

/// The host that is asked for over TLS.
pub(crate) const NAME: &str = "bench.example.com";

/// What a load says, and what it costs the server meanwhile.
fn said(server: &Server, mut command: Command, install: &'static str) -> anyhow::Result<(String, u64)> {
    let before = server.cpu()?;
    let output = command.output()?;
    let cpu = server.cpu()? - before;
    // taskset has failed where the program is missing.
    ensure!(output.status.success(), "{command:?}: {} ({install})", String::from_utf8_lossy(&output.stderr));
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), cpu))
}

fn number_before(text: &str, what: &str) -> Option<f64> {
    let (before, _) = text.split_once(what)?;
    before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// A load of ours (`load.rs`) that has warmed its connections up.
pub(crate) struct Load {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Connects to a server and warms up; `much` says how much to send then.
    pub(crate) fn warm(server: &Server, request: &Request, much: &[&str], rate: Option<u32>) -> anyhow::Result<Self> {
        let mut command = pinned(OTHER_CORE, std::env::current_exe()?.as_os_str());
        let address = if request.certificate.is_some() { server.https } else { server.http };
        command.args(["load", &address.to_string(), "--path", &request.path]).args(much);
        command.args(["--hosts", &request.hosts.to_string()]);
        command.args(request.headers.iter().flat_map(|header| ["--header", header]));
        if let Some(certificate) = &request.certificate {
            command.arg("--certificate").arg(certificate);
        }
        if let Some(rate) = rate {
            command.args(["--pace", &rate.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = pipes(&mut child)?;
        let mut load = Self { _process: Process::of(child), input, output };
        ensure!(line(&mut load.output)? == "ready", "the load did not become ready");
        Ok(load)
    }

    /// Sends what it was made for. The connections stay open until it is dropped.
    pub(crate) fn run(&mut self, server: &Server) -> anyhow::Result<Done> {
        let before = server.cpu()?;
        self.input.write_all(b"go\n")?;
        let line = line(&mut self.output)?;
        let cpu = server.cpu()? - before;
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [requests, seconds, p99] = *numbers else { bail!("the load failed") };
        Ok(Done { requests, seconds, p99, cpu })
    }
}

/// How to tell a child something, and what it says.
pub(crate) fn pipes(child: &mut Child) -> anyhow::Result<(ChildStdin, BufReader<ChildStdout>)> {
    let input = child.stdin.take().context("no input")?;
    Ok((input, BufReader::new(child.stdout.take().context("no output")?)))
}

pub(crate) fn line(output: &mut BufReader<ChildStdout>) -> anyhow::Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
