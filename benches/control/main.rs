//! What a change costs: how soon it is served, and how much memory all that is declared takes.
//!
//! ```text
//! cargo bench --bench control                       everything, as one table
//! cargo bench --bench control -- memory             objects in a folder: memory, at the start and at a reload
//! cargo bench --bench control -- start              a real API server: a start with 20,000 routes, and a list of all again
//! cargo bench --bench control -- propagation        a real API server: from a change to the first request on it
//! cargo bench --bench control -- propagation --routes 2000 --changes 100
//! ```
//!
//! The API server is that of the tests: `tests/cluster/build.sh` builds it, which needs Go. `docs/performance.md` says
//! what the figures show and what not.

// Nothing here holds a runtime up but its own.
#![allow(clippy::disallowed_methods)]

mod cluster;
mod gateway;
mod memory;
mod objects;
mod propagation;
mod relay;
mod start;
mod traffic;

use clap::{Parser, Subcommand};

/// Measure what a change costs.
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
    /// Weigh objects that come from a folder.
    Memory {
        /// Routes, each with a Service and an EndpointSlice of its own.
        #[arg(long, default_value_t = memory::ROUTES)]
        routes: usize,
    },
    /// Time a start with all that an API server has, and weigh it, and all of it listed again.
    Start {
        /// Routes, each with a Service and an EndpointSlice of its own; half of them Ingresses.
        #[arg(long, default_value_t = start::ROUTES)]
        routes: usize,
    },
    /// Time changes that come from an API server.
    Propagation(propagation::Plan),
}

fn main() -> anyhow::Result<()> {
    let rows = match Bench::parse().part {
        Some(Part::Memory { routes }) => memory::measure(routes)?,
        Some(Part::Start { routes }) => start::measure(routes)?,
        Some(Part::Propagation(plan)) => propagation::measure(&plan)?,
        None => {
            let mut rows = memory::measure(memory::ROUTES)?;
            rows.extend(start::measure(start::ROUTES)?);
            rows.extend(propagation::measure(&propagation::Plan::default())?);
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
    let (what, figure) = (width(|row| &row.what, "what"), width(|row| &row.figure, "figure"));
    let goal = width(|row| row.goal, "goal");
    println!("\n| {:what$} | {:figure$} | {:goal$} | detail |", "what", "figure", "goal");
    println!("| {:-<what$} | {:-<figure$} | {:-<goal$} | ------ |", "", "", "");
    for row in rows {
        println!("| {:what$} | {:figure$} | {:goal$} | {} |", row.what, row.figure, row.goal, row.more);
    }
}
