//! Signals: the first asks to stop, the second ends it now.

use std::io;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::drain::{Drain, Phase, Signal};
use crate::telemetry::AccessLog;

/// Has the access log's file opened anew at every SIGUSR1, until the drain has ended: that is what log rotation asks. The
/// signal is listened to in any case, since it would end the process.
pub(super) async fn reopen(log: Option<AccessLog>, mut drain: Drain) -> anyhow::Result<()> {
    let mut asked = signal(SignalKind::user_defined1()).context("SIGUSR1 cannot be listened to")?;
    loop {
        tokio::select! {
            Some(()) = asked.recv() => {
                if let Some(log) = &log {
                    log.reopen();
                }
            }
            () = drain.reached(Phase::Ended) => return Ok(()),
        }
    }
}

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
