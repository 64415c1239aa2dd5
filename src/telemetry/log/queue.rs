//! The way of a log line to standard error: through a thread that may wait for a pipe as long as it likes. A worker that
//! waited there would serve nobody.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: some minutes' worth of them, and less than a megabyte.
const ROOM: usize = 4096;
/// How long the last lines are waited for. A pipe that nobody reads must not keep the process.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where lines go that are logged. Clones are the same way.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    out: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Say that everything before it has been written.
    Reached(SyncSender<()>),
}

impl Queue {
    /// A way to this output.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (out, messages) = mpsc::sync_channel(ROOM);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        thread::Builder::new().name("log".into()).spawn(move || write(output, &messages, &counted))?;
        Ok(Self { out, lost })
    }

    /// Waits until what has been logged so far is written, and not for ever.
    pub(super) fn flush(&self) {
        let (told, reached) = mpsc::sync_channel(1);
        if self.out.try_send(Message::Reached(told)).is_ok() {
            // The only other end is that nobody reads.
            let _ = reached.recv_timeout(FAREWELL);
        }
    }
}

impl Write for Queue {
    /// Takes a whole line, or loses it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.out.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Queue {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn write(mut output: impl Write, messages: &Receiver<Message>, lost: &AtomicU64) {
    for message in messages {
        match message {
            // Whoever reads logs may have gone, which is no reason to stop.
            Message::Line(line) => drop(output.write_all(&line)),
            Message::Reached(told) => drop(told.try_send(())),
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log lines were lost: standard error was not being read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a line for each that it is allowed.
    struct Gate {
        allowed: Receiver<()>,
        taken: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            let _ = self.taken.send(String::from_utf8(line.to_vec()).unwrap());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_an_output_that_takes_nothing() {
        let (allow, allowed) = mpsc::channel();
        let (taken, lines) = mpsc::channel();
        let mut queue = Queue::to(Gate { allowed, taken }).unwrap();
        // One may be in the writer's hands.
        for number in 0..ROOM + 100 {
            queue.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert!((99..=100).contains(&queue.lost.load(Ordering::Relaxed)));
        Queue::flush(&queue);
        assert_eq!(lines.try_iter().count(), 0);
        // Once it takes lines again, the first ones are there and in order.
        drop(allow);
        let first: Vec<_> = lines.iter().take(ROOM).collect();
        assert_eq!((first[0].as_str(), first[ROOM - 1].as_str()), ("0\n", &*format!("{}\n", ROOM - 1)));
    }

    #[test]
    fn what_was_logged_is_written_before_the_end() {
        let (taken, lines) = mpsc::channel();
        let (allow, allowed) = mpsc::channel();
        drop(allow);
        let mut queue = Queue::to(Gate { allowed, taken }).unwrap();
        for number in 0..1000 {
            queue.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        Queue::flush(&queue);
        assert_eq!(lines.try_iter().count(), 1000);
    }
}
