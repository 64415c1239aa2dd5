//! A Headgate of one's own: the real binary, serving a folder, on ports that the system chose.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::get;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `headgate run`; it ends with this.
pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    folder: TempDir,
    log: Arc<Mutex<VecDeque<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Serves these objects: one file, `objects.yaml`.
    pub(crate) fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[])
    }

    /// The same, with further flags.
    pub(crate) fn start_with(yaml: &str, flags: &[&str]) -> Self {
        Self::start_as(Command::new(binary()), yaml, flags)
    }

    /// The same, by a command that ends up as the binary with the arguments that it is given.
    pub(crate) fn start_as(command: Command, yaml: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("objects.yaml"), yaml).unwrap();
        Self::serve_as(command, folder, flags)
    }

    /// Serves a folder that is there already.
    pub(crate) fn serve(folder: TempDir, flags: &[&str]) -> Self {
        Self::serve_as(Command::new(binary()), folder, flags)
    }

    fn serve_as(mut command: Command, folder: TempDir, flags: &[&str]) -> Self {
        command.args(["run", folder.path().to_str().unwrap()]);
        let gateway = Self::spawn(command, flags, folder);
        gateway.wait_until_ready();
        gateway
    }

    /// Serves one URL.
    pub(crate) fn reverse_proxy(url: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["run", "--to", url]);
        let gateway = Self::spawn(command, &[], tempfile::tempdir().unwrap());
        gateway.wait_until_ready();
        gateway
    }

    /// Serves a cluster with these credentials; the lease is in this namespace. It is not waited for until it is ready.
    pub(crate) fn in_cluster(kubeconfig: &Path, namespace: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--lease-namespace", namespace, "--kubeconfig"]).arg(kubeconfig);
        Self::spawn(command, flags, tempfile::tempdir().unwrap())
    }

    fn spawn(mut command: Command, flags: &[&str], folder: TempDir) -> Self {
        let mut child = command
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"])
            .args(flags)
            .env("HEADGATE_LOG", "headgate=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (told, addresses) = mpsc::channel();
        let reading = {
            let (log, lines) = (log.clone(), BufReader::new(child.stderr.take().unwrap()).lines());
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let addresses = addresses_in(&line);
                    log.lock().unwrap().push_back(line);
                    if let Some(addresses) = addresses {
                        let _ = told.send(addresses);
                    }
                }
            })
        };
        let Ok([http, https, admin]) = addresses.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("headgate did not say where it listens: {:#?}", log.lock().unwrap());
        };
        Self { http, https, admin, child, folder, log, reading: Some(reading) }
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        get(self.admin, "/readyz").is_ok_and(|response| response.status == 200)
    }

    /// Waits until it says so.
    pub(crate) fn wait_until_ready(&self) {
        self.wait_until("it is ready", || self.is_ready());
    }

    /// The folder that is served.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces all objects and returns once they are what is served.
    pub(crate) fn apply(&self, yaml: &str) {
        self.write("objects.yaml", yaml);
    }

    /// Writes one file of the folder, atomically, and returns once it is what is served.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        let before = self.batches();
        let aside = self.folder().join(format!(".{name}.new"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, &path).unwrap();
        self.wait_until("the change is served", || self.batches() > before);
    }

    /// How many batches of changes what is served reflects.
    pub(crate) fn batches(&self) -> u64 {
        self.api("generation")["batches"].as_u64().unwrap()
    }

    /// The generation that is served.
    pub(crate) fn generation(&self) -> u64 {
        self.api("generation")["generation"].as_u64().unwrap()
    }

    /// What the admin port answers at `/api/v1/{name}`.
    pub(crate) fn api(&self, name: &str) -> Value {
        let response = get(self.admin, &format!("/api/v1/{name}")).unwrap();
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// The metrics as text.
    pub(crate) fn metrics(&self) -> String {
        get(self.admin, "/metrics").unwrap().text()
    }

    /// The value of a series, whose labels are given as they are written; 0 when there is none.
    pub(crate) fn series(&self, series: &str) -> f64 {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// How many endpoints of the Service `s` are in this state.
    pub(crate) fn endpoints(&self, state: &str) -> f64 {
        self.series(&format!("headgate_upstream_endpoints{{service=\"default/s:80\",state=\"{state}\"}}"))
    }

    /// Waits until a line with all of these parts has been logged: lines are written by a thread of their own, so what
    /// an answer shows may be logged after it.
    pub(crate) fn wait_for_line(&self, parts: &[&str]) {
        let so = |line: &String| parts.iter().all(|part| line.contains(part));
        self.wait_until(&format!("a line with {parts:?}"), || self.log().iter().any(so));
    }

    /// Every line logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().cloned().collect()
    }

    /// Memory that the process has now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Time on a processor that its threads have had so far, those that have ended as well; in steps of ten milliseconds.
    pub(crate) fn processor(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // proc_pid_stat(5): the fields after the name, of which the 14th and the 15th of all are the times.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends a signal, `TERM` say.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for the process to end and gives its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not end: {:#?}", self.log());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until something outside this process is so.
    pub(crate) fn wait_until(&self, what: &str, so: impl FnMut() -> bool) {
        assert!(self.comes(so), "never came: {what}");
    }

    /// The same, and says whether it came.
    pub(crate) fn comes(&self, mut so: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        if std::thread::panicking() {
            // The end of it; what matters is rarely further up.
            for line in self.log().iter().rev().take(50).rev() {
                eprintln!("headgate: {line}");
            }
        }
    }
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_headgate").into()
}

/// The addresses in the log line that tells them.
fn addresses_in(line: &str) -> Option<[SocketAddr; 3]> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| -> Option<SocketAddr> {
        let text = line[name].as_str()?;
        text.split_once("://")?.1.parse().ok()
    };
    Some([field("http")?, field("https")?, field("admin")?])
}
