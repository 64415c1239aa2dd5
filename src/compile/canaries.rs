//! Ingresses that get a share of other Ingresses' requests (`canary` of ingress-nginx), and whose those are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::few::Few;
use super::{ingress, ingress_nginx};
use crate::source::{Kind, Object, ObjectKey};
use crate::store::Store;
use crate::table::HostKey;

/// Every canary.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    /// Of each namespace, with the hosts that they name.
    declared: BTreeMap<Arc<str>, BTreeMap<ObjectKey, BTreeSet<HostKey>>>,
    /// Those that share requests of each.
    shared: BTreeMap<ObjectKey, Few<ObjectKey>>,
}

impl Canaries {
    /// Takes in which of these objects are canaries now. The hosts of those that have changed, come or gone: whoever has
    /// them is to be lowered anew.
    pub(super) fn note(&mut self, store: &Store, dirty: &BTreeSet<ObjectKey>) -> BTreeSet<HostKey> {
        let mut hosts = BTreeSet::new();
        for key in dirty.iter().filter(|key| key.kind == Kind::Ingress) {
            let now = named_by(store, key);
            if now.is_none() && !self.declared.contains_key(&key.namespace) {
                continue;
            }
            let of_namespace = self.declared.entry(key.namespace.clone()).or_default();
            hosts.extend(now.iter().flatten().cloned());
            let before = match now {
                Some(now) => of_namespace.insert(key.clone(), now),
                None => of_namespace.remove(key),
            };
            hosts.extend(before.into_iter().flatten());
            if of_namespace.is_empty() {
                self.declared.remove(&key.namespace);
            }
        }
        hosts
    }

    /// Those of a namespace that name one of these hosts, by name.
    pub(super) fn at(&self, namespace: &str, hosts: &[HostKey]) -> impl Iterator<Item = &ObjectKey> {
        let of_namespace = self.declared.get(namespace).into_iter().flatten();
        of_namespace.filter(|(_, named)| hosts.iter().any(|host| named.contains(host))).map(|(key, _)| key)
    }

    /// Notes that a canary shares an Ingress's requests.
    pub(super) fn share(&mut self, canary: &ObjectKey, of: &ObjectKey) {
        self.shared.entry(canary.clone()).or_default().insert(of.clone());
    }

    /// Notes that it does not any more.
    pub(super) fn unshare(&mut self, canary: &ObjectKey, of: &ObjectKey) {
        if let Some(shared) = self.shared.get_mut(canary) {
            shared.remove(of);
            if shared.is_empty() {
                self.shared.remove(canary);
            }
        }
    }

    /// Whether a canary shares anybody's requests.
    pub(super) fn shares(&self, canary: &ObjectKey) -> bool {
        self.shared.contains_key(canary)
    }
}

/// The hosts that an Ingress names, if it is a canary.
fn named_by(store: &Store, key: &ObjectKey) -> Option<BTreeSet<HostKey>> {
    let Some(Object::Ingress(ingress)) = store.get(key)?.object.as_ref() else { return None };
    ingress.metadata.annotations.as_ref().and_then(ingress_nginx::canary)?;
    let rules = ingress.spec.iter().filter_map(|spec| spec.rules.as_ref()).flatten();
    Some(rules.filter_map(|rule| ingress::host(rule).ok()).collect())
}
