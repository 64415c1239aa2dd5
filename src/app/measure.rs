//! What the control side says of itself in numbers, put into the words of the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::Requirement;
use crate::compile::{Report, State};
use crate::persistent::Change;
use crate::source;
use crate::store::Watch;
use crate::table::{Route, Scope, Table};
use crate::telemetry::{
    CertificateExpiry, EndpointState, LimitLabels, Metrics, ObjectCount, ObjectState, RouteLabels, ServiceSample,
};
use crate::upstream::Circuit;

/// How much is taken in.
pub(super) fn events(metrics: &Metrics, batch: &[source::Change]) {
    for change in batch {
        let (kind, count) = match change {
            source::Change::Upsert(object, _) => (object.kind(), 1),
            source::Change::Invalid(key, ..) | source::Change::Delete(key) => (key.kind, 1),
            source::Change::Replace(kind, changes) => (*kind, changes.len() as u64),
            source::Change::Synced(_) | source::Change::Unavailable(..) | source::Change::Place(..) => continue,
        };
        metrics.add_events(kind.as_str(), count);
    }
}

/// How many routes ask for tokens of each provider.
#[derive(Debug, Default)]
pub(super) struct Providers(BTreeMap<Arc<str>, usize>);

/// Numbers that change with the table. The metrics are told what has changed since the table before.
pub(super) fn table(metrics: &Metrics, providers: &mut Providers, before: &Table, table: &Table) {
    let changes = table.routes.changes(&before.routes);
    let gone = changes.iter().filter(|change| change.now.is_none()).map(|change| *change.key);
    let named = changes.iter().filter_map(|change| change.now).map(|route| route_labels(route));
    metrics.change_routes(gone, named);
    if !table.policies.is(&before.policies) {
        metrics.set_limits(limits(table));
    }
    let mut others = false;
    for Change { before, now, .. } in &changes {
        for provider in now.iter().flat_map(|route| providers_of(route)) {
            let count = providers.0.entry(provider.clone()).or_default();
            others |= *count == 0;
            *count += 1;
        }
        for provider in before.iter().flat_map(|route| providers_of(route)) {
            if let Some(count) = providers.0.get_mut(provider) {
                *count -= 1;
                if *count == 0 {
                    providers.0.remove(provider);
                    others = true;
                }
            }
        }
    }
    if others {
        metrics.set_providers(providers.0.keys().cloned());
    }
    if !table.certificates.is(&before.certificates) {
        metrics.set_certificates(certificates(table));
    }
}

fn providers_of(route: &Route) -> impl Iterator<Item = &Arc<str>> {
    let token = match route.requirement.as_deref() {
        Some(Requirement::Token(token)) => Some(token),
        Some(Requirement::Basic(_)) | None => None,
    };
    token.into_iter().flat_map(|token| &token.providers).map(|provider| &provider.name)
}

fn certificates(table: &Table) -> impl Iterator<Item = CertificateExpiry> {
    table.certificates.iter().map(|(_, certificate)| {
        let (namespace, secret) = &certificate.secret;
        CertificateExpiry {
            namespace: namespace.to_string(),
            secret: secret.to_string(),
            host: certificate.names.first().map(ToString::to_string).unwrap_or_default(),
            not_after: certificate.not_after,
        }
    })
}

/// What is known of every service now. Clusters of one service share its endpoints, which must not be counted twice.
pub(super) fn services(table: &Table) -> Vec<ServiceSample> {
    let mut samples: BTreeMap<&str, ServiceSample> = BTreeMap::new();
    for cluster in table.clusters.values() {
        let sample = samples.entry(&cluster.name).or_insert_with(|| ServiceSample {
            service: cluster.name.to_string(),
            ejections: cluster.tally.ejected(),
            retries: cluster.tally.repeated().map(|(why, count)| (why.as_str(), count)).collect(),
            ..ServiceSample::default()
        });
        let mut states = BTreeMap::from([(EndpointState::Ready, 0)]);
        for health in &cluster.endpoints().health {
            let state = match health.circuit() {
                _ if health.is_failing() => EndpointState::Failing,
                Circuit::Closed => EndpointState::Ready,
                Circuit::Open | Circuit::HalfOpen => EndpointState::Ejected,
            };
            *states.entry(state).or_default() += 1;
        }
        for (state, count) in states {
            let most = sample.endpoints.entry(state).or_default();
            *most = count.max(*most);
        }
        let circuit = cluster.circuit().map(|circuit| match circuit {
            Circuit::Closed => 0.0,
            Circuit::HalfOpen => 0.5,
            Circuit::Open => 1.0,
        });
        sample.circuit = [sample.circuit, circuit].into_iter().flatten().reduce(f64::max);
    }
    samples.into_values().collect()
}

/// The limits of a table, by name.
fn limits(table: &Table) -> impl Iterator<Item = LimitLabels> + '_ {
    table.policies.values().flat_map(|limits| {
        limits.list.iter().map(|rate| LimitLabels {
            policy: limits.policy.to_string(),
            limit: rate.limit.name.to_string(),
            scope: match rate.scope {
                Scope::Local => "local",
                Scope::Global { .. } => "global",
            },
            tally: rate.tally.clone(),
        })
    })
}

/// Numbers that change with the report.
pub(super) fn report(metrics: &Metrics, before: &Report, report: &Report) {
    let mut counts = BTreeMap::new();
    for Change { key, before, now } in report.objects.changes(&before.objects) {
        for (verdict, by) in [(before, -1), (now, 1)] {
            if let Some(verdict) = verdict.filter(|verdict| verdict.ours) {
                *counts.entry((key.kind, &key.namespace, verdict.state())).or_default() += by;
            }
        }
    }
    metrics.count_objects(counts.into_iter().map(|((kind, namespace, state), by)| ObjectCount {
        kind: kind.as_str(),
        namespace: namespace.to_string(),
        state: match state {
            State::Accepted => ObjectState::Accepted,
            State::Invalid => ObjectState::Invalid,
            State::Unresolved => ObjectState::Unresolved,
        },
        by,
    }));
    for (kind, watch) in &report.watches {
        metrics.set_watch(kind.as_str(), *watch == Watch::Synced);
    }
}

fn route_labels(route: &Route) -> RouteLabels {
    RouteLabels {
        slot: route.slot,
        route: format!("{}/{}", route.id.namespace, route.id.name),
        rule: route.id.rule.to_string(),
        services: route.backends.iter().map(|backend| backend.name.to_string()).collect(),
    }
}
