//! Random calls of `ChildExt`, mixed with std's own methods.

use std::fmt::Debug;
use std::io;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::libc::{self, c_int};
use pidwait::ChildExt;
use proptest::prelude::*;

use crate::common::shell;
use crate::{
    assert_errno, assert_reaped_once, config, duration, instant, is_signal, kill, short, signal,
};

#[derive(Clone, Debug)]
enum Call {
    TryWait,
    WaitTimeout(Duration),
    WaitDeadline(Duration, bool),
    Signal(c_int),
    StdTryWait,
    StdKill,
    End(Ending),
}

/// Calls that may block until the child exits, so it is killed first.
#[derive(Clone, Debug)]
enum Ending {
    Wait,
    WaitTimeout(Duration),
    WaitDeadline(Duration),
    Terminate(Duration),
    StdWait,
}

/// The last call of a sequence: it consumes the child.
#[derive(Clone, Debug)]
enum Last {
    Drop,
    Release,
    Output(Duration),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::TryWait),
        short().prop_map(Call::WaitTimeout),
        duration().prop_map(|ago| Call::WaitDeadline(ago, true)),
        short().prop_map(|timeout| Call::WaitDeadline(timeout, false)),
        signal().prop_map(Call::Signal),
        Just(Call::StdTryWait),
        Just(Call::StdKill),
        ending().prop_map(Call::End),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Wait),
        duration().prop_map(Ending::WaitTimeout),
        duration().prop_map(Ending::WaitDeadline),
        duration().prop_map(Ending::Terminate),
        Just(Ending::StdWait),
    ]
}

fn last() -> impl Strategy<Value = Last> {
    prop_oneof![
        Just(Last::Drop),
        Just(Last::Release),
        duration().prop_map(Last::Output)
    ]
}

/// A child, and the status that a call of ours or of std has returned.
struct TestChild {
    child: Child,
    status: Option<ExitStatus>,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_calls_of_a_child_follow_the_contract(calls in prop::collection::vec(call(), 1..8), last in last()) {
        let mut command = shell("exec sleep 600");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().expect("sh starts");
        let pid = child.id();
        let mut child = TestChild { child, status: None };
        for call in calls {
            child.apply(call);
        }
        assert_reaped_once(pid, child.finish(last));
    }
}

impl TestChild {
    fn apply(&mut self, call: Call) {
        let child = &mut self.child;
        let result = match call {
            Call::TryWait => child.pidfd_try_wait(),
            Call::WaitTimeout(timeout) => child.pidfd_wait_timeout(timeout),
            Call::WaitDeadline(offset, past) => child.pidfd_wait_deadline(instant(offset, past)),
            Call::Signal(signal) => {
                let result = child.pidfd_signal(signal);
                return match self.status {
                    None if !is_signal(signal) => assert_errno(result, libc::EINVAL),
                    _ => drop(self.check(result)),
                };
            }
            Call::StdTryWait => {
                let result = child.try_wait();
                return self.record_std(result);
            }
            Call::StdKill => return child.kill().expect("std's kill succeeds, reaped or not"),
            Call::End(ending) => return self.end(ending),
        };
        self.record(result);
    }

    fn end(&mut self, ending: Ending) {
        if self.status.is_none() {
            kill(self.child.id());
        }
        let child = &mut self.child;
        let result = match ending {
            Ending::Wait => child.pidfd_wait().map(Some),
            Ending::WaitTimeout(timeout) => child.pidfd_wait_timeout(timeout),
            Ending::WaitDeadline(offset) => child.pidfd_wait_deadline(instant(offset, false)),
            Ending::Terminate(grace) => child.pidfd_terminate(grace).map(Some),
            Ending::StdWait => {
                let result = child.wait();
                return self.record_std(result.map(Some));
            }
        };
        self.record(result);
    }

    /// Makes the last call, and returns whether the child is reaped after it.
    fn finish(mut self, last: Last) -> bool {
        let timeout = match last {
            Last::Drop => return self.status.is_some(),
            Last::Release => {
                self.child.pidfd_release().expect("release");
                return self.status.is_some();
            }
            Last::Output(timeout) => timeout,
        };
        if self.status.is_none() {
            kill(self.child.id());
        }
        let status = self.status;
        match (self.child.pidfd_output_timeout(timeout), status) {
            (Ok(captured), None) if captured.status.is_some() => true,
            (Ok(captured), None) => {
                assert!(captured.stopped_by.is_some());
                self.end(Ending::Wait);
                self.status.is_some()
            }
            // std has the status.
            (Ok(captured), Some(_)) => {
                assert_eq!(captured.status, status);
                true
            }
            (Err(error), _) => panic!("{error:?}"),
        }
    }

    /// The value of a call that succeeded. After a status was returned, the call must fail with ECHILD.
    #[track_caller]
    fn check<T: Debug>(&self, result: io::Result<T>) -> Option<T> {
        match self.status {
            None => Some(result.expect("its status was not returned yet")),
            Some(_) => {
                assert_errno(result, libc::ECHILD);
                None
            }
        }
    }

    #[track_caller]
    fn record(&mut self, result: io::Result<Option<ExitStatus>>) {
        if let Some(status) = self.check(result) {
            self.status = status;
        }
    }

    /// std's status must be the first one, or the same as before.
    #[track_caller]
    fn record_std(&mut self, result: io::Result<Option<ExitStatus>>) {
        let status = result.expect("std has the status or can reap the child");
        assert!(self.status.is_none() || self.status == status, "{status:?}");
        self.status = status;
    }
}
