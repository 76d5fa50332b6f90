//! Executes a run: threads that share a handle, while its process exits or is reaped.

use std::sync::Arc;

use nix::errno::Errno;
use shuttle::rand::{thread_rng, Rng};
use shuttle::thread::{self, JoinHandle};

use super::groups::{exit_member, fork_member, wait_a_while};
use super::kernel::{self, step, with, Kernel, Reuse, Rules};
use super::oracle::{reap_externally, Oracle};
use super::process::{Id, Life, PID};
use super::scenario::{Call, Group, Run, Scenario};
use crate::backend::{Process, Seen};
use crate::exit::ResourceUsage;
use crate::{Backend, PidHandle};

impl Run {
    /// Executes it once, in the order that shuttle decides.
    pub(super) fn execute(self) {
        let (handle, oracle) = self.open();
        let kept = thread_rng().gen::<bool>().then(|| handle.clone());
        let fork = self.fork.as_deref().map(|calls| {
            let (handle, oracle, calls) = (handle.clone(), Arc::clone(&oracle), calls.to_vec());
            thread::spawn(move || run_fork(handle, &oracle, &calls))
        });
        let mut threads = Vec::new();
        for calls in &self.threads {
            let (handle, oracle, calls) = (handle.clone(), Arc::clone(&oracle), calls.clone());
            threads.push(thread::spawn(move || run_thread(handle, &oracle, &calls)));
        }
        drop(handle);
        self.spawn_events(&oracle, &mut threads);
        for thread in threads {
            thread.join().expect("shuttle ends with the first panic");
        }
        let fork = fork.map(|fork| fork.join().expect("shuttle ends with the first panic"));
        drop(fork); // Its descriptors were open until now.
        if self.exits_last {
            oracle.check_watchers_ended();
            with(|kernel| kernel.exit(oracle.process));
        }
        if self.has(Call::ReusePid) || self.has(Call::ReusePidByZombie) {
            // A watcher may have begun to wait only now, for the wrong process.
            with(|kernel| kernel.exit_unrelated());
        }
        oracle.check_end(kept);
    }

    /// Starts the threads that are not the caller's.
    fn spawn_events(&self, oracle: &Oracle, threads: &mut Vec<JoinHandle<()>>) {
        let process = oracle.process;
        if self.group == Group::Left {
            threads.push(thread::spawn(move || {
                wait_a_while();
                with(Kernel::leave_group);
            }));
        }
        if self.has_members() {
            for _ in 0..MEMBERS {
                threads.push(thread::spawn(exit_member));
            }
            threads.push(thread::spawn(fork_member));
        }
        if self.scenario == Scenario::Adopted {
            threads.push(thread::spawn(move || {
                step();
                with(|kernel| kernel.adopt(process));
            }));
        }
        if self.exits_last {
            return;
        }
        if oracle.life() == Life::Running {
            threads.push(thread::spawn(move || {
                step();
                with(|kernel| kernel.exit(process));
            }));
        }
        let is_reaped_by_others = matches!(
            self.scenario,
            Scenario::ReapedExternally | Scenario::NonChild
        );
        if is_reaped_by_others && !self.has(Call::ReapExternally) {
            threads.push(thread::spawn(move || reap_externally(process)));
        }
    }

    fn open(&self) -> (PidHandle, Arc<Oracle>) {
        let procfs = self.procfs.unwrap_or_else(|| thread_rng().gen());
        let group_signals: bool = thread_rng().gen();
        let is_lost = self.is_reaped_by_others()
            && (self.backend == Backend::Waitpid || !group_signals)
            && self.has_members();
        kernel::boot(Rules {
            sigchld_ignored: self.scenario == Scenario::SigchldIgnored,
            exit_records: thread_rng().gen(),
            no_threads: self.scenario == Scenario::NoThreads,
            signal_window: is_lost
                || self.scenario == Scenario::NonChild && self.backend == Backend::Waitpid,
            group_signals,
            loadavg: thread_rng().gen(),
            members_are_reaped: thread_rng().gen(),
            procfs,
            early_poll: self.early_poll,
            fault: self.fault,
            ..Rules::default()
        });
        let is_child = !matches!(self.scenario, Scenario::NonChild | Scenario::Adopted);
        let process = with(|kernel| kernel.start_target(is_child, self.group != Group::None));
        if self.has_members() {
            with(|kernel| {
                for _ in 0..MEMBERS {
                    let pid = kernel.new_pid();
                    kernel.start_member(pid);
                }
            });
        }
        let handle = self.open_handle(process);
        assert_eq!(handle.backend(), self.backend);
        let calls = with(|kernel| {
            if self.allows_reuse(procfs) {
                kernel.rules.reuse = self.reuse.unwrap_or_else(any_reuse);
            }
            if kernel.rules.reuse != Reuse::Never && self.is_reaped_by_others() {
                // Without them, the reap leaves a window.
                kernel.rules.group_signals |= !kernel.rules.signal_window;
            }
            kernel.rules.reuse_of_members = any_reuse();
            if let Scenario::ReapedEarly | Scenario::Missing = self.scenario {
                kernel.reuse_pid(PID);
            }
            kernel.calls
        });
        (handle, Arc::new(Oracle::new(self, process, calls)))
    }

    fn open_handle(&self, process: Id) -> PidHandle {
        let pid = PID.unsigned_abs();
        match self.scenario {
            Scenario::NoDescriptors => {
                with(|kernel| kernel.rules.no_descriptors = true);
                let (process, seen) = Process::open_child(PID).expect("it needs no descriptor");
                return PidHandle::live(pid, process, seen);
            }
            Scenario::ReapedEarly => {
                let opened = reap_early(process, self.backend);
                let status = with(|kernel| kernel.status(process));
                let usage = Some(ResourceUsage::default());
                return PidHandle::reaped_early(pid, opened, status, usage);
            }
            Scenario::Missing => with(|kernel| {
                kernel.begin_reap(process);
                kernel.free_pid(process);
            }),
            _ => {}
        }
        PidHandle::open_with(pid, self.backend).expect("cannot open the process")
    }
}

/// How many other members a group has when the calls begin.
const MEMBERS: usize = 2;

/// Makes the calls of a thread, and then drops its handle and its groups.
fn run_thread(handle: PidHandle, oracle: &Oracle, calls: &[Call]) {
    let mut groups = Vec::new();
    for call in calls {
        oracle.call(&handle, &mut groups, *call);
    }
    let handle = match thread_rng().gen() {
        true => Some(handle), // It is dropped last.
        false => None,
    };
    while let Some(group) = groups.pop() {
        oracle.drop_group(group);
    }
    drop(handle);
}

fn any_reuse() -> Reuse {
    match thread_rng().gen_ratio(3, 4) {
        true => Reuse::Any,
        false => Reuse::Never,
    }
}

/// Forks at this moment, and makes calls in the forked process. The result must be kept until the
/// forked process ends.
fn run_fork(handle: PidHandle, oracle: &Oracle, calls: &[Call]) -> impl Drop + Send {
    step();
    let (copy, notify) = handle.fork();
    drop(handle);
    let oracle = oracle.fork();
    kernel::enter_fork();
    let mut groups = Vec::new();
    for call in calls {
        oracle.call(&copy, &mut groups, *call);
    }
    oracle.check_no_status();
    Box::new((copy, notify))
}

/// Reaps a zombie as std's `Child` does when a handle is made from it.
fn reap_early(id: Id, backend: Backend) -> (Process, Seen) {
    let (process, mut seen) = Process::open(PID, backend).expect("cannot open the process");
    with(|kernel| {
        kernel.exit(id);
        kernel.begin_reap(id);
        kernel.free_pid(id);
    });
    assert_eq!(process.peek(&mut seen, None), Err(Errno::ECHILD));
    (process, seen)
}
