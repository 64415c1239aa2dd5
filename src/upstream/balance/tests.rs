use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::slot::Slots;

/// Load by the last number of the address.
#[derive(Default)]
struct Known {
    in_flight: RefCell<BTreeMap<u8, u32>>,
    latency: BTreeMap<u8, f64>,
}

fn number(endpoint: &Endpoint) -> u8 {
    match endpoint.address {
        SocketAddr::V4(address) => address.ip().octets()[3],
        SocketAddr::V6(_) => 0,
    }
}

impl Known {
    fn begin(&self, endpoint: &Endpoint) {
        *self.in_flight.borrow_mut().entry(number(endpoint)).or_insert(0) += 1;
    }
}

impl Loads for Known {
    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.in_flight.borrow().get(&number(endpoint)).copied().unwrap_or_default()
    }

    fn latency(&self, endpoint: &Endpoint) -> f64 {
        self.latency.get(&number(endpoint)).copied().unwrap_or_default()
    }
}

fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    let mut slots = Slots::default();
    (0u8..)
        .zip(weights)
        .map(|(number, weight)| {
            let address = SocketAddr::from(([10, 0, 0, number], 80));
            Arc::new(Endpoint { slot: slots.allocate(), address, weight: *weight })
        })
        .collect()
}

const BOUNDED: Balancer = Balancer::ConsistentHash { balance_factor_percent: Some(125) };
const ALL: [Balancer; 6] = [
    Balancer::RoundRobin,
    Balancer::LeastRequest,
    Balancer::Random,
    Balancer::PeakEwma,
    Balancer::ConsistentHash { balance_factor_percent: None },
    BOUNDED,
];

fn set(balancer: Balancer, weights: &[u32]) -> EndpointSet {
    EndpointSet::new(endpoints(weights), balancer)
}

fn random(turn: u64) -> u64 {
    xxh3_64(&turn.to_le_bytes())
}

fn choice(loads: &Known, turn: u64) -> Choice<'_, Known> {
    Choice { loads, turn, random: random(turn), hash: None, exclude: &[], fit: Fit::All, slow_start: None }
}

/// Who takes each of so many requests that all stay in flight if `busy`.
fn choices(balancer: Balancer, weights: &[u32], requests: u64, busy: bool) -> Vec<u8> {
    let set = set(balancer, weights);
    let loads = Known::default();
    (0..requests)
        .map(|turn| {
            let chosen = balancer.select(&set, &choice(&loads, turn)).unwrap();
            if busy {
                loads.begin(chosen);
            }
            number(chosen)
        })
        .collect()
}

fn counts(chosen: &[u8], of: usize) -> Vec<usize> {
    (0..of).map(|wanted| chosen.iter().filter(|number| usize::from(**number) == wanted).count()).collect()
}

#[test]
fn nobody_and_the_only_one_are_found_by_every_balancer() {
    let loads = Known::default();
    for balancer in ALL {
        assert_eq!(balancer.select(&set(balancer, &[]), &choice(&loads, 3)), None);
        let one = set(balancer, &[0]);
        let only = &one.endpoints[0];
        let excluded = Choice { exclude: &[**only], ..choice(&loads, 3) };
        assert_eq!(balancer.select(&one, &excluded), Some(only));
    }
}

#[test]
fn round_robin_serves_each_of_equals_once_a_round() {
    for count in [2, 3, 10, 97] {
        let chosen = choices(Balancer::RoundRobin, &vec![7; count], 3 * count as u64, false);
        for round in chosen.windows(count) {
            assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), count);
        }
    }
}

#[test]
fn round_robin_serves_by_weight_and_spreads_the_turns() {
    for weights in [&[5, 1, 1][..], &[1, 2, 3, 4], &[0, 3, 2], &[90, 10], &[100, 1], &[6, 4, 2]] {
        let divisor = weights.iter().fold(0, |a, b| greatest_common_divisor(a, u64::from(*b)));
        let round = (u64::from(weights.iter().sum::<u32>()) / divisor) as usize;
        let chosen = choices(Balancer::RoundRobin, weights, 2 * round as u64, false);
        let expected: Vec<_> = weights.iter().map(|weight| (u64::from(*weight) / divisor) as usize).collect();
        assert_eq!(counts(&chosen[..round], weights.len()), expected);
        assert_eq!(chosen[..round], chosen[round..], "every round is the same");
        // At no point of a round is anyone more than two turns away from its share.
        for so_far in 1..=round {
            for (count, weight) in counts(&chosen[..so_far], weights.len()).into_iter().zip(&expected) {
                let due = so_far as f64 * *weight as f64 / round as f64;
                assert!((count as f64 - due).abs() <= 2.0, "{weights:?}: {count} instead of {due} after {so_far}");
            }
        }
    }
}

/// Conformance: 100 requests one after the other over 10 endpoints reach exactly 10.
#[test]
fn an_idle_cluster_is_visited_all_round() {
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest, Balancer::PeakEwma] {
        assert_eq!(counts(&choices(balancer, &[1; 10], 100, false), 10), [10; 10], "{balancer:?}");
    }
}

#[test]
fn least_request_evens_out_the_load() {
    let even = counts(&choices(Balancer::LeastRequest, &[1; 10], 1000, true), 10);
    assert!(even.iter().all(|count| (90..=110).contains(count)), "{even:?}");
    let weighted = counts(&choices(Balancer::LeastRequest, &[1, 1, 2], 1000, true), 3);
    assert!(weighted.iter().zip([250, 250, 500]).all(|(count, due)| count.abs_diff(due) <= 25), "{weighted:?}");

    let set = set(Balancer::LeastRequest, &[1, 1]);
    let loads = Known { in_flight: BTreeMap::from([(0, 5)]).into(), ..Known::default() };
    for turn in 0..10 {
        let chosen = Balancer::LeastRequest.select(&set, &choice(&loads, turn));
        assert_eq!(chosen.map(|endpoint| number(endpoint)), Some(1), "the busy one of two is passed over");
    }
}

#[test]
fn random_goes_by_weight() {
    let chosen = counts(&choices(Balancer::Random, &[1, 3, 0], 10_000, false), 3);
    assert!(chosen[0].abs_diff(2500) < 200 && chosen[1].abs_diff(7500) < 200 && chosen[2] == 0, "{chosen:?}");
}

#[test]
fn peak_ewma_prefers_the_lower_product_of_latency_and_load() {
    let balancer = Balancer::PeakEwma;
    let two = set(balancer, &[1, 1]);
    let always = |latency: &[(u8, f64)], in_flight: &[(u8, u32)]| {
        let loads = Known {
            latency: latency.iter().copied().collect(),
            in_flight: RefCell::new(in_flight.iter().copied().collect()),
        };
        let chosen: BTreeSet<_> =
            (0..20).map(|turn| number(balancer.select(&two, &choice(&loads, turn)).unwrap())).collect();
        chosen.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(always(&[(0, 0.010), (1, 0.030)], &[]), [0]);
    assert_eq!(always(&[(0, 0.010), (1, 0.030)], &[(0, 4)]), [1], "10 ms five deep is more than 30 ms");
    assert_eq!(always(&[(0, 0.010)], &[]), [0, 1], "one that nothing is known of is taken as fast as the other");
    assert_eq!(always(&[(0, 0.010)], &[(1, 1)]), [0], "and not flooded");
}

#[test]
fn a_key_keeps_its_endpoint() {
    let balancer = Balancer::ConsistentHash { balance_factor_percent: None };
    let set = set(balancer, &[1; 10]);
    let loads = Known::default();
    for key in 0..100 {
        let by_key = |turn| {
            let chosen = balancer.select(&set, &Choice { hash: Some(random(key)), ..choice(&loads, turn) }).unwrap();
            loads.begin(chosen);
            number(chosen)
        };
        assert_eq!((0..5).map(by_key).collect::<BTreeSet<_>>().len(), 1);
    }
    let without_key = counts(&choices(balancer, &[1; 4], 400, false), 4);
    assert!(without_key.iter().all(|count| *count > 40), "requests without a key go anywhere: {without_key:?}");
}

/// HAProxy's `hash-balance-factor`, with the request itself counted in the mean.
#[test]
fn a_bound_passes_a_hot_key_on() {
    let set = set(BOUNDED, &[1; 10]);
    let loads = Known::default();
    let walk: Vec<u8> = set.ring.as_ref().unwrap().walk(random(1)).map(|index| index as u8).collect();
    let mut order = Vec::new();
    for turn in 0..100u64 {
        let chosen = BOUNDED.select(&set, &Choice { hash: Some(random(1)), ..choice(&loads, turn) }).unwrap();
        loads.begin(chosen);
        let bound = ((turn + 1) * 125).div_ceil(1000) as u32;
        assert!(loads.in_flight(chosen) <= bound, "{} over {bound}", loads.in_flight(chosen));
        if !order.contains(&number(chosen)) {
            order.push(number(chosen));
        }
    }
    assert_eq!(order, walk[..order.len()], "spilled to the next on the ring, and no further than needed");
    assert_eq!(order.len(), 8, "100 requests at up to 13 each");

    let heavy = EndpointSet::new(endpoints(&[3, 1]), BOUNDED);
    let loads = Known::default();
    for turn in 0..100 {
        let choice = Choice { hash: Some(random(turn)), ..choice(&loads, turn) };
        loads.begin(BOUNDED.select(&heavy, &choice).unwrap());
    }
    let light = loads.in_flight.borrow()[&1];
    assert!(light <= 32, "a bound goes by weight: {light} of 100 for one of four parts");
}

/// Who is new gets a tenth at first, whoever chooses; the others share the rest.
#[test]
fn a_new_endpoint_is_spared_at_first() {
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest, Balancer::Random, Balancer::PeakEwma] {
        let set = set(balancer, &[1; 4]);
        let loads = Known::default();
        let window = Duration::from_secs(10);
        for old in &set.health[1..] {
            old.share(window, 0);
        }
        let part = |now: u64| {
            let chosen: Vec<u8> = (0..4_000)
                .map(|turn| {
                    let choice = Choice { slow_start: Some((window, now)), ..choice(&loads, turn) };
                    number(balancer.select(&set, &choice).unwrap())
                })
                .collect();
            counts(&chosen, 4)
        };
        let young = part(20_000);
        assert!((60..=160).contains(&young[0]) && young[1..].iter().all(|old| *old > 1_150), "{balancer:?}: {young:?}");
        let grown = part(30_000);
        assert!(grown.iter().all(|count| count.abs_diff(1_000) < 150), "{balancer:?}: {grown:?}");
    }
}

proptest! {
    /// Who is out is chosen by no balancer, whoever has just failed, as long as there is anybody else.
    #[test]
    fn who_is_out_gets_nothing(
        out in prop::collection::vec(any::<bool>(), 2..8),
        failed: prop::sample::Index,
        turn: u64,
        hash: u64,
    ) {
        prop_assume!(out.iter().any(|out| !out) && out.iter().any(|out| *out));
        let loads = Known::default();
        for balancer in ALL {
            let set = set(balancer, &vec![1; out.len()]);
            for (health, _) in set.health.iter().zip(&out).filter(|(_, out)| **out) {
                health.check_fails();
            }
            let failed = *set.endpoints[failed.index(out.len())];
            let choice = Choice { exclude: &[failed], fit: Fit::Some(&set.health), hash: Some(hash), ..choice(&loads, turn) };
            let chosen = number(balancer.select(&set, &choice).unwrap());
            prop_assert!(!out[usize::from(chosen)], "{:?}", balancer);
            let trial = Choice { fit: Fit::Trial(1), ..choice };
            prop_assert_eq!(number(balancer.select(&set, &trial).unwrap()), 1);
            let none = Choice { fit: Fit::None(5), ..trial };
            prop_assert_eq!(balancer.select(&set, &none), None);
        }
    }

    #[test]
    fn the_excluded_is_chosen_only_if_alone(
        weights in prop::collection::vec(1..5u32, 2..8),
        excluded: prop::sample::Index,
        busy: Vec<u8>,
        turn: u64,
        hash: u64,
    ) {
        let loads = Known::default();
        for balancer in ALL {
            let set = set(balancer, &weights);
            for number in &busy {
                loads.begin(&set.endpoints[usize::from(*number) % weights.len()]);
            }
            let excluded = &set.endpoints[excluded.index(weights.len())];
            let choice = Choice { exclude: &[**excluded], hash: Some(hash), ..choice(&loads, turn) };
            let chosen = balancer.select(&set, &choice);
            prop_assert!(chosen.is_some_and(|chosen| chosen != excluded), "{:?}", balancer);
        }
    }

    /// As long as anyone has a weight, nobody without one is chosen.
    #[test]
    fn weight_nought_is_nothing(weights in prop::collection::vec(0..3u32, 2..8), turn: u64, hash: u64, exclude: prop::sample::Index) {
        prop_assume!(weights.iter().filter(|weight| **weight > 0).count() > 1);
        let loads = Known::default();
        for balancer in ALL {
            let set = set(balancer, &weights);
            let excluded = &set.endpoints[exclude.index(weights.len())];
            let chosen = balancer.select(&set, &Choice { exclude: &[**excluded], hash: Some(hash), ..choice(&loads, turn) });
            prop_assert!(chosen.is_some_and(|chosen| chosen.weight > 0), "{:?}", balancer);
        }
    }
}
