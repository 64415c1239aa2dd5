//! Allocations per request: the proxy runs in this process, whose allocator counts; load and backend run in others.

use std::time::Duration;

use anyhow::Context;
use headgate::address::Trust;
use headgate::app::{App, trust};
use headgate::compile::{ClassSelection, Externals, Settings};
use headgate::config::{Listen, Process};
use headgate::drain::{Grace, Phase};
use headgate::source::{Change, Kind, decode};
use headgate::telemetry::access_log::Setting;
use headgate::telemetry::trace;
use serde_json::Value;
use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::identity::Identity;
use crate::objects::{self, LIMITED, PLAIN, TOKEN};
use crate::offer::{Load, Request};
use crate::server::Server;
use crate::table::{Goal, Row};

/// A hundred on each connection.
const REQUESTS: u32 = 6_400;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (backend, identity, folder) = (Server::backend()?, Identity::new()?, tempfile::tempdir()?);
    let token = Request { headers: vec![objects::authorization()?], ..Request::get(PLAIN) };
    // Memory that heads are read into, now and then; that of their fields is used again.
    let goal = Goal::count(4.0).kept_at(0.5);
    let plain = [
        ("allocations", Some(goal), Request::get(PLAIN)),
        ("allocations, 64 KiB body", None, Request::get("/64k")),
        ("allocations, local limit and its headers", Some(goal), Request::get(LIMITED)),
        ("allocations, a token that nobody asks for", Some(goal), token.clone()),
        ("allocations, cached JWT and its claim's header", Some(goal), Request { path: TOKEN.to_owned(), ..token }),
    ];
    let objects = objects::all(&backend, &identity);
    let mut rows = rows(&objects, Setting::Off, None, &plain)?;
    let log = objects::access_log(&folder).parse()?;
    let traces = trace::Setting::read(Some(objects::NO_COLLECTOR), &|_| None)?;
    rows.extend(self::rows(
        &objects,
        log,
        traces,
        &[("allocations, all features on", Some(goal), objects::featured()?)],
    )?);
    Ok(rows)
}

/// One for each request, of one proxy.
fn rows(
    objects: &[Value],
    access_log: Setting,
    traces: Option<trace::Setting>,
    requests: &[(&str, Option<Goal>, Request)],
) -> anyhow::Result<Vec<Row>> {
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
            access_log,
            traces,
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
        changes.send(declared(objects)?).await.context("nothing takes the objects")?;
        running.published().await?;

        let proxy = Server::in_this_process(running.addresses.http);
        let rows = requests.iter().map(|(what, goal, request)| {
            let mut load = Load::warm(&proxy, request, &["--requests", &REQUESTS.to_string()], None)?;
            let region = Region::new(ALLOCATOR);
            let done = load.run(&proxy)?;
            let change = region.change();
            // A buffer that grows is as dear as a new one.
            let figure = (change.allocations + change.reallocations) as f64 / done.requests;
            let bytes = change.bytes_allocated as f64 / done.requests;
            let more = format!("{REQUESTS} keep-alive GETs, 64 connections: {bytes:.0} bytes each");
            Ok(Row { what: (*what).to_owned(), figure, goal: *goal, more })
        });
        let rows = rows.collect();
        running.signal.enter(Phase::Ended);
        rows
    })
}

fn declared(objects: &[Value]) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for object in objects {
        let kind = decode::kind_of(object).map_err(|finding| anyhow::anyhow!(finding.message))?;
        let change = decode::decode(kind, object.clone(), decode::Origin::File);
        changes.push(change.map_err(|finding| anyhow::anyhow!(finding.message))?);
    }
    changes.extend(Kind::ALL.map(Change::Synced));
    Ok(changes)
}
