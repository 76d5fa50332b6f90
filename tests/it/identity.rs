//! `Identity`: its text, and the process that it names.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::{parent_id, ExitStatusExt};

use crate::common::isolated::{current_part, enter_with_each_backend, run_isolated};
use crate::common::{backends, errno, exists, is_root, reap_externally, skip, sleeper, zombie};
use nix::libc::{ECHILD, SIGKILL};
use pidwait::{Identity, ParseIdentityError, PidHandle};

const OTHER_BOOT: &str = "0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11";

fn parse(text: &str) -> Result<Identity, ParseIdentityError> {
    text.parse()
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc");
    text.trim().to_owned()
}

/// The start time in clock ticks, field 22, of a program without spaces in its name.
fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it exists");
    let field = stat.split(' ').nth(21).expect("a start time");
    field.parse().expect("a number")
}

#[test]
fn identity_is_pid_start_time_and_boot_id() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let identity = handle.identity().unwrap();
        let (pid, start, boot) = (child.id(), start_time(child.id()), boot_id());
        assert_eq!(identity.pid(), pid);
        assert_eq!(identity.to_string(), format!("{pid}:{start}:{boot}"));
        assert_eq!(parse(&identity.to_string()), Ok(identity));
    }
}

/// By any handle, of any backend, at any time of its life.
#[test]
fn identity_of_a_process_stays_the_same() {
    for opened in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), opened).unwrap();
        let mut identities = HashSet::from([handle.identity().unwrap()]);
        for backend in backends() {
            let again = PidHandle::open_with(child.id(), backend).unwrap();
            identities.insert(again.identity().unwrap());
        }
        handle.kill().unwrap();
        handle.wait_exited().unwrap();
        identities.insert(handle.identity().unwrap());
        assert_eq!(identities.len(), 1, "{identities:?}");
        handle.wait().unwrap();
        assert_eq!(errno(handle.identity()), ECHILD);
    }
}

/// One that may not be signalled has an identity, too.
#[test]
fn identity_of_a_process_of_another_user() {
    if is_root() {
        const TEST: &str = "identity::identity_of_a_process_of_another_user";
        if current_part().is_none() {
            return run_isolated(TEST, "alone", |_| {});
        }
        crate::common::drop_privileges();
    }
    for backend in backends() {
        let init = PidHandle::open_with(1, backend).unwrap();
        match init.signal(0) {
            Ok(()) => skip("process 1 belongs to this user"),
            Err(_) => assert_eq!(init.identity().unwrap().pid(), 1),
        }
    }
}

#[test]
fn open_identity_opens_that_very_process() {
    if !enter_with_each_backend("identity::open_identity_opens_that_very_process") {
        return;
    }
    let child = sleeper();
    let opened = PidHandle::open(child.id()).unwrap();
    let identity = opened.identity().unwrap();
    drop(opened);
    let again = PidHandle::open_identity(&identity).unwrap();
    assert_eq!(again.id(), child.id());
    assert_eq!(again.backend(), backends()[0]);
    assert_eq!(again.identity().unwrap(), identity);
    again.kill().unwrap();
    assert_eq!(again.wait().unwrap().signal(), Some(SIGKILL));

    let parent = PidHandle::open(parent_id()).unwrap().identity().unwrap();
    let parent = PidHandle::open_identity(&parent).unwrap();
    assert!(!parent.has_exited().unwrap());
    assert_eq!(errno(parent.wait()), ECHILD, "a non-child");
}

/// Gone, another start time, another boot: every call fails with ECHILD, and nothing is signalled.
#[test]
fn open_identity_of_another_process_returns_a_done_handle() {
    const TEST: &str = "identity::open_identity_of_another_process_returns_a_done_handle";
    if !enter_with_each_backend(TEST) {
        return;
    }
    let child = sleeper();
    let (pid, start, boot) = (child.id(), start_time(child.id()), boot_id());
    let gone = zombie("exit 3");
    let gone_identity = PidHandle::open(gone.id()).unwrap().identity().unwrap();
    reap_externally(gone.id());
    let texts = [
        gone_identity.to_string(),
        format!("{pid}:{}:{boot}", start + 1),
        format!("{pid}:{}:{boot}", start - 1),
        format!("{pid}:{}:{boot}", u64::MAX),
        format!("{pid}:{start}:{OTHER_BOOT}"),
        format!("{}:{start}:{boot}", i32::MAX),
        format!("{}:{start}:{OTHER_BOOT}", i32::MAX),
    ];
    for text in texts {
        let identity = parse(&text).unwrap();
        let handle = PidHandle::open_identity(&identity).unwrap();
        assert_eq!(handle.id(), identity.pid());
        assert_eq!(handle.backend(), backends()[0]);
        assert!(format!("{handle:?}").contains("done"), "{text}");
        assert_eq!(errno(handle.signal(SIGKILL)), ECHILD, "{text}");
        assert_eq!(errno(handle.kill()), ECHILD);
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(errno(handle.identity()), ECHILD);
        assert!(handle.has_exited().unwrap());
        assert_eq!(handle.exit_status(), None);
    }
    let handle = PidHandle::open(pid).unwrap();
    assert_eq!(handle.try_wait().unwrap(), None, "it is untouched");
    assert!(exists(pid));
}
