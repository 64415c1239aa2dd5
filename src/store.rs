//! The ground state: what users and the cluster have declared, and nothing derived from it.

mod references;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use references::References;

use crate::source::{Change, Finding, Kind, Metadata, Object, ObjectKey};

/// One object as the store holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The object; `None` when it exists but could not be decoded.
    pub object: Option<Object>,
    /// What could be read of its metadata when there is no object.
    metadata: Option<Box<ObjectMeta>>,
    /// What the source found wrong with it.
    pub findings: Vec<Finding>,
}

impl Entry {
    /// Its metadata, also when the rest could not be decoded.
    pub fn metadata(&self) -> Option<Metadata<'_>> {
        match &self.object {
            Some(object) => Some(object.metadata()),
            None => self.metadata.as_deref().map(Metadata::Whole),
        }
    }
}

/// What is known of the watch of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The first list is not complete yet.
    Pending,
    /// The store holds the truth as of the last event.
    Synced,
    /// It cannot be watched now, and why; what was known stays.
    Unavailable(String),
}

/// The set of declared resources now.
#[derive(Debug, Default)]
pub struct Store {
    objects: HashMap<Kind, BTreeMap<ObjectKey, Entry>>,
    watches: BTreeMap<Kind, Watch>,
    places: BTreeMap<String, Vec<Finding>>,
    dirty: BTreeSet<ObjectKey>,
    /// The Secrets and ConfigMaps worth keeping; `None` until somebody has said, and then all are.
    retained: Option<References>,
    /// Those that are watched by name, of which a list of all certificates knows nothing.
    by_name: References,
}

impl Store {
    /// A store that waits for these kinds.
    pub fn awaiting(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { watches: kinds.into_iter().map(|kind| (kind, Watch::Pending)).collect(), ..Self::default() }
    }

    /// Takes in what a source sent as one step and says whether anything that is compiled from can have changed by it.
    pub fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>) -> bool {
        changes.into_iter().fold(false, |mattered, change| self.apply(change) | mattered)
    }

    /// Takes a change in and says whether anything that is compiled from can have changed by it.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(object, findings) => {
                let key = object.key();
                self.put(key, Entry { object: Some(object), metadata: None, findings })
            }
            Change::Invalid(key, metadata, findings) => {
                self.put(key, Entry { object: None, metadata: Some(metadata), findings })
            }
            Change::Delete(key) => {
                let known = self.objects.get_mut(&key.kind).and_then(|objects| objects.remove(&key)).is_some();
                if known {
                    self.dirty.insert(key);
                }
                known
            }
            Change::Replace(kind, changes) => self.replace(kind, changes),
            Change::Synced(kind) => self.watches.insert(kind, Watch::Synced) != Some(Watch::Synced),
            Change::Unavailable(kind, reason) => {
                let watch = Watch::Unavailable(reason);
                self.watches.insert(kind, watch.clone()) != Some(watch)
            }
            Change::Place(place, findings) => {
                if findings.is_empty() {
                    self.places.remove(&place).is_some()
                } else {
                    self.places.insert(place, findings.clone()) != Some(findings)
                }
            }
        }
    }

    /// Keeps the Secrets and ConfigMaps of `referenced` and drops all others, now and as they come. Returns those that
    /// just became referenced and are not held, because they were dropped or never came: their source must be asked for them once,
    /// and from now on their changes are kept. A private key that nothing refers to is thus in memory only between the
    /// first list and the first compile.
    ///
    /// Those in `by_name` are watched each on its own, and are not asked for here.
    ///
    /// Only for a source that can be asked: a store that is fed from files keeps what it is given.
    pub fn retain(&mut self, referenced: &References, by_name: &References) -> Vec<ObjectKey> {
        self.by_name = by_name.clone();
        let is_first = self.retained.is_none();
        let former = self.retained.replace(referenced.clone()).unwrap_or_default();
        if is_first {
            for kind in [Kind::ConfigMap, Kind::Secret] {
                self.objects.entry(kind).or_default().retain(|key, _| referenced.contains(key));
            }
        }
        let mut wanted = Vec::new();
        for (key, has_come) in referenced.changes(&former) {
            let objects = self.objects.entry(key.kind).or_default();
            if !has_come {
                objects.remove(key);
            } else if key.kind == Kind::Secret && !objects.contains_key(key) && !by_name.contains(key) {
                wanted.push(key.clone());
            }
        }
        // At first everything was kept, so what is not held does not exist. But Secrets that cannot be listed may well be
        // got by their names.
        if is_first && !matches!(self.watches.get(&Kind::Secret), Some(Watch::Unavailable(_))) {
            return Vec::new();
        }
        wanted.sort();
        wanted
    }

    /// The keys changed since this was last asked.
    pub fn take_dirty(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether every awaited kind has been listed once or is known to be out of reach, and at least one was listed.
    pub fn is_synced(&self) -> bool {
        self.watches.values().all(|watch| *watch != Watch::Pending)
            && self.watches.values().any(|watch| *watch == Watch::Synced)
    }

    /// The kinds that cannot be watched and ought to be, with the reason: not those that a cluster may well lack.
    pub fn unavailable(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.watches.iter().filter_map(|(kind, watch)| match watch {
            Watch::Unavailable(reason) if !kind.optional() => Some((*kind, reason.as_str())),
            Watch::Unavailable(_) | Watch::Pending | Watch::Synced => None,
        })
    }

    /// The state of each awaited kind.
    pub fn watches(&self) -> &BTreeMap<Kind, Watch> {
        &self.watches
    }

    /// What is wrong with places that are no objects, such as files that do not parse.
    pub fn places(&self) -> &BTreeMap<String, Vec<Finding>> {
        &self.places
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.objects.get(&key.kind)?.get(key)
    }

    /// All objects of a kind, by namespace and name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&ObjectKey, &Entry)> {
        self.objects.get(&kind).into_iter().flatten()
    }

    /// All objects of a kind in one namespace, by name.
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = (&ObjectKey, &Entry)> {
        let first = ObjectKey::new(kind, namespace, "");
        let namespace = first.namespace.clone();
        self.objects
            .get(&kind)
            .into_iter()
            .flat_map(move |objects| objects.range(first.clone()..))
            .take_while(move |(key, _)| key.namespace == namespace)
    }

    fn put(&mut self, key: ObjectKey, entry: Entry) -> bool {
        let selective = matches!(key.kind, Kind::Secret | Kind::ConfigMap);
        let dropped = selective && self.retained.as_ref().is_some_and(|kept| !kept.contains(&key));
        if dropped {
            return false;
        }
        let objects = self.objects.entry(key.kind).or_default();
        let mattered = !objects.get(&key).is_some_and(|known| same(known, &entry));
        if mattered {
            self.dirty.insert(key.clone());
        }
        objects.insert(key, entry);
        mattered
    }

    fn replace(&mut self, kind: Kind, changes: Vec<Change>) -> bool {
        let mut gone: BTreeSet<ObjectKey> =
            self.objects.get(&kind).map(|objects| objects.keys().cloned().collect()).unwrap_or_default();
        let mut mattered = false;
        for change in changes {
            match &change {
                Change::Upsert(object, _) => {
                    gone.remove(&object.key());
                }
                Change::Invalid(key, ..) => {
                    gone.remove(key);
                }
                Change::Delete(_)
                | Change::Replace(..)
                | Change::Synced(_)
                | Change::Unavailable(..)
                | Change::Place(..) => {}
            }
            mattered |= self.apply(change);
        }
        for key in gone {
            if !self.by_name.contains(&key) {
                mattered |= self.apply(Change::Delete(key));
            }
        }
        mattered
    }
}

/// Whether two entries compile to the same: a changed status, which may be our own writing come back, is no change.
fn same(known: &Entry, new: &Entry) -> bool {
    let equal = match (&known.object, &new.object) {
        (Some(Object::IngressClass(a)), Some(Object::IngressClass(b))) => {
            a.spec == b.spec
                && a.metadata.annotations == b.metadata.annotations
                && same_identity(&a.metadata, &b.metadata)
        }
        (Some(Object::Ingress(a)), Some(Object::Ingress(b))) => {
            a.spec == b.spec
                && a.metadata.annotations == b.metadata.annotations
                && same_identity(&a.metadata, &b.metadata)
        }
        (Some(Object::GatewayRoute(a)), Some(Object::GatewayRoute(b))) => {
            a.spec == b.spec && same_identity(&a.metadata, &b.metadata)
        }
        (Some(Object::RateLimitPolicy(a)), Some(Object::RateLimitPolicy(b))) => {
            a.spec == b.spec && same_identity(&a.metadata, &b.metadata)
        }
        (Some(Object::Service(a)), Some(Object::Service(b))) => a == b,
        (Some(Object::EndpointSlice(a)), Some(Object::EndpointSlice(b))) => a == b,
        (Some(Object::Secret(a)), Some(Object::Secret(b))) => a.data == b.data && a.type_ == b.type_,
        (Some(Object::ConfigMap(a)), Some(Object::ConfigMap(b))) => a.data == b.data && a.binary_data == b.binary_data,
        (Some(Object::ReferenceGrant(a)), Some(Object::ReferenceGrant(b))) => a.spec == b.spec,
        (None, None) => match (&known.metadata, &new.metadata) {
            (Some(a), Some(b)) => same_identity(a, b),
            _ => false,
        },
        _ => false,
    };
    equal && known.findings == new.findings
}

fn same_identity(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.uid == b.uid && a.generation == b.generation && a.creation_timestamp == b.creation_timestamp
}

#[cfg(test)]
mod tests;
