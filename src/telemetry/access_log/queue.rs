//! The way of a line from a worker to the writer: chunks of memory that go there full and come back empty.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::HeaderName;

use super::entry::Entry;
use super::setting::Plan;
use super::stamp::Stamp;
use super::writer;

/// A chunk goes to the writer when it holds so many bytes: some hundred lines, so that handing over costs a line
/// nothing.
const CHUNK: usize = 32 * 1024;
/// How many chunks a worker may have, 4 MiB: what a disk may stand still for at ten thousand lines a second is nearly
/// a second. They are made only when the writer falls behind.
const CHUNKS: usize = 128;
/// How long the writer is waited for at the end. A pipe that nobody reads must not keep the process.
const FAREWELL: Duration = Duration::from_millis(500);

/// The access log of a process. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog {
    plan: Arc<Plan>,
    out: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// What the writer is told.
pub(super) enum Message {
    /// Write these lines.
    Lines(Chunk),
    /// Open the file anew: the old one has been moved aside.
    Reopen,
}

/// Lines on their way.
pub(super) struct Chunk {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
    /// Where it goes back to.
    pub(super) home: Sender<Self>,
}

/// The thread that writes; it ends when every worker and the log itself have gone.
#[derive(Debug)]
pub struct Writing {
    thread: JoinHandle<()>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the log and starts its writer. Lines that are lost are added to `dropped`.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be made.
    pub fn open(plan: Plan, dropped: Arc<AtomicU64>) -> io::Result<(Self, Writing)> {
        let file = writer::Target::open(plan.file.as_deref())?;
        let (out, lines) = mpsc::channel();
        let thread = writer::spawn(file, lines, dropped.clone())?;
        Ok((Self { plan: Arc::new(plan), out, dropped }, Writing { thread }))
    }

    /// The hand of one worker.
    pub fn worker(&self) -> WorkerLog {
        let (home, returned) = mpsc::channel();
        WorkerLog {
            log: self.clone(),
            stamp: RefCell::default(),
            current: RefCell::new(None),
            made: Cell::new(0),
            dropped: Cell::new(0),
            home,
            returned,
        }
    }

    /// Has the file opened anew.
    pub fn reopen(&self) {
        // The only error is a writer that has gone, at the end of the process.
        let _ = self.out.send(Message::Reopen);
    }
}

impl Writing {
    /// Waits for the last line, and not for ever.
    pub fn finish(self) {
        let began = Instant::now();
        while !self.thread.is_finished() {
            if began.elapsed() > FAREWELL {
                tracing::warn!("the access log is not being read: its last lines are lost");
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// The hand that a worker logs with; it belongs to the worker's thread.
pub struct WorkerLog {
    log: AccessLog,
    stamp: RefCell<Stamp>,
    current: RefCell<Option<Chunk>>,
    /// How many chunks there are, wherever they are.
    made: Cell<usize>,
    /// Lines that were lost since the last flush.
    dropped: Cell<u64>,
    home: Sender<Chunk>,
    returned: Receiver<Chunk>,
}

impl fmt::Debug for WorkerLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerLog").finish_non_exhaustive()
    }
}

impl WorkerLog {
    /// Whether lines tell who the caller's token says it is.
    pub fn wants_subject(&self) -> bool {
        self.log.plan.wants_subject()
    }

    /// Whether lines tell how long a request's head was.
    pub fn wants_head(&self) -> bool {
        self.log.plan.wants_head()
    }

    /// Logs an exchange if it is one of those that are logged. It never waits.
    pub fn record(&self, entry: &Entry<'_>, random: impl FnOnce() -> u64) {
        let plan = &self.log.plan;
        if !plan.filter.wants(entry, random) {
            return;
        }
        let mut current = self.current.borrow_mut();
        if current.is_none() {
            *current = self.chunk();
        }
        let Some(chunk) = &mut *current else {
            self.dropped.set(self.dropped.get() + 1);
            return;
        };
        plan.encode(&mut chunk.text, entry, &mut self.stamp.borrow_mut());
        chunk.lines += 1;
        if chunk.text.len() >= CHUNK {
            self.send(current.take());
        }
    }

    /// The headers that a line may need, in their order.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.log.plan.headers.others().map(|(name, _)| name)
    }

    /// Sends what there is; to be called some times a second, and at the end.
    pub fn flush(&self) {
        self.send(self.current.take());
        let dropped = self.dropped.take();
        if dropped > 0 {
            self.log.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn send(&self, chunk: Option<Chunk>) {
        let Some(chunk) = chunk else { return };
        let lines = chunk.lines;
        if self.log.out.send(Message::Lines(chunk)).is_err() {
            self.dropped.set(self.dropped.get() + lines);
        }
    }

    /// An empty chunk: one that has come back, or a new one as long as there may be more.
    fn chunk(&self) -> Option<Chunk> {
        if let Ok(chunk) = self.returned.try_recv() {
            return Some(chunk);
        }
        let made = self.made.get();
        if made >= CHUNKS {
            return None;
        }
        self.made.set(made + 1);
        Some(Chunk { text: Vec::with_capacity(CHUNK + 4096), lines: 0, home: self.home.clone() })
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Chunk {
    /// Sends it back empty; a line of unusual length does not keep its memory.
    pub(super) fn go_home(mut self) {
        self.text.clear();
        self.text.shrink_to(4 * CHUNK);
        self.lines = 0;
        let home = self.home.clone();
        // A worker that has gone needs it no more.
        let _ = home.send(self);
    }
}
