//! How many requests may pass: the arithmetic, and where counts are kept. Nothing here knows of HTTP.
//!
//! ```text
//!   Limit (who is limited, Quota) ─┐
//!   key of a request (bytes) ──────┼─> local store:  one count per key for all workers of the process
//!   cost ──────────────────────────┘   SharedStore:  one count per key for all replicas
//!                                         │
//!                                         └─> Decision
//! ```
//!
//! An algorithm is a function of (state, now, cost) and reads no clock. A store keeps the states by key.

mod leaky_bucket;
mod local;
mod pace;
mod quota;
pub mod redis;
mod shared_store;
mod sliding_window;
mod tally;
mod token_bucket;

use std::sync::Arc;
use std::time::Duration;

pub use local::{DEFAULT_MEMORY, LocalStore, Place, Usage};
pub use quota::{Algorithm, Precision, Quota};
pub use shared_store::{Answer, Ask, Deciding, Presumed, SharedStore, SyncMode, Unavailable};
pub use tally::{Tally, Verdict};

/// One declared limit, as stores know it: a name for its counts and what they are held against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// The policy that declares it, `namespace/name`.
    pub policy: Arc<str>,
    /// Its name within the policy.
    pub name: Arc<str>,
    /// How many requests may pass.
    pub quota: Quota,
    /// How replicas agree on a count that they share; of no meaning for a count of one process.
    pub sync: SyncMode,
    /// What the parts of its keys are, such as `PathParam id, ClientIP/32/64`: keys of other parts are of another kind.
    pub parts: Box<str>,
    fingerprint: u64,
}

/// What a limit says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it passes.
    pub outcome: Outcome,
    /// How much more could pass at this moment, in units of cost.
    pub remaining: u32,
    /// Until everything that was counted is forgotten, if nothing more comes.
    pub reset_after: Duration,
}

/// Whether a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passes, and has been counted.
    Allowed,
    /// It passes after it has waited this long, and has been counted; a leaky bucket's only.
    Delayed(Duration),
    /// It does not pass, and has not been counted. It would after this time, if nothing else came.
    Refused {
        /// That time.
        retry_after: Duration,
    },
}

impl Limit {
    /// A limit of this policy (`namespace/name`) and name.
    pub fn new(policy: Arc<str>, name: Arc<str>, quota: Quota, sync: SyncMode, parts: &str) -> Self {
        let text = format!("{policy}\n{name}\n{quota:?}\n{parts}");
        let fingerprint = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        Self { policy, name, quota, sync, parts: parts.into(), fingerprint }
    }

    /// The same number for the same limit in every replica and after every restart, another for every other: a count
    /// lives on for as long as it stays the same. A limit whose quota or key was changed counts from nothing.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Decision {
    /// Whether the request passes, at once or later.
    pub fn passes(&self) -> bool {
        match self.outcome {
            Outcome::Allowed | Outcome::Delayed(_) => true,
            Outcome::Refused { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
