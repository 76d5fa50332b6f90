//! Makes the calls of a run, and checks their results.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGUSR1;

use super::kernel::{block_until, step, with, Fault};
use super::process::{Id, Life, PID};
use super::scenario::{Call, Group, Run, Scenario};
use crate::backend::Process;
use crate::engine::check_until;
use crate::{is_echild, Backend, PidHandle, ProcessGroup};

pub(super) const TIMEOUT: Duration = Duration::from_millis(5);

/// What all threads that share the handle have seen.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) process: Id,
    pub(super) scenario: Scenario,
    pub(super) group: Group,
    pub(super) backend: Backend,
    pub(super) exits_last: bool,
    pub(super) procfs: bool,
    /// It checks the calls of a forked process.
    pub(super) forked: bool,
    /// The kernel's count when the handle was ready.
    pub(super) calls: usize,
    /// How many waits that give a status to one caller only got one.
    pub(super) statuses: AtomicUsize,
    /// Calls that have begun and not ended.
    pub(super) in_flight: AtomicUsize,
    /// A call that gives the status to every caller got it, not from a record of the kernel.
    pub(super) is_shared: AtomicBool,
    /// A call that gives the status to every caller got it, so the handle has it.
    pub(super) is_noted: AtomicBool,
    /// A call failed with ECHILD because the process was reaped.
    pub(super) had_echild: AtomicBool,
    /// The handle was done before it could be released, and stays so.
    pub(super) done: AtomicBool,
    pub(super) releasing: AtomicBool,
    pub(super) released: AtomicBool,
}

/// The state when a call began.
pub(super) struct Before {
    pub(super) life: Life,
    /// Whether it was a child of the calling process.
    pub(super) is_child: bool,
    /// Whether a member of its group was alive.
    pub(super) group_is_alive: bool,
    /// How many groups lived.
    pub(super) kept: usize,
    /// How many calls were running, with this one.
    pub(super) in_flight: usize,
    pub(super) released: bool,
    pub(super) deadline: Instant,
}

impl Oracle {
    pub(super) fn new(run: &Run, process: Id, calls: usize) -> Self {
        Self {
            process,
            scenario: run.scenario,
            group: run.group,
            backend: run.backend,
            exits_last: run.exits_last,
            procfs: with(|kernel| kernel.rules.procfs),
            forked: false,
            calls,
            statuses: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_shared: AtomicBool::new(false),
            is_noted: AtomicBool::new(false),
            had_echild: AtomicBool::new(false),
            done: AtomicBool::new(false),
            releasing: AtomicBool::new(false),
            released: AtomicBool::new(false),
        }
    }

    /// For a process that was just forked, to which the target is a non-child.
    pub(super) fn fork(&self) -> Self {
        Self {
            scenario: Scenario::NonChild,
            forked: true,
            statuses: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_shared: AtomicBool::new(false),
            is_noted: AtomicBool::new(false),
            had_echild: AtomicBool::new(false),
            done: AtomicBool::new(false),
            releasing: AtomicBool::new(self.releasing.load(SeqCst)),
            released: AtomicBool::new(false),
            ..*self
        }
    }

    pub(super) fn life(&self) -> Life {
        with(|kernel| kernel.life(self.process))
    }

    pub(super) fn before(&self) -> Before {
        Before {
            life: self.life(),
            is_child: with(|kernel| kernel.is_child(self.process)),
            group_is_alive: with(|kernel| kernel.group_is_alive()),
            kept: with(|kernel| kernel.kept),
            in_flight: self.in_flight.load(SeqCst),
            released: self.released.load(SeqCst),
            deadline: super::now() + TIMEOUT,
        }
    }

    /// Makes a call and checks its result.
    pub(super) fn call(&self, handle: &PidHandle, groups: &mut Vec<ProcessGroup>, call: Call) {
        match with(|kernel| kernel.rules.fault) {
            Some(Fault::ForgetSeen) => handle.forget_seen(),
            Some(Fault::ForgetGroup) => handle.forget_group(),
            _ => {}
        }
        self.in_flight.fetch_add(1, SeqCst);
        match call {
            Call::Group => groups.extend(self.name_group(handle)),
            Call::DropGroup => {
                if let Some(group) = groups.pop() {
                    self.drop_group(group);
                }
            }
            _ if Call::OF_GROUP.contains(&call) => match groups.last() {
                Some(group) => self.call_group(group, call),
                None => {
                    if let Some(group) = self.name_group(handle) {
                        self.call_group(&group, call);
                        self.drop_group(group);
                    }
                }
            },
            _ => self.call_handle(handle, call),
        }
        self.in_flight.fetch_sub(1, SeqCst);
        self.check_paid();
        if self.had_echild.load(SeqCst) {
            self.check_record(handle);
        }
    }

    fn call_handle(&self, handle: &PidHandle, call: Call) {
        let before = self.before();
        match call {
            Call::Wait => _ = self.check_wait(handle, &before, handle.wait().map(Some)),
            Call::WaitUsage => {
                let result = handle.wait_usage().map(|(status, _)| Some(status));
                self.check_wait(handle, &before, result);
            }
            Call::Terminate => {
                self.check_shared(handle, &before, handle.terminate(TIMEOUT).map(Some));
            }
            Call::TerminateUnreaped => {
                let result = handle.terminate_unreaped(TIMEOUT).map(|()| true);
                if let Err(errno) = self.check_error(handle, &before, result) {
                    assert_eq!(errno, Errno::EINVAL);
                } else {
                    assert_ne!(self.life(), Life::Running, "not ended");
                }
            }
            Call::TryWaitShared => {
                let missed = !self.check_shared(handle, &before, handle.try_wait_shared());
                assert!(!missed || before.life == Life::Running, "missed the exit");
            }
            Call::WaitShared => {
                self.check_shared(handle, &before, handle.wait_shared().map(Some));
            }
            Call::WaitSharedTimeout => {
                let late = !self.check_shared(handle, &before, handle.wait_shared_timeout(TIMEOUT));
                assert!(!late || super::now() >= before.deadline, "ended early");
            }
            Call::TryWait => {
                let missed = !self.check_wait(handle, &before, handle.try_wait());
                assert!(!missed || before.life == Life::Running, "missed the exit");
            }
            Call::WaitTimeout => {
                let late = !self.check_wait(handle, &before, handle.wait_timeout(TIMEOUT));
                assert!(!late || super::now() >= before.deadline, "ended early");
            }
            Call::Signal => self.check_signal(handle, &before, handle.signal(SIGUSR1)),
            Call::Kill => self.check_signal(handle, &before, handle.kill()),
            Call::SignalGroup => {
                if let Some(group) = self.name_group(handle) {
                    self.call_group(&group, Call::GroupSignal);
                    self.drop_group(group);
                }
            }
            Call::HasExited => {
                let missed = !self.check_exited(handle, &before, handle.has_exited());
                assert!(!missed || !self.was_visible(&before), "missed the exit");
            }
            Call::WaitExited => {
                let result = handle.wait_exited().map(|()| true);
                assert!(self.check_exited(handle, &before, result));
            }
            Call::WaitExitedTimeout => {
                let result = handle.wait_exited_timeout(TIMEOUT);
                let late = !self.check_exited(handle, &before, result);
                assert!(!late || super::now() >= before.deadline, "ended early");
                assert!(!late || !self.was_visible(&before), "missed the exit");
            }
            Call::ExitFd => self.check_exit_fd(handle, &before, handle.exit_fd()),
            Call::ExitFdBesideWait => {
                let fd = self.check_error(handle, &before, handle.exit_fd());
                let result = handle.wait().map(Some);
                let released = result.as_ref().is_err_and(|error| !is_echild(error));
                self.check_wait(handle, &before, result);
                if let (Ok(fd), false) = (fd, released) {
                    self.check_readable(&before, &fd);
                }
            }
            Call::ExitStatus => self.check_exit_status(&before, handle.exit_status()),
            Call::Release => self.release(handle),
            Call::OpenAgain => {
                self.check_open(&before, PidHandle::open_with(handle.id(), self.backend));
            }
            Call::Peek => self.peek(),
            Call::ReapExternally => {
                reap_externally(self.process);
                with(|kernel| kernel.free_pid(self.process));
            }
            Call::ReusePid => {
                step();
                with(|kernel| kernel.reuse_target_pid(Life::Running));
            }
            Call::ReusePidByZombie => {
                step();
                with(|kernel| kernel.reuse_target_pid(Life::Zombie));
            }
            _ => unreachable!("{call:?} is a call of a group"),
        }
    }

    fn release(&self, handle: &PidHandle) {
        if !self.done.load(SeqCst) {
            self.releasing.store(true, SeqCst);
        }
        handle.release().expect("release never fails");
        with(|kernel| {
            if kernel.rules.fault == Some(Fault::CloseAtRelease) {
                kernel.files.close_pidfds();
            }
        });
        self.released.store(handle.is_released(), SeqCst);
    }

    fn peek(&self) {
        let Ok((process, mut seen)) = Process::open(PID, self.backend) else {
            return;
        };
        let found: Result<_, Errno> = check_until(None, || {
            let event = process.peek(&mut seen, None)?;
            Ok(event.exited())
        });
        match found {
            Ok(status) => self.check_status(status.expect("ended without a deadline")),
            Err(errno) => assert_eq!(errno, Errno::ECHILD),
        }
        match super::block_by_pid(PID) {
            Ok(event) => self.check_status(event.exited().expect("no exit")),
            Err(errno) => assert_eq!(errno, Errno::ECHILD),
        }
    }
}

/// Other code waits for the exit and reaps.
pub(super) fn reap_externally(process: Id) {
    block_until(|kernel| (kernel.life(process) != Life::Running).then_some(()));
    step();
    with(|kernel| {
        if kernel.life(process) == Life::Zombie {
            kernel.begin_reap(process);
        }
    });
}
