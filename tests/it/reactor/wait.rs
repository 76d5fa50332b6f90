//! Waits: their status, and their errors.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{AsyncPidHandle, Spawned};

#[cfg(target_os = "linux")]
use super::on_each_in_turn;
use super::{cancel, on_each, poll_now, poll_once, register, Runtime};
#[cfg(target_os = "linux")]
use crate::common::pid_namespace::{in_pid_namespace, ReusedPid};
use crate::common::{
    await_state, errno, has_exit_records, readable, reap_externally, sleeper, zombie, IdleCheck,
    NonChild, LONG,
};
#[cfg(target_os = "linux")]
use crate::common::{traceable_sleeper, Tracer};

pub(crate) fn wait_for_running_child_returns_its_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let kill = async { child.handle().kill().unwrap() };
        let (status, ()) = tokio::join!(child.wait(), kill);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
        child.wait_exited().await.unwrap();
        assert_eq!(errno(child.wait().await), ECHILD);
        assert_eq!(
            child.handle().exit_status().unwrap().signal(),
            Some(SIGKILL)
        );
    });
}

pub(crate) fn wait_for_zombie_returns_its_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.wait_exited().await.unwrap();
        child.wait_exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

pub(crate) fn wait_for_child_reaped_at_conversion_returns_its_status<R: Runtime>() {
    R::block_on(async {
        let child = register::<R>(Spawned::from(zombie("exit 3")).handle);
        child.wait_exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

/// The blocking wait runs through the inner `PidHandle` while futures are pending.
pub(crate) fn wait_fails_with_echild_after_blocking_wait_reaped<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let reap = async {
            child.handle().kill().unwrap();
            child.handle().wait().unwrap()
        };
        let (future, exited, status) = tokio::join!(child.wait(), child.wait_exited(), reap);
        assert_eq!(errno(future), ECHILD);
        exited.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}

pub(crate) fn only_one_of_concurrent_waits_gets_the_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let kill = async { child.handle().kill().unwrap() };
        let (one, two, exited, three, ()) = tokio::join!(
            child.wait(),
            child.wait(),
            child.wait_exited(),
            child.wait(),
            kill
        );
        exited.unwrap();
        let (got, missed): (Vec<_>, Vec<_>) =
            [one, two, three].into_iter().partition(Result::is_ok);
        assert_eq!(
            got.len(),
            1,
            "exactly one wait gets the status: {got:?} {missed:?}"
        );
        for result in missed {
            assert_eq!(errno(result), ECHILD);
        }
    });
}

pub(crate) fn wait_for_non_child_fails_with_echild<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let mut non_child = NonChild::new();
        let other = register::<R>(open(non_child.pid));
        assert_eq!(errno(other.wait().await), ECHILD, "while it runs");
        cancel(other.wait_exited()).await;
        let end = async { assert_eq!(non_child.finish(), Some(7)) };
        let (exited, ()) = tokio::join!(other.wait_exited(), end);
        exited.unwrap();
        assert_eq!(errno(other.wait().await), ECHILD);
    });
}

pub(crate) fn a_done_handle_is_ready_at_once<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let done = open(zombie("exit 3").id());
        let status = done.wait().unwrap();
        let child = register::<R>(done);
        assert_eq!(
            poll_now(pin!(child.wait_shared()))
                .await
                .map(Result::unwrap),
            Poll::Ready(status)
        );
        assert!(poll_now(pin!(child.wait_exited())).await.is_ready());
        assert_eq!(child.terminate(Duration::ZERO).await.unwrap(), status);
        child.terminate_unreaped(Duration::ZERO).await.unwrap();
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

pub(crate) fn a_released_handle_is_rejected<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let released = open(std::process::id());
        released.release().unwrap();
        let registered = AsyncPidHandle::<R::Reactor>::new(&released);
        assert_eq!(errno(registered.map(drop)), EINVAL);
    });
}

pub(crate) fn wait_after_release_fails_with_einval<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.handle().release().unwrap();
        assert_eq!(errno(child.wait().await), EINVAL);
        assert_eq!(errno(child.wait_exited().await), EINVAL);
        reap_externally(child.handle().id());
    });
}

/// While other registrations of the same handle exist, and after they are gone.
pub(crate) fn handle_can_be_registered_again<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let handle = open(sleeper().id());
        for _ in 0..3 {
            let child = register::<R>(handle.clone());
            let second = register::<R>(handle.clone());
            cancel(child.wait()).await;
            cancel(second.wait()).await;
            drop(child);
            cancel(second.wait_exited()).await;
        }
        let (one, two) = (register::<R>(handle.clone()), register::<R>(handle.clone()));
        let kill = async { handle.kill().unwrap() };
        let (first, second, ()) = tokio::join!(one.wait_shared(), two.wait_shared(), kill);
        assert_eq!(first.unwrap().signal(), Some(SIGKILL));
        assert_eq!(second.unwrap().signal(), Some(SIGKILL));
    });
}

/// The wait stays pending until the tracer detaches from the zombie.
#[cfg(target_os = "linux")]
pub(crate) fn wait_sleeps_while_tracer_holds_zombie<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = traceable_sleeper().id();
        let Some(tracer) = Tracer::attach(pid) else {
            return;
        };
        let child = register::<R>(open(pid));
        child.handle().kill().unwrap();
        await_state(pid, 'Z');
        let mut check = IdleCheck::start();
        loop {
            tokio::select! {
                status = child.wait() => panic!("{status:?}"),
                () = R::sleep(Duration::from_millis(500)) => {}
            }
            if check.was_idle() {
                break;
            }
        }
        let end_tracer = async { tracer.end() };
        let (status, ()) = tokio::join!(child.wait(), end_tracer);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn wait_usage_returns_the_usage<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        cancel(child.wait_usage()).await;
        let kill = async { child.handle().kill().unwrap() };
        let (waited, ()) = tokio::join!(child.wait_usage(), kill);
        let (status, usage) = waited.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
        assert!(usage.max_rss > 0);
        assert_eq!(errno(child.wait_usage().await), ECHILD);
    });
}

pub(crate) fn wait_shared_gives_each_future_the_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let clone = child.clone();
        let reap = async {
            child.handle().kill().unwrap();
            child.handle().clone().wait().unwrap()
        };
        let (one, two, reaped) = tokio::join!(child.wait_shared(), clone.wait_shared(), reap);
        assert_eq!(one.unwrap(), reaped);
        assert_eq!(two.unwrap(), reaped);
        assert_eq!(clone.wait_shared().await.unwrap(), reaped, "later, too");
        assert_eq!(errno(clone.wait().await), ECHILD);
    });
}

pub(crate) fn wait_shared_fails_with_einval_after_release<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.handle().release().unwrap();
        assert_eq!(errno(child.wait_shared().await), EINVAL);
        reap_externally(child.handle().id());
    });
}

/// One task for each clone. Exactly one of them reaps.
pub(crate) fn a_thousand_tasks_share_one_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        let mut waits: Vec<_> = (0..1000)
            .map(|_| {
                let child = child.clone();
                Box::pin(async move { child.wait_shared().await })
            })
            .collect();
        for wait in &mut waits {
            poll_once(wait.as_mut()).await;
        }
        child.handle().kill().unwrap();
        for wait in waits {
            assert_eq!(wait.await.unwrap().signal(), Some(SIGKILL));
        }
    });
}

/// The process exits, other code reaps it, and another child gets its PID. A wait that checked only
/// the PID would find a running process behind a readable descriptor, again and again.
#[cfg(target_os = "linux")]
pub(crate) fn waits_after_pid_reuse_end_at_once<R: Runtime>(test: &str) {
    if !in_pid_namespace(test) {
        return;
    }
    on_each_in_turn::<R, _>(|open| async move {
        let pid = zombie("exit 3").id();
        let child = register::<R>(open(pid));
        assert!(readable(&child.handle().exit_fd().unwrap(), LONG));
        reap_externally(pid);
        let reused = ReusedPid::running(pid);
        child.wait_exited().await.unwrap();
        assert_eq!(errno(child.wait().await), ECHILD);
        let ended = child.terminate(Duration::ZERO).await;
        if has_exit_records(child.handle().backend()) {
            assert_eq!(ended.unwrap().code(), Some(3));
        } else {
            assert_eq!(errno(ended), ECHILD);
        }
        reused.assert_untouched();
    });
}
