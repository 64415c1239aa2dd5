//! Signals: the first asks to stop, the second ends it now.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{self, SignalKind, signal};

use crate::drain::{Phase, Signal};

/// SIGTERM and SIGINT, noted from the moment this is made. That should be early: the first process of a container is
/// not ended by a signal that it does not listen to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Turns them into phases of the drain.
    pub(super) async fn stop(mut self, stop: Arc<Signal>) {
        for phase in [Phase::Leaving, Phase::Ended] {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            stop.enter(phase);
        }
    }
}
