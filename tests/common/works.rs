//! The calls that a program lives on, in short, for circumstances in which they might not work.

use std::os::unix::process::ExitStatusExt;

use nix::libc::{ECHILD, EINVAL, SIGTERM};
use pidwait::{Backend, ChildExt, PidHandle};

use super::{errno, sh, sleeper, zombie};

/// Handles and `ChildExt` give their answers, and handles by the backend that there is.
pub(crate) fn everything_works(backend: Backend) {
    let child = sleeper();
    works(backend, &PidHandle::open(child.id()).expect("it is there"));
    works(backend, &PidHandle::from(sleeper()));

    let kept = PidHandle::from(zombie("exit 3"));
    kept.signal(SIGTERM)
        .expect("a zombie, as far as one can tell");
    assert_eq!(kept.wait().expect("kept").code(), Some(3));
    assert_eq!(errno(kept.wait()), ECHILD);

    let mut child = sleeper();
    assert_eq!(child.pidfd_try_wait().expect("it runs"), None);
    child.pidfd_signal(0).expect("it runs");
    child.pidfd_signal(SIGTERM).expect("it runs");
    let status = child.pidfd_wait().expect("its status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(child.wait().expect("std's"), status);
    assert_eq!(errno(child.pidfd_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
    assert_eq!(
        sh("exit 4").pidfd_wait().expect("its status").code(),
        Some(4)
    );
}

/// The life of one handle, of a child that runs.
fn works(backend: Backend, handle: &PidHandle) {
    assert_eq!(handle.backend(), backend);
    assert_eq!(handle.try_wait().expect("it runs"), None);
    handle.signal(0).expect("it runs");
    handle.signal(SIGTERM).expect("it runs");
    let status = handle.wait().expect("its status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(handle.exit_status(), Some(status));
    assert_eq!(errno(handle.wait()), ECHILD);
    assert_eq!(errno(handle.signal(0)), ECHILD);
    handle.release().expect("always");

    let other = PidHandle::open(std::process::id()).expect("it is there");
    other.release().expect("always");
    assert_eq!(errno(other.signal(0)), EINVAL);
}
