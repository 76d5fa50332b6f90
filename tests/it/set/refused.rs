//! What cannot be put in comes back whole.

use std::error::Error;
use std::io;

use pidwait::{InsertError, PidHandle, WaitSet};

use super::{handle, ourselves};
use crate::common::{backends, sh};
use nix::libc::{ECHILD, EINVAL};

/// No `Debug`, no `Clone`: nothing is asked of a value.
struct Value(u32);

#[track_caller]
fn refused(handle: PidHandle) -> InsertError<Value> {
    let pid = handle.id();
    let mut set = WaitSet::new().unwrap();
    let refused = match set.insert(handle, Value(7)) {
        Ok(key) => panic!("taken up as {key:?}"),
        Err(refused) => refused,
    };
    assert_eq!(refused.handle.id(), pid);
    assert_eq!(refused.value.0, 7);
    assert!(set.is_empty());
    assert!(set.wait().unwrap().is_none());
    refused
}

#[test]
fn done() {
    for backend in backends() {
        let child = handle(sh("exit 3"), backend);
        child.wait().unwrap();
        let refused = refused(child);
        assert_eq!(refused.error.raw_os_error(), Some(ECHILD));
        assert_eq!(refused.handle.exit_status().unwrap().code(), Some(3));
    }
}

#[test]
fn done_from_the_start() {
    for backend in backends() {
        let nobody = PidHandle::open_with(i32::MAX as u32, backend).unwrap();
        assert_eq!(refused(nobody).error.raw_os_error(), Some(ECHILD));
    }
}

#[test]
fn released() {
    for backend in backends() {
        let handle = ourselves(backend);
        handle.release().unwrap();
        assert_eq!(refused(handle).error.raw_os_error(), Some(EINVAL));
    }
}

#[test]
fn as_an_error() {
    for backend in backends() {
        let handle = ourselves(backend);
        handle.release().unwrap();
        let refused = refused(handle);
        let text = refused.to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains(&refused.error.to_string()), "{text}");
        assert!(format!("{refused:?}").contains("error"));
        let source = refused
            .source()
            .and_then(|it| it.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(EINVAL));
        assert_eq!(io::Error::from(refused).raw_os_error(), Some(EINVAL));
    }
}
