//! From a change in the API server to the first request that is served by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::task::JoinSet;

use super::Row;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::memory::megabytes;
use super::objects;
use super::traffic::{Client, backend};

#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// Routes, each with a Service and an EndpointSlice of its own; half of them Ingresses.
    #[arg(long, default_value_t = Self::default().routes)]
    routes: usize,
    /// Changes of each kind that are timed one after the other.
    #[arg(long, default_value_t = Self::default().changes)]
    changes: usize,
    /// How long other changes go on at the same time.
    #[arg(long, default_value_t = Self::default().seconds)]
    seconds: u64,
    /// Other changes a second.
    #[arg(long, default_value_t = Self::default().rate)]
    rate: u32,
    /// Requests a second meanwhile.
    #[arg(long, default_value_t = Self::default().requests)]
    requests: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { routes: 10_000, changes: 200, seconds: 20, rate: 100, requests: 500 }
    }
}

/// Other changes that are under way at once.
const IN_FLIGHT: usize = 8;

/// Everything that a change needs.
struct Bed {
    cluster: Cluster,
    gateway: SocketAddr,
    /// The backend that each slice names at first.
    first: SocketAddr,
    /// The one that it may be changed to.
    second: SocketAddr,
    routes: usize,
    /// Versions of routes so far: a change to what is there already would be none.
    versions: AtomicU64,
}

impl Bed {
    fn new_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// How long each of some changes took, shortest first.
struct Times(Vec<Duration>);

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(plan))
}

async fn run(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let Plan { routes, changes, seconds, rate, requests } = *plan;
    let (first, second) = (backend("a").await?, backend("b").await?);
    let cluster = Cluster::start().await?;
    cluster.declare(routes, first).await?;

    cluster.watch(objects::slice(0, first)).await?;
    cluster.watch(objects::route(0, None)).await?;
    let kubeconfig = cluster.kubeconfig.display().to_string();
    let gateway = tokio::task::spawn_blocking(move || {
        Gateway::start(&["serve", "--kubeconfig", &kubeconfig, "--lease-namespace", objects::NAMESPACE])
    });
    let gateway = gateway.await??;
    let memory = gateway.memory()?;
    gateway.at_rest()?;
    let bed = Arc::new(Bed { cluster, gateway: gateway.http, first, second, routes, versions: AtomicU64::new(0) });

    let endpoints = bed.times(changes, Kind::Endpoints, None).await?;
    let cpu = gateway.cpu()?;
    let route = bed.times(changes, Kind::Route, None).await?;
    let cpu = (gateway.cpu()? - cpu) / u32::try_from(changes)?.max(1);

    let end = Instant::now() + Duration::from_secs(seconds);
    let churn = tokio::spawn(bed.clone().churn(rate, end));
    let load = tokio::spawn(bed.clone().load(requests, end));
    let busy_endpoints = bed.times(usize::MAX, Kind::Endpoints, Some(end - Duration::from_secs(seconds) / 2)).await?;
    let busy_route = bed.times(usize::MAX, Kind::Route, Some(end)).await?;
    let (changed, served) = (churn.await??, load.await??);
    let after = gateway.memory()?;

    let busy = format!("{} changes and {} requests a second beside it", changed / seconds, served.count / seconds);
    Ok(vec![
        Row {
            what: format!("ready with {routes} routes of an API server"),
            figure: format!("{:.1} s", gateway.ready_after().as_secs_f64()),
            goal: "",
            more: "of the whole time since its start; the server makes the lists on the same cores".to_owned(),
        },
        Row {
            what: "  memory".to_owned(),
            figure: format!("{} MB", megabytes(memory.settled)),
            goal: "",
            more: format!(
                "peak {} MB ({:.2}); after all changes {} MB",
                megabytes(memory.peak),
                memory.ratio(),
                megabytes(after.settled)
            ),
        },
        endpoints.row("endpoint change to first request, p99", 0.99, "10 ms", ""),
        route.row(
            "route change to first request, p99",
            0.99,
            "20 ms",
            &format!("; {cpu:.0?} of CPU each, status included"),
        ),
        busy_endpoints.row("endpoint change under churn, max", 1.0, "60 ms", &format!("; {busy}")),
        busy_route.row("route change under churn, max", 1.0, "60 ms", ""),
        Row {
            what: "failed requests under churn".to_owned(),
            figure: served.failed.to_string(),
            goal: "0",
            more: format!(
                "of {}; slowest {:.1} ms{}",
                served.count,
                served.slowest.as_secs_f64() * 1e3,
                served.failure
            ),
        },
    ])
}

/// What is changed.
#[derive(Clone, Copy)]
enum Kind {
    Endpoints,
    Route,
}

/// What became of requests.
#[derive(Default)]
struct Served {
    count: u64,
    failed: u64,
    slowest: Duration,
    /// The first failure, in words.
    failure: String,
}

impl Bed {
    /// Times changes one after the other, of a few routes in turn: so many, or until this moment.
    async fn times(&self, most: usize, kind: Kind, end: Option<Instant>) -> anyhow::Result<Times> {
        let mut client = Client::connect(self.gateway).await?;
        let mut times = Vec::new();
        while times.len() < most && end.is_none_or(|end| Instant::now() < end) {
            let turn = times.len();
            // Even ones, spread over all of them, which churn leaves alone.
            let number = (turn * 2 * 7919) % self.routes / 4 * 4;
            let host = objects::host(number);
            let (object, line) = match kind {
                Kind::Endpoints => {
                    let before = client.get(&host).await?;
                    let (backend, name) =
                        if before.contains("x-backend: a") { (self.second, "b") } else { (self.first, "a") };
                    (objects::slice(number, backend), format!("x-backend: {name}"))
                }
                Kind::Route => {
                    let version = self.new_version();
                    (objects::route(number, Some(version)), format!("x-version: {version}"))
                }
            };
            let change = async { self.cluster.told_at(&self.cluster.change(object).await?).await };
            let (told, seen) = tokio::try_join!(change, client.until(&host, &line))?;
            times.push(seen.saturating_duration_since(told));
        }
        times.sort_unstable();
        Ok(Times(times))
    }

    /// Changes slices and routes at this rate, or as fast as the API server takes them; how many that were.
    async fn churn(self: Arc<Self>, rate: u32, end: Instant) -> anyhow::Result<u64> {
        let mut interval = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let (mut count, mut tasks) = (0, JoinSet::new());
        while Instant::now() < end {
            interval.tick().await;
            let bed = self.clone();
            let number = (count * 4 + 2) as usize % self.routes;
            let object = match count % 2 {
                0 => objects::slice(number, if count % 4 == 0 { self.second } else { self.first }),
                _ => objects::route(number, Some(self.new_version())),
            };
            tasks.spawn(async move { bed.cluster.change(object).await });
            // Otherwise changes would queue for a server that cannot take as many, and the timed ones behind them.
            while tasks.len() >= IN_FLIGHT
                && let Some(done) = tasks.join_next().await
            {
                done??;
            }
            count += 1;
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(count)
    }

    /// Asks routes one after the other at this rate, each when its time has come.
    async fn load(self: Arc<Self>, rate: u32, end: Instant) -> anyhow::Result<Served> {
        const CONNECTIONS: u32 = 8;
        let mut tasks = JoinSet::new();
        for first in 0..CONNECTIONS {
            let bed = self.clone();
            tasks.spawn(async move {
                let mut client = Client::connect(bed.gateway).await?;
                let mut served = Served::default();
                let start = Instant::now();
                for number in (first..).step_by(CONNECTIONS as usize) {
                    let due = start + Duration::from_secs(1) * number / rate.max(1);
                    if due >= end {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    served.count += 1;
                    match client.get(&objects::host(number as usize * 31 % bed.routes)).await {
                        Ok(_) => served.slowest = served.slowest.max(due.elapsed()),
                        Err(error) => {
                            served.failed += 1;
                            served.failure = format!("; {error}");
                            client = Client::connect(bed.gateway).await?;
                        }
                    }
                }
                anyhow::Ok(served)
            });
        }
        let mut sum = Served::default();
        while let Some(done) = tasks.join_next().await {
            let Served { count, failed, slowest, failure } = done.context("a load failed")??;
            sum.count += count;
            sum.failed += failed;
            sum.slowest = sum.slowest.max(slowest);
            sum.failure = if sum.failure.is_empty() { failure } else { sum.failure };
        }
        Ok(sum)
    }
}

impl Times {
    fn at(&self, part: f64) -> f64 {
        let place = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(place.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn row(&self, what: &str, part: f64, goal: &'static str, more: &str) -> Row {
        Row {
            what: what.to_owned(),
            figure: format!("{:.1} ms", self.at(part)),
            goal,
            more: format!(
                "median {:.1}, p90 {:.1}, max {:.1} of {}{more}",
                self.at(0.5),
                self.at(0.9),
                self.at(1.0),
                self.0.len()
            ),
        }
    }
}
