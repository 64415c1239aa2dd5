//! What a proxied request costs: system calls, allocations, memory, latency, and processor time beside other proxies.
//!
//! ```text
//! cargo bench --bench proxy                       everything, as one table
//! cargo bench --bench proxy -- features-off       one part
//! cargo bench --bench proxy -- tls --pairs 15 --seconds 5
//! cargo bench --bench proxy -- counters           exact counts; fails where there are more than there may be
//! cargo bench --bench proxy -- features           what each feature adds by itself
//! cargo bench --bench proxy -- slopes             what a route and an endpoint take of memory
//! ```
//!
//! The same program is the backend, the load and the floor, as processes of their own, so that what is counted is the
//! proxy alone. `docs/performance.md` says what the figures show and what not.

// Nothing here runs on a runtime that sleeping could hold up.
#![allow(clippy::disallowed_methods)]

mod allocations;
mod backend;
mod comparisons;
mod contest;
mod floor;
mod identity;
mod load;
mod memory;
mod objects;
mod offer;
mod peers;
mod server;
mod spread;
mod syscalls;
mod table;
mod watching;

use std::alloc::System;
use std::net::SocketAddr;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use contest::Plan;
use table::Row;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measure what a proxied request costs.
#[derive(Parser)]
struct Bench {
    /// Cargo says so to every bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    asked: Option<Asked>,
}

#[derive(Subcommand)]
enum Asked {
    #[command(flatten)]
    Part(Part),
    #[command(flatten)]
    Role(Role),
}

#[derive(Subcommand)]
enum Part {
    /// Count system calls that move data, and allocations; fail where there are more than there may be.
    Counters,
    /// Compare with every peer, nothing asked of either.
    FeaturesOff,
    /// Compare with peers, everything asked of ours.
    FeaturesOn,
    /// Compare over TLS.
    Tls,
    /// Compare over HTTP/2.
    Http2,
    /// Compare with larger bodies.
    Bodies,
    /// Compare many hosts with one.
    Hosts,
    /// Compare two workers with one.
    Workers,
    /// Compare what is added to the latency of the slowest of a hundred.
    Latency,
    /// Weigh idle connections.
    Connections,
    /// Compare with and without each feature.
    Features,
    /// Weigh a process, and what routes and endpoints add.
    Slopes,
}

/// What this program is while it measures itself.
#[derive(Subcommand)]
enum Role {
    /// Answer requests.
    #[command(hide = true)]
    Backend {
        /// Where.
        address: SocketAddr,
    },
    /// Pass everything on.
    #[command(hide = true)]
    Floor {
        /// Where.
        address: SocketAddr,
        /// To whom.
        backend: SocketAddr,
    },
    /// Send requests.
    #[command(hide = true)]
    Load(load::Load),
    /// Keep connections.
    #[command(hide = true)]
    Hold(memory::Hold),
}

/// What is measured where nothing is named, in this order.
const PARTS: [Part; 10] = [
    Part::Counters,
    Part::FeaturesOff,
    Part::FeaturesOn,
    Part::Tls,
    Part::Http2,
    Part::Bodies,
    Part::Hosts,
    Part::Workers,
    Part::Latency,
    Part::Connections,
];

fn main() -> anyhow::Result<()> {
    let Bench { plan, asked, .. } = Bench::parse();
    let rows = match &asked {
        Some(Asked::Role(role)) => return role.play(),
        Some(Asked::Part(part)) => part.measure(&plan)?,
        None => {
            let rows = PARTS.iter().map(|part| part.measure(&plan)).collect::<anyhow::Result<Vec<_>>>()?;
            rows.into_iter().flatten().collect()
        }
    };
    table::print(&rows);
    let gate = matches!(asked, Some(Asked::Part(Part::Counters))) && rows.iter().any(Row::fails);
    ensure!(!gate, "there are more than there may be");
    Ok(())
}

impl Part {
    fn measure(&self, plan: &Plan) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Counters => Ok([syscalls::measure()?, allocations::measure()?].into_iter().flatten().collect()),
            Self::FeaturesOff => comparisons::features_off(plan),
            Self::FeaturesOn => comparisons::features_on(plan),
            Self::Tls => comparisons::tls(plan),
            Self::Http2 => comparisons::http2(plan),
            Self::Bodies => comparisons::bodies(plan),
            Self::Hosts => comparisons::hosts(plan),
            Self::Workers => comparisons::workers(plan),
            Self::Latency => comparisons::latency(plan),
            Self::Connections => memory::connections(),
            Self::Features => comparisons::features(plan),
            Self::Slopes => {
                Ok([memory::least()?, memory::routes()?, memory::endpoints()?].into_iter().flatten().collect())
            }
        }
    }
}

impl Role {
    fn play(&self) -> anyhow::Result<()> {
        match self {
            Self::Backend { address } => backend::run(*address),
            Self::Floor { address, backend } => floor::run(*address, *backend),
            Self::Load(load) => load.run(),
            Self::Hold(hold) => hold.run(),
        }
    }
}
