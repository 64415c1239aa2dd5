//! Memory for objects from a folder: at the start, and when all of them are replaced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;

use super::Row;
use super::gateway::{Gateway, Memory};
use super::objects;

/// Objects in one file; a source takes no more than a thousand.
const PER_FILE: usize = 300;

#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// Routes, each with a Service and an EndpointSlice of its own.
    #[arg(long, default_value_t = Self::default().routes)]
    routes: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { routes: 5_000 }
    }
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let Plan { routes } = *plan;
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let bare = Gateway::start(&["run", &path])?.memory()?;
    declare(folder.path(), routes, 1)?;
    let gateway = Gateway::start(&["run", &path])?;
    let first = gateway.memory()?;
    let ready_after = gateway.ready_after();
    declare(folder.path(), routes, 2)?;
    let reloading = Instant::now();
    let last = objects::host(routes.saturating_sub(1) / 2 * 2);
    while !gateway.admin(&format!("/api/v1/explain?url=http://{last}/"))?.contains("X-Version: 2") {
        ensure!(reloading.elapsed() < Duration::from_secs(120), "the folder is not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = gateway.memory()?;
    let of = |memory: Memory| memory.peak as f64 / memory.settled as f64;
    Ok(vec![
        Row {
            what: format!("memory with {routes} routes from a folder"),
            figure: format!("{} MB", megabytes(first.settled)),
            goal: "80 MB",
            more: format!(
                "with none {} MB; ready {:.1} s after its start",
                megabytes(bare.settled),
                ready_after.as_secs_f64()
            ),
        },
        Row {
            what: "  peak / settled, at the start".to_owned(),
            figure: format!("{:.2}", of(first)),
            goal: "1.4",
            more: format!("peak {} MB", megabytes(first.peak)),
        },
        Row {
            what: "  peak / settled, when all are replaced".to_owned(),
            figure: format!("{:.2}", of(again)),
            goal: "1.4",
            more: format!("peak {} MB, settled {} MB", megabytes(again.peak), megabytes(again.settled)),
        },
    ])
}

/// Writes all objects, their routes in this version.
fn declare(folder: &Path, routes: usize, version: u64) -> anyhow::Result<()> {
    let numbers: Vec<usize> = (0..routes).collect();
    for (file, numbers) in numbers.chunks(PER_FILE).enumerate() {
        let mut text = String::new();
        for &number in numbers {
            let [_, a, b, c] = u32::try_from(number)?.to_be_bytes();
            let address = ([10, a, b, c], 8080).into();
            let route = objects::route(number, Some(version));
            for object in [objects::service(number), objects::slice(number, address), route] {
                text += &format!("---\n{object}\n");
            }
        }
        fs::write(folder.join(format!("{file}.yaml")), text)?;
    }
    Ok(())
}

pub(crate) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
