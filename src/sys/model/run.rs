//! One simulated run: threads that share a handle, the calls they make, and what becomes of the
//! process meanwhile.

use std::sync::Arc;

use nix::errno::Errno;
use shuttle::rand::{thread_rng, Rng};
use shuttle::thread;

use super::kernel::{self, block_until, step, with, Fault, Reuse, Rules};
use super::oracle::Oracle;
use super::processes::{Id, Life, PID};
use crate::backend::{Process, Seen};
use crate::exit::ResourceUsage;
use crate::{Backend, PidHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Wait,
    WaitUsage,
    TryWait,
    WaitTimeout,
    Terminate,
    Signal,
    SignalGroup,
    Kill,
    HasExited,
    WaitExited,
    WaitExitedTimeout,
    ExitFd,
    ExitStatus,
    Release,
    /// Opens another handle for whichever process has the PID now.
    OpenAgain,
    /// Opens the process and peeks until it has exited, as the waits for a std `Child` do.
    Peek,
}

impl Call {
    pub(super) const ALL: [Call; 14] = [
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::Terminate,
        Call::Signal,
        Call::SignalGroup,
        Call::Kill,
        Call::HasExited,
        Call::WaitExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
        Call::Release,
    ];

    /// Those that reap, and fail with ECHILD for a non-child.
    pub(super) const WAITS: [Call; 5] = [
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::Terminate,
    ];

    /// Those that return even if the process never exits.
    pub(super) const SHORT: [Call; 9] = [
        Call::TryWait,
        Call::WaitTimeout,
        Call::Signal,
        Call::SignalGroup,
        Call::HasExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
        Call::Release,
    ];
}

/// Which process the handle is of, and which other code reaps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A child that is reaped through the handle only.
    OwnChild,
    /// The same when no descriptor can be opened: a handle of a std `Child` needs none.
    NoDescriptors,
    /// A zombie that was reaped when its handle was made.
    ReapedEarly,
    /// Gone before the handle was opened.
    Missing,
    /// A child that other code reaps too.
    ReapedExternally,
    /// A child whose status is thrown away.
    SigchldIgnored,
    /// The child of another process.
    NonChild,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) backend: Backend,
    pub(super) scenario: Scenario,
    /// Whether the process exits only after all threads have ended.
    pub(super) exits_last: bool,
    pub(super) threads: Vec<Vec<Call>>,
    pub(super) fault: Option<Fault>,
}

impl Run {
    pub(super) fn new(backend: Backend, scenario: Scenario, threads: Vec<Vec<Call>>) -> Self {
        Self {
            backend,
            scenario,
            exits_last: false,
            threads,
            fault: None,
        }
    }

    /// Executes it once, in the order that shuttle decides.
    pub(super) fn execute(self) {
        let (handle, oracle) = self.open();
        let kept = thread_rng().gen::<bool>().then(|| handle.clone());
        let mut threads = Vec::new();
        for calls in self.threads {
            let (handle, oracle) = (handle.clone(), Arc::clone(&oracle));
            threads.push(thread::spawn(move || {
                calls.iter().for_each(|call| oracle.call(&handle, *call));
            }));
        }
        drop(handle);
        let process = oracle.process;
        if oracle.life() == Life::Running && !self.exits_last {
            threads.push(thread::spawn(move || {
                step();
                with(|kernel| kernel.exit(process));
            }));
        }
        let is_reaped_by_others = matches!(
            self.scenario,
            Scenario::ReapedExternally | Scenario::NonChild
        );
        if is_reaped_by_others && !self.exits_last {
            threads.push(thread::spawn(move || reap_externally(process)));
        }
        for thread in threads {
            thread.join().expect("shuttle ends with the first panic");
        }
        if self.exits_last {
            oracle.check_watchers_ended();
            with(|kernel| kernel.exit(process));
        }
        oracle.check_end(kept);
    }

    fn open(&self) -> (PidHandle, Arc<Oracle>) {
        kernel::boot(Rules {
            sigchld_ignored: self.scenario == Scenario::SigchldIgnored,
            exit_records: thread_rng().gen(),
            fault: self.fault,
            ..Rules::default()
        });
        let process = with(|kernel| kernel.start_target(self.scenario != Scenario::NonChild));
        let pid = PID.unsigned_abs();
        let handle = match self.scenario {
            Scenario::OwnChild
            | Scenario::ReapedExternally
            | Scenario::SigchldIgnored
            | Scenario::NonChild => {
                PidHandle::open_with(pid, self.backend).expect("cannot open a process")
            }
            Scenario::NoDescriptors => {
                with(|kernel| kernel.rules.no_descriptors = true);
                let (process, seen) = Process::open_child(PID).expect("it needs no descriptor");
                PidHandle::live(pid, process, seen)
            }
            Scenario::ReapedEarly => {
                let opened = reap_early(process, self.backend);
                let status = with(|kernel| kernel.status(process));
                PidHandle::reaped_early(pid, opened, status, Some(ResourceUsage::default()))
            }
            Scenario::Missing => {
                with(|kernel| {
                    kernel.begin_reap(process);
                    kernel.free_pid(process);
                });
                PidHandle::open_with(pid, self.backend).expect("it needs no process")
            }
        };
        assert_eq!(handle.backend(), self.backend);
        let steps = with(|kernel| {
            if self.may_be_reused() {
                kernel.rules.reuse = Reuse::Any;
            }
            if let Scenario::ReapedEarly | Scenario::Missing = self.scenario {
                kernel.reuse_pid();
            }
            kernel.steps
        });
        (handle, Arc::new(Oracle::new(self, process, steps)))
    }

    /// Whether the contract holds even if the PID is reused. By PID no call is safe if other code
    /// frees the PID, except waits for a non-child, which do not peek; and a peek that opens the
    /// PID again may find any process.
    fn may_be_reused(&self) -> bool {
        let mut calls = self.threads.iter().flatten();
        match self.scenario {
            Scenario::OwnChild
            | Scenario::NoDescriptors
            | Scenario::ReapedEarly
            | Scenario::Missing => true,
            Scenario::ReapedExternally | Scenario::SigchldIgnored => {
                self.backend == Backend::Pidfd && !calls.any(|call| *call == Call::Peek)
            }
            Scenario::NonChild => {
                self.backend == Backend::Pidfd || calls.all(|call| Call::WAITS.contains(call))
            }
        }
    }
}

fn reap_externally(process: Id) {
    block_until(|kernel| (kernel.life(process) != Life::Running).then_some(()));
    step();
    with(|kernel| {
        if kernel.life(process) == Life::Zombie {
            kernel.begin_reap(process);
        }
    });
}

/// As std's `Child` reaps a zombie when a handle is made of it.
fn reap_early(id: Id, backend: Backend) -> (Process, Seen) {
    let (process, mut seen) = Process::open(PID, backend).expect("cannot open a process");
    with(|kernel| {
        kernel.exit(id);
        kernel.begin_reap(id);
        kernel.free_pid(id);
    });
    assert_eq!(process.peek(&mut seen), Err(Errno::ECHILD));
    (process, seen)
}
