//! Counts of a fixed size: a table of small buckets. A key has its place in one bucket only, so that looking for it, and
//! for whom to drop when the bucket is full, is a look at a few neighbouring lines of memory.

/// How many keys a bucket holds.
const WAYS: usize = 8;
/// How many buckets a table begins with; a power of two.
const FIRST: usize = 4;

/// The counts of a shard.
#[derive(Debug)]
pub(super) struct Counts {
    buckets: Vec<[Slot; WAYS]>,
    /// The table doubles as long as it has fewer than so many buckets.
    most: usize,
    len: usize,
}

/// The count of one key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The hash of the key; 0 for none.
    key: u64,
    /// When the count has run out, in nanoseconds: from then on it is as good as none.
    pub(super) expires: u64,
    /// What the algorithm makes of it.
    pub(super) state: [u64; 2],
}

impl Counts {
    /// An empty table that never takes more than so many bytes.
    pub(super) fn new(memory: usize) -> Self {
        let fit = memory / size_of::<[Slot; WAYS]>();
        // The largest power of two that fits.
        let most = if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 }.max(1);
        Self { buckets: vec![[Slot::default(); WAYS]; FIRST.min(most)], most, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory(&self) -> usize {
        self.buckets.capacity() * size_of::<[Slot; WAYS]>()
    }

    /// How many have not run out.
    #[cfg(test)]
    pub(super) fn live(&self, now: u64) -> usize {
        self.buckets.iter().flatten().filter(|slot| slot.expires > now).count()
    }

    /// The count of a key that has one.
    pub(super) fn get(&mut self, hash: u64) -> Option<&mut Slot> {
        let index = self.index(hash);
        self.buckets.get_mut(index)?.iter_mut().find(|slot| slot.key == key(hash))
    }

    /// The count of a key, an empty one if it has none yet; and whether that has cost another key its count.
    pub(super) fn at(&mut self, hash: u64, now: u64) -> (&mut Slot, bool) {
        let key = key(hash);
        let mut index = self.index(hash);
        let way = loop {
            // The index is below the number of buckets.
            #[allow(clippy::indexing_slicing)]
            let bucket = &self.buckets[index];
            let mut oldest = 0;
            let mut soonest = u64::MAX;
            let mut found = None;
            for (way, slot) in bucket.iter().enumerate() {
                if slot.key == key {
                    found = Some(way);
                    break;
                }
                // An empty one has run out at the begin of time.
                if slot.expires < soonest {
                    (oldest, soonest) = (way, slot.expires);
                }
            }
            if let Some(way) = found {
                break way;
            }
            if soonest > now && self.buckets.len() < self.most {
                self.double(now);
                index = self.index(hash);
                continue;
            }
            #[allow(clippy::indexing_slicing)]
            let slot = &mut self.buckets[index][oldest];
            self.len += usize::from(slot.key == 0);
            *slot = Slot { key, ..Slot::default() };
            return (slot, soonest > now);
        };
        // Both were found above.
        #[allow(clippy::indexing_slicing)]
        (&mut self.buckets[index][way], false)
    }

    /// Twice the buckets. What was in one goes to it or to its new twin, so that it fits whatever it is.
    fn double(&mut self, now: u64) {
        let former = std::mem::take(&mut self.buckets);
        self.buckets = vec![[Slot::default(); WAYS]; former.len() * 2];
        self.len = 0;
        for slot in former.into_iter().flatten().filter(|slot| slot.key != 0 && slot.expires > now) {
            let index = self.index(slot.key);
            let bucket = self.buckets.get_mut(index);
            if let Some(place) = bucket.and_then(|bucket| bucket.iter_mut().find(|place| place.key == 0)) {
                *place = slot;
                self.len += 1;
            }
        }
    }

    fn index(&self, hash: u64) -> usize {
        // Their number is a power of two.
        key(hash) as usize & (self.buckets.len() - 1)
    }
}

/// The hash as a key: 0 is for nobody.
fn key(hash: u64) -> u64 {
    hash.max(1)
}
