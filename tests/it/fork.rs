//! Handles in a process that was forked and has not exec'ed, and what such a process does to the
//! waits of its parent. A process for each test: a forked process keeps copies of all descriptors, also
//! of those that other tests wait to be closed.

#![allow(unsafe_code)] // fork, clone and exit.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use crate::common::isolated::enter;
use crate::common::{
    await_library_threads, await_zombie, backends, become_subreaper, errno, eventually, kill,
    pause, readable, reap_externally, sleeper, thread_count, NonChild, Waiter,
};
use nix::libc::{self, ECHILD, SIGKILL};
use pidwait::{ChildExt, PidHandle, WaitSet};

const SHORT: Duration = Duration::from_millis(1);

/// In milliseconds: long enough for any exit, and shorter than the forked process lives.
const BEFORE_THE_FORK_ENDS: u16 = 20_000;

/// A process made by the bare call hangs if another thread held a lock of libc.
#[derive(Clone, Copy)]
enum Fork {
    Libc,
    /// libc's fork handlers do not run.
    #[cfg(target_os = "linux")]
    RawClone,
}

impl Fork {
    const KINDS: &'static [Fork] = &[
        Fork::Libc,
        #[cfg(target_os = "linux")]
        Fork::RawClone,
    ];

    /// Starts a forked process that runs a closure and exits with 0 if that returns true.
    fn run(self, run: impl FnOnce() -> bool) -> u32 {
        let pid = match self {
            // SAFETY: the child only runs the closure, which takes no lock that another thread of
            // this test could hold, and exits.
            Fork::Libc => unsafe { libc::c_long::from(libc::fork()) },
            #[cfg(target_os = "linux")]
            // SAFETY: see above.
            Fork::RawClone => unsafe { crate::common::raw_clone(libc::SIGCHLD) },
        };
        if pid == 0 {
            let passed = catch_unwind(AssertUnwindSafe(run)).unwrap_or(false);
            // SAFETY: does not return.
            unsafe { libc::_exit(i32::from(!passed)) };
        }
        u32::try_from(pid).unwrap_or_else(|_| panic!("fork: {}", io::Error::last_os_error()))
    }

    #[track_caller]
    fn assert_passes(self, run: impl FnOnce() -> bool) {
        assert_eq!(reap_externally(self.run(run)), 0, "in the forked process");
    }
}

/// A forked process that lives as long as this value.
struct LivingFork {
    pid: u32,
    _end: UnixStream,
}

impl LivingFork {
    fn new() -> Self {
        let (end, mut other_end) = UnixStream::pair().unwrap();
        let timeout = Duration::from_secs(60);
        other_end.set_read_timeout(Some(timeout)).unwrap();
        // It holds both ends, so the read ends only with its timeout or by a signal.
        let pid = Fork::Libc.run(|| other_end.read(&mut [0]).is_ok());
        Self { pid, _end: end }
    }
}

impl Drop for LivingFork {
    fn drop(&mut self) {
        kill(self.pid, SIGKILL);
        assert_eq!(reap_externally(self.pid), SIGKILL, "it ended too early");
    }
}

#[test]
fn exit_fd_is_readable_while_a_forked_process_holds_a_copy() {
    if !enter("fork::exit_fd_is_readable_while_a_forked_process_holds_a_copy") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        let _fork = LivingFork::new();
        handle.kill().unwrap();
        assert!(readable(&exit, BEFORE_THE_FORK_ENDS));
        assert!(handle.wait().is_ok());
    }
}

/// Like an `ExitFd`, both listen to the watcher of the handle.
#[test]
fn set_and_timed_waits_end_while_a_forked_process_holds_a_copy() {
    if !enter("fork::set_and_timed_waits_end_while_a_forked_process_holds_a_copy") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let mut set = WaitSet::new().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        set.insert(handle, ()).unwrap();
        let _fork = LivingFork::new();
        kill(child.id(), SIGKILL);
        let timeout = Duration::from_millis(BEFORE_THE_FORK_ENDS.into());
        assert!(set.wait_timeout(timeout).unwrap().is_some());
    }
}

/// The fork happens in the middle of the wait. The wait starts a watcher, and the forked process
/// gets a copy of its descriptors.
#[test]
fn wait_in_progress_ends_while_a_forked_process_holds_a_copy() {
    if !enter("fork::wait_in_progress_ends_while_a_forked_process_holds_a_copy") {
        return;
    }
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        std::thread::scope(|scope| {
            let waiter = Waiter::spawn(scope, || readable(&exit, BEFORE_THE_FORK_ENDS));
            let fork = LivingFork::new();
            kill(non_child.pid, SIGKILL);
            // The forked process holds a copy of the parent's input, too.
            non_child.finish();
            assert!(waiter.join());
            drop(fork);
        });
    }
}

#[test]
fn handle_in_a_forked_process_sees_a_running_process() {
    if !enter("fork::handle_in_a_forked_process_sees_a_running_process") {
        return;
    }
    for backend in backends() {
        for fork in Fork::KINDS {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            fork.assert_passes(|| {
                for _ in 0..2 {
                    assert!(!handle.has_exited().unwrap());
                    assert!(!handle.wait_exited_timeout(SHORT).unwrap());
                    assert_eq!(errno(handle.try_wait()), ECHILD);
                    assert_eq!(errno(handle.wait()), ECHILD);
                    assert_eq!(errno(handle.wait_timeout(SHORT)), ECHILD);
                    assert_eq!(errno(handle.terminate(SHORT)), ECHILD);
                    handle.signal(0).unwrap();
                }
                !handle.has_exited().unwrap()
            });
            // The parent's handle is unchanged.
            assert!(handle.try_wait().unwrap().is_none());
            fork.assert_passes(|| handle.kill().is_ok());
            assert!(handle.wait().is_ok());
        }
    }
}

#[test]
fn handle_in_a_forked_process_sees_the_reap_of_the_parent() {
    if !enter("fork::handle_in_a_forked_process_sees_the_reap_of_the_parent") {
        return;
    }
    for backend in backends() {
        for fork in Fork::KINDS {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let (mut parent_end, mut fork_end) = UnixStream::pair().unwrap();
            let forked = fork.run(|| {
                assert!(!handle.has_exited().unwrap());
                fork_end.write_all(b"1").unwrap();
                fork_end.read_exact(&mut [0]).unwrap();
                handle.wait_exited().unwrap();
                assert!(handle.has_exited().unwrap());
                errno(handle.kill()) == ECHILD
            });
            parent_end.read_exact(&mut [0]).unwrap();
            handle.kill().unwrap();
            handle.wait().unwrap();
            parent_end.write_all(b"2").unwrap();
            assert_eq!(reap_externally(forked), 0);
        }
    }
}

/// Another thread of the parent is in the middle of a wait when it forks: the forked process has
/// its counts, but not the thread.
#[test]
fn handle_in_a_process_forked_during_a_wait_does_not_block() {
    if !enter("fork::handle_in_a_process_forked_during_a_wait_does_not_block") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        std::thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            Fork::Libc.assert_passes(|| {
                assert_eq!(errno(handle.wait()), ECHILD);
                assert_eq!(errno(handle.try_wait()), ECHILD);
                !handle.has_exited().unwrap()
            });
            handle.kill().unwrap();
            waiter.join().unwrap();
        });
    }
}

/// By PID only the parent can see the zombie. A future that waits for a readable descriptor must not
/// find then that the process runs, and spin.
#[test]
fn has_exited_is_true_in_a_forked_process_once_exit_fd_is_readable() {
    if !enter("fork::has_exited_is_true_in_a_forked_process_once_exit_fd_is_readable") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        await_library_threads();
        Fork::Libc.assert_passes(|| {
            let own = handle.exit_fd().unwrap();
            let runs = !handle.has_exited().unwrap();
            kill(child.id(), SIGKILL);
            let exited = readable(&exit, BEFORE_THE_FORK_ENDS) && handle.has_exited().unwrap();
            handle.kill().unwrap(); // To a zombie.
            eventually("the watcher ends", || thread_count() == 1);
            runs && exited && readable(&own, 0)
        });
        assert!(handle.wait().is_ok());
    }
}

/// By PID the watchers of a non-child check for the exit again and again, also while the process forks.
#[test]
fn handle_in_a_process_forked_beside_watchers_does_not_block() {
    if !enter("fork::handle_in_a_process_forked_beside_watchers_does_not_block") {
        return;
    }
    for backend in backends() {
        let non_child = NonChild::new();
        // The more watchers, the more likely one is in the midst of a check.
        let handles = [(); 50].map(|()| PidHandle::open_with(non_child.pid, backend).unwrap());
        let _fds = handles.each_ref().map(|handle| handle.exit_fd().unwrap());
        for _ in 0..20 {
            assert_fork_can_use(&handles);
        }
    }
}

/// By PID the background thread checks its children again and again, also while the process forks.
#[test]
fn handle_in_a_process_forked_beside_the_background_thread_does_not_block() {
    if !enter("fork::handle_in_a_process_forked_beside_the_background_thread_does_not_block") {
        return;
    }
    for backend in backends() {
        let children = [(); 50].map(|()| sleeper());
        let handles = children.map(|child| PidHandle::open_with(child.id(), backend).unwrap());
        for _ in 0..20 {
            // The thread checks often after each call.
            handles.iter().for_each(PidHandle::reap_in_background);
            assert_fork_can_use(&handles);
        }
        handles.iter().for_each(|handle| handle.kill().unwrap());
    }
}

fn assert_fork_can_use(handles: &[PidHandle]) {
    Fork::Libc.assert_passes(|| {
        nix::unistd::alarm::set(20); // Ends the process if it hangs.
        handles.iter().all(|handle| handle.signal(0).is_ok())
    });
}

/// The watcher of the parent does not run in the forked process, which starts its own. It serves all
/// descriptors there.
#[test]
fn all_exit_fds_of_a_forked_process_become_readable() {
    if !enter("fork::all_exit_fds_of_a_forked_process_become_readable") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let of_parent = handle.exit_fd().unwrap();
        let (mut parent_end, mut fork_end) = UnixStream::pair().unwrap();
        await_library_threads();
        // Not by the bare call: the watcher's thread needs memory, and malloc's lock may be held.
        let forked = Fork::Libc.run(|| {
            let fds = [(); 3].map(|()| handle.exit_fd().unwrap());
            fork_end.write_all(b"1").unwrap();
            fds.iter().all(|fd| readable(fd, BEFORE_THE_FORK_ENDS))
        });
        parent_end.read_exact(&mut [0]).unwrap();
        handle.kill().unwrap();
        handle.wait().unwrap();
        assert_eq!(reap_externally(forked), 0);
        assert!(readable(&of_parent, 0));
    }
}

/// A daemon forks, and its parent ends, with the watchers: the set of the daemon still reports.
#[test]
fn set_in_a_forked_process_reports_after_the_parent_has_ended() {
    if !enter("fork::set_in_a_forked_process_reports_after_the_parent_has_ended") {
        return;
    }
    become_subreaper();
    for backend in backends() {
        let (mut end, mut other_end) = UnixStream::pair().unwrap();
        end.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let parent = Fork::Libc.run(|| {
            let child = fork_that_pauses();
            let mut set = WaitSet::new().unwrap();
            let handle = PidHandle::open_with(child, backend).unwrap();
            set.insert(handle, ()).unwrap();
            await_library_threads();
            let daemon = Fork::Libc.run(|| {
                other_end.read_exact(&mut [0]).unwrap();
                let timeout = Duration::from_millis(BEFORE_THE_FORK_ENDS.into());
                set.wait_timeout(timeout).unwrap().is_some()
            });
            other_end.write_all(&child.to_ne_bytes()).unwrap();
            other_end.write_all(&daemon.to_ne_bytes()).unwrap();
            true
        });
        let mut pids = [0; 8];
        end.read_exact(&mut pids).unwrap();
        let [child, daemon] =
            [&pids[..4], &pids[4..]].map(|bytes| u32::from_ne_bytes(bytes.try_into().unwrap()));
        assert_eq!(reap_externally(parent), 0);
        end.write_all(b"1").unwrap();
        kill(child, SIGKILL);
        assert_eq!(reap_externally(child), SIGKILL);
        assert_eq!(reap_externally(daemon), 0, "{backend}: not reported");
    }
}

/// It does not end with its parent.
fn fork_that_pauses() -> u32 {
    Fork::Libc.run(|| {
        pause();
        false
    })
}

#[test]
fn child_ext_in_a_forked_process_fails_with_echild() {
    if !enter("fork::child_ext_in_a_forked_process_fails_with_echild") {
        return;
    }
    let mut child = sleeper();
    for fork in Fork::KINDS {
        fork.assert_passes(|| {
            assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
            assert_eq!(errno(child.pidfd_wait_timeout(SHORT)), ECHILD);
            errno(child.pidfd_wait()) == ECHILD
        });
    }
    child.kill().unwrap();
    await_zombie(child.id());
    assert!(!child.pidfd_wait().unwrap().success());
}
