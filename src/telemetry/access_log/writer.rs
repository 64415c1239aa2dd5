//! The thread that writes lines: it may wait for a disk or a pipe as long as it likes.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::queue::{Chunk, Message};

/// A failure is told of no more often than this.
const COMPLAINT: Duration = Duration::from_secs(30);
/// Standard output may be a pipe that somebody else has made non-blocking; it is tried again after this.
const FULL_PIPE: Duration = Duration::from_millis(5);

/// Where lines go.
pub(super) struct Target {
    /// None for standard output.
    path: Option<PathBuf>,
    file: File,
}

impl Target {
    /// Opens a file for appending, or standard output.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path)?,
            // A file of its own, since the library's standard output would cut what it is given at every line.
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        Ok(Self { path: path.map(Path::to_owned), file })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.path.is_some() {
            *self = Self::open(self.path.as_deref())?;
        }
        Ok(())
    }

    /// Writes lines, all of them or none: half a line would spoil the next one.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let before = self.path.as_ref().and_then(|_| self.file.metadata().ok()).map(|metadata| metadata.len());
        let mut rest = text;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return self.undo(before, ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(FULL_PIPE),
                Err(error) => return self.undo(before, error),
            }
        }
        Ok(())
    }

    fn undo(&self, before: Option<u64>, error: io::Error) -> io::Result<()> {
        if let Some(length) = before {
            // If even that fails, one torn line is what is left of a broken disk.
            let _ = self.file.set_len(length);
        }
        Err(error)
    }
}

/// Starts the thread.
pub(super) fn spawn(
    target: Target,
    messages: Receiver<Message>,
    dropped: Arc<AtomicU64>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("access-log".into()).spawn(move || run(target, &messages, &dropped))
}

fn run(mut target: Target, messages: &Receiver<Message>, dropped: &AtomicU64) {
    let mut complained: Option<Instant> = None;
    let mut complain = |error: &io::Error, what: &str| {
        if complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
            complained = Some(Instant::now());
            tracing::warn!(%error, "{what}");
        }
    };
    for message in messages {
        match message {
            Message::Lines(chunk) => {
                let Chunk { text, lines, home: _ } = &chunk;
                if let Err(error) = target.write(text) {
                    dropped.fetch_add(*lines, Ordering::Relaxed);
                    complain(&error, "the access log cannot be written: its lines are lost and counted");
                }
                chunk.go_home();
            }
            Message::Reopen => match target.reopen() {
                Ok(()) => tracing::info!("access log reopened"),
                Err(error) => complain(&error, "the access log cannot be opened anew: the old file is used on"),
            },
        }
    }
}
