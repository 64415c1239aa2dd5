//! What a proxied request costs: system calls, allocations, and processor time beside nginx.
//!
//! ```text
//! cargo bench --bench proxy                 everything, as one table
//! cargo bench --bench proxy -- syscalls     one part
//! cargo bench --bench proxy -- cpu --pairs 15 --seconds 5
//! cargo bench --bench proxy -- observing    what access log, traces and scrapes add
//! cargo bench --bench proxy -- gatekeeping  what a limit and a token add
//! ```
//!
//! The same program is the backend and the load, as processes of their own, so that what is counted is the proxy alone.
//! `docs/performance.md` says what the figures show and what not.

// Nothing here runs on a runtime that sleeping could hold up.
#![allow(clippy::disallowed_methods)]

mod allocations;
mod backend;
mod cpu;
mod gatekeeping;
mod load;
mod objects;
mod observing;
mod processes;
mod spread;
mod syscalls;

use std::alloc::System;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measure what a proxied request costs.
#[derive(Parser)]
struct Bench {
    /// Cargo says so to every bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Count the system calls that move data.
    Syscalls,
    /// Count allocations.
    Allocations,
    /// Compare processor time per request with nginx.
    Cpu(cpu::Plan),
    /// Compare processor time per request with and without being watched.
    Observing(observing::Plan),
    /// Compare processor time per request with and without a limit, and a token.
    Gatekeeping(gatekeeping::Plan),
    /// Answer requests.
    #[command(hide = true)]
    Backend {
        /// Where.
        address: SocketAddr,
    },
    /// Send requests.
    #[command(hide = true)]
    Load(load::Load),
}

fn main() -> anyhow::Result<()> {
    let rows = match Bench::parse().part {
        Some(Part::Backend { address }) => return backend::run(address),
        Some(Part::Load(load)) => return load.run(),
        Some(Part::Syscalls) => syscalls::measure()?,
        Some(Part::Allocations) => allocations::measure()?,
        Some(Part::Cpu(plan)) => cpu::measure(&plan)?,
        Some(Part::Observing(plan)) => observing::measure(&plan)?,
        Some(Part::Gatekeeping(plan)) => gatekeeping::measure(&plan)?,
        None => {
            let mut rows = syscalls::measure()?;
            rows.extend(allocations::measure()?);
            rows.extend(cpu::measure(&cpu::Plan::default())?);
            rows
        }
    };
    print(&rows);
    Ok(())
}

/// One figure.
struct Row {
    what: String,
    figure: String,
    goal: &'static str,
    more: String,
}

fn print(rows: &[Row]) {
    let width =
        |cell: fn(&Row) -> &str, title: &str| rows.iter().map(|row| cell(row).len()).fold(title.len(), usize::max);
    let (what, figure) = (width(|row| &row.what, "per proxied request"), width(|row| &row.figure, "figure"));
    let goal = width(|row| row.goal, "goal");
    println!("\n| {:what$} | {:figure$} | {:goal$} | detail |", "per proxied request", "figure", "goal");
    println!("| {:-<what$} | {:-<figure$} | {:-<goal$} | ------ |", "", "", "");
    for row in rows {
        println!("| {:what$} | {:figure$} | {:goal$} | {} |", row.what, row.figure, row.goal, row.more);
    }
}
