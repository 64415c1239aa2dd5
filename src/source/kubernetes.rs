//! Declared resources from a cluster.
//!
//! One watch per kind, each with its own clock: a kind that is slow, forbidden or not installed delays no other. A
//! relist becomes one [`Change::Replace`] when it is complete, so that no kind is ever seen half listed; what is known
//! of a kind that cannot be watched stays until it can. ConfigMaps, and Secrets that are no certificates, are never
//! listed: each has a watch of its own for as long as something refers to it.
//!
//! [`Change::Replace`]: super::Change::Replace

mod backoff;
mod document;
mod named;
mod outage;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch as tokio_watch};

use self::document::{Document, resource};
pub use self::named::named;
use self::watch::Watch;
use super::{Change, Kind, ObjectKey};

/// How to watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one namespace to watch; all when `None`. Cluster-wide kinds are watched either way.
    pub namespace: Option<String>,
    /// How long one watch request lasts before it is made again. A connection that died without a word is found out at
    /// most 5 s after that. Whole seconds.
    pub watch_timeout: Duration,
    /// How long one page of a list may take.
    pub list_timeout: Duration,
    /// The wait after a first failure; doubled with every further one.
    pub first_retry: Duration,
    /// The longest wait between two attempts: within this, the truth is back after an outage.
    pub last_retry: Duration,
    /// How often what may be got by its name and not be watched is got again.
    pub get_again: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: None,
            watch_timeout: Duration::from_secs(60),
            list_timeout: Duration::from_secs(30),
            first_retry: Duration::from_millis(800),
            last_retry: Duration::from_secs(8),
            get_again: Duration::from_secs(30),
        }
    }
}

/// Where Secrets and ConfigMaps are asked for, on the side of whoever refers to them.
#[derive(Debug)]
pub struct Wanted {
    /// Certificates that have become referenced and are not held (see [`Store::retain`](crate::store::Store::retain)).
    /// Each is answered with its state now; what changes in it later comes with the watch.
    pub certificates: mpsc::Sender<ObjectKey>,
    /// All ConfigMaps that are wanted, and all Secrets of which something else is, whatever their type is.
    pub values: tokio_watch::Sender<BTreeSet<ObjectKey>>,
}

/// The same on the side of the source.
#[derive(Debug)]
pub struct Asked {
    certificates: mpsc::Receiver<ObjectKey>,
    values: tokio_watch::Receiver<BTreeSet<ObjectKey>>,
}

/// Both sides. So many certificates can be asked for between two answers.
pub fn wanted(capacity: usize) -> (Wanted, Asked) {
    let (wanted, certificates) = mpsc::channel(capacity);
    let (values_wanted, values) = tokio_watch::channel(BTreeSet::new());
    (Wanted { certificates: wanted, values: values_wanted }, Asked { certificates, values })
}

/// The client's settings with those that watching needs: an answer that never begins is given up, and failures reach
/// the watch, which has its own idea of when to try again and must be able to tell what is wrong.
pub fn bounded(mut config: kube::Config, settings: &Settings) -> kube::Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than a watch may be idle, or every quiet watch would end in an error.
    config.read_timeout = Some(settings.watch_timeout + Duration::from_secs(10));
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
}

/// Sends what the cluster declares and what changes in it. Ends when nobody receives, and else never: whatever fails is
/// told and tried again.
pub async fn run(client: Client, settings: Settings, sender: mpsc::Sender<Vec<Change>>, asked: Asked) {
    let mut secrets_wanted = Some(asked.certificates);
    let named = named::run(client.clone(), settings.clone(), sender.clone(), asked.values);
    let watches = Kind::LISTED.map(|kind| {
        let watch = Watch {
            kind,
            api: api(&client, kind, settings.namespace.as_deref()),
            client: client.clone(),
            settings: settings.clone(),
            sender: sender.clone(),
        };
        let wanted = if kind == Kind::Secret { secrets_wanted.take() } else { None };
        Box::pin(watch.run(wanted))
    });
    tokio::select! {
        () = sender.closed() => {}
        _ = async { tokio::join!(join_all(watches), named) } => {}
    }
}

fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<Document> {
    match namespace {
        Some(namespace) if kind.is_namespaced() => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
        Some(_) | None => Api::all_with(client.clone(), &resource(kind)),
    }
}
