//! `get_mut`, and the iterators.

use std::collections::{BTreeSet, HashSet};

use pidwait::{IntoIter, Iter, IterMut, WaitKey, WaitSet};

use super::{handle, own_process};
use crate::common::{backends, reap_externally, zombie};

fn filled() -> (WaitSet<i32>, Vec<WaitKey>) {
    let mut set = WaitSet::new().unwrap();
    let keys = (0..6).map(|number| {
        let own = own_process(backends()[0]);
        set.insert(own, number).unwrap()
    });
    let mut keys: Vec<_> = keys.collect();
    // With gaps.
    for index in [4, 1] {
        set.remove(keys.remove(index)).unwrap();
    }
    (set, keys)
}

#[test]
fn get_mut_changes_the_value() {
    let (mut set, keys) = filled();
    let (handle, value) = set.get_mut(keys[1]).unwrap();
    assert_eq!((handle.id(), *value), (std::process::id(), 2));
    *value = 20;
    assert_eq!(set.get(keys[1]).unwrap().1, &20);
    let key = keys[1];
    set.remove(key).unwrap();
    assert!(set.get_mut(key).is_none());
}

#[test]
fn iterators_visit_each_entry_once() {
    let (mut set, keys) = filled();
    let iter: Iter<'_, i32> = set.iter();
    assert_eq!(iter.len(), 4);
    let seen: HashSet<_> = iter.clone().map(|(key, _, &value)| (key, value)).collect();
    assert_eq!(seen, keys.iter().copied().zip([0, 2, 3, 5]).collect());
    assert_eq!((&set).into_iter().count(), 4);
    let iter: IterMut<'_, i32> = set.iter_mut();
    for (_, handle, value) in iter {
        assert_eq!(handle.id(), std::process::id());
        *value *= 10;
    }
    for (_, _, value) in &mut set {
        *value += 1;
    }
    let mut iter: IntoIter<i32> = set.into_iter();
    assert_eq!((iter.len(), iter.size_hint()), (4, (4, Some(4))));
    let (_, handle, _) = iter.next().unwrap();
    assert_eq!((handle.id(), iter.len()), (std::process::id(), 3));
    assert!(format!("{iter:?}").contains('3'));
    let sum: i32 = iter.map(|(_, _, value)| value).sum();
    assert_eq!(sum, 21 + 31 + 51);
}

#[test]
fn dropped_into_iter_reaps_nothing() {
    for backend in backends() {
        let children = [zombie("exit 3"), zombie("exit 3")];
        let pids = [children[0].id(), children[1].id()];
        let mut set = WaitSet::new().unwrap();
        for child in children {
            set.insert(handle(child, backend), ()).unwrap();
        }
        let mut iter = set.into_iter();
        drop(iter.next().unwrap());
        drop(iter);
        for pid in pids {
            assert_eq!(reap_externally(pid), 3 << 8);
        }
    }
}

#[test]
fn keys_can_be_sorted() {
    let (set, keys) = filled();
    let sorted: BTreeSet<_> = set.iter().map(|(key, _, _)| key).collect();
    assert_eq!(sorted, keys.into_iter().collect());
}
