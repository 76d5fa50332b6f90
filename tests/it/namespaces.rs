//! What changes with the namespaces of this process: PIDs that `/proc` counts differently, other
//! descriptor tables, and threads that cannot be started. A process for each test, because each
//! changes it as a whole.

#![allow(unsafe_code)] // unshare, and threads that outlive the main thread.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::thread;
use std::time::Duration;

use crate::common::isolated::{current_part, enter, enter_under, enter_with_each_backend};
use crate::common::pid_namespace::{enter_foreign_proc, in_pid_namespace, with_nested_proc};
use crate::common::seccomp::{deny, DeniedCall};
use crate::common::{
    await_zombie, backends, drop_privileges, errno, exit, fork, is_root, lead_group, pidfd_open,
    pidfds_supported, readable, reap_externally, skip, sleep, sleeper, unshare_pids, NonChild,
    LONG, UNPRIVILEGED_UID,
};
use nix::libc::{self, EAGAIN, ECHILD, EINVAL, EMFILE, SIGKILL};
use pidwait::{Backend, PidHandle, WaitSet};

/// A process that mounts `/proc` for a container, or enters its mounts, no longer has its own.
#[test]
fn calls_under_a_proc_that_became_foreign_work_for_a_non_child() {
    if !in_pid_namespace("namespaces::calls_under_a_proc_that_became_foreign_work_for_a_non_child")
    {
        return;
    }
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        with_nested_proc(non_child.pid, || {
            assert!(!handle.has_exited().unwrap());
            assert!(!readable(&exit, 100));
            handle.kill().unwrap();
            assert_eq!(non_child.finish(), Some(128 + SIGKILL));
            assert!(readable(&exit, LONG));
            assert!(handle.has_exited().unwrap());
            assert_eq!(errno(handle.kill()), ECHILD);
        });
    }
}

/// PIDFD_GET_INFO of kernels before 6.13.
const NO_GET_INFO: DeniedCall = DeniedCall {
    call: libc::SYS_ioctl,
    only_if: Some((1, 0xC040_FF0B)),
    errno: libc::ENOTTY,
};

fn unshare(flags: libc::c_int) {
    // SAFETY: the call takes an integer.
    let done = unsafe { libc::unshare(flags) };
    assert_eq!(done, 0, "unshare: {}", std::io::Error::last_os_error());
}

#[test]
fn from_pidfd_under_a_foreign_proc_fails_with_unsupported() {
    let test = "namespaces::from_pidfd_under_a_foreign_proc_fails_with_unsupported";
    if !pidfds_supported() {
        return;
    }
    if !enter_foreign_proc(test) {
        return;
    }
    deny(&[NO_GET_INFO]).unwrap();
    let child = sleeper();
    let fd = pidfd_open(child.id(), 0).unwrap();
    let number = fd.as_raw_fd().to_string();
    let error = PidHandle::from_pidfd(fd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let text = error.to_string();
    assert!(text.contains(&number) && text.contains("/proc"), "{text}");
    assert!(text.contains("mount a new proc file system"), "{text}");
    // The process is unchanged, and a handle that needs no `/proc` works.
    let handle = PidHandle::open_with(child.id(), Backend::Pidfd).unwrap();
    assert!(!handle.has_exited().unwrap());
    handle.kill().unwrap();
    handle.wait().unwrap();
}

/// What is no pidfd, or one of a reaped process, is recognised without `/proc`.
#[test]
fn from_pidfd_under_a_foreign_proc_rejects_as_elsewhere() {
    let test = "namespaces::from_pidfd_under_a_foreign_proc_rejects_as_elsewhere";
    if !pidfds_supported() {
        return;
    }
    if !enter_foreign_proc(test) {
        return;
    }
    let check = || {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = PidHandle::from_pidfd(file.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    };
    check();
    let child = sleeper();
    let fd = pidfd_open(child.id(), 0).unwrap();
    crate::common::kill(child.id(), libc::SIGKILL);
    reap_externally(child.id());
    assert_eq!(errno(PidHandle::from_pidfd(fd)), libc::ECHILD);
    deny(&[NO_GET_INFO]).unwrap();
    check();
}

/// In such a namespace the start time of a non-child cannot be read. Its handle checks only the bare
/// PID, and not the start time of the outer process with that number.
#[test]
fn non_child_under_a_foreign_proc_is_known_by_its_pid() {
    let test = "namespaces::non_child_under_a_foreign_proc_is_known_by_its_pid";
    if !enter_foreign_proc(test) {
        return;
    }
    for backend in backends() {
        let mut non_child = crate::common::NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert!(!handle.has_exited().unwrap());
        handle.signal(0).unwrap();
        assert_eq!(non_child.finish(), Some(7));
        assert!(handle.wait_exited_timeout(Duration::from_secs(60)).unwrap());
    }
}

/// `/proc/self` shows the descriptors of the main thread.
#[test]
fn from_pidfd_in_a_thread_with_descriptors_of_its_own_finds_the_pid() {
    if !pidfds_supported()
        || !enter("namespaces::from_pidfd_in_a_thread_with_descriptors_of_its_own_finds_the_pid")
    {
        return;
    }
    let (first, second) = (sleeper(), sleeper());
    let _main_threads = pidfd_open(first.id(), 0).unwrap();
    let found = thread::spawn(move || {
        unshare(libc::CLONE_FILES);
        deny(&[NO_GET_INFO]).unwrap();
        // The same number as in the other table, for another process.
        let fd = pidfd_open(second.id(), 0).unwrap();
        let handle = PidHandle::from_pidfd(fd).unwrap();
        (handle.id(), second.id())
    });
    let (found, expected) = found.join().unwrap();
    assert_eq!(found, expected);
}

/// `/proc/self` has no descriptors once the main thread has exited.
#[test]
fn from_pidfd_after_the_end_of_the_main_thread_finds_the_pid() {
    if !pidfds_supported()
        || !enter("namespaces::from_pidfd_after_the_end_of_the_main_thread_finds_the_pid")
    {
        return;
    }
    let child = sleeper();
    let pid = child.id();
    // SAFETY: the forked process only runs this test's code.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let other = move || {
            let own = std::process::id();
            crate::common::await_state(own, 'Z');
            deny(&[NO_GET_INFO]).unwrap();
            let fd = pidfd_open(pid, 0).unwrap();
            let found = PidHandle::from_pidfd(fd).map(|handle| handle.id());
            // SAFETY: does not return.
            unsafe { libc::_exit(i32::from(!found.is_ok_and(|found| found == pid))) };
        };
        thread::spawn(other);
        // SAFETY: ends this thread only, with the system call, so that no destructor runs.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    assert_eq!(reap_externally(forked.unsigned_abs()), 0);
}

/// After `unshare(CLONE_NEWPID)` a process cannot start threads. Waits work without a watcher.
#[test]
fn waits_work_where_no_thread_can_be_started() {
    if !is_root() {
        return skip("unshare(CLONE_NEWPID) needs root");
    }
    if !enter("namespaces::waits_work_where_no_thread_can_be_started") {
        return;
    }
    let children = [(); 3].map(|()| sleeper());
    unshare(libc::CLONE_NEWPID);
    let [first, second, third] =
        children.map(|child| PidHandle::open_with(child.id(), Backend::Waitpid).unwrap());
    let failed = errno(first.exit_fd().map(|_| ()));
    assert!([EAGAIN, EMFILE].contains(&failed), "{failed}");
    let mut set = WaitSet::new().unwrap();
    let refused = set.insert(first.clone(), ()).unwrap_err();
    assert_eq!(refused.error.raw_os_error(), Some(failed));
    assert!(first
        .wait_timeout(Duration::from_millis(1))
        .unwrap()
        .is_none());
    first.kill().unwrap();
    let long = Duration::from_millis(LONG.into());
    assert!(first.wait_timeout(long).unwrap().is_some());
    second.kill().unwrap();
    assert!(second.wait_exited_timeout(long).unwrap());
    second.wait().unwrap();
    third.terminate(long).unwrap();
}

/// For each PID, starts a process that has it in a nested PID namespace, leads a group there and runs
/// a closure. After that this process cannot start threads.
fn fork_in_a_nested_namespace(pids: &[u32], run: impl Fn(u32)) {
    unshare_pids();
    let init = fork(|| {
        for &pid in pids {
            std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
            let forked = fork(|| {
                lead_group();
                run(pid);
            });
            assert_eq!(forked, pid);
            assert_eq!(reap_externally(forked), 0, "in the nested namespace");
        }
    });
    assert_eq!(reap_externally(init), 0);
}

/// A PID is a number of one PID namespace: in a nested one it means another process.
#[test]
fn handle_in_a_nested_pid_namespace_spares_the_process_of_that_pid() {
    let test = "namespaces::handle_in_a_nested_pid_namespace_spares_the_process_of_that_pid";
    if !is_root() {
        return skip("unshare(CLONE_NEWPID) needs root");
    }
    if !enter_with_each_backend(test) {
        return;
    }
    let mut command = crate::common::sleep();
    let child = PidHandle::spawn(command.process_group(0)).unwrap();
    let (child, _group) = (child.handle, child.group.unwrap());
    let mut non_child = crate::common::NonChild::new();
    let handles = [child, PidHandle::open(non_child.pid).unwrap()];
    let fds = [0, 1].map(|index: usize| handles[index].exit_fd().unwrap());
    let pids = [0, 1].map(|index: usize| handles[index].id());
    fork_in_a_nested_namespace(&pids, |pid| {
        let handle = handles.iter().find(|handle| handle.id() == pid).unwrap();
        // Each would signal the process that runs this.
        handle.kill().unwrap_err();
        handle.signal(libc::SIGTERM).unwrap_err();
        handle.terminate(Duration::ZERO).unwrap_err();
        handle.terminate_unreaped(Duration::ZERO).unwrap_err();
        if let Ok(group) = handle.process_group() {
            group.kill().unwrap_err();
            group.signal(libc::SIGTERM).unwrap_err();
            group.terminate(Duration::ZERO).unwrap_err();
            group.terminate_unreaped(Duration::ZERO).unwrap_err();
        }
    });
    for (handle, fd) in handles.iter().zip(&fds) {
        assert!(!crate::common::readable(fd, 0));
        assert!(!handle.has_exited().unwrap());
    }
    handles[0].kill().unwrap();
    handles[0].wait().unwrap();
    non_child.finish();
}

/// The ID of a fresh thread shows which processes were forked during a scan.
#[test]
fn ends_of_a_group_are_seen_under_a_proc_without_loadavg() {
    let test = "namespaces::ends_of_a_group_are_seen_under_a_proc_without_loadavg";
    let run = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
    let mut wrapper = vec!["unshare", "-m", "-p", "-f", "sh", "-c", run, "sh"];
    if !is_root() {
        wrapper.insert(1, "-Ur");
    }
    if !enter_under(&wrapper, test, "no `/proc` with subset=pid can be mounted") {
        return;
    }
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        group.kill().unwrap();
        group.wait_exited().unwrap();
        assert!(group.has_exited().unwrap());
        handle.wait().unwrap();

        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let grace = Duration::from_millis(LONG.into());
        let status = group.terminate(grace).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }
}

/// Runs a test in a PID namespace with a `/proc` that hides the processes of other users: 2 hides
/// them, 1 only denies access. Returns false outside of it.
fn enter_hiding_proc(test: &str, hidepid: u8) -> bool {
    if current_part().is_none() && !is_root() {
        skip("in a user namespace of its own nothing is hidden from this process");
        return false;
    }
    // With `gid`, because the group of that number sees all, and it is root's if it is not given.
    let hide = format!("mount -t proc -o hidepid={hidepid},gid=65534 proc /proc");
    let run = format!("{hide} && exec \"$@\"");
    let wrapper = ["unshare", "-m", "-p", "-f", "sh", "-c", &run, "sh"];
    enter_under(&wrapper, test, "no `/proc` with hidepid can be mounted")
}

/// Also if `/proc` hides the leader, as it does a process of the same user that has become
/// non-dumpable. A group that seems to be empty would be killed without its grace.
#[test]
fn a_hidden_leader_is_alive() {
    if !enter_hiding_proc("namespaces::a_hidden_leader_is_alive", 2) {
        return;
    }
    check_hidden_leader();
}

#[test]
fn a_leader_that_proc_denies_access_to_is_alive() {
    if enter_hiding_proc(
        "namespaces::a_leader_that_proc_denies_access_to_is_alive",
        1,
    ) {
        check_hidden_leader();
    }
}

fn check_hidden_leader() {
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                let stat = format!("/proc/{}/stat", child.id());
                assert!(std::fs::read(stat).is_err(), "it is hidden");
                assert!(!group.has_exited().unwrap());
                let timeout = Duration::from_millis(1);
                assert!(!group.wait_exited_timeout(timeout).unwrap());
            });
        });
        let grace = Duration::from_millis(LONG.into());
        let status = group.terminate(grace).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }
}

/// With `hidepid=1` the members of other users are listed, but not whether they are zombies.
#[test]
fn a_member_that_proc_denies_access_to_is_alive() {
    if !enter_hiding_proc(
        "namespaces::a_member_that_proc_denies_access_to_is_alive",
        1,
    ) {
        return;
    }
    for backend in backends() {
        let leader = sleep()
            .process_group(0)
            .uid(UNPRIVILEGED_UID)
            .spawn()
            .unwrap();
        let number = libc::pid_t::try_from(leader.id()).unwrap();
        let mut member = sleep().process_group(number).spawn().unwrap();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                handle.kill().unwrap();
                handle.wait_exited().unwrap();
                assert!(!group.has_exited().unwrap());
                let error = group.terminate(Duration::from_millis(1)).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                let identity = PidHandle::open_with(member.id(), backend)
                    .unwrap()
                    .identity();
                assert_eq!(identity.unwrap_err().kind(), ErrorKind::Unsupported);
            });
        });
        member.kill().unwrap();
        await_zombie(member.id());
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                // Only a pidfd tells that it has exited.
                let visible = backend == Backend::Pidfd;
                assert_eq!(group.has_exited().unwrap(), visible);
            });
        });
        member.wait().unwrap();
        assert!(group.has_exited().unwrap());
        assert_eq!(handle.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}

/// Start times are shown in the time namespace of the reader.
#[test]
fn a_running_process_is_alive_in_a_new_time_namespace() {
    if !enter("namespaces::a_running_process_is_alive_in_a_new_time_namespace") {
        return;
    }
    if !is_root() {
        return skip("only root can unshare the time namespace");
    }
    let mut non_child = NonChild::new();
    let child = sleeper();
    let handles: Vec<_> = backends()
        .into_iter()
        .flat_map(|backend| [(non_child.pid, backend), (child.id(), backend)])
        .map(|(pid, backend)| PidHandle::open_with(pid, backend).unwrap())
        .collect();
    // In a process with one thread: the offsets are those for the children of the main thread.
    let parent = fork(|| {
        unshare(libc::CLONE_NEWTIME);
        std::fs::write("/proc/self/timens_offsets", "boottime 1000 0\n").unwrap();
        let inside = fork(|| handles.iter().for_each(check_is_alive));
        exit(i32::from(reap_externally(inside) != 0));
    });
    assert_eq!(reap_externally(parent), 0);
    assert_eq!(non_child.finish(), Some(7));
}

/// In a forked process, which exits with an error otherwise.
fn check_is_alive(handle: &PidHandle) {
    match handle.has_exited() {
        Ok(false) => {}
        // By PID it cannot be told.
        Err(error) if handle.backend() == Backend::Waitpid => {
            if error.raw_os_error() != Some(EINVAL) {
                exit(1);
            }
        }
        Ok(true) | Err(_) => exit(1),
    }
}
