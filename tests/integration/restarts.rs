//! Restarts under load of every kind: nobody notices, and each process leaves in time.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::gateway::Gateway;
use crate::harness::handover::{Successor, successor};
use crate::harness::http::get;
use crate::harness::mixture::{self, Backends, Balancer, Scale};
use crate::harness::size;

const DELAY: Duration = Duration::from_millis(500);
/// `DELAY` among them.
const FLAGS: [&str; 6] = ["--workers", "2", "--drain-delay", "500ms", "--drain-timeout", "20s"];
/// How long one that hands its sockets over goes on serving at least: its clients have to be told.
const HANDED: Duration = Duration::from_secs(1);
/// How long after the last exchange a process may still be there.
const GRACE: Duration = Duration::from_secs(1);
/// How often the balancer looks who is ready.
const LOOK: Duration = Duration::from_millis(50);

/// How much load, and how many rolling restarts: `HEADGATE_TEST_FULL=1` asks for 500 requests a second, exchanges that
/// last 3 s, and ten of them.
fn scale() -> (Scale, usize) {
    if size::full() {
        (Scale { rate: 500, lasting: Duration::from_secs(3) }, 10)
    } else {
        (Scale { rate: 120, lasting: Duration::from_millis(600) }, 4)
    }
}

/// Whether a process has ended; one that nobody has asked about yet is a zombie.
fn has_ended(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_follow_one_another_on_the_same_sockets() {
    let (scale, _) = scale();
    let backends = Backends::start(scale.lasting).await;
    let gateway = Gateway::start_with(&backends.objects(), &FLAGS);
    let http = gateway.http;
    let balancer: Balancer = Arc::new(move || http);
    let clients = mixture::start(scale, &balancer);
    gateway.wait_until("it is under way", || clients.finished() > 50);
    let mut serving = gateway.pid();
    let mut last: Option<Successor> = None;
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let before = gateway.log().len();
        let signalled = Command::new("kill").args(["-USR2", &serving.to_string()]).status().unwrap();
        assert!(signalled.success());
        let next = successor(&gateway, before);
        let handed_over = Instant::now();
        gateway.wait_until("the former process has ended", || has_ended(serving));
        slowest = slowest.max(handed_over.elapsed());
        // Long exchanges may begin until the end of the delay.
        assert!(handed_over.elapsed() < HANDED + scale.lasting + size::time(GRACE), "{:?}", handed_over.elapsed());
        serving = next.0;
        // The former one has gone; what ends it ends nobody.
        drop(last.replace(next));
        let finished = clients.finished();
        gateway.wait_until("the next one serves", || clients.finished() > finished + 20);
    }
    let outcome = clients.stop().await;
    println!("the slowest left within {slowest:?}");
    outcome.assert_none_failed();
}

/// A member of what the balancer chooses from: its admin port and the one that it serves on.
type Members = Arc<Mutex<Vec<(SocketAddr, SocketAddr)>>>;

/// Balances as a Service of Kubernetes does: a new connection goes to one that was ready when somebody last looked.
struct Follower {
    members: Members,
    ready: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Follower {
    fn start() -> Self {
        let (members, ready) = (Members::default(), Arc::new(Mutex::new(Vec::new())));
        std::thread::spawn({
            // It ends when nobody balances any more.
            let (members, ready) = (Arc::downgrade(&members), Arc::downgrade(&ready));
            move || {
                while let (Some(members), Some(ready)) = (members.upgrade(), ready.upgrade()) {
                    let members = members.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let is_ready = |admin| get(admin, "/readyz").is_ok_and(|answer| answer.status == 200);
                    let now: Vec<_> = members.iter().filter(|(admin, _)| is_ready(*admin)).map(|it| it.1).collect();
                    *ready.lock().unwrap_or_else(PoisonError::into_inner) = now;
                    drop(ready);
                    std::thread::park_timeout(LOOK);
                }
            }
        });
        Self { members, ready }
    }

    fn add(&self, gateway: &Gateway) {
        self.members.lock().unwrap().push((gateway.admin, gateway.http));
        gateway.wait_until("the balancer knows it", || self.ready.lock().unwrap().contains(&gateway.http));
    }

    fn remove(&self, gateway: &Gateway) {
        self.members.lock().unwrap().retain(|(admin, _)| *admin != gateway.admin);
    }

    fn balancer(&self) -> Balancer {
        let (ready, turn) = (self.ready.clone(), AtomicUsize::new(0));
        Arc::new(move || {
            let ready = ready.lock().unwrap();
            ready[turn.fetch_add(1, Ordering::Relaxed) % ready.len()]
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_behind_a_balancer_are_replaced_in_turn() {
    let (scale, restarts) = scale();
    let backends = Backends::start(scale.lasting).await;
    let objects = backends.objects();
    let follower = Follower::start();
    let mut members: Vec<_> = (0..2).map(|_| Gateway::start_with(&objects, &FLAGS)).collect();
    members.iter().for_each(|member| follower.add(member));
    let clients = mixture::start(scale, &follower.balancer());
    members[0].wait_until("it is under way", || clients.finished() > 50);
    let mut slowest = Duration::ZERO;
    for turn in 0..restarts {
        let leaving = &mut members[turn % 2];
        let began = Instant::now();
        leaving.signal("TERM");
        assert_eq!(leaving.exit_code(), Some(0));
        slowest = slowest.max(began.elapsed());
        assert!(began.elapsed() < DELAY + scale.lasting + size::time(GRACE), "{:?}", began.elapsed());
        follower.remove(leaving);
        *leaving = Gateway::start_with(&objects, &FLAGS);
        follower.add(leaving);
        let finished = clients.finished();
        members[0].wait_until("they serve", || clients.finished() > finished + 20);
    }
    let outcome = clients.stop().await;
    println!("the slowest left within {slowest:?}");
    outcome.assert_none_failed();
}
