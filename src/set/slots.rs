// Tests: tests/it/set/keys.rs, tests/many.rs

//! Entries by key, without a map: a key is the index of a slot and the slot's generation.

use std::iter::Enumerate;

/// Refers to one entry, and to no entry that is inserted later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotKey {
    pub(super) index: u32,
    pub(super) generation: u32,
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
