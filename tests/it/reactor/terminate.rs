//! `terminate` and `terminate_process_group`.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, ESRCH, SIGKILL, SIGTERM};

use super::{on_each, ready_leader, register, AsyncHandle, Reactor};
use crate::common::{errno, ignoring_sigterm, line, shell, sleeper, stop, zombie, NonChild};

pub(crate) fn terminate_returns_the_status<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let status = child.terminate(Duration::MAX).await.unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
        let stopped = sleeper().id();
        stop(stopped);
        let child = register::<R>(open(stopped));
        let status = child.terminate(Duration::MAX).await.unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
    });
}

pub(crate) fn terminate_kills_after_the_grace<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        for grace in [Duration::ZERO, Duration::from_millis(20)] {
            let child = register::<R>(open(ignoring_sigterm().id()));
            let start = Instant::now();
            let status = child.terminate(grace).await.unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
            assert!(start.elapsed() >= grace);
        }
    });
}

pub(crate) fn terminate_of_zombie_or_non_child_sends_nothing<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        let status = child.terminate(Duration::ZERO).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(errno(child.terminate(Duration::ZERO).await), ECHILD);
        let mut non_child = NonChild::new();
        let other = register::<R>(open(non_child.pid));
        assert_eq!(errno(other.terminate(Duration::ZERO).await), ECHILD);
        assert_eq!(non_child.finish(), Some(7), "it was not signalled");
    });
}

/// Returns whether a process of the group is alive: `kill` also finds zombies, and those of orphans
/// are reaped by another process.
fn is_alive(group: u32) -> bool {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return false; // There is no /proc to tell.
    }
    let stat = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
        Some((fields[0] != "Z", fields[2].parse::<u32>().ok()?))
    };
    let mut stats = std::fs::read_dir("/proc").unwrap().filter_map(stat);
    stats.any(|(alive, of)| alive && of == group)
}

pub(crate) fn terminate_process_group_ends_all_members<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        // The leader runs, or is a zombie already.
        for script in [
            "sleep 600 & echo ready; sleep 600",
            "sleep 600 & echo ready",
        ] {
            let pid = ready_leader(script);
            let child = register::<R>(open(pid));
            let status = child.terminate_process_group(Duration::MAX).await.unwrap();
            assert!(status.signal() == Some(SIGTERM) || status.code() == Some(0));
            assert!(!is_alive(pid));
            let again = child.terminate_process_group(Duration::ZERO).await;
            assert_eq!(errno(again), ECHILD);
        }
    });
}

/// The leader ends at once, and a member needs some time to save its work.
pub(crate) fn terminate_process_group_gives_members_the_grace<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let script = "(trap 'sleep 0.3; echo saved >&2; exit' TERM; echo ready; \
                      while :; do sleep 0.01; done) & trap 'exit 3' TERM; wait";
        let mut command = shell(script);
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut leader = command.spawn().unwrap();
        assert_eq!(line(&mut leader), "ready");
        let child = register::<R>(open(leader.id()));
        let grace = Duration::from_secs(600);
        child.terminate_process_group(grace).await.unwrap();
        let mut text = String::new();
        let mut stderr = leader.stderr.take().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        assert!(text.contains("saved"), "{text:?}");
    });
}

pub(crate) fn terminate_process_group_kills_after_the_grace<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        for grace in [Duration::ZERO, Duration::from_millis(20)] {
            let script = "(trap '' TERM; echo ready; exec sleep 600) & sleep 600";
            let pid = ready_leader(script);
            let child = register::<R>(open(pid));
            let start = Instant::now();
            child.terminate_process_group(grace).await.unwrap();
            assert!(start.elapsed() >= grace);
            assert!(!is_alive(pid));
        }
    });
}

pub(crate) fn terminate_process_group_of_non_leader_or_non_child_fails<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let result = child.terminate_process_group(Duration::ZERO).await;
        assert_eq!(errno(result), ESRCH);
        assert!(!child.handle().has_exited().unwrap());
        let mut non_child = NonChild::new();
        let other = register::<R>(open(non_child.pid));
        let result = other.terminate_process_group(Duration::ZERO).await;
        assert_eq!(errno(result), ECHILD);
        assert_eq!(non_child.finish(), Some(7), "it was not signalled");
    });
}
