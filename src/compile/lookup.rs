//! Reading the store while remembering what was read, so that a change finds those whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::IngressClass;

use crate::api::{ReferenceGrant, Service};
use crate::source::{Kind, Object, ObjectKey};
use crate::store::{Entry, Store};

/// Something that was read, present or not: when it changes, what was made of it is made anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Dependency {
    /// One object.
    Object(ObjectKey),
    /// All objects of a kind in a namespace.
    Namespace(Kind, Arc<str>),
    /// All objects of a kind.
    Kind(Kind),
    /// The policies that attach to an object. No change of an object touches it, but that of a policy which attaches to
    /// the object, or did.
    Policies(ObjectKey),
}

impl Dependency {
    /// What a change of the object with this key concerns.
    pub(super) fn touched_by(key: &ObjectKey) -> [Self; 3] {
        [Self::Object(key.clone()), Self::Namespace(key.kind, key.namespace.clone()), Self::Kind(key.kind)]
    }
}

/// The store as one object's compilation sees it.
#[derive(Debug)]
pub(super) struct Lookup<'s> {
    store: &'s Store,
    read: BTreeSet<Dependency>,
}

impl<'s> Lookup<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self { store, read: BTreeSet::new() }
    }

    /// The store, for reading what was noted with [`Self::entry`].
    pub(super) fn store(&self) -> &'s Store {
        self.store
    }

    /// What was read so far.
    pub(super) fn into_read(self) -> Vec<Dependency> {
        self.read.into_iter().collect()
    }

    pub(super) fn service(&mut self, namespace: &str, name: &str) -> Option<&'s Arc<Service>> {
        match self.object(ObjectKey::new(Kind::Service, namespace, name)) {
            Some(Object::Service(service)) => Some(service),
            _ => None,
        }
    }

    pub(super) fn ingress_class(&mut self, name: &str) -> Option<&'s Arc<IngressClass>> {
        match self.object(ObjectKey::new(Kind::IngressClass, "", name)) {
            Some(Object::IngressClass(class)) => Some(class),
            _ => None,
        }
    }

    /// Every IngressClass, by name.
    pub(super) fn ingress_classes(&mut self) -> impl Iterator<Item = &'s Arc<IngressClass>> + use<'s> {
        self.read.insert(Dependency::Kind(Kind::IngressClass));
        self.store.all(Kind::IngressClass).filter_map(|(_, entry)| match &entry.object {
            Some(Object::IngressClass(class)) => Some(class),
            _ => None,
        })
    }

    /// Every ReferenceGrant of a namespace.
    pub(super) fn grants(&mut self, namespace: &str) -> impl Iterator<Item = &'s Arc<ReferenceGrant>> {
        self.read.insert(Dependency::Namespace(Kind::ReferenceGrant, namespace.into()));
        self.store.in_namespace(Kind::ReferenceGrant, namespace).filter_map(|(_, entry)| match &entry.object {
            Some(Object::ReferenceGrant(grant)) => Some(grant),
            _ => None,
        })
    }

    /// Any object, also one that could not be decoded.
    pub(super) fn entry(&mut self, key: ObjectKey) -> Option<&'s Entry> {
        let entry = self.store.get(&key);
        self.read.insert(Dependency::Object(key));
        entry
    }

    fn object(&mut self, key: ObjectKey) -> Option<&'s Object> {
        self.entry(key)?.object.as_ref()
    }
}
