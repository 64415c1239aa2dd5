//! From a chosen backend to an endpoint: the group behind a backend, how one of it is chosen, and how it is spoken to.

pub mod balance;
mod http1;
pub mod pool;
pub mod ring;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use balance::{Balancer, Choice, Loads, Shares};
pub use http1::{Head, content_length};
pub use ring::Ring;

use crate::slot::Slot;

/// The endpoints behind one backend, spoken to in one way and balanced in one way.
///
/// Its endpoint set moves on its own: an endpoint that comes or goes changes no route. Everything else is fixed for
/// the life of the cluster.
#[derive(Debug)]
pub struct Cluster {
    /// `namespace/service:port`, as metrics and logs name it.
    pub name: Arc<str>,
    /// Where workers keep what they know of it.
    pub slot: Slot,
    /// How its endpoints are spoken to.
    pub transport: Transport,
    /// How one of its endpoints is chosen.
    pub balancer: Balancer,
    endpoints: ArcSwap<EndpointSet>,
}

impl Cluster {
    /// A cluster with its first endpoints.
    pub fn new(name: Arc<str>, slot: Slot, transport: Transport, balancer: Balancer, endpoints: EndpointSet) -> Self {
        Self { name, slot, transport, balancer, endpoints: ArcSwap::from_pointee(endpoints) }
    }

    /// The endpoints as of now; one exchange asks once per attempt.
    pub fn endpoints(&self) -> Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// Makes these the endpoints from now on.
    pub fn publish(&self, endpoints: EndpointSet) {
        self.endpoints.store(Arc::new(endpoints));
    }
}

/// All endpoints of a cluster at one moment.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// In the order of their addresses, so that equal sets are equal on every replica.
    pub endpoints: Box<[Arc<Endpoint>]>,
    /// Who is next in turn, by weight.
    pub shares: Shares,
    /// The ring over them, when the cluster balances by consistent hashing.
    pub ring: Option<Ring>,
}

impl EndpointSet {
    /// These endpoints, in any order, with what their balancer needs.
    pub fn new(mut endpoints: Vec<Arc<Endpoint>>, balancer: Balancer) -> Self {
        endpoints.sort_by_key(|endpoint| endpoint.address);
        let ring = match balancer {
            Balancer::ConsistentHash { .. } => Some(Ring::new(&endpoints)),
            Balancer::RoundRobin | Balancer::LeastRequest | Balancer::Random | Balancer::PeakEwma => None,
        };
        Self { shares: Shares::new(&endpoints), ring, endpoints: endpoints.into() }
    }
}

/// One address of a cluster. Clusters that differ only in their balancing share their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where workers keep its connections and load.
    pub slot: Slot,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the cluster's requests compared with the others.
    pub weight: u32,
}

/// How a cluster's endpoints are spoken to.
#[derive(Clone, Debug)]
pub enum Transport {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/2 in clear, by prior knowledge (RFC 9113 3.3).
    H2c,
    /// TLS; HTTP/2 or HTTP/1.1 as the endpoint chooses by ALPN.
    Tls(Arc<TlsTransport>),
}

/// What a TLS connection to an endpoint needs.
#[derive(Debug)]
pub struct TlsTransport {
    /// Trust and versions.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that is asked for and that the certificate must be valid for.
    pub server_name: rustls::pki_types::ServerName<'static>,
}
