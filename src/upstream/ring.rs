//! The consistent-hash ring: which endpoint a key belongs to, on every replica the same.

use std::io::Write;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Endpoint;

/// Points per unit of weight: with 160 the shares of equal endpoints differ by some 8 % (one part in the root of 160).
const POINTS_PER_WEIGHT: u32 = 160;

/// The most points that one endpoint has, so that a weight of a million is not a ring of a gigabyte.
const MAX_POINTS: u32 = 16_384;

/// The most points that a ring should have, 12 MB of it; beyond it every endpoint has half as many, and again.
const LARGEST: u64 = 1 << 20;

/// How many endpoints a walk yields at most: enough that, under a bound above the mean, one of them has room.
const MAX_WALK: usize = 64;

/// Points on a circle of hashes, each owned by an endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Ring {
    /// The points, ascending.
    points: Box<[u64]>,
    /// The owner of each point: its index among the endpoints.
    owners: Box<[u32]>,
    /// The first point of each equal part of the circle, and the number of points at the end: a look-up begins within a
    /// step or two of its result.
    parts: Box<[u32]>,
    /// How far to shift a hash to the right to get the number of its part.
    shift: u32,
}

impl Ring {
    /// A ring over endpoints; owners are numbers in this list. The same endpoints in any order own the same keys.
    ///
    /// An endpoint of weight 0 owns nothing unless all have that weight.
    pub fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let all_zero = endpoints.iter().all(|endpoint| endpoint.weight == 0);
        let weight = |endpoint: &Endpoint| if all_zero { 1 } else { endpoint.weight };
        let count = |endpoint: &Endpoint, per_weight: u32| weight(endpoint).saturating_mul(per_weight).min(MAX_POINTS);
        let total = |per_weight| endpoints.iter().map(|endpoint| u64::from(count(endpoint, per_weight))).sum::<u64>();
        // Halving keeps what is left of a ring a part of the fuller one, so that few keys move.
        let mut per_weight = POINTS_PER_WEIGHT;
        while per_weight > 1 && total(per_weight) > LARGEST {
            per_weight /= 2;
        }
        let mut points: Vec<(u64, u32)> = Vec::with_capacity(total(per_weight) as usize);
        for (owner, endpoint) in (0u32..).zip(endpoints) {
            let mut text = PointText::new(endpoint);
            points.extend((0..count(endpoint, per_weight)).map(|index| (text.hash(index), owner)));
        }
        let address = |owner: u32| endpoints.get(owner as usize).map(|endpoint| endpoint.address);
        // Points that fall together go by address, which no order of the list changes.
        points.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| address(a.1).cmp(&address(b.1))));
        Self::from_sorted(&points)
    }

    /// The owner of a hash: that of the first point at or after it.
    pub fn owner(&self, hash: u64) -> Option<usize> {
        self.owners.get(self.first_point(hash)).map(|owner| *owner as usize)
    }

    /// The endpoints in the order in which they take over the key of a hash: each once, the owner first, the first 64
    /// of them.
    pub fn walk(&self, hash: u64) -> Walk<'_> {
        let start = self.first_point(hash);
        let (head, tail) = self.owners.split_at_checked(start).unwrap_or((&self.owners, &[]));
        Walk { owners: tail.iter().chain(head), seen: [0; MAX_WALK], count: 0 }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no point, and so no owner.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    fn from_sorted(points: &[(u64, u32)]) -> Self {
        // About as many parts as points, at least two so that the shift stays below the width of a hash.
        let bits = points.len().max(2).ilog2();
        let shift = u64::BITS - bits;
        let mut parts = Vec::with_capacity((1 << bits) + 1);
        for (number, (hash, _)) in (0u32..).zip(points) {
            parts.resize(parts.len().max((hash >> shift) as usize + 1), number);
        }
        parts.resize((1 << bits) + 1, points.len() as u32);
        Self {
            points: points.iter().map(|(hash, _)| *hash).collect(),
            owners: points.iter().map(|(_, owner)| *owner).collect(),
            parts: parts.into(),
            shift,
        }
    }

    /// The number of the first point at or after a hash, around the end of the circle if need be.
    fn first_point(&self, hash: u64) -> usize {
        let start = self.parts.get((hash >> self.shift) as usize).map_or(0, |start| *start as usize);
        let after = self.points.get(start..).unwrap_or_default();
        let found = start + after.iter().position(|point| *point >= hash).unwrap_or(after.len());
        if found == self.points.len() { 0 } else { found }
    }
}

/// The endpoints that take over a key, one after the other.
#[derive(Clone, Debug)]
pub struct Walk<'r> {
    owners: std::iter::Chain<std::slice::Iter<'r, u32>, std::slice::Iter<'r, u32>>,
    seen: [u32; MAX_WALK],
    count: usize,
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (seen, free) = self.seen.split_at_mut_checked(self.count)?;
        let place = free.first_mut()?;
        let next = *self.owners.by_ref().find(|owner| !seen.contains(owner))?;
        *place = next;
        self.count += 1;
        Some(next as usize)
    }
}

/// `ip:port-index`, the text that a point is the hash of.
struct PointText {
    text: Vec<u8>,
    stem: usize,
}

impl PointText {
    fn new(endpoint: &Endpoint) -> Self {
        let text = format!("{}-", endpoint.address).into_bytes();
        Self { stem: text.len(), text }
    }

    fn hash(&mut self, index: u32) -> u64 {
        self.text.truncate(self.stem);
        // Writing to a vector does not fail.
        let _ = write!(self.text, "{index}");
        xxh3_64(&self.text)
    }
}

#[cfg(test)]
mod tests;
