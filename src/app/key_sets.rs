//! Keeps the keys of issuers fresh: one task for each set that the table names.

mod fetch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::auth::RemoteKeys;
use crate::source::ObjectKey;
use crate::telemetry::Metrics;

/// How often an issuer is asked.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Tokens with unknown keys do not lead to a fetch sooner than this after the one before: whoever makes keys up must
    /// not make us flood the issuer.
    ask_again: Duration,
    /// The wait after a first failure; doubled with every further one.
    first_retry: Duration,
    /// The longest wait after a failure.
    last_retry: Duration,
    /// For how long keys are believed that cannot be fetched again. An issuer that is down must not lock everybody out,
    /// and a key that was withdrawn must not be good for ever because somebody is in between.
    believed: Duration,
}

const PACE: Pace = Pace {
    ask_again: Duration::from_secs(30),
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(30),
    believed: Duration::from_secs(24 * 60 * 60),
};

/// The tasks that run.
pub(super) struct KeySets {
    running: Vec<(Arc<RemoteKeys>, AbortHandle)>,
    tasks: JoinSet<()>,
    changed: mpsc::Sender<ObjectKey>,
    metrics: Metrics,
}

impl KeySets {
    /// None yet. Objects whose keys have begun or ceased to be there are told through `changed`.
    pub(super) fn new(changed: mpsc::Sender<ObjectKey>, metrics: Metrics) -> Self {
        Self { running: Vec::new(), tasks: JoinSet::new(), changed, metrics }
    }

    /// Starts and stops tasks until there is one for each of these sets.
    pub(super) fn settle<'k>(&mut self, named: impl Iterator<Item = (&'k ObjectKey, &'k Arc<RemoteKeys>)>) {
        let named: Vec<_> = named.collect();
        self.running.retain(|(keys, task)| {
            let stays = named.iter().any(|(_, named)| Arc::ptr_eq(keys, named));
            if !stays {
                task.abort();
            }
            stays
        });
        while self.tasks.try_join_next().is_some() {}
        for (object, keys) in named {
            if self.running.iter().any(|(running, _)| Arc::ptr_eq(running, keys)) {
                continue;
            }
            let (changed, metrics, object) = (self.changed.clone(), self.metrics.clone(), object.clone());
            let (settings, name) = (keys.settings.clone(), keys.settings.name.clone());
            let task = keep_fresh(
                keys.clone(),
                PACE,
                move || {
                    let settings = settings.clone();
                    async move { fetch::fetch(&settings).await }
                },
                move |good, is_news| {
                    let told = if is_news { changed.try_send(object.clone()) } else { Ok(()) };
                    if told.is_err() {
                        tracing::warn!(%object, "too many key sets change at once: a condition is late");
                    }
                    metrics.keys_fetched(&name, good);
                },
            );
            let task = self.tasks.spawn(task);
            self.running.push((keys.clone(), task));
        }
    }
}

/// Fetches a set now, and again whenever it is due or asked for. `told` hears of every fetch whether it was good, and
/// whether that is news.
async fn keep_fresh<F, R>(keys: Arc<RemoteKeys>, pace: Pace, fetch: F, told: impl Fn(bool, bool))
where
    F: Fn() -> R,
    R: Future<Output = Result<Vec<u8>, String>>,
{
    let settings = &keys.settings;
    let mut failures = 0;
    let mut last_good: Option<Instant> = None;
    loop {
        let began = Instant::now();
        let was_there = keys.current().is_some();
        let fetched = timeout(settings.timeout, fetch()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let outcome = fetched.and_then(|text| keys.publish(&text).map_err(|error| error.to_string()));
        let failure = outcome.err();
        let good = failure.is_none();
        if good {
            failures = 0;
            last_good = Some(Instant::now());
        } else {
            failures += 1;
            if last_good.is_none_or(|last| last.elapsed() > pace.believed) {
                keys.forget();
            }
        }
        let is_there = keys.current().is_some();
        let is_news = keys.note(failure.clone()) | (was_there != is_there);
        match &failure {
            None if is_news => tracing::info!(provider = %settings.name, uri = %settings.uri, "keys fetched"),
            Some(error) if is_news => {
                let kept = if is_there { "those fetched before are kept" } else { "there are none" };
                tracing::warn!(provider = %settings.name, uri = %settings.uri, error, kept, "keys cannot be fetched");
            }
            None | Some(_) => {}
        }
        told(good, is_news);
        keys.over();
        let pause = if good { settings.every } else { pace.retry(failures).min(settings.every) };
        wait(&keys, began + pause, began + pace.ask_again).await;
    }
}

/// Waits until a fetch is due, or asked for once one may be.
async fn wait(keys: &RemoteKeys, due: Instant, open: Instant) {
    if due <= open {
        return sleep_until(due).await;
    }
    sleep_until(open).await;
    keys.open();
    tokio::select! {
        () = sleep_until(due) => {}
        () = keys.asked() => {}
    }
}

impl Pace {
    fn retry(self, failures: u32) -> Duration {
        self.first_retry.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(self.last_retry)
    }
}

#[cfg(test)]
mod tests;
