//! Allocations per request: the proxy runs in this process, whose allocator counts; load and backend run in others.

use std::time::Duration;

use anyhow::Context;
use headgate::address::Trust;
use headgate::app::{App, trust};
use headgate::compile::{ClassSelection, Externals, Settings};
use headgate::config::{Listen, Process};
use headgate::drain::{Grace, Phase};
use headgate::source::{Change, Kind, decode};
use stats_alloc::Region;

use crate::objects::{self, LIMITED, PLAIN, TOKEN};
use crate::processes::{Backend, Load};
use crate::{ALLOCATOR, Row};

const REQUESTS: u32 = 20_000;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let backend = Backend::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let process = Process {
            http: Listen::loopback(0),
            https: Listen::loopback(0),
            admin: Listen::loopback(0),
            workers: 1,
            redis: None,
            grace: Grace { delay: Duration::ZERO, timeout: Duration::ZERO },
            limit_memory: headgate::limit::DEFAULT_MEMORY,
            trust: Trust::default(),
            access_log: headgate::telemetry::access_log::Setting::Off,
            traces: None,
            replaceable: false,
            zone: None,
        };
        let settings = Settings {
            class: ClassSelection::standalone(),
            backend_tls: trust::backends()?,
            externals: Externals::default(),
        };
        let app = App::build(process, settings, Kind::ALL, None).await?;
        let changes = app.changes();
        let mut running = app.spawn();
        changes.send(everything_to(&backend)?).await.context("nothing takes the objects")?;
        running.published().await?;

        let mut rows = Vec::new();
        // Where the proxy runs in this process, nobody may wait for it on its own thread.
        let address = running.addresses.http;
        tokio::task::spawn_blocking(move || objects::are_in_force(address)).await??;
        let token = objects::authorization()?;
        for (path, header, what) in [
            (PLAIN, None, "allocations"),
            ("/64k", None, "allocations, 64 KiB body"),
            (LIMITED, None, "allocations, local limit and its headers"),
            (PLAIN, Some(token.as_str()), "allocations, a token that nobody asks for"),
            (TOKEN, Some(token.as_str()), "allocations, cached JWT and its claim's header"),
        ] {
            let mut load = Load::warm_with(running.addresses.http, path, REQUESTS, None, header)?;
            let region = Region::new(ALLOCATOR);
            let done = load.run()?;
            let change = region.change();
            // A buffer that grows is as dear as a new one.
            let count = (change.allocations + change.reallocations) as f64 / done.requests;
            rows.push(Row {
                what: what.to_owned(),
                figure: format!("{count:.2}"),
                goal: if path == "/64k" { "" } else { "8" },
                more: format!(
                    "{REQUESTS} keep-alive GETs, 64 connections: {:.0} bytes each",
                    change.bytes_allocated as f64 / done.requests
                ),
            });
        }
        running.signal.enter(Phase::Ended);
        Ok(rows)
    })
}

/// The objects that send every request to the backend.
fn everything_to(backend: &Backend) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for object in objects::all(backend) {
        let kind = decode::kind_of(&object).map_err(|finding| anyhow::anyhow!(finding.message))?;
        let change = decode::decode(kind, object, decode::Origin::File);
        changes.push(change.map_err(|finding| anyhow::anyhow!(finding.message))?);
    }
    changes.extend(Kind::ALL.map(Change::Synced));
    Ok(changes)
}
