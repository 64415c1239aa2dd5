//! The table in words: the same for the same table, without any key, for people, tests and the admin port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::router::Entry;
use super::{
    Backend, Certificate, HashOn, HostKey, Listeners, RateLimit, RateLimits, Route, Table, Target, Timeouts, TlsVersion,
};
use crate::filter::Title;
use crate::limit::Verdict;
use crate::upstream::{Balancer, Cluster};

/// A table in words. It leaves the generation out, so that tables with the same content are described alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    hosts: Vec<HostDescription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<PolicyDescription>,
    clusters: Vec<ClusterDescription>,
    certificates: Vec<CertificateDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostDescription {
    host: String,
    /// In the order in which they are considered.
    routes: Vec<EntryDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryDescription {
    route: String,
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    conditions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    https_redirect: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// The policy whose limits count.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<BackendDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_on: Option<String>,
    /// Only those that differ from the defaults.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    timeouts: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_log: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendDescription {
    name: String,
    weight: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fallback: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    grpc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<String>,
    /// The status that its share is answered with when it does not resolve.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyDescription {
    policy: String,
    limits: Vec<String>,
    answer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterDescription {
    name: String,
    transport: String,
    balancer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    policy: String,
    /// Addresses; with the weight where it is not 1.
    endpoints: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateDescription {
    host: String,
    secret: String,
    min_version: TlsVersion,
    /// What is asked of the certificates of clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_validation: Option<String>,
    names: Vec<String>,
    not_after: String,
}

/// A policy: where it applies, and what its limits have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStanding {
    policy: String,
    /// The rules whose requests it limits.
    routes: Vec<String>,
    limits: Vec<LimitStanding>,
    answer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitStanding {
    name: String,
    limit: String,
    decisions: BTreeMap<&'static str, u64>,
}

impl Table {
    /// Every policy that can be enforced, by name.
    pub fn policies(&self) -> Vec<PolicyStanding> {
        let mut routes: Vec<_> = self.routes.values().collect();
        routes.sort_by_key(|route| route.slot);
        let standing = |limits: &Arc<RateLimits>| {
            let is_this = |other: &Option<Arc<RateLimits>>| other.as_ref().is_some_and(|it| Arc::ptr_eq(it, limits));
            let applies = |route: &&Arc<Route>| {
                is_this(&route.limits) || route.backends.iter().any(|backend| is_this(&backend.limits))
            };
            let PolicyDescription { policy, limits: words, answer } = policy(limits);
            PolicyStanding {
                policy,
                routes: routes.iter().copied().filter(applies).map(|route| route.id.to_string()).collect(),
                limits: limits.list.iter().zip(words).map(|(rate, limit)| limit_standing(rate, limit)).collect(),
                answer,
            }
        };
        self.policies_by_name().into_iter().map(standing).collect()
    }

    /// The table in words.
    pub fn describe(&self) -> Description {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by(|(a, _), (b, _)| a.cmp(b));
        let hosts = hosts.into_iter().map(|(key, router)| HostDescription {
            host: key.to_string(),
            routes: router.entries().iter().map(entry).collect(),
        });
        Description {
            hosts: hosts.collect(),
            policies: self.policies_by_name().into_iter().map(|limits| policy(limits)).collect(),
            clusters: self.clusters(),
            certificates: self.described_certificates(),
        }
    }

    /// Its certificates alone, in words.
    pub fn describe_certificates(&self) -> impl Serialize + use<> {
        self.described_certificates()
    }

    fn policies_by_name(&self) -> Vec<&Arc<RateLimits>> {
        let mut policies: Vec<_> = self.policies.values().collect();
        policies.sort_by(|a, b| a.policy.cmp(&b.policy));
        policies
    }

    fn clusters(&self) -> Vec<ClusterDescription> {
        let mut clusters: Vec<_> = self.clusters.values().map(|shared| cluster(shared)).collect();
        clusters.sort_by(|a, b| {
            (&a.name, &a.transport, &a.balancer, &a.policy).cmp(&(&b.name, &b.transport, &b.balancer, &b.policy))
        });
        clusters
    }

    fn described_certificates(&self) -> Vec<CertificateDescription> {
        self.certificates.iter().map(|(key, shown)| certificate(&key, shown)).collect()
    }
}

fn entry(entry: &Entry) -> EntryDescription {
    let Entry { path, matcher, precedence: _, route } = entry;
    EntryDescription {
        route: route.id.to_string(),
        path: path.to_string(),
        conditions: matcher.to_string(),
        listeners: listeners(route.listeners),
        https_redirect: route.https_redirect,
        identity: route.requirement.as_ref().map(ToString::to_string),
        limits: route.limits.as_ref().map(|limits| limits.policy.to_string()),
        filters: filters(route),
        backends: route.backends.iter().map(backend).collect(),
        hash_on: route.hash_on.as_deref().map(hash_on),
        timeouts: timeouts(route.timeouts),
        retry: route.retry.as_ref().map(ToString::to_string),
        access_log: route.observe.access_log,
        trace_percent: route.observe.trace_percent,
        session: route.session.as_ref().map(ToString::to_string),
    }
}

/// Every step in the order in which it is run.
fn filters(route: &Route) -> Vec<String> {
    let mut steps = route.access.steps();
    steps.extend(route.filters.iter().map(ToString::to_string));
    steps.extend(route.mirrors.iter().map(ToString::to_string));
    steps.extend(route.error_pages.as_ref().map(ToString::to_string));
    steps.extend(route.compression.as_ref().map(ToString::to_string));
    steps
}

fn limit_standing(rate: &RateLimit, limit: String) -> LimitStanding {
    let decisions = Verdict::ALL.map(|verdict| (verdict.as_str(), rate.tally.total(verdict)));
    LimitStanding { name: rate.limit.name.to_string(), limit, decisions: decisions.into() }
}

fn policy(limits: &RateLimits) -> PolicyDescription {
    let RateLimits { policy, list, answer } = limits;
    let body = match &answer.body {
        Some((content_type, _)) => String::from_utf8_lossy(content_type.as_bytes()).into_owned(),
        None => "problem details".to_owned(),
    };
    PolicyDescription {
        policy: policy.to_string(),
        limits: list.iter().map(ToString::to_string).collect(),
        answer: format!("{} with {body}, {:?} headers", answer.status.as_u16(), answer.headers),
    }
}

/// Nothing for both, which is what routes have unless they ask for less.
fn listeners(listeners: Listeners) -> Option<&'static str> {
    match listeners {
        Listeners { http: true, https: true } => None,
        Listeners { http: true, https: false } => Some("http"),
        Listeners { http: false, https: true } => Some("https"),
        Listeners { http: false, https: false } => Some("none"),
    }
}

fn backend(backend: &Backend) -> BackendDescription {
    let Backend { name, weight, fallback, grpc, limits, filters, target } = backend;
    BackendDescription {
        name: name.to_string(),
        weight: *weight,
        fallback: *fallback,
        grpc: *grpc,
        limits: limits.as_ref().map(|limits| limits.policy.to_string()),
        filters: filters.iter().map(ToString::to_string).collect(),
        unresolved: match target {
            Target::Cluster(_) => None,
            Target::Unresolved(status) => Some(StatusCode::as_u16(status)),
        },
    }
}

fn hash_on(hash_on: &HashOn) -> String {
    match hash_on {
        HashOn::ClientIp => "ClientIP".into(),
        HashOn::Header(name) => format!("Header {}", Title(name)),
        HashOn::Cookie(name) => format!("Cookie {name}"),
        HashOn::QueryParam(name) => format!("QueryParam {name}"),
        HashOn::PathParam(name) => format!("PathParam {name}"),
        HashOn::JwtClaim(name) => format!("JWTClaim {name}"),
    }
}

fn timeouts(timeouts: Timeouts) -> BTreeMap<&'static str, String> {
    let Timeouts { request, backend_request, connect, idle } = timeouts;
    let default = Timeouts::default();
    let limit = |limit: Option<Duration>| limit.map_or_else(|| "none".into(), |limit| format!("{limit:?}"));
    [
        ("request", request != default.request, limit(request)),
        ("backendRequest", backend_request != default.backend_request, limit(backend_request)),
        ("connect", connect != default.connect, limit(Some(connect))),
        ("idle", idle != default.idle, limit(Some(idle))),
    ]
    .into_iter()
    .filter_map(|(name, differs, text)| differs.then_some((name, text)))
    .collect()
}

fn cluster(cluster: &Cluster) -> ClusterDescription {
    let endpoints = cluster.endpoints();
    let endpoint_texts = endpoints.endpoints.iter().map(|endpoint| match endpoint.weight {
        1 => endpoint.address.to_string(),
        weight => format!("{} weight {weight}", endpoint.address),
    });
    ClusterDescription {
        name: cluster.name.to_string(),
        transport: cluster.spoken(),
        balancer: balancer(cluster.balancer),
        policy: cluster.policy.to_string(),
        endpoints: endpoint_texts.collect(),
    }
}

fn balancer(balancer: Balancer) -> String {
    match balancer {
        Balancer::ConsistentHash { balance_factor_percent: Some(percent) } => {
            format!("{balancer} up to {percent}% of the mean load")
        }
        Balancer::RoundRobin
        | Balancer::LeastRequest
        | Balancer::Random
        | Balancer::PeakEwma
        | Balancer::ConsistentHash { balance_factor_percent: None } => balancer.to_string(),
    }
}

fn certificate(key: &HostKey, certificate: &Certificate) -> CertificateDescription {
    let Certificate { key: _, min_version, client, secret: (namespace, name), names, not_after } = certificate;
    CertificateDescription {
        host: key.to_string(),
        secret: format!("{namespace}/{name}"),
        min_version: *min_version,
        client_validation: client.as_ref().map(|client| client.validation.to_string()),
        names: names.iter().map(ToString::to_string).collect(),
        not_after: jiff::Timestamp::from_second(*not_after)
            .map_or_else(|_| not_after.to_string(), |time| time.to_string()),
    }
}

#[cfg(test)]
mod tests;
