//! Entries by key, without a map: a key is a place, and the turn of that place.

/// Names a process in a [`WaitSet`](crate::WaitSet), from
/// [`insert`](crate::WaitSet::insert) until it is reported or removed. It never comes to name one
/// that was put in later; to another set it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitKey {
    pub(super) place: u32,
    pub(super) turn: u32,
}

pub(super) struct Slots<E> {
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    taken: usize,
}

struct Slot<E> {
    turn: u32,
    entry: Option<E>,
}

impl<E> Slots<E> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// The key that the next `insert` is to have.
    pub(super) fn next_key(&self) -> WaitKey {
        let place = match self.free.last() {
            Some(&place) => place,
            // No system has so many processes.
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        let turn = self.slots.get(place as usize).map_or(0, |slot| slot.turn);
        WaitKey { place, turn }
    }

    pub(super) fn insert(&mut self, key: WaitKey, entry: E) {
        if self.free.pop().is_none() {
            // By halves, not by doubling: of memory that nobody uses yet there is less.
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(self.slots.len() / 2 + 4);
            }
            self.slots.push(Slot {
                turn: key.turn,
                entry: None,
            });
        }
        if let Some(slot) = self.slots.get_mut(key.place as usize) {
            slot.entry = Some(entry);
            self.taken += 1;
        }
    }

    pub(super) fn get(&self, key: WaitKey) -> Option<&E> {
        let slot = self.slots.get(key.place as usize)?;
        slot.entry.as_ref().filter(|_| slot.turn == key.turn)
    }

    pub(super) fn remove(&mut self, key: WaitKey) -> Option<E> {
        let slot = self.slots.get_mut(key.place as usize)?;
        if slot.turn != key.turn {
            return None;
        }
        let entry = slot.entry.take()?;
        self.taken -= 1;
        // A place that has had all its turns is left empty for good.
        if let Some(turn) = slot.turn.checked_add(1) {
            slot.turn = turn;
            self.free.push(key.place);
        }
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WaitKey, &E)> {
        (0..).zip(&self.slots).filter_map(|(place, slot)| {
            let turn = slot.turn;
            slot.entry
                .as_ref()
                .map(|entry| (WaitKey { place, turn }, entry))
        })
    }
}
