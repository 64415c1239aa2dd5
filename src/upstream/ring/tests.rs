use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::slot::Slots;

/// Endpoints 10.0.0.N:8080 with these weights.
fn endpoints(all: &[(u8, u32)]) -> Vec<Arc<Endpoint>> {
    let mut slots = Slots::default();
    all.iter()
        .map(|(number, weight)| {
            let address = SocketAddr::from(([10, 0, 0, *number], 8080));
            Arc::new(Endpoint { slot: slots.allocate(), address, weight: *weight })
        })
        .collect()
}

const KEYS: u64 = 20_000;

fn hash_of(key: u64) -> u64 {
    xxh3_64(&key.to_le_bytes())
}

/// Who owns each of some keys, by address.
fn owners(endpoints: &[Arc<Endpoint>]) -> Vec<SocketAddr> {
    let ring = Ring::new(endpoints);
    (0..KEYS).map(|key| endpoints[ring.owner(hash_of(key)).unwrap()].address).collect()
}

fn moved(before: &[SocketAddr], after: &[SocketAddr]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

#[test]
fn a_look_up_is_that_of_a_plain_search() {
    for count in [0, 1, 2, 3, 7, 40] {
        let all = endpoints(&(0..count).map(|number| (number, 1)).collect::<Vec<_>>());
        let ring = Ring::new(&all);
        assert_eq!(ring.len(), usize::from(count) * 160);
        assert!(ring.points.is_sorted());
        let edges = ring.points.iter().flat_map(|point| [point.wrapping_sub(1), *point, point.wrapping_add(1)]);
        for hash in edges.chain([0, 1, u64::MAX]).chain((0..1000).map(hash_of)) {
            let place = ring.points.partition_point(|point| *point < hash);
            let expected = ring.owners.get(place).or(ring.owners.first()).map(|owner| *owner as usize);
            assert_eq!(ring.owner(hash), expected, "{count} {hash:x}");
        }
    }
}

/// Another replica, another release, another machine: the same ring. These owners must never change.
#[test]
fn the_ring_is_the_same_everywhere() {
    let all = endpoints(&[(1, 1), (2, 1), (3, 2)]);
    let ring = Ring::new(&all);
    let owners: Vec<_> = (0..24).map(|part| ring.owner(part << 59).unwrap_or(9)).collect();
    assert_eq!(owners, [2, 2, 1, 1, 2, 1, 0, 1, 0, 2, 2, 0, 2, 0, 0, 2, 0, 1, 2, 2, 2, 0, 0, 2]);
    assert_eq!(xxh3_64(b"10.0.0.1:8080-0"), PointText::new(&all[0]).hash(0));
    assert_eq!(xxh3_64(b""), 0x2D06_8005_38D3_94C2, "the vector of the reference implementation");
}

#[test]
fn one_endpoint_of_many_moves_only_its_share() {
    let ten: Vec<_> = (0..10).map(|number| (number, 1)).collect();
    let all = owners(&endpoints(&ten));
    for gone in 0..10 {
        let left: Vec<_> = ten.iter().copied().filter(|(number, _)| *number != gone).collect();
        let after = owners(&endpoints(&left));
        let address = SocketAddr::from(([10, 0, 0, gone], 8080));
        for (before, after) in all.iter().zip(&after) {
            assert!(before == after || *before == address, "only keys of the one that left may move");
        }
        let share = moved(&all, &after) as f64 / KEYS as f64;
        assert!((0.07..0.13).contains(&share), "{share}");
    }
}

#[test]
fn shares_follow_the_weights() {
    let weighted = endpoints(&[(1, 1), (2, 2), (3, 3), (4, 0)]);
    let mut counts = BTreeMap::new();
    owners(&weighted).into_iter().for_each(|owner| *counts.entry(owner).or_insert(0u64) += 1);
    for endpoint in &weighted {
        let count = counts.get(&endpoint.address).copied().unwrap_or_default() as f64;
        let expected = KEYS as f64 * f64::from(endpoint.weight) / 6.0;
        assert!((count - expected).abs() <= expected * 0.15, "{} has {count} of {expected}", endpoint.address);
    }
    let idle = Ring::new(&endpoints(&[(1, 0), (2, 0)]));
    assert_eq!(idle.len(), 320, "all of weight 0 are equal");
}

#[test]
fn huge_weights_make_no_huge_ring() {
    assert_eq!(Ring::new(&endpoints(&[(1, u32::MAX), (2, 1)])).len(), 16_384 + 160);
    let many: Vec<_> = (0..=255).map(|number| (number, 100)).collect();
    let ring = Ring::new(&endpoints(&many));
    assert_eq!(ring.len(), 256 * 100 * 40, "160 points per weight, halved twice");
}

#[test]
fn a_walk_meets_every_endpoint_once() {
    let ring = Ring::new(&endpoints(&(0..30).map(|number| (number, 1 + u32::from(number % 3))).collect::<Vec<_>>()));
    for key in 0..200 {
        let walked: Vec<_> = ring.walk(hash_of(key)).collect();
        assert_eq!(walked.first().copied(), ring.owner(hash_of(key)));
        assert_eq!(walked.len(), 30);
        assert_eq!(walked.into_iter().collect::<BTreeSet<_>>().len(), 30);
    }
    let long = Ring::new(&endpoints(&(0..100).map(|number| (number, 1)).collect::<Vec<_>>()));
    assert_eq!(long.walk(7).collect::<BTreeSet<_>>().len(), MAX_WALK);
    assert_eq!(Ring::new(&[]).walk(7).next(), None);
}

fn any_endpoints() -> impl Strategy<Value = BTreeMap<u8, u32>> {
    prop::collection::btree_map(any::<u8>(), 1..4u32, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_endpoints_makes_no_difference(all in any_endpoints(), seed: u64) {
        let sorted: Vec<_> = all.into_iter().collect();
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|(number, _)| hash_of(u64::from(*number) ^ seed));
        prop_assert_eq!(owners(&endpoints(&sorted)), owners(&endpoints(&shuffled)));
    }

    /// Whoever comes takes keys for itself and moves none between the others; the same backwards for whoever goes.
    #[test]
    fn a_newcomer_takes_keys_only_for_itself(all in any_endpoints(), number: u8, weight in 1..4u32) {
        prop_assume!(!all.contains_key(&number));
        let before: Vec<_> = all.into_iter().collect();
        let total: u32 = before.iter().map(|(_, weight)| weight).sum();
        let after: Vec<_> = before.iter().copied().chain([(number, weight)]).collect();
        let (before, after) = (owners(&endpoints(&before)), owners(&endpoints(&after)));
        let newcomer = SocketAddr::from(([10, 0, 0, number], 8080));
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(old == new || *new == newcomer);
        }
        let share = moved(&before, &after) as f64 / KEYS as f64;
        let expected = f64::from(weight) / f64::from(total + weight);
        prop_assert!((share - expected).abs() < expected * 0.5, "{} instead of {}", share, expected);
    }
}
