//! The pure heart: declared resources → the table and the report.
//!
//! ```text
//! EndpointSlices ──> endpoints of clusters ─────────────────────────────┐
//! Secrets ─────────> certificates with their keys ──┐                   │
//! Ingress, GatewayRoute, RateLimitPolicy ──> lowered, one by one ──> routes with clusters
//!                                                   │                   │
//!                    certificate of each host <─────┴──────> claims on each host: the older wins
//!                               │                                       │
//!                               └──────────────> table <────────────────┘      problems ──> report
//! ```
//!
//! A pass does again only what a change concerns: an object is lowered when it or something it was made from has
//! changed, a host is built when an object that claims it was lowered, everything else is taken over. So the cost
//! follows the change and not the table, and the result is the same as that of compiling everything.
//!
//! What has a life of its own in the workers is kept by key for as long as the key is declared: a route's slot by the
//! rule's name, a cluster by its Service, port, protocol and balancer, an endpoint by its address within those.

mod backend;
mod canaries;
mod certificate;
mod class;
mod cluster;
mod code;
mod conflict;
mod endpoint;
mod few;
mod findings;
mod gateway_route;
mod ingress;
mod ingress_nginx;
mod key_sets;
mod keyring;
mod listing;
mod lookup;
mod lowered;
mod objects;
mod policy;
mod reference;
mod report;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use class::{CONTROLLER, ClassSelection, DEFAULT_CLASS};
pub use cluster::Move;
pub use code::{Code, Reason, Severity};
pub use ingress_nginx::setting_problems as ingress_nginx_settings;
pub use listing::{Listed, ListedCondition, ListedObject};
pub use report::{Ancestor, Condition, ConditionType, ObjectReport, Problem, Report, State, Told};

use self::certificate::TlsHosts;
use self::cluster::Clusters;
use self::keyring::Keyring;
use self::objects::{Living, Objects};
use crate::auth::RemoteKeys;
use crate::limit::SharedStore;
use crate::source::{Kind, ObjectKey};
use crate::store::{References, Store};
use crate::table::{HostKey, HostRouter, Hosts, Table};

/// What compiling needs beside the declared resources; fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which objects are ours.
    pub class: ClassSelection,
    /// Trust and versions of TLS to backends that name no authority of their own.
    pub backend_tls: Arc<rustls::ClientConfig>,
    /// Handles to the outside.
    pub externals: Externals,
}

/// Handles to what lies outside the process. They are made by whoever runs it; compiling only clones them into what it
/// makes, and asks them nothing.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// Counts that all replicas share, if there are any.
    pub shared_limits: Option<Arc<dyn SharedStore>>,
    /// The zone of the cluster that this replica runs in, if that is known.
    pub zone: Option<Arc<str>>,
}

/// What the declared resources come to as of one compilation.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What workers serve from. The same one as before when nothing in it has changed.
    pub table: Arc<Table>,
    /// What is wrong, and the conditions that follow.
    pub report: Arc<Report>,
    /// The endpoints that existing clusters have from now on, to be published no later than the table. There are none
    /// unless EndpointSlices were among what was compiled.
    pub moves: Vec<Move>,
    standalone: bool,
    objects: Objects,
    /// What those are told who lost a claim, by host.
    losses: BTreeMap<HostKey, BTreeMap<ObjectKey, Vec<Problem>>>,
    tls_hosts: TlsHosts,
    clusters: Clusters,
    keyring: Keyring,
    /// Whether the store of shared limits is known to be away.
    store_is_away: bool,
}

/// Compiles what has changed since `previous`; with [`Compiled::empty`] all there is.
///
/// `dirty` are the keys of all objects that have changed, come or gone. The previous one is used up, since what has a
/// life of its own moves on into the next.
pub fn compile(store: &Store, settings: &Settings, previous: Compiled, dirty: &BTreeSet<ObjectKey>) -> Compiled {
    let mut next = previous;
    let is_first = next.table.generation == 0;
    next.standalone = settings.class.standalone;
    next.clusters.in_zone(settings.externals.zone.as_ref());
    let everything;
    let dirty = if is_first {
        everything = Kind::ALL.into_iter().flat_map(|kind| store.all(kind)).map(|(key, _)| key.clone()).collect();
        &everything
    } else {
        dirty
    };

    next.moves = next.move_endpoints(store, dirty);
    for secret in dirty.iter().filter(|key| key.kind == Kind::Secret) {
        next.keyring.note(store, secret);
    }
    let living = Living { clusters: &mut next.clusters, keyring: &mut next.keyring };
    let touched = next.objects.update(store, settings, living, dirty);

    let mut told = touched.objects;
    let hosts = next.settle_hosts(&touched.hosts, &mut told);
    told.extend(next.tls_hosts.settle(&next.objects, &touched.tls_hosts));
    told.extend(dirty.iter().cloned());
    told.extend(next.clusters.take_changed());

    let certificates = next.tls_hosts.certificates.clone();
    let others = !certificates.is(&next.table.certificates);
    if is_first || touched.routes || touched.policies || !touched.hosts.is_empty() || others {
        next.table = Arc::new(Table {
            generation: next.table.generation + 1,
            hosts,
            certificates,
            routes: next.objects.routes.clone(),
            policies: next.objects.policies.clone(),
            clusters: next.clusters.all.clone(),
        });
    }
    next.tell(store, told);
    next
}

/// Whether a change concerns endpoints alone, so that [`Compiled::endpoints_changed`] does all that is to do.
pub fn is_endpoints_only(dirty: &BTreeSet<ObjectKey>) -> bool {
    !dirty.is_empty() && dirty.iter().all(|key| key.kind == Kind::EndpointSlice)
}

impl Compiled {
    /// Nothing, to compile from.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Takes in a change of EndpointSlices without touching a route: the endpoints that clusters have from now on, for
    /// those that have others than before. Keys of other kinds are not looked at.
    pub fn endpoints_changed(&mut self, store: &Store, dirty: &BTreeSet<ObjectKey>) -> Vec<Move> {
        let moves = self.move_endpoints(store, dirty);
        let mut told = self.clusters.take_changed();
        told.extend(dirty.iter().filter(|key| key.kind == Kind::EndpointSlice).cloned());
        self.tell(store, told);
        moves
    }

    /// Takes in that the store of shared limits is away, or is back: the policies that count there are told.
    pub fn store_is_away(&mut self, store: &Store, away: bool) {
        self.store_is_away = away;
        self.tell(store, self.objects.counting_globally().cloned().collect());
    }

    /// The Secrets and ConfigMaps that something of ours refers to and may, whether they exist or not.
    pub fn referenced(&self) -> &References {
        &self.keyring.referenced
    }

    /// ConfigMaps of which a value is wanted, and Secrets of which something else than a certificate is, whatever their
    /// type is.
    pub fn referenced_values(&self) -> &References {
        &self.keyring.values
    }

    /// Whether there are other key sets to be fetched than when this was last asked.
    pub fn take_key_sets_changed(&mut self) -> bool {
        self.keyring.key_sets.take_changed()
    }

    /// The key sets that are to be fetched and kept fresh, with the object that is to be compiled again when one begins
    /// or ceases to be there.
    pub fn key_sets(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<RemoteKeys>)> {
        self.keyring.key_sets.iter()
    }

    fn move_endpoints(&mut self, store: &Store, dirty: &BTreeSet<ObjectKey>) -> Vec<Move> {
        let slices = dirty.iter().filter(|key| key.kind == Kind::EndpointSlice);
        let services = self.clusters.note_slices(store, slices);
        self.clusters.refresh(store, &services)
    }

    /// Builds these hosts anew; adds those to `told` of whom something else is to be said.
    fn settle_hosts(&mut self, dirty: &BTreeSet<HostKey>, told: &mut BTreeSet<ObjectKey>) -> Hosts {
        let mut built = Vec::new();
        for host in dirty {
            let claimants: Vec<_> = self.objects.claimants(host).collect();
            let router = if claimants.is_empty() {
                self.losses.remove(host).into_iter().for_each(|losses| told.extend(losses.into_keys()));
                None
            } else {
                let settled = objects::caught(|| {
                    let conflict::Settled { entries, losses } = conflict::settle(host, &claimants);
                    (Some(Arc::new(HostRouter::new(entries))), losses)
                });
                // What was served of the host before still is.
                let (router, losses) = settled.unwrap_or_else(|| {
                    let former = self.table.hosts.get(host).cloned();
                    (former, conflict::unsettled(host, claimants.iter().map(|placed| &placed.lowered.object)))
                });
                told.extend(losses.keys().cloned());
                let before =
                    if losses.is_empty() { self.losses.remove(host) } else { self.losses.insert(host.clone(), losses) };
                told.extend(before.into_iter().flat_map(BTreeMap::into_keys));
                router
            };
            built.push((host.clone(), router));
        }
        self.table.hosts.with(built)
    }
}

#[cfg(test)]
mod tests;
