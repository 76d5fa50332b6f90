//! What an `AsyncPidHandle` promises, on whichever reactor.

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

/// The type under test.
pub(crate) trait AsyncHandle: Sized + Deref<Target = PidHandle> {
    fn new(handle: PidHandle) -> Result<Self, InsertError>;
    fn wait(&self) -> impl Future<Output = io::Result<ExitStatus>>;
    fn exited(&self) -> impl Future<Output = io::Result<()>>;
    fn into_inner(self) -> PidHandle;
}

/// Makes a type one under test: all of them have the same methods, and no trait in common.
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

/// Has every behaviour of this module tested on a reactor.
macro_rules! test_on {
    ($reactor:ty: $($behaviour:ident),+ $(,)?) => {
        $(#[test]
        fn $behaviour() {
            crate::reactor::$behaviour::<$reactor>();
        })+
    };
    ($reactor:ty) => {
        crate::reactor::test_on! { $reactor:
            running, zombies, reaped_into_its_handle, reaped_through_the_handle, several_at_once,
            a_thousand_cancelled, cancelled_when_it_was_ready, non_children, refused, released,
            taken_out_and_put_in_again, in_the_hands_of_a_tracer,
        }
    };
}
pub(crate) use test_on;

/// Runs a test on each backend, with a way to open processes by it.
fn on_each<R: Reactor, F: Future<Output = ()>>(test: impl Fn(Box<dyn Fn(u32) -> PidHandle>) -> F) {
    for backend in backends() {
        let open = move |pid| PidHandle::open_with(pid, backend).unwrap();
        R::block_on(test(Box::new(open)));
    }
}

/// Polls a future that is not ready.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// The same, and then it is dropped.
async fn cancel<T>(future: impl Future<Output = T>) {
    poll_once(pin!(future)).await;
}

pub(crate) fn running<R: Reactor>() {
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

pub(crate) fn zombies<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(zombie("exit 3").id())).unwrap();
        child.exited().await.unwrap();
        child.exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

pub(crate) fn reaped_into_its_handle<R: Reactor>() {
    R::block_on(async {
        let child = R::Handle::new(PidHandle::from(zombie("exit 3"))).unwrap();
        child.exited().await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(errno(child.wait().await), ECHILD);
    });
}

/// By a wait that is none of its own, while a future is under way.
pub(crate) fn reaped_through_the_handle<R: Reactor>() {
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

pub(crate) fn several_at_once<R: Reactor>() {
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
            "one of them gets the status: {got:?} {missed:?}"
        );
        for result in missed {
            assert_eq!(errno(result), ECHILD);
        }
    });
}

pub(crate) fn a_thousand_cancelled<R: Reactor>() {
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

/// The exit was there, and the reactor may have told that future already.
pub(crate) fn cancelled_when_it_was_ready<R: Reactor>() {
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

pub(crate) fn non_children<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let mut non_child = NonChild::new();
        let other = R::Handle::new(open(non_child.pid)).unwrap();
        assert_eq!(errno(other.wait().await), ECHILD, "at once");
        cancel(other.exited()).await;
        let end = async { assert_eq!(non_child.finish(), Some(7)) };
        let (exited, ()) = tokio::join!(other.exited(), end);
        exited.unwrap();
        assert_eq!(errno(other.wait().await), ECHILD);
    });
}

pub(crate) fn refused<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let done = open(zombie("exit 3").id());
        done.wait().unwrap();
        let released = open(std::process::id());
        released.release().unwrap();
        for (handle, why) in [(done, ECHILD), (released, EINVAL)] {
            let pid = handle.id();
            let Err(refused) = R::Handle::new(handle) else {
                panic!("taken up");
            };
            assert_eq!(refused.handle.id(), pid);
            assert_eq!(refused.error.raw_os_error(), Some(why));
        }
    });
}

pub(crate) fn released<R: Reactor>() {
    on_each::<R, _>(|open| async move {
        let child = R::Handle::new(open(zombie("exit 3").id())).unwrap();
        child.release().unwrap();
        assert_eq!(errno(child.wait().await), EINVAL);
        assert_eq!(errno(child.exited().await), EINVAL);
        reap_externally(child.id());
    });
}

pub(crate) fn taken_out_and_put_in_again<R: Reactor>() {
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

/// The wait goes on, at rest, until the tracer lets go of the zombie.
pub(crate) fn in_the_hands_of_a_tracer<R: Reactor>() {
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
