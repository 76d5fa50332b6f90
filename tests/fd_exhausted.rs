//! Out of descriptors, for a while. A binary of its own, and a process for each test in it: there
//! is one table of descriptors for all threads, and one probe.

mod common;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;

use common::isolated::{current_part, run_isolated};
use common::smoke::check_core_calls;
use common::{errno, limit_descriptors, pidfds_supported, sleeper, zombie};
use nix::libc::{ECHILD, EMFILE, SIGKILL};
use pidwait::{support, Backend, ChildExt, PidHandle};

/// Plays a test by itself, on a system that has pidfds and is asked for none in particular.
/// False where there is nothing to play, or it has been played.
fn played_here(test: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    if pidfds_supported() {
        run_isolated(test, "alone", |command| {
            command.env_remove("PIDWAIT_BACKEND");
        });
    }
    false
}

/// Takes up every descriptor that there is, until it is dropped.
fn exhaust() -> Vec<File> {
    limit_descriptors(64);
    let null = File::open("/dev/null").expect("/dev/null");
    let mut taken = vec![null];
    while let Ok(one_more) = taken[0].try_clone() {
        taken.push(one_more);
    }
    taken
}

/// Row: a passing error is not kept. The first probe fails, and `support` and `open` say why; once
/// there are descriptors again it is pidfds, for good. Go keeps the first answer.
#[test]
fn at_the_first_probe() {
    if !played_here("at_the_first_probe") {
        return;
    }
    let child = sleeper();
    let taken = exhaust();
    for _ in 0..2 {
        assert_eq!(errno(support()), EMFILE);
        assert_eq!(errno(PidHandle::open(child.id())), EMFILE);
        let asked_for = PidHandle::open_with(child.id(), Backend::Pidfd);
        assert_eq!(errno(asked_for), EMFILE);
    }
    drop(taken);
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    assert_eq!(support().unwrap().missing(), None);
    check_core_calls(Backend::Pidfd);

    // The answer is there now, and stays though the want comes back.
    let _taken = exhaust();
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    assert_eq!(errno(PidHandle::open(child.id())), EMFILE);
}

/// Demanded is not the same as there: EMFILE as well, and no `Unsupported`, which would last.
#[test]
fn at_the_first_probe_that_demands() {
    const TEST: &str = "at_the_first_probe_that_demands";
    if current_part().is_none() {
        if pidfds_supported() {
            run_isolated(TEST, "alone", |command| {
                command.env("PIDWAIT_BACKEND", "pidfd");
            });
        }
        return;
    }
    let taken = exhaust();
    assert_eq!(errno(support()), EMFILE);
    drop(taken);
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
}

/// Row: `From<Child>` under EMFILE never fails: that one handle goes by pid, before the probe as
/// after it. `ChildExt` falls back, too.
#[test]
fn of_ones_own_children() {
    if !played_here("of_ones_own_children") {
        return;
    }
    let with_exhausted = || {
        let (running, mut waited) = (sleeper(), sleeper());
        let (dead, mut dead_too) = (zombie("exit 3"), zombie("exit 3"));
        let mut finished = zombie("exit 3");
        finished.wait().unwrap();
        let _taken = exhaust();

        let handle = PidHandle::from(running);
        assert_eq!(handle.backend(), Backend::Waitpid);
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(errno(handle.wait()), ECHILD);

        let handle = PidHandle::from(dead);
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert_eq!(errno(PidHandle::from(finished).wait()), ECHILD);

        assert_eq!(waited.pidfd_try_wait().unwrap(), None);
        waited.pidfd_signal(SIGKILL).unwrap();
        assert_eq!(waited.pidfd_wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(dead_too.pidfd_wait().unwrap().code(), Some(3));
        for mut child in [waited, dead_too] {
            assert_eq!(errno(child.pidfd_wait()), ECHILD);
            assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
        }
    };
    with_exhausted();
    check_core_calls(Backend::Pidfd);
    with_exhausted();
    check_core_calls(Backend::Pidfd);
}

/// By pid no descriptor is needed at all.
#[test]
fn by_pid() {
    if !played_here("by_pid") {
        return;
    }
    let child = sleeper();
    let _taken = exhaust();
    let handle = PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    assert_eq!(handle.try_wait().unwrap(), None);
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}
