//! The processes around a measurement: proxies on the first core, load and backend on the second.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

const HEADGATE: &str = env!("CARGO_BIN_EXE_headgate");
const PROXY_CORE: &str = "0";
/// Where load and backend run.
pub(crate) const OTHER_CORE: &str = "1";
/// A proxy that does not listen after this long never will.
const START: Duration = Duration::from_secs(20);

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
    /// What it needs as long as it runs.
    _folder: Option<TempDir>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed outright, nginx would leave its worker behind.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A backend in a process of its own.
pub(crate) struct Backend {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Backend {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = pinned(OTHER_CORE, std::env::current_exe()?.as_os_str());
        let mut child = command.arg("backend").arg(address.to_string()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        output.read_line(&mut String::new())?;
        Ok(Self { _process: Process { child, _folder: None }, address })
    }
}

/// A proxy with one worker.
pub(crate) struct Proxy {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// Ours, sending everything to the backend.
    pub(crate) fn headgate(backend: &Backend) -> anyhow::Result<Self> {
        Self::watched(backend, free_address()?, &[], &[])
    }

    /// The same with this admin port, these flags more and these variables.
    pub(crate) fn watched(
        backend: &Backend,
        admin: SocketAddr,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = pinned(PROXY_CORE, HEADGATE.as_ref());
        command
            .args(["run", "--workers", "1", "--https", "127.0.0.1:0", "--admin", &admin.to_string()])
            .args(flags)
            .envs(variables.iter().copied())
            .args(["--http", &address.to_string(), "--to", &format!("http://{}", backend.address)])
            .args(["--drain-timeout", "0s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { process: Process { child: command.spawn()?, _folder: None }, address }.listening()
    }

    /// Ours, serving these objects.
    pub(crate) fn serving(objects: &[Value]) -> anyhow::Result<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        for (number, object) in objects.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.json")), object.to_string())?;
        }
        let mut command = pinned(PROXY_CORE, HEADGATE.as_ref());
        command
            .arg("run")
            .arg(folder.path())
            .args(["--workers", "1", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--http", &address.to_string(), "--drain-timeout", "0s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { process: Process { child: command.spawn()?, _folder: Some(folder) }, address }.listening()
    }

    /// nginx, sending everything to the backend over connections that it keeps.
    pub(crate) fn nginx(backend: &Backend) -> anyhow::Result<Self> {
        let address = free_address()?;
        let folder = tempfile::tempdir()?;
        let prefix = folder.path().display();
        let configuration = include_str!("nginx.conf")
            .replace("@PREFIX@", &prefix.to_string())
            .replace("@LISTEN@", &address.to_string())
            .replace("@BACKEND@", &backend.address.to_string());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = pinned(PROXY_CORE, nginx().as_os_str());
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().context("nginx cannot be started: apt-get install nginx-light")?;
        Self { process: Process { child, _folder: Some(folder) }, address }.listening()
    }

    fn listening(mut self) -> anyhow::Result<Self> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.child.try_wait()? {
                bail!("a proxy ended before it listened: {status}");
            }
            if start.elapsed() > START {
                bail!("a proxy does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    /// Processor time of all its threads so far, in nanoseconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for process in [vec![self.process.child.id()], self.children()?].concat() {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
                sum += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// The number of its worker's thread.
    pub(crate) fn worker_thread(&self) -> anyhow::Result<u32> {
        for task in fs::read_dir(format!("/proc/{}/task", self.process.child.id()))? {
            let task = task?;
            if fs::read_to_string(task.path().join("comm"))?.trim() == "worker-0" {
                return Ok(task.file_name().to_string_lossy().parse()?);
            }
        }
        bail!("the proxy has no thread `worker-0`");
    }

    fn children(&self) -> anyhow::Result<Vec<u32>> {
        let id = self.process.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(children.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}

/// A load that has warmed its connections up.
pub(crate) struct Load {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a load has done.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
}

impl Load {
    /// Connects to a proxy and warms up; 64 connections.
    pub(crate) fn warm(address: SocketAddr, path: &str, requests: u32, rate: Option<u32>) -> anyhow::Result<Self> {
        Self::warm_with(address, path, requests, rate, None)
    }

    /// The same, with a header in every request.
    pub(crate) fn warm_with(
        address: SocketAddr,
        path: &str,
        requests: u32,
        rate: Option<u32>,
        header: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut command = pinned(OTHER_CORE, std::env::current_exe()?.as_os_str());
        command.args(["load", &address.to_string(), "--path", path, "--requests", &requests.to_string()]);
        if let Some(header) = header {
            command.args(["--header", header]);
        }
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut load = Self { _process: Process { child, _folder: None }, input, output };
        if load.line()? != "ready" {
            bail!("the load did not become ready");
        }
        Ok(load)
    }

    /// Sends what it was made for. The connections stay open until it is dropped.
    pub(crate) fn run(&mut self) -> anyhow::Result<Done> {
        self.input.write_all(b"go\n")?;
        let line = self.line()?;
        let mut words = line.split(' ').map(str::parse::<f64>);
        let mut next = || words.next().context("the load failed")?.context("the load failed");
        Ok(Done { requests: next()?, seconds: next()? })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

/// As many requests as one core can send with wrk; how many that were.
pub(crate) fn wrk(address: SocketAddr, path: &str, seconds: u32) -> anyhow::Result<f64> {
    let mut command = pinned(OTHER_CORE, "wrk".as_ref());
    command.args(["-t1", "-c64", &format!("-d{seconds}s"), &format!("http://{address}{path}")]);
    let output = command.output().context("wrk cannot be started: apt-get install wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk saw failures:\n{text}");
    }
    let (count, _) = text.split_once(" requests in").with_context(|| format!("wrk said:\n{text}"))?;
    count.rsplit(char::is_whitespace).next().unwrap_or_default().parse().context("wrk said no number")
}

fn pinned(core: &str, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

fn nginx() -> PathBuf {
    // Debian keeps it where a user's PATH often does not look.
    let usual = PathBuf::from("/usr/sbin/nginx");
    if usual.exists() { usual } else { "nginx".into() }
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
