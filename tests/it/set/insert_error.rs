//! `insert` of a done or released handle fails and returns the handle and the value.

use std::error::Error;
use std::io;

use pidwait::{InsertError, PidHandle, WaitSet};

use super::{handle, own_process};
use crate::common::{backends, sh};
use nix::libc::{ECHILD, EEXIST, EINVAL};

/// Without `Debug` and `Clone`, because the set requires no trait of its values.
struct Value(u32);

#[track_caller]
fn insert_fails(handle: PidHandle) -> InsertError<Value> {
    let pid = handle.id();
    let mut set = WaitSet::new().unwrap();
    let error = match set.insert(handle, Value(7)) {
        Ok(key) => panic!("inserted as {key:?}"),
        Err(error) => error,
    };
    assert_eq!(error.handle.id(), pid);
    assert_eq!(error.value.0, 7);
    assert!(set.is_empty());
    assert!(set.wait().unwrap().is_none());
    error
}

#[test]
fn insert_of_done_handle_fails_with_echild() {
    for backend in backends() {
        let child = handle(sh("exit 3"), backend);
        child.wait().unwrap();
        let failed = insert_fails(child);
        assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
        assert_eq!(failed.handle.exit_status().unwrap().code(), Some(3));
    }
}

#[test]
fn insert_of_missing_process_fails_with_echild() {
    for backend in backends() {
        let missing = PidHandle::open_with(i32::MAX as u32, backend).unwrap();
        assert_eq!(insert_fails(missing).error.raw_os_error(), Some(ECHILD));
    }
}

#[test]
fn insert_of_released_handle_fails_with_einval() {
    for backend in backends() {
        let handle = own_process(backend);
        handle.release().unwrap();
        assert_eq!(insert_fails(handle).error.raw_os_error(), Some(EINVAL));
    }
}

/// An error report prints the message and that of each source: no text may come twice.
#[test]
fn insert_error_prints_its_cause_once() {
    for backend in backends() {
        let handle = own_process(backend);
        handle.release().unwrap();
        let failed = insert_fails(handle);
        let mut report = failed.to_string();
        let mut source = failed.source();
        while let Some(error) = source {
            report = format!("{report}: {error}");
            source = error.source();
        }
        let cause = failed.error.to_string();
        assert!(report.contains(&std::process::id().to_string()), "{report}");
        assert_eq!(report.matches(&cause).count(), 1, "{report}");
        assert!(format!("{failed:?}").contains("error"));
        assert_eq!(io::Error::from(failed).raw_os_error(), Some(EINVAL));
    }
}

/// Clones are one handle, with one descriptor.
#[test]
fn insert_of_clone_fails_with_eexist() {
    for backend in backends() {
        let handle = own_process(backend);
        let mut set = WaitSet::new().unwrap();
        let key = set.insert(handle.clone(), 1).unwrap();
        let failed = set.insert(handle.clone(), 2).unwrap_err();
        assert_eq!(
            (failed.error.raw_os_error(), failed.value),
            (Some(EEXIST), 2)
        );
        assert_eq!(set.len(), 1);
        set.remove(key).unwrap();
        set.insert(handle, 2).unwrap();
    }
}
