//! ConfigMaps, and Secrets of other types than a certificate's, each watched by its name: only what something of ours
//! refers to is ever read, so a role that allows no more than those names is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::StreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::Settings;
use super::backoff::Backoff;
use super::document::{Document, resource};
use crate::source::decode::{self, Origin};
use crate::source::{Change, ObjectKey};

/// Watches the objects that are wanted, for as long as each is. Ends when nobody wants any more.
pub(super) async fn run(
    client: Client,
    settings: Settings,
    sender: mpsc::Sender<Vec<Change>>,
    mut wanted: watch::Receiver<BTreeSet<ObjectKey>>,
) {
    let mut running: BTreeMap<ObjectKey, AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let names = wanted.borrow_and_update().clone();
        running.retain(|key, task| {
            let stays = names.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for key in names {
            let (client, settings, sender) = (client.clone(), settings.clone(), sender.clone());
            running.entry(key).or_insert_with_key(|key| tasks.spawn(follow(client, settings, sender, key.clone())));
        }
        while tasks.try_join_next().is_some() {}
        if wanted.changed().await.is_err() {
            // Nothing else will be wanted; what is, stays so.
            while tasks.join_next().await.is_some() {}
            return;
        }
    }
}

/// Sends one object as it is now, and what becomes of it. Ends when nobody receives.
async fn follow(client: Client, settings: Settings, sender: mpsc::Sender<Vec<Change>>, key: ObjectKey) {
    let api: Api<Document> = Api::namespaced_with(client, &key.namespace, &resource(key.kind));
    let seconds = u32::try_from(settings.watch_timeout.as_secs()).unwrap_or(u32::MAX);
    let config = watcher::Config::default().timeout(seconds).fields(&format!("metadata.name={}", key.name));
    let mut events = pin!(watcher(api.clone(), config));
    let mut backoff = Backoff::new(settings.first_retry, settings.last_retry);
    let mut told = false;
    let mut exists = false;
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                exists = false;
                None
            }
            Ok(Event::InitApply(document) | Event::Apply(document)) => {
                (exists, told) = (true, false);
                decode::decode(key.kind, document.value, Origin::Cluster).ok()
            }
            Ok(Event::InitDone) => {
                told = false;
                (!exists).then(|| Change::Delete(key.clone()))
            }
            Ok(Event::Delete(_)) => Some(Change::Delete(key.clone())),
            // Rights to get an object may well not be rights to watch it.
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 403 => {
                let change = match api.get_opt(&key.name).await {
                    Ok(Some(document)) => decode::decode(key.kind, document.value, Origin::Cluster).ok(),
                    Ok(None) => Some(Change::Delete(key.clone())),
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            warn!(object = %key, %error, "not allowed to get an object that is referred to");
                        }
                        // What was got before is kept over an outage, and not over a right that was taken away.
                        let forbidden = matches!(error, kube::Error::Api(status) if status.code == 403);
                        forbidden.then(|| Change::Delete(key.clone()))
                    }
                };
                if let Some(change) = change
                    && sender.send(vec![change]).await.is_err()
                {
                    return;
                }
                sleep(settings.get_again).await;
                None
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    warn!(object = %key, %error, "an object that is referred to cannot be watched");
                } else {
                    debug!(object = %key, %error, "watching again");
                }
                sleep(backoff.next(Instant::now())).await;
                None
            }
        };
        if let Some(change) = change
            && sender.send(vec![change]).await.is_err()
        {
            return;
        }
    }
}

/// One object as it is now; nothing when it does not exist or cannot be read.
pub async fn named(client: &Client, key: &ObjectKey) -> Option<Change> {
    let api: Api<Document> = Api::namespaced_with(client.clone(), &key.namespace, &resource(key.kind));
    match api.get_opt(&key.name).await {
        Ok(found) => decode::decode(key.kind, found?.value, Origin::Cluster).ok(),
        Err(error) => {
            warn!(object = %key, %error, "an object that is referred to cannot be read");
            None
        }
    }
}
