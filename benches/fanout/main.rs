//! What many replicas cost the API server: a cluster of Services is made and changed on paper, object by object as its
//! controllers would, and the bytes that lists and watches carry are counted.
//!
//! ```text
//! cargo bench --profile dev --bench fanout
//! cargo bench --profile dev --bench fanout -- --replicas 3 --endpoints 5000
//! ```
//!
//! `cargo test` runs it as well, and fails where `docs/scaling.md` does not hold the table; `UPDATE_GOLDEN=1` writes it.
//! That page has the assumptions.

mod cluster;

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, ensure};
use clap::Parser;

use cluster::{Service, Sizes};

/// Count what replicas cost the API server.
#[derive(Parser)]
struct Fanout {
    /// Cargo says so to every bench, and not to a test.
    #[arg(long, hide = true)]
    bench: bool,
    /// Replicas of Headgate.
    #[arg(long, default_value_t = 100)]
    replicas: u32,
    /// Endpoints in the cluster.
    #[arg(long, default_value_t = 100_000)]
    endpoints: u32,
    /// What `cargo test` was asked to run; this runs whatever that is.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// How many objects a page of a list holds, as kube asks for them.
const PAGE: u32 = 500;
/// Kinds that every replica watches as a whole.
const KINDS: f64 = 8.0;
/// After how many seconds a watch is opened anew.
const RENEWAL: f64 = 60.0;
/// How many pods of different Services a node runs.
const NODE: f64 = 100.0;
/// How often every pod is replaced, in seconds.
const LIFE: f64 = 24.0 * 3600.0;

/// Where the table is in the page.
const FROM: &str = "<!-- fanout -->\n";
const TO: &str = "<!-- /fanout -->\n";

fn main() -> anyhow::Result<()> {
    let fanout = Fanout::parse();
    let table = fanout.table()?;
    if fanout.bench {
        print!("{table}");
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(FROM).context("docs/scaling.md has no place for the table")?;
    let (_, after) = rest.split_once(TO).context("docs/scaling.md has no end of the table")?;
    let wanted = format!("{before}{FROM}{table}{TO}{after}");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted)?;
    }
    ensure!(
        fs::read_to_string(&path)? == wanted,
        "docs/scaling.md is stale: run UPDATE_GOLDEN=1 cargo test --bench fanout"
    );
    println!("docs/scaling.md holds the table");
    Ok(())
}

impl Fanout {
    fn table(&self) -> anyhow::Result<String> {
        let shapes = [10, 100, 1_000].map(|each| (self.endpoints.div_ceil(each), each));
        let columns = shapes.into_iter().map(|(services, each)| self.column(services, each));
        let columns = columns.collect::<anyhow::Result<Vec<_>>>()?;
        let head = shapes.map(|(services, each)| format!("{services} Services of {each}")).join(" | ");
        let mut table = format!("| {} replicas, {} endpoints in | {head} |\n", self.replicas, self.endpoints);
        table += &format!("| --- |{}\n", " --- |".repeat(shapes.len()));
        let names = columns.first().map(|column| column.iter().map(|(name, _)| *name)).into_iter().flatten();
        for (row, name) in names.enumerate() {
            let cells = columns.iter().filter_map(|column| column.get(row)).map(|(_, cell)| cell.as_str());
            table += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
        Ok(table)
    }

    fn column(&self, services: u32, endpoints: u32) -> anyhow::Result<Vec<(&'static str, String)>> {
        let Sizes { service, slices, objects, change, rolled } = Service::of(endpoints).sizes()?;
        let (services, replicas) = (f64::from(services), f64::from(self.replicas));
        let list = services * (slices + service) as f64;
        // Each pod that is replaced is told four times over, wherever it is.
        let events = rolled.events as f64 / f64::from(endpoints) * services * f64::from(endpoints) / LIFE;
        let each = rolled.bytes as f64 / rolled.events as f64;
        let pages = (services as u32).div_ceil(PAGE) + (services as u32 * objects).div_ceil(PAGE);
        Ok(vec![
            ("EndpointSlices", format!("{}", services as u32 * objects)),
            ("lists of Services and EndpointSlices at a replica's start", format!("{}, {pages} pages", bytes(list))),
            ("the same, all replicas at once", bytes(list * replicas)),
            ("one endpoint becomes ready, all replicas", bytes(change as f64 * replicas)),
            (
                "one Service rolled out, all replicas",
                format!("{} in {} events", bytes(rolled.bytes as f64 * replicas), rolled.events),
            ),
            (
                "a node of 100 pods lost, all replicas",
                bytes(change as f64 * NODE.min(services * f64::from(endpoints)) * replicas),
            ),
            (
                "every pod replaced once a day, all replicas",
                format!("{} a second in {events:.1} events", bytes(events * each * replicas)),
            ),
            ("watches opened anew, all replicas", format!("{:.1} a second", KINDS * replicas / RENEWAL)),
        ])
    }
}

/// In the largest unit that leaves a figure before the point.
fn bytes(count: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.into_iter().find(|(_, size)| count >= *size);
    unit.map_or_else(|| format!("{count:.0} B"), |(name, size)| format!("{:.1} {name}", count / size))
}
