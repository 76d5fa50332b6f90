//! Futures that are dropped before they return: nothing is lost.

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use nix::libc::SIGKILL;
use pidwait::{AsyncPidHandle, AsyncProcessGroup, Reactor};

use super::{cancel, on_each, poll_now, poll_once, ready_leader, register, Runtime};
use crate::common::{await_zombie, ignoring_sigterm, sleeper};

pub(crate) fn a_thousand_cancelled_waits_lose_nothing<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(sleeper().id()));
        for _ in 0..1000 {
            cancel(child.wait()).await;
            cancel(child.wait_exited()).await;
        }
        let kill = async { child.handle().kill().unwrap() };
        let (status, ()) = tokio::join!(child.wait(), kill);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    });
}

/// The child has exited and the reactor may already have woken the future that is dropped.
pub(crate) fn wait_cancelled_when_ready_loses_nothing<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = sleeper().id();
        let child = register::<R>(open(pid));
        let mut wait = Box::pin(child.wait());
        poll_once(wait.as_mut()).await;
        child.handle().kill().unwrap();
        await_zombie(pid);
        child.wait_exited().await.unwrap();
        drop(wait);
        assert_eq!(child.wait().await.unwrap().signal(), Some(SIGKILL));
    });
}

/// After SIGTERM the child runs on; after SIGKILL the next wait gets the status.
pub(crate) fn terminate_dropped_at_any_point_loses_nothing<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(ignoring_sigterm().id()));
        drop(child.terminate(Duration::ZERO)); // Not polled: nothing was sent.
        cancel(child.terminate(Duration::MAX)).await;
        assert!(
            !child.handle().has_exited().unwrap(),
            "only SIGTERM was sent"
        );
        let mut terminate = Box::pin(child.terminate(Duration::from_millis(1)));
        // On a slow machine the grace can be over, and even the child gone, at the first poll.
        if poll_now(terminate.as_mut()).await.is_pending() {
            R::sleep(Duration::from_millis(5)).await;
            // The timer has ended: this poll sends SIGKILL, unless the first one did.
            let _ = poll_now(terminate.as_mut()).await;
        }
        child.wait_exited().await.unwrap();
        drop(terminate);
        let status = child.wait_shared().await.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}

/// Polls each future a number of times, with some time between, and drops it. Either it has returned
/// or the next wait gets the status.
pub(crate) fn futures_dropped_after_any_poll_lose_nothing<R: Runtime>() {
    type Boxed<'a> = Pin<Box<dyn Future<Output = io::Result<Option<ExitStatus>>> + 'a>>;
    fn futures<'a, R: Reactor>(
        child: &'a AsyncPidHandle<R>,
        group: &'a AsyncProcessGroup<R>,
    ) -> [Boxed<'a>; 8] {
        let grace = Duration::from_millis(1);
        [
            Box::pin(async { child.wait().await.map(Some) }),
            Box::pin(async { child.wait_usage().await.map(|(status, _)| Some(status)) }),
            Box::pin(async { child.wait_shared().await.map(Some) }),
            Box::pin(async { child.wait_exited().await.map(|()| None) }),
            Box::pin(async move { child.terminate(grace).await.map(Some) }),
            Box::pin(async { group.wait_exited().await.map(|()| None) }),
            Box::pin(async move { group.terminate(grace).await.map(Some) }),
            Box::pin(async move { group.terminate_unreaped(grace).await.map(|()| None) }),
        ]
    }
    on_each::<R, _>(|open| async move {
        for (which, polls) in (0..8).flat_map(|which| (0..5).map(move |polls| (which, polls))) {
            let pid = ready_leader("trap '' TERM; echo ready; exec sleep 600");
            let child = register::<R>(open(pid));
            let group = child.process_group().unwrap();
            let mut future = futures(&child, &group).into_iter().nth(which).unwrap();
            let mut returned = None;
            for poll in 0..polls {
                if poll == 2 {
                    child.kill().unwrap_or_default(); // A wait may have got the status.
                }
                R::sleep(Duration::from_millis(3)).await;
                if let Poll::Ready(result) = poll_now(future.as_mut()).await {
                    returned = result.unwrap();
                    break;
                }
            }
            drop(future);
            if returned.is_none() {
                child.kill().unwrap();
                returned = Some(child.wait().await.unwrap());
            }
            assert_eq!(returned.unwrap().signal(), Some(SIGKILL));
        }
    });
}

pub(crate) fn the_end_of_a_group_dropped_midway_loses_nothing<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("trap '' TERM; echo ready; exec sleep 600");
        let child = register::<R>(open(pid));
        let group = child.process_group().unwrap();
        drop(group.terminate(Duration::ZERO)); // Not polled: nothing was sent.
        cancel(group.terminate(Duration::MAX)).await;
        // Longer than a slow machine takes for the first poll.
        cancel(group.terminate(Duration::from_secs(1))).await;
        R::sleep(Duration::from_millis(1200)).await;
        assert!(
            !child.handle().has_exited().unwrap(),
            "only SIGTERM was sent, although the second grace is over"
        );
        let status = group.terminate(Duration::ZERO).await.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}
