// Tests: below, tests/it/set/keys.rs, tests/many.rs

//! Entries by key, without a map: a key is the index of a slot and the slot's generation.

use std::iter::Enumerate;

/// Refers to one entry, and to no entry that is inserted later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl SlotKey {
    /// As one number, for the poller.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[allow(clippy::cast_possible_truncation)] // The lower and the upper half.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

pub(super) struct Slots<E> {
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    len: usize,
}

pub(super) struct Slot<E> {
    generation: u32,
    entry: Option<E>,
}

impl<E> Slots<E> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The key that the next `insert` must be given.
    pub(super) fn next_key(&self) -> SlotKey {
        let index = match self.free.last() {
            Some(&index) => index,
            // No system has so many processes.
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        let slot = self.slots.get(index as usize);
        SlotKey {
            index,
            generation: slot.map_or(0, |slot| slot.generation),
        }
    }

    pub(super) fn insert(&mut self, key: SlotKey, entry: E) {
        if self.free.pop().is_none() {
            // Grows by half, not by doubling, to keep unused capacity small.
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(self.slots.len() / 2 + 4);
            }
            self.slots.push(Slot {
                generation: key.generation,
                entry: None,
            });
        }
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.entry = Some(entry);
            self.len += 1;
        }
    }

    pub(super) fn get(&self, key: SlotKey) -> Option<&E> {
        let slot = self.slots.get(key.index as usize)?;
        slot.entry
            .as_ref()
            .filter(|_| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: SlotKey) -> Option<&mut E> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.entry
            .as_mut()
            .filter(|_| slot.generation == key.generation)
    }

    pub(super) fn remove(&mut self, key: SlotKey) -> Option<E> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let entry = slot.entry.take()?;
        self.len -= 1;
        // A slot that has used up its generations stays empty.
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            self.free.push(key.index);
        }
        Some(entry)
    }

    pub(super) fn iter(&self) -> Occupied<std::slice::Iter<'_, Slot<E>>> {
        Occupied::new(self.slots.iter(), self.len)
    }

    pub(super) fn iter_mut(&mut self) -> Occupied<std::slice::IterMut<'_, Slot<E>>> {
        Occupied::new(self.slots.iter_mut(), self.len)
    }

    pub(super) fn into_iter(self) -> Occupied<std::vec::IntoIter<Slot<E>>> {
        Occupied::new(self.slots.into_iter(), self.len)
    }
}

/// The entries with their keys, over any iterator of slots.
#[derive(Clone)]
pub(super) struct Occupied<I> {
    slots: Enumerate<I>,
    len: usize,
}

impl<I: Iterator> Occupied<I> {
    fn new(slots: I, len: usize) -> Self {
        Self {
            slots: slots.enumerate(),
            len,
        }
    }

    /// How many entries are left.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<I> Iterator for Occupied<I>
where
    I: Iterator,
    I::Item: AnySlot,
{
    type Item = (SlotKey, <I::Item as AnySlot>::Entry);

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.slots.find_map(|(index, slot)| {
            let (generation, entry) = slot.into_parts();
            let index = u32::try_from(index).ok()?;
            Some((SlotKey { index, generation }, entry?))
        })?;
        self.len -= 1;
        Some(found)
    }
}

/// A slot, owned or borrowed.
pub(super) trait AnySlot {
    type Entry;

    /// The generation and the entry.
    fn into_parts(self) -> (u32, Option<Self::Entry>);
}

impl<E> AnySlot for Slot<E> {
    type Entry = E;

    fn into_parts(self) -> (u32, Option<E>) {
        (self.generation, self.entry)
    }
}

impl<'a, E> AnySlot for &'a Slot<E> {
    type Entry = &'a E;

    fn into_parts(self) -> (u32, Option<&'a E>) {
        (self.generation, self.entry.as_ref())
    }
}

impl<'a, E> AnySlot for &'a mut Slot<E> {
    type Entry = &'a mut E;

    fn into_parts(self) -> (u32, Option<&'a mut E>) {
        (self.generation, self.entry.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<u32>, entry: u32) -> SlotKey {
        let key = slots.next_key();
        slots.insert(key, entry);
        key
    }

    fn entries(slots: &Slots<u32>) -> Vec<u32> {
        slots.iter().map(|(_, entry)| *entry).collect()
    }

    #[test]
    fn slots_are_reused_with_new_keys() {
        let mut slots = Slots::new();
        let old: Vec<_> = (0..8).map(|entry| insert(&mut slots, entry)).collect();
        for (entry, &key) in (0..).zip(&old) {
            assert_eq!(slots.remove(key), Some(entry));
            assert_eq!(slots.remove(key), None);
        }
        assert_eq!(slots.len(), 0);
        let new: Vec<_> = (8..24).map(|entry| insert(&mut slots, entry)).collect();
        assert_eq!((slots.len(), slots.slots.len()), (16, 16));
        for &key in &old {
            assert_eq!(slots.get(key), None);
            assert_eq!(slots.get_mut(key), None);
            assert_eq!(slots.remove(key), None);
        }
        for (entry, &key) in (8..).zip(&new) {
            assert_eq!(slots.get(key), Some(&entry));
            *slots.get_mut(key).unwrap() += 100;
            assert_eq!(slots.remove(key), Some(entry + 100));
        }
    }

    #[test]
    fn key_of_no_slot_finds_nothing() {
        let mut slots = Slots::new();
        let key = slots.next_key();
        assert_eq!(slots.get(key), None);
        assert_eq!(slots.get_mut(key), None);
        assert_eq!(slots.remove(key), None);
        insert(&mut slots, 1);
        assert_eq!(entries(&slots), [1]);
    }

    /// Otherwise an old key would find a later entry.
    #[test]
    fn slot_that_has_used_up_its_generations_stays_empty() {
        let mut slots = Slots::new();
        let last = SlotKey {
            index: 0,
            generation: u32::MAX,
        };
        slots.insert(last, 1);
        assert_eq!(slots.remove(last), Some(1));
        let next = insert(&mut slots, 2);
        assert_eq!((next.index, next.generation), (1, 0));
        assert_eq!(slots.get(last), None);
        assert_eq!(entries(&slots), [2]);
    }

    #[test]
    fn iterators_skip_gaps_and_know_their_length() {
        let mut slots = Slots::new();
        let keys: Vec<_> = (0..5).map(|entry| insert(&mut slots, entry)).collect();
        slots.remove(keys[0]);
        slots.remove(keys[3]);
        let mut iter = slots.iter();
        assert_eq!(iter.len(), 3);
        assert_eq!(iter.next(), Some((keys[1], &1)));
        assert_eq!(iter.len(), 2);
        for (_, entry) in slots.iter_mut() {
            *entry *= 10;
        }
        let owned: Vec<_> = slots.into_iter().collect();
        assert_eq!(owned, [(keys[1], 10), (keys[2], 20), (keys[4], 40)]);
    }

    #[test]
    fn keys_are_numbers_for_the_poller() {
        for (index, generation) in [(0, 0), (7, 0), (0, 7), (u32::MAX, 1), (1, u32::MAX)] {
            let key = SlotKey { index, generation };
            assert_eq!(SlotKey::from_bits(key.to_bits()), key);
        }
    }
}
