//! Which replica writes: an election over one Lease, with the timing and the safety of client-go's.
//!
//! A candidate measures how long a lease has stood still on its own monotonic clock and never trusts a time that
//! another machine wrote. A leader counts from the moment before its last successful renewal, for a shorter time than
//! others wait; [`Leading::holds`] asks the clock each time, so that a process that was stopped and goes on finds out by
//! itself that its term is over before it writes anything.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The Lease of the default class.
pub const LEASE: &str = "headgate-leader";

/// How the election is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the Lease: our own.
    pub namespace: String,
    /// The name of the Lease; replicas that serve the same class share it ([`lease_name`]).
    pub lease: String,
    /// Who this candidate is; unique to this run of the process ([`identity`]).
    pub identity: String,
    /// How long others wait after they last saw the lease move. Whole seconds.
    pub duration: Duration,
    /// How long a leader goes on without a renewal; well below `duration`, for clocks that run at different speeds and
    /// requests that arrive late.
    pub renew_deadline: Duration,
    /// The time between two attempts; candidates add up to a quarter to it, so that they do not move as one.
    pub retry_period: Duration,
}

impl Settings {
    /// The election for a class in our namespace, with client-go's times.
    pub fn new(namespace: impl Into<String>, class: &str) -> Self {
        Self {
            namespace: namespace.into(),
            lease: lease_name(class),
            identity: identity(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// The Lease that the replicas of a class share: two classes served from one namespace each need a writer.
pub fn lease_name(class: &str) -> String {
    if class == crate::compile::DEFAULT_CLASS { LEASE.to_owned() } else { format!("{LEASE}-{class}") }
}

/// The name of the pod or the machine, and something that a restarted container does not share with its past.
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map(str::trim).filter(|host| !host.is_empty()).unwrap_or("headgate").to_owned();
    format!("{host}_{:016x}", random())
}

/// Two ends of one fact: whether this replica leads.
pub fn channel() -> (Election, Leading) {
    let (sender, receiver) = watch::channel(None);
    (Election { term: sender }, Leading { term: receiver })
}

/// The side that decides.
#[derive(Debug)]
pub struct Election {
    term: watch::Sender<Option<Instant>>,
}

impl Election {
    /// Leads until then, unless it is prolonged. Only a beginning wakes those who wait.
    fn lead_until(&self, end: Instant) {
        self.term.send_if_modified(|term| term.replace(end).is_none_or(|before| before <= Instant::now()));
    }

    fn step_down(&self) {
        self.term.send_if_modified(|term| term.take().is_some());
    }

    fn end(&self) -> Option<Instant> {
        *self.term.borrow()
    }
}

/// The side that obeys; clones see the same.
#[derive(Clone, Debug)]
pub struct Leading {
    term: watch::Receiver<Option<Instant>>,
}

impl Leading {
    /// Whether this replica may write at this moment.
    pub fn holds(&self) -> bool {
        self.term.borrow().is_some_and(|end| Instant::now() < end)
    }

    /// Waits for the beginning of a term; never returns when nobody elects any more.
    pub async fn begun(&mut self) {
        if self.term.wait_for(|term| term.is_some_and(|end| Instant::now() < end)).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits for the end of the term.
    pub async fn ended(&mut self) {
        loop {
            let Some(end) = *self.term.borrow_and_update() else {
                return;
            };
            tokio::select! {
                // The term is prolonged in silence, so its end as known here may be out of date.
                () = sleep_until(end) => if !self.holds() { return },
                changed = self.term.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// What is known of the Lease, and since when on the local clock.
#[derive(Clone, Debug)]
struct Observed {
    /// `None` when it does not exist.
    lease: Option<Lease>,
    /// When it was first seen to be as it is.
    since: Instant,
}

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// There is no Lease: make it.
    Create,
    /// It is ours: prolong it.
    Renew,
    /// Nobody holds it any more: take it.
    Take,
    /// Somebody holds it, for at least this long if it does not move.
    Wait(Duration),
}

/// What to do about a lease as it was observed. Its own duration counts, since it is its holder who promised it.
fn decide(now: Instant, observed: &Observed, settings: &Settings) -> Action {
    let Some(lease) = &observed.lease else {
        return Action::Create;
    };
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    if holder == settings.identity {
        return Action::Renew;
    }
    if holder.is_empty() {
        return Action::Take;
    }
    let promised = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(settings.duration, Duration::from_secs);
    match (observed.since + promised).checked_duration_since(now) {
        Some(left) if !left.is_zero() => Action::Wait(left),
        Some(_) | None => Action::Take,
    }
}

/// Stands for election until `stop`, then gives the lease back, so that the next leader need not wait for it to expire.
/// The end of a term stops writers and clears nothing.
pub async fn run(client: Client, settings: Settings, election: Election, stop: impl Future<Output = ()>) {
    let mut candidate = Candidate {
        leases: Api::namespaced(client, &settings.namespace),
        observed: None,
        settings,
        election,
        troubled: false,
    };
    tokio::select! {
        () = stop => {}
        () = candidate.stand() => {}
    }
    candidate.give_back().await;
}

struct Candidate {
    leases: Api<Lease>,
    settings: Settings,
    election: Election,
    observed: Option<Observed>,
    /// Whether the last attempt failed; a failure is told once, not every two seconds.
    troubled: bool,
}

impl Candidate {
    async fn stand(&mut self) {
        loop {
            let began = Instant::now();
            self.attempt(began).await;
            let now = Instant::now();
            if self.election.end().is_some_and(|end| now >= end) {
                tracing::warn!("the lease could not be renewed: another replica may lead now");
                self.election.step_down();
            }
            let next = began + self.settings.retry_period + self.jitter();
            // The end of the term must not pass unnoticed between two attempts.
            sleep_until(self.election.end().map_or(next, |end| next.min(end)).max(now)).await;
        }
    }

    /// One attempt to get or to keep the lease.
    async fn attempt(&mut self, began: Instant) {
        let limit = began + self.settings.renew_deadline / 2;
        let limit = self.election.end().map_or(limit, |end| limit.min(end));
        match timeout_at(limit.max(began), self.get_or_keep()).await {
            Ok(Ok(true)) => {
                if self.election.end().is_none() {
                    tracing::info!(identity = self.settings.identity, "leading: this replica writes status");
                }
                self.election.lead_until(began + self.settings.renew_deadline);
                self.troubled = false;
            }
            Ok(Ok(false)) => {
                if self.election.end().is_some() {
                    tracing::warn!("another replica has taken the lease");
                }
                self.election.step_down();
                self.troubled = false;
            }
            Ok(Err(error)) => self.told(&error.to_string()),
            Err(_) => self.told("no answer in time"),
        }
    }

    fn told(&mut self, error: &str) {
        // What was observed may have moved; the next attempt looks again.
        if !self.troubled {
            let Settings { namespace, lease, .. } = &self.settings;
            tracing::warn!(lease = format!("{namespace}/{lease}"), error, "the lease is out of reach; trying on");
        }
        self.troubled = true;
    }

    /// Whether the lease is ours now.
    async fn get_or_keep(&mut self) -> kube::Result<bool> {
        // While the term lasts nobody else may have written, so the version that is known is the one to write over.
        if self.election.end().is_some()
            && let Some(observed) = &self.observed
            && let Some(lease) = observed.lease.clone()
            && decide(Instant::now(), observed, &self.settings) == Action::Renew
            && let Some(kept) = self.write(Action::Renew, Some(lease)).await?
        {
            return Ok(kept);
        }
        let observed = self.look().await?;
        match decide(Instant::now(), &observed, &self.settings) {
            Action::Wait(_) => Ok(false),
            action => Ok(self.write(action, observed.lease).await?.unwrap_or(false)),
        }
    }

    /// Reads the lease. What counts as a move is a change of what its holder wrote: a label is none.
    async fn look(&mut self) -> kube::Result<Observed> {
        let lease = self.leases.get_opt(&self.settings.lease).await?;
        let spec = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.spec.clone());
        let since = match &self.observed {
            Some(known) if spec(&known.lease) == spec(&lease) => known.since,
            Some(_) | None => Instant::now(),
        };
        let observed = Observed { lease, since };
        self.observed = Some(observed.clone());
        Ok(observed)
    }

    /// Writes the lease as ours over the version that was read. `None` when another was faster.
    async fn write(&mut self, action: Action, lease: Option<Lease>) -> kube::Result<Option<bool>> {
        let wanted = claimed(action, lease, &self.settings, MicroTime(Timestamp::now()));
        let written = match action {
            Action::Create => self.leases.create(&PostParams::default(), &wanted).await,
            Action::Renew | Action::Take => {
                self.leases.replace(&self.settings.lease, &PostParams::default(), &wanted).await
            }
            Action::Wait(_) => return Ok(Some(false)),
        };
        match written {
            Ok(lease) => {
                self.observed = Some(Observed { lease: Some(lease), since: Instant::now() });
                Ok(Some(true))
            }
            // Already there, changed in between, or gone in between.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops the writers, then empties the lease if it is still ours.
    async fn give_back(&mut self) {
        let led = self.election.end().is_some();
        self.election.step_down();
        // Whoever has looked may have got the lease, even if the answer was cut short.
        if self.observed.is_none() {
            return;
        }
        let result = timeout(self.settings.retry_period, async {
            let observed = self.look().await?;
            let Some(lease) = observed.lease.clone() else {
                return Ok(());
            };
            if decide(Instant::now(), &observed, &self.settings) != Action::Renew {
                return Ok(());
            }
            let freed = freed(lease, MicroTime(Timestamp::now()));
            self.leases.replace(&self.settings.lease, &PostParams::default(), &freed).await.map(|_| ())
        });
        match result.await {
            Ok(Ok(())) if led => tracing::info!("gave the lease back"),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease could not be given back; it expires")
            }
            Err(_) => tracing::warn!("the lease could not be given back in time; it expires"),
        }
    }

    fn jitter(&self) -> Duration {
        // A quarter keeps a hand-over within 2.5 s of a lease that was given back.
        let quarter = u64::try_from(self.settings.retry_period.as_millis() / 4).unwrap_or(u64::MAX);
        Duration::from_millis(random() % quarter.max(1))
    }
}

/// The lease as ours. Labels and whatever else is on it stay.
fn claimed(action: Action, lease: Option<Lease>, settings: &Settings, now: MicroTime) -> Lease {
    let Lease { metadata, spec } = lease.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(settings.lease.clone()), ..ObjectMeta::default() },
        spec: None,
    });
    let spec = spec.unwrap_or_default();
    let kept = action == Action::Renew;
    let transitions = spec.lease_transitions.unwrap_or_default();
    Lease {
        metadata,
        spec: Some(LeaseSpec {
            acquire_time: if kept { spec.acquire_time } else { Some(now.clone()) },
            holder_identity: Some(settings.identity.clone()),
            lease_duration_seconds: i32::try_from(settings.duration.as_secs()).ok(),
            lease_transitions: Some(if action == Action::Take { transitions.saturating_add(1) } else { transitions }),
            renew_time: Some(now),
            preferred_holder: spec.preferred_holder,
            strategy: spec.strategy,
        }),
    }
}

/// The lease as nobody's.
fn freed(lease: Lease, now: MicroTime) -> Lease {
    let spec = lease.spec.unwrap_or_default();
    Lease {
        metadata: lease.metadata,
        spec: Some(LeaseSpec {
            holder_identity: Some(String::new()),
            // Candidates that do not know an empty holder wait no longer than this.
            lease_duration_seconds: Some(1),
            renew_time: Some(now),
            ..spec
        }),
    }
}

/// Good enough to tell runs apart and to spread attempts; nothing secret hangs on it.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests;
