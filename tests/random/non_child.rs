//! Random calls of handles to random PIDs, in a process without children.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::time::Duration;

use nix::libc;
use pidwait::{Backend, PidHandle};
use proptest::prelude::*;

use crate::common::{self, isolated};
use crate::{backend, config, duration, instant, pid, short};

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
    /// Always signal 0, because the process may be any. Real signals are tested on our own children.
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
        (duration(), any::<bool>()).prop_map(|(offset, past)| Call::WaitDeadline(offset, past)),
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
fn any_calls_for_any_pid_follow_the_contract() {
    if !isolated::enter("non_child::any_calls_for_any_pid_follow_the_contract") {
        return; // Otherwise a random PID could be another test's child.
    }
    proptest!(config(), |(
        pid in pid(),
        backend in backend(),
        calls in prop::collection::vec(call(), 1..12),
    )| {
        let handle = match PidHandle::open_with(pid, backend) {
            Ok(handle) => handle,
            Err(error) => {
                let valid = (1..=i32::MAX.unsigned_abs()).contains(&pid);
                let thread_id = backend == Backend::Pidfd && error.raw_os_error() == Some(libc::EINVAL);
                // Rejected without a system call, hence without an errno.
                let invalid_input = error.kind() == ErrorKind::InvalidInput && error.raw_os_error().is_none();
                prop_assert!(if valid { thread_id } else { invalid_input }, "{error:?}");
                return Ok(());
            }
        };
        prop_assert_eq!((handle.id(), handle.backend()), (pid, backend));
        let mut released = false;
        for call in calls {
            apply(&handle, call, &mut released);
        }
    });
}

fn apply(handle: &PidHandle, call: Call, released: &mut bool) {
    // A handle that was done before `release` keeps returning ECHILD, and only the handle has that
    // state.
    let final_state: &[_] = match released {
        true => &[libc::ECHILD, libc::EINVAL],
        false => &[libc::ECHILD],
    };
    match call {
        Call::Wait => assert_fails(handle.wait(), final_state),
        Call::TryWait => assert_fails(handle.try_wait(), final_state),
        Call::WaitUsage => assert_fails(handle.wait_usage(), final_state),
        Call::WaitTimeout(timeout) => assert_fails(handle.wait_timeout(timeout), final_state),
        Call::WaitDeadline(offset, past) => {
            assert_fails(handle.wait_deadline(instant(offset, past)), final_state)
        }
        Call::HasExited => assert_ok_or(handle.has_exited(), &final_state[1..]),
        Call::WaitExitedTimeout(timeout) => {
            assert_ok_or(handle.wait_exited_timeout(timeout), &final_state[1..])
        }
        Call::ExitStatus => drop(handle.exit_status()),
        Call::ExitFd => assert_ok_or(handle.exit_fd(), &final_state[1..]),
        Call::Signal => assert_ok_or(handle.signal(0), &[final_state, &[libc::EPERM]].concat()),
        Call::SignalGroup => {
            let signalled = handle.process_group().and_then(|group| group.signal(0));
            match signalled {
                Err(error) if error.raw_os_error().is_none() => {
                    assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    assert!(
                        error.to_string().contains("leads no process group"),
                        "{error}"
                    );
                }
                signalled => assert_ok_or(signalled, &[final_state, &[libc::EPERM]].concat()),
            }
        }
        Call::Release => {
            handle.release().expect("release");
            *released = true;
        }
    }
}

/// Asserts that the call fails with one of these errors: no process here has a status for us.
#[track_caller]
fn assert_fails<T: Debug>(result: io::Result<T>, errors: &[i32]) {
    let errno = common::errno(result);
    assert!(errors.contains(&errno), "errno {errno}");
}

/// Asserts that the call succeeds or fails with one of these errors.
#[track_caller]
fn assert_ok_or<T: Debug>(result: io::Result<T>, errors: &[i32]) {
    if result.is_err() {
        assert_fails(result, errors);
    }
}
