//! Random calls of handles to our own children.

use std::fmt::Debug;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::libc::{self, c_int};
use pidwait::{PidHandle, ProcessGroup, Spawned, WaitSet};
use proptest::prelude::*;

use crate::common::{readable, shell};
use crate::{
    assert_errno, assert_not_early, assert_reaped_once, backend, config, duration, instant,
    is_signal, kill, short, signal,
};

#[derive(Clone, Debug)]
enum Call {
    TryWait,
    WaitTimeout(Duration),
    WaitDeadline(Duration, bool),
    HasExited,
    WaitExitedTimeout(Duration),
    ExitStatus,
    ExitFd,
    Signal(c_int),
    SignalGroup(c_int),
    /// Keeps the group, and with it the zombie, until the next call that drops it.
    KeepGroup,
    DropGroup,
    SignalKeptGroup(c_int),
    Clone,
    Identity,
    Release,
    End(Ending),
}

/// Calls that may block until the child exits, so it is killed first.
#[derive(Clone, Debug)]
enum Ending {
    Wait,
    WaitUsage,
    WaitShared,
    WaitTimeout(Duration),
    WaitDeadline(Duration),
    WaitExited,
    WaitExitedTimeout(Duration),
    Terminate(Duration),
    TerminateUnreaped(Duration),
    TerminateKeptGroup(Duration),
    Set(Duration),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::TryWait),
        short().prop_map(Call::WaitTimeout),
        duration().prop_map(|ago| Call::WaitDeadline(ago, true)),
        short().prop_map(|timeout| Call::WaitDeadline(timeout, false)),
        Just(Call::HasExited),
        short().prop_map(Call::WaitExitedTimeout),
        Just(Call::ExitStatus),
        Just(Call::ExitFd),
        signal().prop_map(Call::Signal),
        signal().prop_map(Call::SignalGroup),
        Just(Call::KeepGroup),
        Just(Call::DropGroup),
        signal().prop_map(Call::SignalKeptGroup),
        Just(Call::Clone),
        Just(Call::Identity),
        Just(Call::Release),
        ending().prop_map(Call::End),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Wait),
        Just(Ending::WaitUsage),
        Just(Ending::WaitShared),
        duration().prop_map(Ending::WaitTimeout),
        duration().prop_map(Ending::WaitDeadline),
        Just(Ending::WaitExited),
        duration().prop_map(Ending::WaitExitedTimeout),
        duration().prop_map(Ending::Terminate),
        duration().prop_map(Ending::TerminateUnreaped),
        duration().prop_map(Ending::TerminateKeptGroup),
        duration().prop_map(Ending::Set),
    ]
}

/// A handle, and the state that the contract requires it to be in.
struct TestHandle {
    handle: PidHandle,
    group: Option<ProcessGroup>,
    state: State,
    /// Of the zombie, or from a group's call.
    status: Option<ExitStatus>,
    /// A call has returned the status, so the zombie is reaped once no group keeps it.
    is_returned: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// Running or a zombie.
    Live,
    Done(ExitStatus),
    Released,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_calls_of_a_handle_follow_the_contract(
        backend in backend(),
        made in 0..3,
        calls in prop::collection::vec(call(), 1..12),
    ) {
        let mut command = shell("exec sleep 600");
        command.process_group(0);
        let handle = match made {
            0 => PidHandle::spawn(&mut command).expect("sh starts").handle,
            1 => Spawned::from(command.spawn().expect("sh starts")).handle,
            _ => {
                let child = command.spawn().expect("sh starts");
                PidHandle::open_with(child.id(), backend).expect("a child of ours")
            }
        };
        let pid = handle.id();
        let mut handle = TestHandle {
            handle,
            group: None,
            state: State::Live,
            status: None,
            is_returned: false,
        };
        for call in calls {
            handle.apply(call);
        }
        handle.group = None;
        assert_reaped_once(pid, handle.is_returned);
    }
}

impl TestHandle {
    fn apply(&mut self, call: Call) {
        let handle = &self.handle;
        match call {
            Call::TryWait => self.record(handle.try_wait()),
            Call::WaitTimeout(timeout) => self.record(handle.wait_timeout(timeout)),
            Call::WaitDeadline(offset, past) => {
                self.record(handle.wait_deadline(instant(offset, past)))
            }
            Call::HasExited => drop(self.check_exited(handle.has_exited())),
            Call::WaitExitedTimeout(timeout) => {
                self.check_exited(handle.wait_exited_timeout(timeout));
            }
            Call::ExitStatus => {
                let status = handle.exit_status();
                match self.state {
                    State::Done(expected) => assert_eq!(status, Some(expected)),
                    State::Live if status.is_none() => {}
                    State::Live => {
                        assert!(handle.has_exited().expect("it is live"), "{status:?}");
                        self.check_status(status);
                    }
                    State::Released if self.is_returned => assert_eq!(status, self.status),
                    State::Released => assert_eq!(status, None),
                }
            }
            Call::ExitFd => match self.state {
                State::Done(_) => assert!(readable(&handle.exit_fd().expect("done"), 0)),
                State::Live | State::Released => drop(self.check(handle.exit_fd())),
            },
            Call::Signal(signal) => self.check_signal(signal, handle.signal(signal)),
            Call::SignalGroup(signal) => {
                if let Some(group) = self.check_group(handle.process_group()) {
                    check_group_signal(&group, signal);
                }
            }
            Call::KeepGroup => {
                let group = self.check_group(handle.process_group());
                self.group = self.group.take().or(group);
            }
            Call::DropGroup => self.group = None,
            Call::SignalKeptGroup(signal) => {
                if let Some(group) = &self.group {
                    check_group_signal(group, signal);
                }
            }
            // The one before is dropped.
            Call::Clone => self.handle = handle.clone(),
            Call::Identity => {
                if let Some(identity) = self.check(handle.identity()) {
                    assert_eq!(identity.to_string().parse(), Ok(identity));
                }
            }
            Call::Release => {
                handle.release().expect("release");
                if let State::Live = self.state {
                    self.state = State::Released;
                }
            }
            Call::End(ending) => self.end(ending),
        }
    }

    fn end(&mut self, ending: Ending) {
        if let State::Live = self.state {
            kill(self.handle.id());
        }
        let handle = &self.handle;
        match ending {
            Ending::Wait => self.record(handle.wait().map(Some)),
            Ending::WaitUsage => self.record(handle.wait_usage().map(|(status, _)| Some(status))),
            Ending::WaitShared => {
                let shared = handle.wait_shared();
                if self.is_returned {
                    assert_eq!(shared.ok(), self.status);
                } else {
                    self.record(shared.map(Some));
                }
            }
            Ending::WaitTimeout(timeout) => {
                let start = Instant::now();
                let result = handle.wait_timeout(timeout);
                if let Ok(result) = &result {
                    assert_not_early(result, start, timeout);
                }
                self.record(result);
            }
            Ending::WaitDeadline(offset) => {
                self.record(handle.wait_deadline(instant(offset, false)))
            }
            Ending::WaitExited => drop(self.check_exited(handle.wait_exited().map(|()| true))),
            Ending::WaitExitedTimeout(timeout) => {
                let start = Instant::now();
                if let Some(exited) = self.check_exited(handle.wait_exited_timeout(timeout)) {
                    assert_not_early(&exited.then_some(()), start, timeout);
                }
            }
            Ending::Terminate(grace) => {
                let terminated = handle.terminate(grace);
                match self.state {
                    State::Done(status) => assert_eq!(terminated.expect("it is known"), status),
                    State::Live | State::Released => self.record(terminated.map(Some)),
                }
            }
            Ending::TerminateUnreaped(grace) => {
                let terminated = handle.terminate_unreaped(grace);
                match self.state {
                    State::Done(_) => terminated.expect("it has exited"),
                    State::Live | State::Released => drop(self.check(terminated)),
                }
            }
            Ending::TerminateKeptGroup(grace) => {
                if let Some(group) = &self.group {
                    let status = group.terminate(grace).expect("the group keeps its leader");
                    self.check_status(Some(status));
                    self.is_returned = true;
                    if let State::Live = self.state {
                        self.state = State::Done(status);
                    }
                }
            }
            Ending::Set(timeout) => self.wait_in_a_set(timeout),
        }
    }

    fn wait_in_a_set(&mut self, timeout: Duration) {
        let placeholder = PidHandle::open(i32::MAX.unsigned_abs()).expect("a done handle");
        let handle = std::mem::replace(&mut self.handle, placeholder);
        let mut set = WaitSet::new().expect("a set");
        match set.insert(handle, ()) {
            Err(rejected) => {
                self.handle = rejected.handle;
                self.check::<()>(Err(rejected.error));
            }
            Ok(key) => {
                self.check(Ok(())).expect("only live handles are accepted");
                match set.wait_timeout(timeout).expect("epoll waits") {
                    Some(exited) => {
                        self.handle = exited.handle;
                        self.record(Ok(exited.status));
                    }
                    None => self.handle = set.remove(key).expect("it is a member").0,
                }
            }
        }
        assert!(set.is_empty());
    }

    /// The value of a call on a live handle. In any other state the call must fail with its errno.
    #[track_caller]
    fn check<T: Debug>(&self, result: io::Result<T>) -> Option<T> {
        match self.state {
            State::Live => return Some(result.expect("it is live")),
            State::Done(_) => assert_errno(result, libc::ECHILD),
            State::Released => assert_errno(result, libc::EINVAL),
        }
        None
    }

    #[track_caller]
    fn record(&mut self, result: io::Result<Option<ExitStatus>>) {
        if let Some(Some(status)) = self.check(result) {
            self.check_status(Some(status));
            self.state = State::Done(status);
            self.is_returned = true;
        }
    }

    /// All statuses are the same.
    #[track_caller]
    fn check_status(&mut self, status: Option<ExitStatus>) {
        assert!(self.status.is_none() || self.status == status, "{status:?}");
        self.status = status;
    }

    /// The group of a live handle, or of a done one that a group keeps.
    #[track_caller]
    fn check_group(&self, result: io::Result<ProcessGroup>) -> Option<ProcessGroup> {
        match self.state {
            State::Done(_) if self.group.is_some() => Some(result.expect("it is kept")),
            State::Live | State::Done(_) | State::Released => self.check(result),
        }
    }

    #[track_caller]
    fn check_exited(&self, result: io::Result<bool>) -> Option<bool> {
        match self.state {
            State::Done(_) => {
                assert!(result.expect("done"));
                None
            }
            State::Live | State::Released => self.check(result),
        }
    }

    #[track_caller]
    fn check_signal(&self, signal: c_int, result: io::Result<()>) {
        match self.state {
            State::Live if !is_signal(signal) => assert_errno(result, libc::EINVAL),
            _ => drop(self.check(result)),
        }
    }
}

#[track_caller]
fn check_group_signal(group: &ProcessGroup, signal: c_int) {
    match group.signal(signal) {
        Ok(()) => assert!(is_signal(signal)),
        result => {
            assert!(!is_signal(signal), "{result:?}");
            assert_errno(result, libc::EINVAL);
        }
    }
}
