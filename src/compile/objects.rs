//! Every object that is compiled, as it was last lowered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Settings;
use super::canaries::Canaries;
use super::cluster::{ClusterKey, Clusters};
use super::code::Code;
use super::few::Few;
use super::findings::Findings;
use super::ingress::Beside;
use super::keyring::Keyring;
use super::lookup::{Dependency, Lookup};
use super::lowered::{
    Draft, DraftAuthService, DraftAuthTarget, DraftBackend, DraftErrorPages, DraftMirror, Lowered, TlsClaim,
};
use super::policy::{self, Attachments};
use super::report::Problem;
use super::{gateway_route, ingress, ingress_nginx};
use crate::persistent::Map;
use crate::slot::{Slot, Slots};
use crate::source::{Kind, Object, ObjectKey};
use crate::store::Store;
use crate::table::{
    AuthService, AuthTarget, Backend, Backends, ErrorPages, HostKey, Mirror, RateLimits, Route, RouteId, Target,
};

/// Every object that is compiled.
#[derive(Debug, Default)]
pub(super) struct Objects {
    placed: BTreeMap<ObjectKey, Box<Placed>>,
    /// Who was made from what.
    dependents: HashMap<Dependency, Few<ObjectKey>>,
    hosts: BTreeMap<HostKey, Few<ObjectKey>>,
    tls_hosts: BTreeMap<HostKey, Few<ObjectKey>>,
    attachments: Attachments,
    canaries: Canaries,
    slots: Slots,
    /// Every route.
    pub(super) routes: Map<Slot, Arc<Route>>,
    /// The limits of every policy that can be enforced, and those of Ingresses' own, by name.
    pub(super) policies: Map<Arc<str>, Arc<RateLimits>>,
}

/// One object with its routes in place.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its drafts have become the routes.
    pub(super) lowered: Lowered,
    /// By the number of the draft.
    pub(super) routes: Vec<Arc<Route>>,
    /// The rules that answer 500 for what is wrong with them.
    pub(super) refused: Vec<Arc<str>>,
    /// The clusters its routes use, as often as they do.
    clusters: Box<[ClusterKey]>,
}

/// What a change of objects leads to.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The objects that were lowered, or are gone, or of which something else is to be told for that.
    pub(super) objects: BTreeSet<ObjectKey>,
    /// The hosts whose claims may be others.
    pub(super) hosts: BTreeSet<HostKey>,
    /// The hosts whose certificates may be others.
    pub(super) tls_hosts: BTreeSet<HostKey>,
    /// Whether there are routes that were not there before, or are no more.
    pub(super) routes: bool,
    /// The same of policies.
    pub(super) policies: bool,
}

/// What lives on from one compilation to the next beside the objects themselves.
#[derive(Debug)]
pub(super) struct Living<'a> {
    pub(super) clusters: &'a mut Clusters,
    pub(super) keyring: &'a mut Keyring,
}

impl Objects {
    /// Lowers what changed, and what was made from what changed.
    pub(super) fn update(
        &mut self,
        store: &Store,
        settings: &Settings,
        living: Living<'_>,
        dirty: &BTreeSet<ObjectKey>,
    ) -> Touched {
        let Living { clusters, keyring } = living;
        let mut touched = Touched::default();
        for key in dirty {
            if is_compiled(key.kind) {
                touched.objects.insert(key.clone());
            }
            for dependency in Dependency::touched_by(key) {
                touched.objects.extend(self.dependents.get(&dependency).into_iter().flatten().cloned());
            }
        }
        for host in self.canaries.note(store, dirty) {
            let owners = self.hosts.get(&host).into_iter().flatten();
            touched.objects.extend(owners.filter(|owner| owner.kind == Kind::Ingress).cloned());
        }
        self.update_policies(store, settings, &mut touched);
        let mut told = Vec::new();
        for key in touched.objects.iter().filter(|key| key.kind != Kind::RateLimitPolicy) {
            let former = self.placed.get(key).and_then(|placed| placed.lowered.limits.clone());
            let beside = Beside { former: former.as_deref(), canaries: &self.canaries };
            let Some(lowered) = caught(|| lower(store, settings, keyring, key, &beside)) else {
                self.stays(store, settings, key);
                continue;
            };
            let before = self.remove(key);
            let now = lowered.map(|mut lowered| {
                self.attachments.apply(settings, &mut lowered);
                let former = before.as_ref().map(|placed| placed.routes.as_slice()).unwrap_or_default();
                place(store, settings, clusters, &mut self.slots, former, lowered)
            });
            for placed in before.iter().chain(&now) {
                told.extend(placed.lowered.canaries.iter().cloned());
                touched.hosts.extend(placed.lowered.claims.keys().cloned());
                touched.tls_hosts.extend(placed.lowered.tls.keys().cloned());
                touched.routes |= !placed.routes.is_empty();
            }
            for route in before.iter().flat_map(|placed| &placed.routes) {
                self.routes.remove(&route.slot);
            }
            for route in now.iter().flat_map(|placed| &placed.routes) {
                self.routes.insert(route.slot, route.clone());
            }
            let limits = now.as_ref().and_then(|now| now.lowered.limits.clone());
            touched.policies |= former.is_some() || limits.is_some();
            if let Some(former) = former {
                self.policies.remove(&former.policy);
            }
            if let Some(limits) = limits {
                self.policies.insert(limits.policy.clone(), limits);
            }
            let named = now.as_ref().map(|now| now.lowered.key_sets.as_slice()).unwrap_or_default();
            keyring.key_sets.keep(key, named);
            // What is used again must not go in between, so the new is taken before the old is let go.
            if let Some(now) = now {
                now.lowered.secrets.iter().for_each(|secret| keyring.acquire(secret));
                now.lowered.values.iter().for_each(|secret| keyring.acquire_value(secret));
                self.insert(now);
            }
            if let Some(before) = before {
                before.lowered.secrets.iter().for_each(|secret| keyring.release(secret));
                before.lowered.values.iter().for_each(|secret| keyring.release_value(secret));
                before.clusters.iter().for_each(|cluster| clusters.release(store, cluster));
            }
        }
        touched.objects.extend(told);
        touched
    }

    /// Says of an object that lowering it has panicked. What there was of it before stays as it was.
    fn stays(&mut self, store: &Store, settings: &Settings, key: &ObjectKey) {
        let remedy = "report it with the log and the object; what was served of the object before still is";
        let problem = Problem::new(Code::Internal, "", "compiling it panics, which is a mistake in Headgate", remedy);
        if let Some(placed) = self.placed.get_mut(key) {
            placed.lowered.problems.retain(|problem| problem.code != Code::Internal);
            placed.lowered.problems.push(problem);
        } else if let Some(mut lowered) = unmade(store, settings, key) {
            lowered.problems.push(problem);
            self.insert(Placed { lowered, routes: Vec::new(), refused: Vec::new(), clusters: Box::default() });
        }
    }

    /// Lowers the policies among what is touched, before what they attach to: that is touched as well, and so are the
    /// other policies there.
    fn update_policies(&mut self, store: &Store, settings: &Settings, touched: &mut Touched) {
        let policies: Vec<_> =
            touched.objects.iter().filter(|key| key.kind == Kind::RateLimitPolicy).cloned().collect();
        let mut targets = BTreeSet::new();
        for key in policies {
            let former = self.placed.get(&key).and_then(|placed| placed.lowered.policy.as_ref());
            let former = former.and_then(|policy| policy.limits.as_ref().ok()).cloned();
            let Some(lowered) = caught(|| lower_policy(store, settings, &key, former.as_deref())) else {
                self.stays(store, settings, &key);
                continue;
            };
            let before = self.remove(&key);
            let now = lowered.map(|lowered| Placed {
                lowered,
                routes: Vec::new(),
                refused: Vec::new(),
                clusters: Box::default(),
            });
            for placed in before.iter().chain(&now) {
                let policy = placed.lowered.policy.iter().flat_map(|policy| &policy.targets);
                targets.extend(policy.map(|(_, target)| target.clone()));
                touched.policies |= placed.lowered.policy.is_some();
            }
            let limits = |placed: &Placed| placed.lowered.policy.as_ref()?.limits.as_ref().ok().cloned();
            if let Some(before) = &before {
                self.attachments.detach(&before.lowered);
                if let Some(limits) = limits(before) {
                    self.policies.remove(&limits.policy);
                }
            }
            if let Some(now) = now {
                self.attachments.attach(&now.lowered);
                if let Some(limits) = limits(&now) {
                    self.policies.insert(limits.policy.clone(), limits);
                }
                self.insert(now);
            }
        }
        for target in targets {
            touched.objects.extend(self.attachments.at(&target).cloned());
            let dependents = self.dependents.get(&Dependency::Policies(target.object));
            touched.objects.extend(dependents.into_iter().flatten().cloned());
        }
    }

    /// What an object is told of policies: for one of them, which of its targets have another.
    pub(super) fn losses_of_policy(&self, lowered: &Lowered) -> Vec<Problem> {
        self.attachments.losses(lowered)
    }

    /// What a canary is told that gets nobody's requests.
    pub(super) fn losses_of_canary(&self, lowered: &Lowered) -> Option<Problem> {
        (lowered.is_canary && !self.canaries.shares(&lowered.object)).then(ingress_nginx::lonely)
    }

    /// The policies that count in the store of shared limits.
    pub(super) fn counting_globally(&self) -> impl Iterator<Item = &ObjectKey> {
        self.placed.iter().filter(|(_, placed)| placed.lowered.counts_globally()).map(|(key, _)| key)
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Placed> {
        self.placed.get(key).map(|placed| &**placed)
    }

    /// The objects that claim something of a host, by kind, namespace and name.
    pub(super) fn claimants<'a>(&'a self, host: &HostKey) -> impl Iterator<Item = &'a Placed> {
        self.hosts.get(host).into_iter().flatten().filter_map(|key| self.get(key))
    }

    /// The objects that ask something of TLS for a host, by kind, namespace and name.
    pub(super) fn claimants_of_tls<'a>(&'a self, host: &HostKey) -> impl Iterator<Item = (&'a Lowered, &'a TlsClaim)> {
        let keys = self.tls_hosts.get(host).into_iter().flatten();
        keys.filter_map(|key| {
            let lowered = &self.placed.get(key)?.lowered;
            Some((lowered, lowered.tls.get(host)?))
        })
    }

    fn insert(&mut self, placed: Placed) {
        let key = placed.lowered.object.clone();
        for dependency in &placed.lowered.read {
            self.dependents.entry(dependency.clone()).or_default().insert(key.clone());
        }
        for host in placed.lowered.claims.keys() {
            self.hosts.entry(host.clone()).or_default().insert(key.clone());
        }
        for canary in &placed.lowered.canaries {
            self.canaries.share(canary, &key);
        }
        for host in placed.lowered.tls.keys() {
            self.tls_hosts.entry(host.clone()).or_default().insert(key.clone());
        }
        self.placed.insert(key, Box::new(placed));
    }

    /// Takes an object out; the slots of its routes are still taken.
    fn remove(&mut self, key: &ObjectKey) -> Option<Placed> {
        let placed = self.placed.remove(key)?;
        for dependency in &placed.lowered.read {
            if let Some(keys) = self.dependents.get_mut(dependency) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(dependency);
                }
            }
        }
        for canary in &placed.lowered.canaries {
            self.canaries.unshare(canary, key);
        }
        forget(&mut self.hosts, placed.lowered.claims.keys(), key);
        forget(&mut self.tls_hosts, placed.lowered.tls.keys(), key);
        Some(*placed)
    }
}

fn forget<'h>(hosts: &mut BTreeMap<HostKey, Few<ObjectKey>>, of: impl Iterator<Item = &'h HostKey>, key: &ObjectKey) {
    for host in of {
        if let Some(keys) = hosts.get_mut(host) {
            keys.remove(key);
            if keys.is_empty() {
                hosts.remove(host);
            }
        }
    }
}

/// Whether objects of this kind come to something of their own; all others are only read for these.
pub(super) fn is_compiled(kind: Kind) -> bool {
    match kind {
        Kind::Ingress | Kind::GatewayRoute | Kind::RateLimitPolicy => true,
        Kind::IngressClass
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ReferenceGrant => false,
    }
}

/// What panics is a mistake of ours, and is kept from other objects: of what is kept, lowering one only adds keys to the
/// keyring, and a host is put together from what does not change, so nothing is left half done.
pub(super) fn caught<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// An object of which nothing can be made.
fn unmade(store: &Store, settings: &Settings, key: &ObjectKey) -> Option<Lowered> {
    let mut lookup = Lookup::new(store);
    let (owner, metadata) = match store.get(key)?.object.as_ref()? {
        Object::Ingress(ingress) => {
            let metadata = &ingress.metadata;
            let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
            (settings.class.of_ingress(&mut lookup, class, metadata.annotations.as_ref()), metadata)
        }
        Object::GatewayRoute(route) => {
            let class = route.spec.ingress_class_name.as_deref();
            (settings.class.of_gateway_route(&mut lookup, class), &route.metadata)
        }
        _ => return None,
    };
    Some(Lowered { owner, ..Lowered::ours(key, metadata) })
}

fn lower(
    store: &Store,
    settings: &Settings,
    keyring: &mut Keyring,
    key: &ObjectKey,
    beside: &Beside<'_>,
) -> Option<Lowered> {
    let entry = store.get(key)?;
    #[cfg(test)]
    assert!(!super::tests::PANICS.with_borrow(|name| **name == *key.name), "for a test");
    let lookup = Lookup::new(store);
    let findings = Findings(&entry.findings);
    match entry.object.as_ref()? {
        Object::Ingress(ingress) => Some(ingress::lower(settings, keyring, lookup, key, ingress, findings, beside)),
        Object::GatewayRoute(route) => Some(gateway_route::lower(settings, keyring, lookup, key, route, findings)),
        Object::RateLimitPolicy(_)
        | Object::IngressClass(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Secret(_)
        | Object::ConfigMap(_)
        | Object::ReferenceGrant(_) => None,
    }
}

fn lower_policy(store: &Store, settings: &Settings, key: &ObjectKey, former: Option<&RateLimits>) -> Option<Lowered> {
    let entry = store.get(key)?;
    let Object::RateLimitPolicy(policy) = entry.object.as_ref()? else { return None };
    Some(policy::lower(settings, Lookup::new(store), key, policy, Findings(&entry.findings), former))
}

/// Makes routes of the drafts. A route of the same name as a former one takes its slot over, and the others' are freed.
fn place(
    store: &Store,
    settings: &Settings,
    clusters: &mut Clusters,
    slots: &mut Slots,
    former: &[Arc<Route>],
    mut lowered: Lowered,
) -> Placed {
    let mut free: HashMap<&RouteId, Slot> = former.iter().map(|route| (&route.id, route.slot)).collect();
    let mut used = Vec::new();
    let mut refused = Vec::new();
    let mut routes = Vec::new();
    for draft in std::mem::take(&mut lowered.drafts) {
        let Draft {
            rule,
            named: _,
            refused: is_refused,
            listeners,
            https_redirect,
            mut access,
            limits,
            requirement,
            auth_service,
            mirrors,
            error_pages,
            filters,
            backends,
            hash_on,
            timeouts,
            retry,
            compression,
            observe,
            session,
        } = draft;
        if is_refused {
            refused.push(rule.clone());
        }
        let id = RouteId {
            kind: lowered.object.kind.as_str(),
            namespace: lowered.object.namespace.clone(),
            name: lowered.object.name.clone(),
            rule,
        };
        let mut resolve = |target| match target {
            Ok(key) => {
                let cluster = clusters.acquire(store, &key, &settings.backend_tls);
                used.push(key);
                Target::Cluster(cluster)
            }
            Err(status) => Target::Unresolved(status),
        };
        access.external_auth = auth_service.map(|service| {
            let DraftAuthService { auth, name, target } = service;
            let target = match target {
                DraftAuthTarget::Backend(target) => AuthTarget::Backend(resolve(target)),
                DraftAuthTarget::Host(host) => AuthTarget::Host(host),
            };
            Box::new(AuthService { auth, name, target })
        });
        let mirrors = mirrors.into_iter().map(|mirror| {
            let DraftMirror { percent, name, target } = mirror;
            Mirror { percent, name, target: resolve(target) }
        });
        let mirrors = mirrors.collect();
        let error_pages = error_pages.map(|pages| {
            let DraftErrorPages { statuses, name, target, told } = pages;
            Box::new(ErrorPages { statuses: statuses.into(), name, target: resolve(target), told: told.into() })
        });
        let backends = backends.into_iter().map(|backend| {
            let DraftBackend { name, weight, fallback, grpc, limits, filters, target } = backend;
            Backend { name, weight, fallback, grpc, limits, filters: filters.into(), target: resolve(target) }
        });
        let backends = Backends::new(backends);
        let slot = free.remove(&id).unwrap_or_else(|| slots.allocate());
        let filters = filters.into();
        routes.push(Arc::new(Route {
            id,
            slot,
            listeners,
            https_redirect,
            access,
            limits,
            requirement,
            filters,
            mirrors,
            error_pages,
            backends,
            hash_on: hash_on.map(Box::new),
            timeouts,
            retry: retry.map(Box::new),
            compression: compression.map(Box::new),
            observe,
            session: session.map(Box::new),
        }));
    }
    free.into_values().for_each(|slot| slots.release(slot));
    Placed { lowered, routes, refused, clusters: used.into() }
}
