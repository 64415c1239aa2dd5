//! What is known of services at the moment somebody asks.

use std::collections::BTreeMap;
use std::fmt;

use prometheus::proto::MetricFamily;

use super::family::{self, Value};

/// One service, as of now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSample {
    /// `namespace/service:port`.
    pub service: String,
    /// How many of its endpoints are in each state.
    pub endpoints: BTreeMap<EndpointState, u64>,
    /// How often an endpoint was left out.
    pub ejections: u64,
    /// How often requests were repeated, by why.
    pub retries: Vec<(&'static str, u64)>,
    /// 1 when its circuit is open, 0.5 when it is half-open, 0 when it is closed; none when it has none.
    pub circuit: Option<f64>,
}

/// Whether requests are sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// They are.
    Ready,
    /// They are not, for it has failed too often.
    Ejected,
    /// They are not, for checks on it fail.
    Failing,
    /// Only because there is nobody else: it is terminating.
    Draining,
}

/// Says what is known of every service.
pub(super) struct Services(pub(super) Box<dyn Fn() -> Vec<ServiceSample> + Send + Sync>);

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl EndpointState {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Ejected => "ejected",
            Self::Failing => "failing",
            Self::Draining => "draining",
        }
    }
}

/// What is known of services, as metric families.
pub(super) fn families(services: &[ServiceSample]) -> [MetricFamily; 4] {
    let mut endpoints = family::ENDPOINTS.shown();
    let mut ejections = family::EJECTIONS.shown();
    let mut retries = family::RETRIES.shown();
    let mut circuits = family::CIRCUIT_OPEN.shown();
    for sample in services {
        let service = sample.service.as_str();
        for (state, count) in &sample.endpoints {
            endpoints.push([service, state.as_str()], Value::gauge(*count));
        }
        if sample.ejections > 0 {
            ejections.push([service], Value::count(sample.ejections));
        }
        for (why, count) in sample.retries.iter().filter(|(_, count)| *count > 0) {
            retries.push([service, why], Value::count(*count));
        }
        if let Some(circuit) = sample.circuit {
            circuits.push([service], Value::Gauge(circuit));
        }
    }
    [endpoints.into(), ejections.into(), retries.into(), circuits.into()]
}
