//! Key sets that are fetched, kept for as long as the object that names them does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Algorithm, RemoteKeys, RemoteSettings};
use crate::source::ObjectKey;

/// Which key set of an object: what was fetched for one is not taken for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeySetId {
    pub(super) provider: Arc<str>,
    pub(super) uri: String,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    /// The authorities that are trusted, as declared; empty for those of the system.
    pub(super) trust: Vec<u8>,
}

/// Every key set that is fetched, by the object that names it.
#[derive(Debug, Default)]
pub(super) struct KeySets {
    /// Whether there are others than when this was last asked.
    changed: bool,
    objects: BTreeMap<ObjectKey, BTreeMap<KeySetId, Arc<RemoteKeys>>>,
}

impl KeySets {
    /// The key set, with what has been fetched of it if it has been declared before.
    pub(super) fn obtain(&mut self, object: &ObjectKey, id: KeySetId, settings: RemoteSettings) -> Arc<RemoteKeys> {
        let of_object = self.objects.entry(object.clone()).or_default();
        let made = || {
            self.changed = true;
            Arc::new(RemoteKeys::new(settings))
        };
        of_object.entry(id).or_insert_with(made).clone()
    }

    /// Forgets what an object names no more.
    pub(super) fn keep(&mut self, object: &ObjectKey, named: &[KeySetId]) {
        if let Some(of_object) = self.objects.get_mut(object) {
            let known = of_object.len();
            of_object.retain(|id, _| named.contains(id));
            self.changed |= of_object.len() < known;
            if of_object.is_empty() {
                self.objects.remove(object);
            }
        }
    }

    /// Whether there are others than when this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of them, with the object that names each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<RemoteKeys>)> {
        self.objects.iter().flat_map(|(object, sets)| sets.values().map(move |keys| (object, keys)))
    }
}
