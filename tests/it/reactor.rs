//! Tests of the async handles that run on every reactor.

mod dropped;
mod group;
mod spawn;
mod terminate;
mod wait;

use std::future::{poll_fn, Future};
use std::os::unix::process::CommandExt;
use std::pin::{pin, Pin};
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

use pidwait::{AsyncPidHandle, Backend, PidHandle, Reactor};

use crate::common::{at_once, backends, line, shell};

pub(crate) use {dropped::*, group::*, spawn::*, terminate::*, wait::*};

/// A reactor, with an executor to run futures on.
pub(crate) trait Runtime {
    type Reactor: Reactor;

    fn block_on<T>(future: impl Future<Output = T>) -> T;
    fn sleep(time: Duration) -> impl Future<Output = ()>;
    async fn read(pipe: &mut <Self::Reactor as Reactor>::Stdout) -> String;
    async fn write(pipe: &mut <Self::Reactor as Reactor>::Stdin, text: &str);
}

/// Generates one test for each function of the modules. Those after `isolated` run in processes of their
/// own, and so need their names.
macro_rules! test_on {
    ($runtime:ty: $($behaviour:ident),+ $(; isolated: $($isolated:ident),+)? $(,)?) => {
        $(#[test]
        fn $behaviour() {
            crate::reactor::$behaviour::<$runtime>();
        })+
        $($(#[test]
        fn $isolated() {
            let test = concat!(module_path!(), "::", stringify!($isolated));
            let (_, test) = test.split_once("::").unwrap(); // Without the binary.
            crate::reactor::$isolated::<$runtime>(test);
        })+)?
    };
    ($runtime:ty) => {
        crate::reactor::test_on! { $runtime:
            wait_for_running_child_returns_its_status,
            wait_for_zombie_returns_its_status,
            wait_for_child_reaped_at_conversion_returns_its_status,
            wait_fails_with_echild_after_blocking_wait_reaped,
            only_one_of_concurrent_waits_gets_the_status,
            a_thousand_cancelled_waits_lose_nothing,
            wait_cancelled_when_ready_loses_nothing,
            wait_for_non_child_fails_with_echild,
            a_done_handle_is_ready_at_once,
            a_released_handle_is_rejected,
            wait_after_release_fails_with_einval,
            handle_can_be_registered_again,
            wait_usage_returns_the_usage,
            wait_shared_gives_each_future_the_status,
            wait_shared_fails_with_einval_after_release,
            a_thousand_tasks_share_one_status,
            terminate_returns_the_status,
            terminate_kills_after_the_grace,
            terminate_of_zombie_or_non_child_sends_nothing,
            terminate_takes_the_steps_of_an_escalation,
            terminate_unreaped_leaves_the_zombie,
            terminate_beside_a_wait_returns_the_status,
            terminate_continues_after_a_release,
            terminate_dropped_at_any_point_loses_nothing,
            the_drop_of_a_guard_does_not_block,
            kill_on_drop_kills_and_reaps,
            the_end_of_a_group_ends_all_members,
            the_end_of_a_group_gives_members_the_grace,
            the_end_of_a_group_kills_after_the_grace,
            the_end_of_a_group_can_leave_the_zombie,
            the_end_of_a_group_dropped_midway_loses_nothing,
            a_group_is_checked_before_anything_is_sent,
            waits_beside_the_end_of_a_group_get_the_status,
            a_group_keeps_its_leader,
            a_wait_for_a_group_sleeps,
            a_guard_of_a_group_kills_it,
            futures_dropped_after_any_poll_lose_nothing,
            the_pipes_do_not_block;
            isolated: spawn_returns_the_handle_the_group_and_the_pipes,
            a_guard_of_a_spawned_child_kills_its_group,
        }
        #[cfg(target_os = "linux")]
        crate::reactor::test_on! { $runtime:
            wait_sleeps_while_tracer_holds_zombie,
            a_wait_for_a_group_ends_with_its_last_member;
            isolated: waits_after_pid_reuse_end_at_once,
            the_end_of_a_group_does_not_list_proc_meanwhile,
            a_child_that_cannot_be_registered_is_killed,
        }
    };
}
pub(crate) use test_on;

/// Runs a test on each backend at the same time. The test gets a function that opens a PID with that
/// backend.
fn on_each<R: Runtime, F: Future<Output = ()>>(
    test: impl Fn(Box<dyn Fn(u32) -> PidHandle>) -> F + Sync,
) {
    at_once(backends(), |backend| on::<R, _>(backend, &test));
}

/// Like [`on_each`], one after the other, for a test that chooses the PID of a new process.
#[cfg(target_os = "linux")]
fn on_each_in_turn<R: Runtime, F: Future<Output = ()>>(
    test: impl Fn(Box<dyn Fn(u32) -> PidHandle>) -> F,
) {
    for backend in backends() {
        on::<R, _>(backend, &test);
    }
}

fn on<R: Runtime, F: Future<Output = ()>>(
    backend: Backend,
    test: &impl Fn(Box<dyn Fn(u32) -> PidHandle>) -> F,
) {
    let open = move |pid| PidHandle::open_with(pid, backend).unwrap();
    R::block_on(test(Box::new(open)));
}

fn register<R: Runtime>(handle: PidHandle) -> AsyncPidHandle<R::Reactor> {
    AsyncPidHandle::new(&handle).unwrap()
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

/// The futures are `Send` on every reactor, so generic code can spawn them. The types can be shared between
/// threads. It is enough that this compiles.
#[allow(dead_code)]
mod auto_traits {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    use std::time::Duration;

    use pidwait::{AsyncPidHandle, AsyncProcessGroup, AsyncSpawned, Reactor};

    fn assert_send(_: impl Send) {}

    fn of_the_futures_of_a_handle<R: Reactor>(handle: &AsyncPidHandle<R>) {
        assert_send(handle.wait());
        assert_send(handle.wait_usage());
        assert_send(handle.wait_shared());
        assert_send(handle.wait_exited());
        assert_send(handle.terminate(Duration::ZERO));
        assert_send(handle.terminate_unreaped(Duration::ZERO));
    }

    fn of_the_futures_of_a_group<R: Reactor>(group: &AsyncProcessGroup<R>) {
        assert_send(group.wait_exited());
        assert_send(group.terminate(Duration::ZERO));
        assert_send(group.terminate_unreaped(Duration::ZERO));
    }

    fn of_the_types<R: Reactor>() {
        fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
        check::<AsyncPidHandle<R>>();
        check::<AsyncProcessGroup<R>>();
        check::<AsyncSpawned<R>>();
    }
}
