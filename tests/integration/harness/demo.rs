//! `headgate demo` in a folder of its own, on ports that the system chose, and what it printed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::gateway::binary;
use super::run::{Said, command, said};

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running demo; it ends with this.
pub(crate) struct Demo {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// What it printed at its start.
    pub(crate) said: String,
    child: Child,
    place: TempDir,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0";
        let mut child = command(binary().to_str().unwrap())
            .args(["demo", "--http", any, "--https", any, "--admin", any, "--echo", any])
            .current_dir(place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (line_read, lines) = mpsc::channel();
        // Both go on being read, so that it never waits for somebody to listen.
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(line_read.send(line)))
        });
        std::thread::spawn(move || std::io::copy(&mut err.by_ref(), &mut std::io::sink()));
        let mut said = String::new();
        let address = |said: &str, before: &str| -> Option<SocketAddr> {
            said.split_once(before)?.1.split(['\n', '/', ' ']).next()?.parse().ok()
        };
        let admin = loop {
            let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the demo said no more than: {said}"));
            said += &(line + "\n");
            if let Some(problems) = said.lines().find(|line| line.ends_with("/api/v1/problems")) {
                break address(problems, "http://").unwrap();
            }
        };
        let http = address(&said, "on http://").unwrap();
        Self { http, admin, said, child, place }
    }

    /// Where commands are run: the folder above the example.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// The example.
    pub(crate) fn folder(&self) -> PathBuf {
        self.place.path().join("headgate-demo")
    }

    /// Runs a line as a shell would, with `headgate` being ours.
    pub(crate) fn shell(&self, line: &str) -> Said {
        let own = binary().parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        said(command("sh").args(["-c", line]).current_dir(self.place()).env("PATH", format!("{own}:{path}")))
    }

    /// Runs it again until it says the right thing, since a change is served a moment after it was written; the last
    /// answer.
    pub(crate) fn shell_until(&self, line: &str, mut right: impl FnMut(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.shell(line);
            if right(&said) || Instant::now() > deadline {
                return said;
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
