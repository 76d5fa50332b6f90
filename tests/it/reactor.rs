//! Tests of the async handles that run on every reactor.

mod dropped;
mod terminate;
mod wait;

use std::future::{poll_fn, Future};
use std::io;
use std::os::unix::process::CommandExt;
use std::pin::{pin, Pin};
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use pidwait::{PidHandle, ResourceUsage};

use crate::common::{backends, line, shell};

pub(crate) use {dropped::*, terminate::*, wait::*};

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

/// Generates one test for each function of the modules.
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

/// Polls a future once.
async fn poll_now<T>(mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls a future once and asserts that it is pending.
async fn poll_once<F: Future>(future: Pin<&mut F>) {
    assert!(poll_now(future).await.is_pending());
}

/// Polls a future once, asserts that it is pending and drops it.
async fn cancel<T>(future: impl Future<Output = T>) {
    poll_once(pin!(future)).await;
}

/// Starts a group leader that runs a script, and waits for its line "ready".
fn ready_leader(script: &str) -> u32 {
    let mut command = shell(script);
    command.process_group(0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    child.id()
}
