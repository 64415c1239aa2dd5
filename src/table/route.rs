//! One compiled rule: what it does with a request that matched it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{Access, Mirror, RateLimits, Retry, Session};
use crate::auth::Requirement;
use crate::filter::{Compression, Filter};
use crate::slot::Slot;
use crate::upstream::Cluster;

/// What a route was compiled from, as users, metrics and logs name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId {
    /// The kind of the object, `Ingress` or `GatewayRoute`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The rule's name, or its number when it has none.
    pub rule: Arc<str>,
}

impl fmt::Display for RouteId {
    /// `GatewayRoute shop/shop rule "orders"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} rule \"{}\"", self.kind, self.namespace, self.name, self.rule)
    }
}

/// One compiled rule: identity, filters, backends, timeouts.
#[derive(Debug)]
pub struct Route {
    /// What it was compiled from.
    pub id: RouteId,
    /// Where workers keep what they count for it.
    pub slot: Slot,
    /// The listeners it answers on.
    pub listeners: Listeners,
    /// Whether a request that came in clear is sent to the same address over TLS (308).
    pub https_redirect: bool,
    /// What a request is asked before the filters see it.
    pub access: Access,
    /// How often it may be asked, whichever backend is.
    pub limits: Option<Arc<RateLimits>>,
    /// What a client must prove of itself.
    pub requirement: Option<Arc<Requirement>>,
    /// Steps of the whole rule, in their declared order.
    pub filters: Box<[Filter]>,
    /// Who gets copies of requests, as the filters have left them.
    pub mirrors: Box<[Mirror]>,
    /// Where requests go, unless a filter has answered.
    pub backends: Backends,
    /// What is hashed for a cluster that balances by consistent hashing.
    pub hash_on: Option<HashOn>,
    /// How long its parts may take.
    pub timeouts: Timeouts,
    /// When a request is sent once more, beyond what is always safe.
    pub retry: Option<Retry>,
    /// How a client stays with its endpoint, if it is to.
    pub session: Option<Session>,
    /// Which responses are compressed, if any.
    pub compression: Option<Compression>,
    /// What is recorded of its requests.
    pub observe: Observe,
}

/// What is recorded of a route's requests; `None` is whatever the gateway is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Whether each gets a line in the access log.
    pub access_log: Option<bool>,
    /// How many of a hundred are traced when the caller has not decided.
    pub trace_percent: Option<u8>,
}

impl Route {
    /// The limits of a request that goes to this backend.
    pub fn limits_for<'r>(&'r self, backend: Option<&'r Backend>) -> Option<&'r Arc<RateLimits>> {
        self.limits.as_ref().or_else(|| backend?.limits.as_ref())
    }
}

/// The listeners a route answers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// The clear one.
    pub http: bool,
    /// The TLS one.
    pub https: bool,
}

impl Listeners {
    /// Both.
    pub const ALL: Self = Self { http: true, https: true };
}

/// How long the parts of an exchange may take; `None` is no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The whole exchange, from the request's head to the response's last byte.
    pub request: Option<Duration>,
    /// One attempt, up to the first byte of the response.
    pub backend_request: Option<Duration>,
    /// Until a connection to the endpoint stands, TLS included.
    pub connect: Duration,
    /// The longest silence in the middle of a body, either way.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: None,
            backend_request: Some(Duration::from_secs(60)),
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(60),
        }
    }
}

/// What is hashed to choose an endpoint on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    ClientIp,
    /// The first value of a request header.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Box<str>),
    /// A query parameter's value.
    QueryParam(Box<str>),
    /// A parameter of the path template.
    PathParam(Box<str>),
    /// A claim of the token that the rule asks for.
    JwtClaim(Box<str>),
}

/// The backends of a route and their shares.
#[derive(Debug, Default)]
pub struct Backends {
    list: Box<[Backend]>,
    total: u32,
}

impl Backends {
    /// The given backends; those of weight 0 stay listed and get nothing.
    pub fn new(list: Vec<Backend>) -> Self {
        let total = list.iter().map(|backend| backend.weight).fold(0, u32::saturating_add);
        Self { list: list.into(), total }
    }

    /// The sum of all weights.
    pub fn total_weight(&self) -> u32 {
        self.total
    }

    /// All of them, for describing.
    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.list.iter()
    }

    /// The backend whose share holds `point`, a number below [`Self::total_weight`]; with its number in the list.
    pub fn at(&self, point: u32) -> Option<(usize, &Backend)> {
        if let [only] = &*self.list {
            return (only.weight > 0).then_some((0, only));
        }
        let mut below = 0u32;
        self.list.iter().enumerate().find(|(_, backend)| {
            below = below.saturating_add(backend.weight);
            point < below
        })
    }
}

/// One backend of a route.
#[derive(Debug)]
pub struct Backend {
    /// `namespace/service:port`, as metrics and logs name it.
    pub name: Arc<str>,
    /// Its share among the route's backends.
    pub weight: u32,
    /// How often this backend may be asked, when the rule as a whole has no limits.
    pub limits: Option<Arc<RateLimits>>,
    /// Steps of this backend only, after those of the rule.
    pub filters: Box<[Filter]>,
    /// What stands behind it.
    pub target: Target,
}

/// What stands behind a backend.
#[derive(Clone, Debug)]
pub enum Target {
    /// Endpoints to choose from.
    Cluster(Arc<Cluster>),
    /// Nothing: the reference does not resolve, and its share is answered with this status.
    Unresolved(http::StatusCode),
}
