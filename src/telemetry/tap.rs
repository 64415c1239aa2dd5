//! Live requests for whoever is watching: lines of JSON as the access log has them, made only while somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;

use super::access_log::{Entry, QueryShown, Stamp, encode_json};

/// Requests that one who watches may be behind; what comes after that is not shown.
const BEHIND: usize = 4096;

/// Where live requests pass. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Tap {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Read by workers for every request and written when somebody comes or goes, so nobody's cache line moves.
    watching: AtomicUsize,
    requests: broadcast::Sender<Arc<str>>,
}

/// Somebody who watches; it is over with this.
#[derive(Debug)]
pub struct Watching {
    tap: Tap,
    requests: broadcast::Receiver<Arc<str>>,
}

/// What somebody who watches sees next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A request that is over.
    Request(Arc<str>),
    /// So many that passed too quickly.
    Missed(u64),
}

impl Default for Tap {
    fn default() -> Self {
        Self { inner: Arc::new(Inner { watching: AtomicUsize::new(0), requests: broadcast::channel(BEHIND).0 }) }
    }
}

impl Tap {
    /// Whether anybody is watching.
    pub fn is_watched(&self) -> bool {
        self.inner.watching.load(Ordering::Relaxed) > 0
    }

    /// Shows an exchange to all who watch.
    pub fn show(&self, entry: &Entry<'_>) {
        let mut line = Vec::with_capacity(512);
        // A worker has no time to spare for keeping a stamp that is used this rarely.
        encode_json(&mut line, entry, QueryShown::Redacted, &mut Stamp::default());
        if let Ok(line) = String::from_utf8(line) {
            // The only error is that nobody watches any more.
            let _ = self.inner.requests.send(line.into());
        }
    }

    /// Begins to watch.
    pub fn watch(&self) -> Watching {
        let requests = self.inner.requests.subscribe();
        self.inner.watching.fetch_add(1, Ordering::Relaxed);
        Watching { tap: self.clone(), requests }
    }
}

impl Watching {
    /// Waits for the next request.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.requests.recv().await {
            Ok(line) => Some(Seen::Request(line)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Seen::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.tap.inner.watching.fetch_sub(1, Ordering::Relaxed);
    }
}
