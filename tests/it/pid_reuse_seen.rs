//! A handle stores what it has seen: once its process has exited, a process that gets its PID is
//! neither signalled nor confused with it. Each test has a PID namespace of its own: there it
//! can choose the next PID.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::common::pid_namespace::{in_pid_namespace, without_proc, ForeignReusedPid, ReusedPid};
use crate::common::{
    await_library_threads, await_zombie, backends, become_subreaper, errno, eventually, fork, kill,
    readable, reap_externally, sleeper, thread_count, zombie, NonChild, LONG,
};
use nix::libc::{ECHILD, SIGKILL};
use pidwait::{PidHandle, WaitSet};

const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// Asserts that every call of the handle treats its process as gone.
fn assert_gone(handle: &PidHandle) {
    for _ in 0..2 {
        assert!(handle.has_exited().unwrap());
        assert!(handle.wait_exited_timeout(LONG_TIMEOUT).unwrap());
        handle.wait_exited().unwrap();
        assert_eq!(errno(handle.signal(0)), ECHILD);
        assert_eq!(errno(handle.kill()), ECHILD);
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.wait_timeout(LONG_TIMEOUT)), ECHILD);
    }
}

fn end(non_child: &mut NonChild) {
    kill(non_child.pid, SIGKILL);
    non_child.finish();
}

#[test]
fn kill_after_exit_fd_was_readable_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse_seen::kill_after_exit_fd_was_readable_spares_the_new_process") {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            end(&mut non_child);
            assert!(readable(&exit, LONG));
            let reused = reuse(non_child.pid);
            assert_eq!(errno(handle.kill()), ECHILD);
            assert_gone(&handle);
            assert!(readable(&exit, 0));
            assert!(readable(&handle.exit_fd().unwrap(), LONG));
            reused.assert_untouched();
        }
    }
}

/// A forked process shares the descriptor with its parent, and its process is a non-child there: by
/// PID it cannot see the zombie that made the descriptor readable.
#[test]
fn kill_in_a_fork_after_exit_fd_was_readable_spares_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse_seen::kill_in_a_fork_after_exit_fd_was_readable_spares_the_new_process",
    ) {
        return;
    }
    for backend in backends() {
        for makes_its_own in [false, true] {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            await_library_threads();
            let fork = fork(|| {
                let own = makes_its_own.then(|| handle.exit_fd().unwrap());
                kill(child.id(), SIGKILL);
                assert!(readable(own.as_ref().unwrap_or(&exit), LONG));
                theirs.write_all(b".").unwrap();
                theirs.read_exact(&mut [0]).unwrap();
                let _ = handle.kill();
            });
            ours.read_exact(&mut [0]).unwrap();
            reap_externally(child.id());
            let reused = ReusedPid::running(child.id());
            ours.write_all(b".").unwrap();
            reap_externally(fork);
            reused.assert_untouched();
        }
    }
}

/// The start time is not known, and the forked process is the first to see the exit.
#[test]
fn kill_after_a_fork_made_exit_fd_readable_spares_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse_seen::kill_after_a_fork_made_exit_fd_readable_spares_the_new_process",
    ) {
        return;
    }
    let before = thread_count();
    for backend in backends() {
        for (reuse, drops_it) in ReusedPid::KINDS.into_iter().zip([false, true]) {
            let mut non_child = NonChild::new();
            let pid = non_child.pid;
            let handle = without_proc(|| PidHandle::open_with(pid, backend).unwrap());
            let exit = handle.exit_fd().unwrap();
            // The watcher's checks become rarer, so that the forked process is the first.
            thread::sleep(Duration::from_millis(400));
            let fork = fork(|| while !handle.has_exited().unwrap() {});
            end(&mut non_child);
            reap_externally(fork);
            assert!(readable(&exit, LONG));
            if drops_it {
                eventually("the watcher ends", || thread_count() == before);
                drop(exit);
            }
            let reused = reuse(pid);
            assert_eq!(errno(handle.kill()), ECHILD);
            assert_gone(&handle);
            reused.assert_untouched();
        }
    }
}

#[test]
fn kill_after_a_set_reported_the_exit_spares_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse_seen::kill_after_a_set_reported_the_exit_spares_the_new_process",
    ) {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let mut non_child = NonChild::new();
            let mut set = WaitSet::new().unwrap();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            set.insert(handle, ()).unwrap();
            end(&mut non_child);
            let exited = set.wait_timeout(LONG_TIMEOUT).unwrap().unwrap();
            let reused = reuse(non_child.pid);
            assert_eq!(errno(exited.handle.kill()), ECHILD);
            assert_gone(&exited.handle);
            // The handle of a non-child does not become done, so it can go into a set again.
            set.insert(exited.handle, ()).unwrap();
            assert!(set.wait_timeout(LONG_TIMEOUT).unwrap().is_some());
            reused.assert_untouched();
        }
    }
}

/// The exit of a child was seen, other code reaped it, and another child runs under its PID.
#[test]
fn calls_after_a_seen_exit_and_an_external_reap_spare_the_new_child() {
    if !in_pid_namespace(
        "pid_reuse_seen::calls_after_a_seen_exit_and_an_external_reap_spare_the_new_child",
    ) {
        return;
    }
    let looks: [fn(&PidHandle); 4] = [
        |handle| assert!(handle.has_exited().unwrap()),
        |handle| handle.wait_exited().unwrap(),
        |handle| handle.signal(0).unwrap(),
        |handle| assert!(readable(&handle.exit_fd().unwrap(), LONG)),
    ];
    let first_calls: [fn(&PidHandle); 4] = [
        |handle| assert_eq!(errno(handle.kill()), ECHILD),
        |handle| assert!(handle.has_exited().unwrap()),
        |handle| assert_eq!(errno(handle.try_wait()), ECHILD),
        |handle| handle.wait_exited().unwrap(),
    ];
    for backend in backends() {
        for (look, first_call) in looks.into_iter().zip(first_calls) {
            let child = zombie("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            look(&handle);
            reap_externally(child.id());
            let reused = ReusedPid::running(child.id());
            first_call(&handle);
            assert_gone(&handle);
            reused.assert_untouched();
        }
    }
}

/// The same for a member of a set.
#[test]
fn set_reports_a_child_whose_pid_was_reused() {
    if !in_pid_namespace("pid_reuse_seen::set_reports_a_child_whose_pid_was_reused") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let mut set = WaitSet::new().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let key = set.insert(handle, ()).unwrap();
        kill(child.id(), SIGKILL);
        await_zombie(child.id());
        assert!(set.get(key).unwrap().0.has_exited().unwrap());
        reap_externally(child.id());
        let reused = ReusedPid::running(child.id());
        assert!(set.get(key).unwrap().0.has_exited().unwrap());
        let exited = set.wait_timeout(LONG_TIMEOUT).unwrap().expect("a report");
        assert_gone(&exited.handle);
        reused.assert_untouched();
    }
}

/// No call has seen the end of the non-child: only its start time tells it from the new process.
#[test]
fn calls_after_an_unseen_end_of_a_non_child_spare_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse_seen::calls_after_an_unseen_end_of_a_non_child_spare_the_new_process",
    ) {
        return;
    }
    let first_calls: [fn(&PidHandle); 5] = [
        |handle| assert_eq!(errno(handle.kill()), ECHILD),
        |handle| assert_eq!(errno(handle.signal(0)), ECHILD),
        |handle| assert!(handle.has_exited().unwrap()),
        |handle| assert_eq!(errno(handle.wait()), ECHILD),
        |handle| assert!(readable(&handle.exit_fd().unwrap(), LONG)),
    ];
    for backend in backends() {
        for first_call in first_calls {
            for reuse in ReusedPid::KINDS {
                let mut non_child = NonChild::new();
                let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
                end(&mut non_child);
                let reused = reuse(non_child.pid);
                first_call(&handle);
                assert_gone(&handle);
                reused.assert_untouched();
            }
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            end(&mut non_child);
            let reused = ForeignReusedPid::with_pid(non_child.pid);
            first_call(&handle);
            assert_gone(&handle);
            reused.assert_untouched();
        }
    }
}

/// An init without `/proc`: it adopts a process whose start time is not known, sees its exit, and
/// reaps it by other code.
#[test]
fn calls_after_a_seen_exit_of_an_adopted_process_spare_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse_seen::calls_after_a_seen_exit_of_an_adopted_process_spare_the_new_process",
    ) {
        return;
    }
    become_subreaper();
    let looks: [fn(&PidHandle); 3] = [
        |handle| assert!(handle.has_exited().unwrap()),
        |handle| handle.wait_exited().unwrap(),
        |handle| assert!(readable(&handle.exit_fd().unwrap(), LONG)),
    ];
    let first_calls: [fn(&PidHandle); 3] = [
        |handle| assert_eq!(errno(handle.kill()), ECHILD),
        |handle| assert!(handle.has_exited().unwrap()),
        |handle| assert_eq!(errno(handle.process_group()), ECHILD),
    ];
    for backend in backends() {
        for (look, first_call) in looks
            .into_iter()
            .flat_map(|look| first_calls.map(|it| (look, it)))
        {
            for foreign in [false, true] {
                let mut non_child = NonChild::new();
                let pid = non_child.pid;
                let handle = without_proc(|| PidHandle::open_with(pid, backend).unwrap());
                kill(non_child.parent.id(), SIGKILL);
                non_child.parent.wait().unwrap();
                await_zombie(pid);
                look(&handle);
                handle.signal(SIGKILL).unwrap(); // To a zombie.
                reap_externally(pid);
                if foreign {
                    let reused = ForeignReusedPid::leading_group(pid);
                    first_call(&handle);
                    assert_gone(&handle);
                    reused.assert_untouched();
                } else {
                    let reused = ReusedPid::running(pid);
                    first_call(&handle);
                    assert_gone(&handle);
                    reused.assert_untouched();
                }
            }
        }
    }
}
