//! Children that are spawned with an async handle.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc::ENOENT;
use pidwait::{AsyncPidHandle, AsyncSpawned, KillOnDrop, PidHandle, Spawned};

use super::Runtime;
use crate::common::isolated::enter_with_each_backend;
#[cfg(target_os = "linux")]
use crate::common::seccomp::{deny, DeniedCall};
use crate::common::{errno, eventually, has_no_children, shell, sleep};

pub(crate) fn spawn_returns_the_handle_the_group_and_the_pipes<R: Runtime>(test: &str) {
    if !enter_with_each_backend(test) {
        return;
    }
    R::block_on(async {
        let mut command = shell("cat; exit 3");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = AsyncPidHandle::<R::Reactor>::spawn(command.process_group(0)).unwrap();
        assert!(child.stderr.is_none());
        let group = child.group.take().unwrap();
        assert_eq!(group.group().id(), child.handle.id());
        let mut stdin = child.stdin.take().unwrap();
        R::write(&mut stdin, "text").await;
        drop(stdin);
        let text = R::read(child.stdout.as_mut().unwrap()).await;
        assert_eq!(text, "text");
        assert_eq!(child.handle.wait().await.unwrap().code(), Some(3));
        group.wait_exited().await.unwrap();

        let child = AsyncPidHandle::<R::Reactor>::spawn(&mut Command::new("true")).unwrap();
        assert!(child.group.is_none() && child.stdin.is_none() && child.stdout.is_none());
        assert!(child.handle.wait().await.unwrap().success());

        let missing = AsyncPidHandle::<R::Reactor>::spawn(&mut Command::new("/missing"));
        assert_eq!(errno(missing.map(drop)), ENOENT);
    });
}

/// A pipe that is full does not block the task.
pub(crate) fn the_pipes_do_not_block<R: Runtime>() {
    R::block_on(async {
        let mut command = shell("sleep 0.05; cat");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = Spawned::from(command.spawn().unwrap());
        let mut child = AsyncSpawned::<R::Reactor>::from_std(child).unwrap();
        let text = "x".repeat(1 << 20);
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let write = async {
            R::write(&mut stdin, &text).await;
            drop(stdin);
        };
        let ((), read) = tokio::join!(write, R::read(&mut stdout));
        assert!(read == text);
        assert!(child.handle.wait().await.unwrap().success());
    });
}

/// The guard notes the group. What is taken out of it later changes nothing.
pub(crate) fn a_guard_of_a_spawned_child_kills_its_group<R: Runtime>(test: &str) {
    if !enter_with_each_backend(test) {
        return;
    }
    R::block_on(async {
        let mut command = shell("sleep 600 & exit 3");
        command.process_group(0).stdout(Stdio::piped());
        let child = AsyncPidHandle::<R::Reactor>::spawn(&mut command).unwrap();
        let mut guard = KillOnDrop::new(child);
        let mut stdout = guard.stdout.take().unwrap();
        assert!(guard.group.take().is_some());
        assert_eq!(guard.handle.wait().await.unwrap().code(), Some(3));
        drop(guard);
        R::read(&mut stdout).await; // Until the sleep has gone.
    });
}

/// The reactor refuses the child, after the fork.
#[cfg(target_os = "linux")]
pub(crate) fn a_child_that_cannot_be_registered_is_killed<R: Runtime>(test: &str) {
    use nix::libc::{SYS_epoll_ctl, ENOMEM};
    const NO_EPOLL: DeniedCall = DeniedCall {
        call: SYS_epoll_ctl,
        only_if: None,
        errno: ENOMEM,
    };
    if !enter_with_each_backend(test) {
        return;
    }
    // The reactor and the background reaper start before.
    let other = PidHandle::spawn(&mut sleep()).unwrap().handle;
    other.reap_in_background();
    R::block_on(async {
        let registered = AsyncPidHandle::<R::Reactor>::new(&other).unwrap();
        drop(registered);
        deny(&[NO_EPOLL]).unwrap();
        for _ in 0..3 {
            let spawned = AsyncPidHandle::<R::Reactor>::spawn(&mut sleep());
            assert_eq!(errno(spawned.map(drop)), ENOMEM);
        }
    });
    other.kill().unwrap();
    eventually("all children are reaped", has_no_children);
}
