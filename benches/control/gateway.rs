//! The program that is measured.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Row;
use super::memory::megabytes;

/// What is measured; `HEADGATE_BENCH_BIN` names another build of it.
fn headgate() -> PathBuf {
    std::env::var_os("HEADGATE_BENCH_BIN").map_or_else(|| env!("CARGO_BIN_EXE_headgate").into(), PathBuf::from)
}

/// Not ready after this long is never ready.
const START: Duration = Duration::from_secs(120);
/// Whoever needs less of a processor in a second has nothing to do.
const AT_REST: Duration = Duration::from_millis(20);
/// Memory counts as settled once it has not shrunk for so long.
const SETTLED: Duration = Duration::from_secs(3);

/// A process with one worker, ready to serve; it ends with its owner.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) http: SocketAddr,
    admin: SocketAddr,
    started: Instant,
    /// When it said that it was ready.
    pub(crate) ready_at: Instant,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// The most since it was last asked for.
    pub(crate) peak: u64,
    pub(crate) settled: u64,
}

impl Memory {
    /// The peak by what settled.
    pub(crate) fn ratio(self) -> f64 {
        self.peak as f64 / self.settled as f64
    }

    /// The same as a figure.
    pub(crate) fn row(self, what: &str) -> Row {
        Row {
            what: what.to_owned(),
            figure: format!("{:.2}", self.ratio()),
            goal: "1.4",
            more: format!("peak {} MB, settled {} MB", megabytes(self.peak), megabytes(self.settled)),
        }
    }
}

impl Gateway {
    /// Starts `headgate` with these arguments and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let (http, admin) = (free_address()?, free_address()?);
        let mut command = Command::new(headgate());
        command
            .args(arguments)
            .args(["--workers", "1", "--https", "127.0.0.1:0", "--drain-delay", "0s", "--drain-timeout", "0s"])
            .args(["--http", &http.to_string(), "--admin", &admin.to_string(), "--access-log", "off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let mut gateway = Self { child: command.spawn()?, http, admin, started: start, ready_at: start };
        while !gateway.is_ready() {
            if let Some(status) = gateway.child.try_wait()? {
                bail!("headgate ended before it was ready: {status}");
            }
            if start.elapsed() > START {
                bail!("headgate is not ready after {START:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway.ready_at = Instant::now();
        Ok(gateway)
    }

    /// From its start until it said that it was ready.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_at - self.started
    }

    /// What the admin port answers.
    pub(crate) fn admin(&self, path: &str) -> anyhow::Result<String> {
        let mut tcp = TcpStream::connect(self.admin)?;
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn is_ready(&self) -> bool {
        self.admin("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Its memory once that has settled. The next peak is one from now on.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let (mut settled, mut since) = (self.status("VmRSS:")?, Instant::now());
        while since.elapsed() < SETTLED {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.status("VmRSS:")?;
            if now < settled {
                (settled, since) = (now, Instant::now());
            }
        }
        let peak = self.status("VmHWM:")?;
        // proc_pid_clear_refs(5): the peak is forgotten.
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(Memory { peak, settled: self.status("VmRSS:")? })
    }

    /// Waits until it has nothing left to do, such as writing status for the first time.
    pub(crate) fn at_rest(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let before = self.cpu()?;
            std::thread::sleep(Duration::from_secs(1));
            if self.cpu()? - before < AT_REST {
                return Ok(());
            }
            ensure!(start.elapsed() < START * 5, "headgate never comes to rest");
        }
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field in the status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Processor time so far of all its threads, those that have ended as well; in steps of ten milliseconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc_pid_stat(5): the fields after the name, of which the 14th and the 15th of all are the times.
        let (_, fields) = stat.rsplit_once(") ").context("no name in the status")?;
        let times = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = times.sum::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
