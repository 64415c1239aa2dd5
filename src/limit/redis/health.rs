//! How the store stands, for the process as a whole, and who is told.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Who counts what the store does.
pub trait Observer: Send + Sync {
    /// It has decided, after so long.
    fn decided(&self, after: Duration);
    /// A decision was not had.
    fn lacked(&self, lack: Lack);
    /// Whether all of it can be asked, from now on.
    fn stands(&self, up: bool);
    /// As many replicas share it, from now on.
    fn shared_by(&self, replicas: u32);
}

/// How the store stands.
pub(super) struct Health {
    state: Mutex<State>,
    available: watch::Sender<bool>,
    replicas: AtomicU32,
    observer: Box<dyn Observer>,
}

#[derive(Debug)]
struct State {
    /// Connections that should be there and are not, of all workers.
    missing: usize,
    /// Whether it was said that it is away.
    away: bool,
}

/// Why a decision was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The answer did not come in time.
    Timeout,
    /// The connection broke.
    Connection,
    /// The server answered with an error.
    Refused,
    /// There was nobody to ask.
    Away,
    /// Too many questions were waiting for answers.
    Busy,
}

impl Health {
    /// Of a store of which so many workers will each have connections.
    pub(super) fn new(workers: usize, observer: Box<dyn Observer>) -> Self {
        observer.stands(false);
        observer.shared_by(1);
        Self {
            state: Mutex::new(State { missing: workers, away: false }),
            available: watch::Sender::new(true),
            replicas: AtomicU32::new(1),
            observer,
        }
    }

    /// Whether it can be asked, from now on.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.available.subscribe()
    }

    /// How many replicas there are; when the store is away, how many there were.
    pub(super) fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::new(self.replicas.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn set_replicas(&self, replicas: u32) {
        let replicas = replicas.max(1);
        if self.replicas.swap(replicas, Ordering::Relaxed) != replicas {
            self.observer.shared_by(replicas);
        }
    }

    pub(super) fn decided(&self, after: Duration) {
        self.observer.decided(after);
    }

    pub(super) fn lacked(&self, lack: Lack) {
        self.observer.lacked(lack);
    }

    /// So many connections should be there from now on, and are not yet.
    pub(super) fn expect(&self, connections: usize) {
        let mut state = self.lock();
        state.missing += connections;
        self.observer.stands(false);
    }

    /// A connection that was missing is there, or is not expected any more.
    pub(super) fn found(&self) {
        let mut state = self.lock();
        state.missing = state.missing.saturating_sub(1);
        if state.missing > 0 {
            return;
        }
        self.observer.stands(true);
        if std::mem::take(&mut state.away) {
            tracing::info!("the store of shared limits is back");
        }
        self.available.send_if_modified(|available| !std::mem::replace(available, true));
    }

    /// One that was expected, or there, cannot be had.
    pub(super) fn away(&self, server: &str, why: &str) {
        let mut state = self.lock();
        if state.missing == 0 || std::mem::replace(&mut state.away, true) {
            return;
        }
        tracing::warn!(
            server,
            error = why,
            "the store of shared limits is away: each limit does what its failureMode says"
        );
        self.available.send_if_modified(|available| std::mem::replace(available, false));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("state", &self.state).field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Lack {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Timeout, Self::Connection, Self::Refused, Self::Away, Self::Busy];

    /// The value of a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::Busy => "busy",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Hears everything and keeps the last of it.
    #[derive(Clone, Default)]
    pub(in super::super) struct Heard {
        pub(in super::super) up: Arc<AtomicBool>,
        pub(in super::super) replicas: Arc<AtomicU32>,
        pub(in super::super) decided: Arc<AtomicU32>,
        pub(in super::super) lacked: Arc<Mutex<Vec<Lack>>>,
    }

    impl Observer for Heard {
        fn decided(&self, _after: Duration) {
            self.decided.fetch_add(1, Ordering::Relaxed);
        }
        fn lacked(&self, lack: Lack) {
            self.lacked.lock().unwrap().push(lack);
        }
        fn stands(&self, up: bool) {
            self.up.store(up, Ordering::Relaxed);
        }
        fn shared_by(&self, replicas: u32) {
            self.replicas.store(replicas, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_available_until_a_connection_cannot_be_had() {
        let heard = Heard::default();
        let health = Health::new(2, Box::new(heard.clone()));
        let seen = health.watch();
        let stands = || (*seen.borrow(), heard.up.load(Ordering::Relaxed));
        assert_eq!(stands(), (true, false), "nothing is known yet");
        health.found();
        health.away("redis:6379", "refused");
        assert_eq!(stands(), (false, false));
        health.found();
        assert_eq!(stands(), (true, true));
        health.away("redis:6379", "a late word of what has been settled");
        assert_eq!(stands(), (true, true));
        health.expect(1);
        assert_eq!(stands(), (true, false));
        health.away("redis:6379", "refused");
        health.away("redis:6379", "refused again");
        assert_eq!(stands(), (false, false));
    }

    #[test]
    fn there_is_always_this_replica() {
        let heard = Heard::default();
        let health = Health::new(1, Box::new(heard.clone()));
        for (told, replicas) in [(None, 1), (Some(3), 3), (Some(0), 1)] {
            if let Some(told) = told {
                health.set_replicas(told);
            }
            assert_eq!((health.replicas().get(), heard.replicas.load(Ordering::Relaxed)), (replicas, replicas));
        }
    }
}
