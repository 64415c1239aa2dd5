//! What the control side says of itself in numbers, put into the words of the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::Requirement;
use crate::compile::{Report, State};
use crate::source::Change;
use crate::store::Watch;
use crate::table::{Scope, Table};
use crate::telemetry::{
    CertificateExpiry, EndpointState, LimitLabels, Metrics, ObjectCount, ObjectState, RouteLabels, ServiceSample,
};
use crate::upstream::Circuit;

/// How much is taken in.
pub(super) fn events(metrics: &Metrics, batch: &[Change]) {
    for change in batch {
        let (kind, count) = match change {
            Change::Upsert(object, _) => (object.kind(), 1),
            Change::Invalid(key, ..) | Change::Delete(key) => (key.kind, 1),
            Change::Replace(kind, changes) => (*kind, changes.len() as u64),
            Change::Synced(_) | Change::Unavailable(..) | Change::Place(..) => continue,
        };
        metrics.add_events(kind.as_str(), count);
    }
}

/// Numbers that change with the table.
pub(super) fn table(metrics: &Metrics, table: &Table) {
    metrics.set_routes(route_labels(table));
    metrics.set_limits(limits(table));
    let requirements = table.routes.iter().filter_map(|route| route.requirement.as_deref());
    metrics.set_providers(requirements.flat_map(|requirement| match requirement {
        Requirement::Token(token) => token.providers.iter().map(|provider| provider.name.clone()).collect(),
        Requirement::Basic(_) => Vec::new(),
    }));
    metrics.set_certificates(table.certificates.iter().map(|(_, certificate)| {
        let (namespace, secret) = &certificate.secret;
        CertificateExpiry {
            namespace: namespace.to_string(),
            secret: secret.to_string(),
            host: certificate.names.first().map(ToString::to_string).unwrap_or_default(),
            not_after: certificate.not_after,
        }
    }));
}

/// What is known of every service now. Clusters of one service share its endpoints, which must not be counted twice.
pub(super) fn services(table: &Table) -> Vec<ServiceSample> {
    let mut samples: BTreeMap<&str, ServiceSample> = BTreeMap::new();
    for cluster in table.clusters.iter() {
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
    table.policies.iter().flat_map(|limits| {
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
pub(super) fn report(metrics: &Metrics, report: &Report) {
    metrics.set_objects(report.counts().into_iter().map(|((kind, namespace, state), count)| ObjectCount {
        kind: kind.as_str(),
        namespace: namespace.to_string(),
        state: match state {
            State::Accepted => ObjectState::Accepted,
            State::Invalid => ObjectState::Invalid,
            State::Unresolved => ObjectState::Unresolved,
        },
        count: count as u64,
    }));
    for (kind, watch) in &report.watches {
        metrics.set_watch(kind.as_str(), *watch == Watch::Synced);
    }
}

fn route_labels(table: &Table) -> Arc<[RouteLabels]> {
    table
        .routes
        .iter()
        .map(|route| RouteLabels {
            slot: route.slot,
            route: format!("{}/{}", route.id.namespace, route.id.name),
            rule: route.id.rule.to_string(),
            services: route.backends.iter().map(|backend| backend.name.to_string()).collect(),
        })
        .collect()
}
