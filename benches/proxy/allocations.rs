//! Allocations per request: the proxy runs in this process, whose allocator counts; load and backend run in others.

use std::time::Duration;

use anyhow::Context;
use headgate::address::Trust;
use headgate::app::{App, trust};
use headgate::compile::{ClassSelection, Externals, Settings};
use headgate::config::{Listen, Process};
use headgate::drain::{Grace, Phase};
use headgate::source::{Change, Kind, decode};
use serde_json::json;
use stats_alloc::Region;

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
        for (path, what) in [
            ("/", "allocations"),
            ("/64k", "allocations, 64 KiB body"),
            ("/limited", "allocations, local limit and its headers"),
        ] {
            let mut load = Load::warm(running.addresses.http, path, REQUESTS, None)?;
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
    let port = backend.address.port();
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"},
            "spec": {"ports": [{"name": "http", "port": port}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "backend", "labels": {"kubernetes.io/service-name": "backend"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "all"},
            "spec": {"rules": [
                {"name": "all", "backendRefs": [{"name": "backend", "port": port}]},
                {
                    "name": "limited",
                    "matches": [{"path": {"value": "/limited"}}],
                    "backendRefs": [{"name": "backend", "port": port}],
                },
            ]},
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "RateLimitPolicy", "metadata": {"name": "limited"},
            "spec": {
                "targetRefs": [
                    {"group": "headgate.dev", "kind": "GatewayRoute", "name": "all", "sectionName": "limited"},
                ],
                "limits": [
                    {"name": "per-ip", "requests": 1_000_000, "period": "1s", "key": [{"type": "ClientIP"}]},
                ],
            },
        }),
    ];
    let mut changes = Vec::new();
    for object in objects {
        let kind = decode::kind_of(&object).map_err(|finding| anyhow::anyhow!(finding.message))?;
        let change = decode::decode(kind, object, decode::Origin::File);
        changes.push(change.map_err(|finding| anyhow::anyhow!(finding.message))?);
    }
    changes.extend(Kind::ALL.map(Change::Synced));
    Ok(changes)
}
