//! One compiled rule: what it does with a request that matched it.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use smallvec::SmallVec;

use super::{Access, ErrorPages, Mirror, RateLimits, Retry, Session};
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
///
/// What every request reads of it comes first and lies together, in the order in which it is read: of many thousand routes
/// most are in no cache when they are asked for, and then each place that is looked at costs. What few routes have is kept
/// elsewhere, for the same reason.
#[derive(Debug)]
#[repr(C)]
pub struct Route {
    /// Where workers keep what they count for it.
    pub slot: Slot,
    /// What is recorded of its requests.
    pub observe: Observe,
    /// The listeners it answers on.
    pub listeners: Listeners,
    /// Whether a request that came in clear is sent to the same address over TLS (308).
    pub https_redirect: bool,
    /// Where requests go, unless a filter has answered.
    pub backends: Backends,
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
    /// Who makes a page in place of an answer that says that something is wrong.
    pub error_pages: Option<Box<ErrorPages>>,
    /// Which responses are compressed, if any.
    pub compression: Option<Box<Compression>>,
    /// How a client stays with its endpoint, if it is to.
    pub session: Option<Box<Session>>,
    /// When a request is sent once more, beyond what is always safe.
    pub retry: Option<Box<Retry>>,
    /// What is hashed for a cluster that balances by consistent hashing.
    pub hash_on: Option<Box<HashOn>>,
    /// How long its parts may take.
    pub timeouts: Timeouts,
    /// What it was compiled from.
    pub id: RouteId,
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
    /// Whether it passes every request on as it is, whoever asks.
    pub fn is_open(&self) -> bool {
        let Access { ip, external_auth, client_validation, .. } = &self.access;
        let anybody = ip.is_none() && external_auth.is_none() && client_validation.is_none();
        anybody && self.requirement.is_none() && self.filters.is_empty()
    }

    /// Reads a word of each part that an exchange comes to, for the processor to fetch all of it at once.
    pub(super) fn expect(&self) {
        let Self { slot, access, filters, retry, timeouts, .. } = self;
        black_box((slot.index(), access.cors.is_some(), filters.len(), retry.is_some(), timeouts.idle.subsec_nanos()));
    }

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

    /// Whether the clear one is among them, or the one over TLS.
    pub fn has(self, secure: bool) -> bool {
        if secure { self.https } else { self.http }
    }
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
    /// Nearly always one, which then lies in the route itself.
    list: SmallVec<[Backend; 1]>,
    /// The sum of the weights of those that are no fallback, and of those that are.
    total: u32,
    in_reserve: u32,
}

impl Backends {
    /// The given backends; those of weight 0 stay listed and get nothing.
    pub fn new(list: impl IntoIterator<Item = Backend>) -> Self {
        let list: SmallVec<[Backend; 1]> = list.into_iter().collect();
        let sum = |fallback| {
            let weights = list.iter().filter(|backend| backend.fallback == fallback).map(|backend| backend.weight);
            weights.fold(0, u32::saturating_add)
        };
        let (total, in_reserve) = (sum(false), sum(true));
        Self { list, total, in_reserve }
    }

    /// The sum of the weights of those that are no fallback, or of those that are.
    pub fn total_weight(&self, fallback: bool) -> u32 {
        if fallback { self.in_reserve } else { self.total }
    }

    /// All of them, for describing.
    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.list.iter()
    }

    /// The backend of a request, with its number in the list: by weight, and one that is kept in reserve if that one has
    /// nobody to take it. `random_below` gives a number below another one, `now` is the workers' clock.
    pub fn choose(&self, random_below: impl Fn(u32) -> u32, now: u64) -> Option<(usize, &Backend)> {
        let first = self.at(false, random_below(self.total));
        if self.in_reserve == 0 || first.is_none_or(|(_, backend)| backend.takes_requests(now)) {
            return first;
        }
        self.at(true, random_below(self.in_reserve)).filter(|(_, backend)| backend.takes_requests(now)).or(first)
    }

    /// Whether one that is kept in reserve may be asked now.
    pub fn falls_back(&self, now: u64) -> bool {
        let mut first = self.list.iter().filter(|backend| !backend.fallback && backend.weight > 0);
        self.in_reserve > 0 && first.any(|backend| !backend.takes_requests(now))
    }

    /// The backend whose share holds `point`, a number below [`Self::total_weight`].
    fn at(&self, fallback: bool, point: u32) -> Option<(usize, &Backend)> {
        if let [only] = &*self.list {
            return (only.weight > 0 && only.fallback == fallback).then_some((0, only));
        }
        let mut below = 0u32;
        let mut shares = self.list.iter().enumerate().filter(|(_, backend)| backend.fallback == fallback);
        shares.find(|(_, backend)| {
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
    /// It is kept in reserve for when another has nobody to take a request.
    pub fallback: bool,
    /// It speaks gRPC and nothing else, so that calls in gRPC-Web are put into it.
    pub grpc: bool,
    /// How often this backend may be asked, when the rule as a whole has no limits.
    pub limits: Option<Arc<RateLimits>>,
    /// Steps of this backend only, after those of the rule.
    pub filters: Box<[Filter]>,
    /// What stands behind it.
    pub target: Target,
}

impl Backend {
    /// Whether one of its endpoints takes requests. One that does not resolve is not out of order but misdeclared: its
    /// share is answered with an error that says so.
    fn takes_requests(&self, now: u64) -> bool {
        match &self.target {
            Target::Cluster(cluster) => cluster.takes_requests(now),
            Target::Unresolved(_) => true,
        }
    }
}

/// What stands behind a backend.
#[derive(Clone, Debug)]
pub enum Target {
    /// Endpoints to choose from.
    Cluster(Arc<Cluster>),
    /// Nothing: the reference does not resolve, and its share is answered with this status.
    Unresolved(http::StatusCode),
}
