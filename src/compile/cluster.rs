//! Clusters and their endpoints, kept by key from one compilation to the next.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::endpoint::{self, ServiceKey, Slices};
use super::report::Problem;
use crate::auth::{Fingerprint, fingerprint};
use crate::persistent::Map;
use crate::slot::{Slot, Slots};
use crate::source::ObjectKey;
use crate::store::Store;
use crate::upstream::{
    Balancer, Cluster, Endpoint, EndpointSet, GroupHealth, Health, Policy, ProxyProtocol, Tally, TlsTransport,
    Transport,
};

/// How endpoints are spoken to, as far as clusters differ in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http1,
    H2c,
    /// With the name that the certificate must be valid for, and the terms where they are not the default.
    Tls(TlsName, Option<Terms>),
}

/// A name that is asked for in TLS; lower-case, so that equal names are ordered as equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TlsName(ServerName<'static>);

/// Whom TLS trusts and what it shows. Clusters on different terms share neither endpoints nor connections.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    id: Fingerprint,
    config: Arc<rustls::ClientConfig>,
    words: Arc<str>,
}

/// Clusters of one group have the same endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) service: ServiceKey,
    /// The name of the Service's port, which is its name in the slices too; may be empty.
    pub(super) port_name: Arc<str>,
    pub(super) protocol: Protocol,
    /// How endpoints are told whom a connection is for.
    pub(super) announces: Option<ProxyProtocol>,
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterKey {
    pub(super) group: GroupKey,
    /// The Service's port, for the cluster's name.
    pub(super) port: u16,
    pub(super) balancer: Balancer,
    pub(super) policy: Arc<Policy>,
}

/// An existing cluster and the endpoints it has from now on.
pub type Move = (Arc<Cluster>, EndpointSet);

/// Every cluster that some route uses.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    slices: Slices,
    /// The zone whose endpoints are preferred where slices say which they are.
    zone: Option<Arc<str>>,
    groups: BTreeMap<GroupKey, Group>,
    /// Every cluster.
    pub(super) all: Map<Slot, Arc<Cluster>>,
    /// What is counted of a service, by the name of its clusters.
    tallies: BTreeMap<Arc<str>, Arc<Tally>>,
    cluster_slots: Slots,
    endpoint_slots: Slots,
    /// What is wrong with slices of the Services in use.
    noticed: BTreeMap<ServiceKey, BTreeMap<ObjectKey, Vec<Problem>>>,
    /// Slices of which something else is noticed than when this was last asked.
    changed: BTreeSet<ObjectKey>,
}

/// Most groups have one member and a few endpoints, so that lists take a tenth of the room of maps.
#[derive(Debug, Default)]
struct Group {
    /// By their addresses.
    endpoints: Box<[(Arc<Endpoint>, Arc<Health>)]>,
    /// What the healths of all its endpoints have in common.
    health: Arc<GroupHealth>,
    members: Vec<Member>,
}

/// What tells clusters of one group apart: the Service's port, the rank of the balancer, and the policy.
type MemberKey = (u16, u8, Option<u32>, Arc<Policy>);

#[derive(Debug)]
struct Member {
    key: MemberKey,
    cluster: Arc<Cluster>,
    users: usize,
}

impl Clusters {
    /// Prefers the endpoints that are meant for this zone from now on.
    pub(super) fn in_zone(&mut self, zone: Option<&Arc<str>>) {
        self.zone = zone.cloned();
    }

    /// Takes note of slices that changed; the Services whose endpoints may have.
    pub(super) fn note_slices<'k>(
        &mut self,
        store: &Store,
        slices: impl Iterator<Item = &'k ObjectKey>,
    ) -> BTreeSet<ServiceKey> {
        slices.flat_map(|slice| self.slices.update(store, slice)).collect()
    }

    /// The endpoints of the existing clusters of these Services, for those that have others than before.
    pub(super) fn refresh(&mut self, store: &Store, services: &BTreeSet<ServiceKey>) -> Vec<Move> {
        let mut moves = Vec::new();
        for service in services {
            self.notice(store, service);
            for (key, group) in groups_of(&mut self.groups, service) {
                let addresses =
                    endpoint::addresses(self.slices.of(store, service), &key.port_name, self.zone.as_deref());
                if !group.endpoints.iter().map(|(endpoint, _)| &endpoint.address).eq(&addresses) {
                    group.put(&addresses, &mut self.endpoint_slots);
                    let moved = |Member { cluster, .. }: &Member| (cluster.clone(), group.set(cluster.balancer));
                    moves.extend(group.members.iter().map(moved));
                }
            }
        }
        moves
    }

    /// The cluster of this key, made if there is none; the caller becomes one of its users.
    pub(super) fn acquire(
        &mut self,
        store: &Store,
        key: &ClusterKey,
        backend_tls: &Arc<rustls::ClientConfig>,
    ) -> Arc<Cluster> {
        let ClusterKey { group: group_key, port, balancer, policy } = key;
        let service = &group_key.service;
        let is_first = groups_of(&mut self.groups, service).next().is_none();
        let group = self.groups.entry(group_key.clone()).or_insert_with(|| {
            let mut group = Group::default();
            let addresses =
                endpoint::addresses(self.slices.of(store, service), &group_key.port_name, self.zone.as_deref());
            group.put(&addresses, &mut self.endpoint_slots);
            group
        });
        let member_key = key.member();
        if let Some(member) = group.members.iter_mut().find(|member| member.key == member_key) {
            member.users += 1;
            return member.cluster.clone();
        }
        let transport = match &group_key.protocol {
            Protocol::Http1 => Transport::Http1,
            Protocol::H2c => Transport::H2c,
            Protocol::Tls(name, terms) => Transport::Tls(Arc::new(TlsTransport {
                config: terms.as_ref().map_or(backend_tls, |terms| &terms.config).clone(),
                server_name: name.0.clone(),
                terms: terms.as_ref().map(|terms| terms.words.clone()),
            })),
        };
        let name: Arc<str> = format!("{service}:{port}").into();
        let tally = self.tallies.entry(name.clone()).or_default().clone();
        let slot = self.cluster_slots.allocate();
        let cluster = Cluster::new(name, slot, transport, *balancer, group.set(*balancer));
        let mut cluster = cluster.governed(policy.clone(), tally);
        cluster.announces = group_key.announces;
        let cluster = Arc::new(cluster);
        self.all.insert(slot, cluster.clone());
        group.members.push(Member { key: member_key, cluster: cluster.clone(), users: 1 });
        if is_first {
            self.notice(store, service);
        }
        cluster
    }

    /// One user of the cluster less; the last one takes it along.
    pub(super) fn release(&mut self, store: &Store, key: &ClusterKey) {
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        let member_key = key.member();
        let Some(place) = group.members.iter().position(|member| member.key == member_key) else { return };
        let Some(member) = group.members.get_mut(place) else { return };
        member.users -= 1;
        if member.users > 0 {
            return;
        }
        let Member { cluster, .. } = group.members.remove(place);
        self.cluster_slots.release(cluster.slot);
        self.all.remove(&cluster.slot);
        // Only clusters of its Service can have its name.
        if !groups_of(&mut self.groups, &key.group.service)
            .any(|(_, group)| group.members.iter().any(|member| member.cluster.name == cluster.name))
        {
            self.tallies.remove(&cluster.name);
        }
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        if group.members.is_empty() {
            group.put(&BTreeSet::new(), &mut self.endpoint_slots);
            self.groups.remove(&key.group);
            self.notice(store, &key.group.service);
        }
    }

    /// What is wrong with a slice.
    pub(super) fn problems_of(&self, slice: &ObjectKey) -> &[Problem] {
        let service = self.slices.service_of(slice);
        let noticed = service.and_then(|service| self.noticed.get(service)?.get(slice));
        noticed.map(Vec::as_slice).unwrap_or_default()
    }

    /// The slices of which something else is noticed than when this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.changed)
    }

    fn notice(&mut self, store: &Store, service: &ServiceKey) {
        let in_use = groups_of(&mut self.groups, service).next().is_some();
        let slices = in_use.then(|| self.slices.of(store, service)).into_iter().flatten();
        let now: BTreeMap<_, _> = slices
            .map(|(key, slice)| (key.clone(), endpoint::problems(slice)))
            .filter(|(_, problems)| !problems.is_empty())
            .collect();
        let before = if now.is_empty() {
            self.noticed.remove(service)
        } else {
            self.noticed.insert(service.clone(), now.clone())
        };
        let before = before.unwrap_or_default();
        if before != now {
            self.changed.extend(before.into_keys().chain(now.into_keys()));
        }
    }
}

impl Group {
    /// Makes these the endpoints; those whose address stays are kept.
    fn put(&mut self, addresses: &BTreeSet<SocketAddr>, slots: &mut Slots) {
        let mut former = std::mem::take(&mut self.endpoints).into_vec();
        former.retain(|(endpoint, health)| {
            let stays = addresses.contains(&endpoint.address);
            if !stays {
                health.leave();
                slots.release(endpoint.slot);
            }
            stays
        });
        let mut former = former.into_iter().peekable();
        let endpoint = |&address: &SocketAddr| match former.next_if(|(endpoint, _)| endpoint.address == address) {
            Some(kept) => kept,
            None => {
                let endpoint = Endpoint { slot: slots.allocate(), address, weight: 1 };
                (Arc::new(endpoint), Arc::new(Health::new(self.health.clone())))
            }
        };
        self.endpoints = addresses.iter().map(endpoint).collect();
    }

    fn set(&self, balancer: Balancer) -> EndpointSet {
        EndpointSet::with_health(self.endpoints.to_vec(), self.health.clone(), balancer)
    }
}

impl ClusterKey {
    fn member(&self) -> MemberKey {
        let (rank, factor) = match self.balancer {
            Balancer::RoundRobin => (0, None),
            Balancer::LeastRequest => (1, None),
            Balancer::Random => (2, None),
            Balancer::PeakEwma => (3, None),
            Balancer::ConsistentHash { balance_factor_percent } => (4, balance_factor_percent),
        };
        (self.port, rank, factor, self.policy.clone())
    }
}

impl TlsName {
    /// The name, unless no certificate can have it.
    pub(super) fn parse(name: &str) -> Option<Self> {
        ServerName::try_from(name.to_ascii_lowercase()).ok().map(Self)
    }
}

impl Ord for TlsName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.to_str().cmp(&other.0.to_str())
    }
}

impl PartialOrd for TlsName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Terms {
    /// Terms that are the same for the same `parts`, and in these words.
    pub(super) fn new(parts: &[&[u8]], config: rustls::ClientConfig, words: &str) -> Self {
        Self { id: fingerprint(parts), config: Arc::new(config), words: words.into() }
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Terms {}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Ord for Terms {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl PartialOrd for Terms {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[expect(clippy::mutable_key_type, reason = "what may change in terms is no part of their order")]
fn groups_of<'g>(
    groups: &'g mut BTreeMap<GroupKey, Group>,
    service: &ServiceKey,
) -> impl Iterator<Item = (&'g GroupKey, &'g mut Group)> {
    let first = GroupKey { service: service.clone(), port_name: "".into(), protocol: Protocol::Http1, announces: None };
    groups.range_mut(first.clone()..).take_while(move |(key, _)| key.service == first.service)
}
