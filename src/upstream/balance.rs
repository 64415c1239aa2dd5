//! Which endpoint of a cluster takes a request.

use std::sync::Arc;

use super::{Endpoint, EndpointSet};

/// How one endpoint of a cluster is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// One after the other, by weight.
    RoundRobin,
    /// The less busy of two: the next in turn and a random one.
    LeastRequest,
    /// Any, by weight.
    Random,
    /// The one of two with the lower product of smoothed latency and requests in flight.
    PeakEwma,
    /// The same endpoint for the same key, on every replica.
    ConsistentHash {
        /// An endpoint that has this many percent of the mean load passes its keys on; `None` is no bound.
        balance_factor_percent: Option<u32>,
    },
}

/// What a worker knows of the endpoints' load.
pub trait Loads {
    /// Requests of this worker that the endpoint has not finished.
    fn in_flight(&self, endpoint: &Endpoint) -> u32;
    /// Smoothed time to the first byte in seconds; 0 when nothing is known yet.
    fn latency(&self, endpoint: &Endpoint) -> f64;
}

/// What a worker brings to a choice.
#[derive(Debug)]
pub struct Choice<'a, L> {
    /// The load of the endpoints.
    pub loads: &'a L,
    /// A number that grows by one with every choice of this worker in this cluster.
    pub turn: u64,
    /// A random number.
    pub random: u64,
    /// The hash of the request's key, for a consistent hash; without one it falls back to `random`.
    pub hash: Option<u64>,
    /// Not this one, if there is any other: it has just failed.
    pub exclude: Option<&'a Endpoint>,
}

impl Balancer {
    /// The endpoint that takes the request; `None` only when there is none at all.
    pub fn select<'s, L: Loads>(self, _set: &'s EndpointSet, _choice: &Choice<'_, L>) -> Option<&'s Arc<Endpoint>> {
        None
    }
}
