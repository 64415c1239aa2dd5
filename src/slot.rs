//! Dense numbers for things that live across generations.
//!
//! Workers keep what they know of a route or an endpoint (counters, connections) in plain vectors of their own. A
//! [`Slot`] says where: its index is small and used again, its serial never is, so a worker that finds another serial
//! at an index knows that the old owner has gone and starts clean.

/// A place in every worker's vectors, owned by one route, cluster or endpoint for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    index: u32,
    serial: u64,
}

impl Slot {
    /// Where in the vector.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Which owner of that place; never used twice by one [`Slots`].
    pub fn serial(self) -> u64 {
        self.serial
    }
}

/// Hands out slots; freed indices are used again, so vectors stay as short as the number of living owners.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    free: Vec<u32>,
    next: u32,
    serial: u64,
}

impl Slots {
    /// A slot nobody else holds.
    pub fn allocate(&mut self) -> Slot {
        self.serial += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.next;
            self.next += 1;
            index
        });
        Slot { index, serial: self.serial }
    }

    /// Gives a slot back once its owner is gone.
    pub fn release(&mut self, slot: Slot) {
        self.free.push(slot.index);
    }
}

/// A worker's vector of what it knows per slot.
#[derive(Debug)]
pub struct SlotVec<T> {
    entries: Vec<Option<(u64, T)>>,
}

impl<T> Default for SlotVec<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> SlotVec<T> {
    /// What is known of the owner of `slot`, if anything.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        match self.entries.get(slot.index()) {
            Some(Some((serial, value))) if *serial == slot.serial() => Some(value),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        match self.entries.get_mut(slot.index()) {
            Some(Some((serial, value))) if *serial == slot.serial() => Some(value),
            _ => None,
        }
    }

    /// What is known of the owner of `slot`; what a former owner left is dropped.
    pub fn get_or_insert_with(&mut self, slot: Slot, make: impl FnOnce() -> T) -> &mut T {
        if self.entries.len() <= slot.index() {
            self.entries.resize_with(slot.index() + 1, || None);
        }
        #[allow(clippy::indexing_slicing, reason = "the line above made the vector long enough")]
        let entry = &mut self.entries[slot.index()];
        if !matches!(entry, Some((serial, _)) if *serial == slot.serial()) {
            *entry = None;
        }
        let (_, value) = entry.get_or_insert_with(|| (slot.serial(), make()));
        value
    }

    /// Every value held, for sweeping.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Every serial and value held, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter().flatten().map(|(serial, value)| (*serial, value))
    }

    /// Drops what belongs to owners for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(u64, &mut T) -> bool) {
        for entry in &mut self.entries {
            if let Some((serial, value)) = entry
                && !keep(*serial, value)
            {
                *entry = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_owner_of_an_index_starts_clean() {
        let mut slots = Slots::default();
        let mut known = SlotVec::default();
        let first = slots.allocate();
        *known.get_or_insert_with(first, || 0) += 5;
        slots.release(first);
        let second = slots.allocate();
        assert_eq!(first.index(), second.index());
        assert_ne!(first, second);
        assert_eq!(known.get(second), None);
        assert_eq!(*known.get_or_insert_with(second, || 0), 0);
        assert_eq!(known.get(first), None);
    }
}
