//! Handles of children that live to be waited for and killed.

use std::fmt::Debug;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::libc::{self, c_int};
use pidwait::{PidHandle, WaitSet};
use proptest::prelude::*;

use crate::common::shell;
use crate::{
    account, backend, config, duration, is_signal, kill, late, moment, refused, short, signal,
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
    Release,
    End(Ending),
}

/// Calls that may block for as long as it lives: it is killed before.
#[derive(Clone, Debug)]
enum Ending {
    Wait,
    WaitUsage,
    WaitTimeout(Duration),
    WaitDeadline(Duration),
    WaitExited,
    WaitExitedTimeout(Duration),
    Terminate(Duration),
    Set(Duration),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::TryWait),
        short().prop_map(Call::WaitTimeout),
        duration().prop_map(|ago| Call::WaitDeadline(ago, true)),
        short().prop_map(|limit| Call::WaitDeadline(limit, false)),
        Just(Call::HasExited),
        short().prop_map(Call::WaitExitedTimeout),
        Just(Call::ExitStatus),
        Just(Call::ExitFd),
        signal().prop_map(Call::Signal),
        signal().prop_map(Call::SignalGroup),
        Just(Call::Release),
        ending().prop_map(Call::End),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Wait),
        Just(Ending::WaitUsage),
        duration().prop_map(Ending::WaitTimeout),
        duration().prop_map(Ending::WaitDeadline),
        Just(Ending::WaitExited),
        duration().prop_map(Ending::WaitExitedTimeout),
        duration().prop_map(Ending::Terminate),
        duration().prop_map(Ending::Set),
    ]
}

/// A handle, and what is known of it.
struct Own {
    handle: PidHandle,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Nobody has reaped it, though it may be dead.
    Live,
    Done(ExitStatus),
    Released,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn handles(
        backend in backend(),
        from_child in any::<bool>(),
        calls in prop::collection::vec(call(), 1..12),
    ) {
        let mut command = shell("exec sleep 600");
        let child = command.process_group(0).spawn().expect("sh starts");
        let pid = child.id();
        let handle = match from_child {
            true => PidHandle::from(child),
            false => PidHandle::open_with(pid, backend).expect("a child of ours"),
        };
        let mut own = Own { handle, state: State::Live };
        for call in calls {
            own.act(call);
        }
        account(pid, matches!(own.state, State::Done(_)));
    }
}

impl Own {
    fn act(&mut self, call: Call) {
        let handle = &self.handle;
        match call {
            Call::TryWait => self.note(handle.try_wait()),
            Call::WaitTimeout(limit) => self.note(handle.wait_timeout(limit)),
            Call::WaitDeadline(by, past) => self.note(handle.wait_deadline(moment(by, past))),
            Call::HasExited => drop(self.exited(handle.has_exited())),
            Call::WaitExitedTimeout(limit) => drop(self.exited(handle.wait_exited_timeout(limit))),
            Call::ExitStatus => {
                let known = match self.state {
                    State::Done(status) => Some(status),
                    State::Live | State::Released => None,
                };
                assert_eq!(handle.exit_status(), known);
            }
            Call::ExitFd => drop(self.judge(handle.exit_fd())),
            Call::Signal(signal) => self.sent(signal, handle.signal(signal)),
            Call::SignalGroup(signal) => self.sent(signal, handle.signal_group(signal)),
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
            Ending::Wait => self.note(handle.wait().map(Some)),
            Ending::WaitUsage => self.note(handle.wait_usage().map(|(status, _)| Some(status))),
            Ending::WaitTimeout(limit) => {
                let since = Instant::now();
                let answer = handle.wait_timeout(limit);
                if let Ok(answer) = &answer {
                    late(answer, since, limit);
                }
                self.note(answer);
            }
            Ending::WaitDeadline(by) => self.note(handle.wait_deadline(moment(by, false))),
            Ending::WaitExited => drop(self.exited(handle.wait_exited().map(|()| true))),
            Ending::WaitExitedTimeout(limit) => {
                let since = Instant::now();
                if let Some(exited) = self.exited(handle.wait_exited_timeout(limit)) {
                    late(&exited.then_some(()), since, limit);
                }
            }
            Ending::Terminate(grace) => self.note(handle.terminate(grace).map(Some)),
            Ending::Set(limit) => self.wait_in_a_set(limit),
        }
    }

    fn wait_in_a_set(&mut self, limit: Duration) {
        let nobody = PidHandle::open(i32::MAX.unsigned_abs()).expect("a done handle");
        let handle = std::mem::replace(&mut self.handle, nobody);
        let mut set = WaitSet::new().expect("a set");
        match set.insert(handle, ()) {
            Err(back) => {
                self.handle = back.handle;
                self.judge::<()>(Err(back.error));
            }
            Ok(key) => {
                self.judge(Ok(())).expect("only live handles get in");
                match set.wait_timeout(limit).expect("epoll waits") {
                    Some(exited) => {
                        self.handle = exited.handle;
                        self.note(Ok(exited.status));
                    }
                    None => self.handle = set.remove(key).expect("it is in there").0,
                }
            }
        }
        assert!(set.is_empty());
    }

    /// The one answer of each state.
    #[track_caller]
    fn judge<T: Debug>(&self, answer: io::Result<T>) -> Option<T> {
        match self.state {
            State::Live => return Some(answer.expect("it is live")),
            State::Done(_) => refused(answer, libc::ECHILD),
            State::Released => refused(answer, libc::EINVAL),
        }
        None
    }

    #[track_caller]
    fn note(&mut self, answer: io::Result<Option<ExitStatus>>) {
        if let Some(Some(status)) = self.judge(answer) {
            self.state = State::Done(status);
        }
    }

    #[track_caller]
    fn exited(&self, answer: io::Result<bool>) -> Option<bool> {
        match self.state {
            State::Done(_) => {
                assert!(answer.expect("done"));
                None
            }
            State::Live | State::Released => self.judge(answer),
        }
    }

    #[track_caller]
    fn sent(&self, signal: c_int, answer: io::Result<()>) {
        match self.state {
            State::Live if !is_signal(signal) => refused(answer, libc::EINVAL),
            _ => drop(self.judge(answer)),
        }
    }
}
