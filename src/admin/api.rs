//! What is served and what is wrong, as JSON. Fields are added and never change their meaning within a version.

use std::net::SocketAddr;

use serde::Serialize;

use super::State;
use crate::compile::{Listed, ListedObject};
use crate::table::{Description, PolicyStanding};
use crate::telemetry::log;
use crate::upstream::Bound;

/// An answer with the version of its shape beside its fields.
#[derive(Serialize)]
pub(super) struct Versioned<T> {
    version: &'static str,
    #[serde(flatten)]
    answer: T,
}

impl<T> Versioned<T> {
    pub(super) fn new(answer: T) -> Self {
        Self { version: "v1", answer }
    }
}

/// Which table is served, and where.
#[derive(Serialize)]
pub(super) struct Generation {
    generation: u64,
    /// Grows with every change that was taken in, also with those that changed no table.
    batches: u64,
    ready: bool,
    /// What is waited for while it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// The version of the program.
    build: &'static str,
    listeners: Listeners,
}

#[derive(Serialize)]
struct Listeners {
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

pub(super) fn generation(state: &State) -> Versioned<Generation> {
    // In this order: a table may be newer than the number of batches says, and must not be older.
    let super::Readiness { ready, batches } = (state.readiness)();
    let super::Addresses { http, https, admin } = state.addresses;
    Versioned::new(Generation {
        generation: state.tables.load().generation,
        batches,
        ready: ready.is_ok(),
        waiting: ready.err(),
        build: env!("CARGO_PKG_VERSION"),
        listeners: Listeners { http, https, admin },
    })
}

/// The table in words.
#[derive(Serialize)]
pub(super) struct Routes {
    generation: u64,
    #[serde(flatten)]
    table: Description,
}

pub(super) fn routes(state: &State) -> Versioned<Routes> {
    let table = state.tables.load();
    Versioned::new(Routes { generation: table.generation, table: table.describe() })
}

/// The rate limits that are enforced, and what they have decided.
#[derive(Serialize)]
pub(super) struct Limits {
    generation: u64,
    policies: Vec<PolicyStanding>,
}

pub(super) fn limits(state: &State) -> Versioned<Limits> {
    let table = state.tables.load();
    Versioned::new(Limits { generation: table.generation, policies: table.policies() })
}

/// What is wrong with what is declared.
#[derive(Serialize)]
pub(super) struct Problems {
    problems: Vec<Listed>,
}

pub(super) fn problems(state: &State) -> Versioned<Problems> {
    let report = state.reports.borrow().clone();
    Versioned::new(Problems { problems: (state.locate)(&report) })
}

/// What is shown to clients that speak TLS.
#[derive(Serialize)]
pub(super) struct Certificates<T> {
    generation: u64,
    certificates: T,
}

pub(super) fn certificates(state: &State) -> Versioned<Certificates<impl Serialize + use<>>> {
    let table = state.tables.load();
    Versioned::new(Certificates { generation: table.generation, certificates: table.describe_certificates() })
}

/// How declared objects stand.
#[derive(Serialize)]
pub(super) struct Objects {
    objects: Vec<ListedObject>,
}

pub(super) fn objects(state: &State) -> Versioned<Objects> {
    Versioned::new(Objects { objects: state.reports.borrow().list_objects() })
}

/// How policies stand.
#[derive(Serialize)]
pub(super) struct Policies {
    policies: Vec<ListedObject>,
}

pub(super) fn policies(state: &State) -> Versioned<Policies> {
    let mut policies = state.reports.borrow().list_objects();
    policies.retain(|object| object.kind.ends_with("Policy"));
    Versioned::new(Policies { policies })
}

/// What is logged.
#[derive(Serialize)]
pub(super) struct LogLevel {
    level: String,
    /// The most that this build can log.
    most: String,
}

pub(super) fn log_level() -> Versioned<LogLevel> {
    Versioned::new(LogLevel { level: log::level(), most: log::most().to_string() })
}

/// The services that routes send requests to, and how their endpoints are.
#[derive(Serialize)]
pub(super) struct Backends {
    generation: u64,
    backends: Vec<Backend>,
}

/// One service as some routes use it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backend {
    service: String,
    balancer: String,
    /// What is done about endpoints in trouble.
    policy: String,
    /// `closed`, `open` or `half-open`, when the policy makes it a circuit.
    circuit: Option<String>,
    /// How much is under way, when that is bounded.
    under_way: Option<UnderWay>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnderWay {
    connections: u32,
    pending_requests: u32,
    requests: u32,
    retries: u32,
    /// Requests turned away so far.
    refused: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    address: SocketAddr,
    circuit: String,
    /// Checks on it fail.
    failing: bool,
}

pub(super) fn backends(state: &State) -> Versioned<Backends> {
    let table = state.tables.load();
    let mut clusters: Vec<_> = table.clusters.values().collect();
    clusters.sort_by(|a, b| (&a.name, a.slot).cmp(&(&b.name, b.slot)));
    let backends = clusters.into_iter().map(|cluster| {
        let set = cluster.endpoints();
        Backend {
            service: cluster.name.to_string(),
            balancer: cluster.balancer.to_string(),
            policy: cluster.policy.to_string(),
            circuit: cluster.circuit().map(|circuit| circuit.to_string()),
            under_way: cluster.breaker.as_ref().map(|breaker| UnderWay {
                connections: breaker.taken(Bound::Connections),
                pending_requests: breaker.taken(Bound::Pending),
                requests: breaker.taken(Bound::Requests),
                retries: breaker.taken(Bound::Retries),
                refused: breaker.refused(),
            }),
            endpoints: set
                .endpoints
                .iter()
                .zip(&set.health)
                .map(|(endpoint, health)| Endpoint {
                    address: endpoint.address,
                    circuit: health.circuit().to_string(),
                    failing: health.is_failing(),
                })
                .collect(),
        }
    });
    Versioned::new(Backends { generation: table.generation, backends: backends.collect() })
}
