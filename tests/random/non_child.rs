//! Handles of pids that come from anywhere, in a process that has no children.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::time::Duration;

use nix::libc;
use pidwait::{Backend, PidHandle};
use proptest::prelude::*;

use crate::common::{self, isolated};
use crate::{backend, config, duration, moment, pid, short};

#[derive(Clone, Debug)]
enum Call {
    Wait,
    TryWait,
    WaitUsage,
    WaitTimeout(Duration),
    WaitDeadline(Duration, bool),
    HasExited,
    WaitExitedTimeout(Duration),
    ExitStatus,
    ExitFd,
    /// With signal 0: whoever that is, nothing reaches them. Which signals there are is tried on
    /// our own children.
    Signal,
    SignalGroup,
    Release,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::Wait),
        Just(Call::TryWait),
        Just(Call::WaitUsage),
        duration().prop_map(Call::WaitTimeout),
        (duration(), any::<bool>()).prop_map(|(by, past)| Call::WaitDeadline(by, past)),
        Just(Call::HasExited),
        short().prop_map(Call::WaitExitedTimeout),
        Just(Call::ExitStatus),
        Just(Call::ExitFd),
        Just(Call::Signal),
        Just(Call::SignalGroup),
        Just(Call::Release),
    ]
}

#[test]
fn non_children() {
    if !isolated::enter("non_child::non_children") {
        return; // A pid could be that of another test's child.
    }
    proptest!(config(), |(
        pid in pid(),
        backend in backend(),
        calls in prop::collection::vec(call(), 1..12),
    )| {
        let handle = match PidHandle::open_with(pid, backend) {
            Ok(handle) => handle,
            Err(error) => {
                let is_pid = (1..=i32::MAX.unsigned_abs()).contains(&pid);
                let thread = backend == Backend::Pidfd && error.raw_os_error() == Some(libc::EINVAL);
                // The kernel was not even asked.
                let no_pid = error.kind() == ErrorKind::InvalidInput && error.raw_os_error().is_none();
                prop_assert!(if is_pid { thread } else { no_pid }, "{error:?}");
                return Ok(());
            }
        };
        prop_assert_eq!((handle.id(), handle.backend()), (pid, backend));
        let mut released = false;
        for call in calls {
            act(&handle, call, &mut released);
        }
    });
}

fn act(handle: &PidHandle, call: Call, released: &mut bool) {
    // Of a handle that was done before, nobody but the handle knows.
    let over: &[_] = match released {
        true => &[libc::ECHILD, libc::EINVAL],
        false => &[libc::ECHILD],
    };
    match call {
        Call::Wait => never(handle.wait(), over),
        Call::TryWait => never(handle.try_wait(), over),
        Call::WaitUsage => never(handle.wait_usage(), over),
        Call::WaitTimeout(limit) => never(handle.wait_timeout(limit), over),
        Call::WaitDeadline(by, past) => never(handle.wait_deadline(moment(by, past)), over),
        Call::HasExited => unless(handle.has_exited(), &over[1..]),
        Call::WaitExitedTimeout(limit) => unless(handle.wait_exited_timeout(limit), &over[1..]),
        Call::ExitStatus => drop(handle.exit_status()),
        Call::ExitFd => unless(handle.exit_fd(), over),
        Call::Signal => unless(handle.signal(0), &[over, &[libc::EPERM]].concat()),
        Call::SignalGroup => {
            let no_leader = [libc::EPERM, libc::EINVAL];
            unless(handle.signal_group(0), &[over, &no_leader].concat());
        }
        Call::Release => {
            handle.release().expect("release");
            *released = true;
        }
    }
}

/// Nobody's status is ours.
#[track_caller]
fn never<T: Debug>(answer: io::Result<T>, errors: &[i32]) {
    let errno = common::errno(answer);
    assert!(errors.contains(&errno), "errno {errno}");
}

#[track_caller]
fn unless<T: Debug>(answer: io::Result<T>, errors: &[i32]) {
    if answer.is_err() {
        never(answer, errors);
    }
}
