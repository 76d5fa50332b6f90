//! Tests of `AsyncPidHandle` that run on every reactor.

use std::future::{poll_fn, Future};
use std::io;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::pin::{pin, Pin};
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{InsertError, PidHandle};

use crate::common::{
    await_state, await_zombie, backends, errno, reap_externally, sleeper, traceable_sleeper,
    zombie, IdleCheck, NonChild, Tracer,
};

/// A reactor, with an executor to run futures on.
pub(crate) trait Reactor {
    type Handle: AsyncHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T;
    fn sleep(time: Duration) -> impl Future<Output = ()>;
}

/// The async handle under test.
pub(crate) trait AsyncHandle: Sized + Deref<Target = PidHandle> {
    fn new(handle: PidHandle) -> Result<Self, InsertError>;
    fn wait(&self) -> impl Future<Output = io::Result<ExitStatus>>;
    fn exited(&self) -> impl Future<Output = io::Result<()>>;
    fn into_inner(self) -> PidHandle;
}

/// Implements `AsyncHandle` for an async handle. The crate's types have the same methods, but no
/// common trait.
macro_rules! async_handle {
    ($handle:ty) => {
        impl crate::reactor::AsyncHandle for $handle {
            fn new(handle: pidwait::PidHandle) -> Result<Self, pidwait::InsertError> {
                Self::new(handle)
            }
            async fn wait(&self) -> std::io::Result<std::process::ExitStatus> {
                self.wait().await
            }
            async fn exited(&self) -> std::io::Result<()> {
                self.exited().await
            }
            fn into_inner(self) -> pidwait::PidHandle {
                self.into_inner()
            }
        }
    };
}
pub(crate) use async_handle;

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
            wait_sleeps_while_tracer_holds_zombie,
        }
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
        let child = R::Handle::new(open(sleeper().id())).unwrap();
        let kill = async { child.kill().unwrap() };
        let (status, ()) = tokio::join!(child.wait(), kill);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
        child.exited().await.unwrap();
        assert_eq!(errno(child.wait().await), ECHILD);
        assert_eq!(child.exit_status().unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn wait_for_zombie_returns_its_status<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(zombie("exit 3").id())).unwrap();
        child.exited().await.unwrap();
        child.exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

pub(crate) fn wait_for_child_reaped_at_conversion_returns_its_status<R: Reactor>() {
    R::block_on(async {
        let child = R::Handle::new(PidHandle::from(zombie("exit 3"))).unwrap();
        child.exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

/// The blocking wait runs through the inner `PidHandle` while futures are pending.
pub(crate) fn wait_fails_with_echild_after_blocking_wait_reaped<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(sleeper().id())).unwrap();
        let reap = async {
            child.kill().unwrap();
            PidHandle::wait(&child).unwrap()
        };
        let (future, exited, status) = tokio::join!(child.wait(), child.exited(), reap);
        assert_eq!(errno(future), ECHILD);
        exited.unwrap();
        assert_eq!(status.signal(), Some(SIGKILL));
    });
}

pub(crate) fn only_one_of_concurrent_waits_gets_the_status<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(sleeper().id())).unwrap();
        let kill = async { child.kill().unwrap() };
        let (one, two, exited, three, ()) = tokio::join!(
            child.wait(),
            child.wait(),
            child.exited(),
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
        let child = R::Handle::new(open(sleeper().id())).unwrap();
        for _ in 0..1000 {
            cancel(child.wait()).await;
            cancel(child.exited()).await;
        }
        let kill = async { child.kill().unwrap() };
        let (status, ()) = tokio::join!(child.wait(), kill);
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    });
}

/// The child has exited and the reactor may already have woken the future that is dropped.
pub(crate) fn wait_cancelled_when_ready_loses_nothing<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let pid = sleeper().id();
        let child = R::Handle::new(open(pid)).unwrap();
        let mut wait = Box::pin(child.wait());
        poll_once(wait.as_mut()).await;
        child.kill().unwrap();
        await_zombie(pid);
        child.exited().await.unwrap();
        drop(wait);
        assert_eq!(child.wait().await.unwrap().signal(), Some(SIGKILL));
    });
}

pub(crate) fn wait_for_non_child_fails_with_echild<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let mut non_child = NonChild::new();
        let other = R::Handle::new(open(non_child.pid)).unwrap();
        assert_eq!(errno(other.wait().await), ECHILD, "while it runs");
        cancel(other.exited()).await;
        let end = async { assert_eq!(non_child.finish(), Some(7)) };
        let (exited, ()) = tokio::join!(other.exited(), end);
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
        for (handle, errno) in [(done, ECHILD), (released, EINVAL)] {
            let pid = handle.id();
            let Err(rejected) = R::Handle::new(handle) else {
                panic!("accepted");
            };
            assert_eq!(rejected.handle.id(), pid);
            assert_eq!(rejected.error.raw_os_error(), Some(errno));
        }
    });
}

pub(crate) fn wait_after_release_fails_with_einval<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(zombie("exit 3").id())).unwrap();
        child.release().unwrap();
        assert_eq!(errno(child.wait().await), EINVAL);
        assert_eq!(errno(child.exited().await), EINVAL);
        reap_externally(child.id());
    });
}

pub(crate) fn handle_can_be_registered_again<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let mut handle = open(sleeper().id());
        for _ in 0..3 {
            let child = R::Handle::new(handle).unwrap();
            cancel(child.wait()).await;
            handle = child.into_inner();
            assert!(handle.try_wait().unwrap().is_none());
        }
        let child = R::Handle::new(handle).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(SIGKILL));
    });
}

/// The wait stays pending until the tracer detaches from the zombie.
pub(crate) fn wait_sleeps_while_tracer_holds_zombie<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let pid = traceable_sleeper().id();
        let Some(tracer) = Tracer::attach(pid) else {
            return;
        };
        let child = R::Handle::new(open(pid)).unwrap();
        child.kill().unwrap();
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
