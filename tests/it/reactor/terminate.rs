//! Ends of a single process.

use std::os::unix::process::ExitStatusExt;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM, SIGUSR1};
use pidwait::{Escalation, KillOnDrop};

use super::{on_each, poll_now, register, Runtime};
use crate::common::{
    await_gone, errno, exists, ignoring_sigterm, kill, longer_each_time, sleeper, stop, zombie,
    NonChild,
};

pub(crate) fn terminate_returns_the_status<R: Runtime>() {
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

pub(crate) fn terminate_kills_after_the_grace<R: Runtime>() {
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

pub(crate) fn terminate_of_zombie_or_non_child_sends_nothing<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        let status = child.terminate(Duration::ZERO).await.unwrap();
        assert_eq!(status.code(), Some(3));
        let again = child.terminate(Duration::ZERO).await.unwrap();
        assert_eq!(again, status, "a wait of this handle had it");
        let mut non_child = NonChild::new();
        let other = register::<R>(open(non_child.pid));
        assert_eq!(errno(other.terminate(Duration::ZERO).await), ECHILD);
        assert_eq!(non_child.finish(), Some(7), "it was not signalled");
    });
}

pub(crate) fn terminate_takes_the_steps_of_an_escalation<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(ignoring_sigterm().id()));
        let steps = Escalation::new(SIGTERM, Duration::from_millis(1)).then(SIGUSR1, Duration::MAX);
        let status = child.terminate(&steps).await.unwrap();
        assert_eq!(status.signal(), Some(SIGUSR1));

        let child = register::<R>(open(sleeper().id()));
        let invalid = Escalation::new(SIGTERM, Duration::ZERO).then(1000, Duration::ZERO);
        assert_eq!(errno(child.terminate(&invalid).await), EINVAL);
        assert_eq!(errno(child.terminate_unreaped(&invalid).await), EINVAL);
        assert!(!child.handle().has_exited().unwrap(), "nothing was sent");
        child.kill().unwrap();
        child.wait().await.unwrap();
    });
}

pub(crate) fn terminate_unreaped_leaves_the_zombie<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        child.terminate_unreaped(Duration::MAX).await.unwrap();
        child.terminate_unreaped(Duration::MAX).await.unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(SIGTERM));
        child.terminate_unreaped(Duration::MAX).await.unwrap();
    });
}

/// Even if the wait gets it first.
pub(crate) fn terminate_beside_a_wait_returns_the_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let (waited, ended) = tokio::join!(child.wait(), child.terminate(Duration::MAX));
        assert_eq!(ended.unwrap().signal(), Some(SIGTERM));
        match waited {
            Ok(status) => assert_eq!(status.signal(), Some(SIGTERM)),
            missed => assert_eq!(errno(missed), ECHILD, "the end took the status"),
        }
    });
}

/// The drop of a guard for a blocking handle would wait for the grace period.
pub(crate) fn the_drop_of_a_guard_does_not_block<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ignoring_sigterm().id();
        let child = register::<R>(open(pid));
        let start = Instant::now();
        drop(KillOnDrop::with_escalation(
            child.clone(),
            Duration::from_secs(600),
        ));
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(exists(pid), "only SIGTERM was sent");
        kill(pid, SIGKILL);
        await_gone(pid); // Reaped in the background.
        assert_eq!(child.wait_shared().await.unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn kill_on_drop_kills_and_reaps<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = sleeper().id();
        let handle = open(pid);
        drop(KillOnDrop::new(register::<R>(handle.clone())));
        await_gone(pid);
        assert_eq!(handle.wait_shared().unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn terminate_continues_after_a_release<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        for grace in longer_each_time(Duration::from_millis(20)) {
            let child = register::<R>(open(ignoring_sigterm().id()));
            let mut end = Box::pin(child.terminate(grace));
            if let Poll::Ready(ended) = poll_now(end.as_mut()).await {
                assert_eq!(ended.unwrap().signal(), Some(SIGKILL));
                continue;
            }
            child.handle().release().unwrap();
            assert_eq!(end.await.unwrap().signal(), Some(SIGKILL));
            assert_eq!(errno(child.terminate(Duration::ZERO).await), EINVAL);
            break;
        }
    });
}
