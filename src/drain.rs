//! Stopping without hurting anyone: the signal, and the wait for what is in flight.

use std::time::Duration;

use tokio::sync::watch;

/// How far a stop has come. Later phases compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    #[default]
    Serving,
    /// Not ready any more, but still accepting: load balancers need time to notice. Connections are asked to go.
    Leaving,
    /// Accepting nothing; finishing what is in flight.
    Draining,
    /// Ending now, whatever is in flight.
    Ended,
}

/// The side that decides.
#[derive(Debug)]
pub struct Signal {
    sender: watch::Sender<Phase>,
}

/// The side that obeys; clones see the same phases.
#[derive(Clone, Debug)]
pub struct Drain {
    receiver: watch::Receiver<Phase>,
}

/// A signal and what listens to it.
pub fn channel() -> (Signal, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Signal { sender }, Drain { receiver })
}

impl Signal {
    /// Moves on to `phase`; going back is ignored.
    pub fn enter(&self, phase: Phase) {
        self.sender.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }
}

impl Drain {
    /// The phase as of now.
    pub fn phase(&self) -> Phase {
        *self.receiver.borrow()
    }

    /// Waits until `phase` or a later one has come; a signal that was dropped counts as the end.
    pub async fn reached(&mut self, phase: Phase) {
        // The only error is a sender that has gone, which is the end as well.
        let _ = self.receiver.wait_for(|current| *current >= phase).await;
    }
}

/// How long the parts of a stop take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// From the signal to the end of accepting.
    pub delay: Duration,
    /// From there to the end of what is in flight.
    pub timeout: Duration,
}
