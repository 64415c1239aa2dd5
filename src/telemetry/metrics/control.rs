//! What the control side says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::histogram::{DURATION, DurationSample, nanoseconds};
use super::identity::KeyFetches;
use super::limits::Limits;
use crate::limit::{LocalStore, Tally};

/// How many more objects of a kind in a namespace are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCount {
    /// The kind, as users write it.
    pub kind: &'static str,
    /// The namespace; empty for a cluster-wide kind.
    pub namespace: String,
    /// The state.
    pub state: ObjectState,
    /// How many more; fewer if it is less than 0.
    pub by: i64,
}

/// Whether a declared object is served as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectState {
    /// It is.
    Accepted,
    /// Something in it has no meaning.
    Invalid,
    /// Something that it refers to is not there.
    Unresolved,
}

/// When a certificate that is served ends to be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The namespace of its Secret.
    pub namespace: String,
    /// The name of its Secret.
    pub secret: String,
    /// The first name that it is valid for.
    pub host: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// What a limit has decided goes by these names.
#[derive(Clone, Debug)]
pub struct LimitLabels {
    /// `namespace/name` of the policy.
    pub policy: String,
    /// The limit's name.
    pub limit: String,
    /// Where it is counted.
    pub scope: &'static str,
    /// What it has decided.
    pub tally: Arc<Tally>,
}

#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) applied: Option<Applied>,
    pub(super) objects: BTreeMap<(&'static str, String, ObjectState), u64>,
    pub(super) watches: BTreeMap<&'static str, bool>,
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) leader: Option<bool>,
    pub(super) certificates: BTreeMap<(String, String, String), i64>,
    pub(super) access_log_dropped: Arc<AtomicU64>,
    pub(super) traces_dropped: Arc<AtomicU64>,
    /// Every issuer of tokens.
    pub(super) providers: BTreeSet<Arc<str>>,
    pub(super) key_fetches: KeyFetches,
    pub(super) limits: Limits,
    pub(super) local_limits: Option<Arc<LocalStore>>,
}

/// What is known of published tables once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) generation: u64,
    pub(super) times: u64,
    /// Since 1970.
    pub(super) last: Duration,
    pub(super) applying: DurationSample,
    pub(super) convergence: DurationSample,
}

// === impl Control ===

impl Control {
    pub(super) fn set_applied(&mut self, generation: u64, now: Duration, applying: Duration, convergence: Duration) {
        let applied = self.applied.get_or_insert_default();
        applied.generation = generation;
        applied.times += 1;
        applied.last = now;
        applied.applying.observe(&DURATION, nanoseconds(applying));
        applied.convergence.observe(&DURATION, nanoseconds(convergence));
    }

    pub(super) fn count_objects(&mut self, counts: impl IntoIterator<Item = ObjectCount>) {
        for ObjectCount { kind, namespace, state, by } in counts {
            let key = (kind, namespace, state);
            match self.objects.get(&key).copied().unwrap_or_default().saturating_add_signed(by) {
                0 => self.objects.remove(&key),
                count => self.objects.insert(key, count),
            };
        }
    }

    /// Several hosts may share a certificate, which is one series; of several under the same names the first to expire
    /// is what matters.
    pub(super) fn set_certificates(&mut self, certificates: impl IntoIterator<Item = CertificateExpiry>) {
        self.certificates.clear();
        for CertificateExpiry { namespace, secret, host, not_after } in certificates {
            let first = self.certificates.entry((namespace, secret, host)).or_insert(not_after);
            *first = not_after.min(*first);
        }
    }
}

// === impl ObjectState ===

impl ObjectState {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Invalid => "invalid",
            Self::Unresolved => "unresolved",
        }
    }
}
