//! The processes around a measurement: proxies on the first core, load and backend on the second.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::offer::Request;

/// What is measured; `HEADGATE_BENCH_BIN` names another build of it.
fn headgate() -> PathBuf {
    std::env::var_os("HEADGATE_BENCH_BIN").map_or_else(|| env!("CARGO_BIN_EXE_headgate").into(), PathBuf::from)
}

pub(crate) const PROXY_CORE: &str = "0";
/// Where load and backend run.
pub(crate) const OTHER_CORE: &str = "1";
/// A proxy that does not answer after this long never will.
const START: Duration = Duration::from_secs(60);

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
    /// What reads its output.
    reader: Option<Child>,
    /// What it needs as long as it runs.
    _folder: Option<TempDir>,
}

impl Process {
    pub(crate) fn of(child: Child) -> Self {
        Self { child, reader: None, _folder: None }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed outright, nginx would leave its worker behind.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Some(reader) = &mut self.reader {
            let _ = reader.wait();
        }
    }
}

/// Where a server is to listen; nobody did a moment ago.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Places {
    pub(crate) fn free() -> anyhow::Result<Self> {
        // All at once, so that they differ.
        let [http, https, admin] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        Ok(Self { http: http?.local_addr()?, https: https?.local_addr()?, admin: admin?.local_addr()? })
    }
}

/// A backend or a proxy in a process of its own, or a proxy in this one.
pub(crate) struct Server {
    id: u32,
    _process: Option<Process>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// How ours is started.
pub(crate) struct Ours<'a> {
    pub(crate) objects: &'a [Value],
    pub(crate) flags: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) workers: u32,
    pub(crate) cores: &'a str,
}

impl<'a> Ours<'a> {
    /// With one worker that serves these objects.
    pub(crate) fn serving(objects: &'a [Value]) -> Self {
        Self { objects, flags: &[], variables: &[], workers: 1, cores: PROXY_CORE }
    }
}

impl Server {
    /// One that runs in this process, and ends with it.
    pub(crate) fn in_this_process(http: SocketAddr) -> Self {
        Self { id: std::process::id(), _process: None, http, https: http, admin: http }
    }

    /// What all proxies pass requests on to.
    pub(crate) fn backend() -> anyhow::Result<Self> {
        let places = Places::free()?;
        let mut command = pinned(OTHER_CORE, std::env::current_exe()?.as_os_str());
        command.arg("backend").arg(places.http.to_string());
        Self::start(command, places, None, &Request::get("/"))
    }

    /// The proxy that does nothing (`floor.rs`).
    pub(crate) fn floor(backend: &Self) -> anyhow::Result<Self> {
        let places = Places::free()?;
        let mut command = pinned(PROXY_CORE, std::env::current_exe()?.as_os_str());
        command.arg("floor").arg(places.http.to_string()).arg(backend.http.to_string());
        Self::start(command, places, None, &Request::get("/"))
    }

    /// Ours; it is ready once it answers this request.
    pub(crate) fn ours(ours: &Ours<'_>, ready: &Request) -> anyhow::Result<Self> {
        let (places, folder) = (Places::free()?, tempfile::tempdir()?);
        // A source takes a thousand documents from a file, and so many megabytes.
        for (number, objects) in ours.objects.chunks(100).enumerate() {
            let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
            fs::write(folder.path().join(format!("{number}.yaml")), documents.join("\n---\n"))?;
        }
        let mut command = pinned(ours.cores, headgate().as_os_str());
        command
            .arg("run")
            .arg(folder.path())
            .args(["--workers", &ours.workers.to_string(), "--drain-timeout", "0s"])
            .args(["--http", &places.http.to_string(), "--https", &places.https.to_string()])
            .args(["--admin", &places.admin.to_string()])
            .args(ours.flags)
            .envs(ours.variables.iter().copied());
        Self::start(command, places, Some(folder), ready)
    }

    /// Any other; it is ready once it answers this request.
    pub(crate) fn start(
        mut command: Command,
        places: Places,
        folder: Option<TempDir>,
        ready: &Request,
    ) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        // Whoever runs containers reads what they write; it ends with them.
        let output = child.stdout.take().context("no output")?;
        let reader = pinned(OTHER_CORE, "cat".as_ref()).stdin(output).stdout(Stdio::null()).spawn()?;
        let Places { http, https, admin } = places;
        let id = child.id();
        let mut process = Process { child, reader: Some(reader), _folder: folder };
        let mut server = Self { id, _process: None, http, https, admin };
        let start = Instant::now();
        while !server.answers(ready) {
            if let Some(status) = process.child.try_wait()? {
                bail!("{command:?} ended before it answered: {status}");
            }
            if start.elapsed() > START {
                bail!("{command:?} does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        server._process = Some(process);
        Ok(server)
    }

    fn answers(&self, request: &Request) -> bool {
        self.answer(request).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    /// What it says to one request in clear, head and body.
    pub(crate) fn answer(&self, request: &Request) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (host, path) = if request.hosts > 0 { ("h0.example.com", "/p0") } else { ("bench", &*request.path) };
        let headers: String = request.headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
        while memchr::memmem::find(&answer, b"\r\n\r\n").is_none() {
            let count = stream.read(&mut buffer)?;
            answer.extend_from_slice(buffer.get(..count).filter(|read| !read.is_empty()).context("no answer")?);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Processor time of all its threads so far, in nanoseconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for process in self.processes()? {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                // A thread may end meanwhile.
                let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
                sum += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for process in self.processes()? {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
            sum += resident.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
        Ok(sum)
    }

    /// The number of its worker's thread.
    pub(crate) fn worker_thread(&self) -> anyhow::Result<u32> {
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let task = task?;
            if fs::read_to_string(task.path().join("comm"))?.trim() == "worker-0" {
                return Ok(task.file_name().to_string_lossy().parse()?);
            }
        }
        bail!("the proxy has no thread `worker-0`");
    }

    /// It and its children: nginx works in one.
    fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let id = self.id;
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children = children.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        Ok([vec![id], children].concat())
    }
}

/// A program on some cores.
pub(crate) fn pinned(cores: &str, program: &OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}
