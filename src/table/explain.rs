//! Why a request goes where it goes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::matcher::RequestHead;
use super::route::Target;
use super::router::{Entry, HostRouter};
use super::{KeySource, Match, RateLimits, Table};
use crate::filter;
use crate::upstream::Transport;

/// Which rule takes a request, and why every other one of the host does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The declared host whose rules were considered; `None` when nothing claims the host that was asked for.
    pub host: Option<String>,
    /// Its rules, in the order in which they are considered.
    pub candidates: Vec<Candidate>,
    /// What the winner does with the request, step by step.
    pub then: Vec<String>,
}

/// One match of a rule, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The rule, as `GatewayRoute shop/shop rule "orders"`.
    pub route: String,
    /// The condition on the path.
    pub path: String,
    /// The other conditions; empty when there are none.
    pub conditions: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict")]
pub enum Verdict {
    /// It takes the request.
    Won,
    /// It does not match the request.
    Lost {
        /// The first condition that does not hold.
        why: String,
    },
    /// It matches as well, but a more specific one has won.
    NotReached {
        /// In what the winner is ahead of it.
        why: String,
    },
}

impl Explanation {
    /// The one that takes the request.
    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.verdict == Verdict::Won)
    }
}

impl Table {
    /// Says which rule takes a request and why every other does not; `host` is as for [`Table::find`].
    pub fn explain(&self, host: &str, head: &RequestHead<'_, '_>) -> Explanation {
        let Some(key) = self.hosts.key(host) else {
            return Explanation { host: None, candidates: Vec::new(), then: Vec::new() };
        };
        // A preflight request goes by the route of the request that it asks about, if that answers it.
        let asked = filter::preflight(head.method, head.headers);
        let asked = asked.as_ref().map(|method| RequestHead { method, ..*head });
        let answers =
            |head: &RequestHead<'_, '_>| self.find(host, head).is_some_and(|found| found.route.access.cors.is_some());
        let head = asked.as_ref().filter(|head| answers(head)).unwrap_or(head);
        let candidates = self.hosts.get(&key).map(|router| candidates(router, head)).unwrap_or_default();
        let then = self.find(host, head).map(|found| steps(found, host, head)).unwrap_or_default();
        Explanation { host: Some(key.to_string()), candidates, then }
    }
}

/// What a route does, in order. Who asks is not known: limits by address are explained for this machine's.
fn steps(found: Match<'_, '_>, host: &str, head: &RequestHead<'_, '_>) -> Vec<String> {
    let Match { route, params, prefix: _, path: _ } = found;
    let RequestHead { headers, query, .. } = *head;
    let source =
        KeySource { ip: Ipv4Addr::LOCALHOST.into(), host, headers, query, params, route: &route.id, claims: None };
    let limits = |limits: &Option<Arc<RateLimits>>, identified: bool| {
        limits.as_ref().map(|limits| limits.explain(head, &source, identified)).unwrap_or_default()
    };
    let mut steps = Vec::new();
    if route.https_redirect {
        steps.push("a request in clear is redirected to TLS".to_owned());
    }
    steps.extend(route.access.before_identity());
    steps.extend(limits(&route.limits, false));
    steps.extend(route.access.at_identity());
    steps.extend(route.requirement.iter().flat_map(|it| it.explain(head.secure, headers, query)));
    steps.extend(route.access.after_identity());
    steps.extend(limits(&route.limits, true));
    steps.extend(route.filters.iter().map(ToString::to_string));
    steps.extend(route.mirrors.iter().map(ToString::to_string));
    steps.extend(route.error_pages.as_ref().map(ToString::to_string));
    steps.extend(route.compression.as_ref().map(ToString::to_string));
    steps.extend(route.retry.as_ref().map(ToString::to_string));
    steps.extend(route.session.as_ref().map(ToString::to_string));
    for backend in route.backends.iter() {
        let in_reserve = if backend.fallback { "in reserve, " } else { "" };
        let share = match route.backends.total_weight(backend.fallback) {
            0 => "nothing".to_owned(),
            total => format!("{in_reserve}{} of {total}", backend.weight),
        };
        let behind = match &backend.target {
            Target::Cluster(cluster) => {
                let policy = match cluster.policy.to_string() {
                    policy if policy.is_empty() => policy,
                    policy => format!("; {policy}"),
                };
                let transport = match &cluster.transport {
                    Transport::Http1 | Transport::H2c if cluster.announces.is_none() => String::new(),
                    Transport::Http1 | Transport::H2c | Transport::Tls(_) => format!("; {}", cluster.spoken()),
                };
                let count = cluster.endpoints().endpoints.len();
                format!("{count} endpoints, {}{transport}{policy}", cluster.balancer)
            }
            Target::Unresolved(status) => format!("does not resolve: {status}"),
        };
        steps.push(format!("{share} to {}: {behind}", backend.name));
        let of_backend = [limits(&backend.limits, false), limits(&backend.limits, true)].concat();
        steps.extend(of_backend.into_iter().map(|limit| format!("  {limit}")));
        steps.extend(backend.filters.iter().map(|filter| format!("  {filter}")));
    }
    match route.observe.access_log {
        Some(true) => steps.push("always has a line in the access log, if that is on".to_owned()),
        Some(false) => steps.push("has no line in the access log".to_owned()),
        None => {}
    }
    if let Some(percent) = route.observe.trace_percent {
        steps.push(format!("{percent} % of its requests are traced when the caller has not decided"));
    }
    steps
}

fn candidates(router: &HostRouter, head: &RequestHead<'_, '_>) -> Vec<Candidate> {
    let winner = router.search(head).map(|(number, _)| number);
    let entry = |number: usize| router.entries().get(number);
    router
        .entries()
        .iter()
        .enumerate()
        .map(|(number, candidate)| {
            let verdict = match (reject_reason(candidate, head), winner.and_then(entry)) {
                _ if winner == Some(number) => Verdict::Won,
                (Some(why), _) => Verdict::Lost { why },
                (None, Some(winner)) => {
                    let advantage = winner.specificity().advantage_over(&candidate.specificity());
                    Verdict::NotReached { why: format!("{} has won: {advantage}", winner.route.id) }
                }
                (None, None) => Verdict::Lost { why: "nothing speaks against it, yet it was not found".into() },
            };
            Candidate {
                route: candidate.route.id.to_string(),
                path: candidate.path.to_string(),
                conditions: candidate.matcher.to_string(),
                verdict,
            }
        })
        .collect()
}

/// The first condition of a match that does not hold.
fn reject_reason(entry: &Entry, head: &RequestHead<'_, '_>) -> Option<String> {
    if !entry.path.accepts(head.path) {
        return Some(format!("path: wanted {}, request has {}", entry.path, head.path));
    }
    if !entry.listens(head) {
        let listener = if head.secure { "https" } else { "http" };
        return Some(format!("listener: the route does not answer on {listener}"));
    }
    entry.matcher.reject_reason(head)
}

#[cfg(test)]
mod tests;
