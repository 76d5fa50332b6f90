//! The probe's answer, and what the environment makes of it.

use std::ffi::OsStr;
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;

use crate::common::isolated::{current_part, enter, run_isolated};
use crate::common::{all_backends, errno, open_descriptors, sh, sleeper, zombie};
use nix::libc;
use pidwait::{is_already_reaped, support, Backend, ChildExt, PidHandle};

const VARIABLE: &str = "PIDWAIT_BACKEND";

/// Plays one part of a test with the variable set, or not.
fn play_with(test: &str, part: &str, value: Option<&[u8]>) {
    run_isolated(test, part, |command| {
        match value {
            None => command.env_remove(VARIABLE),
            Some(value) => command.env(VARIABLE, OsStr::from_bytes(value)),
        };
    });
}

/// Every way of making a handle, none of which may answer otherwise than the others.
fn backends_of_new_handles() -> [Backend; 3] {
    let (mut first, second) = (sleeper(), sleeper());
    let opened = PidHandle::open(first.id()).unwrap();
    let made = PidHandle::from(second);
    let of_nobody = PidHandle::open(i32::MAX.unsigned_abs()).unwrap();
    made.kill().unwrap();
    made.wait().unwrap();
    first.kill().unwrap();
    first.pidfd_wait().unwrap();
    [opened.backend(), made.backend(), of_nobody.backend()]
}

/// Unset or empty: what the probe finds. `open_with` tells by itself whether there are pidfds.
#[test]
fn nothing_is_asked_for() {
    if current_part().is_none() {
        for value in [None, Some(b"".as_slice())] {
            play_with("support::nothing_is_asked_for", "probe", value);
        }
        return;
    }
    let found = support().unwrap();
    let expected = all_backends()[0];
    assert_eq!(found.backend(), expected);
    assert_eq!(backends_of_new_handles(), [expected; 3]);
    match found.missing() {
        None => assert_eq!(found.to_string(), "pidfd"),
        Some(missing) => {
            assert_eq!(expected, Backend::Waitpid);
            assert_eq!(found.to_string(), format!("waitpid: {missing}"));
        }
    }
}

/// Each backend can be asked for by name, and then no reason is named.
#[test]
fn a_backend_is_asked_for() {
    const TEST: &str = "support::a_backend_is_asked_for";
    let Some(part) = current_part() else {
        for backend in all_backends() {
            let name = backend.to_string();
            play_with(TEST, &name, Some(name.as_bytes()));
        }
        return;
    };
    let found = support().unwrap();
    assert_eq!(found.backend().to_string(), part);
    assert_eq!(found.missing(), None);
    assert!(found.to_string().contains(VARIABLE), "{found}");
    assert_eq!(backends_of_new_handles(), [found.backend(); 3]);
    for backend in all_backends() {
        let handle = PidHandle::open_with(1, backend).unwrap();
        assert_eq!(handle.backend(), backend, "asked for by name");
    }
}

/// Any other value: `InvalidInput`, naming the value and the two that are right. What needs no
/// answer, or asks for a backend by name, works all the same.
#[test]
fn nonsense_is_asked_for() {
    const TEST: &str = "support::nonsense_is_asked_for";
    let Some(part) = current_part() else {
        for value in ["nonsense", "PIDFD", "pidfd ", " ", "0"] {
            play_with(TEST, value, Some(value.as_bytes()));
        }
        return play_with(TEST, "\\xFF", Some(b"\xff"));
    };
    let says_so = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        for word in [&*part, VARIABLE, "\"pidfd\"", "\"waitpid\""] {
            assert!(text.contains(word), "{text:?} lacks {word}");
        }
    };
    for _ in 0..2 {
        says_so(support().unwrap_err());
    }
    says_so(PidHandle::open(1).unwrap_err());
    for backend in all_backends() {
        assert_eq!(PidHandle::open_with(1, backend).unwrap().backend(), backend);
    }
    let handle = PidHandle::from(sh("exit 3"));
    assert_eq!(handle.backend(), Backend::Waitpid);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    let mut child = sh("exit 3");
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(3));
    assert_eq!(errno(child.pidfd_wait()), libc::ECHILD);
}

/// The probe leaks no descriptor, and reaps nothing though there is something to reap.
#[test]
fn the_probe_leaves_nothing_behind() {
    if !enter("support::the_probe_leaves_nothing_behind") {
        return;
    }
    let mut dead = zombie("exit 3");
    let before = open_descriptors();
    let first = support().unwrap();
    assert_eq!(support().unwrap(), first);
    all_backends();
    assert_eq!(open_descriptors(), before);
    assert_eq!(dead.wait().unwrap().code(), Some(3));
}

#[test]
fn already_reaped_is_one_error() {
    assert!(is_already_reaped(&Error::from_raw_os_error(libc::ECHILD)));
    for other in [libc::ESRCH, libc::EINVAL, libc::EPERM] {
        assert!(!is_already_reaped(&Error::from_raw_os_error(other)));
    }
    assert!(!is_already_reaped(&Error::from(ErrorKind::NotFound)));
}

/// Section 1: `Send + Sync`, and every public type is `Debug`. Section 5: a handle's size.
#[test]
fn the_types() {
    fn is_shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let handle = PidHandle::open(1).unwrap();
    is_shared(&handle);
    is_shared(&handle.backend());
    let found = support().unwrap();
    is_shared(&found);
    is_shared(&found.missing());
    assert!(std::mem::size_of::<PidHandle>() <= 32);
}
