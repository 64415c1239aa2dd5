use std::collections::BTreeMap;
use std::hash::Hasher;

use proptest::prelude::*;

use super::*;

/// A key with few hashes, so that leaves are full of those that differ in nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u16);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 % 40).hash(state);
    }
}

fn model_of(map: &Map<Key, Arc<u8>>) -> BTreeMap<Key, u8> {
    map.iter().map(|(key, value)| (*key, **value)).collect()
}

/// Puts a value in place, or takes one away.
fn steps() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    prop::collection::vec((0u16..400, prop::option::weighted(0.6, any::<u8>())), 0..600)
}

fn apply(map: &mut Map<Key, Arc<u8>>, model: &mut BTreeMap<Key, u8>, (key, value): (u16, Option<u8>)) {
    let key = Key(key);
    let (before, expected) = match value {
        Some(value) => (map.insert(key, Arc::new(value)), model.insert(key, value)),
        None => (map.remove(&key), model.remove(&key)),
    };
    assert_eq!(before.as_deref(), expected.as_ref());
}

proptest! {
    #[test]
    fn is_a_map_whose_former_versions_stay(first in steps(), second in steps()) {
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        first.into_iter().for_each(|step| apply(&mut map, &mut model, step));
        let (former, former_model) = (map.clone(), model.clone());
        second.into_iter().for_each(|step| apply(&mut map, &mut model, step));
        prop_assert_eq!(map.len(), model.len());
        prop_assert_eq!(&model_of(&map), &model);
        prop_assert_eq!(&model_of(&former), &former_model);
        prop_assert!((0..400).all(|key| map.get(&Key(key)).map(|value| **value) == model.get(&Key(key)).copied()));
        prop_assert_eq!(map == former, model == former_model);

        // What differs leads from one to the other, and holds nothing that does not.
        let mut changed = former_model;
        for Change { key, before, now } in map.changes(&former) {
            prop_assert_eq!(changed.get(key).copied(), before.map(|before| **before));
            prop_assert!(before.zip(now).is_none_or(|(before, now)| !Arc::ptr_eq(before, now)));
            match now {
                Some(now) => changed.insert(*key, **now),
                None => changed.remove(key),
            };
        }
        prop_assert_eq!(changed, model);
    }
}

/// What is not touched is shared: otherwise a change would cost what the map holds.
#[test]
fn a_change_copies_the_path_to_it() {
    let map: Map<u32, Arc<u32>> = (0..20_000).map(|number| (number, Arc::new(number))).collect();
    let mut next = map.clone();
    next.insert(7, Arc::new(8));
    // A value whose leaf was copied has two holders.
    let copied = map.values().filter(|value| Arc::strong_count(value) == 2).count();
    assert!(copied < LEAF, "{copied}");
    assert_eq!(next.changes(&map).len(), 1);
    assert!(next.clone().is(&next) && !next.is(&map));
}

#[test]
fn what_has_been_emptied_is_small_again() {
    let mut map: Map<u32, Arc<u32>> = (0..1_000).map(|number| (number, Arc::new(number))).collect();
    (0..1_000).for_each(|number| assert_eq!(map.remove(&number).as_deref(), Some(&number)));
    assert!(matches!(&*map.root, Node::Leaf(entries) if entries.is_empty()));
}
