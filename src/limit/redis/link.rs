//! One worker's hand on the store: its servers, which of them holds what, and the leases it has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connection::{Broken, Connection, PATIENCE, driven};
use super::health::{Health, Lack};
use super::lease::{Lease, Take};
use super::node::{Failure, Node};
use super::script::{Call, Script, Verdict};
use super::servers::{Found, Kept, Servers, Standing};
use super::settings::{Server, Settings};
use super::slots::Slots;
use crate::limit::{Answer, Ask, Decision, Limit, SyncMode, Unavailable};

/// Between looks at a cluster that something is wrong with.
const SOON: Duration = Duration::from_millis(250);
/// Between looks at one that is well.
const LATER: Duration = Duration::from_secs(30);
/// Between the signs of life of a replica, and how long one may be silent.
const BEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);
/// A question follows a key that has moved so often: once for each server, and once more for a move in between.
const HOPS: usize = 4;
/// As many leases at once; who comes when they are all in use is asked about one by one.
const LEASES: usize = 16_384;

pub(super) struct Link {
    settings: Arc<Settings>,
    health: Arc<Health>,
    servers: RefCell<Servers>,
    /// Something is not where it was.
    changed: Rc<Notify>,
    leases: RefCell<HashMap<String, Rc<Leased>>>,
    jobs: mpsc::UnboundedSender<Job>,
    /// What of it has been taken to be done.
    taking: RefCell<Option<mpsc::UnboundedReceiver<Job>>>,
    began: Instant,
}

/// A lease, and who waits for it.
struct Leased {
    lease: RefCell<Lease>,
    /// The last grant that was asked for did not come.
    failed: Cell<bool>,
    granted: Notify,
}

/// What no request waits for.
enum Job {
    Grant { leased: Rc<Leased>, limit: Limit, key: Vec<u8>, cost: std::num::NonZeroU32, times: u32 },
    GiveBack(Call),
}

impl Link {
    pub(super) fn new(settings: Arc<Settings>, health: Arc<Health>) -> Self {
        let (jobs, taking) = mpsc::unbounded_channel();
        Self {
            settings,
            health,
            servers: RefCell::default(),
            changed: Rc::new(Notify::new()),
            leases: RefCell::default(),
            jobs,
            taking: RefCell::new(Some(taking)),
            began: Instant::now(),
        }
    }

    /// Keeps the connections and does what no request waits for, as long as it is polled. One replica's `name` is
    /// given to one of its workers, which says that the replica lives.
    pub(super) async fn run(&self, name: Option<&str>) {
        let Some(taking) = self.taking.take() else { return };
        tokio::join!(self.keep_servers(), self.work(taking), self.beat(name));
    }

    // === deciding ===

    /// Decides about the limits of a request; there is an answer for each of them when the deadline is over.
    pub(super) async fn check(&self, asks: &[Ask<'_>]) -> Vec<Answer> {
        let deadline = Instant::now() + self.settings.deadline;
        let mut answers = vec![Err(Unavailable); asks.len()];
        // Leases first: what they gave can be taken back without asking anybody.
        let mut refused = false;
        for (ask, answer) in asks.iter().zip(&mut answers).filter(|(ask, _)| ask.limit.sync == SyncMode::Leased) {
            *answer = self.take_leased(ask, deadline).await;
            refused |= answer.as_ref().is_ok_and(|decision| !decision.passes());
        }
        let strict: Vec<usize> = asks
            .iter()
            .enumerate()
            .filter(|(_, ask)| ask.limit.sync == SyncMode::Strict)
            .map(|(index, _)| index)
            .collect();
        // All limits of a request are those of one policy, commonly, and then this is one call.
        let mut policies: Vec<Vec<usize>> = Vec::new();
        for index in strict {
            let policy = |index: usize| asks.get(index).map(|ask| &ask.limit.policy);
            match policies.iter_mut().find(|group| group.first().is_some_and(|first| policy(*first) == policy(index))) {
                Some(group) => group.push(index),
                None => policies.push(vec![index]),
            }
        }
        let questions = policies.iter().map(async |group| {
            let asks: Vec<Ask<'_>> = group.iter().filter_map(|index| asks.get(*index).copied()).collect();
            self.decide(&asks, 1, deadline).await
        });
        let verdicts = join_all(questions).await;
        for (group, verdict) in policies.iter().zip(verdicts) {
            let Ok(verdict) = verdict else { continue };
            refused |= verdict.counted == 0;
            for (index, decision) in group.iter().zip(verdict.decisions) {
                if let Some(answer) = answers.get_mut(*index) {
                    *answer = Ok(decision);
                }
            }
        }
        if refused {
            self.uncount(asks, &answers);
        }
        answers
    }

    /// Takes back what was counted by one question although another was answered with no.
    fn uncount(&self, asks: &[Ask<'_>], answers: &[Answer]) {
        let refuses = |ask: &Ask<'_>| {
            let same = |other: &Ask<'_>| {
                other.limit.sync == SyncMode::Strict
                    && ask.limit.sync == SyncMode::Strict
                    && other.limit.policy == ask.limit.policy
            };
            asks.iter()
                .zip(answers)
                .any(|(other, answer)| same(other) && answer.as_ref().is_ok_and(|decision| !decision.passes()))
        };
        let counted: Vec<Ask<'_>> = asks
            .iter()
            .zip(answers)
            .filter(|(ask, answer)| answer.as_ref().is_ok_and(Decision::passes) && !refuses(ask))
            .map(|(ask, _)| *ask)
            .collect();
        self.give_back(&counted);
    }

    /// Takes back what was counted for a request that did not pass after all.
    pub(super) fn give_back(&self, asks: &[Ask<'_>]) {
        let now = self.now();
        let (leased, strict): (Vec<Ask<'_>>, Vec<Ask<'_>>) =
            asks.iter().partition(|ask| ask.limit.sync == SyncMode::Leased);
        for ask in &leased {
            if let Some(leased) = self.leases.borrow().get(&Call::key(&self.settings.prefix, ask)) {
                leased.lease.borrow_mut().give_back(now);
            }
        }
        for asks in strict.chunk_by(|one, other| one.limit.policy == other.limit.policy) {
            // Whoever does it has gone only when everything has.
            let _ = self.jobs.send(Job::GiveBack(Call::give_back(&self.settings.prefix, asks)));
        }
    }

    async fn decide(&self, asks: &[Ask<'_>], times: u32, deadline: Instant) -> Result<Verdict, Unavailable> {
        let asked = Instant::now();
        let answer = self.call(&Call::decide(&self.settings.prefix, asks, times, None), deadline).await;
        let answer = answer.and_then(|answer| Verdict::read(answer, asks).map_err(|_| Lack::Refused));
        match answer {
            Ok(verdict) => {
                self.health.decided(asked.elapsed());
                Ok(verdict)
            }
            Err(lack) => {
                self.health.lacked(lack);
                Err(Unavailable)
            }
        }
    }

    /// Runs a script where its keys are.
    async fn call(&self, call: &Call, deadline: Instant) -> Result<Value, Lack> {
        let slot = call.slot();
        let mut node = self.servers.borrow().holder(slot).ok_or(Lack::Away)?;
        let mut moving = false;
        for _ in 0..HOPS {
            let to = match node.run(call, moving, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lack(lack)) => return Err(lack),
                Err(Failure::Moved(to)) => {
                    self.changed.notify_one();
                    moving = false;
                    to
                }
                Err(Failure::Moving(to)) => {
                    moving = true;
                    to
                }
            };
            // A server that nobody has told us of is got to know by looking at the cluster again.
            let Some(next) = self.servers.borrow().get(&to) else {
                self.changed.notify_one();
                return Err(Lack::Away);
            };
            node = next;
        }
        Err(Lack::Refused)
    }

    // === leases ===

    async fn take_leased(&self, ask: &Ask<'_>, deadline: Instant) -> Answer {
        let Some(leased) = self.lease(ask) else {
            let verdict = self.decide(std::slice::from_ref(ask), 1, deadline).await?;
            return verdict.decisions.first().copied().ok_or(Unavailable);
        };
        let (quota, cost) = (ask.limit.quota, ask.cost.get());
        let (mut take, mut grant) = leased.lease.borrow_mut().take(quota, cost, self.now());
        loop {
            if let Some(times) = grant {
                let job = Job::Grant {
                    leased: leased.clone(),
                    limit: ask.limit.clone(),
                    key: ask.key.to_vec(),
                    cost: ask.cost,
                    times,
                };
                let _ = self.jobs.send(job);
            }
            let granted = leased.granted.notified();
            if let Take::Decided(decision) = take {
                return Ok(decision);
            }
            if tokio::time::timeout_at(deadline, granted).await.is_err() {
                return Err(Unavailable);
            }
            if leased.failed.get() {
                return Err(Unavailable);
            }
            (take, grant) = leased.lease.borrow_mut().take_again(quota, cost, self.now());
        }
    }

    /// The lease of a question; `None` when there is no room for another.
    fn lease(&self, ask: &Ask<'_>) -> Option<Rc<Leased>> {
        let key = Call::key(&self.settings.prefix, ask);
        let mut leases = self.leases.borrow_mut();
        if let Some(leased) = leases.get(&key) {
            return Some(leased.clone());
        }
        let now = self.now();
        if leases.len() >= LEASES {
            leases.retain(|_, leased| !leased.lease.borrow().is_over(now));
            if leases.len() >= LEASES {
                return None;
            }
        }
        let leased =
            Rc::new(Leased { lease: RefCell::new(Lease::new(now)), failed: Cell::default(), granted: Notify::new() });
        leases.insert(key, leased.clone());
        Some(leased)
    }

    /// Nanoseconds since this began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Does what no request waits for.
    async fn work(&self, mut taking: mpsc::UnboundedReceiver<Job>) {
        let mut working = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = working.next(), if !working.is_empty() => {}
                job = taking.recv() => match job {
                    Some(job) => working.push(self.perform(job)),
                    None => return,
                },
            }
        }
    }

    async fn perform(&self, job: Job) {
        let deadline = Instant::now() + self.settings.deadline;
        match job {
            Job::GiveBack(call) => {
                // What is not taken back is forgotten with the rest.
                let _ = self.call(&call, deadline).await;
            }
            Job::Grant { leased, limit, key, cost, times } => {
                let ask = Ask { limit: &limit, key: &key, cost };
                let answer = self.decide(&[ask], times, deadline).await;
                leased.failed.set(answer.is_err());
                match answer {
                    Ok(Verdict { counted, decisions }) => {
                        if let Some(decision) = decisions.first() {
                            leased.lease.borrow_mut().granted(counted, decision, limit.quota, self.now());
                        }
                    }
                    Err(Unavailable) => leased.lease.borrow_mut().failed(),
                }
                leased.granted.notify_waiters();
            }
        }
    }

    // === who is there ===

    /// Says that this replica lives, and hears how many do.
    async fn beat(&self, name: Option<&str>) {
        let Some(name) = name else { return };
        let key = format!("{}:{{replicas}}", self.settings.prefix);
        let arguments = vec![name.to_owned(), SILENCE.as_millis().to_string()];
        let call = Call::new(Script::Replicas, vec![key], arguments);
        loop {
            let deadline = Instant::now() + self.settings.deadline;
            let heard = self.call(&call, deadline).await;
            let wait = match heard.map(redis::from_redis_value::<u32>) {
                Ok(Ok(replicas)) => {
                    self.health.set_replicas(replicas);
                    BEAT
                }
                // As many as there were: they are more likely to be cut off from the store than to have gone.
                Ok(Err(_)) | Err(_) => SOON,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Finds out which servers there are, again whenever something is not where it was, and keeps a connection to each.
    async fn keep_servers(&self) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        loop {
            let found = self.look().await;
            if let Some(found) = found {
                let known = self.servers.borrow().is_known();
                let gone = match &found {
                    // There is nothing to find out when it goes, but that it is no longer alone when it says so.
                    Found::Alone => Rc::default(),
                    Found::Cluster(_) => self.changed.clone(),
                };
                self.servers.borrow_mut().adopt(found, &self.settings.servers, |servers, slot| {
                    self.start(&mut tasks, servers, slot, gone.clone())
                });
                if !known {
                    // What stood for everything that was not known.
                    self.health.found();
                }
            }
            let wait = match self.servers.borrow().standing() {
                Standing::Alone => None,
                Standing::Whole => Some(LATER),
                Standing::Lacking => Some(SOON),
            };
            match wait {
                None => self.changed.notified().await,
                Some(wait) => drop(tokio::time::timeout(wait, self.changed.notified()).await),
            }
            // However often it is told: looking is not free.
            tokio::time::sleep(SOON / 5).await;
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Asks one server after the other how the cluster looks, beginning with those that are there.
    async fn look(&self) -> Option<Found> {
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let members = self.servers.borrow().members();
        for (server, node) in members {
            if let Ok(answer) = node.query(&slots, Instant::now() + PATIENCE).await
                && let Some(slots) = Slots::read(&answer, &server)
            {
                return Some(Found::Cluster(slots));
            }
        }
        for server in &self.settings.servers {
            let asked = async {
                let (connection, mut driver) = Connection::open(&self.settings, server).await?;
                let asking = driven(&mut driver, connection.ask(&slots));
                tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(Broken::Late(PATIENCE)))
            };
            match asked.await {
                Ok(answer) => return Some(Slots::read(&answer, server).map_or(Found::Alone, Found::Cluster)),
                // It has spoken, and is not one of a cluster; or we may not ask, and a cluster would have to allow it.
                Err(Broken::Redis(error)) if is_alone(&error) => return Some(Found::Alone),
                Err(error) => self.health.away(&server.to_string(), &error.to_string()),
            }
        }
        None
    }

    /// A hand on a server that may be at any of these places, and holds this slot.
    fn start(&self, tasks: &mut JoinSet<()>, servers: Vec<Server>, slot: u16, gone: Rc<Notify>) -> Kept {
        let node = Rc::new(Node::new(servers, slot, self.settings.clone(), self.health.clone(), gone));
        let kept = node.clone();
        let task = tasks.spawn_local(async move {
            kept.keep().await;
        });
        Kept { node, task }
    }
}

fn is_alone(error: &redis::RedisError) -> bool {
    let text = error.to_string();
    text.contains("cluster support disabled") || text.contains("unknown command") || error.code() == Some("NOPERM")
}
