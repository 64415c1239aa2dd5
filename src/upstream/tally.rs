//! What is counted of a service, whichever of its clusters it happened in.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request was sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Repeat {
    /// The connection had been closed while it rested, or before it was used.
    StaleConnection,
    /// No connection to the endpoint.
    ConnectFailure,
    /// HTTP/2: the endpoint says that it did not process the request.
    RefusedStream,
    /// The connection was lost before an answer.
    Reset,
    /// No answer in time.
    Timeout,
    /// A status of the answer.
    Status,
    /// A gRPC status of the answer.
    GrpcStatus,
}

impl Repeat {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::StaleConnection,
        Self::ConnectFailure,
        Self::RefusedStream,
        Self::Reset,
        Self::Timeout,
        Self::Status,
        Self::GrpcStatus,
    ];

    /// The word for it, as metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StaleConnection => "stale_connection",
            Self::ConnectFailure => "connect_failure",
            Self::RefusedStream => "refused_stream",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::GrpcStatus => "grpc_status",
        }
    }
}

/// What is counted of a service. Nothing here happens to a request that goes well, so all workers share it.
#[derive(Debug, Default)]
pub struct Tally {
    repeated: [AtomicU64; Repeat::ALL.len()],
    ejected: AtomicU64,
}

impl Tally {
    /// Counts a repetition.
    pub fn repeat(&self, why: Repeat) {
        if let Some(count) = self.repeated.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an endpoint that is left out from now on.
    pub fn eject(&self) {
        self.ejected.fetch_add(1, Ordering::Relaxed);
    }

    /// How often requests were repeated, by why.
    pub fn repeated(&self) -> impl Iterator<Item = (Repeat, u64)> {
        Repeat::ALL.into_iter().zip(&self.repeated).map(|(why, count)| (why, count.load(Ordering::Relaxed)))
    }

    /// How often an endpoint was left out.
    pub fn ejected(&self) -> u64 {
        self.ejected.load(Ordering::Relaxed)
    }
}
