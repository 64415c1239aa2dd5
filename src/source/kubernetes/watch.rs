//! The watch of one kind.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::Settings;
use super::backoff::Backoff;
use super::document::{Document, resource};
use super::outage::{Failure, Outage, judge};
use crate::source::decode::{self, Origin};
use crate::source::{Change, Kind, ObjectKey};

/// After how many failures in a row a passing outage is told.
const PATIENCE: u32 = 3;

/// The only type of Secret that is served from.
const TLS: &str = "kubernetes.io/tls";

/// How long one GET of a wanted Secret may take.
const GET_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a Secret is got again that no watch speaks of, because Secrets may only be got by their names: a renewed
/// certificate is noticed within this.
const SECRET_AGAIN: Duration = Duration::from_secs(30);

/// Nobody receives any more.
struct Closed;

/// What one kind is watched with.
pub(super) struct Watch {
    pub(super) kind: Kind,
    pub(super) api: Api<Document>,
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) sender: mpsc::Sender<Vec<Change>>,
}

/// What is known of how the watch goes.
struct Health {
    backoff: Backoff,
    /// Failures since the last sign of life.
    failures: u32,
    /// Whether the kind was ever listed whole.
    listed: bool,
    /// What was last told to be wrong.
    told: Option<String>,
}

/// Secrets asked for. They are fetched between two events of the watch and never beside it, so an answer can not
/// overtake a newer event: whatever changed after the answer is still to come.
struct Wanted {
    keys: Option<mpsc::Receiver<ObjectKey>>,
    /// Those whose GET failed or that no watch speaks of, and when to get them again; the soonest first.
    again: VecDeque<(Instant, ObjectKey)>,
}

impl Watch {
    /// Watches until nobody receives.
    pub(super) async fn run(self, keys: Option<mpsc::Receiver<ObjectKey>>) {
        let mut wanted = Wanted { keys, again: VecDeque::new() };
        let mut health = Health {
            backoff: Backoff::new(self.settings.first_retry, self.settings.last_retry),
            failures: 0,
            listed: false,
            told: None,
        };
        // A round ends when its watcher is of no more use; the next begins with a list.
        while self.round(&mut health, &mut wanted).await.is_ok() {}
    }

    async fn round(&self, health: &mut Health, wanted: &mut Wanted) -> Result<(), Closed> {
        let mut events = pin!(watcher(self.api.clone(), self.config()));
        // The pages of a list so far; `None` once it is complete.
        let mut listing: Option<Vec<Change>> = Some(Vec::new());
        loop {
            let event = tokio::select! {
                event = self.next(events.as_mut(), listing.is_some()) => event,
                key = wanted.next() => {
                    self.fetch(key, wanted, health.listed).await?;
                    continue;
                }
            };
            match event {
                Ok(Event::Init) => listing = Some(Vec::new()),
                Ok(Event::InitApply(document)) => listing.get_or_insert_default().extend(self.change(document)),
                Ok(Event::InitDone) => {
                    let objects = listing.take().unwrap_or_default();
                    debug!(kind = %self.kind, objects = objects.len(), "listed");
                    (health.listed, health.failures, health.told) = (true, 0, None);
                    self.send(vec![Change::Replace(self.kind, objects), Change::Synced(self.kind)]).await?;
                }
                Ok(Event::Apply(document)) => {
                    health.failures = 0;
                    if let Some(change) = self.change(document) {
                        self.send(vec![change]).await?;
                    }
                }
                Ok(Event::Delete(document)) => {
                    health.failures = 0;
                    self.send(vec![Change::Delete(document.key(self.kind))]).await?;
                }
                Err(failure) => {
                    let stalled = matches!(failure, Failure::Stalled);
                    listing = listing.map(|_| Vec::new());
                    let out = self.tell(health, &failure).await?;
                    let time = health.backoff.next(Instant::now());
                    self.wait(time, wanted, health.listed).await?;
                    // A watch that resumes says nothing until something changes. After an outage was told, only a
                    // list shows that it is over.
                    if out || stalled {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn config(&self) -> watcher::Config {
        let seconds = u32::try_from(self.settings.watch_timeout.as_secs()).unwrap_or(u32::MAX);
        let config = watcher::Config::default().timeout(seconds);
        match self.kind {
            Kind::Secret => config.fields(&format!("type={TLS}")),
            Kind::IngressClass
            | Kind::Ingress
            | Kind::GatewayRoute
            | Kind::RateLimitPolicy
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::ConfigMap
            | Kind::ReferenceGrant => config,
        }
    }

    /// The next event; while listing, within the time a page may take. A watch looks after its own time.
    async fn next(
        &self,
        mut events: Pin<&mut (impl Stream<Item = watcher::Result<Event<Document>>> + Send)>,
        listing: bool,
    ) -> Result<Event<Document>, Failure> {
        let event = if listing {
            timeout(self.settings.list_timeout, events.next()).await.map_err(|_| Failure::Stalled)?
        } else {
            events.next().await
        };
        match event {
            Some(event) => event.map_err(Failure::Watcher),
            // kube's watcher has no end.
            None => pending().await,
        }
    }

    /// Tells an outage, if it is one to tell, and says whether one is being told.
    async fn tell(&self, health: &mut Health, failure: &Failure) -> Result<bool, Closed> {
        health.failures += 1;
        let (reason, told) = match judge(self.kind, self.settings.namespace.as_deref(), failure) {
            Outage::Lasting(reason) => (reason, true),
            // Before the first list a kind whose server only fails to answer is awaited, not given up: whoever serves
            // without it would answer wrongly for all that it declares.
            Outage::Passing(reason) => {
                let long = health.failures >= PATIENCE;
                if long && !health.listed && health.told.as_ref() != Some(&reason) {
                    warn!(kind = %self.kind, reason, "still waiting for the first list");
                    health.told = Some(reason.clone());
                }
                (reason, long && health.listed)
            }
        };
        if !told {
            debug!(kind = %self.kind, reason, "watching again");
            return Ok(health.told.is_some());
        }
        if health.told.as_ref() != Some(&reason) {
            health.told = Some(reason.clone());
            self.send(vec![Change::Unavailable(self.kind, reason)]).await?;
        }
        Ok(true)
    }

    /// Waits before the next attempt. Secrets are fetched meanwhile: their watch may be forbidden or broken and a GET
    /// still succeed.
    async fn wait(&self, time: Duration, wanted: &mut Wanted, listed: bool) -> Result<(), Closed> {
        let mut over = pin!(sleep(time));
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                key = wanted.next() => self.fetch(key, wanted, listed).await?,
            }
        }
    }

    /// Answers for a wanted Secret; again and again while Secrets were never `listed`, as then no watch speaks of it.
    async fn fetch(&self, key: ObjectKey, wanted: &mut Wanted, listed: bool) -> Result<(), Closed> {
        let secrets: Api<Document> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(Kind::Secret));
        let answer = timeout(GET_TIMEOUT, secrets.get_opt(&key.name)).await;
        if !listed && !matches!(answer, Err(_) | Ok(Err(_))) {
            wanted.try_again(key.clone(), SECRET_AGAIN);
        }
        let change = match answer {
            Ok(Ok(Some(document))) if document.value.get("type").and_then(Value::as_str) == Some(TLS) => {
                self.change(document)
            }
            Ok(Ok(Some(_) | None)) => Some(Change::Delete(key)),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                warn!(secret = %key, reason = status.message, "not allowed to get a Secret that is referred to");
                wanted.try_again(key.clone(), SECRET_AGAIN);
                Some(Change::Delete(key))
            }
            Ok(Err(error)) => {
                debug!(secret = %key, %error, "asking again");
                wanted.try_again(key, self.settings.first_retry);
                None
            }
            Err(_) => {
                wanted.try_again(key, self.settings.first_retry);
                None
            }
        };
        match change {
            Some(change) => self.send(vec![change]).await,
            None => Ok(()),
        }
    }

    fn change(&self, document: Document) -> Option<Change> {
        match decode::decode(self.kind, document.value, Origin::Cluster) {
            Ok(change) => Some(change),
            Err(finding) => {
                warn!(kind = %self.kind, reason = finding.message, "an object without a name came");
                None
            }
        }
    }

    async fn send(&self, changes: Vec<Change>) -> Result<(), Closed> {
        self.sender.send(changes).await.map_err(|_| Closed)
    }
}

impl Wanted {
    /// The next Secret to fetch: one just asked for, or one whose GET failed and is due again.
    async fn next(&mut self) -> ObjectKey {
        loop {
            let asked = async {
                match &mut self.keys {
                    Some(keys) => keys.recv().await,
                    None => pending().await,
                }
            };
            let due = async {
                match self.again.front() {
                    Some((due, _)) => sleep_until(*due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                key = asked => match key {
                    Some(key) => return key,
                    None => self.keys = None,
                },
                () = due => {
                    if let Some((_, key)) = self.again.pop_front() {
                        return key;
                    }
                }
            }
        }
    }

    fn try_again(&mut self, key: ObjectKey, after: Duration) {
        self.again.retain(|(_, known)| *known != key);
        let due = Instant::now() + after;
        let place = self.again.partition_point(|(other, _)| *other <= due);
        self.again.insert(place, (due, key));
    }
}
