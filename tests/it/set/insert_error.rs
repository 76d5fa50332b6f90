//! `insert` of a done or released handle fails and returns the handle and the value.

use std::error::Error;
use std::io;

use pidwait::{InsertError, PidHandle, WaitSet};

use super::{handle, own_process};
use crate::common::{backends, sh};
use nix::libc::{ECHILD, EINVAL};

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

#[test]
fn insert_error_converts_to_io_error() {
    for backend in backends() {
        let handle = own_process(backend);
        handle.release().unwrap();
        let failed = insert_fails(handle);
        let text = failed.to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains(&failed.error.to_string()), "{text}");
        assert!(format!("{failed:?}").contains("error"));
        let source = failed
            .source()
            .and_then(|it| it.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(EINVAL));
        assert_eq!(io::Error::from(failed).raw_os_error(), Some(EINVAL));
    }
}
