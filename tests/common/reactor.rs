//! Tests of the async handles that run on every reactor.

use std::future::{poll_fn, Future};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::{pin, Pin};
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, ESRCH, SIGKILL, SIGTERM};
use pidwait::{KillOnDrop, PidHandle, ResourceUsage, Spawned};

#[cfg(target_os = "linux")]
use crate::common::pid_namespace::{in_pid_namespace, ReusedPid};
use crate::common::{
    await_state, await_zombie, backends, errno, ignoring_sigterm, line, readable, reap_externally,
    shell, sleeper, stop, zombie, IdleCheck, NonChild, LONG,
};
#[cfg(target_os = "linux")]
use crate::common::{traceable_sleeper, Tracer};

/// A reactor, with an executor to run futures on.
pub(crate) trait Reactor {
    type Handle: AsyncHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T;
    fn sleep(time: Duration) -> impl Future<Output = ()>;
    /// Compiles only if the futures are `Send`.
    fn assert_send();
}

/// The async handle under test.
pub(crate) trait AsyncHandle: Sized + Clone + AsRef<PidHandle> {
    fn new(handle: &PidHandle) -> io::Result<Self>;
    fn handle(&self) -> &PidHandle;
    fn wait(&self) -> impl Future<Output = io::Result<ExitStatus>>;
    fn wait_usage(&self) -> impl Future<Output = io::Result<(ExitStatus, ResourceUsage)>>;
    fn wait_shared(&self) -> impl Future<Output = io::Result<ExitStatus>>;
    fn wait_exited(&self) -> impl Future<Output = io::Result<()>>;
    fn terminate(&self, grace: Duration) -> impl Future<Output = io::Result<ExitStatus>>;
    fn terminate_process_group(
        &self,
        grace: Duration,
    ) -> impl Future<Output = io::Result<ExitStatus>>;
}

/// Implements `AsyncHandle` for an async handle. The crate's types have the same methods, but no
/// common trait.
macro_rules! async_handle {
    ($handle:ty) => {
        impl crate::reactor::AsyncHandle for $handle {
            fn new(handle: &pidwait::PidHandle) -> std::io::Result<Self> {
                Self::new(handle)
            }
            fn handle(&self) -> &pidwait::PidHandle {
                self.handle()
            }
            async fn wait(&self) -> std::io::Result<std::process::ExitStatus> {
                self.wait().await
            }
            async fn wait_usage(
                &self,
            ) -> std::io::Result<(std::process::ExitStatus, pidwait::ResourceUsage)> {
                self.wait_usage().await
            }
            async fn wait_shared(&self) -> std::io::Result<std::process::ExitStatus> {
                self.wait_shared().await
            }
            async fn wait_exited(&self) -> std::io::Result<()> {
                self.wait_exited().await
            }
            async fn terminate(
                &self,
                grace: std::time::Duration,
            ) -> std::io::Result<std::process::ExitStatus> {
                self.terminate(grace).await
            }
            async fn terminate_process_group(
                &self,
                grace: std::time::Duration,
            ) -> std::io::Result<std::process::ExitStatus> {
                self.terminate_process_group(grace).await
            }
        }
    };
}
pub(crate) use async_handle;

macro_rules! assert_send {
    ($handle:ty) => {
        fn assert_send() {
            fn is_send<T: Send>(_: &T) {}
            let _ = |handle: &$handle| {
                is_send(&handle.wait());
                is_send(&handle.wait_usage());
                is_send(&handle.wait_shared());
                is_send(&handle.wait_exited());
                is_send(&handle.terminate(Duration::ZERO));
                is_send(&handle.terminate_process_group(Duration::ZERO));
            };
            fn is_shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
            is_shared::<$handle>();
        }
    };
}
pub(crate) use assert_send;

/// Generates one test for each function of this module.
macro_rules! test_on {
    ($reactor:ty: $($behaviour:ident),+ $(,)?) => {
        $(#[test]
        fn $behaviour() {
            crate::reactor::$behaviour::<$reactor>();
        })+
    };
    ($reactor:ty) => {
        crate::reactor::test_on! { $reactor:
            wait_for_running_child_returns_its_status,
            wait_for_zombie_returns_its_status,
            wait_for_child_reaped_at_conversion_returns_its_status,
            wait_fails_with_echild_after_blocking_wait_reaped,
            only_one_of_concurrent_waits_gets_the_status,
            a_thousand_cancelled_waits_lose_nothing,
            wait_cancelled_when_ready_loses_nothing,
            wait_for_non_child_fails_with_echild,
            done_or_released_handle_is_rejected,
            wait_after_release_fails_with_einval,
            handle_can_be_registered_again,
            wait_usage_returns_the_usage,
            wait_shared_gives_each_future_the_status,
            wait_shared_fails_with_einval_after_release,
            a_thousand_tasks_share_one_status,
            terminate_returns_the_status,
            terminate_kills_after_the_grace,
            terminate_of_zombie_or_non_child_sends_nothing,
            terminate_dropped_at_any_point_loses_nothing,
            terminate_process_group_ends_all_members,
            terminate_process_group_gives_members_the_grace,
            terminate_process_group_kills_after_the_grace,
            terminate_process_group_of_non_leader_or_non_child_fails,
            terminate_process_group_dropped_midway_loses_nothing,
            futures_dropped_after_any_poll_lose_nothing,
            futures_are_send,
            kill_on_drop_works_around_it,
        }
        #[cfg(target_os = "linux")]
        crate::reactor::test_on! { $reactor: wait_sleeps_while_tracer_holds_zombie }
    };
}
pub(crate) use test_on;

/// Runs a test on each backend. The test gets a function that opens a PID with that backend.
fn on_each<R: Reactor, F: Future<Output = ()>>(test: impl Fn(Box<dyn Fn(u32) -> PidHandle>) -> F) {
    for backend in backends() {
        let open = move |pid| PidHandle::open_with(pid, backend).unwrap();
        R::block_on(test(Box::new(open)));
    }
}

fn register<R: Reactor>(handle: PidHandle) -> R::Handle {
    R::Handle::new(&handle).unwrap()
}

/// Polls a future once and asserts that it is pending.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Polls a future once, asserts that it is pending and drops it.
async fn cancel<T>(future: impl Future<Output = T>) {
    poll_once(pin!(future)).await;
}

pub(crate) fn wait_for_running_child_returns_its_status<R: Reactor>() {
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

pub(crate) fn wait_for_zombie_returns_its_status<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.wait_exited().await.unwrap();
        child.wait_exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

pub(crate) fn wait_for_child_reaped_at_conversion_returns_its_status<R: Reactor>() {
    R::block_on(async {
        let child = register::<R>(Spawned::from(zombie("exit 3")).handle);
        child.wait_exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

/// The blocking wait runs through the inner `PidHandle` while futures are pending.
pub(crate) fn wait_fails_with_echild_after_blocking_wait_reaped<R: Reactor>() {
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

pub(crate) fn only_one_of_concurrent_waits_gets_the_status<R: Reactor>() {
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

pub(crate) fn a_thousand_cancelled_waits_lose_nothing<R: Reactor>() {
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
pub(crate) fn wait_cancelled_when_ready_loses_nothing<R: Reactor>() {
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

pub(crate) fn wait_for_non_child_fails_with_echild<R: Reactor>() {
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

pub(crate) fn done_or_released_handle_is_rejected<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let done = open(zombie("exit 3").id());
        done.wait().unwrap();
        let released = open(std::process::id());
        released.release().unwrap();
        for (handle, expected) in [(done, ECHILD), (released, EINVAL)] {
            let result = R::Handle::new(&handle).map(drop);
            assert_eq!(errno(result), expected);
        }
    });
}

pub(crate) fn wait_after_release_fails_with_einval<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.handle().release().unwrap();
        assert_eq!(errno(child.wait().await), EINVAL);
        assert_eq!(errno(child.wait_exited().await), EINVAL);
        reap_externally(child.handle().id());
    });
}

/// While other registrations of the same handle exist, and after they are gone.
pub(crate) fn handle_can_be_registered_again<R: Reactor>() {
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
pub(crate) fn wait_sleeps_while_tracer_holds_zombie<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let pid = traceable_sleeper().id();
        let Some(tracer) = Tracer::attach(pid) else {
            return;
        };
        let child = register::<R>(open(pid));
        child.handle().kill().unwrap();
        await_state(pid, 'Z');
        let idle = IdleCheck::start();
        tokio::select! {
            status = child.wait() => panic!("{status:?}"),
            () = R::sleep(Duration::from_millis(500)) => {}
        }
        idle.finish();
        let end_tracer = async { tracer.end() };
        let (status, ()) = tokio::join!(child.wait(), end_tracer);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn wait_usage_returns_the_usage<R: Reactor>() {
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

pub(crate) fn wait_shared_gives_each_future_the_status<R: Reactor>() {
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

pub(crate) fn wait_shared_fails_with_einval_after_release<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(zombie("exit 3").id()));
        child.handle().release().unwrap();
        assert_eq!(errno(child.wait_shared().await), EINVAL);
        reap_externally(child.handle().id());
    });
}

/// One task for each clone. Exactly one of them reaps.
pub(crate) fn a_thousand_tasks_share_one_status<R: Reactor>() {
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

/// After SIGTERM the child runs on; after SIGKILL the next wait gets the status.
pub(crate) fn terminate_dropped_at_any_point_loses_nothing<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = register::<R>(open(ignoring_sigterm().id()));
        drop(child.terminate(Duration::ZERO)); // Not polled: nothing was sent.
        cancel(child.terminate(Duration::MAX)).await;
        assert!(
            !child.handle().has_exited().unwrap(),
            "only SIGTERM was sent"
        );
        let mut terminate = Box::pin(child.terminate(Duration::from_millis(1)));
        poll_once(terminate.as_mut()).await;
        R::sleep(Duration::from_millis(5)).await;
        // The timer has ended: this poll sends SIGKILL.
        let _ = poll_fn(|context| Poll::Ready(terminate.as_mut().poll(context).is_ready())).await;
        child.wait_exited().await.unwrap();
        drop(terminate);
        let status = child.wait_shared().await.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}

/// Polls each future a number of times, with some time between, and drops it. Either it has returned
/// or the next wait gets the status.
pub(crate) fn futures_dropped_after_any_poll_lose_nothing<R: Reactor>() {
    type Boxed<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + 'a>>;
    fn futures<H: AsyncHandle>(child: &H) -> [Boxed<'_, Option<ExitStatus>>; 6] {
        let grace = Duration::from_millis(1);
        [
            Box::pin(async { child.wait().await.map(Some) }),
            Box::pin(async { child.wait_usage().await.map(|(status, _)| Some(status)) }),
            Box::pin(async { child.wait_shared().await.map(Some) }),
            Box::pin(async { child.wait_exited().await.map(|()| None) }),
            Box::pin(async move { child.terminate(grace).await.map(Some) }),
            Box::pin(async move { child.terminate_process_group(grace).await.map(Some) }),
        ]
    }
    on_each::<R, _>(|open| async move {
        for (which, polls) in (0..6).flat_map(|which| (0..5).map(move |polls| (which, polls))) {
            let pid = ready_leader("trap '' TERM; echo ready; exec sleep 600");
            let child = register::<R>(open(pid));
            let mut future = futures(&child).into_iter().nth(which).unwrap();
            let mut returned = None;
            for poll in 0..polls {
                if poll == 2 {
                    child.handle().kill().unwrap_or_default(); // It may be reaped already.
                }
                R::sleep(Duration::from_millis(3)).await;
                let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
                if let Poll::Ready(result) = polled {
                    returned = result.unwrap();
                    break;
                }
            }
            drop(future);
            if returned.is_none() {
                child.handle().kill().unwrap();
                returned = Some(child.wait().await.unwrap());
            }
            assert_eq!(returned.unwrap().signal(), Some(SIGKILL));
        }
    });
}

/// So that they can be spawned on several threads.
pub(crate) fn futures_are_send<R: Reactor>() {
    R::assert_send();
}

/// Starts a group leader that runs a script, and waits for its line "ready".
fn ready_leader(script: &str) -> u32 {
    let mut command = shell(script);
    command.process_group(0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    child.id()
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

pub(crate) fn terminate_process_group_dropped_midway_loses_nothing<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("trap '' TERM; echo ready; exec sleep 600");
        let child = register::<R>(open(pid));
        drop(child.terminate_process_group(Duration::ZERO)); // Not polled: nothing was sent.
        cancel(child.terminate_process_group(Duration::MAX)).await;
        assert!(
            !child.handle().has_exited().unwrap(),
            "only SIGTERM was sent"
        );
        let status = child.terminate_process_group(Duration::ZERO).await.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}

pub(crate) fn kill_on_drop_works_around_it<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let pid = sleeper().id();
        let handle = open(pid);
        let child = register::<R>(handle.clone());
        drop(KillOnDrop::new(child));
        assert_eq!(handle.exit_status().unwrap().signal(), Some(SIGKILL));
    });
}

/// The process exits, other code reaps it, and another child gets its PID. A wait that checked only
/// the PID would find a running process behind a readable descriptor, again and again.
#[cfg(target_os = "linux")]
pub(crate) fn waits_after_pid_reuse_end_at_once<R: Reactor>(test: &str) {
    if !in_pid_namespace(test) {
        return;
    }
    on_each::<R, _>(|open| async move {
        let pid = zombie("exit 3").id();
        let child = register::<R>(open(pid));
        assert!(readable(&child.handle().exit_fd().unwrap(), LONG));
        reap_externally(pid);
        let reused = ReusedPid::running(pid);
        child.wait_exited().await.unwrap();
        assert_eq!(errno(child.wait().await), ECHILD);
        assert_eq!(errno(child.terminate(Duration::ZERO).await), ECHILD);
        reused.assert_untouched();
    });
}
