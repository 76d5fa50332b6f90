//! `ChildExt`, and std's own methods in between.

use std::fmt::Debug;
use std::io;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::libc::{self, c_int};
use pidwait::{Captured, ChildExt};
use proptest::prelude::*;

use crate::common::shell;
use crate::{account, config, duration, is_signal, kill, moment, refused, short, signal};

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

/// Calls that may block for as long as it lives: it is killed before.
#[derive(Clone, Debug)]
enum Ending {
    Wait,
    WaitTimeout(Duration),
    WaitDeadline(Duration),
    Terminate(Duration),
    StdWait,
}

/// The last of all, for it takes the child along.
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
        short().prop_map(|limit| Call::WaitDeadline(limit, false)),
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

/// A child, and the status that it has given to us or to std.
struct Own {
    child: Child,
    status: Option<ExitStatus>,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn children(calls in prop::collection::vec(call(), 1..8), last in last()) {
        let mut command = shell("exec sleep 600");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().expect("sh starts");
        let pid = child.id();
        let mut own = Own { child, status: None };
        for call in calls {
            own.act(call);
        }
        account(pid, own.finish(last));
    }
}

impl Own {
    fn act(&mut self, call: Call) {
        let child = &mut self.child;
        let answer = match call {
            Call::TryWait => child.pidfd_try_wait(),
            Call::WaitTimeout(limit) => child.pidfd_wait_timeout(limit),
            Call::WaitDeadline(by, past) => child.pidfd_wait_deadline(moment(by, past)),
            Call::Signal(signal) => {
                let answer = child.pidfd_signal(signal);
                return match self.status {
                    None if !is_signal(signal) => refused(answer, libc::EINVAL),
                    _ => drop(self.judge(answer)),
                };
            }
            Call::StdTryWait => {
                let answer = child.try_wait();
                return self.note_std(answer);
            }
            Call::StdKill => return child.kill().expect("std kills, or knows better"),
            Call::End(ending) => return self.end(ending),
        };
        self.note(answer);
    }

    fn end(&mut self, ending: Ending) {
        if self.status.is_none() {
            kill(self.child.id());
        }
        let child = &mut self.child;
        let answer = match ending {
            Ending::Wait => child.pidfd_wait().map(Some),
            Ending::WaitTimeout(limit) => child.pidfd_wait_timeout(limit),
            Ending::WaitDeadline(by) => child.pidfd_wait_deadline(moment(by, false)),
            Ending::Terminate(grace) => child.pidfd_terminate(grace).map(Some),
            Ending::StdWait => {
                let answer = child.wait();
                return self.note_std(answer.map(Some));
            }
        };
        self.note(answer);
    }

    /// Whether it is reaped in the end.
    fn finish(mut self, last: Last) -> bool {
        let limit = match last {
            Last::Drop => return self.status.is_some(),
            Last::Release => {
                self.child.pidfd_release().expect("release");
                return self.status.is_some();
            }
            Last::Output(limit) => limit,
        };
        if self.status.is_none() {
            kill(self.child.id());
        }
        let status = self.status;
        match (self.child.pidfd_output_timeout(limit), status) {
            (Ok(Captured::Exited(_)), None) => true,
            (Ok(Captured::TimedOut(late)), None) => {
                self = Own {
                    child: late.child,
                    status,
                };
                self.end(Ending::Wait);
                self.status.is_some()
            }
            (answer, known) => {
                assert!(known.is_some(), "{answer:?}");
                refused(answer, libc::ECHILD);
                true
            }
        }
    }

    /// A child whose status was given out is no more.
    #[track_caller]
    fn judge<T: Debug>(&self, answer: io::Result<T>) -> Option<T> {
        match self.status {
            None => Some(answer.expect("nobody has its status")),
            Some(_) => {
                refused(answer, libc::ECHILD);
                None
            }
        }
    }

    #[track_caller]
    fn note(&mut self, answer: io::Result<Option<ExitStatus>>) {
        if let Some(status) = self.judge(answer) {
            self.status = status;
        }
    }

    /// What std gives is new, or what was given before.
    #[track_caller]
    fn note_std(&mut self, answer: io::Result<Option<ExitStatus>>) {
        let status = answer.expect("std has it, or can have it");
        assert!(self.status.is_none() || self.status == status, "{status:?}");
        self.status = status;
    }
}
