//! Memory for objects from a folder: at the start, and when all of them are replaced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Row;
use super::gateway::Gateway;
use super::objects;

/// Objects in one file; a source takes no more than a thousand.
const PER_FILE: usize = 300;

/// As many as the goal speaks of.
pub(crate) const ROUTES: usize = 5_000;

pub(crate) fn measure(routes: usize) -> anyhow::Result<Vec<Row>> {
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
    Ok(vec![
        Row {
            what: "memory at rest, nothing declared".to_owned(),
            figure: format!("{} MB", megabytes(bare.settled)),
            goal: "15 MB",
            more: String::new(),
        },
        Row {
            what: format!("memory with {routes} routes from a folder"),
            figure: format!("{} MB", megabytes(first.settled)),
            goal: "80 MB",
            more: format!("ready {:.1} s after its start", ready_after.as_secs_f64()),
        },
        first.row("  peak / settled, at the start"),
        again.row("  peak / settled, when all are replaced"),
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
