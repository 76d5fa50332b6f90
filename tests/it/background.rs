//! Reaping in the background.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, SIGKILL};
use pidwait::{Backend, ChildExt, PidHandle};

use crate::common::isolated::enter;
use crate::common::preload::{enter_preloaded, hold_up_a_check};
use crate::common::{
    assert_other_threads_idle, await_gone, await_library_threads, await_state, await_zombie,
    backends, blocked_on_stdin, errno, eventually, exists, fork, is_root, kill, open_descriptors,
    skip, sleep, sleeper, thread_count, traceable_sleeper, unshare_pids, Tracer,
};

#[test]
fn sixty_children_leave_no_zombie_and_one_thread() {
    if !enter("background::sixty_children_leave_no_zombie_and_one_thread") {
        return;
    }
    let (threads_before, descriptors_before) = (thread_count(), open_descriptors());
    for backend in backends() {
        let mut children = Vec::new();
        let mut pipes = Vec::new();
        for number in 0..60 {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.reap_in_background();
            if number % 2 == 0 {
                handle.release().unwrap();
            }
            children.push(child.id());
            pipes.push(stdin);
        }
        assert_eq!(thread_count(), threads_before + 1);
        // The epoll instance and its waker.
        let mut expected = descriptors_before + 2 + pipes.len();
        expected += if backend == Backend::Pidfd { 60 } else { 0 };
        assert_eq!(open_descriptors(), expected);
        drop(pipes);
        children.into_iter().for_each(await_gone);
        assert_eq!(thread_count(), threads_before + 1);
        eventually("no descriptor is left", || {
            open_descriptors() == descriptors_before + 2
        });
    }
    let child = sleep().spawn().unwrap();
    let pid = child.id();
    child.pidfd_reap_in_background();
    assert_eq!(thread_count(), threads_before + 1);
    kill(pid, SIGKILL);
    await_gone(pid);
}

#[test]
fn clones_have_the_status() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let clone = handle.clone();
        handle.reap_in_background();
        drop(handle);
        assert_eq!(clone.exit_status(), None);
        drop(stdin);
        await_gone(child.id());
        eventually("the status is noted", || clone.exit_status().is_some());
        assert_eq!(clone.exit_status().unwrap().code(), Some(3));
        assert_eq!(errno(clone.wait()), ECHILD);
    }
}

/// The thread of a process that was stopped does not rest for twenty times as long as the stop.
#[test]
fn thread_goes_on_soon_after_a_check_that_was_held_up() {
    let test = "background::thread_goes_on_soon_after_a_check_that_was_held_up";
    if !enter_preloaded(test, "interposed.c") {
        return;
    }
    let child = sleeper();
    let handle = PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    handle.reap_in_background();
    hold_up_a_check();
    let start = Instant::now();
    kill(child.id(), SIGKILL);
    await_gone(child.id());
    assert!(start.elapsed() < Duration::from_secs(10), "it rested");
}

/// A wait that is faster gets the status; then the thread has nothing to do.
#[test]
fn one_of_the_background_and_a_wait_gets_the_status() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.reap_in_background();
        handle.reap_in_background();
        handle.kill().unwrap();
        match handle.wait() {
            Ok(status) => assert_eq!(status.signal(), Some(SIGKILL)),
            Err(error) => assert_eq!(error.raw_os_error(), Some(ECHILD)),
        }
        eventually("the status is noted", || handle.exit_status().is_some());
    }
}

/// The parent's thread does not exist in a forked process.
#[test]
fn forked_process_has_a_thread_of_its_own() {
    if !enter("background::forked_process_has_a_thread_of_its_own") {
        return;
    }
    for backend in backends() {
        let (parents, stdin) = blocked_on_stdin();
        let parents = PidHandle::open_with(parents.id(), backend).unwrap();
        parents.reap_in_background();
        await_library_threads();
        let fork = fork(|| {
            parents.reap_in_background();
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.reap_in_background();
            kill(child.id(), SIGKILL);
            await_gone(child.id());
        });
        let fork = PidHandle::open_with(fork, backend).unwrap();
        assert_eq!(fork.wait().unwrap().code(), Some(0));
        assert_eq!(parents.try_wait().unwrap(), None);
        drop(stdin);
        await_gone(parents.id());
    }
}

/// After `unshare(CLONE_NEWPID)` no thread can be started.
#[test]
fn without_a_thread_the_next_call_reaps() {
    if !enter("background::without_a_thread_the_next_call_reaps") {
        return;
    }
    if !is_root() {
        return skip("only root can unshare the PID namespace");
    }
    let mut children = Vec::new();
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let (next, next_stdin) = blocked_on_stdin();
        children.push((backend, child, stdin, next, next_stdin));
    }
    unshare_pids();
    let before = thread_count();
    for (backend, child, stdin, next, next_stdin) in children {
        PidHandle::open_with(child.id(), backend)
            .unwrap()
            .reap_in_background();
        drop(stdin);
        await_zombie(child.id());
        PidHandle::open_with(next.id(), backend)
            .unwrap()
            .reap_in_background();
        assert!(!exists(child.id()));
        assert!(exists(next.id()));
        drop(next_stdin);
        await_zombie(next.id());
    }
    assert_eq!(thread_count(), before);
}

/// The pidfd of the zombie stays readable.
#[test]
fn thread_sleeps_while_a_tracer_holds_a_zombie() {
    if !enter("background::thread_sleeps_while_a_tracer_holds_a_zombie") {
        return;
    }
    for backend in backends() {
        let child = traceable_sleeper();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.reap_in_background();
        handle.kill().unwrap();
        await_state(child.id(), 'Z');
        assert_other_threads_idle();
        tracer.end();
        await_gone(child.id());
    }
}
