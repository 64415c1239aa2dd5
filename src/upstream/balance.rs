//! Which endpoint of a cluster takes a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Endpoint, EndpointSet, Fit, Ring};

/// How one endpoint of a cluster is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// One after the other, by weight.
    RoundRobin,
    /// The less busy of two: the next in turn and a random one.
    LeastRequest,
    /// Any, by weight.
    Random,
    /// The one of two with the lower product of smoothed latency and requests in flight.
    PeakEwma,
    /// The same endpoint for the same key, on every replica.
    ConsistentHash {
        /// An endpoint that has this many percent of the mean load passes its keys on; `None` is no bound.
        balance_factor_percent: Option<u32>,
    },
}

impl fmt::Display for Balancer {
    /// In the words of a declaration: `LeastRequest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "RoundRobin",
            Self::LeastRequest => "LeastRequest",
            Self::Random => "Random",
            Self::PeakEwma => "PeakEWMA",
            Self::ConsistentHash { .. } => "ConsistentHash",
        })
    }
}

/// What a worker knows of the endpoints' load.
pub trait Loads {
    /// Requests of this worker that the endpoint has not finished.
    fn in_flight(&self, endpoint: &Endpoint) -> u32;
    /// Smoothed time to the first byte in seconds; 0 when nothing is known yet.
    fn latency(&self, endpoint: &Endpoint) -> f64;
    /// Requests of this worker that no endpoint of the set has finished; worth overriding where the sum is kept.
    fn total(&self, set: &EndpointSet) -> u64 {
        set.endpoints.iter().map(|endpoint| u64::from(self.in_flight(endpoint))).sum()
    }
}

/// What a worker brings to a choice.
#[derive(Debug)]
pub struct Choice<'a, L> {
    /// The load of the endpoints.
    pub loads: &'a L,
    /// A number that grows by one with every choice of this worker in this cluster.
    pub turn: u64,
    /// A random number.
    pub random: u64,
    /// The hash of the request's key, for a consistent hash; without one it falls back to `random`.
    pub hash: Option<u64>,
    /// None of these, if there is any other: they have just failed.
    pub exclude: &'a [Endpoint],
    /// Which of them are fit to be chosen.
    pub fit: Fit<'a>,
    /// How long a new endpoint takes to get its full share, and what time it is.
    pub slow_start: Option<(Duration, u64)>,
}

/// Who is next in turn: every endpoint of a set by its weight, spread evenly over the round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The sums of the weights up to and including each endpoint; none where all weights are equal, and a turn is an
    /// index.
    sums: Option<Box<[u64]>>,
    /// Turns in a round.
    total: u64,
    /// How far a turn steps through the sums. Having no divisor in common with the total it visits every place of a
    /// round once, and being near the golden section of it, it returns to one endpoint at even distances.
    stride: u64,
}

impl Shares {
    /// The shares of these endpoints. One of weight 0 has no turn unless all have that weight.
    pub fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let divisor = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).fold(0, greatest_common_divisor);
        let weights = endpoints.iter().map(|endpoint| u64::from(endpoint.weight).checked_div(divisor).unwrap_or(1));
        if weights.clone().all(|weight| weight == 1) {
            return Self { sums: None, total: endpoints.len() as u64, stride: 1 };
        }
        let sums: Box<[u64]> = weights
            .scan(0u64, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or_default();
        let golden = (total as f64 / 1.618_033_988_749_895) as u64;
        let stride = (golden.max(1)..).find(|stride| greatest_common_divisor(*stride, total) == 1).unwrap_or(1);
        Self { sums: Some(sums), total, stride }
    }

    /// The index of the endpoint whose turn it is.
    fn at(&self, turn: u64) -> Option<usize> {
        let place = turn.checked_rem(self.total)?;
        Some(match &self.sums {
            None => place as usize,
            // Weights are 32 bits wide, so the product of place and stride fits twice that and more.
            Some(_) => self.owner((u128::from(place) * u128::from(self.stride) % u128::from(self.total)) as u64),
        })
    }

    /// An endpoint by chance, each as likely as its weight is large.
    fn random(&self, random: u64) -> usize {
        // The high half of the product spreads a random number over the total without a division.
        self.owner(((u128::from(random) * u128::from(self.total)) >> 64) as u64)
    }

    fn owner(&self, place: u64) -> usize {
        match &self.sums {
            None => place as usize,
            Some(sums) => sums.partition_point(|sum| *sum <= place),
        }
    }

    /// How many turns of a round an endpoint has.
    fn of(&self, index: usize) -> u64 {
        let Some(sums) = &self.sums else { return 1 };
        let below = index.checked_sub(1).and_then(|before| sums.get(before));
        sums.get(index).copied().unwrap_or_default() - below.copied().unwrap_or_default()
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Balancer {
    /// The endpoint that takes the request; `None` only when there is none at all, or none that is fit.
    pub fn select<'s, L: Loads>(self, set: &'s EndpointSet, choice: &Choice<'_, L>) -> Option<&'s Arc<Endpoint>> {
        match choice.fit {
            Fit::Trial(number) => return set.endpoints.get(number),
            Fit::None(_) => return None,
            Fit::All | Fit::Some(_) => {}
        }
        if let [] | [_] = &*set.endpoints {
            return set.endpoints.first();
        }
        let index = self.index(set, choice)?;
        let index = match (self, choice.slow_start) {
            // A key has one endpoint, new or not.
            (Self::ConsistentHash { .. }, _) | (_, None) => index,
            (_, Some((window, now))) => choice.slowly(set, index, window, now),
        };
        set.endpoints.get(choice.unless_out(set, index))
    }

    fn index<L: Loads>(self, set: &EndpointSet, choice: &Choice<'_, L>) -> Option<usize> {
        let Choice { loads, turn, random, hash, .. } = *choice;
        Some(match self {
            Self::RoundRobin => choice.unless_excluded(set, set.shares.at(turn)?),
            Self::Random => choice.unless_excluded(set, set.shares.random(random)),
            Self::LeastRequest => {
                let (next, other) = choice.two(set)?;
                let load = |endpoint: &Endpoint| u64::from(loads.in_flight(endpoint)) + 1;
                let weight = |endpoint: &Endpoint| u64::from(endpoint.weight.max(1));
                let (a, b) = (set.endpoints.get(next)?, set.endpoints.get(other)?);
                // Loads per weight, compared without dividing. Equal ones go in turn, so that an idle cluster is
                // visited all round.
                if load(b) * weight(a) < load(a) * weight(b) { other } else { next }
            }
            Self::PeakEwma => {
                let (next, other) = choice.two(set)?;
                let (a, b) = (set.endpoints.get(next)?, set.endpoints.get(other)?);
                let known =
                    |latency: f64, or: f64| [latency, or, 1.0].into_iter().find(|value| *value > 0.0).unwrap_or(1.0);
                let (latency_a, latency_b) = (loads.latency(a), loads.latency(b));
                let cost = |endpoint: &Endpoint, latency: f64| {
                    latency * (f64::from(loads.in_flight(endpoint)) + 1.0) / f64::from(endpoint.weight.max(1))
                };
                // One that nothing is known of counts as fast as the other: neither shunned nor flooded.
                if cost(b, known(latency_b, latency_a)) < cost(a, known(latency_a, latency_b)) { other } else { next }
            }
            Self::ConsistentHash { balance_factor_percent } => {
                let hash = hash.unwrap_or(random);
                match &set.ring {
                    Some(ring) if !ring.is_empty() => choice.on_ring(set, ring, hash, balance_factor_percent)?,
                    _ => choice.unless_excluded(set, set.shares.random(hash)),
                }
            }
        })
    }
}

impl<L: Loads> Choice<'_, L> {
    /// Another endpoint may stand at an address that failed; it is as little to be trusted.
    fn excludes(&self, set: &EndpointSet, index: usize) -> bool {
        let failed = |endpoint: &Arc<Endpoint>| self.exclude.iter().any(|failed| failed.address == endpoint.address);
        self.is_out(index) || (!self.exclude.is_empty() && set.endpoints.get(index).is_some_and(failed))
    }

    fn is_out(&self, index: usize) -> bool {
        matches!(self.fit, Fit::Some(healths) if healths.get(index).is_some_and(|health| health.is_out()))
    }

    /// This one, or the next with a share if it is excluded; it itself if there is no such.
    fn unless_excluded(&self, set: &EndpointSet, index: usize) -> usize {
        if self.excludes(set, index) { self.next_but(set, index, index).unwrap_or(index) } else { index }
    }

    /// This one, or the next that is not out: rather one that has just failed.
    fn unless_out(&self, set: &EndpointSet, index: usize) -> usize {
        if !self.is_out(index) {
            return index;
        }
        let count = set.endpoints.len();
        (1..count).map(|step| (index + step) % count).find(|next| !self.is_out(*next)).unwrap_or(index)
    }

    /// This one, or another by chance the more often the newer it is.
    fn slowly(&self, set: &EndpointSet, index: usize, window: Duration, now: u64) -> usize {
        let Some(health) = set.health.get(index) else { return index };
        // Bits that chose nothing else: the choices by chance go by the highest.
        let draw = (self.random >> 16) as u32 & 0xff;
        if draw < health.share(window, now) {
            return index;
        }
        let other = set.shares.random(self.random.rotate_left(32));
        let is_other = other != index && !self.excludes(set, other);
        if is_other { other } else { self.next_but(set, other, index).unwrap_or(index) }
    }

    /// The first after `index`, all round, that has a share, is not excluded and is not `but`.
    fn next_but(&self, set: &EndpointSet, index: usize, but: usize) -> Option<usize> {
        let count = set.endpoints.len();
        (1..=count)
            .map(|step| (index + step) % count)
            .find(|next| *next != but && set.shares.of(*next) > 0 && !self.excludes(set, *next))
    }

    /// The next in turn and a random other; the same twice when there is no other.
    fn two(&self, set: &EndpointSet) -> Option<(usize, usize)> {
        let next = self.unless_excluded(set, set.shares.at(self.turn)?);
        let other = set.shares.random(self.random);
        let is_other = other != next && !self.excludes(set, other);
        let other = if is_other { other } else { self.next_but(set, other, next).unwrap_or(next) };
        Some((next, other))
    }

    /// The owner of a key, or who takes over from it: those that are excluded or have no room pass it on.
    fn on_ring(&self, set: &EndpointSet, ring: &Ring, hash: u64, factor_percent: Option<u32>) -> Option<usize> {
        let allowed = |index: &usize| !self.excludes(set, *index);
        let first = ring.walk(hash).find(allowed).or_else(|| ring.owner(hash))?;
        let Some(factor_percent) = factor_percent else { return Some(first) };
        // The bound is at least one request, so that an idle endpoint has room whatever the others do.
        if self.loads.in_flight(set.endpoints.get(first)?) == 0 {
            return Some(first);
        }
        let total = self.loads.total(set) + 1;
        // The share by weight of all requests, this one included, times the factor, rounded up.
        let bound = |index| {
            let share = u128::from(total) * u128::from(set.shares.of(index)) * u128::from(factor_percent);
            share.div_ceil(u128::from(set.shares.total) * 100)
        };
        let has_room = |index: &usize| {
            let endpoint = set.endpoints.get(*index);
            endpoint.is_some_and(|endpoint| u128::from(self.loads.in_flight(endpoint)) < bound(*index))
        };
        Some(ring.walk(hash).filter(allowed).find(has_room).unwrap_or(first))
    }
}

#[cfg(test)]
mod tests;
