//! Signals: the first asks to stop, the second ends it now.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::drain::{Phase, Signal};

/// Turns SIGTERM and SIGINT into phases of the drain.
///
/// # Errors
/// When the handlers cannot be installed.
pub(super) async fn stop_on_signals(stop: Arc<Signal>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for phase in [Phase::Leaving, Phase::Ended] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.enter(phase);
    }
    Ok(())
}
