//! Back to the cluster: what became of what was declared.
//!
//! ```text
//! reports ───┬─> write: conditions, by server-side apply, when they differ from what is shown
//! addresses ─┘          addresses of Ingresses, likewise
//! reports ─────> event: each new problem, once
//!                  │
//! leader ──────────┴─> only while this replica leads
//! ```
//!
//! Status is an output and never an input: nothing here is read by `compile`. Only objects that the report calls ours
//! are written. Losing the lease stops everything at once and clears nothing; getting it again begins with reading what
//! is shown. Nothing is removed when the process stops: another replica, or the next one, serves the same traffic.

pub mod address;
mod condition;
mod event;
mod gateway_route;
mod ingress;
pub mod leader;
mod queue;
mod rate_limit_policy;
mod shown;
mod write;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use self::address::Publish;
use self::leader::Leading;
use crate::compile::{DEFAULT_CLASS, Report};

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The class that is served.
    pub class: String,
    /// Who this replica is, as Events name it; the same as in the election.
    pub identity: String,
    /// The one namespace that is watched; all when `None`.
    pub namespace: Option<String>,
    /// Where the addresses of Ingresses come from.
    pub publish: Publish,
    /// How often what is shown is read again, so that what another has overwritten is put right.
    pub resync: Duration,
}

impl Settings {
    /// The settings for a class, publishing no addresses.
    pub fn new(class: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            identity: identity.into(),
            namespace: None,
            publish: Publish::Nothing,
            resync: Duration::from_secs(600),
        }
    }
}

/// The name under which a class's replicas own what they write. Each class has its own, so that giving up an object
/// cannot take away what another class has written to it since.
pub fn field_manager(class: &str) -> String {
    let name = if class == DEFAULT_CLASS { "headgate".to_owned() } else { format!("headgate-{class}") };
    // The API server takes no longer ones; names of classes that are the same so far are not seen in practice.
    clipped(&name, 128).to_owned()
}

/// Keeps the status of our objects at what the newest report says while `leading`, and tells new problems as Events.
/// Returns when the reports end; whatever else fails is told and tried again.
///
/// A report is taken as a whole: an object that it does not call ours is none of ours. `reports` may begin with an empty
/// one.
pub async fn run(client: Client, settings: Settings, reports: watch::Receiver<Arc<Report>>, leading: Leading) {
    let (sender, addresses) = watch::channel(None);
    let follow = address::follow(client.clone(), settings.publish.clone(), sender);
    let events = event::run(client.clone(), settings.identity.clone(), reports.clone(), leading.clone());
    let writes = write::run(client, settings, reports, addresses, leading);
    tokio::select! {
        () = follow => {}
        ((), ()) = async { tokio::join!(events, writes) } => {}
    }
}

/// The beginning of `text`, of at most `limit` bytes.
fn clipped(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// What a request that takes too long ends with.
fn late() -> kube::Error {
    kube::Error::Service(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()).into())
}
