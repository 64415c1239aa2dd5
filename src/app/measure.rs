//! What the control side says of itself in numbers, put into the words of the metrics.

use std::sync::Arc;

use crate::compile::{Report, State};
use crate::store::Watch;
use crate::table::Table;
use crate::telemetry::{
    CertificateExpiry, EndpointCount, EndpointState, Metrics, ObjectCount, ObjectState, RouteLabels,
};

/// Numbers that change with the table.
pub(super) fn table(metrics: &Metrics, table: &Table) {
    metrics.set_routes(route_labels(table));
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

/// Numbers that change with the endpoints.
pub(super) fn endpoints(metrics: &Metrics, table: &Table) {
    metrics.set_endpoints(table.clusters.iter().map(|cluster| EndpointCount {
        service: cluster.name.to_string(),
        state: EndpointState::Ready,
        count: cluster.endpoints().endpoints.len() as u64,
    }));
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
