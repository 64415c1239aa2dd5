//! Events: each new problem is told once, where `kubectl describe` shows it.
//!
//! An Event's name is made from what it says, so that the leader that comes next does not tell again what the API
//! server still has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use xxhash_rust::xxh3::xxh3_128;

use super::leader::Leading;
use super::queue::Pace;
use super::{REQUEST_TIMEOUT, clipped, late};
use crate::compile::{CONTROLLER, ObjectReport, Problem, Report};
use crate::source::ObjectKey;

/// For how long after it was last there a problem that comes back is the same one. The API server keeps Events as long
/// by default (`--event-ttl`).
const MEMORY: Duration = Duration::from_secs(3600);
/// How many problems are remembered at most; 24 bytes each.
const REMEMBERED: usize = 65_536;
/// How many problems of one object are told; its status counts the rest.
const PER_OBJECT: usize = 16;
/// Events a second, and at once: they are for people to read, and fill the API server's store.
const PACE: (u32, u32) = (10, 100);
/// The wait after one could not be written.
const RETRY: Duration = Duration::from_secs(15);
/// The wait after one was forbidden, which takes a person to change.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(300);
/// The API server refuses more than 1024 bytes.
const NOTE_LIMIT: usize = 1000;
/// An Event's name has at most 253 bytes, of which the fingerprint takes 33.
const NAME_LIMIT: usize = 220;

/// Tells the problems of each report while this replica leads. Returns when the reports end.
pub(super) async fn run(client: Client, instance: String, mut reports: watch::Receiver<Arc<Report>>, leading: Leading) {
    let mut teller = Teller {
        client,
        instance,
        leading: leading.clone(),
        told: Told::default(),
        pace: Pace::new(PACE.0, PACE.1, Instant::now()),
        troubled: false,
    };
    let mut leading = leading;
    loop {
        leading.begun().await;
        let report = reports.borrow_and_update().clone();
        let again = teller.tell(&report, &reports).await;
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            () = sleep(again) => {}
            () = leading.ended() => {}
        }
    }
}

struct Teller {
    client: Client,
    instance: String,
    leading: Leading,
    told: Told,
    pace: Pace,
    /// Whether the last attempt failed; a failure that lasts is told once.
    troubled: bool,
}

impl Teller {
    /// Tells what is new, until there is a newer report or the term ends. Says when to look again.
    async fn tell(&mut self, report: &Report, reports: &watch::Receiver<Arc<Report>>) -> Duration {
        let mut again = MEMORY;
        let mut forbidden = BTreeSet::new();
        for News { fingerprint, key, object, problem } in self.told.news(report, Instant::now()) {
            if forbidden.contains(&key.namespace) {
                continue;
            }
            sleep_until(self.pace.free_at()).await;
            if !self.leading.holds() || reports.has_changed().unwrap_or(true) {
                return again;
            }
            self.pace.spend(Instant::now());
            let event = event(fingerprint, key, object, problem, &self.instance);
            match self.write(&event).await {
                Ok(()) => {
                    self.told.remember(fingerprint, Instant::now());
                    self.troubled = false;
                }
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    self.trouble(key, &status.message);
                    again = again.min(FORBIDDEN_RETRY);
                    forbidden.insert(&key.namespace);
                }
                Err(error) => {
                    self.trouble(key, &error.to_string());
                    return RETRY;
                }
            }
        }
        again
    }

    /// Writes an Event, unless it is there already, told by a leader before us, or nobody will ever look.
    async fn write(&self, event: &Event) -> kube::Result<()> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let events = Api::<Event>::namespaced(self.client.clone(), namespace);
        let written = timeout(REQUEST_TIMEOUT, events.create(&PostParams::default(), event)).await;
        match written.unwrap_or_else(|_| Err(late())) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) || in_vain(&status) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn trouble(&mut self, key: &ObjectKey, error: &str) {
        if !self.troubled {
            tracing::warn!(object = %key, error, "an Event could not be written; trying on");
        }
        self.troubled = true;
    }
}

/// A namespace that is being deleted takes nothing new.
fn in_vain(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// A problem that has not been told.
struct News<'a> {
    fingerprint: u128,
    key: &'a ObjectKey,
    object: &'a ObjectReport,
    problem: &'a Problem,
}

/// The problems that have been told, and when each was last there.
#[derive(Debug, Default)]
struct Told {
    seen: HashMap<u128, Instant>,
}

impl Told {
    /// The problems of `report` that have not been told. Forgets what has not been there for long.
    fn news<'a>(&mut self, report: &'a Report, now: Instant) -> Vec<News<'a>> {
        let mut news = Vec::new();
        let mut troubled: Vec<_> = report.troubled.iter().collect();
        troubled.sort_by_key(|(key, _)| *key);
        for (key, object) in troubled {
            // Without a uid there is no object in a cluster to tell it of.
            let Some(uid) = &object.uid else { continue };
            for problem in object.problems.iter().take(PER_OBJECT) {
                let fingerprint = fingerprint(uid, problem);
                match self.seen.get_mut(&fingerprint) {
                    Some(last) => *last = now,
                    None => news.push(News { fingerprint, key, object, problem }),
                }
            }
        }
        self.seen.retain(|_, last| now.duration_since(*last) < MEMORY);
        news
    }

    fn remember(&mut self, fingerprint: u128, now: Instant) {
        if self.seen.len() >= REMEMBERED {
            // Half of the oldest at once, so that this is rare.
            let mut times: Vec<Instant> = self.seen.values().copied().collect();
            let middle = times.len() / 2;
            let (_, &mut middle, _) = times.select_nth_unstable(middle);
            self.seen.retain(|_, last| *last > middle);
        }
        self.seen.insert(fingerprint, now);
    }
}

/// The same for the same problem of the same object, on every replica.
fn fingerprint(uid: &str, problem: &Problem) -> u128 {
    let Problem { code, rule, field, what, remedy, place: _ } = problem;
    let rule = rule.as_deref().unwrap_or_default();
    // No part can hold the separator: they are words, names, paths of fields and sentences.
    xxh3_128([uid, code.as_str(), rule, field, what, remedy].join("\0").as_bytes())
}

fn event(fingerprint: u128, key: &ObjectKey, object: &ObjectReport, problem: &Problem, instance: &str) -> Event {
    let namespace = match &*key.namespace {
        // Events about cluster-wide objects live here.
        "" => "default",
        namespace => namespace,
    };
    let name = clipped(&key.name, NAME_LIMIT).trim_end_matches(['.', '-']);
    let note = format!("{}: {problem}", problem.code);
    let note = match clipped(&note, NOTE_LIMIT) {
        whole if whole.len() == note.len() => note,
        part => format!("{part}…"),
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{fingerprint:032x}")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some("Compile".to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(note),
        reason: Some(problem.code.reason().as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(key.kind.api_version().to_owned()),
            kind: Some(key.kind.as_str().to_owned()),
            name: Some(key.name.to_string()),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.to_string()),
            uid: object.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(clipped(instance, 128).to_owned()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Code;
    use crate::source::Kind;

    fn report(uid: &str, problems: &[Problem]) -> Report {
        let object = ObjectReport { uid: Some(uid.to_owned()), problems: problems.to_vec(), ..ObjectReport::default() };
        let key = ObjectKey::new(Kind::Ingress, "shop", "web");
        [(key, object)].into_iter().collect()
    }

    fn problem(what: &str) -> Problem {
        Problem::new(Code::PathTaken, "spec.rules[0]", what, "use another path")
    }

    fn told_of(told: &mut Told, report: &Report, now: Instant) -> usize {
        let fingerprints: Vec<u128> = told.news(report, now).iter().map(|news| news.fingerprint).collect();
        for fingerprint in &fingerprints {
            told.remember(*fingerprint, now);
        }
        fingerprints.len()
    }

    #[test]
    fn a_problem_is_told_once_for_each_object() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told_of(&mut told, &report("a", &[problem("x"), problem("y")]), now), 2);
        assert_eq!(told_of(&mut told, &report("a", &[problem("y"), problem("x")]), now), 0);
        assert_eq!(told_of(&mut told, &report("a", &[problem("x"), problem("z")]), now), 1);
        assert_eq!(told_of(&mut told, &report("b", &[problem("x")]), now), 1, "a new object of the same name");
    }

    #[test]
    fn a_problem_that_flaps_is_told_again_only_after_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        let (broken, mended) = (report("a", &[problem("x")]), report("a", &[]));
        assert_eq!(told_of(&mut told, &broken, start), 1);
        assert_eq!(told_of(&mut told, &mended, start + MEMORY / 4), 0);
        assert_eq!(told_of(&mut told, &broken, start + MEMORY / 2), 0);
        assert_eq!(told_of(&mut told, &broken, start + MEMORY), 0, "it was there all the time");
        assert_eq!(told_of(&mut told, &mended, start + 3 * MEMORY), 0);
        assert_eq!(told_of(&mut told, &broken, start + 4 * MEMORY), 1);
    }

    #[test]
    fn the_memory_and_the_flood_of_one_object_are_bounded() {
        let (mut told, now) = (Told::default(), Instant::now());
        for fingerprint in 0..100_000 {
            told.remember(fingerprint, now + Duration::from_millis(u64::try_from(fingerprint).unwrap()));
        }
        assert!(told.seen.len() <= REMEMBERED);
        assert!(told.seen.contains_key(&99_999));

        let many: Vec<Problem> = (0..100).map(|n| problem(&n.to_string())).collect();
        assert_eq!(told.news(&report("a", &many), now).len(), PER_OBJECT);
    }

    #[test]
    fn an_event_is_within_what_the_api_server_takes() {
        let name = format!("{}.example", "n".repeat(245));
        let key = ObjectKey::new(Kind::IngressClass, "", &name);
        let object = ObjectReport { uid: Some("u".to_owned()), ..ObjectReport::default() };
        let problem = problem(&"ä".repeat(2000));
        let event = event(u128::MAX, &key, &object, &problem, &"i".repeat(300));
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert!(event.metadata.name.unwrap().len() <= 253);
        assert!(event.note.unwrap().len() <= 1024);
        assert_eq!(event.reporting_instance.unwrap().len(), 128);
        assert_eq!(event.reason.as_deref(), Some("Conflicted"));
        assert_eq!(event.regarding.unwrap().name, Some(name));
    }
}
