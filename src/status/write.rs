//! Writing status: newest report in, as few requests as possible out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use super::leader::Leading;
use super::queue::{Pace, Queue};
use super::shown::{KINDS, Shown, key, resource};
use super::{REQUEST_TIMEOUT, Settings, field_manager, gateway_route, ingress, late, rate_limit_policy};
use crate::compile::{ObjectReport, Report};
use crate::persistent::Change;
use crate::source::{Kind, ObjectKey};

/// Requests in flight at once.
const CONCURRENCY: usize = 4;
/// Requests a second, and at once: a leader that takes over a large cluster must not crowd others out of the API server.
const PACE: (u32, u32) = (50, 100);
/// Objects in one page of a list.
const PAGE: u32 = 500;

/// Writes while this replica leads. Returns when the reports end.
pub(super) async fn run(
    client: Client,
    settings: Settings,
    mut reports: watch::Receiver<Arc<Report>>,
    mut addresses: watch::Receiver<Option<BTreeSet<Address>>>,
    mut leading: Leading,
) {
    let cluster =
        Arc::new(Cluster { manager: field_manager(&settings.class), client, settings, leading: leading.clone() });
    while reports.has_changed().is_ok() {
        leading.begun().await;
        // What others have written meanwhile is not known: each term begins with reading.
        let term = Term::begin(cluster.clone(), reports.borrow_and_update().clone());
        tokio::select! {
            // Dropping the term drops its requests.
            () = leading.ended() => {}
            () = term.run(&mut reports, &mut addresses) => return,
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Task {
    /// Read what is shown of every object of a kind.
    List(Kind),
    /// Bring the status of one object to what the report says.
    Settle(ObjectKey),
}

/// What came of a task.
enum Done {
    Listed(Vec<(ObjectKey, Shown)>),
    /// The object as it is now; `None` when it is no more.
    Settled(Option<Shown>),
    /// The term is over.
    Stopped,
}

type Job = Pin<Box<dyn Future<Output = (Task, kube::Result<Done>)> + Send>>;

/// One term of leading: what is known, and what is to be done.
struct Term {
    cluster: Arc<Cluster>,
    report: Arc<Report>,
    addresses: Option<BTreeSet<Address>>,
    /// What is shown of the objects that are ours, or that we have written to.
    shown: HashMap<ObjectKey, Shown>,
    /// The kinds that have been listed; objects of others wait.
    listed: BTreeSet<Kind>,
    queue: Queue<Task>,
    pace: Pace,
}

impl Term {
    fn begin(cluster: Arc<Cluster>, report: Arc<Report>) -> Self {
        let now = Instant::now();
        let mut queue = Queue::new();
        for kind in KINDS {
            queue.push(Task::List(kind), now);
        }
        let pace = Pace::new(PACE.0, PACE.1, now);
        let (shown, listed) = (HashMap::new(), BTreeSet::new());
        Self { cluster, report, addresses: None, shown, listed, queue, pace }
    }

    async fn run(
        mut self,
        reports: &mut watch::Receiver<Arc<Report>>,
        addresses: &mut watch::Receiver<Option<BTreeSet<Address>>>,
    ) {
        let mut jobs = FuturesUnordered::new();
        self.addresses = addresses.borrow_and_update().clone();
        loop {
            while jobs.len() < CONCURRENCY
                && let Some(job) = self.next(Instant::now())
            {
                jobs.push(job);
            }
            let wake = self.queue.next().filter(|_| jobs.len() < CONCURRENCY).map(|due| due.max(self.pace.free_at()));
            tokio::select! {
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let report = reports.borrow_and_update().clone();
                    self.take_report(report);
                }
                Ok(()) = addresses.changed() => {
                    self.addresses = addresses.borrow_and_update().clone();
                    self.settle_all(Kind::Ingress);
                }
                Some((task, result)) = jobs.next() => self.finish(task, result),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Notes what a new report says otherwise than the one before.
    fn take_report(&mut self, report: Arc<Report>) {
        let before = std::mem::replace(&mut self.report, report);
        let at = Instant::now();
        for Change { key, before, now } in self.report.objects.changes(&before.objects) {
            let concerns = match now {
                Some(now) => self.listed.contains(&key.kind) && before != Some(now),
                None => self.shown.contains_key(key),
            };
            if concerns {
                self.queue.push(Task::Settle(key.clone()), at);
            }
        }
    }

    /// Looks at every object of a kind again.
    fn settle_all(&mut self, kind: Kind) {
        if !self.listed.contains(&kind) {
            return;
        }
        let now = Instant::now();
        let reported = self.report.objects.keys().filter(|key| key.kind == kind);
        let shown = self.shown.keys().filter(|key| key.kind == kind);
        let keys: BTreeSet<&ObjectKey> = reported.chain(shown).collect();
        for key in keys {
            self.queue.push(Task::Settle(key.clone()), now);
        }
    }

    /// The next task that needs the API server and may have it now.
    fn next(&mut self, now: Instant) -> Option<Job> {
        if self.pace.free_at() > now {
            return None;
        }
        while let Some(task) = self.queue.pop(now) {
            let cluster = self.cluster.clone();
            let job: Option<Job> = match task.clone() {
                Task::List(kind) => Some(Box::pin(async move { (task, cluster.list(kind).await) })),
                Task::Settle(key) => self.intent(&key).map(|intent| {
                    let known = self.shown.get(&key).cloned();
                    let job: Job = Box::pin(async move { (task, cluster.settle(&key, intent, known).await) });
                    job
                }),
            };
            if job.is_some() {
                self.pace.spend(now);
                return job;
            }
        }
        None
    }

    /// What is to be done about an object, as far as can be told without asking; `None` when nothing is.
    fn intent(&mut self, key: &ObjectKey) -> Option<Intent> {
        let Some(report) = self.report.objects.get(key).filter(|report| report.ours) else {
            if self.shown.get(key).is_some_and(|known| known.written) {
                return Some(Intent::Leave);
            }
            self.shown.remove(key);
            return None;
        };
        if self.shown.get(key).is_some_and(|known| known.uid != report.uid) {
            // Another object of the same name: nothing that was known holds.
            self.shown.remove(key);
        }
        let intent = match key.kind {
            Kind::Ingress => Intent::Publish(self.addresses.clone()?),
            Kind::GatewayRoute | Kind::RateLimitPolicy => Intent::Report(report.clone()),
            Kind::IngressClass
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::ReferenceGrant => {
                return None;
            }
        };
        match self.shown.get(key) {
            // The object has changed since the report, and a newer report is on its way.
            Some(known) if known.generation > report.generation => None,
            Some(known) => intent.body(key, known).map(|_| intent),
            None => Some(intent),
        }
    }

    fn finish(&mut self, task: Task, result: kube::Result<Done>) {
        let now = Instant::now();
        match result {
            Ok(Done::Stopped) => {}
            Ok(Done::Listed(objects)) => {
                if let Task::List(kind) = &task {
                    self.take_list(*kind, objects);
                    self.queue.push(task.clone(), now + self.cluster.settings.resync);
                }
                self.queue.succeeded(&task);
            }
            Ok(Done::Settled(shown)) => {
                if let Task::Settle(key) = &task {
                    match shown {
                        Some(shown) => self.shown.insert(key.clone(), shown),
                        None => self.shown.remove(key),
                    };
                }
                self.queue.succeeded(&task);
            }
            Err(error) => {
                if let Task::Settle(key) = &task {
                    // What is known may be what is wrong.
                    self.shown.remove(key);
                }
                let conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
                if self.queue.failed(task.clone(), now) == 1 && !conflict {
                    match task {
                        Task::List(kind) => {
                            tracing::warn!(%kind, %error, "cannot read status; trying on")
                        }
                        Task::Settle(object) => {
                            tracing::warn!(%object, %error, "cannot write status; trying on")
                        }
                    }
                }
            }
        }
    }

    /// Takes in what is shown of a kind. Of objects that are not ours only those are kept that we have written to.
    fn take_list(&mut self, kind: Kind, objects: Vec<(ObjectKey, Shown)>) {
        let ours = |key: &ObjectKey| self.report.objects.get(key).is_some_and(|report| report.ours);
        let mut listed: BTreeMap<ObjectKey, Shown> =
            objects.into_iter().filter(|(key, shown)| shown.written || ours(key)).collect();
        self.shown.retain(|key, known| {
            // A write may have been answered while the list was being read.
            key.kind != kind || listed.get(key).is_some_and(|listed| known.is_newer_than(listed.version.as_deref()))
        });
        listed.retain(|key, _| !self.shown.contains_key(key));
        self.shown.extend(listed);
        self.listed.insert(kind);
        self.settle_all(kind);
    }
}

/// What an object's status should say.
#[derive(Clone, Debug)]
enum Intent {
    /// What the report says.
    Report(Arc<ObjectReport>),
    /// Where traffic should go.
    Publish(BTreeSet<Address>),
    /// Nothing of ours, if the object has left our class.
    Leave,
}

impl Intent {
    /// The status to apply; `None` when what is shown is right.
    fn body(&self, key: &ObjectKey, shown: &Shown) -> Option<Value> {
        let status = match (self, key.kind) {
            (Self::Leave, _) => return (shown.written && shown.left).then_some(Value::Null),
            (Self::Publish(addresses), _) => serde_json::to_value(ingress::status(addresses, &shown.status())?),
            (Self::Report(report), Kind::RateLimitPolicy) => {
                let (targets, status, now) = (shown.targets(), shown.status(), Timestamp::now());
                serde_json::to_value(rate_limit_policy::status(key, report, &targets, &status, now)?)
            }
            (Self::Report(report), _) => {
                serde_json::to_value(gateway_route::status(report, &shown.status(), Timestamp::now())?)
            }
        };
        // Types of ours, none of which has a key that is no string.
        status.ok()
    }
}

/// The API server, as status is written to it.
struct Cluster {
    client: Client,
    settings: Settings,
    manager: String,
    leading: Leading,
}

impl Cluster {
    async fn list(&self, kind: Kind) -> kube::Result<Done> {
        let resource = resource(kind);
        let api: Api<DynamicObject> = match &self.settings.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut params = ListParams::default().limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let page = match in_time(api.list(&params)).await {
                Ok(page) => page,
                // The kind is not installed, so there is nothing of it.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    return Ok(Done::Listed(Vec::new()));
                }
                Err(error) => return Err(error),
            };
            let read = page.items.into_iter().map(|object| (key(kind, &object), self.shown(kind, object)));
            objects.extend(read);
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                Some(_) | None => return Ok(Done::Listed(objects)),
            }
        }
    }

    /// Writes what is intended, unless it turns out to be shown already.
    async fn settle(&self, key: &ObjectKey, intent: Intent, known: Option<Shown>) -> kube::Result<Done> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(key.kind));
        let must_read = match &intent {
            // Nobody but a leader writes these, and what the leader before us wrote was listed.
            Intent::Publish(_) => false,
            Intent::Report(report) if key.kind == Kind::RateLimitPolicy => {
                known.as_ref().is_none_or(|known| known.generation != report.generation)
            }
            Intent::Report(_) => false,
            Intent::Leave => true,
        };
        let known = if must_read {
            match in_time(api.get_opt(&key.name)).await? {
                Some(object) => Some(self.shown(key.kind, object)),
                None => return Ok(Done::Settled(None)),
            }
        } else {
            known
        };
        let nothing = || self.shown(key.kind, DynamicObject::new("", &resource(key.kind)));
        let shown = known.clone().unwrap_or_else(nothing);
        let Some(body) = intent.body(key, &shown) else {
            return Ok(Done::Settled(known));
        };
        let body = self.apply(key, &intent, &shown, body);
        // The last look before the request goes out: a process that was stopped and goes on ends here.
        if !self.leading.holds() {
            return Ok(Done::Stopped);
        }
        let params = PatchParams::apply(&self.manager).force();
        match in_time(api.patch_status(&key.name, &params, &Patch::Apply(body))).await {
            Ok(object) => Ok(Done::Settled(Some(self.shown(key.kind, object)))),
            // Deleted in between.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Done::Settled(None)),
            Err(error) => Err(error),
        }
    }

    fn apply(&self, key: &ObjectKey, intent: &Intent, shown: &Shown, status: Value) -> Value {
        let mut metadata = Map::from_iter([
            ("name".to_owned(), key.name.as_ref().into()),
            ("namespace".to_owned(), key.namespace.as_ref().into()),
        ]);
        let decided_on_what_was_read = matches!(intent, Intent::Leave) || key.kind == Kind::RateLimitPolicy;
        if decided_on_what_was_read && let Some(version) = &shown.version {
            // So it must still be so.
            metadata.insert("resourceVersion".to_owned(), version.as_str().into());
        }
        let mut body = Map::from_iter([
            ("apiVersion".to_owned(), key.kind.api_version().into()),
            ("kind".to_owned(), key.kind.as_str().into()),
            ("metadata".to_owned(), metadata.into()),
        ]);
        if !status.is_null() {
            body.insert("status".to_owned(), status);
        }
        body.into()
    }

    fn shown(&self, kind: Kind, object: DynamicObject) -> Shown {
        Shown::of(kind, object, &self.manager, &self.settings.class)
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests;
