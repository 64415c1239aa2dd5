//! The compiled, immutable route table of one generation: what a worker reads.

mod access;
mod certificate;
mod client_validation;
pub mod cookie;
mod describe;
mod error_pages;
mod explain;
mod host;
mod limit;
mod matcher;
mod mirror;
mod path_match;
pub mod query;
mod retry;
mod route;
mod router;
#[cfg(test)]
pub(crate) mod sample;
mod session;
mod specificity;
mod trie;

use std::sync::Arc;

pub use access::{Access, AuthService, AuthTarget, BodyBounds, CertificateHeaders};
pub use certificate::{Certificate, Certificates, HostPolicy, TlsVersion};
pub use client_validation::{ClientAuth, ClientValidation};
pub use describe::{Description, PolicyStanding};
pub use error_pages::ErrorPages;
pub use explain::{Candidate, Explanation, Verdict};
pub use host::{HostKey, HostKeyError, Hosts};
pub use limit::{
    FailureMode, HeaderStyle, KeyPart, KeySource, LimitAnswer, OnMissing, RateLimit, RateLimits, Scope, When,
};
pub use matcher::{HeaderMatch, Matcher, QueryMatch, RequestHead, ValueMatch};
pub use mirror::Mirror;
pub use path_match::PathMatch;
pub use retry::{GrpcStatus, Retry};
pub use route::{Backend, Backends, HashOn, Listeners, Observe, Route, RouteId, Target, Timeouts};
pub use router::{Entry, HostRouter};
pub use session::{Carrier, Cookie, Session};
pub use specificity::{Precedence, Specificity};

use crate::filter;
use crate::path::Params;
use crate::persistent::Map;
use crate::slot::Slot;
use crate::upstream::Cluster;

/// Everything a worker needs to serve, as of one generation.
#[derive(Debug, Default)]
pub struct Table {
    /// The number of this table; it grows with every published one, from 1.
    pub generation: u64,
    /// The routes by host.
    pub hosts: Hosts,
    /// The certificates by host.
    pub certificates: Certificates,
    /// Every route, for metrics and descriptions.
    pub routes: Map<Slot, Arc<Route>>,
    /// The limits of every policy that can be enforced, and of every Ingress that has its own, by name.
    pub policies: Map<Arc<str>, Arc<RateLimits>>,
    /// Every cluster some route refers to.
    pub clusters: Map<Slot, Arc<Cluster>>,
}

/// A route that matched, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t, 'r> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// The parameters of its path template.
    pub params: Params<'r>,
    /// The condition on the path that was met.
    pub path: &'t PathMatch,
    /// How many bytes of the path its prefix covers; 0 when it has none.
    pub prefix: usize,
}

impl Table {
    /// The route for a request; `host` is lower-case, without port and without a final dot.
    ///
    /// A preflight request asks on behalf of another one, whose route answers it if that speaks for its origins at all.
    pub fn find<'t, 'r>(&'t self, host: &str, head: &RequestHead<'r, '_>) -> Option<Match<'t, 'r>>
    where
        't: 'r,
    {
        let router = self.hosts.find(host)?;
        if let Some(method) = filter::preflight(head.method, head.headers)
            && let Some(found) = router.find(&RequestHead { method: &method, ..*head })
            && found.route.access.cors.is_some()
        {
            return Some(found);
        }
        router.find(head)
    }
}
