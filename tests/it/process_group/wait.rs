//! Waiting for all members of a group.

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, SIGKILL, SIGTERM};
use pidwait::{Backend, PidHandle};

use super::leader;
use crate::common::isolated::{current_part, enter};
use crate::common::pid_namespace::{
    enter_foreign_proc, in_pid_namespace, in_pid_namespace_with, without_proc,
};
use crate::common::preload::enter_preloaded;
use crate::common::{
    await_state, await_zombie, backends, become_subreaper, errno, eventually, exit_main_thread,
    fork, fork_chain, has_living_member, kill, lead_group, leads_group, line, longer_each_time,
    reap_externally, rounds, shell, skip, sleep, state_of, temp_dir, while_asleep,
};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn waits_are_for_the_last_member() {
    for backend in backends() {
        let (child, members) = leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.wait_exited().unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        let start = Instant::now();
        assert!(!group.wait_exited_timeout(10 * MILLI).unwrap());
        assert!(start.elapsed() >= 10 * MILLI);
        assert!(!group.wait_exited_timeout(Duration::ZERO).unwrap());
        while_asleep(|| group.wait_exited(), || members.await_end_of_input()).unwrap();
        assert!(group.has_exited().unwrap());
        assert!(group.wait_exited_timeout(Duration::ZERO).unwrap());
        assert!(group.wait_exited_timeout(Duration::MAX).unwrap());
        // Nothing was reaped.
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(group.has_exited().unwrap());
    }
}

#[test]
fn waits_are_for_the_leader_too() {
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        while_asleep(|| group.wait_exited(), || kill(child.id(), SIGKILL)).unwrap();
        handle.wait().unwrap();
    }
}

#[test]
fn group_waits_work_despite_release() {
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        handle.release().unwrap();
        assert!(!group.has_exited().unwrap());
        while_asleep(|| group.wait_exited(), || kill(child.id(), SIGKILL)).unwrap();
        assert!(group.has_exited().unwrap());
        reap_externally(child.id());
    }
}

#[test]
fn deadlines_are_as_the_timeouts() {
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.wait_exited_deadline(Instant::now()).unwrap());
        let deadline = Instant::now() + 10 * MILLI;
        assert!(!group.wait_exited_deadline(deadline).unwrap());
        assert!(Instant::now() >= deadline);
        group.kill().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(group.wait_exited_deadline(deadline).unwrap());
        handle.wait().unwrap();
    }
}

/// This process adopts the orphans and never reaps them, like the PID 1 of many containers.
#[test]
fn zombies_that_no_process_reaps_do_not_count() {
    if !enter("process_group::wait::zombies_that_no_process_reaps_do_not_count") {
        return;
    }
    become_subreaper();
    for backend in backends() {
        let script = "exec 3<&0; sh -c 'read x' <&3 & echo $!; exit 3";
        let mut command = shell(script);
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let orphan: u32 = line(&mut child).parse().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        handle.wait_exited().unwrap();
        assert_ne!(state_of(orphan), Some('Z'));
        assert!(!group.has_exited().unwrap());
        drop(child.stdin.take());
        group.wait_exited().unwrap();
        assert_eq!(state_of(orphan), Some('Z'));
        group.signal(SIGKILL).unwrap(); // It still exists.
        let status = group.terminate(Duration::MAX).unwrap();
        assert_eq!(status.code(), Some(3));
        reap_externally(orphan);
    }
}

/// Its state is Z, too.
#[test]
fn a_member_whose_main_thread_has_exited_counts() {
    for backend in backends() {
        let child = fork(|| {
            lead_group();
            exit_main_thread();
        });
        await_state(child, 'Z');
        let handle = PidHandle::open_with(child, backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        assert!(!group.wait_exited_timeout(10 * MILLI).unwrap());
        while_asleep(|| group.wait_exited(), || kill(child, SIGKILL)).unwrap();
        handle.wait().unwrap();
    }
}

/// A member that leaves the group causes no event, and is alive after the wait.
#[test]
fn wait_ends_when_the_last_member_leaves_the_group() {
    for backend in backends() {
        let mut command = shell("exec 3<&0; (read x; exec setsid sleep 600) <&3 & echo $!");
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let worker: u32 = line(&mut child).parse().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.wait_exited().unwrap();
        let group = handle.process_group().unwrap();
        while_asleep(|| group.wait_exited(), || drop(child.stdin.take())).unwrap();
        assert!(leads_group(worker));
        kill(worker, SIGKILL);
        handle.wait().unwrap();
    }
}

/// A thread takes the status of the leader while another one waits for its group.
#[test]
fn wait_beside_a_wait_for_the_leader_is_for_the_whole_group() {
    for backend in backends() {
        let (child, members) = leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let waited = while_asleep(
            || group.wait_exited(),
            || {
                assert_eq!(handle.wait().unwrap().code(), Some(3));
                members.await_end_of_input();
            },
        );
        waited.unwrap();
    }
}

/// By PID, the group can then no longer be told from a later one, unless it is empty.
#[test]
fn wait_does_not_hang_when_other_code_reaps_the_leader() {
    for backend in backends() {
        let (child, members) = leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let waited = while_asleep(
            || group.wait_exited(),
            || {
                reap_externally(child.id());
                members.await_end_of_input();
            },
        );
        assert!(waited.is_ok() || errno(waited) == ECHILD);
    }
}

/// In a PID namespace that still has the outer `/proc`, where the numbers are those of other
/// processes.
#[test]
fn foreign_proc_is_unsupported() {
    let test = "process_group::wait::foreign_proc_is_unsupported";
    if enter_foreign_proc(test) {
        check_without_list();
    }
}

#[test]
fn missing_proc_is_unsupported() {
    if in_pid_namespace("process_group::wait::missing_proc_is_unsupported") {
        without_proc(check_without_list);
    }
}

/// The waits fail. An end does not: it takes the whole grace, even if the leader ends earlier, and kills the
/// rest.
fn check_without_list() {
    for backend in backends() {
        longer_each_time(500 * MILLI).find(|grace| saves_within_the_grace(backend, *grace));

        let (child, members) = leader();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let unsupported = std::io::ErrorKind::Unsupported;
        for error in [
            group.has_exited().unwrap_err(),
            group.wait_exited().unwrap_err(),
            group.wait_exited_timeout(MILLI).unwrap_err(),
            group.members().unwrap_err(),
        ] {
            assert_eq!(error.kind(), unsupported);
            assert!(error.to_string().contains("mount"), "{error}");
        }
        assert_eq!(group.terminate(Duration::ZERO).unwrap().code(), Some(3));
        members.await_end();

        // A grace without a limit ends with the leader.
        let mut command = sleep();
        let child = command.process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let status = group.terminate(Duration::MAX).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
    }
}

/// Ends a group with a worker that needs some of the grace, and then more than that. Returns whether the
/// grace was enough for the first.
fn saves_within_the_grace(backend: Backend, grace: Duration) -> bool {
    let worker = "trap \"sleep 0.1; echo saved; trap '' TERM; exec sleep 600\" TERM";
    let worker = format!("{worker}; echo ready; while :; do sleep 0.01; done");
    let mut command = Command::new("sh");
    command.args(["-c", "sh -c \"$0\" & wait", &worker]);
    command.process_group(0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    let handle = PidHandle::open_with(child.id(), backend).unwrap();
    let group = handle.process_group().unwrap();
    let start = Instant::now();
    let status = group.terminate(grace).unwrap();
    assert!(start.elapsed() >= grace);
    assert_eq!(status.signal(), Some(SIGTERM));
    // The output ends because all members have gone.
    let mut rest = String::new();
    child.stdout.unwrap().read_to_string(&mut rest).unwrap();
    assert!(["", "saved\n"].contains(&&*rest), "{rest}");
    rest == "saved\n"
}

/// Each process of the chain forks the next one and exits at once.
#[test]
fn chain_of_forks_does_not_outrun_a_look() {
    if !enter("process_group::wait::chain_of_forks_does_not_outrun_a_look") {
        return;
    }
    for backend in backends() {
        let child = fork_chain();
        let handle = PidHandle::open_with(child, backend).unwrap();
        eventually("the leader has exited", || state_of(child) == Some('Z'));
        let group = handle.process_group().unwrap();
        for _ in 0..crate::common::rounds(30) {
            assert!(!group.has_exited().unwrap());
        }
        group.kill().unwrap();
        group.wait_exited().unwrap();
        assert!(group.has_exited().unwrap());
        handle.wait().unwrap();
    }
}

/// What stands in for `/proc/loadavg`: a file of another file system, as lxcfs has it, one of procfs that
/// ends in 0, as gVisor's, and one that may not be read, as on Android.
#[test]
fn chain_of_forks_does_not_outrun_a_look_without_the_last_pid() {
    const TEST: &str =
        "process_group::wait::chain_of_forks_does_not_outrun_a_look_without_the_last_pid";
    const FILE: &str = "PIDWAIT_TEST_LOADAVG";
    if current_part().is_none() {
        let other = temp_dir().join(format!("loadavg.{}", std::process::id()));
        fs::write(&other, "0.00 0.00 0.00 1/100 4711\n").unwrap();
        for file in [
            other.as_path(),
            Path::new("/proc/sys/vm/laptop_mode"),
            Path::new("/proc/1/mem"),
        ] {
            in_pid_namespace_with(TEST, |command| {
                command.env(FILE, file);
            });
        }
        return;
    }
    let file = env::var(FILE).unwrap();
    let mut mount = Command::new("mount");
    if !mount
        .args(["--bind", &file, "/proc/loadavg"])
        .status()
        .unwrap()
        .success()
    {
        return skip("nothing can be mounted on /proc/loadavg");
    }
    become_subreaper();
    for backend in backends() {
        for _ in 0..rounds(20) {
            let child = fork_chain();
            let handle = PidHandle::open_with(child, backend).unwrap();
            eventually("the leader has exited", || state_of(child) == Some('Z'));
            let group = handle.process_group().unwrap();
            for _ in 0..rounds(30) {
                assert!(!group.has_exited().unwrap());
            }
            let status = group.terminate(Duration::from_millis(20)).unwrap();
            assert_eq!(status.code(), Some(0));
            assert!(!has_living_member(child));
        }
    }
}

/// A fork has its PID before it is in `/proc`: the first scan misses it, and the process that forks exits
/// before the scan reaches it.
#[test]
fn member_that_a_scan_misses_is_alive() {
    if !enter_preloaded(
        "process_group::wait::member_that_a_scan_misses_is_alive",
        "interposed.c",
    ) {
        return;
    }
    for backend in backends() {
        let leader = shell("exit 3").process_group(0).spawn().unwrap();
        await_zombie(leader.id());
        let number = leader.id().try_into().unwrap();
        let [exits, hidden] = [(); 2].map(|()| sleep().process_group(number).spawn().unwrap());
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        env::set_var("PIDWAIT_TEST_HIDDEN", hidden.id().to_string());
        env::set_var("PIDWAIT_TEST_EXITS", exits.id().to_string());
        assert!(!group.has_exited().unwrap());
        assert!(
            env::var_os("PIDWAIT_TEST_EXITS").is_none(),
            "it was reached"
        );
        assert_eq!(group.terminate(Duration::MAX).unwrap().code(), Some(3));
        assert!(!has_living_member(leader.id()));
        reap_externally(exits.id());
        reap_externally(hidden.id());
    }
}

/// A process of another group may not be inspected. A member that `getpgid` does not show counts neither.
#[test]
fn process_that_may_not_be_inspected_does_not_count() {
    if !enter_preloaded(
        "process_group::wait::process_that_may_not_be_inspected_does_not_count",
        "interposed.c",
    ) {
        return;
    }
    for backend in backends() {
        let unrelated = sleep().process_group(0).spawn().unwrap();
        env::set_var("PIDWAIT_TEST_DENIED", unrelated.id().to_string());
        let child = shell("sleep 600 & exec sleep 600")
            .process_group(0)
            .spawn()
            .unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        assert_eq!(
            group.terminate(Duration::MAX).unwrap().signal(),
            Some(SIGTERM)
        );
        assert!(group.has_exited().unwrap());
        assert!(!has_living_member(child.id()));
        kill(unrelated.id(), SIGKILL);
        reap_externally(unrelated.id());
    }
}

/// While a thread of a process execs, `/proc` can show the process as dead for a moment.
#[test]
fn member_that_execs_in_a_thread_is_alive() {
    const TEST: &str = "process_group::wait::member_that_execs_in_a_thread_is_alive";
    const IS_MEMBER: &str = "PIDWAIT_TEST_IS_MEMBER";
    let this = env::current_exe().unwrap();
    if env::var_os(IS_MEMBER).is_some() {
        // With more than one thread for tests, a test does not run in the main thread.
        let error = Command::new(this).args(env::args_os().skip(1)).exec();
        panic!("{error}");
    }
    if !in_pid_namespace(TEST) {
        return;
    }
    for backend in backends() {
        let mut command = shell("exit 3");
        let leader = command.process_group(0).spawn().unwrap();
        await_zombie(leader.id());
        let mut member = Command::new(&this);
        member.args([TEST, "--exact", "--test-threads=2"]);
        member.env(IS_MEMBER, "").stdout(Stdio::null());
        member.process_group(i32::try_from(leader.id()).unwrap());
        let mut member = member.spawn().unwrap();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        for _ in 0..rounds(5_000) {
            assert!(!group.has_exited().unwrap());
        }
        member.kill().unwrap();
        member.wait().unwrap();
        assert!(group.has_exited().unwrap());
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
}
