//! What is counted, as metric families; but for what is counted by route (`text`). A series is shown once there is
//! something to show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::proto::MetricFamily;

use super::cells::Counter;
use super::control::{Applied, Control, LimitLabels};
use super::family::{self, Value};
use super::histogram::{DURATION, HistogramSample, OVERHEAD};
use super::process::Process;
use super::worker::{BUSY, Copied, HandshakeCells, ListenerCells, PoolCells, Protocol, WorkerCells};
use crate::limit::{Usage, Verdict};

/// What is counted by listener and by worker, for all workers together.
pub(super) fn workers(workers: &[Arc<WorkerCells>]) -> [MetricFamily; 12] {
    let mut in_flight = family::IN_FLIGHT.shown();
    let mut connections = family::CONNECTIONS.shown();
    let mut accepted = family::CONNECTIONS_TOTAL.shown();
    let mut rejected = family::CONNECTIONS_REJECTED.shown();
    let mut overhead = family::OVERHEAD.shown();
    for secure in [false, true] {
        let labels = [listener(secure)];
        let cells = || workers.iter().map(|worker| worker.listener(secure));
        let sum = |counter: fn(&ListenerCells) -> &Counter| cells().map(|cells| counter(cells).get()).sum::<u64>();
        // What goes is read before what comes, so that the difference is never below zero.
        let (ended, closed) = (sum(|cells| &cells.ended), sum(|cells| &cells.closed));
        let (began, opened) = (sum(|cells| &cells.began), sum(|cells| &cells.opened));
        in_flight.push(labels, Value::gauge(began.saturating_sub(ended)));
        let mut unknown = opened.saturating_sub(closed);
        for protocol in Protocol::ALL {
            let closed: u64 = cells().map(|cells| cells.of(protocol).closed.get()).sum();
            let opened: u64 = cells().map(|cells| cells.of(protocol).opened.get()).sum();
            let open = opened.saturating_sub(closed);
            unknown = unknown.saturating_sub(open);
            connections.push([listener(secure), protocol.as_str()], Value::gauge(open));
        }
        connections.push([listener(secure), "unknown"], Value::gauge(unknown));
        accepted.push(labels, Value::count(opened));
        rejected.push([listener(secure), "too_many"], Value::count(sum(|cells| &cells.rejected)));
        let mut times = HistogramSample::default();
        cells().for_each(|cells| times.add(&cells.overhead.sample()));
        overhead.push(labels, Value::histogram(&OVERHEAD, &times));
    }
    let failures = |counter: fn(&HandshakeCells) -> &Counter| {
        Value::count(workers.iter().map(|worker| counter(&worker.handshakes_failed).get()).sum())
    };
    let failed = family::HANDSHAKE_ERRORS
        .shown()
        .with([listener(true), "no_certificate"], failures(|cells| &cells.no_certificate))
        .with([listener(true), "client_certificate"], failures(|cells| &cells.client_certificate))
        .with([listener(true), "timeout"], failures(|cells| &cells.timeout))
        .with([listener(true), "protocol"], failures(|cells| &cells.protocol));
    let mut times = HistogramSample::default();
    workers.iter().for_each(|worker| times.add(&worker.handshakes.sample()));
    let handshakes = family::HANDSHAKE_DURATION.shown().with([listener(true)], Value::histogram(&DURATION, &times));
    let mut busy = family::WORKER_BUSY.shown();
    for (number, worker) in workers.iter().enumerate() {
        busy.push([&number.to_string()], Value::Gauge(worker.busy.get() as f64 / BUSY));
    }
    let pool = |counter: fn(&PoolCells) -> &Counter| workers.iter().map(|worker| counter(&worker.pool).get()).sum();
    let mut mirrored = family::MIRRORED.shown();
    for result in Copied::ALL {
        let count: u64 = workers.iter().map(|worker| worker.copies.of(result).get()).sum();
        if count > 0 {
            mirrored = mirrored.with([result.as_str()], Value::count(count));
        }
    }
    let idle = family::POOL_CONNECTIONS.shown().with(["idle"], Value::gauge(pool(|pool| &pool.idle)));
    let made = family::UPSTREAM_CONNECTIONS.shown().with([], Value::count(pool(|pool| &pool.connects)));
    let reused = family::UPSTREAM_REUSED.shown().with([], Value::count(pool(|pool| &pool.reuses)));
    [
        in_flight.into(),
        connections.into(),
        accepted.into(),
        rejected.into(),
        overhead.into(),
        handshakes.into(),
        failed.into(),
        busy.into(),
        mirrored.into(),
        idle.into(),
        made.into(),
        reused.into(),
    ]
}

/// What the control side says of itself.
pub(super) fn control(control: &mut Control) -> Vec<MetricFamily> {
    let Control {
        applied,
        objects,
        watches,
        events,
        leader,
        certificates,
        providers: _,
        key_fetches: _,
        access_log_dropped,
        traces_dropped,
        limits,
        local_limits,
    } = control;
    let mut counted = family::OBJECTS.shown();
    for ((kind, namespace, state), count) in objects {
        counted.push([kind, namespace, state.as_str()], Value::gauge(*count));
    }
    let mut connected = family::WATCH_CONNECTED.shown();
    for (kind, is_connected) in watches {
        connected.push([kind], Value::gauge((*is_connected).into()));
    }
    let mut taken = family::WATCH_EVENTS.shown();
    for (kind, count) in events {
        taken.push([kind], Value::count(*count));
    }
    let mut leads = family::LEADER.shown();
    if let Some(leader) = leader {
        leads.push([], Value::gauge((*leader).into()));
    }
    let mut expiry = family::CERTIFICATE_NOT_AFTER.shown();
    for ((namespace, secret, host), not_after) in certificates {
        expiry.push([namespace, secret, host], Value::Gauge(*not_after as f64));
    }
    let build = [env!("CARGO_PKG_VERSION"), env!("HEADGATE_COMMIT"), env!("HEADGATE_RUSTC")];
    let mut families = vec![
        counted.into(),
        connected.into(),
        taken.into(),
        leads.into(),
        expiry.into(),
        family::ACCESS_LOG_DROPPED.shown().with([], Value::count(access_log_dropped.load(Ordering::Relaxed))).into(),
        family::TRACES_DROPPED.shown().with([], Value::count(traces_dropped.load(Ordering::Relaxed))).into(),
        family::BUILD_INFO.shown().with(build, Value::gauge(1)).into(),
    ];
    families.extend(applied.iter().flat_map(tables));
    families.push(decisions(&limits.look()));
    families.extend(local_limits.iter().flat_map(|store| local(store.usage())));
    families
}

/// What is counted of tokens and of the keys that they are checked with.
pub(super) fn identity(workers: &[Arc<WorkerCells>], control: &Control) -> [MetricFamily; 3] {
    let mut counted = BTreeMap::new();
    workers.iter().for_each(|worker| worker.tokens.add_to(&mut counted, &control.providers));
    let mut validations = family::JWT_VALIDATIONS.shown();
    for ((provider, result), count) in &counted {
        validations.push([provider, result], Value::count(*count));
    }
    let mut refreshes = family::JWKS_REFRESH.shown();
    let mut last = family::JWKS_LAST_SUCCESS.shown();
    for (provider, fetches) in &control.key_fetches.providers {
        refreshes.push([provider, "success"], Value::count(fetches.good));
        refreshes.push([provider, "error"], Value::count(fetches.bad));
        if let Some(time) = fetches.last_good {
            last.push([provider], Value::Gauge(time.as_secs_f64()));
        }
    }
    [validations.into(), refreshes.into(), last.into()]
}

/// What limits have decided.
fn decisions(limits: &[LimitLabels]) -> MetricFamily {
    let mut decisions = family::RATELIMIT_DECISIONS.shown();
    for LimitLabels { policy, limit, scope, tally } in limits {
        for verdict in Verdict::ALL {
            let count = tally.total(verdict);
            if count > 0 {
                decisions.push([verdict.as_str(), policy, limit, scope], Value::count(count));
            }
        }
    }
    decisions.into()
}

/// What the counts of this process take.
fn local(usage: Usage) -> [MetricFamily; 3] {
    let Usage { keys, memory, forgotten } = usage;
    [
        family::RATELIMIT_LOCAL_KEYS.shown().with([], Value::gauge(keys)).into(),
        family::RATELIMIT_LOCAL_MEMORY.shown().with([], Value::gauge(memory)).into(),
        family::RATELIMIT_LOCAL_FORGOTTEN.shown().with([], Value::count(forgotten)).into(),
    ]
}

/// What is known of published tables.
fn tables(applied: &Applied) -> [MetricFamily; 5] {
    let Applied { generation, times, last, applying, convergence } = applied;
    [
        family::CONFIG_GENERATION.shown().with([], Value::gauge(*generation)).into(),
        family::CONFIG_APPLIED.shown().with(["success"], Value::count(*times)).into(),
        family::CONFIG_LAST_SUCCESS.shown().with([], Value::Gauge(last.as_secs_f64())).into(),
        family::CONFIG_APPLY_DURATION.shown().with([], Value::histogram(&DURATION, applying)).into(),
        family::CONFIG_CONVERGENCE.shown().with([], Value::histogram(&DURATION, convergence)).into(),
    ]
}

/// What the kernel says of this process.
pub(super) fn process(process: &Process) -> Vec<MetricFamily> {
    let Process { cpu, started, resident, virtual_, open_files, max_files } = *process;
    [
        (&family::PROCESS_CPU, cpu.map(Value::Count)),
        (&family::PROCESS_START_TIME, started.map(Value::Gauge)),
        (&family::PROCESS_RESIDENT_MEMORY, resident.map(Value::gauge)),
        (&family::PROCESS_VIRTUAL_MEMORY, virtual_.map(Value::gauge)),
        (&family::PROCESS_OPEN_FDS, open_files.map(Value::gauge)),
        (&family::PROCESS_MAX_FDS, max_files.map(Value::gauge)),
    ]
    .into_iter()
    .filter_map(|(family, value)| Some(family.shown().with([], value?).into()))
    .collect()
}

/// The name of a listener.
pub(super) fn listener(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}
