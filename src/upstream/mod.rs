//! From a chosen backend to an endpoint: the group behind a backend, how one of it is chosen, and how it is spoken to.

mod announcement;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod check;
pub mod health;
mod http1;
mod policy;
pub mod pool;
pub mod ring;
pub mod session;
mod tally;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

pub(crate) use announcement::SIGNATURE as PROXY_SIGNATURE;
pub use announcement::{Announced, ProxyProtocol};
pub use balance::{Balancer, Choice, Loads, Shares};
pub use breaker::{Bound, Breaker, Permit};
pub use budget::Budget;
pub use check::Check;
pub use health::{Circuit, Fit, GroupHealth, Health, Outcome};
pub(crate) use http1::{
    Appetite, KEPT_FIELDS, Out, declared_trailers, give_headers, keep, poll_read_little, write_trailers,
};
pub use http1::{Head, content_length};
pub use policy::Policy;
pub use ring::Ring;
pub use session::SessionKey;
pub use tally::{Repeat, Tally};

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
    /// How they are told whom a connection is for, if they are. Such a connection serves one client alone.
    pub announces: Option<ProxyProtocol>,
    /// How one of its endpoints is chosen.
    pub balancer: Balancer,
    /// What is done about endpoints in trouble.
    pub policy: Arc<Policy>,
    /// How many repetitions it may get, where that is bounded.
    pub budget: Option<Budget>,
    /// What is under way, where that is bounded.
    pub breaker: Option<Arc<Breaker>>,
    /// The key of the tickets by which clients find their endpoint again, where they are to; apart, since it is large and
    /// rare.
    pub session_key: Option<Box<SessionKey>>,
    /// What is counted of its service.
    pub tally: Arc<Tally>,
    endpoints: ArcSwap<EndpointSet>,
}

impl Cluster {
    /// A cluster with its first endpoints.
    pub fn new(name: Arc<str>, slot: Slot, transport: Transport, balancer: Balancer, endpoints: EndpointSet) -> Self {
        Self {
            name,
            slot,
            transport,
            announces: None,
            balancer,
            policy: Arc::default(),
            budget: None,
            breaker: None,
            session_key: None,
            tally: Arc::default(),
            endpoints: ArcSwap::from_pointee(endpoints),
        }
    }

    /// The same under a policy, counting in what its service counts in.
    pub fn governed(self, policy: Arc<Policy>, tally: Arc<Tally>) -> Self {
        let budget = policy.budget.map(Budget::new);
        let breaker = policy.limits.map(|limits| Arc::new(Breaker::new(limits)));
        let session_key = policy.session_secret.as_ref().map(SessionKey::new).map(Box::new);
        Self { policy, budget, breaker, session_key, tally, ..self }
    }

    /// How its endpoints are spoken to, in words: `https for orders.shop.svc, PROXY protocol v2`.
    pub fn spoken(&self) -> String {
        let announces = self.announces.map(|protocol| format!(", {protocol}"));
        format!("{}{}", self.transport, announces.unwrap_or_default())
    }

    /// The state of the circuit, if the policy makes it one: open while nothing is let through because every endpoint is
    /// left out, or while a bound turns requests away.
    pub fn circuit(&self) -> Option<Circuit> {
        let Policy { outlier, limits, .. } = &*self.policy;
        if outlier.is_none() && limits.is_none() {
            return None;
        }
        if self.breaker.as_ref().is_some_and(|breaker| breaker.is_open()) {
            return Some(Circuit::Open);
        }
        let set = self.endpoints();
        Some(outlier.as_ref().map_or(Circuit::Closed, |outlier| set.group.circuit(&set.health, outlier)))
    }

    /// Whether one of its endpoints takes requests, be it on trial. `now` is the workers' clock.
    pub fn takes_requests(&self, now: u64) -> bool {
        let set = self.endpoints();
        set.group.takes_requests(&set.health, now)
    }

    /// The endpoint that a ticket names, unless it has left or is left out.
    pub fn endpoint_of(&self, ticket: u64) -> Option<Endpoint> {
        let key = self.session_key.as_ref()?;
        let set = self.endpoints();
        let number = set.tickets(key).iter().position(|named| *named == ticket)?;
        let is_out = set.health.get(number).is_some_and(|health| health.is_out());
        set.endpoints.get(number).filter(|_| !is_out).map(|endpoint| **endpoint)
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
    /// What is known of the health of each, in the same order.
    pub health: Box<[Arc<Health>]>,
    /// What their healths have in common.
    pub group: Arc<GroupHealth>,
    /// Who is next in turn, by weight.
    pub shares: Shares,
    /// The ring over them, when the cluster balances by consistent hashing.
    pub ring: Option<Ring>,
    /// What each is called in tickets, made when first asked for.
    tickets: OnceLock<Box<[u64]>>,
}

impl EndpointSet {
    /// These endpoints, in any order, with what their balancer needs. Nothing is known of their health.
    pub fn new(endpoints: Vec<Arc<Endpoint>>, balancer: Balancer) -> Self {
        let group = Arc::new(GroupHealth::default());
        let endpoints =
            endpoints.into_iter().map(|endpoint| (endpoint, Arc::new(Health::new(group.clone())))).collect();
        Self::with_health(endpoints, group, balancer)
    }

    /// The same, with what is known of their health.
    pub fn with_health(
        mut endpoints: Vec<(Arc<Endpoint>, Arc<Health>)>,
        group: Arc<GroupHealth>,
        balancer: Balancer,
    ) -> Self {
        endpoints.sort_by_key(|(endpoint, _)| endpoint.address);
        let (endpoints, health): (Vec<_>, Vec<_>) = endpoints.into_iter().unzip();
        let ring = match balancer {
            Balancer::ConsistentHash { .. } => Some(Ring::new(&endpoints)),
            Balancer::RoundRobin | Balancer::LeastRequest | Balancer::Random | Balancer::PeakEwma => None,
        };
        Self {
            shares: Shares::new(&endpoints),
            ring,
            endpoints: endpoints.into(),
            health: health.into(),
            group,
            tickets: OnceLock::new(),
        }
    }

    /// What each is called in tickets of this key, which is always the cluster's.
    fn tickets(&self, key: &SessionKey) -> &[u64] {
        self.tickets.get_or_init(|| self.endpoints.iter().map(|endpoint| key.id(endpoint.address)).collect())
    }

    /// The health of an endpoint, if it is one of them.
    pub fn health_of(&self, endpoint: &Endpoint) -> Option<&Arc<Health>> {
        let number = self.endpoints.binary_search_by_key(&endpoint.address, |known| known.address).ok()?;
        let is_same = self.endpoints.get(number).is_some_and(|known| known.slot == endpoint.slot);
        self.health.get(number).filter(|_| is_same)
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

impl fmt::Display for Transport {
    /// `https for orders.shop.svc, trusting ConfigMap shop/internal-ca`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 => f.write_str("http"),
            Self::H2c => f.write_str("h2c"),
            Self::Tls(tls) => {
                write!(f, "https for {}", tls.server_name.to_str())?;
                tls.terms.iter().try_for_each(|terms| write!(f, ", {terms}"))
            }
        }
    }
}

/// What a TLS connection to an endpoint needs.
#[derive(Debug)]
pub struct TlsTransport {
    /// Trust and versions.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that is asked for and that the certificate must be valid for.
    pub server_name: rustls::pki_types::ServerName<'static>,
    /// Whom it trusts and what it shows, in words, where that is not the default.
    pub terms: Option<Arc<str>>,
}
